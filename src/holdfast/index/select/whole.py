"""Every logical row as a plain value, part by part: for who writes all that a store knows in another shape.

Keys give way to what they stand for: the id of a record, a text, a digest. `seq` is the change that made the row. Each
row is proven as it is read.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from holdfast.index import proof, revised
from holdfast.index.database import Database
from holdfast.index.select import written
from holdfast.index.select.ends import kind_of
from holdfast.index.select.lookups import Lookups
from holdfast.index.tables import KIND_NAMES, STATE_KEPT, STATE_PURGED
from holdfast.values import canon, digest, moment
from holdfast.values.frozen import dataclass

SHARD = 10_000
"""Rows that were made by so many changes stand together: a shard never gets rows that were in another."""

_PAGE = 500
_RECORD_WIDE = len(proof.COLUMNS["record"]) + 1
_STATES = {STATE_KEPT: "kept", STATE_PURGED: "purged"}
TABLES = {
    "artifacts": "artifact",
    "collections": "collection",
    "relationship-types": "relationship_type",
    "relationships": "relationship",
    "revisions": "revision",
    "run-links": "run_link",
    "runs": "run",
    "steps": "step",
}
"""What there are rows of, by the word for it."""

_NO_RECORD = frozenset({"revision", "run_link"})
_NAMES_RECORD = frozenset({"parent", "collection", "artifact", "run"})
"""Columns that hold the key of a record."""

_BY_ARTIFACT = ("revision", "artifact")
"""The way that no one index knows whole: by the column alone, each look would read every revision there is."""

_CONTENTS = f"""SELECT {proof.columns("content", "c")} FROM json_each(?) n CROSS JOIN content c ON c.key = n.value"""
_SHOWN = f"""EXISTS (SELECT 1 FROM revision v JOIN artifact a ON a.key = v.artifact AND a.newest = v.key AND a.live = 1
    JOIN record r ON r.key = a.key AND r.tenant = 0
    WHERE {revised.of_content("v", "c.key")} AND v.state = {STATE_KEPT})"""
_KEPT = f"""SELECT {proof.columns("content", "c")} FROM content c WHERE substr(c.digest, 1, 4) >= ? AND c.digest > ?
    AND {revised.has_in_state("c.key", STATE_KEPT)} {{}}
    ORDER BY substr(c.digest, 1, 4), c.digest LIMIT {_PAGE}"""
_ALL, _UNSHOWN, _ABOVE = _KEPT.format(""), _KEPT.format(f"AND NOT {_SHOWN}"), _KEPT.format("AND c.size > ?")
_KEPT_OF = f"""SELECT c.digest, c.size, {proof.proven("content", "c")} FROM json_each(?1) n CROSS JOIN content c
    ON substr(c.digest, 1, 4) = substr(?2, n.value * 32 + 1, 4) AND c.digest = substr(?2, n.value * 32 + 1, 32)
    WHERE {revised.has_in_state("c.key", STATE_KEPT)}"""

Value = dict[str, Any]
Cells = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What keys stand for: ids of records; digest and size of contents."""

    ids: dict[int, str]
    contents: dict[int, tuple[str, int]]


