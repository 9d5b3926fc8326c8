"""Pages of the artifacts that meet a condition.

SQL narrows (narrowing.py) as far as it is sure not to lose anything; what a condition means is decided once, in
values/query.py, on each record that SQL lets through. So every backend gives the same answers.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from datetime import datetime
from operator import itemgetter
from typing import Any

from holdfast.errors import InvalidDigestError, InvalidQueryError, InvalidValueError
from holdfast.index import proof
from holdfast.index.chain import ChainRows
from holdfast.index.database import Database
from holdfast.index.metadata import steps_of
from holdfast.index.select import artifacts, narrowing, plans
from holdfast.index.select.artifacts import ArtifactRows
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.declared import DeclaredRows
from holdfast.index.select.narrowing import Narrower, Way
from holdfast.index.select.piece import SQL
from holdfast.index.select.sight import Row
from holdfast.index.select.usual import Usual, UsualQuestions
from holdfast.values import canon, digest, moment, query
from holdfast.values.names import Name
from holdfast.values.query import MISSING, All, Any_, Compare, Condition, Not, Order, Plan
from holdfast.values.records import Artifact, Page

ORDERS = {
    "created": "t1.key",
    "updated": "t2.changed",
    "name": "t1.name",
    "size": "t4.size",
}
_FETCH = 500
_READ: dict[str, Callable[[Artifact], Any]] = {
    "id": lambda a: a.id,
    "name": lambda a: a.name,
    "path": lambda a: a.path,
    "type": lambda a: a.type,
    "status": lambda a: a.status,
    "media_type": lambda a: a.media_type,
    "tenant": lambda a: a.tenant,
    "owner": lambda a: a.owner,
    "tag": lambda a: a.tags,
    "size": lambda a: a.size,
    "digest": lambda a: a.digest,
    "revision": lambda a: a.number,
    "created": lambda a: a.created_at,
    "updated": lambda a: a.updated_at,
    "run": lambda a: a.revision.run_id if a.revision.run_id is not None else MISSING,
    "message": lambda a: a.revision.message,
    "source": lambda a: a.revision.source,
    "collection": lambda a: a.path.rpartition("/")[0],
    "metadata": lambda a: a.metadata,
}
_ORDER_AT = {"created": 0, "updated": 14, "name": 2, "size": 34}
"""Where in a row of artifacts.COLUMNS the value stands by which is ordered."""
_PLACE = {field: itemgetter(at, 0) if at else itemgetter(0) for field, at in _ORDER_AT.items()}
_JOINS = {
    "t2.": "LEFT JOIN record t2 ON t2.key = t1.key",
    "t3.": "LEFT JOIN revision t3 ON t3.key = t1.newest",
    "t4.": "LEFT JOIN revision t3 ON t3.key = t1.newest LEFT JOIN content t4 ON t4.key = t3.content",
}
_IN_COLLECTION = f"""FROM (SELECT key FROM artifact WHERE collection = ? AND live = 1 AND (name, stray) > (?, ?)
    ORDER BY name, stray LIMIT ?) k {artifacts.OF_KEYS}"""


def reader(artifact: Artifact) -> Callable[[str], Any]:
    """Gives the value of a field of an artifact, as conditions name it."""

    def read(name: str) -> Any:
        if name.startswith("metadata."):
            return query.dig(artifact.metadata, steps_of(name))
        return _READ[name](artifact)

    return read


def checked(condition: Condition) -> Condition:
    """The condition with times as instants; InvalidQueryError for fields that artifacts do not have."""
    if isinstance(condition, All):
        return All(tuple(checked(part) for part in condition.parts))
    if isinstance(condition, Any_):
        return Any_(tuple(checked(part) for part in condition.parts))
    if isinstance(condition, Not):
        return Not(checked(condition.part))
    if not isinstance(condition, Compare):
        raise InvalidQueryError(f"{condition!r} is no condition", query=str(condition), reason="type")
    name = condition.field
    _check_text(condition)
    if name.startswith("metadata."):
        steps_of(name)
    elif name == "under":
        if condition.op != "=" or not isinstance(condition.value, str):
            raise InvalidQueryError("`under` takes `=` and a path", query=name, reason="operator")
    elif name not in _READ:
        raise InvalidQueryError(f"artifacts have no field {name!r}", query=name, reason="field",
                                remedy=f"Fields: {', '.join(sorted([*_READ, 'under']))}, metadata.…")  # fmt: skip
    if name in narrowing.TIMES and isinstance(condition.value, datetime) and condition.value.tzinfo is None:
        raise InvalidQueryError(f"{condition.value} has no time zone", query=name, reason="time")
    if name in narrowing.TIMES and isinstance(condition.value, str):
        try:
            return Compare(name, condition.op, moment.to_datetime(moment.from_text(condition.value)))
        except InvalidValueError as error:
            raise InvalidQueryError(error.message, query=condition.value, reason="time") from error
    return condition


def _check_text(one: Compare) -> None:
    """No record has text with a lone surrogate, and SQLite cannot even be asked for it."""
    for text in (one.field, one.value):
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InvalidQueryError(
                    f"{text!r} has a lone surrogate", query=repr(text), reason="surrogate"
                ) from error


class Finder:
    """Answers queries for artifacts."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactRows,
        collections: CollectionRows,
        chain: ChainRows,
        declared: DeclaredRows,
    ) -> None:
        self._db = database
        self._artifacts = artifacts
        self._collections = collections
        self._declared = declared
        self._narrower = Narrower(collections, chain, declared)
        self._usual = UsualQuestions(collections, declared)

    def page(
        self, condition: Condition | None, order: Order, *, limit: int, token: str | None = None, deleted: bool = False
    ) -> Page[Artifact]:
        """Up to `limit` artifacts from where `token` says, in a total order; the token of the next page."""
        _check_order(order)
        with self._declared.lookups.sights.held():
            return self._page(condition, order, limit=limit, token=token, deleted=deleted)

    def foresee(self, condition: Condition | None, order: Order, *, limit: int, deleted: bool = False) -> None:
        """Read what `page` will ask for first, if what this thread saw last is enough to tell; see SqlIndex.foresee."""
        seen = self._declared.lookups.sights.lately()
        usual = self._usual.guess(condition, seen) if seen is not None and order.field == "created" else None
        if seen is not None and usual is not None:
            asked = _usually(usual, order, None, deleted=deleted, limit=min(limit + 1, _FETCH))
            if asked not in seen.answers:
                self._db.whole(artifacts.COLUMNS, *asked)

    def _page(
        self, condition: Condition | None, order: Order, *, limit: int, token: str | None, deleted: bool
    ) -> Page[Artifact]:
        position = None if token is None else _decode(token, order)
        usual = self._usual.of(condition) if order.field == "created" else None
        wanted = None if usual is not None or condition is None else checked(condition)
        meets = usual.meets if usual is not None else self._judge(wanted)
        found: list[Artifact] = []
        # Few at first: SQL has narrowed, so they will often do.
        fetch = min(limit + 1, _FETCH)
        while True:
            if usual is not None:
                asked = _usually(usual, order, position, deleted=deleted, limit=fetch)
            else:
                asked = self._query(wanted, order, position, deleted=deleted, limit=fetch)
            rows = self._rows(asked, order, deleted=deleted)
            met = self._met(rows, meets, judged=usual is None)
            room = limit - len(found)
            if met and room:
                last = met[:room][-1][0]
                position = [last[_ORDER_AT[order.field]], last[0]]
                found += [artifact for _, artifact in met[:room]]
            if len(met) > room:
                return Page(tuple(found), _encode(position, order))
            if len(found) == limit and position is not None and rows and rows[-1][0] != position[1]:
                return Page(tuple(found), _encode(position, order))
            if len(rows) < fetch:
                return Page(tuple(found), None)
            position = [rows[-1][_ORDER_AT[order.field]], rows[-1][0]]
            fetch = min(fetch * 4, _FETCH)

    def _rows(self, asked: tuple[str, tuple[Any, ...]], order: Order, *, deleted: bool) -> list[Row]:
        """Proven rows in the order that was asked for."""
        rows = self._artifacts.page(*asked)
        rows.sort(key=_PLACE[order.field], reverse=order.descending)
        for row in rows:
            if (row[7] is None) is not deleted:
                raise proof.damaged("artifact", row[0])
        return rows

    def _met(self, rows: list[Row], meets: Callable[[Any], bool], *, judged: bool) -> list[tuple[Row, Artifact]]:
        """Those that meet the condition; `judged`: as records, else as rows."""
        if judged:
            pairs = zip(rows, self._artifacts.records(rows), strict=True)
            return [pair for pair in pairs if meets(pair[1])]
        rows = [row for row in rows if meets(row)]
        return list(zip(rows, self._artifacts.records(rows), strict=True))

    def explain(self, condition: Condition | None, order: Order, *, deleted: bool = False) -> Plan:
        """How `page` would ask for the first of them."""
        _check_order(order)
        wanted = None if condition is None else checked(condition)
        rest, parameters = self._query(wanted, order, None, deleted=deleted, limit=_FETCH)
        return plans.read(self._db, f"SELECT {artifacts.COLUMNS} {rest}", parameters, self._declared.fields())

    def _judge(self, condition: Condition | None) -> Callable[[Artifact], bool]:
        """What decides whether an artifact meets a condition."""
        if condition is None:
            return lambda _: True
        under = {path: self._collections.subtree(path)[1] for path in _unders(condition)}
        if under and _is_only_under(condition):
            *_, ids = under.values()
            return lambda artifact: artifact.collection_id in ids
        return lambda artifact: condition.matches(self._reader(artifact, under))

    def _reader(self, artifact: Artifact, under: dict[str, frozenset[str]]) -> Callable[[str], Any]:
        read = reader(artifact)

        def with_subtrees(name: str) -> Any:
            if name == "under":
                return frozenset(path for path, ids in under.items() if artifact.collection_id in ids)
            return read(name)

        return with_subtrees

    def _query(
        self, condition: Condition | None, said: Order, position: list[Any] | None, *, deleted: bool, limit: int
    ) -> tuple[str, tuple[Any, ...]]:
        """What is behind SELECT COLUMNS, and parameters. The same shape is the same text: SQLite knows it prepared."""
        column, sign = ORDERS[said.field], "<" if said.descending else ">"
        turned = "DESC" if said.descending else "ASC"
        by_age = column == "t1.key"
        first = self._narrower.first(condition, limit) if by_age else None
        parts = [SQL("t1.live IS NULL" if deleted else "t1.live = 1")]
        if first is not None:
            parts.append(first[1].where)
            column = f"{first[1].alias}.artifact"
        way = Way(first and first[0], limit if by_age else None)
        narrowed = None if condition is None else self._narrower.narrow(condition, way)
        if narrowed is not None:
            parts.append(narrowed)
        if position is not None and by_age:
            parts.append(SQL(f"{column} {sign} ?", (position[1],)))
        elif position is not None:
            parts.append(SQL(f"({column}, t1.key) {sign} (?, ?)", tuple(position)))
        where = " AND ".join(part.sql for part in parts)
        order = f"{column} {turned}" if by_age else f"{column} {turned}, t1.key {turned}"
        rest = _narrowed(where, order, first and first[1].alias)
        return rest, (*(cell for part in parts for cell in part.params), limit)

    def in_collection(self, collection: int, *, after: Name | None, limit: int) -> list[Artifact]:
        """Live artifacts right in a collection, by name, beyond a name."""
        beyond = (after.text, after.stray) if after else ("", b"")
        rows = sorted(self._artifacts.page(_IN_COLLECTION, (collection, *beyond, limit)), key=itemgetter(2, 3))
        for row in rows:
            if (row[1], row[7]) != (collection, 1):
                raise proof.damaged("artifact", row[0])
        return self._artifacts.records(rows)

    def by_digest(self, text: str, *, trusting: bool = False) -> str:
        """The full digest that a prefix stands for. InvalidDigestError if it fits none or several.

        `trusting`: a digest that is given in full is not looked for.
        """
        wanted = digest.prefix(text)
        if trusting and len(wanted) == digest.HEX:
            return digest.PREFIX + wanted
        low, high = bytes.fromhex(wanted.ljust(64, "0")), bytes.fromhex(wanted.ljust(64, "f"))
        found = self._digests(low, high)
        if len(found) != 1:
            trouble = "fits several" if found else "fits no content"
            raise InvalidDigestError(f"{text!r} {trouble}", digest=text, candidates=found)
        return found[0]

    def _digests(self, low: bytes, high: bytes) -> list[str]:
        """Some of the digests between two."""
        sql = """SELECT digest FROM content WHERE substr(digest, 1, 4) BETWEEN ? AND ? AND digest BETWEEN ? AND ?
                 ORDER BY digest LIMIT 4"""
        return [digest.text(row[0]) for row in self._db.rows(sql, (low[:4], high[:4], low, high))]


