"""Rows of the outbox: who consumes, up to where, who holds the lease, and what could not be handled.

They belong to no chain and to no rebuild. Beside a file index they have a file of their own, `outbox.sqlite3`, which is
synced with every commit: notes in `state.sqlite3` may be thrown away, a cursor may not. On a server they are two tables
of the schema. Every step is one statement, or one short transaction, that names the token it was taken with: whoever
lost the lease changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from holdfast import disk, ram
from holdfast.errors import IndexDamagedError
from holdfast.index.database import Database
from holdfast.index.ram import RamDatabase

TABLES = (
    ('CREATE TABLE "outbox_consumer" ("scope" TEXT NOT NULL, "name" TEXT NOT NULL, "seq" INTEGER NOT NULL, "hash" BLOB '
    'NOT NULL, "attempts" INTEGER NOT NULL, "failures" INTEGER NOT NULL, "deaths" INTEGER NOT NULL, "token" INTEGER '
    'NOT NULL, "holder" TEXT NOT NULL, "until_us" INTEGER NOT NULL, "made_us" INTEGER NOT NULL, "moved_us" INTEGER NOT '
    'NULL, PRIMARY KEY ("scope", "name"))'),
    ('CREATE TABLE "outbox_letter" ("scope" TEXT NOT NULL, "name" TEXT NOT NULL, "seq" INTEGER NOT NULL, "hash" BLOB '
    'NOT NULL, "failures" INTEGER NOT NULL, "reason" TEXT NOT NULL, "dead_us" INTEGER NOT NULL, "due" INTEGER NOT '
    'NULL, PRIMARY KEY ("scope", "name", "seq"))'),
)  # fmt: skip
"""`scope`: "" for consumers of all changes, ":" and the tenant for those of one. `holder`: "" if nobody holds it."""

_VERSION = 1
_CHECKPOINT_PAGES = 100
_COLUMNS = "scope, name, seq, hash, attempts, failures, deaths, token, holder, until_us, made_us, moved_us"
_TYPES = (str, str, int, bytes, int, int, int, int, str, int, int, int)
_LETTERS = "seq, hash, failures, reason, dead_us, due"


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """A consumer as its row says. `deaths`: leases that ended without a word since it last moved."""

    scope: str
    name: str
    seq: int
    hash: bytes
    attempts: int
    failures: int
    deaths: int
    token: int
    holder: str
    until_us: int
    made_us: int
    moved_us: int


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A dead letter as its row says."""

    seq: int
    hash: bytes
    failures: int
    reason: str
    dead_us: int
    due: int


Key = tuple[str, str]
"""(scope, name) of a consumer."""


