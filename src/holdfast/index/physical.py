"""Physical rows: where the bytes of each content are. Only files say so, never the chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.formats.pack import Spot
from holdfast.index import proof
from holdfast.index.apply.artifacts import STATE_KEPT
from holdfast.index.database import Database
from holdfast.index.packed import REFERENCED, PackRows
from holdfast.index.tables import LOOSE, RECIPES
from holdfast.values import digest, moment

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where one content is. `condemned_us`: since when gc means to remove it; None: it does not.

    `spot`: its place in a pack; None if it has a file of its own. `cut`: that file is a recipe.
    """

    key: int
    digest: str
    size: int
    stored_bytes: int
    frames: int
    condemned_us: int | None
    spot: Spot | None = None
    cut: bool = False


_PROVEN = f"{proof.proven('blob', 'blob')}, {proof.proven('content', 'content')}"
_IN = f"(SELECT k.name FROM container k WHERE k.key = blob.container AND {proof.proven('container', 'k')})"
_COLUMNS = f"""content.key, content.digest, content.size, blob.stored_bytes, blob.frames, blob.condemned_us,
    blob.container, blob.offset, blob.start, CASE WHEN blob.container <= {LOOSE} THEN NULL ELSE {_IN} END, {_PROVEN}"""
_CONDEMNED = proof.changed("blob", ["condemned_us"])
_FROM = "FROM blob JOIN content ON content.key = blob.content"
_OWN_BYTES = f"coalesce(sum(CASE WHEN blob.container <= {LOOSE} THEN blob.stored_bytes ELSE 0 END), 0)"
"""What removing blobs frees at once: in packs nothing."""
_PACK_KEY = "(SELECT key FROM container WHERE name = ? AND kind = 'pack')"


def _place(row: tuple[Any, ...]) -> Place:
    key, raw, size, stored_bytes, frames, condemned_us, container, offset, start, name = row[:10]
    spot = None if container <= LOOSE else Spot(name or "", offset, stored_bytes, start, size)
    return Place(key, digest.text(raw), size, stored_bytes, frames, condemned_us, spot, container == RECIPES)


