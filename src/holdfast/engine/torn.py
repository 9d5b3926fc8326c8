"""Makes the journal's last segment whole again after a power loss, from the index's copy of the chain.

Bytes that were not yet synced need not vanish from the end: a later page can be on disk while an earlier one reads as
zeros. So the last line can be right with a hole before it. Only the last segment can be like that, because a new one
is begun, and the index's write-ahead log emptied, only after the journal was synced; and a log that is not empty says
that the store was not closed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque

from holdfast import disk as disks
from holdfast.disk import Disk
from holdfast.engine.locks import FileLock
from holdfast.errors import ChainBrokenError, HoldfastError, LockedError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Garbage, Located
from holdfast.index.sql import SqlIndex
from holdfast.journal import Journal
from holdfast.values.change import Head

log = logging.getLogger("holdfast.engine")


def suspected(root: str, users: FileLock) -> bool:
    """Whether the last bytes of the journal may be those of a crash: the log has commits, and nobody else is here.

    Or the log is older than this boot: then others who are here have opened the store after the crash, to read it.
    With a rollback journal (on network file systems) there is no log to tell: whoever comes first has to look.
    """
    try:
        facts = os.stat(os.path.join(root, paths.INDEX + "-wal"))
    except OSError:
        return disks.on_network(root) and alone(users)
    if not facts.st_size:
        return False
    if facts.st_mtime < time.time() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)):
        return True
    return alone(users)


def alone(users: FileLock) -> bool:
    """Whether nobody else has the store open just now. The lock is free before and after."""
    try:
        users.acquire(shared=False, wait_s=0)
    except LockedError:
        return False
    users.release()
    return True


def mend(root: str, disk: Disk, journal: Journal, index: SqlIndex) -> bool:
    """See to it that the last segment is one piece of the chain, and durable; True if it was not. Under the lock.

    Where the index cannot tell what belongs into a hole, or contradicts what is there, nothing is touched.
    """
    journal.settle()
    segments = journal.segments()
    if not segments or segments[-1][1]:
        return False
    first, _, path = segments[-1]
    if end_of(journal, first, path) is not None and not _only_seems_whole(journal, index, path):
        return False
    wanted = _in_index(index, first)
    if not wanted or any(found not in wanted for found in _hashes(journal, path)):
        log.warning("journal-hole-left", extra={"holdfast": {"segment": os.path.basename(path)}})
        return False
    _replace(root, disk, journal, index, path=path, first=first)
    log.warning("journal-hole-mended", extra={"holdfast": {"segment": os.path.basename(path)}})
    return True


def _hashes(journal: Journal, path: str) -> list[bytes]:
    return [item.transaction.head.hash for item in lines.scan(journal.blocks(path)) if isinstance(item, Located)]


def end_of(journal: Journal, first: int, path: str) -> Head | None:
    """Where a segment ends; None if it is not one piece of the chain from the seq on that it is named after.

    Garbage between transactions is no hole if the chain leads over it; an entry without its changes always is one.
    """
    head: Head | None = None
    for item in lines.scan(journal.blocks(path)):
        if not isinstance(item, Located):
            if item.reason != lines.NO_ENTRY:
                return None
            continue
        if item.transaction.entry.first != first if head is None else not lines.follows(item.transaction, head):
            return None
        head = item.transaction.head
    return head or Head(first, b"")


def _only_seems_whole(journal: Journal, index: SqlIndex, path: str) -> bool:
    """Whether the last line ends like the newest entry and is none: what comes before its end was lost."""
    last = deque(lines.scan(journal.blocks(path)), maxlen=1)
    head = index.chain.head()
    return bool(last) and isinstance(last[0], Garbage) and head is not None and journal.ends_with(head)


def _in_index(index: SqlIndex, first: int) -> set[bytes]:
    """Hashes of the index's transactions from the segment's first change on; none if none of them begins there."""
    hashes: set[bytes] = set()
    head: Head | None = None
    with contextlib.suppress(HoldfastError):
        for data in index.chain.read(first):
            transaction = lines.decode(data, "a transaction of the index")
            if transaction.entry.first != first if head is None else not lines.follows(transaction, head):
                return set()
            head = transaction.head
            hashes.add(head.hash)
        return hashes
    return set()


def _replace(root: str, disk: Disk, journal: Journal, index: SqlIndex, *, path: str, first: int) -> None:
    """The whole segment under its name in one step, after the torn one got a second name in quarantine."""
    temporary = os.path.join(root, paths.TMP, f"{os.urandom(16).hex()}.tmp")
    fd = disk.create(temporary)
    try:
        for data in index.chain.read(first):
            disk.write(fd, data, temporary)
        disk.fsync(fd, temporary)
    finally:
        disk.close(fd)
    if end_of(journal, first, temporary) is None or not _hashes(journal, temporary):
        raise ChainBrokenError(f"{temporary} did not come back as it was written", seq=first, where="journal")
    kept = os.path.join(root, paths.QUARANTINE, f"{os.path.basename(path)}.{os.urandom(4).hex()}")
    disk.link(path, kept)
    disk.fsync_dir(os.path.dirname(kept))
    disk.rename(temporary, path)
    disk.fsync_dir(os.path.dirname(path))
