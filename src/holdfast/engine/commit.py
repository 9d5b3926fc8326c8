"""The end of a transaction: the point of no return, what the journal gets after it, and undoing before it.

These are steps 5 and 6 of DESIGN, section 3; the steps before them are in transaction.py.
"""

from __future__ import annotations

import logging

from holdfast.engine.handle import Handle
from holdfast.errors import HoldfastError, LockedError, ReadOnlyError, StorageIOError
from holdfast.values.change import Head

log = logging.getLogger("holdfast.engine")


def leave(handle: Handle, head: Head) -> None:
    """Remember where the chain ends with what this thread has just committed: as long as nobody else does."""
    handle.index.sights.hold(head.next_seq)
    # A journal that could not be appended to was dropped, and has nothing open.
    left = handle.index.sights.left()
    handle.left = (left, head) if left is not None and handle.journal.is_open() else None


def commit_rows(handle: Handle, data: bytes) -> None:
    """The point of no return, then the journal gets `data`, for which space was claimed: what the chain has of it."""
    try:
        with handle.watching_syncs():
            handle.keeper.commit()  # without changes too: rows of blobs may be in it
    except (StorageIOError, ReadOnlyError, LockedError) as error:
        # Neither yes nor no: only reopening can tell. (When the disk is full, SQLite rolls back whole.)
        handle.poison(error)
        raise
    if data:
        _journal(handle, data)
        handle.keep_synced()
    try:
        handle.keeper.sync_if_due()
    except HoldfastError as error:
        handle.poison(error)
    try:
        if handle.index.checkpoint_due():
            handle.index.checkpoint()
    except StorageIOError as error:
        handle.poison(error)  # the commit stands; but what a failed sync wrote is not to be trusted by a later one
    except HoldfastError as error:
        log.warning("checkpoint-failed", extra={"holdfast": {"code": error.code}})


def _journal(handle: Handle, data: bytes) -> None:
    """Step 6. What COMMIT acknowledged stays acknowledged: the next writer brings a journal that fell behind level."""
    try:
        handle.journal.append(data)
    except HoldfastError as error:
        log.warning("journal-behind", extra={"holdfast": {"code": error.code}})
        handle.journal.drop()
        return
    try:
        handle.journal.sync_if_due()
    except HoldfastError as error:
        handle.poison(error)


def roll_back(handle: Handle) -> None:
    """Undo what is not committed; a handle that cannot is poisoned."""
    try:
        handle.index.rollback()
    except HoldfastError as error:
        handle.poison(error)