class PhysicalRows:
    """Reads and changes the `blob` table."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self.packs = PackRows(database)
        self.chunks = self.packs.chunks

    def place(self, content_digest: str) -> Place | None:
        """Where a content is; None if it has no row, whatever files exist."""
        raw = digest.raw(content_digest)
        sql = f"SELECT {_COLUMNS} {_FROM} WHERE substr(content.digest, 1, 8) = ? AND content.digest = ?"
        row = self._db.one(sql, (raw[:8], raw))
        return None if row is None else _place(row)

    def content_key(self, content_digest: str) -> int | None:
        """Key of the content row of a digest; None if no change ever spoke of it."""
        raw = digest.raw(content_digest)
        row = self._db.one("SELECT key FROM content WHERE substr(digest, 1, 8) = ? AND digest = ?", (raw[:8], raw))
        return None if row is None else int(row[0])

    def wanted(self, content_digest: str) -> bool:
        """Whether a kept revision refers to a content, wherever its bytes are."""
        raw = digest.raw(content_digest)
        sql = f"SELECT 1 FROM content WHERE substr(digest, 1, 8) = ? AND digest = ? AND {REFERENCED}"
        return self._db.one(sql, (raw[:8], raw)) is not None

    def wanted_beside(self, content_digest: str, record_id: str, numbers: list[int]) -> bool:
        """Whether a kept revision refers to a content, apart from those of one artifact with these numbers."""
        raw = digest.raw(content_digest)
        sql = f"""SELECT record.id, revision.number FROM content JOIN revision ON revision.content = content.key
                  JOIN record ON record.key = revision.artifact WHERE substr(content.digest, 1, 8) = ?
                  AND content.digest = ? AND revision.state = {STATE_KEPT} LIMIT ?"""
        own = {(moment.id_bytes(record_id), number) for number in numbers}
        return any(tuple(row) not in own for row in self._db.rows(sql, (raw[:8], raw, len(own) + 1)))

    def spot(self, content_digest: str) -> Spot | None:
        """The place of a content in a pack; None if it is in none."""
        place = self.place(content_digest)
        return None if place is None else place.spot

    def vouched(self, pack: str) -> int:
        """The largest offset of a pack that a row speaks of; 0 if none does. Rows come after syncs."""
        sql = f"SELECT max(blob.offset) FROM blob WHERE blob.container > {LOOSE} AND blob.container = {_PACK_KEY}"
        row = self._db.one(sql, (pack,))
        return max(int(row[0] or 0) if row else 0, self.chunks.vouched(pack))

    def is_cut(self, content_digest: str) -> bool:
        """Whether a content is stored as chunks."""
        place = self.place(content_digest)
        return place is not None and place.cut

    def chunk(self, chunk_digest: str) -> Spot | None:
        """The place of a chunk; None if it has none."""
        found = self.chunks.place(chunk_digest)
        return None if found is None else found.spot

    def has_chunk(self, raw: bytes) -> bool:
        """Whether a chunk, by its raw digest, is here to stay."""
        return self.chunks.has(raw)

    def register_chunk(self, chunk_digest: str, spot: Spot) -> None:
        """A chunk is there: its row, or its new place; no longer condemned."""
        self.chunks.register(chunk_digest, spot, self.packs.key_of(spot.pack))

    def register(
        self, content_digest: str, stored_bytes: int, frames: int, *, spot: Spot | None = None, cut: bool = False
    ) -> bool:
        """A blob is there: its row, no longer condemned. False if no change speaks of the content.

        `cut`: it has a recipe, which lists `frames` chunks.
        """
        key = self.content_key(content_digest)
        if key is None:
            return False
        place = (
            (RECIPES if cut else LOOSE, 0, 0)
            if spot is None
            else (self.packs.key_of(spot.pack), spot.offset, spot.start)
        )
        cells = (key, *place, stored_bytes, frames, None)
        self._db.run(
            "INSERT INTO blob (content, container, offset, start, stored_bytes, frames, condemned_us, crc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (content) DO UPDATE SET container = excluded.container, "
            "offset = excluded.offset, start = excluded.start, stored_bytes = excluded.stored_bytes, "
            "frames = excluded.frames, condemned_us = NULL, crc = excluded.crc",
            (*cells, proof.checksum("blob", *cells)),
        )
        return True

    def revive(self, key: int) -> None:
        """A condemned blob is wanted again."""
        self._db.run(f"UPDATE blob SET condemned_us = ?1, crc = {_CONDEMNED} WHERE content = ?2", (None, key))

    def condemn(self, now_us: int) -> int:
        """Condemn every blob that no kept revision refers to; how many were newly condemned."""
        sql = f"""UPDATE blob SET condemned_us = ?1, crc = {_CONDEMNED} WHERE condemned_us IS NULL AND content IN
                  (SELECT content.key {_FROM} WHERE blob.condemned_us IS NULL AND NOT {REFERENCED})"""
        return self._db.run(sql, (now_us,)).rowcount

    def acquit(self) -> int:
        """Blobs that were condemned and are referred to again are condemned no more; how many."""
        sql = f"""UPDATE blob SET condemned_us = ?1, crc = {_CONDEMNED} WHERE condemned_us IS NOT NULL AND content IN
                  (SELECT content.key {_FROM} WHERE blob.condemned_us IS NOT NULL AND {REFERENCED})"""
        return self._db.run(sql, (None,)).rowcount

    def condemned(self, *, before_us: int, after_key: int = 0, limit: int = _PAGE) -> list[Place]:
        """Blobs condemned before a time and still referred to by nothing, by key."""
        sql = f"""SELECT {_COLUMNS} {_FROM} WHERE blob.condemned_us IS NOT NULL AND blob.condemned_us <= ?
                  AND content.key > ? AND NOT {REFERENCED} ORDER BY content.key LIMIT ?"""
        return [_place(row) for row in self._db.rows(sql, (before_us, after_key, limit))]

    def unreferenced(self) -> tuple[int, int]:
        """(how many, bytes of the files of) blobs that no kept revision refers to."""
        sql = f"SELECT count(*), {_OWN_BYTES} {_FROM} WHERE NOT {REFERENCED}"
        row = self._db.one(sql)
        assert row is not None
        return int(row[0]), int(row[1])

    def count_condemned(self, *, before_us: int = 1 << 62) -> tuple[int, int]:
        """(how many, bytes of the files of) blobs condemned before a time and still referred to by nothing."""
        sql = f"""SELECT count(*), {_OWN_BYTES} {_FROM}
                  WHERE blob.condemned_us <= ? AND NOT {REFERENCED}"""
        row = self._db.one(sql, (before_us,))
        assert row is not None
        return int(row[0]), int(row[1])

    def remove(self, key: int) -> None:
        """A blob is gone: no row, no presence."""
        self._db.run("DELETE FROM blob WHERE content = ?", (key,))

    def places(self) -> Iterator[Place]:
        """Every blob that has a row, in short reads, by key."""
        after = 0
        while True:
            sql = f"SELECT {_COLUMNS} {_FROM} WHERE content.key > ? ORDER BY content.key LIMIT ?"
            page = self._db.rows(sql, (after, _PAGE))
            for row in page:
                yield _place(row)
                after = row[0]
            if len(page) < _PAGE:
                return

    def missing(self) -> Iterator[tuple[str, int]]:
        """(digest, size) of content that kept revisions refer to and that has no row, by key."""
        after = 0
        while True:
            sql = f"""SELECT content.key, content.digest, content.size FROM content
                      LEFT JOIN blob ON blob.content = content.key
                      WHERE blob.content IS NULL AND content.key > ? AND {REFERENCED} ORDER BY content.key LIMIT ?"""
            page = self._db.rows(sql, (after, _PAGE))
            for key, raw, size in page:
                yield digest.text(raw), size
                after = key
            if len(page) < _PAGE:
                return

    def forget_all(self) -> None:
        """Empty the physical tables, before they are filled from files."""
        self._db.run("DELETE FROM blob")
        self._db.run("DELETE FROM chunk")
        self._db.run(f"DELETE FROM container WHERE key > {LOOSE}")
