"""The index in one SQLite file: its transactions, its write-ahead log, and what only a file is asked for."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any, Self

from holdfast import disk, ram
from holdfast.errors import IndexDamagedError, LockedError
from holdfast.index import migrating, tables, waiting
from holdfast.index.database import BUSY_TIMEOUT_MS, Database
from holdfast.index.differences import schema_differences
from holdfast.index.logs import LOG as LOG  # noqa: PLC0414 - others ask for it here
from holdfast.index.logs import NO_LOG, followed_by
from holdfast.index.ram import database_at
from holdfast.index.sql import HOME as HOME  # noqa: PLC0414 - others ask for it here
from holdfast.index.sql import SqlIndex

CHECKPOINT_BYTES = 16 << 20
"""A write-ahead log beyond this is checkpointed after the commit that made it so: of some 270 small puts one waits.

So much of the file stays, to be written over: a sync of bytes that are on the disk already has no new size and no new
blocks to write down beside them. SQLite cuts it to this with the commit that begins the log anew. So its length says
whether a checkpoint is due, to all processes alike: it is longer than this again as soon as so much has been written.
"""

_MOST_MARKS = 200


class SqliteIndex(SqlIndex):
    """An open index in one file, or in memory."""

    def __init__(self, path: str, *, read_only: bool = False, database: Database | None = None) -> None:
        super().__init__(path, database or database_at(path, read_only=read_only), read_only=read_only)
        self._checkpoint_at = CHECKPOINT_BYTES
        self._moved_ns = 0
        """When pages of the log last went into the database, as far as this handle knows, if a reader held the log."""
        self._before = (-1, 0)
        """Bytes of the log, and changes of the connection, when the last transaction began."""

    @functools.cached_property
    def keeps_bytes(self) -> bool:
        """Whether a COMMIT may keep bytes of packs that are not synced: see pending.py."""
        return not (self.read_only or ram.holds(self.path) or disk.on_network(self.path))

    # -- making and closing ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the file a write-ahead-logged database with the newest schema. Under the writer lock.

        On a network file system with a rollback journal: a write-ahead log needs memory that all its users share.
        """
        mode = "DELETE" if disk.on_network(self.path) else "WAL"
        self.database.rows(f"PRAGMA journal_mode = {mode}")
        self.migrate()

    def migrate(self) -> None:
        """Bring the schema to the newest version."""
        migrating.up(self.database)

    def check(self) -> None:
        """Whether this is an index with a schema this software can work on; typed errors if not."""
        if migrating.demand_newest(self.database) == 0:
            raise IndexDamagedError(f"{self.path} has no tables of an index", reason="no schema")

    def change_schema(
        self, manifest: migrating.Manifest, target: int, aside: str, *, told: migrating.Told | None = None
    ) -> int:  # fmt: skip
        """Copy the whole index to a file `aside`, then take the steps to a version; the version reached.

        Under the writer lock, with the index open nowhere else. Each step is one transaction: a kill leaves the
        version before it, or after it.
        """
        self.database.copy_to(aside)
        way = migrating.up if target >= migrating.version_of(self.database) else migrating.down
        return way(self.database, manifest, target=target, told=told)

    def identity(self) -> str:
        """What a file-by-file copy of the index cannot carry along: file system, inode, when it was made."""
        return file_identity(self.path)

    def again(self, *, read_only: bool = True) -> Self:
        """Another handle on the same index."""
        return type(self)(self.path, read_only=read_only)

    # -- transactions ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a write transaction on this thread's connection."""
        self.database.run("BEGIN IMMEDIATE")
        version = self.sights.begin()
        self.executor.begin(version)
        self.physical.packs.begin(version)
        self._before = (self._log_bytes(), self.database.raw().total_changes)

    def commit(self) -> None:
        """The point of no return: durable when it returns."""
        size, changes = self._before
        if self._may_begin_anew(size) and changes != self.database.raw().total_changes:
            self._sign_log(kept=_MOST_MARKS if size else 1)  # a transaction that changed nothing leaves no byte behind
        self.database.run("COMMIT")
        self._own.commits = getattr(self._own, "commits", 0) + 1
        self.sights.committed()
        self.sights.end()

    def rollback(self) -> None:
        """Undo the open transaction; nothing happens if SQLite has done so itself."""
        self.sights.end()
        if self.database.raw().in_transaction:
            self.database.run("ROLLBACK")
        self.executor.forget()
        self.physical.packs.forget_keys()

    def version(self) -> int:
        """See contract.py. SQLite's counter leaves out the commits of the connection that asks: they are added."""
        row = self.database.one("PRAGMA data_version")
        return getattr(self._own, "commits", 0) + (int(row[0]) if row else 0)

    def wait(self, seen: int, timeout_s: float) -> int:
        """See contract.py. Nobody tells here: a page in memory is looked at, up to four times a second."""
        return waiting.polled(self.version, seen, timeout_s)

    def checkpoint_due(self) -> bool:
        """Whether the write-ahead log has grown so much that `checkpoint` would do something."""
        return self._log_bytes() > self._checkpoint_at

    def has_log(self) -> bool:
        """Whether there is a write-ahead log with something in it."""
        return self._log_bytes() > 0

    def _log_bytes(self) -> int:
        try:
            return os.stat(self.path + "-wal").st_size
        except OSError:
            return -1

    def checkpoint(self, *, force: bool = False) -> None:
        """Move the write-ahead log into the database if it has grown (or `force`). Under the writer lock.

        Readers are not waited for: while one holds old pages the log goes on growing, and it is tried again later.
        `force` empties the file; else what is in it stays until it is written over, and the log begins anew.
        """
        size = self._log_bytes()
        if size < 0 or (not force and size <= self._checkpoint_at):
            return
        self.database.run("PRAGMA busy_timeout = 0")
        try:
            busy = self.database.rows(f"PRAGMA wal_checkpoint({'TRUNCATE' if force else 'RESTART'})")[0][0]
        finally:
            self.database.run(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._checkpoint_at = size + CHECKPOINT_BYTES if busy else CHECKPOINT_BYTES
        if busy:
            # It may be all in the database, and the next writer would start it anew, unseen.
            self._sign_log(kept=_MOST_MARKS)
            self._moved_ns = self._written_ns()
        elif not force:
            self.database.run(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES}")
            self._sign_log(kept=1)  # this is the commit that begins it anew, and cuts it

    def _may_begin_anew(self, size: int) -> bool:
        """Whether the next commit may be the first of a log of so many bytes, and nobody has signed it.

        It is empty; or longer than it is kept: whoever checkpointed it may have died before it signed. If a reader is
        known to hold it, it begins anew only after pages have been moved once more.
        """
        if size <= CHECKPOINT_BYTES:
            return not size
        return self._checkpoint_at == CHECKPOINT_BYTES or self._moved_ns != self._written_ns()

    def _written_ns(self) -> int:
        try:
            return os.stat(self.database.path).st_mtime_ns
        except OSError:
            return -1

    def compact(self, *, up_to_bytes: int) -> None:
        """Write every page anew, filled, as one commit, and empty the log. Under the writer lock; readers go on.

        A larger file stays as it is, and one without a log, which shuts readers out while it is written. Takes as much
        room as the file in SQLite's temporary folder, and in the log. NoSpaceError: nothing was changed.
        """
        pages, size = self.database.one("SELECT * FROM pragma_page_count, pragma_page_size") or (0, 0)
        if not self.keeps_bytes or pages * size > up_to_bytes:
            return
        if self._log_bytes() <= 0:
            self._sign_log(kept=1)  # pages move: what a later log changes must not be laid over those of before
        self.database.run("VACUUM")
        self.checkpoint(force=True)

    def _sign_log(self, *, kept: int) -> None:
        """Say in a fresh write-ahead log what it follows: the mark that stands in the database it belongs to.

        SQLite lays a log over whatever database stands beside it. One of another day would give rows of both.
        """
        before = (self.meta(LOG) or NO_LOG).split()
        self.set_meta(LOG, " ".join([*before[-kept:], os.urandom(4).hex()]))

    def log_is_own(self) -> bool:
        """Whether the write-ahead log belongs to the database it lies beside. Only while nobody else has it open."""
        followed = self.meta(LOG)
        if followed is None or self._log_bytes() <= 0:
            return True
        said = followed_by(self.path)
        return said is None or said in followed.split()

    # -- looking at it, and taking the place of another ----------------------------------------------------------------

    def dump(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Every row of a table in order of its primary key, to compare two indexes."""
        model = tables.models().named(table)
        keys = model._meta.get_primary_keys()  # type: ignore[no-untyped-call]
        order = ", ".join(f'"{field.column_name}"' for field in keys)
        with self.database.errors():
            yield from self.database.run(f'SELECT * FROM "{table}" ORDER BY {order}')

    def trouble(self) -> list[str]:
        """What SQLite itself finds wrong with the file, and what the schema lacks; empty if nothing."""
        try:
            found = [str(r[0]) for r in self.database.rows("PRAGMA integrity_check(20)") if r[0] != "ok"]
            found += schema_differences(self.database)
        except IndexDamagedError as error:
            return [error.message]
        return found

    def prove_pages(self, *, up_to_bytes: int) -> None:
        """IndexDamagedError if SQLite finds its pages inconsistent; a larger file is not looked at."""
        pages, size = self.database.one("SELECT * FROM pragma_page_count, pragma_page_size") or (0, 0)
        if pages * size <= up_to_bytes:
            wrong = [str(r[0]) for r in self.database.rows("PRAGMA integrity_check(1)") if r[0] != "ok"]
            if wrong:
                raise IndexDamagedError(f"{self.path} is damaged: {wrong[0]}", reason=wrong[0])

    def backup_into(self, target: SqlIndex, *, at_once: bool = False) -> None:
        """Copy this whole database, as it is committed, over another one that is open, by SQLite's own backup.

        `at_once`: in one read, so that whoever commits meanwhile does not make it begin again.
        """
        with self.database.errors(), self.database.committed() as connection:
            target.database.become(connection, pages=-1 if at_once else 1024)

    def take_over(self, fresh: SqlIndex) -> None:
        """The rows of another file become this index's, page by page; no old page is left, in the file or its log.

        Facts of this file are in `fresh` already. LockedError: a reader of this process holds old pages.
        """
        fresh.backup_into(self)
        self.forget()
        self.checkpoint(force=True)
        if self._log_bytes() > 0:
            raise _held_by_a_reader()


def _held_by_a_reader() -> LockedError:
    return LockedError(
        "a reader in this process holds old pages of the index", lock="index", waited_s=0, holder=None,
        remedy="End what reads, then redact again.",
    )  # fmt: skip


def file_identity(path: str) -> str:
    """What a copy of an index cannot carry along. Only looked at, never opened."""
    return path if ram.holds(path) else disk.identity(path)
