"""Makes the rows that say which contents have a file, from the files, where no live write has made them.

A damaged file is no presence: fsck names it. One that the operating system could not read may be whole: it keeps the
row it had, or the index notes that it lacks one, and the next open for writing looks again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from holdfast.blobs import LocalBlobs
from holdfast.blobs.contract import BlobStore
from holdfast.disk import Disk
from holdfast.engine import placing
from holdfast.engine.handle import Handle
from holdfast.errors import DamageError, HoldfastError, StoreError
from holdfast.index.sql import SqlIndex

UNREAD = "unread blobs"
"""A fact of an index: some blobs that changes speak of could not be read, and have no row until they can."""

_YES = "yes"
_NAMED = 20
Progress = Callable[[int, int | None, str, str], None]


def fill(
    target: SqlIndex, root: str, disk: Disk, progress: Progress | None = None, *, old: SqlIndex | None = None,
    elsewhere: BlobStore | None = None,
) -> list[str]:  # fmt: skip
    """All rows anew; what kept the first few files from being read, in words.

    `old`: whose rows of these are kept, and what it keeps of packs that lost it with the power, perhaps. `elsewhere`:
    the blob store that has the contents, where they are not in the folder.
    """

    def seen(count: int) -> None:
        if progress and count % 1000 == 0:
            progress(count, None, "looking at blobs", "blobs")

    blobs: BlobStore = elsewhere or LocalBlobs(root, disk)
    unread: list[str] = []
    target.begin()
    try:
        target.physical.forget_all()
        target.unset_meta(UNREAD)
        for count, entry in enumerate(blobs.walk()):
            if entry.digest is None:
                continue
            try:
                stat = blobs.stat(entry.digest)
                if stat is not None:
                    target.physical.register(stat.digest, stat.stored_bytes, stat.frames)
            except DamageError:
                pass
            except StoreError as error:
                unread += [error.message] if len(unread) < _NAMED else []
                if not _kept(target, old, entry.digest):
                    target.set_meta(UNREAD, _YES)
            seen(count)
        if in_packs := placing.from_packs(target.physical, root, disk, seen=seen):
            unread += in_packs
            target.set_meta(UNREAD, _YES)
        if old is not None:
            with contextlib.suppress(HoldfastError):  # a damaged one keeps nothing that could be believed
                target.physical.pending.take_over(old.physical.pending)
            placing.from_kept(target.physical)
        if in_recipes := placing.from_recipes(target.physical, root, disk):
            unread += in_recipes
            target.set_meta(UNREAD, _YES)
        target.commit()
    except BaseException:
        target.rollback()
        raise
    return unread


def _kept(target: SqlIndex, old: SqlIndex | None, digest: str) -> bool:
    with contextlib.suppress(HoldfastError):
        place = old.physical.place(digest) if old is not None else None
        return place is not None and target.physical.register(digest, place.stored_bytes, place.frames)
    return False


def find(handle: Handle) -> None:
    """Rows for the blobs that changes speak of and that have none, in the open transaction.

    A live write makes them, a replay has to look for the files. Without them gc would take these files for strays.
    """
    unread = False
    for digest, _ in handle.index.physical.missing():
        try:
            stat = handle.blobs.stat(digest)
        except DamageError:
            continue
        except StoreError:
            unread = True
            continue
        if stat is not None:
            handle.index.physical.register(stat.digest, stat.stored_bytes, stat.frames)
    physical = handle.index.physical
    if next(physical.missing(), None) is not None:

        def wanted(digest: str) -> bool:
            return physical.wanted(digest) and physical.place(digest) is None

        unread |= bool(placing.from_packs(physical, handle.root, handle.disk, wanted=wanted))
        unread |= bool(placing.from_recipes(physical, handle.root, handle.disk, wanted=wanted))
    if unread == (handle.index.meta(UNREAD) is not None):
        return
    if unread:
        handle.index.set_meta(UNREAD, _YES)
    else:
        handle.index.unset_meta(UNREAD)


def look_again(handle: Handle) -> None:
    """Look for the blobs that could not be read when rows were made. Under the writer lock, outside SQL."""
    handle.index.begin()
    try:
        find(handle)
        handle.index.commit()
    except BaseException:
        handle.index.rollback()
        raise
