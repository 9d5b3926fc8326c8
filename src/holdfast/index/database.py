"""Connections to one SQLite file: one for each thread, all closed together, and SQLite's errors in our own words.

SQLite's traps that this module answers (DESIGN, section 3): no other code of the process opens these files; no
automatic checkpoints; no memory map; a connection inherited by a forked child is neither used nor closed there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from typing import Any

from holdfast.errors import (
    ConflictError,
    HandleDeadError,
    HoldfastError,
    IndexDamagedError,
    InvalidValueError,
    LockedError,
    NoSpaceError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.index import proof
from holdfast.values import configuration

BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 16 * 1024
WAL_KEPT_BYTES = 1 << 20
"""A checkpointed write-ahead log is cut to this when it starts anew, if nobody says otherwise (sqlite.py does)."""

_PRAGMAS = {
    "synchronous": 3,  # EXTRA: a commit is on disk when it returns, and no rollback journal comes back to undo it
    "wal_autocheckpoint": 0,  # checkpoints run under the writer lock only
    "journal_size_limit": WAL_KEPT_BYTES,
    "mmap_size": 0,
    "secure_delete": 1,  # bytes of contents stand here for a while: none of them is to stay in a page that is free
    "cache_size": -CACHE_KIB,
    "busy_timeout": BUSY_TIMEOUT_MS,
    "trusted_schema": 0,
}


# What Python's sqlite3 raises for a value of the wrong type, an integer beyond 64 bits, and a lone surrogate; and
# UnicodeDecodeError where SQLite quotes a damaged schema in its message.
_UNBINDABLE = (sqlite3.ProgrammingError, sqlite3.InterfaceError, OverflowError, UnicodeEncodeError)
_ERRORS = (sqlite3.Error, OverflowError, UnicodeError)


_CANTOPEN = sqlite3.SQLITE_CANTOPEN
_NO_ROOM_FOR_MAP = sqlite3.SQLITE_IOERR_SHMSIZE
"""The `-shm` beside a log could not be made 32 KiB long: SQLite says "I/O error" for what is a full disk."""

_A_FUNCTION_RAISED = "user-defined function raised exception"


def mapped(error: Exception, path: str) -> HoldfastError:
    """The typed error for an error of SQLite. Raises what came from outside while SQLite asked a function of ours."""
    if isinstance(error, HoldfastError):
        return error
    text = str(error)
    whole_code = getattr(error, "sqlite_errorcode", 0)
    code = whole_code & 0xFF
    if code == sqlite3.SQLITE_FULL or whole_code == _NO_ROOM_FOR_MAP:
        return NoSpaceError(f"no space left to write {path}", path=path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LockedError(f"{path} is busy: {text}", lock=path, holder=None, waited_s=BUSY_TIMEOUT_MS / 1000)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) or (code == _CANTOPEN and not _permitted(path)):
        return ReadOnlyError(f"cannot write or open {path}: {text}", path=path)
    if code in (sqlite3.SQLITE_IOERR, _CANTOPEN):
        return StorageIOError(f"SQLite could not read or write {path}: {text}", path=path, operation="sqlite", errno=0)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, UnicodeDecodeError):
        return IndexDamagedError(f"{path} is damaged: {text}", reason=text)
    if text == _A_FUNCTION_RAISED:
        if (other := proof.interruption()) is not None:
            raise other
        return IndexDamagedError(f"a row of {path} is not what its checksum says", reason="row checksum")
    if isinstance(error, sqlite3.IntegrityError):
        return ConflictError(f"a row of {path} clashes: {text}", reason=text)
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in text:
        return HandleDeadError(f"{path} was used after it was closed", reason=text)
    if isinstance(error, _UNBINDABLE):
        return InvalidValueError(f"a value that no row can hold: {text}", where="query", reason=text)
    return IndexDamagedError(f"{path}: {text}", reason=text)


def _permitted(path: str) -> bool:
    """Whether permissions let the file be written, or made, and files beside it: then it was something else."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return False
    return os.access(folder, os.W_OK | os.X_OK) and (not os.path.exists(path) or os.access(path, os.R_OK | os.W_OK))


def _asked() -> dict[str, int]:
    """What the environment says of connections. InvalidValueError for what is no number, or out of bounds."""
    found: dict[str, int] = {}
    for name, pragma, sign in (("cache_kib", "cache_size", -1), ("busy_timeout_ms", "busy_timeout", 1)):
        one = configuration.BY_NAME[name]
        said = os.environ.get(one.environment)
        if said:
            found[pragma] = sign * int(configuration.parsed(one, said, one.environment) or 0)
    return found


