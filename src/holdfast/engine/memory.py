"""A store that is nowhere but in memory: the parts of an open one, over places in memory; it ends with its handle.

Content, journal, marker and locks are what they are in a folder, only that their `Disk` keeps files in memory; index
and search are SQLite's memory databases. So what is found out about such a store holds for one on disk too, but for
one thing: nothing outlives the process.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

from holdfast import ram
from holdfast.blobs.chunks import ChunkedBlobs
from holdfast.engine import derive
from holdfast.engine.handle import Handle, handle_on
from holdfast.engine.locks import WriterLock
from holdfast.engine.ram_locks import RamLock
from holdfast.engine.settings import Settings
from holdfast.errors import NotAStoreError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.index import scoped
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal
from holdfast.values import moment


def make(settings: Settings, index: SqlIndex | None = None) -> Handle:
    """A new, empty store in memory, open. `index`: one that somebody else wrote, empty; None: one in memory.

    Typed errors of `Settings` and of the index.
    """
    root = ram.new_root()
    disk = ram.RamDisk(root)
    try:
        found = _furnished(root, disk, settings)
        index = index or SqliteIndex(os.path.join(root, paths.INDEX))
        index.migrate()
        index.set_meta(derive.IDENTITY, index.identity())
        index.set_meta(derive.INCARNATION, os.urandom(16).hex())
    except BaseException:
        disk.free()
        raise
    handle = put_together(root, found, settings, disk, index)
    handle.at_close = _user(disk)
    return handle


def join(root: str, settings: Settings) -> Handle:
    """Another handle on a store in memory that is open. NotAStoreError if none is, at this path."""
    known = handle_on(root)
    if known is None or not isinstance(known.disk, ram.RamDisk):
        raise NotAStoreError(
            f"{root} is no store in memory that is open", path=root, remedy="`holdfast.memory()` makes one."
        )
    index = known.index.again(read_only=settings.read_only)
    handle = put_together(root, known.marker, settings, known.disk, index)
    handle.at_close = _user(known.disk)
    if handle.tenant is not None:
        scoped.limit(handle.index, handle.tenant)
    return handle


_users: Counter[str] = Counter()


def _user(disk: ram.RamDisk) -> Callable[[], None]:
    """One more handle works on this memory: what to call when it is closed. The last one gives the memory back."""
    _users[disk.root] += 1

    def done() -> None:
        _users[disk.root] -= 1
        if not _users[disk.root]:
            del _users[disk.root]
            disk.free()

    return done


def _furnished(root: str, disk: ram.RamDisk, settings: Settings) -> Marker:
    for folder in paths.FOLDERS:
        disk.mkdir(os.path.join(root, folder))
    found = Marker(moment.draw_id(settings.clock.now_us()))
    path = os.path.join(root, paths.MARKER)
    fd = disk.create(path)
    disk.write(fd, marker.encode(found), path)
    disk.close(fd)
    return found


def put_together(root: str, found: Marker, settings: Settings, disk: ram.RamDisk, index: SqlIndex) -> Handle:
    """A handle on what lies in memory at `root`, whose index has its schema; what it is given stays when it is closed.

    Several of them may be open at once: for tests that close a store and open it again.
    """
    handle = Handle(
        root=root,
        marker=found,
        disk=disk,
        blobs_made=lambda: ChunkedBlobs(root, disk, index.physical, pack_up_to=settings.pack_up_to),
        index=index,
        journal=Journal(root, disk),
        writer=WriterLock(os.path.join(root, paths.WRITER_LOCK)),
        users=RamLock(os.path.join(root, paths.HANDLES_LOCK)),
        actor=settings.actor,
        wait_s=settings.wait_s,
        read_only=settings.read_only,
        clock=settings.clock,
        tenant=settings.tenant,
    )
    handle.users.acquire(shared=True, wait_s=settings.wait_s)
    return handle
