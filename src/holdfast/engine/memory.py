"""A store that is nowhere but in memory: the parts of an open one, over places in memory; it ends with its handle.

Content, journal, marker and locks are what they are in a folder, only that their `Disk` keeps files in memory; index
and search are SQLite's memory databases. So what is found out about such a store holds for one on disk too, but for
one thing: nothing outlives the process.
"""

from __future__ import annotations

import os
from dataclasses import replace

from holdfast import ram
from holdfast.blobs.chunks import ChunkedBlobs
from holdfast.engine import derive
from holdfast.engine.handle import Handle
from holdfast.engine.locks import WriterLock
from holdfast.engine.open import Settings
from holdfast.engine.ram_locks import RamLock
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal
from holdfast.values import moment


def make(settings: Settings) -> Handle:
    """A new, empty store in memory, open. Typed errors of `Settings`."""
    root = ram.new_root()
    disk = ram.RamDisk(root)
    settings = replace(settings, disk=disk)
    for folder in paths.FOLDERS:
        disk.mkdir(os.path.join(root, folder))
    found = Marker(moment.draw_id(settings.clock.now_us()))
    path = os.path.join(root, paths.MARKER)
    fd = disk.create(path)
    disk.write(fd, marker.encode(found), path)
    disk.close(fd)
    return _handle(root, found, settings, disk)


def _handle(root: str, found: Marker, settings: Settings, disk: ram.RamDisk) -> Handle:
    index = SqliteIndex(os.path.join(root, paths.INDEX))
    index.migrate()
    index.set_meta(derive.IDENTITY, index.identity())
    index.set_meta(derive.INCARNATION, os.urandom(16).hex())
    handle = Handle(
        root=root,
        marker=found,
        disk=disk,
        blobs=ChunkedBlobs(root, disk, index.physical, pack_up_to=settings.pack_up_to),
        index=index,
        journal=Journal(root, disk),
        writer=WriterLock(os.path.join(root, paths.WRITER_LOCK)),
        users=RamLock(os.path.join(root, paths.HANDLES_LOCK)),
        actor=settings.actor,
        wait_s=settings.wait_s,
        clock=settings.clock,
    )
    handle.users.acquire(shared=True, wait_s=settings.wait_s)
    handle.at_close = disk.free
    return handle
