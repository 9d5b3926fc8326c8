"""Records what a workload asks of the disk, in order, with its bytes; SQLite's files are watched from outside.

SQLite does not go through `Disk`, and no code of this process may open its files. So a helper process reads them
(index_watch): before and after every operation on the disk, every COMMIT, checkpoint and close. What the log or the
database has grown by since is what SQLite did meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from holdfast.disk import Disk
from holdfast.engine.locks import HandlesLock
from holdfast.formats import paths
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.testing.index_watch import IndexSeen, IndexWatch

SETTLED = "settled"
"""The kind of event that is a writer's note that the store is at home here: `locks/` itself is not recorded."""

_EXTRA = 3
_FAMILY = tuple(paths.INDEX + suffix for suffix in ("", "-wal", "-shm", "-journal"))


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: `kind` as `Disk` names it, `path` below the store's folder, `file` its number in the recording.

    `write`: `data` at `offset`. `mark`: no operation of the disk but a word of the workload (`path` says which).
    """

    kind: str
    path: str
    file: int = -1
    source: str = ""
    data: bytes = b""
    offset: int = 0


Event = Operation | IndexSeen


@dataclass(slots=True)
class Recording:
    """What happened: files and folders at the beginning (all durable), and every event since.

    `elsewhere`: the store had been copied here, and nobody had settled in it.
    """

    root: str
    elsewhere: bool = False
    folders: list[str] = field(default_factory=list)
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """How many events are operations, of the disk or of SQLite."""
        return sum(not (isinstance(e, Operation) and e.kind in ("mark", SETTLED)) for e in self.events)


class RecordingDisk(Disk):
    """A real disk that writes down what is asked of it below one folder. Use it with `recording`."""

    def __init__(self, root: str) -> None:
        self.recording = Recording(os.path.abspath(root))
        self._guard = threading.RLock()
        self._open: dict[int, int] = {}
        self._names: dict[str, int] = {}
        self._sizes: dict[int, int] = {}
        self._watch = IndexWatch(self.recording.root)
        self._begin()

    def mark(self, what: str) -> None:
        """Put a word of the workload among the operations."""
        with self._guard:
            self.observe()
            self.recording.events.append(Operation("mark", what))

    def observe(self, how: str = "", *, surely: bool = False) -> None:
        """See what SQLite did since. `surely`: it did something."""
        with self._guard:
            seen = self._watch.look(how, surely=surely)
            if seen is not None:
                self.recording.events.append(seen)

    def removals_are_synced(self, index: SqlIndex) -> None:
        """Ask SQLite whether a COMMIT makes sure that the rollback journal stays away."""
        self._watch.removal_synced = index.database.rows("PRAGMA synchronous") == [(_EXTRA,)]

    def stop(self) -> None:
        """End the helper process."""
        self._watch.stop()

    # -- what Disk does, written down --------------------------------------------------------------------------------

    def create(self, path: str) -> int:
        with self._guard:
            fd = super().create(path)
            self._open[fd] = self._made(path)
            return fd

    def open_append(self, path: str) -> int:
        with self._guard:
            there = self.stat(path) is not None
            fd = super().open_append(path)
            self._open[fd] = self._known(path) if there else self._made(path)
            return fd

    def open_read(self, path: str) -> int:
        with self._guard:
            fd = super().open_read(path)
            if self._short(path) is not None:
                self._open[fd] = self._known(path)
            return fd

    def close(self, fd: int) -> None:
        with self._guard:
            self._open.pop(fd, None)
            super().close(fd)

    def write(self, fd: int, data: bytes | bytearray | memoryview, path: str) -> None:
        with self._guard:
            self.observe()
            super().write(fd, data, path)
            number = self._open[fd]
            if number >= 0:
                self._log("write", path, number, data=bytes(data), offset=self._sizes[number])
                self._sizes[number] += len(data)

    def overwrite(self, path: str, data: bytes, offset: int) -> None:
        with self._guard:
            self.observe()
            super().overwrite(path, data, offset)
            number = self._known(path)
            if number >= 0:
                self._log("write", path, number, data=bytes(data), offset=offset)
                self._sizes[number] = max(self._sizes[number], offset + len(data))

    def fsync(self, fd: int, path: str) -> None:
        with self._guard:
            self._around(lambda: super(RecordingDisk, self).fsync(fd, path), "fsync", path, self._open.get(fd, -1))

    def fsync_dir(self, path: str) -> None:
        with self._guard:
            self._around(lambda: super(RecordingDisk, self).fsync_dir(path), "fsync_dir", path)

    def sync_filesystem(self, path: str) -> None:
        with self._guard:
            self._around(lambda: super(RecordingDisk, self).sync_filesystem(path), "sync_filesystem", path)

    def reserve(self, fd: int, offset: int, length: int, path: str) -> None:
        with self._guard:
            self._around(lambda: super(RecordingDisk, self).reserve(fd, offset, length, path), "reserve", path)

    def link(self, source: str, target: str) -> None:
        with self._guard:
            number = self._known(source)
            self._around(lambda: super(RecordingDisk, self).link(source, target), "link", target, number)
            self._names[target] = number

    def unlink(self, path: str) -> None:
        with self._guard:
            number = self._names.pop(path, -1)
            self._around(lambda: super(RecordingDisk, self).unlink(path), "unlink", path, number)

    def rename(self, source: str, target: str) -> None:
        with self._guard:
            number = self._known(source)
            self.observe()
            super().rename(source, target)
            self._names.pop(source, None)
            self._names[target] = number
            self._log("rename", target, number, source=self._short(source) or "")
            self._family(source, target)

    def mkdir(self, path: str) -> bool:
        with self._guard:
            if made := super().mkdir(path):
                self._log("mkdir", path)
            return made

    # -- how ---------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """What is there at the beginning counts as durable."""
        root = self.recording.root
        users = HandlesLock(os.path.join(root, paths.HANDLES_LOCK), absent_is_fine=True)
        users.acquire(shared=True, wait_s=1)
        self.recording.elsewhere = users.elsewhere() is True
        users.close()
        for folder, folders, files in os.walk(root):
            self.recording.folders += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(folders)]
            for name in sorted(files):
                path = os.path.join(folder, name)
                short = os.path.relpath(path, root)
                if not short.endswith((".sqlite3", "-wal", "-shm", "-journal")) and not short.startswith(paths.LOCKS):
                    self.recording.files[short] = (self._number(path), self._watch.read(path))
                    self._sizes[self._names[path]] = len(self.recording.files[short][1])
        self.observe("whole")

    def _number(self, path: str) -> int:
        number = self._names[path] = len(self._sizes)
        self._sizes[number] = 0
        return number

    def _made(self, path: str, data: bytes = b"") -> int:
        if self._short(path) is None:
            return -1
        number = self._number(path)
        self._log("create", path, number)
        if data:
            self._log("write", path, number, data=data)
            self._sizes[number] = len(data)
        return number

    def _known(self, path: str) -> int:
        """The number of a file that is there; one that SQLite made is written down now, with what it holds."""
        if path in self._names and self._short(path) not in _FAMILY:
            return self._names[path]
        return self._made(path, self._watch.read(path))

    def _around(self, action: Callable[[], None], kind: str, path: str, number: int = -1) -> None:
        self.observe()
        action()
        self._log(kind, path, number)
        if kind == "unlink":
            self._family(path)

    def _family(self, *names: str) -> None:
        if any(self._short(path) in _FAMILY for path in names):
            self.observe("names")

    def _short(self, path: str) -> str | None:
        root = self.recording.root
        if path == root:
            return ""
        return path[len(root) + 1 :] if path.startswith(root + "/") else None

    def _log(self, kind: str, path: str, number: int = -1, **more: Any) -> None:
        short = self._short(path)
        if short is not None:
            self.recording.events.append(Operation(kind, short, number, **more))


@contextlib.contextmanager
def recording(root: str) -> Iterator[RecordingDisk]:
    """A disk that records what happens to the store at `root`, which nobody has open; give it to `Settings(disk=…)`.

    One recording at a time in a process. Blobs, journal and engine must use this disk; SQLite is watched.
    """
    disk = RecordingDisk(root)
    watched = os.path.join(disk.recording.root, paths.INDEX)
    real = {name: getattr(SqliteIndex, name) for name in ("commit", "checkpoint", "_sign_log", "close")}

    def wrap(name: str) -> Callable[..., Any]:
        def method(self: SqliteIndex, **options: Any) -> Any:
            if self.path != watched:
                return real[name](self, **options)
            disk.observe(surely=name == "_sign_log")  # in a checkpoint: pages were moved, and the log is as it was
            if name == "commit":
                disk.removals_are_synced(self)
            try:
                return real[name](self, **options)
            finally:
                disk.observe(surely=True)

        return method

    for name in real:
        setattr(SqliteIndex, name, wrap(name))
    settle = HandlesLock.settle

    def settled(self: HandlesLock) -> None:
        settle(self)
        if self.path.startswith(disk.recording.root + "/"):
            disk.observe()
            disk.recording.events.append(Operation(SETTLED, ""))

    HandlesLock.settle = settled  # type: ignore[method-assign]
    try:
        yield disk
    finally:
        HandlesLock.settle = settle  # type: ignore[method-assign]
        for name, method in real.items():
            setattr(SqliteIndex, name, method)
        disk.stop()