class OutboxRows:
    """Reads and writes them. `clock`: the time that leases go by, in microseconds, one for all who share them."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self.database = database
        self.clock = clock

    # -- consumers ---------------------------------------------------------------------------------------------------

    def create(self, key: Key, seq: int, hash_: bytes, *, attempts: int) -> bool:
        """A new consumer, unless there is one of that name."""
        now = self.clock()
        # Tokens begin with the time, so that those of a consumer of this name that was dropped are smaller.
        cells = (*key, seq, hash_, attempts, 0, 0, now, "", 0, now, now)
        sql = f"INSERT OR IGNORE INTO outbox_consumer ({_COLUMNS}) VALUES ({', '.join('?' * len(cells))})"
        return self._changed(sql, cells)

    def get(self, key: Key) -> ConsumerRow | None:
        """One consumer."""
        row = self.database.one(f"SELECT {_COLUMNS} FROM outbox_consumer WHERE scope = ? AND name = ?", key)
        return None if row is None else _consumer(row)

    def every(self, scope: str | None = None) -> list[ConsumerRow]:
        """All consumers, or those of a scope, by name. There are few."""
        where = "" if scope is None else "WHERE scope = ?"
        sql = f"SELECT {_COLUMNS} FROM outbox_consumer {where} ORDER BY name, scope"
        return [_consumer(row) for row in self.database.rows(sql, () if scope is None else (scope,))]

    def drop(self, key: Key) -> bool:
        """No such consumer any more, with its letters."""
        with self.transaction():
            gone = self._changed("DELETE FROM outbox_consumer WHERE scope = ? AND name = ?", key)
            self.database.run("DELETE FROM outbox_letter WHERE scope = ? AND name = ?", key)
        return gone

    def place(self, key: Key, seq: int, hash_: bytes) -> bool:
        """Put the cursor elsewhere, whoever holds the lease: that one is refused from now on."""
        sql = """UPDATE outbox_consumer SET seq = ?, hash = ?, failures = 0, deaths = 0, token = token + 1, holder = '',
                 until_us = 0, moved_us = ? WHERE scope = ? AND name = ?"""
        return self._changed(sql, (seq, hash_, self.clock(), *key))

    # -- the lease ---------------------------------------------------------------------------------------------------

    def take(self, key: Key, holder: str, lease_us: int) -> ConsumerRow | None:
        """The consumer, leased; None if another has it. A lease that ran out without a word is counted as a death."""
        now = self.clock()
        sql = """UPDATE outbox_consumer SET token = token + 1, until_us = ?, deaths = deaths + (CASE WHEN holder = ''
                 THEN 0 ELSE 1 END), holder = ? WHERE scope = ? AND name = ? AND (holder = '' OR until_us <= ?)"""
        if not self._changed(sql, (now + lease_us, holder, *key, now)):
            return None
        row = self.get(key)
        return row if row is not None and row.holder == holder else None

    def renew(self, key: Key, token: int, lease_us: int) -> bool:
        """Keep the lease for longer; False if it is another's."""
        sql = "UPDATE outbox_consumer SET until_us = ? WHERE scope = ? AND name = ? AND token = ? AND holder <> ''"
        return self._changed(sql, (self.clock() + lease_us, *key, token))

    def release(self, key: Key, token: int) -> bool:
        """Give the lease back; False if it is another's."""
        sql = "UPDATE outbox_consumer SET holder = '', until_us = 0 WHERE scope = ? AND name = ? AND token = ?"
        return self._changed(sql, (*key, token))

    def advance(self, key: Key, token: int, seq: int, hash_: bytes) -> bool:
        """All up to `seq` is handled. False if the lease is another's."""
        sql = """UPDATE outbox_consumer SET seq = max(seq, ?), hash = (CASE WHEN seq > ? THEN hash ELSE ? END),
                 failures = 0, deaths = 0, moved_us = ? WHERE scope = ? AND name = ? AND token = ?"""
        return self._changed(sql, (seq, seq, hash_, self.clock(), *key, token))

    # -- what could not be handled -----------------------------------------------------------------------------------

    def failed(self, key: Key, token: int) -> bool:
        """The next change failed once more. False if the lease is another's."""
        sql = "UPDATE outbox_consumer SET failures = failures + 1 WHERE scope = ? AND name = ? AND token = ?"
        return self._changed(sql, (*key, token))

    def bury(self, key: Key, token: int, letter: LetterRow) -> bool:
        """The cursor passes a change, which becomes a dead letter. False if the lease is another's."""
        with self.transaction():
            if not self.advance(key, token, letter.seq, letter.hash):
                return False
            self._keep(key, letter)
        return True

    def fail_again(self, key: Key, token: int, letter: LetterRow) -> bool:
        """A dead letter that was tried again stays dead. False if the lease is another's."""
        with self.transaction():
            if not self._holds(key, token):
                return False
            self._keep(key, letter)
        return True

    def settle(self, key: Key, token: int, seq: int) -> bool:
        """A dead letter was handled after all. False if the lease is another's."""
        with self.transaction():
            if not self._holds(key, token):
                return False
            sql = "DELETE FROM outbox_letter WHERE scope = ? AND name = ? AND seq = ?"
            self.database.run(sql, (*key, seq))
        return True

    def letters(self, key: Key, *, after: int = 0, due: bool = False, limit: int = 500) -> list[LetterRow]:
        """Some dead letters in order of seq, beyond `after`; `due`: those to be tried again."""
        only = "AND due = 1" if due else ""
        sql = f"""SELECT {_LETTERS} FROM outbox_letter WHERE scope = ? AND name = ? AND seq > ? {only}
                  ORDER BY seq LIMIT ?"""
        return [LetterRow(*row) for row in self.database.rows(sql, (*key, after, limit))]

    def count_letters(self, key: Key) -> int:
        """How many there are."""
        row = self.database.one("SELECT count(*) FROM outbox_letter WHERE scope = ? AND name = ?", key)
        return 0 if row is None else int(row[0])

    def retry(self, key: Key, seq: int) -> bool:
        """Try one again with the next run; False if there is none."""
        return self._changed("UPDATE outbox_letter SET due = 1 WHERE scope = ? AND name = ? AND seq = ?", (*key, seq))

    def discard(self, key: Key, seq: int) -> bool:
        """Give one up; False if there is none."""
        return self._changed("DELETE FROM outbox_letter WHERE scope = ? AND name = ? AND seq = ?", (*key, seq))

    def forget_reasons(self) -> None:
        """What consumers said about failures goes: it may speak of what was redacted."""
        self.database.run("UPDATE outbox_letter SET reason = '' WHERE reason <> ''")

    def totals(self) -> tuple[int, int]:
        """How many consumers and dead letters there are: counts only."""
        row = self.database.one("SELECT (SELECT count(*) FROM outbox_consumer), (SELECT count(*) FROM outbox_letter)")
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    # -- inside ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, or nothing."""
        self.database.run("BEGIN IMMEDIATE")
        try:
            yield
            self.database.run("COMMIT")
        except BaseException:
            if self.database.raw().in_transaction:
                self.database.run("ROLLBACK")
            raise

    def _changed(self, sql: str, cells: tuple[Any, ...]) -> bool:
        return bool(self.database.run(sql, cells).rowcount == 1)

    def _holds(self, key: Key, token: int) -> bool:
        """Whether the lease is still the one with this token; it is kept so until the transaction ends."""
        sql = "UPDATE outbox_consumer SET token = token WHERE scope = ? AND name = ? AND token = ?"
        return self._changed(sql, (*key, token))

    def _keep(self, key: Key, letter: LetterRow) -> None:
        self.database.run("DELETE FROM outbox_letter WHERE scope = ? AND name = ? AND seq = ?", (*key, letter.seq))
        cells = (*key, letter.seq, letter.hash, letter.failures, letter.reason, letter.dead_us, letter.due)
        sql = f"INSERT INTO outbox_letter (scope, name, {_LETTERS}) VALUES ({', '.join('?' * len(cells))})"
        self.database.run(sql, cells)

    def close(self) -> None:
        """Give it back."""
        self.database.close_every()

    def abandon(self) -> list[object]:
        """In a forked child: touch nothing; what must never be closed there."""
        return [*self.database.abandon()]


