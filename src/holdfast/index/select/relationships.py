"""Relationships and the vocabulary's extensions out of rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.select.ends import EndRows, code_of, kind_of
from holdfast.index.select.keyset import PAGE, stream
from holdfast.index.select.lookups import MARKS, TIME_OF, Lookups
from holdfast.values import canon, moment
from holdfast.values.frozen import dataclass
from holdfast.values.records import Endpoint, Relationship

Found = tuple[int, Relationship]
"""(key, relationship); one that is not visible has `deleted_at`."""

_PROVEN = f"""SELECT t.key, r.id, {proof.proven("relationship", "t")}, {proof.proven("record", "r")},
    {proof.tags_proven("r")} FROM relationship t JOIN record r ON r.key = t.key
    WHERE t.key IN (SELECT value FROM json_each(?))"""
_SIDES = ("source", "target")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which relationships. An end without a revision stands for every revision of its record; None: any."""

    types: tuple[str, ...] | None = None
    source: Endpoint | None = None
    target: Endpoint | None = None
    tag: str | None = None


def beside(side: str, end: Endpoint, types: tuple[str, ...] | None = None) -> Wanted:
    """Those that have an end on a side: `source` or `target`."""
    return Wanted(types, source=end) if side == "source" else Wanted(types, target=end)


_SELECT = f"""SELECT t1.key, t2.id, t1.type, t1.source_kind, t1.source, t1.source_revision, t1.target_kind, t1.target,
    t1.target_revision, t1.metadata, t2.tenant, t2.owner, t2.deleted, t2.changed, {TIME_OF.format("t1.key")},
    {TIME_OF.format("t2.changed")} FROM relationship t1 LEFT JOIN record t2 ON t2.key = t1.key"""
"""The query that gives relationships; conditions, order and limit are added."""


