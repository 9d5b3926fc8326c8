"""Decides which content is cut into chunks: large content that is put where an artifact is, and later the one before.

How content is stored is no change of it: what is done to the revision before concerns physical rows and files alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from holdfast.blobs.chunks import CUT_FROM, ChunkedBlobs, available, cutter
from holdfast.blobs.chunks.expected import Expected
from holdfast.blobs.reader import pieces
from holdfast.engine import chunk_rows
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import DamageError
from holdfast.formats.pack import Spot
from holdfast.formats.recipe import Recipe

if TYPE_CHECKING:
    from holdfast.blobs.contract import Staged
    from holdfast.index.physical import Place

WORTH = 8
"""A content stored whole is cut later if one byte of it in so many is in chunks that are stored already."""


class Grown:
    """Cuts content if it is a later revision of something. `newest` tells the digest that is there now; "": nothing.

    `may_lock`: nobody who waits for this holds the writer lock.
    """

    def __init__(self, handle: Handle, newest: Callable[[], str], *, may_lock: bool = True) -> None:
        self._handle = handle
        self._newest = newest
        self._may_lock = may_lock

    def __call__(self, source: BinaryIO, *, durable: bool) -> Staged | None:
        """The content staged as chunks; None, and nothing was read, if it is not to be cut."""
        blobs = cuts(self._handle)
        before = self._newest() if blobs is not None else ""
        if blobs is None or not before:
            return None
        keep_early = self._keep if self._may_lock else None
        return blobs.stage_cut(source, durable=durable, keep=keep_early, old=_recipe(self._handle, blobs, before))

    def _keep(self, fresh: Sequence[tuple[bytes, Spot]]) -> None:
        keep(self._handle, fresh)


def _recipe(handle: Handle, blobs: ChunkedBlobs, digest: str) -> Recipe | None:
    """The recipe of a content if it is cut, and every chunk in it has a row that gc does not mean to remove."""
    physical = handle.index.physical
    try:
        found = blobs.recipes.read(digest)[0] if physical.is_cut(digest) else None
    except DamageError:
        return None  # the content that comes is cut from its beginning, and fsck names this one
    whole = found is not None and next(physical.chunks.doubtful(found.digests), None) is None
    return found if whole else None


def cuts(handle: Handle) -> ChunkedBlobs | None:
    """The blob store if it can cut content here and now."""
    return handle.blobs if isinstance(handle.blobs, ChunkedBlobs) and available() else None


def keep(handle: Handle, fresh: Sequence[tuple[bytes, Spot]]) -> None:
    """Commit rows for chunks that no recipe lists yet, so that their packs need not stay open."""
    with write(handle, what="put: chunks"):
        chunk_rows.register(handle.index.physical, fresh)


def cut_whole(handle: Handle, digest: str, *, like: str) -> bool:
    """Cut content that is stored whole, if enough of it is stored as chunks already; whether it was. Durable on return.

    `like`: a content that was cut and may have much of it. The file stays: gc removes it when the grace period is over.
    Raises what reading and writing raise.
    """
    blobs, place = cuts(handle), uncut(handle, digest)
    other = None if blobs is None or place is None else _recipe(handle, blobs, like)
    if blobs is None or place is None or not _is_worth_it(handle, blobs, place, other):
        return False
    with _reading(blobs, digest) as source:
        staged = blobs.stage_cut(source, keep=lambda fresh: keep(handle, fresh), old=other)
    try:
        with write(handle, what="cut"):
            again = handle.index.physical.place(digest)
            if staged.digest != digest or again is None or again.cut or again.spot is not None:
                return False
            (stat,) = blobs.publish([staged])
            chunk_rows.place(handle.index.physical, stat)
    finally:
        blobs.discard([staged])
    return True


def uncut(handle: Handle, digest: str) -> Place | None:
    """Where large content is that is stored whole, and is to stay; None if it is not."""
    place = handle.index.physical.place(digest)
    if place is None or place.cut or place.spot is not None or place.size < CUT_FROM:
        return None
    return place if place.condemned_us is None else None


def _is_worth_it(handle: Handle, blobs: ChunkedBlobs, place: Place, other: Recipe | None) -> bool:
    """Whether enough is shared: only cut and hashed, and no further than the answer needs."""
    known = passed = 0
    size, expected = place.size, Expected(other)
    with _reading(blobs, place.digest) as source:
        for raw, chunk in cutter.cut(cutter.unhashed(source), expected=expected):
            passed += len(chunk)
            known += len(chunk) if expected.shared or handle.index.physical.has_chunk(raw) else 0
            if known * WORTH >= size:
                return True
            if (known + size - passed) * WORTH < size:
                return False
    return False


@contextlib.contextmanager
def _reading(blobs: ChunkedBlobs, digest: str) -> Iterator[BinaryIO]:
    """The bytes of a blob, read ahead."""
    with contextlib.closing(blobs.open(digest)) as reader, contextlib.closing(pieces(reader)) as each:
        yield cast("BinaryIO", _Reading(each))


class _Reading:
    """A blob read from its beginning, without a second digest: what comes of it is compared as a whole."""

    def __init__(self, each: Iterator[bytes | memoryview]) -> None:
        self._pieces = each
        self._left = memoryview(b"")

    def seekable(self) -> bool:
        """It goes forwards."""
        return False

    def readinto(self, buffer: memoryview) -> int:
        """Some of what comes next; 0 at the end."""
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
        count = min(len(self._left), len(buffer))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
