"""Makes stores and opens them: marker → versions → locks → index (derived anew if it cannot be trusted) → level."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING

from holdfast.disk import Disk
from holdfast.engine import trust
from holdfast.engine.handle import Handle, Opened
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.settings import Settings
from holdfast.engine.trust import Distrust
from holdfast.errors import (
    FormatTooNewError,
    LockedError,
    NoSpaceError,
    NotAStoreError,
    ReadOnlyError,
    StoreExistsError,
)
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal
from holdfast.values import moment

if TYPE_CHECKING:
    from holdfast.blobs.contract import BlobStore
    from holdfast.engine.served import Site

_PATIENCE_S = 1.0


def create(root: str, settings: Settings, *, store_id: str | None = None) -> None:
    """Make an empty store; StoreExistsError if the folder has anything in it. Durable when it returns.

    `store_id`: of the store that it is to become; else one is drawn.

    The marker comes last: a folder without it is no store, so a create that was interrupted can be repeated.
    """
    disk = settings.disk
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as error:
        if not os.path.isdir(root):
            raise StoreExistsError(f"{root} is not a folder", path=root) from error
        raise
    leftovers = set(disk.listdir(root)) - {*paths.FOLDERS}
    if paths.MARKER in leftovers:
        raise StoreExistsError(f"there is a store at {root}", path=root)
    if leftovers:
        raise StoreExistsError(f"{root} is not empty", path=root, remedy="Choose an empty or a new folder.")
    features = _demand_free(settings)
    for folder in paths.FOLDERS:
        disk.mkdir(os.path.join(root, folder))
    data = marker.encode(Marker(store_id or moment.draw_id(settings.clock.now_us()), features=features))
    temporary = os.path.join(root, paths.TMP, f"marker-{os.getpid()}-{time.time_ns()}.tmp")
    fd = disk.create(temporary)
    disk.write(fd, data, temporary)
    disk.fsync(fd, temporary)
    disk.close(fd)
    try:
        disk.link(temporary, os.path.join(root, paths.MARKER))
    except FileExistsError:
        raise StoreExistsError(f"there is a store at {root}", path=root) from None
    finally:
        disk.unlink(temporary)
    disk.fsync_dir(root)
    disk.fsync_dir(os.path.dirname(os.path.abspath(root)))


def _demand_free(settings: Settings) -> tuple[str, ...]:
    """What the marker is to ask for; typed errors if another store has the index that was given."""
    features: tuple[str, ...] = ()
    if settings.index is not None:
        from holdfast.engine import served  # noqa: PLC0415 - what it needs comes with an extra

        served.demand_free(settings.index)
        features = (marker.SERVED,)
    if settings.parts is not None:
        from holdfast.engine import elsewhere  # noqa: PLC0415 - start-up time: most stores have no such parts

        features += elsewhere.demanded(settings.parts)
    return features


def read_marker(root: str, disk: Disk, *, served: bool = False, elsewhere: bool = False) -> Marker:
    """The marker of a store; NotAStoreError, FormatTooNewError, IndexElsewhereError unless `served` (see there)."""
    path = os.path.join(root, paths.MARKER)
    try:
        return marker.decode(disk.read_file(path, marker.MAX_BYTES), path, served=served, elsewhere=elsewhere)
    except FileNotFoundError:
        raise NotAStoreError(f"{root} is not a store: it has no {paths.MARKER}", path=root) from None
    except FormatTooNewError as error:
        error.fields["path"] = root
        raise


def place_of(path: str) -> str:
    """The folder of the store that a path stands for: of a folder of backups, its newest generation that is whole."""
    if os.path.lexists(os.path.join(path, paths.MARKER)):
        return path
    from holdfast.formats import generation  # noqa: PLC0415 - start-up time: what is opened is hardly ever a backup

    if not os.path.isfile(os.path.join(path, generation.MARKER)):
        return path
    names = Disk().listdir(os.path.join(path, generation.FOLDER))
    numbers = [number for name in names if (number := generation.number_of(name)) is not None]
    return os.path.join(path, generation.folder_of(max(numbers))) if numbers else path


def demand_no_backup(root: str) -> None:
    """Raise ReadOnlyError for a backup, or a generation of one: whoever wrote to it would write to others too."""
    from holdfast.formats import generation  # noqa: PLC0415 - as above

    root = os.path.abspath(root)
    above = os.path.dirname(root)
    is_one = os.path.basename(above) == generation.FOLDER and os.path.lexists(
        os.path.join(os.path.dirname(above), generation.MARKER)
    )
    if is_one or place_of(root) != root:
        raise ReadOnlyError(
            f"{root} is a backup, or a generation of one", path=root,
            remedy="Open it with read_only=True, or make a store of it: `holdfast restore`.",
        )  # fmt: skip


def open_store(root: str, settings: Settings) -> Handle:
    """Open a store. Rows that cannot be trusted (a missing or copied index) are derived anew first."""
    root = os.path.abspath(root)
    disk = settings.disk
    if not settings.read_only:
        demand_no_backup(root)
    found = read_marker(root, disk, served=True, elsewhere=True)
    if (
        settings.parts is not None
        or marker.INDEX_ELSEWHERE in found.features
        or marker.BLOBS_ELSEWHERE in found.features
    ):
        from holdfast.engine import elsewhere  # noqa: PLC0415 - start-up time: most stores have no such parts

        settings = elsewhere.completed(root, found, settings)
    if settings.index is not None or marker.SERVED in found.features or (settings.parts and settings.parts.index):
        return _open_served(root, found, settings)
    if settings.read_only:
        return _open_to_read(root, found, settings)
    from holdfast.engine import torn  # noqa: PLC0415 - start-up time: who reads mends nothing

    for folder in paths.FOLDERS:
        if folder != paths.JOURNAL:  # that it is absent says something while the index is looked at
            disk.mkdir(os.path.join(root, folder))
    writer = WriterLock(os.path.join(root, paths.WRITER_LOCK))
    users = HandlesLock(os.path.join(root, paths.HANDLES_LOCK))
    try:
        after_crash = torn.suspected(root, users)
        opened = _ready(root, found, settings, writer, users)
        disk.mkdir(os.path.join(root, paths.JOURNAL))
        users.sign("has it open")
        users.settle()
        index = SqliteIndex(os.path.join(root, paths.INDEX))
        index.check()
    except BaseException:
        writer.close()
        users.close()
        raise
    handle = _handle(root, found, settings, writer, users, index, opened)
    try:
        trust.demand_own_chain(index, found, root)
        _level_at_open(handle, after_crash=after_crash)
    except BaseException:
        handle.close()
        raise
    return _limited(handle)


def _open_served(root: str, found: Marker, settings: Settings) -> Handle:
    """Open a store whose index is no file of it: who may only read needs one that can be trusted."""
    from holdfast.engine import served, torn  # noqa: PLC0415 - what it needs comes with an extra

    locks = os.path.join(root, paths.WRITER_LOCK), os.path.join(root, paths.HANDLES_LOCK)
    reads = settings.read_only
    writer, users = WriterLock(locks[0], absent_is_fine=reads), HandlesLock(locks[1], absent_is_fine=reads)
    blobs = settings.parts.blobs if settings.parts else None
    site = served.Site(root, found, settings.disk, writer, users, wait_s=settings.wait_s, blobs=blobs)
    try:
        after_crash = not reads and torn.alone(users)  # no log of ours tells, so whoever comes first looks
        index, opened = _index_elsewhere(site, settings)
    except BaseException:
        writer.close()
        users.close()
        raise
    handle = _handle(root, found, settings, writer, users, index, opened)
    try:
        trust.demand_own_chain(index, found, root)
        if not reads:
            _level_at_open(handle, after_crash=after_crash)
    except BaseException:
        handle.close()
        raise
    return _limited(handle)


def _index_elsewhere(site: Site, settings: Settings) -> tuple[SqlIndex, Opened]:
    from holdfast.engine import judging  # noqa: PLC0415 - as below

    judge = functools.partial(judging.judge, blobs=site.blobs)
    if settings.parts and settings.parts.index:
        from holdfast.engine import elsewhere  # noqa: PLC0415 - start-up time: most stores have no such parts

        return elsewhere.ready(site, settings.parts.index, judge, read_only=settings.read_only)
    from holdfast.engine import served  # noqa: PLC0415 - what it needs comes with an extra

    return served.ready(site, settings.index, judge, read_only=settings.read_only)


def _open_to_read(root: str, found: Marker, settings: Settings) -> Handle:
    """Open without writing a byte: with the store's own index if it can be trusted, else with a private one."""
    locks = os.path.join(root, paths.WRITER_LOCK), os.path.join(root, paths.HANDLES_LOCK)
    writer, users = WriterLock(locks[0], absent_is_fine=True), HandlesLock(locks[1], absent_is_fine=True)
    discard = None
    try:
        users.acquire(shared=True, wait_s=settings.wait_s)
        doubt, path, opened = _doubt_to_read(root, settings.disk, users), os.path.join(root, paths.INDEX), Opened()
        if doubt is not None and settings.parts is not None:
            raise trust.only_by_a_writer(root, doubt)
        if doubt is not None:
            from holdfast.engine import judging  # noqa: PLC0415 - start-up time: hardly ever needed
            from holdfast.engine.private import private_index  # noqa: PLC0415

            judge = judging.judge(root, found, settings.disk, doubt)
            private = private_index(root, found, settings.disk, doubt, judge)
            path, opened, discard = private.path, private.opened, private.discard
        index = SqliteIndex(path, read_only=True)
        index.check()
        trust.demand_own_chain(index, found, root)
    except BaseException:
        writer.close()
        users.close()
        if discard is not None:
            discard()
        raise
    handle = _handle(root, found, settings, writer, users, index, opened)
    handle.at_close = discard
    return _limited(handle)


