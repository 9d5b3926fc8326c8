"""How much there is of everything: the counting queries of `status`."""

from __future__ import annotations

from holdfast.index import migrating, proof
from holdfast.index.database import Database
from holdfast.index.tables import KIND_NAMES, STATE_KEPT
from holdfast.values.frozen import dataclass

PROVEN_ROWS = 50_000
"""Proving a row costs some two microseconds, several times what counting it does: a quarter of a second for so many."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Sizes in bytes. `logical`: of all kept revisions; `unique`: each content once; `stored`: compressed.

    `condemned`: blobs that gc means to remove, `condemned_bytes` as files.
    """

    revisions: int
    logical: int
    blobs: int
    unique: int
    stored: int
    condemned: int
    condemned_bytes: int


# A frame that members of a pack share counts with the first of them.
_FILE = "CASE b.start WHEN 0 THEN b.stored_bytes ELSE 0 END"


class Totals:
    """Counts rows. Each query reads its tables once; up to PROVEN_ROWS records, rows prove themselves as they count."""

    def __init__(self, database: Database) -> None:
        self._db = database
        few = self._db.one("SELECT 1 FROM record LIMIT 1 OFFSET ?", (PROVEN_ROWS,)) is None
        self._proves = few

    def records(self) -> tuple[dict[str, int], dict[str, int]]:
        """(live, deleted) records by kind; the root collection, which nobody made, is not counted."""
        live, deleted = dict.fromkeys(KIND_NAMES.values(), 0), dict.fromkeys(KIND_NAMES.values(), 0)
        sql = f"SELECT kind, deleted = 0, count(*) FROM record r WHERE {self._proven('record', 'r')} GROUP BY 1, 2"
        for kind, is_live, count in self._db.rows(sql):
            (live if is_live else deleted)[KIND_NAMES.get(kind, "unknown")] = count
        live["collection"] -= self._number("SELECT count(*) FROM collection WHERE parent IS NULL")
        return live, deleted

    def contents(self) -> Contents:
        """Revisions and blobs."""
        # No row is left out before it has proven itself.
        revisions, logical = self._row(
            f"""SELECT count(*), sum(CASE WHEN v.state = {STATE_KEPT} THEN c.size END)
                FROM revision v LEFT JOIN content c ON c.key = v.content
                WHERE {self._proven("revision", "v")} AND {self._proven("content", "c")}"""
        )
        blobs, unique, stored, condemned, condemned_bytes = self._row(
            f"""SELECT count(*), sum(c.size), sum({_FILE}), count(b.condemned_us),
                sum(CASE WHEN b.condemned_us IS NOT NULL THEN {_FILE} END)
                FROM blob b LEFT JOIN content c ON c.key = b.content
                WHERE {self._proven("blob", "b")} AND {self._proven("content", "c")}"""
        )
        (chunks,) = self._row(
            f"SELECT sum(CASE h.start WHEN 0 THEN h.stored_bytes ELSE 0 END) FROM chunk h "
            f"WHERE {self._proven('chunk', 'h')}"
        )
        return Contents(revisions, logical, blobs, unique, stored + chunks, condemned, condemned_bytes)

    def schema_version(self) -> int:
        """The version of the schema."""
        return migrating.version_of(self._db)

    def _proven(self, table: str, alias: str) -> str:
        return proof.proven(table, alias) if self._proves else "1"

    def _row(self, sql: str) -> tuple[int, ...]:
        return tuple(int(cell or 0) for cell in self._db.one(sql) or ())

    def _number(self, sql: str) -> int:
        row = self._db.one(sql)
        return int(row[0] or 0) if row else 0
