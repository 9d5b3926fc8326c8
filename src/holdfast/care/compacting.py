"""Has the pages of the index written anew, filled, after work that moved most of what it lists.

Rows that say another place than before are longer, and pages that they no longer fit into are split in two. By then the
index has some six percent of its bytes between its rows (docs/design/060).
"""

from __future__ import annotations

import contextlib

from holdfast.engine.handle import Handle
from holdfast.errors import LockedError, NoSpaceError

MOVED_SHARE = 0.5
"""Of the contents in packs so many must have moved: then it costs a small part of what moving them did."""

UP_TO_BYTES = 256 * 1024 * 1024
"""A larger index stays as it is: other writers wait while it is written, some 15 ms for each megabyte."""


def after_moving(handle: Handle, moved: int) -> None:
    """Called when `moved` contents have gone to other packs, outside a transaction. StorageIOError.

    Readers see the same rows all the while. Killed anywhere, the index is as it was, or filled. Without room, or when
    the writer lock is not to be had, it stays as it is: the next repack of as much tries again.
    """
    there = sum(row.members - row.chunks for row in handle.index.physical.packs.each())
    if not moved or moved < MOVED_SHARE * there:
        return
    with contextlib.suppress(LockedError, NoSpaceError):
        handle.writer.acquire("repack: index", wait_s=handle.wait_s)
        try:
            with handle.watching_syncs():
                handle.journal.settle()  # an empty log says that the journal needs no looking after (torn.py)
                handle.index.compact(up_to_bytes=UP_TO_BYTES)
        finally:
            handle.writer.release()
