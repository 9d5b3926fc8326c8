"""Connections to the search file: pooled for threads, wrapped in transactions, errors typed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from typing import NoReturn

from holdfast.disk import raise_typed
from holdfast.errors import (
    HandleDeadError,
    IndexDamagedError,
    LockedError,
    NoSpaceError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.search import file
from holdfast.search.schema import Condition

_KEPT = 8


class Connections:
    """Hands out connections to one search file. For any number of threads; dead after `close` and in a forked child."""

    def __init__(self, path: str, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.found: Condition | None = None
        self._idle: list[tuple[int, sqlite3.Connection]] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """One consistent view for the block; None if there is nothing usable and it may not be made."""
        with self._lent() as connection:
            if connection is None:
                yield None
                return
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed at the end of the block, undone if it raises."""
        with self.bare() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def bare(self) -> Iterator[sqlite3.Connection]:
        """A connection outside any transaction; ReadOnlyError if this handle may not write."""
        if self.read_only:
            raise ReadOnlyError("the search index is open for reading only", path=self.path)
        with self._lent() as connection:
            assert connection is not None  # only a read-only handle gets none
            yield connection

    def close(self) -> None:
        """Give all connections back; those in use follow when they are done."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    @contextlib.contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection | None]:
        """A connection for the block. One on which anything went wrong is closed, which undoes what it had begun."""
        if self._closed or os.getpid() != self._process:
            reason = "closed" if os.getpid() == self._process else "forked"
            raise HandleDeadError(f"this handle of the search index is dead: {reason}", reason=reason)
        try:
            inode, connection = self._take()
            try:
                yield connection
            except BaseException:
                file.shut(connection)
                raise
            self._give_back(inode, connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._raise_typed(error)

    def _take(self) -> tuple[int, sqlite3.Connection | None]:
        inode = file.inode_of(self.path)
        stale = []
        try:
            with self._lock:
                while self._idle:
                    held = self._idle.pop()
                    if held[0] == inode:
                        return held
                    stale.append(held[1])
        finally:
            for old in stale:
                old.close()
        return self._open(inode)

    def _open(self, inode: int) -> tuple[int, sqlite3.Connection | None]:
        connection: sqlite3.Connection | None
        try:
            condition, connection = (file.open_to_read if self.read_only else file.open_to_write)(self.path)
        except OSError as error:
            raise_typed(error, "open", self.path)
        if self.found is None:
            self.found = condition
        return (inode if condition is Condition.CURRENT else file.inode_of(self.path)), connection

    def _give_back(self, inode: int, connection: sqlite3.Connection | None) -> None:
        with self._lock:
            if connection is not None and not self._closed and len(self._idle) < _KEPT:
                self._idle.append((inode, connection))
                return
        file.shut(connection)

    def _raise_typed(self, error: sqlite3.Error | UnicodeDecodeError) -> NoReturn:
        if file.is_damage(error):
            self._start_over(error)
        code = file.primary_code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise LockedError("the search index is busy", lock="search", holder=None, waited_s=file.WAIT_S) from error
        # Where the `-shm` cannot grow, SQLite says "I/O error" for what is a full disk.
        if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
            raise NoSpaceError(f"no space left to write {self.path}", path=self.path) from error
        if code == sqlite3.SQLITE_READONLY:
            raise ReadOnlyError(f"may not write {self.path}", path=self.path) from error
        message = f"the search index failed: {error}"
        raise StorageIOError(message, path=self.path, operation="search", errno=None) from error

    def _start_over(self, error: sqlite3.Error | UnicodeDecodeError) -> NoReturn:
        """Damage that showed while working: make the file anew, then say so, for an answer now would be a wrong one."""
        remedy = "Open the store for writing once: the search index is made anew by itself."
        if not self.read_only:
            try:
                file.replace_damaged(self.path)
            except (sqlite3.Error, OSError) as second:
                message = f"the search index is damaged and cannot be replaced: {second}"
                raise StorageIOError(message, path=self.path, operation="replace", errno=None) from error
            self.found = Condition.DAMAGED
            remedy = "Search again: the search index was made anew and is being filled."
        raise IndexDamagedError(f"the search index is damaged: {error}", reason=str(error), remedy=remedy) from error
