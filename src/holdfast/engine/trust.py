"""Decides whether the rows of an index can be trusted, and whether its chain is this store's.

A file-by-file copy of a live index passes SQLite's own check and still has rows that disagree with its changes. What
such a copy cannot carry along is the file system id, inode and time of making of its file, so the index keeps them.
Where they differ, or rows are doubtful for another reason, derive.py makes all of them anew.
"""

from __future__ import annotations

import os

from holdfast.disk import Disk
from holdfast.engine.locks import HandlesLock
from holdfast.errors import (
    ChainBrokenError,
    FormatTooNewError,
    HoldfastError,
    IndexElsewhereError,
    LockedError,
    NoSpaceError,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from holdfast.formats import lines, paths
from holdfast.formats.lines import Located
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import HOME, SqliteIndex, file_identity
from holdfast.journal import Journal
from holdfast.values import change
from holdfast.values.frozen import dataclass

A_COPY = "the index is a copy of another store's"
_AGAIN_S = 30.0
"""How long to wait for the shared lock back, if somebody has taken it whole for a moment."""

PROVEN_AT_OPEN_BYTES = 1 << 20
"""All pages of an index up to this size are checked whenever it is opened: at most some 20 ms, most often 2."""


@dataclass(frozen=True, slots=True)
class Distrust:
    """Why the rows of an index cannot be trusted. `copied`: the store came here by a file-by-file copy.

    `readable`: the rows may be right; only the file cannot be used where it is.
    """

    reason: str
    copied: bool = False
    readable: bool = False


def distrust(root: str, disk: Disk, users: HandlesLock) -> Distrust | None:
    """Why the rows of the index cannot be trusted; None if they can. SchemaTooNewError and FormatTooNewError pass.

    So does NoSpaceError: SQLite needs room to open an index, and a full disk is no place to derive another one.
    `users` is held shared, or exclusively where nobody else has it; what it holds is what it holds on return.
    """
    path = os.path.join(root, paths.INDEX)
    copied = users.elsewhere() is True
    if not os.path.isfile(path):
        return Distrust("the index is missing", copied)
    try:
        index = SqliteIndex(path, read_only=True)
        try:
            index.check()
            known = index.meta(HOME)
            reason = "" if known != file_identity(path) else outdated(index, Journal(root, disk), users)
            if not reason:
                index.prove_pages(up_to_bytes=PROVEN_AT_OPEN_BYTES)
        finally:
            index.close()
    except (SchemaTooNewError, SchemaOutdatedError, FormatTooNewError, NoSpaceError):
        raise
    except HoldfastError as error:
        return Distrust(f"the index cannot be used: {error.message}", copied, readable=True)
    if known is None:
        return Distrust("the index was never finished", copied)
    if known != file_identity(path):
        return Distrust(A_COPY, copied=True)
    return Distrust(reason) if reason else None


def outdated(index: SqlIndex, journal: Journal, users: HandlesLock | None = None) -> str:
    """Why an index that is at home here is not what was last written here; "" if it is, or if nobody can tell.

    An older file can be written over the bytes of a newer one (`cat old > index.sqlite3`), which leaves its inode.
    """
    try:
        if _lags(index, journal):
            return "the index is older than the journal"
        if index.has_log() and not _log_is_own(index, users):
            return "the write-ahead log beside the index belongs to another state of it"
    except FormatTooNewError:
        raise
    except HoldfastError:
        pass  # it is damaged: that is said where it is read
    return ""


def _log_is_own(index: SqlIndex, users: HandlesLock | None) -> bool:
    """Nobody else may be using it; if somebody is, they have looked."""
    if users is None:
        return index.log_is_own()
    try:
        users.acquire(shared=False, wait_s=0)
        return index.log_is_own()
    except LockedError:
        return True
    finally:
        users.acquire(shared=True, wait_s=_AGAIN_S)


def _lags(index: SqlIndex, journal: Journal) -> bool:
    """Whether the journal goes on where the index ends: every commit is in the index first.

    The index is looked at again after the journal: somebody may be writing.
    """
    head = index.chain.head()
    if head is not None and journal.ends_with(head):
        return False
    end = journal.head()
    head = index.chain.head()
    next_seq = 1 if head is None else head.next_seq
    if end is None or end.next_seq <= next_seq:
        return False
    for _, item in journal.scan(next_seq):
        if isinstance(item, Located) and item.transaction.entry.first >= next_seq:
            return head is None or lines.follows(item.transaction, head)
    return False


def only_by_a_writer(root: str, doubt: Distrust) -> IndexElsewhereError:
    """Rows that cannot be trusted are derived anew by whoever may write, where contents are elsewhere."""
    return IndexElsewhereError(
        f"the rows of the index of {root} cannot be trusted: {doubt.reason}", path=root, reason="distrusted",
        remedy="Open the store once for writing: that derives them anew.",
    )  # fmt: skip


def demand_own_chain(index: SqlIndex, found: Marker, root: str) -> None:
    """Raise unless the chain begins with the marker's store, and ends in words that this software knows."""
    ends = index.chain.ends()
    if ends is None:
        return
    first, last = lines.peek(ends[0]), lines.peek(ends[1])
    if first is not None and last is not None and first.first == 1 and first.prev != change.origin(found.store_id).hash:
        raise foreign(root, found)


def foreign(root: str, found: Marker) -> ChainBrokenError:
    """The error for a chain that began in another store than the marker names."""
    return ChainBrokenError(
        f"{paths.MARKER} in {root} names the store {found.store_id}, and the first transaction is another store's",
        seq=1, where="marker",
        remedy="Nothing was touched. Files of two stores were mixed, or the marker is damaged: `holdfast fsck` says "
        "what fits, `holdfast fsck --repair` writes a marker anew whose id is proven.",
    )  # fmt: skip
