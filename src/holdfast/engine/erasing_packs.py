"""Takes redacted contents out of packs: those that hold one are written again without, and the old ones go.

Nobody else has the store open, so nobody else appends; but another thread of this very handle may have staged into a
pack, and waits for the writer lock to commit the rows of it. Such a pack is left to that thread first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.blobs.packs import PackedBlobs
from holdfast.engine import repacking
from holdfast.engine.handle import Handle
from holdfast.engine.repacking import Held
from holdfast.errors import BlobDamagedError, LockedError
from holdfast.formats import paths


def rewrite_packs(handle: Handle, gone: set[str], *, cut: bool) -> int:
    """Packs that list some contents, or may hold them unlisted, are written again without; how many contents had a row.

    `cut`: some may have been stored as chunks; then every pack that holds anything without a row is written again.

    LockedError (`lock`: the folder of packs) if a thread of this process is putting into one: let it commit, then ask
    again.
    """
    blobs = repacking.packed(handle)
    if blobs is None or not gone:
        return 0
    removed = 0
    with committing(handle):
        for digest in gone:
            place = handle.index.physical.place(digest)
            if place is not None:
                handle.index.physical.remove(place.key)
                removed += place.spot is not None or place.cut
    blobs.writer.rest()
    raws = {bytes.fromhex(digest.removeprefix("sha256:")) for digest in gone}
    names = [
        name
        for name in blobs.packs.names()
        if repacking.holds_any(blobs.packs, name, raws) or (cut and repacking.holds_garbage(handle, blobs.packs, name))
    ]
    for name in names:
        with repacking.holding(handle, [name]) as held:
            if not held:
                _in_use(blobs, name)
            for one in held:
                _replace_pack(handle, one)
    blobs.packs.close()
    return removed


def _in_use(blobs: PackedBlobs, name: str) -> None:
    """Why a pack could not be held: it cannot be read, or somebody of ours appends to it."""
    with blobs.packs.scan(name) as scan:
        for _ in scan.parts():
            pass
    blobs.writer.seal()  # so that nobody takes it up again once those who wait for their rows have them
    raise LockedError(
        f"another thread of this process is putting into {paths.pack_file(name)}, which holds what is to be erased",
        lock=paths.PACKS, waited_s=0, holder=None, remedy="End what other threads put, then redact again.",
    )  # fmt: skip


def _replace_pack(handle: Handle, held: Held) -> None:
    left = repacking.rewrite(handle, held.name, lambda: committing(handle))
    if left or (repacking.lacks(handle) and repacking.may_hold_missing(handle, held.name)):
        raise BlobDamagedError(
            f"{paths.pack_file(held.name)} holds what is to be erased, and content that is needed and cannot be read",
            digest="", path=paths.pack_file(held.name), reason="damaged members",
            remedy="Run `holdfast fsck --repair`, then redact again.",
        )  # fmt: skip
    with committing(handle):
        repacking.remove(handle, held)
    handle.disk.fsync_dir(os.path.join(handle.root, paths.PACKS))


@contextmanager
def committing(handle: Handle) -> Iterator[None]:
    """A transaction of the index alone: rows of places, between the steps of a redaction."""
    handle.index.begin()
    try:
        yield
        handle.index.commit()
    except BaseException:
        handle.index.rollback()
        raise
