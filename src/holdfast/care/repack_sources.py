"""Which packs a repack takes in, and whether there is enough for gc to begin one by itself.

All that were appended to (names of repacked packs begin with 0); of those that repack has written: what a killed
process left open, what is mostly garbage, and small ones once there are several. So a repacked store gives nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from holdfast.blobs.packs import PackedBlobs
from holdfast.blobs.packs.scan import contents_of
from holdfast.blobs.packs.writer import PACK_BYTES, opened
from holdfast.engine.handle import Handle
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.index.packed import PackRow

LIVE_SHARE = 0.5
"""A repacked pack is written again when less than this share of its content has a row."""

SMALL_BYTES = PACK_BYTES // 4
SMALL_MANY = 4
"""So many repacked packs below SMALL_BYTES are put together: each repack leaves one."""

REPACK_FROM = 64 * 1024 * 1024
"""gc repacks when packs that were not repacked hold so many bytes of content."""


def sources(handle: Handle, blobs: PackedBlobs) -> list[str]:
    """Names of the packs to be taken in."""
    plain, poor, small = [], [], []
    for row in handle.index.physical.packs.each():
        if row.members == row.chunks:  # chunks stay where they are: what is alike in them was found by cutting
            continue
        if not paths.is_repacked(row.name):
            plain.append(row.name)
            continue
        size, content = _closed(handle, blobs, row.name)
        if content is None or row.content < LIVE_SHARE * content:
            poor.append(row.name)
        elif size < SMALL_BYTES:
            small.append(row.name)
    return plain + poor + (small if len(small) >= SMALL_MANY else [])


def _closed(handle: Handle, blobs: PackedBlobs, name: str) -> tuple[int, int | None]:
    """(bytes of the file, bytes of content by its table of contents) of a pack; None: it is not closed."""
    path = blobs.packs.path(name)
    with contextlib.suppress(HoldfastError, FileNotFoundError), opened(handle.disk, path) as fd:
        table = contents_of(handle.disk, fd, path, name)
        return handle.disk.size(fd), None if table is None else table.content
    return 0, 0  # not to be read now: fsck says why


def is_due(rows: Iterable[PackRow], limit: int) -> bool:
    """Whether so many bytes were added since the last repack that gc begins one. `rows`: of all packs; 0: never."""
    added = sum(row.content - row.chunk_bytes for row in rows if not paths.is_repacked(row.name))
    return 0 < limit <= added
