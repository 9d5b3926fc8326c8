"""Sees every durable step of a process that works on a store, just before it is taken, and can end the process there.

Nothing of this is in the product: a `Disk` that looks first, SQLite connections that do the same, and the locks. What
is about to happen is a `Moment`; the state on disk before a moment is what a kill there leaves. Three things can also
be ended half done: a write (half its bytes), a COMMIT or checkpoint (a limit on the size of files makes the system end
the process in the middle of SQLite's writing) and a backup into the live index (half its pages).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import struct
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from holdfast.disk import Disk
from holdfast.engine.locks import FileLock, WriterLock
from holdfast.formats import paths

OUTSIDE, LOCKED, OPEN, COMMITTED = "", "locked", "in transaction", "committed"
"""Phases: no writer lock held; held; a transaction of the index open; it was committed and the lock is still held."""

_STATEMENTS = {
    "BEGIN IMMEDIATE": "begin", "COMMIT": "commit", "ROLLBACK": "rollback",
    "PRAGMA WAL_CHECKPOINT": "checkpoint", "PRAGMA JOURNAL_MODE": "journal mode", "VACUUM": "vacuum",
}  # fmt: skip
_ROWS = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP")
_PAGE = 4096
_FRAME = _PAGE + 24
_LOG_HEAD = 32
_PAGES = 2


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """What is about to happen: `verb`, on which kind of file (`place`), in which phase. `half …`: it is half done."""

    verb: str
    place: str
    phase: str = OUTSIDE

    def __str__(self) -> str:
        return f"{self.verb} {self.place}" + (f" ({self.phase})" if self.phase else "")


class Watch(Protocol):
    """What a tracer tells: each moment, and whether the process is to be ended in the middle of it."""

    def __call__(self, moment: Moment) -> bool:
        """Look at a moment; may not return. True for a moment named `half …`: do half of it and end."""


def die() -> NoReturn:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Tracer:
    """Follows one process on the store at `root`. Install it in a process that will end; it is not taken out again."""

    def __init__(self, root: str, watch: Watch) -> None:
        self._root = os.path.abspath(root)
        self._watch = watch
        self._own = threading.local()
        self._indexes: set[str] = set()

    # -- telling -----------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        """How far this thread has come in a transaction."""
        return str(getattr(self._own, "phase", OUTSIDE))

    def meet(self, verb: str, place: str) -> None:
        """Tell of a moment."""
        if place:
            self._watch(Moment(verb, place, self.phase))

    def halfway(self, verb: str, place: str) -> bool:
        """Whether to do half of something and end."""
        return bool(place) and self._watch(Moment(f"half {verb}", place, self.phase))

    def place(self, path: str) -> str:
        """The kind of file that stands at a path; "" outside the store."""
        path = os.path.abspath(path)
        if path == self._root:
            return "store"
        if not path.startswith(self._root + "/"):
            return ""
        if path in self._indexes:
            return "new index"
        folder, _, name = path[len(self._root) + 1 :].rpartition("/")
        return _kind(folder, name)

    # -- seeing ------------------------------------------------------------------------------------------------------

    def install(self) -> Disk:
        """Look into SQLite and the locks of this process from now on; the disk to give to `Settings`."""
        _Connection.tracer = self
        real = sqlite3.connect

        def connect(database: str, **options: Any) -> Any:
            return real(database, **{**options, "factory": _Connection})

        sqlite3.connect = connect  # type: ignore[assignment]
        self._watch_locks()
        return TracingDisk(self)

    def _watch_locks(self) -> None:
        acquire, release, alone = WriterLock.acquire, WriterLock.release, FileLock.acquire
        at_once = WriterLock.acquire_now

        def acquired(lock: WriterLock, what: str, *, wait_s: float) -> None:
            acquire(lock, what, wait_s=wait_s)
            self._own.phase = LOCKED
            self.meet("hold", "writer lock")

        def acquired_now(lock: WriterLock, what: str) -> bool:
            if not at_once(lock, what):
                return False
            self._own.phase = LOCKED
            self.meet("hold", "writer lock")
            return True

        def released(lock: WriterLock) -> None:
            self.meet("release", "writer lock")
            self._own.phase = OUTSIDE
            release(lock)

        def locked(lock: FileLock, *, shared: bool, wait_s: float) -> None:
            alone(lock, shared=shared, wait_s=wait_s)
            if not shared and lock.path.endswith((paths.HANDLES_LOCK, paths.SEARCH_LOCK)):
                self.meet("hold", f"{os.path.basename(lock.path)} lock")

        for kind, name, method in (
            (WriterLock, "acquire", acquired), (WriterLock, "release", released), (FileLock, "acquire", locked),
            (WriterLock, "acquire_now", acquired_now),
        ):  # fmt: skip
            setattr(kind, name, method)

    def database(self, path: str) -> str:
        """The place of a database's file; one in tmp/ is known as the new index from now on."""
        place = self.place(path)
        if place == "temporary":
            self._indexes.add(os.path.abspath(path))
            return "new index"
        return place

    def enter(self, verb: str, place: str) -> None:
        """A statement on the index has come to its end: the phase changes."""
        if place == "index" and verb in _AFTER and self.phase != OUTSIDE:
            self._own.phase = _AFTER[verb]


_AFTER = {"begin": OPEN, "commit": COMMITTED, "rollback": LOCKED}