class RelationshipRows:
    """Reads relationships. Aliases in every query: t1 relationship, t2 record."""

    def __init__(self, database: Database, lookups: Lookups, ends: EndRows) -> None:
        self._db = database
        self._lookups = lookups
        self._ends = ends

    # -- one -------------------------------------------------------------------------------------------------------

    def by_id(self, relationship_id: str) -> Relationship | None:
        """The relationship with an id, visible or not."""
        rows = self._db.rows(f"{_SELECT} WHERE t2.id = ?", (moment.id_bytes(relationship_id),))
        if not rows:
            self._lookups.missed(relationship_id, "relationship")
        return self._records(rows)[0][1] if rows else None

    def own_tombstone(self, relationship_id: str) -> bool:
        """Whether the relationship itself was deleted, whatever became of its ends."""
        raw, sql = moment.id_bytes(relationship_id), f"SELECT deleted, {proof.proven('record', 'r')} FROM record r"
        row = self._db.one(f"{sql} WHERE id = ?", (raw,))
        return row is not None and row[0] != 0

    def equal(self, type_name: str, source: Endpoint, target: Endpoint) -> Relationship | None:
        """The relationship of this type between these very ends, revisions included, that has no tombstone."""
        type_key = self._lookups.term_key(type_name)
        if type_key is None:
            return None
        sql = f"""{_SELECT} WHERE t1.source = ? AND t1.type = ? AND t1.target = ? AND t1.source_kind = ?
                  AND t1.target_kind = ? AND t1.source_revision IS ? AND t1.target_revision IS ?
                  AND CASE WHEN {proof.proven("record", "t2")} THEN t2.deleted = 0 END"""
        codes = (code_of(source.kind), code_of(target.kind))
        rows = self._db.rows(sql, (source.id, type_key, target.id, *codes, source.revision, target.revision))
        return self._records(rows)[0][1] if rows else None

    # -- many ------------------------------------------------------------------------------------------------------

    def page(self, wanted: Wanted, after: int, *, descending: bool = False, limit: int = PAGE) -> list[Found]:
        """The first relationships beyond a key, by age, hidden ones included."""
        types = self._type_keys(wanted.types)
        if types == ():
            return []
        where, parameters = _conditions(wanted)
        side = "source" if wanted.source else "target" if wanted.target else None
        if side:
            end = wanted.source or wanted.target
            assert end is not None
            streams = self._types_at(side, end.id) if types is None else types
            keys = self._keys(where, parameters, after, descending=descending, limit=limit, types=streams)
        else:
            if types is not None:
                where, parameters = [*where, f"t1.type IN ({_marks(types)})"], [*parameters, *types]
            keys = self._keys(where, parameters, after, descending=descending, limit=limit)
        return self._by_keys(keys, descending=descending)

    def touching(self, end: Endpoint, after: int, *, types: tuple[str, ...] | None = None) -> list[Found]:
        """The first relationships beyond a key that have this end on either side."""
        sides = [self.page(beside(side, end, types), after) for side in _SIDES]
        merged = {key: one for page in sides for key, one in page}
        # Beyond the shorter side's last row nothing is known yet: cut both at the same length.
        return sorted(merged.items(), key=lambda pair: pair[0])[:PAGE]

    def count_touching(self, record_id: str) -> int:
        """How many visible relationships have the record with this id as an end."""
        state = self._ends.states([record_id]).get(record_id)
        if state is None:
            return 0
        end = Endpoint(state.kind, record_id)
        return sum(one.deleted_at is None for _, one in stream(lambda after: self.touching(end, after)))

    def _keys(
        self, where: list[str], parameters: list[Any], after: int, *, descending: bool, limit: int,
        types: Sequence[int] | None = None,
    ) -> list[int]:  # fmt: skip
        """Keys that match, in order. By type, one after the other: so the index (end, type) gives them in order of
        keys, and a page of a record with a million relationships costs no more than one of a record with ten."""
        compare, order = ("<", "DESC") if descending else (">", "ASC")
        conditions = [*where, f"t1.key {compare} ?"]
        tail = f"ORDER BY t1.key {order} LIMIT ?"
        if types is None:
            sql = f"SELECT t1.key FROM relationship t1 WHERE {' AND '.join(conditions)} {tail}"
            return [row[0] for row in self._db.rows(sql, [*parameters, after, limit])]
        sql = f"SELECT t1.key FROM relationship t1 WHERE {' AND '.join(['t1.type = ?', *conditions])} {tail}"
        keys = [row[0] for one in types for row in self._db.rows(sql, [one, *parameters, after, limit])]
        return sorted(keys, reverse=descending)[:limit]

    def _types_at(self, side: str, end_id: str) -> list[int]:
        """Which types an end has, by one seek into the index for each."""
        found: list[int] = []
        sql = f"SELECT min(type) FROM relationship WHERE {side} = ? AND type > ?"
        while True:
            row = self._db.one(sql, (end_id, found[-1] if found else -1))
            if row is None or row[0] is None:
                return found
            found.append(int(row[0]))

    def _type_keys(self, types: tuple[str, ...] | None) -> tuple[int, ...] | None:
        """Keys of type names; names that no row ever used are left out."""
        if types is None:
            return None
        keys = (self._lookups.term_key(name) for name in types)
        return tuple(key for key in keys if key is not None)

    def _by_keys(self, keys: list[int], *, descending: bool) -> list[Found]:
        found: list[Found] = []
        order = "DESC" if descending else "ASC"
        for start in range(0, len(keys), MARKS):
            part = keys[start : start + MARKS]
            sql = f"{_SELECT} WHERE t1.key IN ({_marks(part)}) ORDER BY t1.key {order}"
            rows = self._db.rows(sql, part)
            if len(rows) != len(part):  # a key that an index gave, and no row
                raise proof.damaged("relationship", sorted({*part} - {row[0] for row in rows})[0])
            found += self._records(rows)
        return found

    # -- the vocabulary --------------------------------------------------------------------------------------------

    def types(self) -> list[tuple[str, str, str, str]]:
        """(name, family, description, id) of the types that users added, by age."""
        sql = f"""SELECT t.name, t.family, t.description, r.id, {proof.proven("relationship_type", "t")},
                  {proof.proven("record", "r")} FROM relationship_type t LEFT JOIN record r ON r.key = t.key
                  WHERE CASE WHEN {proof.proven("record", "r")} THEN r.deleted = 0 END ORDER BY t.key"""
        return [(row[0], row[1], row[2], moment.id_text(row[3])) for row in self._db.rows(sql)]

    # -- rows to records -------------------------------------------------------------------------------------------

    def _records(self, rows: list[tuple[Any, ...]]) -> list[Found]:
        if rows:
            found = self._db.rows(_PROVEN, (canon.dumps([row[0] for row in rows]),))
            if {(row[0], row[1]) for row in rows} != {row[:2] for row in found}:
                raise proof.damaged("relationship", rows[0][0])
            self._lookups.prove_times(seq for row in rows for seq in (row[0], row[13]))
        tags = self._lookups.tags(row[0] for row in rows)
        ends = {row[0]: (_end(row[3:6]), _end(row[6:9])) for row in rows}
        gone = self._ends.gone(end for pair in ends.values() for end in pair)
        return [(row[0], self._to_record(row, ends[row[0]], tags.get(row[0], ()), gone)) for row in rows]

    def _to_record(
        self, row: tuple[Any, ...], ends: tuple[Endpoint, Endpoint], tags: tuple[str, ...], gone: dict[str, int]
    ) -> Relationship:
        term = self._lookups.term
        return Relationship(
            id=moment.id_text(row[1]),
            type=term(row[2]),
            source=ends[0],
            target=ends[1],
            metadata=canon.decode(row[9]) if row[9] else {},
            tags=tags,
            created_at=self._lookups.time(row[0], row[14]),
            updated_at=self._lookups.time(row[13], row[15]),
            deleted_at=self._hidden_at(row[12], ends, gone),
            tenant=term(row[10]),
            owner=term(row[11]),
        )

    def _hidden_at(self, own: int, ends: tuple[Endpoint, Endpoint], gone: dict[str, int]) -> datetime | None:
        """When its own tombstone was set, or else when the first of its ends went."""
        of_ends = [gone[end.id] for end in ends if gone.get(end.id) and code_of(end.kind)]
        return self._lookups.deleted_at(own or min(of_ends, default=0))


def _end(columns: tuple[Any, ...]) -> Endpoint:
    return Endpoint(kind_of(columns[0]), columns[1], columns[2])


def _conditions(wanted: Wanted) -> tuple[list[str], list[Any]]:
    where: list[str] = []
    parameters: list[Any] = []
    for side in _SIDES:
        end: Endpoint | None = getattr(wanted, side)
        if end is None:
            continue
        where.append(f"t1.{side} = ? AND t1.{side}_kind = ?")
        parameters += [end.id, code_of(end.kind)]
        if end.revision is not None:
            where.append(f"t1.{side}_revision = ?")
            parameters.append(end.revision)
    if wanted.tag is not None:
        where.append("EXISTS (SELECT 1 FROM tagging g WHERE g.record = t1.key AND g.tag = ?)")
        parameters.append(wanted.tag)
    return where, parameters


def _marks(part: Sequence[object]) -> str:
    return ",".join("?" * len(part))