def _unders(condition: Condition | None) -> list[str]:
    if isinstance(condition, (All, Any_)):
        return [path for part in condition.parts for path in _unders(part)]
    if isinstance(condition, Not):
        return _unders(condition.part)
    return [condition.value] if isinstance(condition, Compare) and condition.field == "under" else []


def _is_only_under(condition: Condition) -> bool:
    if isinstance(condition, All) and len(condition.parts) == 1:
        return _is_only_under(condition.parts[0])
    return isinstance(condition, Compare) and condition.field == "under"


def _usually(
    usual: Usual, order: Order, position: list[Any] | None, *, deleted: bool, limit: int
) -> tuple[str, tuple[Any, ...]]:
    """The text and parameters of a usual question."""
    sql = _usual_text((usual.source, usual.key, usual.where), order.descending, position is not None, deleted)
    return sql, (*usual.parameters, limit) if position is None else (*usual.parameters, position[1], limit)


@functools.lru_cache(256)
def _usual_text(usual: tuple[str, str, str], *said: bool) -> str:
    (source, key, where), (descending, positioned, deleted) = usual, said
    parts = ["t1.live IS NULL" if deleted else "t1.live = 1", where]
    if positioned:
        parts.append(f"{key} {'<' if descending else '>'} ?")
    return _in_order(source, " AND ".join(parts), f"{key} {'DESC' if descending else 'ASC'}")


