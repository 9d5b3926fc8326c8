"""Makes a new index from journal, old index and blobs, where the rows of the old one cannot be trusted (trust.py).

Only its transactions are used then, each of which proves itself, and all rows are derived anew.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from holdfast.blobs import LocalBlobs
from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.contract import BlobStore
from holdfast.blobs.packs import PackFolder
from holdfast.disk import Disk
from holdfast.engine import gaps, presence, recover, torn
from holdfast.engine.recover import Derived, Progress
from holdfast.errors import (
    HoldfastError,
)
from holdfast.formats import paths
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import HOME, SqliteIndex
from holdfast.journal import Journal
from holdfast.values import change
from holdfast.values.change import Transaction
from holdfast.values.frozen import dataclass

IDENTITY = HOME
INCARNATION = "incarnation"
STORE = "store"
COPY_BEGAN = "copy began"
COPY_ENDS = "copy ends before"
FACTS = (IDENTITY, INCARNATION, STORE, COPY_BEGAN, COPY_ENDS)
_BEGINNING = "derive-"
_WHOLE = "derive-whole-"
Judge = Callable[[Derived], None]


@dataclass(frozen=True, slots=True)
class CopiedSpan:
    """Which transactions a copy may lack the bytes of: those from `began_us` on and before `next_seq`."""

    began_us: int
    next_seq: int


def temporary_index(root: str, disk: Disk) -> str:
    """Where to derive an index beside the store's own. Writer lock held: so what others began there is nobody's."""
    _discard(disk, set(abandoned(root, disk)) - set(_whole(root, disk)))
    return os.path.join(root, paths.TMP, f"{_BEGINNING}{os.urandom(16).hex()}.tmp")


def abandoned(root: str, disk: Disk) -> list[str]:
    """Indexes whose deriving was interrupted. Writer lock held, or somebody may be deriving one.

    Nobody needs them once the store has an index that can be trusted.
    """
    folder = os.path.join(root, paths.TMP)
    return [os.path.join(folder, name) for name in disk.listdir(folder) if name.startswith(_BEGINNING)]


def discard_abandoned(root: str, disk: Disk) -> None:
    """Remove them. Writer lock held, and the store's index can be trusted."""
    _discard(disk, abandoned(root, disk))


def _discard(disk: Disk, files: Iterable[str]) -> None:
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(path)


def _whole(root: str, disk: Disk) -> list[str]:
    """Those of them that were finished, and did not come to take the old one's place."""
    return [path for path in abandoned(root, disk) if os.path.basename(path).startswith(_WHOLE)]


@contextlib.contextmanager
def finished(root: str, disk: Disk) -> Iterator[list[Iterator[Transaction]]]:
    """The chains of indexes that were derived whole and never used: one may fill a hole that the old index filled."""
    with contextlib.ExitStack() as stack:
        found = []
        for path in _whole(root, disk):
            with contextlib.suppress(HoldfastError):
                index = SqliteIndex(path, read_only=True)
                stack.callback(index.close)
                found.append(index)
        yield [recover.salvaged(index, []) for index in found]


def build(
    path: str, root: str, found: Marker, disk: Disk, *, old: SqlIndex | None, progress: Progress | None = None,
    others: Sequence[Iterator[Transaction]] = (), copied: bool = False, elsewhere: BlobStore | None = None,
) -> Derived:  # fmt: skip
    """Make a new index at `path` from the journal, the transactions of an old index, and the blobs that are there.

    `others`: more copies of the chain, such as a backup's; each transaction proves itself. `copied`: the old index
    came by a file-by-file copy. `elsewhere`: who has the contents, where they are not in the folder.

    Durable when it returns. Raises ChainForkedError if the two copies of the chain contradict each other.
    """
    target = SqliteIndex(path)
    damaged: list[str] = []
    try:
        target.database.run("PRAGMA journal_mode = OFF")
        target.database.run("PRAGMA synchronous = OFF")
        target.migrate()
        sources: list[Iterator[Transaction]] = [recover.from_journal(Journal(root, disk)), *others]
        if old is not None:
            sources.append(recover.salvaged(old, damaged))
        ghosts = copied and old is not None
        result = recover.derive(target, change.origin(found.store_id), sources, progress, copied=ghosts)
        result.trouble += damaged
        result.unread += presence.fill(target, root, disk, progress, old=old, elsewhere=elsewhere)
    finally:
        target.close()
    fd = disk.open_append(path)
    disk.fsync(fd, path)
    disk.close(fd)
    return result


