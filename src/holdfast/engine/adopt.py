"""Makes an empty store the one whose chain was proven elsewhere: its id, its contents, then its whole journal at once.

The rename that gives the journal its name is the point of no return. Before it the store is empty, whatever files of
contents it has; after it the next open derives all rows from the journal, as it does whenever the index lags.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import replace

from holdfast.disk import Disk
from holdfast.engine import derive, served
from holdfast.engine import open as opening
from holdfast.engine.handle import Handle
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.settings import Settings
from holdfast.errors import ConflictError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.journal import Journal

_REMEDY = "Import into a new or empty folder, or into a store that nothing was ever written to."


def begin(root: str, store_id: str, settings: Settings) -> Handle:
    """A store with this id that has no transaction, made if there is none. ConflictError, StoreExistsError."""
    if not os.path.lexists(os.path.join(root, paths.MARKER)):
        opening.create(root, settings, store_id=store_id)
    elif opening.read_marker(root, settings.disk, served=True).store_id != store_id:
        _rename(root, store_id, settings)
    handle = opening.open_store(root, settings)
    try:
        _demand_empty(handle)
    except BaseException:
        handle.close()
        raise
    return handle


def finish(handle: Handle, chain: Iterable[bytes]) -> None:
    """Give the store its journal: the bytes of all transactions, in order. The handle is closed. Durable.

    Raises ConflictError if somebody wrote to the store meanwhile.
    """
    disk, root = handle.disk, handle.root
    temporary = os.path.join(root, paths.TMP, f"journal-{secrets.token_hex(16)}.tmp")
    try:
        fd = disk.create(temporary)
        try:
            for data in chain:
                disk.write(fd, data, temporary)
            disk.fsync(fd, temporary)
        finally:
            disk.close(fd)
        handle.writer.acquire("import", wait_s=handle.wait_s)
        try:
            _demand_empty(handle)
            disk.rename(temporary, os.path.join(root, paths.segment_file(1)))
            disk.fsync_dir(os.path.join(root, paths.JOURNAL))
        finally:
            handle.writer.release()
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(temporary)
        handle.close()


def _demand_empty(handle: Handle) -> None:
    if handle.index.chain.head() is not None or handle.journal.head() is not None:
        raise _not_empty(handle.root)


def _not_empty(root: str) -> ConflictError:
    return ConflictError(f"{root} has a history of its own", remedy=_REMEDY, path=root)


def _rename(root: str, store_id: str, settings: Settings) -> None:
    """Give an empty store another id. Nobody else may have it open."""
    opening.open_store(root, settings).close()  # so that it is what it says, and its index can be trusted
    disk = settings.disk
    writer = WriterLock(os.path.join(root, paths.WRITER_LOCK))
    users = HandlesLock(os.path.join(root, paths.HANDLES_LOCK))
    try:
        writer.acquire("import", wait_s=settings.wait_s)
        users.acquire(shared=False, wait_s=settings.wait_s)
        index = served.index_of(root, disk)
        try:
            if index.chain.head() is not None or Journal(root, disk).head() is not None:
                raise _not_empty(root)
            index.unset_meta(derive.STORE)  # killed before both say the same, it is an index that was never finished
            _write_marker(root, replace(opening.read_marker(root, disk, served=True), store_id=store_id), disk)
            index.set_meta(derive.STORE, store_id)
        finally:
            index.close()
    finally:
        users.close()
        writer.close()


def _write_marker(root: str, found: Marker, disk: Disk) -> None:
    temporary = os.path.join(root, paths.TMP, f"marker-{secrets.token_hex(16)}.tmp")
    fd = disk.create(temporary)
    try:
        disk.write(fd, marker.encode(found), temporary)
        disk.fsync(fd, temporary)
    finally:
        disk.close(fd)
    disk.rename(temporary, os.path.join(root, paths.MARKER))
    disk.fsync_dir(root)
