"""Makes the index anew from journal and blobs, also while others have the store open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.engine import derive, served, trust
from holdfast.engine import open as opening
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.recover import Derived, Progress
from holdfast.engine.settings import Settings
from holdfast.engine.trust import Distrust
from holdfast.errors import IndexDamagedError, LockedError, SchemaOutdatedError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.values.change import Transaction

_PATIENCE_S = 0.5
"""How long to wait for the store to be ours alone before rebuilding under the eyes of others."""


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild did. `unreachable`: whole transactions that no chain leads to (kept in quarantine).

    `live`: others had the store open meanwhile; `trouble`: what could not be read, in words.
    """

    transactions: int
    changes: int
    unreachable: int
    trouble: tuple[str, ...]
    live: bool
    duration_s: float


def rebuild(root: str, settings: Settings, progress: Progress | None = None) -> RebuildReport:
    """Derive every row anew. The old index is used for its transactions only, and may be missing or damaged.

    Durable when it returns. Raises LockedError if somebody has a store with a damaged index open, ChainForkedError.
    """
    started = time.monotonic()
    root = os.path.abspath(root)
    opening.demand_no_backup(root)
    found = opening.read_marker(root, settings.disk, served=True)
    writer = WriterLock(os.path.join(root, paths.WRITER_LOCK))
    users = HandlesLock(os.path.join(root, paths.HANDLES_LOCK))
    try:
        writer.acquire("rebuild", wait_s=settings.wait_s)
        try:
            result, live = rebuild_locked(root, found, settings, users, progress)
        finally:
            writer.release()
    finally:
        writer.close()
        users.close()
    return RebuildReport(
        result.transactions, result.changes, result.unreachable, (*result.trouble, *result.unread), live,
        time.monotonic() - started,
    )  # fmt: skip


def rebuild_locked(
    root: str, found: Marker, settings: Settings, users: HandlesLock, progress: Progress | None,
    *, others: Sequence[Iterator[Transaction]] = (),
) -> tuple[Derived, bool]:  # fmt: skip
    """`rebuild` for a caller who holds the writer lock: what was derived, and whether others had the index open.

    `users` is held exclusively on return unless others had. `others`: more copies of the chain.
    """
    if marker.SERVED in found.features:
        return served.renew(root, found, settings.disk, users, others=others, wait_s=settings.wait_s), False
    users.acquire(shared=True, wait_s=settings.wait_s)
    try:
        doubt = trust.distrust(root, settings.disk, users)
    except SchemaOutdatedError as error:
        doubt = Distrust(error.message, readable=True)  # what is derived has the newest
    try:
        users.acquire(shared=False, wait_s=_PATIENCE_S)
    except LockedError:
        if doubt is not None:
            raise
        return _live(root, found, settings, progress, others), True
    users.sign("rebuilding the index")
    copied = doubt is not None and doubt.copied
    return derive.replace_index(root, found, settings.disk, copied=copied, progress=progress, others=others), False


def _live(
    root: str, found: Marker, settings: Settings, progress: Progress | None, others: Sequence[Iterator[Transaction]]
) -> Derived:
    """Others have the index open: the new rows come in through SQLite's own backup, as one write of its pages."""
    path = os.path.join(root, paths.INDEX)
    temporary = derive.temporary_index(root, settings.disk)
    index = SqliteIndex(path)
    try:
        kept = {key: index.meta(key) for key in derive.FACTS}
        result = derive.build(temporary, root, found, settings.disk, old=index, progress=progress, others=others)
        _demand_whole(index, result, settings, temporary)
        fresh = SqliteIndex(temporary)
        try:
            for key, value in kept.items():
                if value is not None:
                    fresh.set_meta(key, value)
            fresh.backup_into(index)
        finally:
            fresh.close()
        settings.disk.unlink(temporary)
    finally:
        index.close()
    return result


def _demand_whole(index: SqlIndex, result: Derived, settings: Settings, temporary: str) -> None:
    """Refuse to write over an index that may be the only one to hold a transaction: it cannot be set aside here."""
    end = index.chain.head(proven=False)
    if not result.unreachable and (end is None or result.next_seq >= end.next_seq):
        return
    settings.disk.unlink(temporary)
    raise IndexDamagedError(
        f"the index has transactions from change {result.next_seq} on that neither it nor the journal can show whole",
        reason="; ".join(result.trouble[:3]) or "a gap",
        remedy="Nothing was changed. Close the store everywhere, then run `holdfast fsck --repair`: the old index is "
        "kept in quarantine then.",
    )
