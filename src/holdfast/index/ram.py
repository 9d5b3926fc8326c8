"""An index database in memory that many threads use at once: readers wait for no writer, no writer for readers.

SQLite has no such thing: in its memory databases a writer shuts out every reader, for there is no write-ahead log. So
there are two copies (left and right). A transaction works on one of them, `back`; whoever reads meanwhile reads the
other, `front`, which gets the same statements after COMMIT: they are deterministic, so both stay equal. Where somebody
holds a view of the front just then, it is left to him, and the next front is a copy of the back.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from holdfast import ram
from holdfast.errors import HandleDeadError
from holdfast.index import proof
from holdfast.index.database import BUSY_TIMEOUT_MS, Database

Row = tuple[Any, ...]
_VERSION = "PRAGMA DATA_VERSION"
_READS = ("SELECT", "WITH", "EXPLAIN", "VALUES")


def decoded(raw: bytes) -> str:
    """How SQLite's text becomes Python's, unless somebody asks otherwise."""
    return raw.decode()


@functools.lru_cache(maxsize=4096)
def _kind(sql: str) -> str:
    head = sql.split(None, 1)[0].upper()
    if head == "BEGIN":
        return "begin" if "IMMEDIATE" in sql.upper() else "look"
    if head == "PRAGMA" and "user_version =" in sql:
        return "write"
    if head == "PRAGMA":
        return "setting" if "=" in sql or "checkpoint" in sql else "version" if sql.upper() == _VERSION else "read"
    if head in ("COMMIT", "ROLLBACK") and "TO" not in sql.upper().split():
        return head.lower()
    if head == "WITH" and not {"INSERT", "UPDATE", "DELETE", "REPLACE"}.isdisjoint(sql.upper().split()):
        return "write"
    return "read" if head in _READS else "write"


class Result:
    """What a statement gave, all of it: nothing is left open on a connection that others use."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[Row], rowcount: int = -1) -> None:
        self._rows = iter(rows)
        self.rowcount = rowcount

    def fetchall(self) -> list[Row]:
        """All rows that are left."""
        return list(self._rows)

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        return next(self._rows, None)

    def __iter__(self) -> Result:
        return self

    def __next__(self) -> Row:
        return next(self._rows)

    def close(self) -> None:
        """Nothing is held."""