def _is_at_work(thread: threading.Thread) -> bool:
    """Whether a thread is in a call of this package just now: whoever begins one sees that the database is closed."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("holdfast."):
            return True
        frame = frame.f_back
    return False


# Of a value that is not exactly an int, float, str or bytearray, sqlite3 asks how it wants to be stored, and makes two
# AttributeErrors on the way: 0.3 µs for each. These say that they are what they are, to all of the process.
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(type(None), lambda none: none)


class Database:
    """An SQLite file that hands each thread a connection of its own and can close all of them.

    `keeps_entries`: whether entries of its indexes are proven by whoever keeps it.
    """

    keeps_entries = False

    def __init__(self, path: str, *, read_only: bool = False, without_log: bool = False) -> None:
        """`without_log`: the main file alone, as it stands, whatever its write-ahead log says."""
        self.path = path
        self._without_log = without_log
        self.read_only = read_only
        self._every: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._guard = threading.Lock()
        self._own = threading.local()
        self._closed = False

    def _connect(self) -> sqlite3.Connection:
        """A connection for this thread."""
        mode = "ro" if self.read_only else "rwc"
        uri = "file:" + self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + f"?mode={mode}"
        uri += "&immutable=1" if self._without_log else ""
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            for name, value in (_PRAGMAS | _asked()).items():
                connection.execute(f"PRAGMA {name} = {value}")
            proof.install(connection)
        except BaseException:
            connection.close()
            raise
        with self._guard:
            gone = [c for thread, c in self._every if not thread.is_alive()]
            self._every = [(t, c) for t, c in self._every if t.is_alive()]
            self._every.append((threading.current_thread(), connection))
        for left in gone:
            left.close()
        return connection

    def raw(self) -> sqlite3.Connection:
        """This thread's connection; made when first asked for."""
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if self._closed:
            if connection is not None:
                connection.close()  # nobody else may: see close_every
            raise HandleDeadError("the store is closed", reason="closed")
        if connection is None:
            with self.errors():
                connection = self._connect()
            self._own.connection = connection
        return connection

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of SQLite leave the block as ours."""
        try:
            yield
        except _ERRORS as error:
            raise mapped(error, self.path) from error

    def run(self, sql: str, parameters: tuple[Any, ...] | list[Any] = ()) -> sqlite3.Cursor:
        """One statement on this thread's connection; errors typed."""
        try:
            return self.raw().execute(sql, parameters)
        except _ERRORS as error:
            raise self._failed(error, sql, parameters) from error

    def rows(self, sql: str, parameters: tuple[Any, ...] | list[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement, which must bound its result itself; errors typed."""
        try:
            return self.raw().execute(sql, parameters).fetchall()
        except _ERRORS as error:
            raise self._failed(error, sql, parameters) from error

    def one(self, sql: str, parameters: tuple[Any, ...] | list[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, or None; errors typed."""
        try:
            row: tuple[Any, ...] | None = self.raw().execute(sql, parameters).fetchone()
        except _ERRORS as error:
            raise self._failed(error, sql, parameters) from error
        return row

    def _failed(self, error: Exception, sql: str, parameters: tuple[Any, ...] | list[Any]) -> HoldfastError:
        """`mapped`; if a function of ours never began, asking again tells an interrupt from cells that are no text."""
        if str(error) == _A_FUNCTION_RAISED and proof.is_silent():
            with contextlib.suppress(*_ERRORS):
                self.raw().execute(sql, parameters).fetchall()
                raise KeyboardInterrupt
        return mapped(error, self.path)

    @contextlib.contextmanager
    def committed(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees what is committed: this thread's, or while that has a transaction open, another one.

        SQLite copies nothing from a connection that is writing: it would be asked again for ever.
        """
        own = self.raw()
        if not own.in_transaction:
            yield own
            return
        other = self._connect()
        try:
            yield other
        finally:
            with self._guard:
                self._every = [(thread, one) for thread, one in self._every if one is not other]
            other.close()

    def become(self, source: sqlite3.Connection, *, pages: int) -> None:
        """Be a copy of another database, by SQLite's own backup, so many pages at a time (-1: at once)."""
        source.backup(self.raw(), pages=pages)

    def copy_to(self, path: str) -> None:
        """This whole database as it is committed, in a new file, synced. Errors typed."""
        try:
            with contextlib.closing(sqlite3.connect(path)) as copy:
                copy.execute("PRAGMA synchronous = FULL")
                self.raw().backup(copy)
        except sqlite3.Error as error:
            raise mapped(error, path) from error

    def close_every(self) -> None:
        """Close the connections of all threads. The last to close a database checkpoints it: hold the writer lock.

        Those of threads that are in the midst of a call are interrupted, and closed by these when they ask for them
        again, or with this object: a connection that is closed while another thread uses it ends the process.
        """
        self._closed = True
        with self._guard:
            every, self._every = self._every, []
        for thread, connection in every:
            with contextlib.suppress(sqlite3.Error):
                if thread is threading.current_thread() or not _is_at_work(thread):
                    connection.close()
                else:
                    connection.interrupt()

    def abandon(self) -> list[sqlite3.Connection]:
        """In a forked child: use no connection again, and close none (that would undo the parent's locks)."""
        self._closed = True
        self._own = threading.local()
        return [connection for _, connection in self._every]