def _kind(folder: str, name: str) -> str:
    if not folder:
        if name.startswith((paths.INDEX, paths.SEARCH)):
            return "index" if name.startswith(paths.INDEX) else "search"
        return {paths.MARKER: "marker", paths.BLOBS: "blobs", paths.JOURNAL: "journal", paths.TMP: "tmp"}.get(
            name, name
        )
    if folder == paths.JOURNAL:
        return "sealed segment" if name.endswith(".zst") else "segment"
    if folder == paths.BLOBS:
        return "blob folder"
    if folder.startswith(paths.BLOBS):
        return "blob"
    named = {paths.TMP: "temporary", paths.QUARANTINE: "quarantined", paths.PACKS: "pack", paths.LOCKS: "lock"}
    return {**named, paths.RECIPES: "recipe"}[folder]


# -- files -------------------------------------------------------------------------------------------------------------


class TracingDisk(Disk):
    """A real disk that tells of each operation before it does it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def write(self, fd: int, data: bytes | bytearray | memoryview, path: str) -> None:
        place = self._tracer.place(path)
        self._tracer.meet("write", place)
        if self._tracer.halfway("write", place):
            super().write(fd, bytes(data)[: len(data) // 2], path)
            die()
        super().write(fd, data, path)

    def overwrite(self, path: str, data: bytes, offset: int) -> None:
        place = self._tracer.place(path)
        self._tracer.meet("overwrite", place)
        if self._tracer.halfway("overwrite", place):
            super().overwrite(path, data[: len(data) // 2], offset)
            die()
        super().overwrite(path, data, offset)

    def open_append(self, path: str) -> int:
        if self.stat(path) is None:
            self._tracer.meet("create", self._tracer.place(path))
        return super().open_append(path)

    def mkdir(self, path: str) -> bool:
        if self.stat(path) is None:
            self._tracer.meet("mkdir", self._tracer.place(path))
        return super().mkdir(path)


def _telling(name: str, which: int) -> Callable[..., Any]:
    real = getattr(Disk, name)

    def operation(self: TracingDisk, *arguments: Any) -> Any:
        self._tracer.meet(name, self._tracer.place(arguments[which]))
        return real(self, *arguments)

    return operation


for _name, _which in (
    ("create", 0), ("fsync", 1), ("fsync_dir", 0), ("sync_filesystem", 0), ("link", 1), ("unlink", 0), ("rename", 1),
    ("set_time", 0),
):  # fmt: skip
    setattr(TracingDisk, _name, _telling(_name, _which))


# -- SQLite ------------------------------------------------------------------------------------------------------------


class _Connection(sqlite3.Connection):
    """A connection that tells of each statement that writes before it runs it."""

    tracer: Tracer

    def __init__(self, database: str, *arguments: Any, **options: Any) -> None:
        path = urllib.parse.unquote(database.removeprefix("file:").rpartition("?")[0])
        self.path = path
        self.place = self.tracer.database(path) if path else ""
        super().__init__(database, *arguments, **options)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        verb = _verb(sql)
        if not verb:
            return super().execute(sql, *arguments)
        self.tracer.meet(verb, self.place)
        if verb in ("commit", "checkpoint") and self.place in ("index", "search"):
            # Only where there is something to be half done: the limit must fall into what will be written.
            with _ended_by_size(self.path, verb) if self.tracer.halfway(verb, self.place) else contextlib.nullcontext():
                cursor = super().execute(sql, *arguments)
        else:
            cursor = super().execute(sql, *arguments)
        self.tracer.enter(verb, self.place)
        return cursor

    def backup(self, target: sqlite3.Connection, *, pages: int = -1, **options: Any) -> None:
        place = target.place if isinstance(target, _Connection) else ""
        self.tracer.meet("backup", place)
        if self.tracer.halfway("backup", place):

            def progress(_status: int, remaining: int, total: int) -> None:
                if remaining <= total // 2:
                    die()

            super().backup(target, pages=_PAGES, progress=progress)
        super().backup(target, pages=pages, **options)
        self.tracer.meet("take over", place)


def _verb(sql: str) -> str:
    text = sql.strip().upper()
    for start, verb in _STATEMENTS.items():
        if text.startswith(start):
            return verb
    return "row" if text.startswith(_ROWS) else ""


@contextlib.contextmanager
def _ended_by_size(path: str, verb: str) -> Iterator[None]:
    """The system ends the process when it writes beyond a size: after a frame of the log, or half-way in the pages."""
    limit = _log_end(path) + _FRAME + _FRAME // 2 if verb == "commit" else _half_moved(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def _frames(path: str) -> tuple[int, int, int]:
    """How many frames of the log are valid, how many pages the database then has, and how many frames were moved to it:
    from the header of the log's index (https://www.sqlite.org/walformat.html). FileNotFoundError."""
    with open(path + "-shm", "rb") as shared:
        header = shared.read(100)
    return *struct.unpack_from("=II", header, 16), *struct.unpack_from("=I", header, 96)


def _log_end(path: str) -> int:
    """Where the next frame is written: behind the last valid one, or at the beginning if all of them were moved."""
    with contextlib.suppress(FileNotFoundError):
        valid, _, moved = _frames(path)
        return _LOG_HEAD + (0 if moved == valid else valid) * _FRAME
    return 0


def _half_moved(path: str) -> int:
    """The size at which about half of the pages in the log are in the database, and one of them in part.

    Pages beyond what the database then has are not moved.
    """
    with contextlib.suppress(FileNotFoundError), open(path + "-wal", "rb") as log:
        valid, size, done = _frames(path)
        log.seek(_LOG_HEAD + done * _FRAME)
        frames = (int.from_bytes(log.read(_FRAME)[:4]) for _ in range(done, valid))
        pages = sorted({page for page in frames if page <= size})
        if pages:
            return (pages[len(pages) // 2] - 1) * _PAGE + _PAGE // 2
    return _size(path) // 2


def _size(path: str) -> int:
    return os.stat(path).st_size if os.path.exists(path) else 0
