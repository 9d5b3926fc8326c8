"""Rows about packs: what lies in each, what has moved, and which pack nothing is in any more."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.formats.pack import Spot
from holdfast.index import proof
from holdfast.index.apply.artifacts import STATE_KEPT
from holdfast.index.chunked import ChunkRows
from holdfast.index.database import Database
from holdfast.index.tables import LOOSE
from holdfast.values import digest

_PAGE = 500
REFERENCED = f"EXISTS (SELECT 1 FROM revision WHERE revision.content = content.key AND revision.state = {STATE_KEPT})"
_PACKS = f"""SELECT k.name, count(content.key), coalesce(sum(content.size), 0), k.condemned_us FROM container k
    LEFT JOIN blob b ON b.container > {LOOSE} AND b.container = k.key
    LEFT JOIN content ON content.key = b.content AND {{0}} WHERE {{1}} GROUP BY k.key ORDER BY k.name"""
_DATED = proof.changed("container", ["condemned_us"])
_MOVED = proof.changed("blob", ["container", "offset", "start", "stored_bytes"])
_USABLE = """typeof(b.offset) = 'integer' AND typeof(b.start) = 'integer' AND typeof(b.stored_bytes) = 'integer'
    AND typeof(c.digest) = 'blob' AND length(c.digest) = 32 AND typeof(c.size) = 'integer'"""
_KEY = "(SELECT key FROM container WHERE name = ? AND kind = 'pack')"


@dataclass(frozen=True, slots=True)
class PackRow:
    """A pack as the index knows it. `members`, `content`: how many, and bytes of, those that have a row; chunks too.

    `condemned_us`: since when nothing is in it; None: something is, or was when it was looked at last.
    """

    name: str
    members: int
    content: int
    condemned_us: int | None


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A member's row. `condemned_us`: since when gc means to remove it; None: it does not. `chunk`: it is one."""

    key: int
    digest: str
    spot: Spot
    condemned_us: int | None
    chunk: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Members are in this order in a file."""
        return self.spot.offset, self.spot.start


class PackRows:
    """Reads and changes rows of packs and their members."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.chunks = ChunkRows(database)

    def all(self) -> list[PackRow]:
        """Every pack that has a row, by name."""
        return self._all("1", self.chunks.in_packs())

    def all_as_wanted(self) -> list[PackRow]:
        """The same, but members that nothing needs do not count: so will it be when gc has been. After marking."""
        return self._all(REFERENCED, self.chunks.in_packs(needed_alone=True))

    def _all(self, which: str, chunks: dict[str, tuple[int, int]]) -> list[PackRow]:
        found = []
        for name, members, content, condemned_us in self._db.rows(_PACKS.format(which, f"k.key > {LOOSE}")):
            more, size = chunks.get(name, (0, 0))
            found.append(PackRow(name, members + more, content + size, condemned_us))
        return found

    def one(self, name: str) -> PackRow | None:
        """One pack; None if it has no row."""
        row = self._db.one(_PACKS.format("1", "k.name = ? AND k.kind = 'pack'"), (name,))
        if row is None:
            return None
        more, size = self.chunks.in_pack(name)
        return PackRow(name, row[1] + more, row[2] + size, row[3])

    def members(self, name: str) -> Iterator[PackedRow]:
        """The members of a pack that have a row, in the order of the file, in short reads."""
        chunks = (PackedRow(c.key, c.digest, c.spot, c.condemned_us, chunk=True) for c in self.chunks.members(name))
        return heapq.merge(self._contents(name), chunks, key=lambda row: row.place)

    def _contents(self, name: str) -> Iterator[PackedRow]:
        offset, start = -1, -1
        sql = f"""SELECT b.content, c.digest, c.size, b.offset, b.stored_bytes, b.start, b.condemned_us
                  FROM blob b JOIN content c ON c.key = b.content
                  WHERE b.container > {LOOSE} AND b.container = {_KEY} AND {_USABLE} AND (b.offset, b.start) > (?, ?)
                  ORDER BY b.offset, b.start LIMIT {_PAGE}"""
        while page := self._db.rows(sql, (name, offset, start)):
            for key, raw, size, offset, stored, start, condemned in page:
                yield PackedRow(key, digest.text(raw), Spot(name, offset, stored, start, size), condemned)

    def key_of(self, name: str) -> int:
        """The key of a pack, whose row is made if there is none; it is not condemned any more."""
        row = self._db.one(
            f"SELECT key, condemned_us, {proof.proven('container', 'container')} FROM container "
            "WHERE name = ? AND kind = 'pack'", (name,),
        )  # fmt: skip
        if row is None:
            found = self._db.one("SELECT max(key) + 1 FROM container")
            assert found is not None
            cells = (int(found[0]), "pack", name, None)
            sql = "INSERT INTO container (key, kind, name, condemned_us, crc) VALUES (?, ?, ?, ?, ?)"
            self._db.run(sql, (*cells, proof.checksum("container", *cells)))
            return cells[0]
        if row[1] is not None:
            self._db.run(f"UPDATE container SET condemned_us = ?1, crc = {_DATED} WHERE key = ?2", (None, row[0]))
        return int(row[0])

    def move(self, row: PackedRow, spot: Spot) -> bool:
        """A member was written again elsewhere: its row says so. False if the row is not what it was."""
        sql = f"""UPDATE blob SET container = ?1, offset = ?2, start = ?3, stored_bytes = ?4, crc = {_MOVED}
                  WHERE content = ?5 AND container = {_KEY.replace("?", "?6")} AND offset = ?7 AND start = ?8"""
        if row.chunk:
            return self.chunks.move(row.key, row.spot, spot, self.key_of(spot.pack))
        old, place = row.spot, (self.key_of(spot.pack), spot.offset, spot.start, spot.stored_bytes)
        return self._db.run(sql, (*place, row.key, old.pack, old.offset, old.start)).rowcount == 1

    def condemn(self, now_us: int) -> int:
        """Condemn the packs that nothing is in; how many were newly condemned."""
        sql = f"""UPDATE container SET condemned_us = ?1, crc = {_DATED} WHERE key > {LOOSE} AND condemned_us IS NULL
                  AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.container > {LOOSE} AND b.container = container.key)
                  AND NOT EXISTS (SELECT 1 FROM chunk h WHERE h.container = container.key)"""
        return self._db.run(sql, (now_us,)).rowcount

    def forget(self, name: str) -> None:
        """A pack is gone."""
        self._db.run("DELETE FROM container WHERE name = ? AND kind = 'pack'", (name,))
