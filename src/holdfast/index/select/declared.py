"""Declared indexes on metadata: which there are, and how far they narrow a search for artifacts."""

from __future__ import annotations

import math
from collections.abc import Iterable

from holdfast.index import metadata, proof
from holdfast.index.database import Database
from holdfast.index.metadata import DECLARED, Span
from holdfast.index.select.lookups import TIME_OF, Lookups
from holdfast.index.select.piece import SQL
from holdfast.values import moment
from holdfast.values.frozen import dataclass
from holdfast.values.query import All, Compare, Condition
from holdfast.values.records import MetadataIndex

FEW = 5_000
"""A range with more values than that is not listed in order of age, nor one with so many that a page is found sooner by
going through all: in n artifacts of which m are wanted, p of them stand among the first p * n / m."""

_FOUND = f"""SELECT m.key, r.id, m.field, {TIME_OF.format("m.key")},
    (SELECT count(*) FROM metadata_value v WHERE v.declared = m.key), {proof.proven("metadata_index", "m")},
    {proof.proven("record", "r")} FROM metadata_index m LEFT JOIN record r ON r.key = m.key
    WHERE m.live = 1 ORDER BY m.key"""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a declared index in which a condition's artifacts lie."""

    index: int
    span: Span

    @property
    def alias(self) -> str:
        """What the index is called in a query."""
        return f"d{self.index}"

    @property
    def one(self) -> bool:
        """Whether all of them have the same value: then the index has them in order of age."""
        return self.span.keys is not None and len(self.span.keys) == 1

    @property
    def where(self) -> SQL:
        """SQL about the alias."""
        sql, parameters = self.span.sql(f"{self.alias}.value")
        return SQL(f"{self.alias}.declared = ? AND {sql}", (self.index, *parameters))

    def among(self) -> SQL:
        """The artifact (t1) is one of these: from the index first, or looked for in a list of them."""
        sql = f"t1.key IN (SELECT {self.alias}.artifact FROM metadata_value {self.alias} WHERE {self.where.sql})"
        return SQL(sql, self.where.params)

    def has(self) -> SQL:
        """The artifact (t1), found otherwise, is one of these."""
        inner = f"SELECT 1 FROM metadata_value {self.alias} WHERE {self.where.sql} AND {self.alias}.artifact = t1.key"
        return SQL(f"EXISTS ({inner})", self.where.params)


class DeclaredRows:
    """Reads what is declared."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self.lookups = lookups

    def all(self) -> list[MetadataIndex]:
        """The indexes that there are, by age."""
        rows = self._db.rows(_FOUND)
        self.lookups.prove_times(row[0] for row in rows)
        return [
            MetadataIndex(moment.id_text(row[1]), row[2], row[4], self.lookups.time(row[0], row[3])) for row in rows
        ]

    def fields(self) -> dict[str, str]:
        """Field by alias, for plans."""
        return {f"d{key}": field for key, field in self._declared().values()}

    def index_of(self, steps: tuple[str | int, ...]) -> int | None:
        """The key of the index on a path of metadata; None if none is declared."""
        found = self._declared().get(steps)
        return None if found is None else found[0]

    def part(self, one: Compare) -> Part | None:
        """The part of an index that a condition leaves; None if none is declared for its field, or it leaves all."""
        if not one.field.startswith(metadata.PREFIX):
            return None
        found = self._declared().get(metadata.steps_of(one.field))
        span = None if found is None else metadata.span_of(one)
        return None if found is None or span is None else Part(found[0], span)

    def parts(self, comparisons: Iterable[Compare]) -> list[tuple[Part, list[Compare]]]:
        """The parts of indexes that some comparisons leave together, each with those that it stands for."""
        found: dict[int, tuple[Part, list[Compare]]] = {}
        for one in comparisons:
            part = self.part(one)
            if part is not None:
                before, those = found.get(part.index, (part, []))
                found[part.index] = Part(part.index, before.span & part.span), [*those, one]
        return list(found.values())

    def rarest(self, condition: Condition | None) -> tuple[Compare, Part] | None:
        """Of the values that every artifact wanted must have, the one that fewest have."""
        found = [(one, part) for one in required(condition) if (part := self.part(one)) and part.one]
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda pair: self._count(pair[1], 1_000))

    def is_short(self, part: Part, page: int) -> bool:
        """Whether listing a part costs less than going through all artifacts until a page of its are found."""
        (last,) = self._db.one("SELECT max(key) FROM artifact") or (0,)
        most = min(FEW, math.isqrt(page * (last or 0)))
        return self._count(part, most + 1) <= most

    def _count(self, part: Part, limit: int) -> int:
        inner = f"SELECT 1 FROM metadata_value {part.alias} WHERE {part.where.sql} LIMIT {limit}"
        row = self._db.one(f"SELECT count(*) FROM ({inner})", part.where.params)
        return int(row[0]) if row else 0

    def _declared(self) -> dict[tuple[str | int, ...], tuple[int, str]]:
        sight = self.lookups.sights.now()
        if sight.declared is None:
            rows = self._db.rows(DECLARED)
            sight.declared = {metadata.steps_of(field): (key, field) for key, field, _ in rows}
        return sight.declared


def required(condition: Condition | None) -> Iterable[Compare]:
    """The comparisons that a condition cannot do without."""
    if isinstance(condition, Compare):
        yield condition
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from required(part)