class _File(Database):
    """Connections to the file. Nothing else reads its log, and no copy is tied to it: SQLite folds it in by itself."""

    def _connect(self) -> sqlite3.Connection:
        made = super()._connect()
        try:
            made.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            made.execute("PRAGMA secure_delete = ON")
        except BaseException:
            made.close()
            raise
        return made


def outbox_file(path: str, clock: Callable[[], int], *, read_only: bool) -> OutboxRows | None:
    """The rows in a file; made if it is missing, None instead where nothing may be written."""
    in_memory = ram.holds(path)
    if read_only and (ram.database(path) is None if in_memory else not os.path.exists(path)):
        return None
    database = RamDatabase(path, read_only=read_only) if in_memory else _File(path, read_only=read_only)
    try:
        _prepare(database, path, read_only=read_only)
    except IndexDamagedError as error:
        database.close_every()
        raise _unusable(path, error.message) from error
    except BaseException:
        database.close_every()
        raise
    return OutboxRows(database, clock)


def _prepare(database: Database, path: str, *, read_only: bool) -> None:
    row = database.one("PRAGMA user_version")
    version = 0 if row is None else int(row[0])
    if version == 0 and not read_only:
        database.rows(f"PRAGMA journal_mode = {'DELETE' if disk.on_network(path) else 'WAL'}")
        database.run("BEGIN IMMEDIATE")
        try:
            for statement in TABLES:
                database.run(statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS"))
            database.run(f"PRAGMA user_version = {_VERSION}")
            database.run("COMMIT")
        except BaseException:
            if database.raw().in_transaction:
                database.run("ROLLBACK")
            raise
    elif version != _VERSION:
        raise _unusable(path, f"it has version {version}")


def _unusable(path: str, why: str) -> IndexDamagedError:
    return IndexDamagedError(
        f"{path} cannot be used: {why}", reason="outbox",
        remedy="Nothing of the store itself is concerned. Move the file away, then make its consumers again: "
        "`holdfast outbox create NAME --from SEQ` with the last change that each is known to have handled.",
    )  # fmt: skip


def _consumer(row: tuple[Any, ...]) -> ConsumerRow:
    if tuple(map(type, row)) != _TYPES:
        raise IndexDamagedError("a row of the outbox is not what was written", reason="outbox")
    return ConsumerRow(*row)
