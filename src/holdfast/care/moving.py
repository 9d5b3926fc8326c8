"""Moves house: a store again in another folder, with its index in a file or on a server, equal by chain and by fsck.

Nobody writes to the source meanwhile: the writer lock is held, so whoever wants to waits, or is told. Contents and
journal are copied as files; the rows of the new index are derived from them, as whenever an index is made anew. The
marker comes last. A copy that was interrupted is no store: the same call again goes on with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from holdfast.blobs import LocalBlobs, buffered
from holdfast.care.backup.folder import Folder
from holdfast.engine import open as opening
from holdfast.engine import recover, served
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.settings import Settings
from holdfast.errors import ChainBrokenError, InvalidValueError, StoreExistsError
from holdfast.formats import marker, paths
from holdfast.values.change import Head

_COPIED = (paths.BLOBS, paths.PACKS, paths.RECIPES, paths.JOURNAL)
_NOTE = f"{paths.TMP}/copying"
"""Stands in a copy that has all files, until its index was made and found to end where the source does."""

_MADE = frozenset({*paths.FOLDERS, "lock"})


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied. `head`: "SEQ:HASH" of both chains; `files`, `bytes`: written; `kept`: there already.

    `served`: the index of the copy is on a server.
    """

    source: str
    path: str
    store: str
    head: str
    transactions: int
    files: int
    bytes: int
    kept: int
    served: bool
    duration_s: float


def copy_store(source: Handle, dest: str, index: str | None, progress: Progress | None = None) -> CopyReport:
    """Copy an open store into a new folder. `index`: URL of the copy's index; None: it is a file. Durable on return.

    Both have the same id: they are one store twice, so give one of them up. Raises StoreExistsError (something else is
    in the folder), InvalidValueError (a folder in the other), LockedError, NoSpaceError, IndexElsewhereError (the
    database has another store's index), ChainBrokenError (the copy does not end where the source does).
    """
    began_s, dest = time.monotonic(), os.path.abspath(dest)
    settings = Settings(source.actor, wait_s=source.wait_s, clock=source.clock, disk=source.disk, index=index)
    source.alive()
    _demand_apart(source.root, dest)
    place, done = Folder(dest, settings.disk), _Done(progress)
    if not (os.path.isdir(dest) and _only_unproven(place, source.marker.store_id)):
        head = _filled(source, place, done, settings)
    else:
        head = source.index.chain.head() or source.origin
    transactions = _proven(dest, settings, head)
    place.remove(_NOTE)
    said = "" if head.next_seq == 1 else f"{head.next_seq - 1}:{head.hash.hex()}"
    return CopyReport(
        source.root, dest, source.marker.store_id, said, transactions, done.files, done.bytes, done.kept,
        index is not None, time.monotonic() - began_s,
    )  # fmt: skip


def _filled(source: Handle, place: Folder, done: _Done, settings: Settings) -> Head:
    """All files, and the marker; where the chain of both ends. Nobody writes to the source meanwhile."""
    if settings.index is not None:
        served.demand_free(settings.index)
    if os.path.isdir(place.root):
        _demand_free(place)  # before a lock is made in somebody's folder
    with place.hold(settings.wait_s):
        _demand_free(place)
        source.writer.acquire("copy", wait_s=source.wait_s)
        try:
            with source.watching_syncs():
                head = recover.level(source)
                source.journal.settle()
                source.keeper.settle()
            _copy(Folder(source.root, source.disk), place, done)
            _take_home(source, place, done)
        finally:
            source.writer.release()
        place.put(_NOTE, source.marker.store_id.encode())
        place.settle()
        found = marker.filed(source.marker)
        features = (*found.features, marker.SERVED) if settings.index else found.features
        place.put(paths.MARKER, marker.encode(replace(found, features=features)))
        place.remove("lock")
    return head


def _take_home(source: Handle, place: Folder, done: _Done) -> None:
    """Contents that somebody else's blob store has become files of the copy, durable when this returns."""
    if source.blobs_elsewhere is None:
        return
    home = LocalBlobs(place.root, source.disk)
    for entry in source.blobs_elsewhere.walk():
        if entry.digest is None:
            continue
        if home.stat(entry.digest) is not None:
            done.kept += 1
            continue
        with buffered(source.blobs.open(entry.digest)) as content:
            staged = home.stage(content)
        (made,) = home.publish([staged])
        done.files += 1
        done.bytes += made.stored_bytes


def _only_unproven(place: Folder, store_id: str) -> bool:
    """Whether a copy of this store is all there, and was interrupted before its index was made or looked at."""
    return place.read(paths.MARKER) is not None and place.read(_NOTE) == store_id.encode()


@dataclass(slots=True)
class _Done:
    progress: Progress | None
    files: int = 0
    bytes: int = 0
    kept: int = 0


def _demand_apart(source: str, dest: str) -> None:
    here, there = os.path.realpath(source), os.path.realpath(dest)
    if os.path.commonpath([here, there]) in (here, there):
        raise InvalidValueError(
            f"{dest} and {source} lie one in the other", where="dest", reason="inside",
            remedy="Copy into a folder of its own.",
        )  # fmt: skip


def _demand_free(place: Folder) -> None:
    """Nothing is there but what a copy that was interrupted has left."""
    there = set(place.here(""))
    if paths.MARKER in there:
        raise StoreExistsError(f"there is a store at {place.root}", path=place.root)
    if there - _MADE:
        raise StoreExistsError(f"{place.root} is not empty", path=place.root, remedy="Choose an empty or a new folder.")


def _copy(source: Folder, place: Folder, done: _Done) -> None:
    for folder in paths.FOLDERS:
        place.folder(folder)
    place.remove(paths.JOURNAL)  # of an earlier try: segments may have been sealed since
    place.folder(paths.JOURNAL)
    for folder in _COPIED:
        for name in source.names(folder):
            size = source.size(name)
            if size is None:
                continue
            if place.size(name) == size and _equal(source, place, name):
                done.kept += 1
                continue
            place.write(name, _counted(source.blocks(name), done))
            done.files += 1
            if done.progress:
                done.progress(done.files, None, "copying", "files")


def _equal(source: Folder, place: Folder, name: str) -> bool:
    """Read, for a power loss may have left a file of the right length that was never synced."""
    return all(one == other for one, other in zip(source.blocks(name), place.blocks(name), strict=True))


def _counted(blocks: Iterator[bytes], done: _Done) -> Iterator[bytes]:
    for block in blocks:
        done.bytes += len(block)
        yield block


def _proven(dest: str, settings: Settings, head: Head) -> int:
    """Open the copy, which derives its rows, and see that it ends where the source did; how many transactions."""
    handle = opening.open_store(dest, settings)
    try:
        found = handle.index.chain.head() or handle.origin
        if found != head:
            raise ChainBrokenError(
                f"the copy in {dest} ends before change {found.next_seq}, and the source before {head.next_seq}",
                seq=found.next_seq, where="copy", remedy="Remove the copy, check the source with `holdfast fsck`.",
            )  # fmt: skip
        return handle.opened.transactions
    finally:
        handle.close()