class Whole:
    """Reads everything."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups

    def shards(self, what: str) -> list[int]:
        """The first seq of each shard that has rows of a kind (a key of TABLES), in order."""
        found = self._db.rows(f"SELECT DISTINCT (key - 1) / {SHARD} FROM {TABLES[what]} ORDER BY 1")
        return [row[0] * SHARD + 1 for row in found]

    def rows(self, what: str, first: int) -> Iterator[Value]:
        """The rows of one shard, by seq."""
        for page in self._pages(what, first):
            yield from self._values(TABLES[what], page)

    def lines(self, what: str, first: int) -> tuple[bytes, bytes]:
        """The rows of one shard as lines of canonical JSON, in order of their ids; and the mark of the shard."""
        table, found, seen = TABLES[what], list[written.Line](), hashlib.sha256()
        for page in self._pages(what, first):
            seen.update(marshal.dumps(page, 2))
            if written.beside(table):
                found += written.lines(table, page, self._lookups)
            else:
                found += [(_order(row), canon.dumps(row)) for row in self._values(table, page)]
        found.sort(key=itemgetter(0))
        return "".join([text + "\n" for _, text in found]).encode(), seen.digest()

    def _pages(self, what: str, first: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of one shard as they stand, in short reads."""
        table, after, end = TABLES[what], first - 1, first + SHARD
        columns, join = written.beside(table) or ("", "")
        if not columns and table not in _NO_RECORD:
            columns, join = proof.columns("record", "r"), "LEFT JOIN record r ON r.key = t.key"
        columns = f"{proof.columns(table, 't')}{columns and ', '}{columns}"
        sql = f"SELECT {columns} FROM {table} t {join} WHERE t.key > ? AND t.key < ? ORDER BY t.key LIMIT {_PAGE}"
        while page := self._db.rows(sql, (after, end)):
            yield page
            after = page[-1][0]

    def mark(self, what: str, first: int) -> bytes:
        """A digest of the cells of one shard. As long as nothing is redacted, the same cells make the same lines."""
        found = hashlib.sha256()
        for page in self._pages(what, first):
            found.update(marshal.dumps(page, 2))
        return found.digest()

    def one(self, what: str, record_id: str) -> Value | None:
        """The row of one record of a kind; None if no record of the kind has the id."""
        key = self._lookups.key(record_id)
        return None if key is None else next(self.beside(what, "key", key), None)

    def beside(self, what: str, column: str, key: int) -> Iterator[Value]:
        """The rows of a kind that name a record by its key, in a column (`artifact`, `run`) or as their own, by seq."""
        table = TABLES[what]
        if column not in proof.COLUMNS[table]:
            raise ValueError(f"{what} have no {column}")
        alone = table in _NO_RECORD
        columns = proof.columns(table, "t") + ("" if alone else ", " + proof.columns("record", "r"))
        join = "" if alone else "LEFT JOIN record r ON r.key = t.key"
        wanted = revised.of_artifact("t", "?1") if (table, column) == _BY_ARTIFACT else f"t.{column} = ?1"
        rows = self._db.rows(f"SELECT {columns} FROM {table} t {join} WHERE {wanted} ORDER BY t.key", (key,))
        for start in range(0, len(rows), _PAGE):
            yield from self._values(table, rows[start : start + _PAGE])

    def kept(self) -> Iterator[tuple[str, int]]:
        """(digest, size) of each content that is kept, by digest."""
        return self._kept(_ALL)

    def unshown(self) -> Iterator[tuple[str, int]]:
        """Those that no live artifact's newest revision has, under a name that all see: one of the default tenant."""
        return self._kept(_UNSHOWN)

    def larger(self, size: int) -> Iterator[tuple[str, int]]:
        """Those of more than so many bytes."""
        return self._kept(_ABOVE, size)

    def _kept(self, sql: str, *besides: int) -> Iterator[tuple[str, int]]:
        after = b""
        while page := self._db.rows(sql, (after[:4], after, *besides)):
            for *cells, crc in page:
                proof.prove("content", tuple(cells), crc)
                yield digest.text(cells[1]), cells[2]
            after = page[-1][1]

    def kept_of(self, digests: Sequence[str]) -> dict[str, int]:
        """The sizes of those of some contents that are kept."""
        numbers, raws = str(list(range(len(digests)))), b"".join(digest.raw(one) for one in digests)
        return {digest.text(raw): size for raw, size, _ in self._db.rows(_KEPT_OF, (numbers, raws))}

    def _values(self, table: str, page: list[tuple[Any, ...]]) -> Iterator[Value]:
        own, shape = proof.COLUMNS[table], _SHAPES[table]
        known = self._known(table, page)
        tags = {} if table in _NO_RECORD else self._lookups.tags(row[0] for row in page)
        for row in page:
            proof.prove(table, row[: len(own)], row[len(own)])
            cells = dict(zip(own, row, strict=False))
            value = {"seq": cells.pop("key")}
            if table not in _NO_RECORD:
                start = len(own) + 1
                value |= self._record(row[start : start + _RECORD_WIDE], tags.get(row[0], ()))
            value |= shape(self, cells, known)
            yield {name: one for name, one in value.items() if one or isinstance(one, int | float)}

    def _record(self, cells: tuple[Any, ...], tags: tuple[str, ...]) -> Value:
        proof.prove("record", cells[:-1], cells[-1])
        key, raw, kind, tenant, owner, changed, deleted, tagged = cells[:-1]
        if proof.of_tags(tags) != tagged:
            raise proof.damaged("tagging", key)
        term = self._lookups.term
        return {
            "id": moment.id_text(raw), "kind": KIND_NAMES[kind], "tenant": term(tenant), "owner": term(owner),
            "changed": changed, "deleted": deleted or None, "tags": list(tags),
        }  # fmt: skip

    def _known(self, table: str, page: list[tuple[Any, ...]]) -> Known:
        """Ids and contents that the rows of a page name by their keys."""
        columns = proof.COLUMNS[table]
        places = [place for place, column in enumerate(columns) if column in _NAMES_RECORD]
        ids = self._lookups.ids(row[place] for row in page for place in places)
        contents: dict[int, tuple[str, int]] = {}
        if table == "revision":
            place = columns.index("content")
            for *cells, crc in self._db.rows(_CONTENTS, (canon.dumps(sorted({row[place] for row in page})),)):
                proof.prove("content", tuple(cells), crc)
                contents[cells[0]] = digest.text(cells[1]), cells[2]
        return Known(ids, contents)

    def _collection(self, cells: Cells, known: Known) -> Value:
        return {
            "parent": known.ids.get(cells["parent"]), **_named(cells), "metadata": _object(cells["metadata"]),
            "mode": cells["mode"], "mtime_ns": cells["mtime_ns"],
        }  # fmt: skip

    def _artifact(self, cells: Cells, known: Known) -> Value:
        term = self._lookups.term
        return {
            "collection": known.ids[cells["collection"]], **_named(cells), "type": term(cells["type"]),
            "status": term(cells["status"]), "newest": cells["newest"],
        }  # fmt: skip

    def _revision(self, cells: Cells, known: Known) -> Value:
        term = self._lookups.term
        content = known.contents.get(cells["content"])
        if content is None:
            raise proof.damaged("content", cells["content"])
        return {
            "artifact": known.ids[cells["artifact"]], "number": cells["number"], "digest": content[0],
            "size": content[1], "media_type": term(cells["media_type"]), "metadata": _object(cells["metadata"]),
            "message": cells["message"], "source": term(cells["source"]) + (cells["source_name"] or ""),
            "mode": cells["mode"], "mtime_ns": cells["mtime_ns"], "run": known.ids.get(cells["run"]),
            "state": _STATES.get(cells["state"], "withdrawn"),
        }  # fmt: skip

    def _relationship(self, cells: Cells, _: Known) -> Value:
        return {
            "type": self._lookups.term(cells["type"]), "source": _end(cells, "source"), "target": _end(cells, "target"),
            "metadata": _object(cells["metadata"]),
        }  # fmt: skip

    def _run(self, cells: Cells, _: Known) -> Value:
        objects = ("parameters", "diagnostics", "environment", "metadata")
        return {"name": cells["name"], "status": cells["status"], "reason": cells["reason"], **_times(cells),
                **{name: _object(cells[name]) for name in objects}}  # fmt: skip

    def _step(self, cells: Cells, known: Known) -> Value:
        return {"run": known.ids[cells["run"]], "number": cells["number"], "name": cells["name"], **_times(cells),
                "status": cells["status"], "diagnostics": _object(cells["diagnostics"])}  # fmt: skip

    def _run_link(self, cells: Cells, known: Known) -> Value:
        return {"run": known.ids[cells["run"]], "direction": cells["direction"], "role": cells["role"],
                "target": _end(cells, "target")}  # fmt: skip

    def _relationship_type(self, cells: Cells, _: Known) -> Value:
        return {name: cells[name] for name in ("name", "family", "description")}


_SHAPES: dict[str, Callable[[Whole, Cells, Known], Value]] = {
    "artifact": Whole._artifact,
    "collection": Whole._collection,
    "relationship": Whole._relationship,
    "relationship_type": Whole._relationship_type,
    "revision": Whole._revision,
    "run": Whole._run,
    "run_link": Whole._run_link,
    "step": Whole._step,
}


def _order(row: Value) -> tuple[Any, ...]:
    return row.get("id") or row.get("artifact") or row["run"], row.get("number", 0), row["seq"]


def _named(cells: Cells) -> Value:
    return {"name": cells["name"], "name_hex": cells["stray"].hex()}


def _end(cells: Cells, side: str) -> Value:
    end = {"kind": kind_of(cells[f"{side}_kind"]), "id": cells[side], "revision": cells[f"{side}_revision"]}
    return {name: one for name, one in end.items() if one is not None}


def _object(text: str | None) -> Any:
    return canon.decode(text) if text else None


def _times(cells: Cells) -> Value:
    return {
        name: None if cells[f"{name}_us"] is None else moment.to_text(cells[f"{name}_us"])
        for name in ("started", "ended")
    }
