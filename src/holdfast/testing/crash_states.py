"""What a power loss may leave: from a recording, the folders that a file system is allowed to show afterwards.

The rules, stricter than ext4 and XFS are:
- bytes not synced since may be missing from any point on, and sectors of 512 bytes among them may read as zeros;
- names not synced since: in mode `ordered` any prefix of the changes of names is there (a journal of metadata), in mode
  `folders` a prefix for each folder on its own, in mode `any` each change by itself. A rename is never half there;
- a COMMIT that returned is in the write-ahead log; of one that did not, any sectors may be. A checkpoint that did not
  return left any pages, torn or whole, with the whole log beside them; afterwards the log may still be uncut;
- the index may be gone altogether, if nothing else is lost (losing both is the one double failure that is documented).
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.care.fsck import index as fsck_index
from holdfast.engine import derive, private
from holdfast.formats import paths
from holdfast.index import sqlite
from holdfast.testing.recording import WAL, IndexSeen, Operation, Recording

SECTOR = 512
CORNERS = (
    "all kept", "all lost", "names kept, bytes lost", "names kept, bytes zero", "names lost, bytes kept", "index gone",
)  # fmt: skip
"""The states that are tried of every crash point that is tried at all; the others are drawn."""
MODES = ("ordered", "folders", "any")


@dataclass(slots=True)
class _File:
    data: bytearray = field(default_factory=bytearray)
    durable: int = 0


@dataclass(slots=True)
class _Change:
    operation: Operation
    durable: bool = False


@dataclass(slots=True)
class Point:
    """Everything that could matter at one crash point: the first `at` events have happened."""

    at: int
    folders: list[str]
    names: dict[str, int]
    files: dict[int, _File]
    changes: list[_Change] = field(default_factory=list)
    index: list[IndexSeen] = field(default_factory=list)
    """The durable state of the index first, then those that may be there instead."""
    coming: IndexSeen | None = None
    """What SQLite was doing when the power went."""

    @property
    def loose_bytes(self) -> list[_File]:
        """Files with bytes that may be lost."""
        return [file for file in self.files.values() if len(file.data) > file.durable]

    @property
    def loose_names(self) -> int:
        """How many changes of names may be lost."""
        return sum(not change.durable for change in self.changes)

    def log2_states(self) -> float:
        """About how many states are legal here, as a power of two."""
        sectors = sum(-(-(len(f.data) - f.durable) // SECTOR) for f in self.loose_bytes)
        bits = float(sectors + self.loose_names + (len(self.index) > 1))
        if self.coming is not None and self.index:
            now, then = self.index[-1], self.coming
            if then.how == "append":
                bits += (len(then.log) - len(now.log)) // SECTOR
            elif then.how == "checkpoint":
                bits += len(_changed(now.database or b"", then.database or b""))
        return bits


@dataclass(frozen=True, slots=True)
class State:
    """One folder that may be found after the crash. `index` None: there is none; `origin`: how it was chosen."""

    at: int
    origin: str
    folders: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]
    index: IndexSeen | None


def point(recording: Recording, at: int) -> Point:
    """What is on the disk, and what of it is sure, after the first `at` events."""
    files = {number: _File(bytearray(data), len(data)) for number, data in recording.files.values()}
    names = {name: number for name, (number, _) in recording.files.items()}
    found = Point(at, list(recording.folders), names, files)
    for event in recording.events[:at]:
        if isinstance(event, IndexSeen):
            _index_seen(found, event)
        else:
            _happened(found, event)
    following = recording.events[at] if at < len(recording.events) else None
    found.coming = following if isinstance(following, IndexSeen) and following.how != "names" else None
    return found


def _index_seen(found: Point, event: IndexSeen) -> None:
    if event.how == "names":
        found.index.append(event)
    elif event.how == "checkpoint" and found.index:
        # The cut of the log is not synced: it may come back whole, beside the new database.
        uncut = IndexSeen("uncut", event.database, found.index[-1].log, event.identity)
        found.index = [event, uncut]
    else:
        found.index = [event]


def _happened(found: Point, event: Operation) -> None:
    if event.kind == "write":
        written = found.files[event.file]
        written.data[event.offset : event.offset + len(event.data)] = event.data
        # What is overwritten was not needed; what the file system has of it, old or new, is not told apart here.
        written.durable = min(written.durable, event.offset)
    elif event.kind in ("create", "link", "unlink", "rename", "mkdir"):
        if event.file >= 0:
            found.files.setdefault(event.file, _File())
        found.changes.append(_Change(event))
    elif event.kind == "fsync" and event.file in found.files:
        found.files[event.file].durable = len(found.files[event.file].data)
    elif event.kind == "fsync_dir":
        for change in found.changes:
            change.durable |= event.path in _folders(change.operation)
        if event.path == "" and found.index:
            found.index = found.index[-1:] if found.index[-1].how == "names" else found.index
    elif event.kind == "sync_filesystem":
        for change in found.changes:
            change.durable = True
        for file in found.files.values():
            file.durable = len(file.data)
        found.index = found.index[-1:]


def _folders(operation: Operation) -> set[str]:
    return {os.path.dirname(path) for path in (operation.path, operation.source or operation.path)}


# -- choosing what is lost ---------------------------------------------------------------------------------------------


def corner(found: Point, name: str) -> State:
    """One of CORNERS at a crash point."""
    names = [c for c in found.changes if c.durable or not name.startswith(("all lost", "names lost"))]
    bytes_of = {n: bytes(f.data) for n, f in found.files.items()}
    if name in ("all lost", "names kept, bytes lost"):
        bytes_of = {n: bytes(f.data[: f.durable]) for n, f in found.files.items()}
    if name == "names kept, bytes zero":
        bytes_of = {n: bytes(f.data[: f.durable]).ljust(len(f.data), b"\0") for n, f in found.files.items()}
    seen: IndexSeen | None = None
    if found.index and name != "index gone":
        seen = found.index[0] if "lost" in name else found.index[-1]
    return _state(found, name, names, bytes_of, seen)


def drawn(found: Point, rnd: random.Random) -> State:
    """A legal state of a crash point, by chance."""
    mode = rnd.choice(MODES)
    names = _drawn_names(found.changes, mode, rnd)
    bytes_of = {number: _drawn_bytes(file, rnd) for number, file in found.files.items()}
    return _state(found, f"drawn, {mode}", names, bytes_of, _drawn_index(found, rnd))


def _drawn_names(changes: list[_Change], mode: str, rnd: random.Random) -> list[_Change]:
    if mode == "any":
        return [c for c in changes if c.durable or rnd.random() < 0.5]
    if mode == "ordered":
        sure = max((n for n, c in enumerate(changes) if c.durable), default=-1) + 1
        return changes[: rnd.randint(sure, len(changes))]
    limits: dict[str, int] = {}
    for folder in sorted({os.path.dirname(c.operation.path) for c in changes}):
        own = [n for n, c in enumerate(changes) if os.path.dirname(c.operation.path) == folder]
        limits[folder] = rnd.choice([-1, *own])
    return [c for n, c in enumerate(changes) if c.durable or n <= limits[os.path.dirname(c.operation.path)]]


def _drawn_bytes(file: _File, rnd: random.Random) -> bytes:
    if len(file.data) == file.durable:
        return bytes(file.data)
    end = rnd.choice([len(file.data), file.durable, rnd.randint(file.durable, len(file.data))])
    return _torn(bytes(file.data[:end]), file.durable, rnd.choice([0.0, 0.1, 0.5, 1.0]), rnd)


def _torn(data: bytes, sure: int, share: float, rnd: random.Random) -> bytes:
    """Some sectors of what lies behind `sure` read as zeros."""
    torn = bytearray(data)
    start = sure
    while start < len(torn):
        end = min((start // SECTOR + 1) * SECTOR, len(torn))
        if rnd.random() < share:
            torn[start:end] = bytes(end - start)
        start = end
    return bytes(torn)


def _drawn_index(found: Point, rnd: random.Random) -> IndexSeen | None:
    if not found.index:
        return None
    now, then = rnd.choice(found.index), found.coming
    if then is None or rnd.random() < 0.2:
        return now
    if then.how == "append" and then.database == now.database and then.log.startswith(now.log):
        end = rnd.randint(len(now.log), len(then.log))
        log = _torn(then.log[:end], len(now.log), rnd.choice([0.0, 0.0, 0.3]), rnd)
        return IndexSeen("torn", now.database, log, now.identity)
    if then.how == "checkpoint" and now is found.index[-1] and now.database is not None and then.database is not None:
        return IndexSeen("torn", _mixed(now.database, then.database, rnd), now.log, now.identity)
    return now


def _changed(old: bytes, new: bytes) -> list[int]:
    """Numbers of the sectors that differ."""
    ends = range(0, max(len(old), len(new)), SECTOR)
    return [start for start in ends if old[start : start + SECTOR] != new[start : start + SECTOR]]


def _mixed(old: bytes, new: bytes, rnd: random.Random) -> bytes:
    """A database in the middle of a checkpoint."""
    mixed = bytearray(old.ljust(rnd.choice([len(old), max(len(old), len(new))]), b"\0"))
    for start in _changed(old, new):
        if start < len(mixed) and rnd.random() < 0.5:
            piece = new[start : start + SECTOR]
            mixed[start : start + len(piece)] = piece
    return bytes(mixed)


def _state(
    found: Point, origin: str, changes: list[_Change], bytes_of: dict[int, bytes], seen: IndexSeen | None
) -> State:
    folders, names = set(found.folders), dict(found.names)
    for change in changes:
        _apply(change.operation, folders, names)
    kept = [(name, bytes_of[number]) for name, number in sorted(names.items()) if not name.startswith(paths.INDEX)]
    return State(found.at, origin, tuple(sorted(folders)), tuple(kept), seen)


def _apply(change: Operation, folders: set[str], names: dict[str, int]) -> None:
    parent = os.path.dirname(change.path)
    if parent and parent not in folders:
        return
    if change.kind == "mkdir":
        folders.add(change.path)
    elif change.kind == "unlink":
        if names.get(change.path) == change.file:
            del names[change.path]
    elif change.kind == "rename":
        if names.get(change.source) == change.file:
            del names[change.source]
        names[change.path] = change.file
    else:
        names.setdefault(change.path, change.file)


# -- on a real disk ----------------------------------------------------------------------------------------------------


def build(state: State, folder: str) -> None:
    """Make the state a folder, which must not be there yet."""
    os.mkdir(folder)
    for name in state.folders:
        os.mkdir(os.path.join(folder, name))
    files = list(state.files)
    if state.index is not None:
        files += [(WAL, state.index.log)] if state.index.log else []
        files += [(paths.INDEX, state.index.database)] if state.index.database is not None else []
    for name, data in files:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


@contextlib.contextmanager
def at_home(state: State, folder: str) -> Iterator[None]:
    """In the block, the built index passes for the file it was in the workload: a power loss makes no copies."""
    path = os.path.join(folder, paths.INDEX)
    real = sqlite.file_identity
    if state.index is None or state.index.database is None:
        yield
        return
    built, identity = real(path), state.index.identity

    def claimed(asked: str) -> str:
        found = real(asked)
        return identity if found == built else found

    places = (sqlite, derive, private, fsck_index)
    for place in places:
        place.file_identity = claimed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for place in places:
            place.file_identity = real  # type: ignore[attr-defined]
