"""How much there is of everything: the counting queries of `status`."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.index.apply.artifacts import STATE_KEPT
from holdfast.index.database import Database
from holdfast.index.migrations import runner
from holdfast.index.tables import KIND_NAMES


@dataclass(frozen=True, slots=True)
class Contents:
    """Sizes in bytes. `logical`: of all kept revisions; `unique`: each content once; `stored`: as compressed files.

    `condemned`: blobs that gc means to remove, `condemned_bytes` as files.
    """

    revisions: int
    logical: int
    blobs: int
    unique: int
    stored: int
    condemned: int
    condemned_bytes: int


# A frame of a pack counts once, whoever shares it.
_STORED = """SELECT sum(stored_bytes) FROM (SELECT stored_bytes FROM blob WHERE container = 0 AND {0} UNION ALL
             SELECT max(stored_bytes) FROM blob WHERE container > 0 AND {0} GROUP BY container, offset)"""


class Totals:
    """Counts rows. Each query reads its tables once."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def records(self) -> tuple[dict[str, int], dict[str, int]]:
        """(live, deleted) records by kind; the root collection, which nobody made, is not counted."""
        live, deleted = dict.fromkeys(KIND_NAMES.values(), 0), dict.fromkeys(KIND_NAMES.values(), 0)
        sql = "SELECT kind, deleted = 0, count(*) FROM record GROUP BY 1, 2"
        for kind, is_live, count in self._db.rows(sql):
            (live if is_live else deleted)[KIND_NAMES.get(kind, "unknown")] = count
        live["collection"] -= self._number("SELECT count(*) FROM collection WHERE parent IS NULL")
        return live, deleted

    def contents(self) -> Contents:
        """Revisions and blobs."""
        kept = f"FROM revision v JOIN content c ON c.key = v.content WHERE v.state = {STATE_KEPT}"
        blobs = "FROM blob b JOIN content c ON c.key = b.content"
        return Contents(
            revisions=self._number("SELECT count(*) FROM revision"),
            logical=self._number(f"SELECT sum(c.size) {kept}"),
            blobs=self._number("SELECT count(*) FROM blob"),
            unique=self._number(f"SELECT sum(c.size) {blobs}"),
            stored=self._number(_STORED.format("1")),
            condemned=self._number("SELECT count(*) FROM blob WHERE condemned_us IS NOT NULL"),
            condemned_bytes=self._number(_STORED.format("condemned_us IS NOT NULL")),
        )

    def schema_version(self) -> int:
        """The version of the schema."""
        return runner.version_of(self._db)

    def _number(self, sql: str) -> int:
        row = self._db.one(sql)
        return int(row[0] or 0) if row else 0