def _limited(handle: Handle) -> Handle:
    """The handle, which shows its tenant's records only if it is of one."""
    if handle.tenant is not None:
        from holdfast.index import scoped  # noqa: PLC0415 - start-up time: most stores have one tenant

        scoped.limit(handle.index, handle.tenant)
    return handle


def _doubt_to_read(root: str, disk: Disk, users: HandlesLock) -> Distrust | None:
    """A full disk keeps nobody from reading: the private index lies elsewhere."""
    try:
        return trust.distrust(root, disk, users)
    except NoSpaceError as error:
        return Distrust(f"there is no space to open the index: {error.message}", readable=True)


def _handle(
    root: str, found: Marker, settings: Settings, writer: WriterLock, users: HandlesLock, index: SqlIndex,
    opened: Opened,
) -> Handle:  # fmt: skip
    disk = settings.disk
    handle = Handle(
        root=root,
        marker=found,
        disk=disk,
        blobs_made=functools.partial(_blobs, root, settings, index),
        index=index,
        journal=_journal(root, settings),
        writer=writer,
        users=users,
        actor=settings.actor,
        wait_s=settings.wait_s,
        sync_s=settings.sync_s,
        read_only=settings.read_only,
        opened=opened,
        clock=settings.clock,
        tenant=settings.tenant,
    )
    if settings.parts is not None and settings.parts.blobs is not None:
        handle.blobs = settings.parts.blobs
    return handle


