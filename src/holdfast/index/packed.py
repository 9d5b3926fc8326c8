"""Rows about packs: what lies in each, what has moved, and which pack nothing is in any more."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from holdfast.formats import paths
from holdfast.formats.pack import Spot
from holdfast.index import proof, revised
from holdfast.index.chunked import ChunkRows
from holdfast.index.database import Database
from holdfast.index.tables import LOOSE, STATE_KEPT
from holdfast.values import digest
from holdfast.values.frozen import dataclass

PAGE = 500
EVER = 1 << 62
"""Later than any time: microseconds."""

REFERENCED = revised.has_in_state("content.key", STATE_KEPT)
_PACKS = f"""SELECT k.name, count(content.key), coalesce(sum(content.size), 0), k.condemned_us
    FROM (SELECT key, name, condemned_us FROM container WHERE kind = 'pack' AND {{0}} ORDER BY name LIMIT {PAGE}) k
    LEFT JOIN blob b ON b.container > {LOOSE} AND b.container = k.key
    LEFT JOIN content ON content.key = b.content AND {{1}}
    GROUP BY k.key, k.name, k.condemned_us ORDER BY k.name"""
_DATED = proof.changed("container", ["condemned_us"])
_MOVED = proof.changed("blob", ["container", "offset", "start", "stored_bytes"])
_PLACED = proof.changed("blob", ["container", "offset", "start", "stored_bytes", "frames"])
_NOW = f"""SELECT b.content, CASE b.container WHEN {LOOSE} THEN NULL ELSE k.name END, b.offset, b.start
    FROM json_each(?) CROSS JOIN blob b JOIN container k ON k.key = b.container WHERE b.content = json_each.value
    AND b.container >= {LOOSE}"""
_USABLE = """typeof(b.offset) = 'integer' AND typeof(b.start) = 'integer' AND typeof(b.stored_bytes) = 'integer'
    AND typeof(c.digest) = 'blob' AND length(c.digest) = 32 AND typeof(c.size) = 'integer'"""
_TAKEN_IN = proof.changed("blob", ["container", "offset", "start", "stored_bytes", "frames"])
_SMALL = f"""FROM blob b JOIN content ON content.key = b.content
    WHERE b.container = {LOOSE} AND content.size BETWEEN 1 AND ? AND {REFERENCED}"""
_KEY = "(SELECT key FROM container WHERE name = ? AND kind = 'pack')"
_NAMED = f"""SELECT key, condemned_us, {proof.proven("container", "container")} FROM container
    WHERE name = ? AND kind = 'pack'"""


@dataclass(frozen=True, slots=True)
class PackRow:
    """A pack as the index knows it. `members`, `content`: how many, and bytes of, those that have a row, chunks too.

    `condemned_us`: since when nothing is in it; None: something is, or was when it was looked at last. `chunks`,
    `chunk_bytes`: those of them that are chunks and no contents.
    """

    name: str
    members: int
    content: int
    condemned_us: int | None
    chunks: int = 0
    chunk_bytes: int = 0


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


class Placed(Protocol):
    """A content with the place that its row said. `spot`: None for one with a file of its own."""

    @property
    def key(self) -> int:
        """Of its row."""
        ...

    @property
    def digest(self) -> str:
        """As text."""
        ...

    @property
    def spot(self) -> Spot | None:
        """Its place in a pack."""
        ...


def _where(spot: Spot) -> tuple[str, int, int]:
    return spot.pack, spot.offset, spot.start


class PackRows:
    """Reads and changes rows of packs and their members."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.chunks = ChunkRows(database)
        self._keys: dict[str, int] = {}
        self._last = ""
        self._seen: tuple[object, int] | None = None

    def each(self) -> Iterator[PackRow]:
        """Every pack that has a row, by name, in short reads."""
        after = ""
        while page := self._db.rows(_PACKS.format("name > ?", "1"), (after,)):
            yield from self._with_chunks(page).values()
            after = page[-1][0]

    def named(self, names: Sequence[str], *, gone_us: int | None = None) -> dict[str, PackRow]:
        """Those of up to PAGE packs that have a row, by name.

        `gone_us`: members that were condemned up to then and that no kept revision refers to do not count; EVER: all
        that none refers to. Chunks likewise, after marking.
        """
        stays = "1"
        if gone_us is not None:
            stays = f"({REFERENCED} OR ifnull(b.condemned_us, {EVER}) > {int(gone_us)})"
        sql = _PACKS.format(f"name IN ({', '.join('?' * len(names))})", stays)
        return self._with_chunks(self._db.rows(sql, tuple(names)), gone_us=gone_us)

    def _with_chunks(self, found: Sequence[tuple[Any, ...]], *, gone_us: int | None = None) -> dict[str, PackRow]:
        chunks = self.chunks.in_packs([row[0] for row in found], gone_us=gone_us) if found else {}
        rows = {}
        for name, members, content, condemned_us in found:
            more, size = chunks.get(name, (0, 0))
            rows[name] = PackRow(name, members + more, content + size, condemned_us, more, size)
        return rows

    def one(self, name: str) -> PackRow | None:
        """One pack; None if it has no row."""
        return self.named([name]).get(name)

    def members(self, name: str) -> Iterator[PackedRow]:
        """The members of a pack that have a row, in the order of the file, in short reads."""
        chunks = (PackedRow(c.key, c.digest, c.spot, c.condemned_us, chunk=True) for c in self.chunks.members(name))
        return heapq.merge(self._contents(name), chunks, key=lambda row: row.place)

    def _contents(self, name: str) -> Iterator[PackedRow]:
        offset, start = -1, -1
        sql = f"""SELECT b.content, c.digest, c.size, b.offset, b.stored_bytes, b.start, b.condemned_us
                  FROM blob b JOIN content c ON c.key = b.content
                  WHERE b.container > {LOOSE} AND b.container = {_KEY} AND {_USABLE} AND (b.offset, b.start) > (?, ?)
                  ORDER BY b.offset, b.start LIMIT {PAGE}"""
        while page := self._db.rows(sql, (name, offset, start)):
            for key, raw, size, offset, stored, start, condemned in page:
                yield PackedRow(key, digest.text(raw), Spot(name, offset, stored, start, size), condemned)

    def listed(self, name: str, after: tuple[int, int], up_to: int) -> list[tuple[bytes, int, int, int, int, int]]:
        """(raw digest, offset, bytes stored, start, size, frames) of contents in a pack, in the order of the file.

        Of those behind a place (offset, start) and in frames up to an offset.
        """
        sql = f"""SELECT c.digest, b.offset, b.stored_bytes, b.start, c.size, b.frames
                  FROM blob b JOIN content c ON c.key = b.content
                  WHERE b.container > {LOOSE} AND b.container = {_KEY} AND {_USABLE} AND (b.offset, b.start) > (?, ?)
                  AND b.offset <= ? ORDER BY b.offset, b.start"""
        return self._db.rows(sql, (name, *after, up_to))

    def count(self, name: str) -> tuple[int, int]:
        """How many rows say of contents, and of chunks, that they are in a pack."""
        blobs = f"SELECT count(*) FROM blob WHERE container > {LOOSE} AND container = {_KEY}"
        row = self._db.one(f"SELECT ({blobs}), (SELECT count(*) FROM chunk WHERE container = {_KEY})", (name, name))
        assert row is not None
        return int(row[0]), int(row[1])

    def key_of(self, name: str) -> int:
        """The key of a pack, whose row is made if there is none; it is not condemned any more."""
        if name not in self._keys:
            self._keys[name] = self._made_key(name)
            self._last = name
        return self._keys[name]

    def begin(self, version: int) -> None:
        """A transaction begins: keys of packs are known as long as nobody else writes."""
        seen = (self._db.raw(), version)
        if seen != self._seen:
            self._keys, self._seen = {}, seen

    def foresee(self) -> None:
        """Read the row of the pack that was spoken of last; see SqlIndex.foresee."""
        if self._last:
            self._db.one(_NAMED, (self._last,))

    def committed(self, version: int) -> None:
        """The version that this thread's own commit has made: where these count too."""
        self._seen = (self._db.raw(), version)

    def forget_keys(self) -> None:
        """A transaction was rolled back, or rows of packs change."""
        self._keys = {}

    def _made_key(self, name: str) -> int:
        row = self._db.one(_NAMED, (name,))
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

    def movable(self, rows: Sequence[Placed]) -> set[int]:
        """Keys of those of some contents that are there and that no repack has moved since their rows were read."""
        said = {row.key: (None, 0, 0) if row.spot is None else _where(row.spot) for row in rows}
        found = self._db.rows(_NOW, (json.dumps(list(said)),))
        return {key for key, *place in found if tuple(place) == said[key] or not paths.is_repacked(place[0] or "")}

    def place_all(self, places: Sequence[tuple[int, Spot]]) -> None:
        """Contents, by key, are in a pack now, wherever they were. In one transaction with `movable`."""
        keys = {name: self.key_of(name) for name in sorted({spot.pack for _, spot in places})}
        sql = f"""UPDATE blob SET container = ?1, offset = ?2, start = ?3, stored_bytes = ?4, frames = ?5,
                  crc = {_PLACED} WHERE content = ?6"""
        for key, spot in places:
            self._db.run(sql, (keys[spot.pack], spot.offset, spot.start, spot.stored_bytes, 1, key))

    def count_loose(self, up_to: int) -> tuple[int, int]:
        """(how many, bytes of the files of) contents of 1 to `up_to` bytes that are needed and have each a file."""
        row = self._db.one(f"SELECT count(*), coalesce(sum(b.stored_bytes), 0) {_SMALL}", (up_to,))
        assert row is not None
        return int(row[0]), int(row[1])

    def loose(self, up_to: int, *, after_key: int, limit: int = PAGE) -> list[tuple[int, str, int]]:
        """(key, digest, size) of these, by key: so about in the order in which they came."""
        sql = f"""SELECT b.content, content.digest, content.size {_SMALL} AND b.content > ?
                  AND typeof(content.digest) = 'blob' AND length(content.digest) = 32 ORDER BY b.content LIMIT ?"""
        return [(key, digest.text(raw), size) for key, raw, size in self._db.rows(sql, (up_to, after_key, limit))]

    def take_in(self, key: int, spot: Spot) -> bool:
        """A content that had a file of its own is in a pack now. False if its row is not what it was."""
        sql = f"""UPDATE blob SET container = ?1, offset = ?2, start = ?3, stored_bytes = ?4, frames = ?5,
                  crc = {_TAKEN_IN} WHERE content = ?6 AND container = {LOOSE} AND condemned_us IS NULL"""
        place = (self.key_of(spot.pack), spot.offset, spot.start, spot.stored_bytes, 1)
        return self._db.run(sql, (*place, key)).rowcount == 1

    def condemn(self, now_us: int) -> int:
        """Condemn the packs that nothing is in; how many were newly condemned."""
        self.forget_keys()
        sql = f"""UPDATE container SET condemned_us = ?1, crc = {_DATED} WHERE key > {LOOSE} AND condemned_us IS NULL
                  AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.container > {LOOSE} AND b.container = container.key)
                  AND NOT EXISTS (SELECT 1 FROM chunk h WHERE h.container = container.key)"""
        return self._db.run(sql, (now_us,)).rowcount

    def forget(self, name: str) -> None:
        """A pack is gone, and with it what was kept of it."""
        self.forget_keys()
        self._db.run("DELETE FROM container WHERE name = ? AND kind = 'pack'", (name,))
        self._db.run("DELETE FROM pending WHERE pack = ?", (name,))
