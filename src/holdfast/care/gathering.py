"""What gc does about many small contents with a file each: appends them to packs; the files go when gc has waited.

A file is superseded, never moved: the pack is synced, then the row changes in a transaction, and the file stays for
the grace period, so that a plain copy that is being made finds it. The time of its last modification says since when
it waits, and is set before the row changes. Killed anywhere, the file or the pack has the content, as the row says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from holdfast.blobs.contract import Staged
from holdfast.blobs.packs import PackedBlobs
from holdfast.engine import repacking
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import DamageError, StoreError
from holdfast.formats import paths
from holdfast.values import digest as digests

LOOSE_MANY = 1_000
"""With so many small contents that have a file each, all of them are appended to packs."""

_BATCH_BYTES = 4 * 1024 * 1024

_Loose = tuple[int, str, int]
"""Key, digest, size."""


def due(handle: Handle, *, many: int) -> tuple[int, int]:
    """(how many, bytes of the files of) contents that `gather` would append to packs now; none below `many`."""
    blobs = repacking.packed(handle)
    if blobs is None or not blobs.pack_up_to:
        return 0, 0
    found = handle.index.physical.packs.count_loose(blobs.pack_up_to)
    return found if found[0] >= many else (0, 0)


def gather(handle: Handle, *, many: int, done: Callable[[int], None] = lambda _: None) -> int:
    """Append the contents that are due to packs, about in the order in which they came; how many. Durable on return.

    What cannot be read or is somebody else's file is left as it is. `done` hears how many there are so far. Raises
    NoSpaceError, StorageIOError.
    """
    if not due(handle, many=many)[0]:
        return 0
    blobs = repacking.packed(handle)
    assert blobs is not None
    taken = after = 0
    while page := handle.index.physical.packs.loose(blobs.pack_up_to, after_key=after):
        for batch in _batches(page):
            taken += _take_in(handle, blobs, batch)
            done(taken)
        after = page[-1][0]
    return taken


def _batches(page: list[_Loose]) -> Iterator[list[_Loose]]:
    batch: list[_Loose] = []
    size = 0
    for one in page:
        if batch and size + one[2] > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one[2]
    yield batch


def _take_in(handle: Handle, blobs: PackedBlobs, batch: list[_Loose]) -> int:
    staged: list[tuple[_Loose, Staged]] = []
    try:
        for one in batch:
            with contextlib.suppress(DamageError):
                staged.append((one, blobs.stage(blobs.read(one[1]), durable=False)))
        with handle.watching_syncs():
            blobs.settle([item for _, item in staged])
        waiting = {one[0] for one, _ in staged if _waits_from_now(handle, one[1])}
        with write(handle, what="gc: packs"):
            moved = 0
            for (one, _), stat in zip(staged, blobs.publish([item for _, item in staged]), strict=True):
                if one[0] in waiting and stat.spot is not None:
                    moved += handle.index.physical.packs.take_in(one[0], stat.spot)
            return moved
    finally:
        blobs.discard([item for _, item in staged])


def _waits_from_now(handle: Handle, digest: str) -> bool:
    """Whether the file of a content has got the present time. Another user's file cannot: it stays in use."""
    path = os.path.join(handle.root, paths.blob_file(digests.raw(digest)))
    with contextlib.suppress(FileNotFoundError, StoreError):
        handle.disk.set_time(path, handle.clock.now_us())
        return True
    return False