def _blobs(root: str, settings: Settings, index: SqlIndex) -> BlobStore:
    from holdfast.blobs.chunks import ChunkedBlobs  # noqa: PLC0415 - start-up time: not every command reads contents

    return ChunkedBlobs(root, settings.disk, index.physical, pack_up_to=settings.pack_up_to)


def _ready(root: str, found: Marker, settings: Settings, writer: WriterLock, users: HandlesLock) -> Opened:
    """See to it that there is an index whose rows can be trusted, and hold the handles lock shared."""
    users.acquire(shared=True, wait_s=settings.wait_s)
    blobs = settings.parts.blobs if settings.parts else None
    if trust.distrust(root, settings.disk, users) is None:
        return Opened()
    users.release()
    writer.acquire("deriving the index", wait_s=settings.wait_s)
    from holdfast.engine import derive, judging  # noqa: PLC0415 - start-up time: hardly ever needed

    try:
        users.acquire(shared=False, wait_s=settings.wait_s)
        doubt = trust.distrust(root, settings.disk, users)  # somebody may have done it while we waited
        if doubt is None:
            return Opened()
        users.acquire(shared=False, wait_s=settings.wait_s)
        users.sign("deriving the index")
        judge = judging.judge(root, found, settings.disk, doubt, blobs=blobs)
        result = derive.replace_index(root, found, settings.disk, copied=doubt.copied, judge=judge, elsewhere=blobs)
    finally:
        users.acquire(shared=True, wait_s=settings.wait_s)
        writer.release()
    return Opened(rebuilt=result.changes > 0, reason=doubt.reason, transactions=result.transactions)


def _level_at_open(handle: Handle, *, after_crash: bool) -> None:
    """What a crash left of the last writer is put right before anything is read.

    Not if somebody writes just now: they saw to it when they began, and readers need not wait for them. Where there is
    no space to say that packs have all their bytes, the index goes on keeping them.
    """
    from holdfast.engine import presence, recover, torn  # noqa: PLC0415 - start-up time: who reads mends nothing

    with contextlib.suppress(LockedError, NoSpaceError):
        handle.settle_packs(wait_s=min(handle.wait_s, _PATIENCE_S))
    unread = handle.index.meta(presence.UNREAD) is not None
    if not (after_crash or unread) and recover.is_level(handle):
        return
    try:
        handle.writer.acquire("recover", wait_s=min(handle.wait_s, _PATIENCE_S))
    except LockedError:
        return
    try:
        with handle.watching_syncs():
            if after_crash:
                torn.mend(handle.root, handle.disk, handle.journal, handle.index)
        recover.level(handle)
        if unread:
            presence.look_again(handle)
    finally:
        handle.writer.release()


def _journal(root: str, settings: Settings) -> Journal:
    if settings.segment_bytes is None:
        return Journal(root, settings.disk)
    return Journal(root, settings.disk, segment_bytes=settings.segment_bytes)
