"""The plan of a repack: which contents, in which order, so that similar ones are neighbours. SQLite sorts it.

The plan is a temporary table of this thread's connection, in a file of SQLite's own, so its length costs no memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from holdfast.formats.pack import Spot
from holdfast.index import proof, revised
from holdfast.index.database import Database
from holdfast.index.tables import LOOSE, STATE_KEPT
from holdfast.values import digest
from holdfast.values.frozen import dataclass

_PAGE = 500
_DROP = ("DROP TABLE IF EXISTS temp.repack_plan", "DROP TABLE IF EXISTS temp.repack_source")
_MAKE = (
    "CREATE TEMP TABLE repack_source (key INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE repack_plan (n INTEGER PRIMARY KEY, content INTEGER, artifact INTEGER, whole INTEGER)",
)
_SOURCES = """INSERT INTO temp.repack_source SELECT k.key FROM json_each(?) CROSS JOIN container k
    WHERE k.name = json_each.value AND k.kind = 'pack'"""
_OTHERS = f"""EXISTS (SELECT 1 FROM revision o WHERE {revised.of_artifact("o", "h.artifact")} AND o.state = {STATE_KEPT}
    AND o.content <> h.content)"""
_ORDER = "a.type, n.media_type, a.name, a.stray, h.artifact, h.number DESC"
_PLAN = f"""WITH home AS (
        SELECT b.content AS content, c.size AS size, b.container AS container, r.artifact AS artifact,
            r.number AS number FROM blob b JOIN content c ON c.key = b.content JOIN revision r ON r.key =
            (SELECT min(v.key) FROM revision v WHERE {revised.of_content("v", "b.content")} AND v.state = {STATE_KEPT})
        WHERE b.condemned_us IS NULL AND (b.container IN (SELECT key FROM temp.repack_source)
            OR (b.container = {LOOSE} AND c.size BETWEEN 1 AND ?1)))
    INSERT INTO temp.repack_plan (n, content, artifact, whole)
    SELECT row_number() OVER (ORDER BY {_ORDER}), h.content, h.artifact, sum(h.size) OVER (PARTITION BY h.artifact)
    FROM home h JOIN artifact a ON a.key = h.artifact LEFT JOIN revision n ON n.key = a.newest
    WHERE h.container <> {LOOSE} OR h.size <= ?2 OR {_OTHERS}"""
_STORED = f"CASE WHEN b.container = {LOOSE} OR b.start = 0 THEN b.stored_bytes ELSE 0 END"
_GOES = f"b.container > {LOOSE} AND NOT EXISTS (SELECT 1 FROM chunk h WHERE h.container = b.container)"
_TOTALS = f"""SELECT count(*), coalesce(sum(c.size), 0), coalesce(sum({_STORED}), 0),
    count(CASE WHEN b.container = {LOOSE} THEN 1 END), count(DISTINCT CASE WHEN {_GOES} THEN b.container END)
    FROM temp.repack_plan p JOIN blob b ON b.content = p.content JOIN content c ON c.key = p.content"""
_READ = f"""SELECT p.n, p.artifact, p.whole, c.key, c.digest, c.size, b.container, k.name, b.offset, b.start,
    b.stored_bytes, {proof.proven("blob", "b")}, {proof.proven("content", "c")}, {proof.proven("container", "k")}
    FROM temp.repack_plan p JOIN content c ON c.key = p.content JOIN blob b ON b.content = p.content
    JOIN container k ON k.key = b.container
    WHERE p.n > ? AND (b.container = {LOOSE} OR b.container IN (SELECT key FROM temp.repack_source))
    ORDER BY p.n LIMIT {_PAGE}"""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One content to be repacked. `spot`: where it is; None: it has a file of its own.

    `artifact`: key of the artifact that had it first; `whole`: bytes of all planned contents of that artifact.
    """

    key: int
    digest: str
    size: int
    spot: Spot | None
    artifact: int
    whole: int


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """What a plan comes to: contents, their bytes, the bytes that they take now, and out of how many files and packs.

    `stored_bytes`: frames of which the first member is planned, and loose files.
    """

    contents: int
    content_bytes: int
    stored_bytes: int
    loose: int
    packs: int


class RepackPlan:
    """Made by `make`, read by `rows` in its order, dropped by `drop`; by one thread."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def make(self, packs: Sequence[str], *, loose_up_to: int, alone_up_to: int) -> PlanTotals:
        """Plan all wanted contents of some packs, and loose ones.

        Loose ones of up to `alone_up_to` bytes; of up to `loose_up_to` if their artifact has other contents too.
        """
        self.drop()
        for sql in _MAKE:
            self._db.run(sql)
        self._db.run(_SOURCES, (json.dumps(list(packs)),))
        self._db.run(_PLAN, (loose_up_to, alone_up_to))
        row = self._db.one(_TOTALS)
        assert row is not None
        return PlanTotals(*map(int, row))

    def rows(self) -> Iterator[PlannedRow]:
        """The contents that are still where they were planned from, in short reads. IndexDamagedError."""
        after = 0
        while page := self._db.rows(_READ, (after,)):
            for n, artifact, whole, key, raw, size, container, name, offset, start, stored, *_ in page:
                spot = None if container == LOOSE else Spot(name, offset, stored, start, size)
                yield PlannedRow(key, digest.text(raw), size, spot, artifact, whole)
                after = n

    def drop(self) -> None:
        """Forget the plan."""
        for sql in _DROP:
            self._db.run(sql)