class _Front:
    """What readers see. `views`: how many hold it as it is."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.views = 0


class RamFile:
    """The two copies of one database. `version`: how many transactions changed it."""

    def __init__(self) -> None:
        self.writer = threading.Lock()
        self.guard = threading.RLock()
        self.version = 0
        self._functions: dict[str, Callable[[sqlite3.Connection], None]] = {"": proof.install}
        self.back = self._connected()
        self.front = _Front(self._connected())

    def _connected(self) -> sqlite3.Connection:
        made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=256)
        for install in self._functions.values():
            install(made)
        return made

    def install(self, name: str, function: Callable[[sqlite3.Connection], None]) -> None:
        """Make a function known on both copies, and on those to come."""
        with self.guard:
            self._functions[name] = function
            for one in (self.back, self.front.connection):
                function(one)

    def follow(self, log: list[tuple[str, Any, bool]]) -> None:
        """Bring the front to where the back is, which has just committed what the log says."""
        with self.guard:
            self.version += 1
            if self.front.views or not self._replayed(log):
                old, self.front = self.front, _Front(self._connected())
                self.back.backup(self.front.connection)
                if not old.views:
                    old.connection.close()

    def _replayed(self, log: list[tuple[str, Any, bool]]) -> bool:
        front = self.front.connection
        try:
            front.execute("BEGIN")
            for sql, parameters, many in log:
                (front.executemany if many else front.execute)(sql, parameters)
            front.execute("COMMIT")
        except sqlite3.Error:  # then the front is made anew from the back, which is right
            return False
        return True

    def copy_from(self, source: sqlite3.Connection) -> None:
        """Become a copy of another database."""
        with self.writer, self.guard:
            source.backup(self.back)
            self.follow([("this is no statement", (), False)])

    def give_up(self, front: _Front) -> None:
        """One view less."""
        with self.guard:
            front.views -= 1
            if not front.views and front is not self.front:
                front.connection.close()

    def image(self) -> bytes:
        """What a file of it would hold."""
        with self.guard:
            return self.front.connection.serialize()

    def size_bytes(self) -> int:
        """How long that file would be."""
        with self.guard:
            (pages,) = self.front.connection.execute("PRAGMA page_count").fetchone()
            (size,) = self.front.connection.execute("PRAGMA page_size").fetchone()
            return int(pages * size)

    def close(self) -> None:
        """Give the memory of both copies back."""
        with self.guard:
            self.back.close()
            self.front.connection.close()


class RamLink:
    """What a thread has in place of a connection: the same calls as `sqlite3.Connection`, as far as they are used."""

    def __init__(self, file: RamFile, *, read_only: bool) -> None:
        self._file = file
        self._read_only = read_only
        self._writes = False
        self._log: list[tuple[str, Any, bool]] = []
        self._view: _Front | None = None
        self._own = 0
        self.text_factory: Callable[[bytes], Any] = decoded
        self.total_changes = 0

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, to write or to read one state."""
        return self._writes or self._view is not None

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        """One statement."""
        kind = _kind(sql)
        if kind == "read":
            return self._read(sql, parameters)
        if kind == "write":
            return self._write(sql, parameters)
        if kind == "version":
            return Result([(self._file.version - self._own,)])
        if kind != "setting":
            getattr(self, f"_{kind}")()
        return Result([])

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> Result:
        """One statement for each row."""
        return self._write(sql, list(rows), many=True)

    def _read(self, sql: str, parameters: Sequence[Any]) -> Result:
        if self._writes:
            return self._fetched(self._file.back, sql, parameters)
        if self._view is not None:
            with self._file.guard:
                return self._fetched(self._view.connection, sql, parameters)
        with self._file.guard:
            return self._fetched(self._file.front.connection, sql, parameters)

    def _fetched(self, connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> Result:
        if self.text_factory is decoded:
            return Result(connection.execute(sql, parameters).fetchall())
        connection.text_factory = self.text_factory
        try:
            return Result(connection.execute(sql, parameters).fetchall())
        finally:
            connection.text_factory = str

    def _write(self, sql: str, parameters: Any, *, many: bool = False) -> Result:
        if not self._writes:
            self._begin()
            try:
                done = self._write(sql, parameters, many=many)
                self._commit()
            except BaseException:
                self._rollback()
                raise
            return done
        back = self._file.back
        before = back.total_changes
        cursor = (back.executemany if many else back.execute)(sql, parameters)
        rows = cursor.fetchall()
        self.total_changes += back.total_changes - before
        self._log.append((sql, parameters, many))
        return Result(rows, cursor.rowcount)

    def _begin(self) -> None:
        if self._read_only:
            raise _failed("attempt to write a readonly database", sqlite3.SQLITE_READONLY)
        if self.in_transaction:
            raise _failed("cannot start a transaction within a transaction", sqlite3.SQLITE_ERROR)
        if not self._file.writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise _failed("database is locked", sqlite3.SQLITE_BUSY)
        self._file.back.execute("BEGIN")
        self._writes = True

    def _commit(self) -> None:
        if self._view is not None:
            self._end_view()
            return
        if not self._writes:
            raise _failed("cannot commit - no transaction is active", sqlite3.SQLITE_ERROR)
        self._file.back.execute("COMMIT")
        try:
            if self._log:
                self._own += 1
                self._file.follow(self._log)
        finally:
            self._let_go()

    def _rollback(self) -> None:
        if self._view is not None:
            self._end_view()
        elif self._writes:
            try:
                self._file.back.execute("ROLLBACK")
            finally:
                self._let_go()

    def _let_go(self) -> None:
        self._writes, self._log = False, []
        self._file.writer.release()

    def _look(self) -> None:
        if self.in_transaction:
            raise _failed("cannot start a transaction within a transaction", sqlite3.SQLITE_ERROR)
        with self._file.guard:
            self._view = self._file.front
            self._view.views += 1

    def _end_view(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            self._file.give_up(view)

    def create_function(self, name: str, arguments: int, function: Any, *, deterministic: bool = False) -> None:
        """Known to every connection from now on."""
        self._file.install(
            name, lambda one: one.create_function(name, arguments, function, deterministic=deterministic)
        )

    def backup(self, target: Any, *, pages: int = -1) -> None:  # noqa: ARG002 - here it is always at once
        """Copy what is committed over another database."""
        with self._file.guard:
            if isinstance(target, RamLink):
                target.copy_from(self._file.front.connection)
            else:
                self._file.front.connection.backup(target)

    def copy_from(self, source: sqlite3.Connection) -> None:
        """Become a copy of another database."""
        self._file.copy_from(source)

    def interrupt(self) -> None:
        """Each statement is over in a moment, so there is nothing to stop."""

    def close(self) -> None:
        """Give back what this thread holds; the database stays."""
        with contextlib.suppress(sqlite3.Error):
            self._rollback()


class RamDatabase(Database):
    """The same calls as Database, to a place in memory."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        super().__init__(path, read_only=read_only)
        if read_only and ram.database(path) is None:
            raise FileNotFoundError(path)
        self._file = cast("RamFile", ram.database(path) or ram.put_database(path, RamFile()))

    def become(self, source: sqlite3.Connection, *, pages: int) -> None:
        """Be a copy of another database, in memory as well or in a file."""
        if isinstance(source, RamLink):
            super().become(source, pages=pages)
        else:
            self._file.copy_from(source)

    def whole(self, columns: str, rest: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """As `rows`: threads share what functions would put rows into."""
        return self.rows(f"SELECT {columns} {rest}", parameters)

    def _connect(self) -> sqlite3.Connection:
        link = cast("sqlite3.Connection", RamLink(self._file, read_only=self.read_only))
        with self._guard:
            gone = [one for thread, one in self._every if not thread.is_alive()]
            self._every = [(thread, one) for thread, one in self._every if thread.is_alive()]
            self._every.append((threading.current_thread(), link))
        for left in gone:
            left.close()
        return link

    def raw(self) -> sqlite3.Connection:
        """What this thread has in place of a connection."""
        link: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if self._closed:
            raise HandleDeadError("the store is closed", reason="closed")
        if link is None:
            link = self._own.connection = self._connect()
        return link


def database_at(path: str, *, read_only: bool = False) -> Database:
    """The database at a path: of a file, or in memory."""
    return (RamDatabase if ram.holds(path) else Database)(path, read_only=read_only)


def _failed(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error
