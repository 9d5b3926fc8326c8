"""A place for an index that somebody else could have written: one table of a database, here SQLite's, by hand.

Any database with transactions and a lock can do the same with the same five statements. Several processes may use it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

from holdfast.errors import HandleDeadError, LockedError, ReadOnlyError
from holdfast.index.keeper import Change, Kept, Pair

TABLES = """
CREATE TABLE IF NOT EXISTS pair (name BLOB PRIMARY KEY, value BLOB, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pair_version ON pair (version);
CREATE TABLE IF NOT EXISTS place (id TEXT NOT NULL, version INTEGER NOT NULL, replaced INTEGER NOT NULL);
"""
WAIT_S = 10.0


class TableKeeper:
    """See holdfast/index/keeper.py: the comments name its sentences."""

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.where = os.fspath(path)
        self.read_only = read_only
        self._own = threading.local()
        self._every: list[sqlite3.Connection] = []
        self._closed = False
        with self._link() as link:
            link.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
            link.execute("INSERT INTO place SELECT ?, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM place)", (uuid.uuid4().hex,))

    def identity(self) -> str:
        """K-9: an id made once, and what a copied file does not have."""
        (made,) = self._link().execute("SELECT id FROM place").fetchone()
        found = os.stat(self.where)
        return f"table:{made}:{found.st_dev}:{found.st_ino}"

    def version(self) -> int:
        """K-5."""
        (found,) = self._link().execute("SELECT version FROM place").fetchone()
        return int(found)

    def read(self, since: int) -> Kept:
        """K-6: what was removed stays as a name without a value, so that others are told."""
        link = self._link()
        if link.in_transaction:
            return self._read(link, since)
        link.execute("BEGIN")
        try:
            return self._read(link, since)
        finally:
            link.execute("COMMIT")

    def _read(self, link: sqlite3.Connection, since: int) -> Kept:
        version, replaced = link.execute("SELECT version, replaced FROM place").fetchone()
        if not replaced <= since <= version:
            return Kept(version, link.execute("SELECT name, value FROM pair WHERE value IS NOT NULL").fetchall())
        changed = link.execute("SELECT name, value FROM pair WHERE version > ?", (since,)).fetchall()
        return Kept(version, changed, whole=False)

    def begin(self) -> None:
        """K-3: SQLite's own lock, which dies with the process."""
        if self.read_only:
            raise ReadOnlyError(f"{self.where} is open for reading only", path=self.where)
        try:
            self._link().execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise LockedError(f"{self.where} is busy", lock=self.where, holder=None, waited_s=WAIT_S) from error

    def commit(self, changes: Iterable[Change]) -> int:
        """K-2: durable when SQLite's COMMIT is."""
        link = self._link()
        version = self.version() + 1
        link.executemany(
            "INSERT INTO pair VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = ?2, version = ?3",
            ((name, value, version) for name, value in changes),
        )
        link.execute("UPDATE place SET version = ?", (version,))
        link.execute("COMMIT")
        return version

    def replace(self, pairs: Iterable[Pair]) -> int:
        """K-8: `secure_delete` overwrites what is deleted, and the log is cut."""
        link = self._link()
        link.execute("DELETE FROM pair")
        link.execute("UPDATE place SET replaced = version + 1")
        version = self.commit(pairs)
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return version

    def rollback(self) -> None:
        """K-4."""
        link = self._link()
        if link.in_transaction:
            link.execute("ROLLBACK")

    def again(self, *, read_only: bool = True) -> TableKeeper:
        """Another handle on the same table."""
        return TableKeeper(self.where, read_only=read_only)

    def close(self) -> None:
        """K-10."""
        self._closed = True
        while self._every:
            self._every.pop().close()

    def _link(self) -> sqlite3.Connection:
        """A connection for each thread."""
        if self._closed:
            raise HandleDeadError(f"{self.where} is closed", reason="closed")
        link: sqlite3.Connection | None = getattr(self._own, "link", None)
        if link is None:
            link = sqlite3.connect(self.where, isolation_level=None, timeout=WAIT_S, check_same_thread=False)
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = 1"):
                link.execute(f"PRAGMA {pragma}")
            self._own.link = link
            self._every.append(link)
        return link
