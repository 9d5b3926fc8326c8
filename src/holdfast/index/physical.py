"""Physical rows: where the bytes of each content are. Only files say so, never the chain."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from holdfast.formats.pack import Spot
from holdfast.index import columnar, composing, proof, revised
from holdfast.index.database import Database
from holdfast.index.packed import REFERENCED, PackRows
from holdfast.index.pending import PendingRows
from holdfast.index.planned import RepackPlan
from holdfast.index.rows import Alike, Column
from holdfast.index.tables import LOOSE, RECIPES, STATE_KEPT
from holdfast.values import digest, moment
from holdfast.values.frozen import dataclass

_PAGE = 1_000
NOTED = "noted"
"""A fact of an index: notes elsewhere that speak of its rows name the same token."""


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
_PLACE = f"SELECT {_COLUMNS} {_FROM} WHERE substr(content.digest, 1, 4) = ? AND content.digest = ?"
_CONTENT_KEY = "SELECT key FROM content WHERE substr(digest, 1, 4) = ? AND digest = ?"
_OWN_BYTES = f"coalesce(sum(CASE WHEN blob.container <= {LOOSE} THEN blob.stored_bytes ELSE 0 END), 0)"
"""What removing blobs frees at once: in packs nothing."""
_PACK_KEY = "(SELECT key FROM container WHERE name = ? AND kind = 'pack')"
_OF_MANY = """json_each(?1) AS n CROSS JOIN content ON substr(content.digest, 1, 4) = substr(?2, n.key * 32 + 1, 4)
    AND content.digest = substr(?2, n.key * 32 + 1, 32)"""
"""Contents by many digests, with one statement: a list of as many zeros, and the raw digests one after the other."""


class Present(Protocol):
    """A blob that is there: what its row is to say. `spot`: its place in a pack, None if it has a file of its own."""

    @property
    def digest(self) -> str:
        """As text."""
        ...

    @property
    def stored_bytes(self) -> int:
        """Of its file, or of its frame."""
        ...

    @property
    def frames(self) -> int:
        """How many."""
        ...

    @property
    def spot(self) -> Spot | None:
        """Its place."""
        ...


Row = tuple[int | None, ...]
"""A row of `blob` but for its checksum."""


_LOOSE = Spot("", 0, 0, 0, 0)
"""Stands for the place of what has a file of its own."""

_AGAIN = """ ON CONFLICT (content) DO UPDATE SET container = excluded.container, offset = excluded.offset,
    start = excluded.start, stored_bytes = excluded.stored_bytes, frames = excluded.frames, condemned_us = NULL,
    crc = excluded.crc"""


@functools.cache
def _placing() -> str:
    """The statement for one row."""
    return composing.insert("blob", proof.COLUMNS["blob"], 1) + _AGAIN


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
        self.pending = PendingRows(database)
        self.repack_plan = RepackPlan(database)

    def place(self, content_digest: str) -> Place | None:
        """Where a content is; None if it has no row, whatever files exist."""
        raw = digest.raw(content_digest)
        row = self._db.one(_PLACE, (raw[:4], raw))
        return None if row is None else _place(row)

    def places(self, digests: Collection[str]) -> dict[str, Place]:
        """Where contents are, with one query; those that have no row are left out."""
        raws = digest.raws([*digests])
        sql = f"SELECT {_COLUMNS} FROM {_OF_MANY} JOIN blob ON blob.content = content.key"
        rows = self._db.rows(sql, (_zeros(raws), b"".join(raws))) if raws else []
        return {place.digest: place for place in map(_place, rows)}

    def spoken(self, digests: Collection[str]) -> set[str]:
        """Those of some contents that changes have spoken of, with one query."""
        raws = digest.raws([*digests])
        sql = f"SELECT content.digest FROM {_OF_MANY}"
        rows = self._db.rows(sql, (_zeros(raws), b"".join(raws))) if raws else []
        return {digest.text(raw) for (raw,) in rows}

    def content_key(self, content_digest: str) -> int | None:
        """Key of the content row of a digest; None if no change ever spoke of it."""
        raw = digest.raw(content_digest)
        row = self._db.one(_CONTENT_KEY, (raw[:4], raw))
        return None if row is None else int(row[0])

    def wanted(self, content_digest: str) -> bool:
        """Whether a kept revision refers to a content, wherever its bytes are."""
        raw = digest.raw(content_digest)
        sql = f"SELECT 1 FROM content WHERE substr(digest, 1, 4) = ? AND digest = ? AND {REFERENCED}"
        return self._db.one(sql, (raw[:4], raw)) is not None

    def wanted_beside(self, content_digest: str, record_id: str, numbers: list[int]) -> bool:
        """Whether a kept revision refers to a content, apart from those of one artifact with these numbers."""
        raw = digest.raw(content_digest)
        sql = f"""SELECT record.id, revision.number FROM content
                  JOIN revision ON {revised.of_content("revision", "content.key")}
                  JOIN record ON record.key = revision.artifact WHERE substr(content.digest, 1, 4) = ?
                  AND content.digest = ? AND revision.state = {STATE_KEPT} LIMIT ?"""
        own = {(moment.id_bytes(record_id), number) for number in numbers}
        return any(tuple(row) not in own for row in self._db.rows(sql, (raw[:4], raw, len(own) + 1)))

    def spot(self, content_digest: str) -> Spot | None:
        """The place of a content in a pack; None if it is in none."""
        place = self.place(content_digest)
        return None if place is None else place.spot

    def vouched(self, pack: str) -> int:
        """The largest offset of a pack that a row speaks of; 0 if none does, or a sync is still to reach some of it."""
        if pack in self.pending.packs():
            return 0
        sql = f"SELECT max(blob.offset) FROM blob WHERE blob.container > {LOOSE} AND blob.container = {_PACK_KEY}"
        row = self._db.one(sql, (pack,))
        return max(int(row[0] or 0) if row else 0, self.chunks.vouched(pack))

    def kept(self, pack: str, offset: int, length: int) -> bytes | None:
        """Bytes of a pack that are kept until a sync has reached them there; None if they are not."""
        return self.pending.span(pack, offset, length)

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

    def register_chunks(self, fresh: Sequence[tuple[bytes, Spot]]) -> None:
        """The same of many, by raw digests."""
        found = dict(fresh)
        self.chunks.register_all(found, {name: self.packs.key_of(name) for name in {s.pack for s in found.values()}})

    def register(
        self, content_digest: str, stored_bytes: int, frames: int, *, spot: Spot | None = None, cut: bool = False
    ) -> bool:
        """A blob is there: its row, no longer condemned. False if no change speaks of the content.

        `cut`: it has a recipe, which lists `frames` chunks.
        """
        key = self.content_key(content_digest)
        if key is None:
            return False
        place: Row = (RECIPES if cut else LOOSE, 0, 0)
        if spot is not None:
            place = (self.packs.key_of(spot.pack), spot.offset, spot.start)
        self._write((key, *place, stored_bytes, frames, None))
        return True

    def register_all(self, found: Sequence[Present], known: Mapping[str, int]) -> None:
        """As `register` for each, all of which changes must speak of, and none of which is cut; with few statements.

        `known`: keys of contents that the open transaction has looked up or made, by digest.
        """
        if len(found) == 1 and found[0].digest in known and (spot := found[0].spot) is not None:
            (one,) = found
            place = (self.packs.key_of(spot.pack), spot.offset, spot.start)
            self._write((known[one.digest], *place, one.stored_bytes, one.frames, None))
            return
        if not found:
            return
        keys = _keys(self._db, [one.digest for one in found], known)
        spots = [one.spot or _LOOSE for one in found]
        packs = {
            pack: self.packs.key_of(pack) if pack else LOOSE for pack in dict.fromkeys([one.pack for one in spots])
        }
        containers = [packs[one.pack] for one in spots]
        columns: list[Column] = [
            keys, containers, [one.offset for one in spots], [one.start for one in spots],
            [one.stored_bytes for one in found], [one.frames for one in found], Alike(None),
        ]  # fmt: skip
        with self._db.errors():
            columnar.write_columns(self._db.raw(), "blob", columns, _AGAIN)

    def _write(self, row: Row) -> None:
        self._db.run(_placing(), (*row, proof.checksum("blob", *row)))

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

    def lose_notes(self) -> None:
        """Rows of content that is referred to go: that files are in the store, as was noted of them, is not certain."""
        self._db.run("DELETE FROM meta WHERE key = ?", (NOTED,))

    def forget_all(self) -> None:
        """Empty the physical tables, before they are filled from files."""
        self.lose_notes()
        self.packs.forget_keys()
        self._db.run("DELETE FROM blob")
        self._db.run("DELETE FROM chunk")
        self._db.run(f"DELETE FROM container WHERE key > {LOOSE}")


def _zeros(items: Sequence[object]) -> str:
    return f"[{','.join('0' * len(items))}]"


def _keys(database: Database, digests: Sequence[str], known: Mapping[str, int]) -> list[int]:
    """Of contents that changes speak of."""
    keys = [known.get(one) for one in digests]
    if None in keys:
        raws = digest.raws([one for one, key in zip(digests, keys, strict=True) if key is None])
        rows = database.rows(f"SELECT content.digest, content.key FROM {_OF_MANY}", (_zeros(raws), b"".join(raws)))
        rest = {digest.text(raw): key for raw, key in rows}
        keys = [rest.get(one) if key is None else key for one, key in zip(digests, keys, strict=True)]
    whole = [key for key in keys if key is not None]
    if len(whole) < len(keys):
        raise proof.damaged("content", "of a change just made")
    return whole