def replace_index(
    root: str, found: Marker, disk: Disk, *, copied: bool, progress: Progress | None = None,
    others: Sequence[Iterator[Transaction]] = (), judge: Judge | None = None, elsewhere: BlobStore | None = None,
) -> Derived:  # fmt: skip
    """Derive a new index and put it in the old one's place. Writer lock and exclusive handles lock are held.

    `judge` is shown what was derived before anything is touched, and may refuse it by raising. `elsewhere`: as `build`.

    The old file goes first, so that at no moment a database stands beside the write-ahead log of another. A crash in
    between leaves no index, but the new one in `tmp/` under a name that says that it is whole: the next open derives
    from it and the journal, for the old file may have been the only one to hold a transaction.
    """
    path = os.path.join(root, paths.INDEX)
    temporary = temporary_index(root, disk)
    old = old_index(path)
    span = None
    try:
        with finished(root, disk) as more:
            result = build(
                temporary, root, found, disk, old=old, progress=progress, others=[*others, *more], copied=copied,
                elsewhere=elsewhere,
            )  # fmt: skip
        with contextlib.suppress(HoldfastError):
            span = copied_span(old) if old is not None and not copied else None
        if judge is not None:
            judge(result)
    except BaseException:
        with contextlib.suppress(HoldfastError, FileNotFoundError):
            disk.unlink(temporary)
        raise
    finally:
        if old is not None:
            old.close()
    whole = temporary.replace(_BEGINNING, _WHOLE)
    disk.rename(temporary, whole)
    disk.fsync_dir(os.path.dirname(whole))
    _set_aside(root, disk, keep=result.unreachable > 0 or bool(result.trouble) or old is None)
    disk.rename(whole, path)
    disk.fsync_dir(root)
    if copied:
        span = CopiedSpan(_oldest_change_us(root, disk), result.next_seq)
    _mend_journal(root, disk, path, span if copied else None)
    adopt(path, span, found.store_id)
    discard_abandoned(root, disk)
    return result


def _mend_journal(root: str, disk: Disk, path: str, span: CopiedSpan | None) -> None:
    """Before the index is this place's own: if the power goes here, the next open begins again."""
    index = SqliteIndex(path)
    try:
        if span is not None:
            gaps.close(root, disk, Journal(root, disk), index, began_us=span.began_us)
        torn.mend(root, disk, Journal(root, disk), index)
    finally:
        index.close()


def adopt(path: str, span: CopiedSpan | None, store_id: str) -> None:
    """Make an index file this place's own: its identity, a new incarnation, and what it may lack if it is a copy."""
    index = SqliteIndex(path)
    try:
        index.prepare()
        if span is not None:
            index.set_meta(COPY_BEGAN, str(span.began_us))
            index.set_meta(COPY_ENDS, str(span.next_seq))
        index.set_meta(IDENTITY, index.identity())
        index.set_meta(INCARNATION, os.urandom(16).hex())
        index.set_meta(STORE, store_id)  # so that a lost marker can be written again
        index.checkpoint(force=True)
    finally:
        index.close()


def _oldest_change_us(root: str, disk: Disk) -> int:
    """When the first file of a copy was written: no file of a copy has an older change time than the copying."""
    oldest = os.stat(os.path.join(root, paths.MARKER)).st_ctime_ns
    for entry in itertools.chain(*(one(root, disk).walk() for one in (LocalBlobs, PackFolder, RecipeFolder))):
        facts = disk.stat(os.path.join(root, entry.path))
        if facts is not None:
            oldest = min(oldest, facts.st_ctime_ns)
    return oldest // 1000


def copied_span(index: SqlIndex) -> CopiedSpan | None:
    """What a recognised copy may lack; None if the store is no copy, or was recovered."""
    began, ends = index.meta(COPY_BEGAN), index.meta(COPY_ENDS)
    return None if began is None or ends is None else CopiedSpan(int(began), int(ends))


def forget_copy(index: SqlIndex) -> None:
    """The copy was made whole."""
    index.unset_meta(COPY_BEGAN)
    index.unset_meta(COPY_ENDS)


def old_index(path: str) -> SqlIndex | None:
    """The old index for its transactions; None if it is missing or unreadable."""
    if not os.path.isfile(path):
        return None
    index = SqliteIndex(path)
    try:
        index.chain.head()
    except HoldfastError:
        index.close()
        return None
    return index


def _set_aside(root: str, disk: Disk, *, keep: bool) -> None:
    """Take the old index out of the way: to quarantine if it may hold what nothing else does."""
    action: Callable[[str], None] = disk.unlink
    if keep:
        mark = os.urandom(4).hex()

        def action(path: str) -> None:
            disk.rename(path, os.path.join(root, paths.QUARANTINE, f"{os.path.basename(path)}.{mark}"))

    for suffix in ("", "-wal", "-shm", "-journal"):
        path = os.path.join(root, paths.INDEX + suffix)
        if disk.stat(path) is not None:
            action(path)
            disk.fsync_dir(root)