@functools.lru_cache(256)
def _narrowed(where: str, order: str, first: str | None) -> str:
    """In an order; artifacts come from the index of an alias, if one is given."""
    said = f"{where} {order}"
    needed = [alias for alias in _JOINS if alias in said and not (alias == "t3." and "t4." in said)]
    joins = "".join(f" {_JOINS[alias]}" for alias in needed)
    indexed = f"metadata_value {first} CROSS JOIN artifact t1 ON t1.key = {first}.artifact"
    source = "artifact t1" if first is None else indexed
    return _in_order(source + joins, where, order)


def _in_order(source: str, where: str, order: str) -> str:
    """The keys are found first, from indexes if these have all that is asked: what makes an artifact is fetched only
    for those. They are put in order once more when they have come: SQLite would sort them with all their cells.
    """
    return f"FROM (SELECT t1.key AS key FROM {source} WHERE {where} ORDER BY {order} LIMIT ?) k {artifacts.OF_KEYS}"


def _encode(position: list[Any] | None, order: Order) -> str:
    sign = "-" if order.descending else ""
    return base64.urlsafe_b64encode(canon.encode([f"{sign}{order.field}", *(position or [])])).decode()


def _decode(token: str, order: Order) -> list[Any]:
    try:
        name, *position = canon.decode(base64.urlsafe_b64decode(token.encode()))
        if name != ("-" if order.descending else "") + order.field or len(position) != 2:
            raise ValueError("made for another order")
        value, key = position
        if type(value) is not (str if order.field == "name" else int) or type(key) is not int:
            raise TypeError("no position")
        if not all(isinstance(one, str) or 0 <= one < 1 << 63 for one in position):
            raise ValueError("no position")
    except (ValueError, TypeError) as error:
        raise InvalidQueryError(f"not a page token of this query: {error}", query=token, reason="token") from error
    return list(position)


def _check_order(order: Order) -> None:
    if order.field not in ORDERS:
        raise InvalidQueryError(f"artifacts are not ordered by {order.field!r}", query=order.field, reason="order",
                                remedy=f"Orders: {', '.join(ORDERS)}.")  # fmt: skip
