"""The SQLite index: one file, its connections, its transactions, and the way to its chain, rows and queries."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from holdfast import disk, ram
from holdfast.errors import IndexDamagedError, LockedError
from holdfast.index import migrating, proof, tables, waiting
from holdfast.index.apply import reduce
from holdfast.index.chain import ChainRows
from holdfast.index.database import BUSY_TIMEOUT_MS, Database
from holdfast.index.differences import schema_differences
from holdfast.index.execute import Executor
from holdfast.index.logs import LOG as LOG  # noqa: PLC0414 - others ask for it here
from holdfast.index.logs import NO_LOG, followed_by
from holdfast.index.physical import PhysicalRows
from holdfast.index.ram import database_at
from holdfast.index.select.artifacts import ArtifactRows
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.contents import Contents
from holdfast.index.select.declared import DeclaredRows
from holdfast.index.select.ends import EndRows
from holdfast.index.select.finding import Finder
from holdfast.index.select.lineage import LineageRows
from holdfast.index.select.lookups import Lookups
from holdfast.index.select.relationships import RelationshipRows
from holdfast.index.select.runs import RunRows
from holdfast.index.select.sight import Sights
from holdfast.index.select.tenancy import Tenancy
from holdfast.index.select.whole import Whole
from holdfast.values.change import Body
from holdfast.values.frozen import dataclass

CHECKPOINT_BYTES = 16 << 20
"""A write-ahead log beyond this is checkpointed after the commit that made it so: of some 270 small puts one waits."""

_PER_CHANGE = 16 << 10
"""Bytes that a change of a row adds to the log, at most, if it is not very long."""

_TOGETHER = 1_000
"""Changes that are turned into rows together: some hundreds of bytes each are held meanwhile."""

HOME = "file identity"
"""The fact by which an index knows that it stands where it was made (see `identity`)."""

_MOST_MARKS = 200


@dataclass(frozen=True, slots=True)
class Everything:
    """Rows of all tenants, for what serves them all, whoever asks (see scoped.py)."""

    artifacts: ArtifactRows
    contents: Contents
    lookups: Lookups


class SqliteIndex:
    """An open index. Writes happen inside `begin` … `commit`, under the writer lock that the engine holds."""

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self._checkpoint_at = CHECKPOINT_BYTES
        self._before = (-1, 0)
        """Bytes of the log, and changes of the connection, when the last transaction began."""

        self._wire(path, database_at(path, read_only=read_only))

    def _wire(self, path: str, database: Database) -> None:
        """What all indexes with SQL have alike, whatever their connections lead to."""
        self.path = path
        self.database = database
        self._own = threading.local()
        self.executor = Executor(self.database)
        self.chain = ChainRows(self.database, self.executor)
        self.physical = PhysicalRows(self.database)
        self.sights = Sights(self.database)
        self.lookups = Lookups(self.database, self.sights)
        self.tenancy = Tenancy(self.database, self.lookups)
        self.collections = CollectionRows(self.database, self.lookups)
        self.artifacts = ArtifactRows(self.database, self.lookups)
        self.contents = Contents(self.database, self.lookups)
        self.declared = DeclaredRows(self.database, self.lookups)
        self.finder = Finder(self.database, self.artifacts, self.collections, self.chain, self.declared)
        self.ends = EndRows(self.database)
        self.relationships = RelationshipRows(self.database, self.lookups, self.ends)
        self.runs = RunRows(self.database, self.lookups)
        self.lineage = LineageRows(self.database, self.lookups)
        self.whole = Whole(self.database, self.lookups)
        self.everything = Everything(self.artifacts, self.contents, self.lookups)

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

    def migrations(self) -> list[tuple[int, str, bool]]:
        """(version, name, applied) of every migration, in order."""
        return [(one.version, one.name, one.applied) for one in migrating.status(self.database)]

    def identity(self) -> str:
        """What a file-by-file copy of the index cannot carry along: file system, inode, when it was made."""
        return file_identity(self.path)

    def again(self, *, read_only: bool = True) -> SqliteIndex:
        """Another handle on the same index."""
        return type(self)(self.path, read_only=read_only)

    def close(self) -> None:
        """Close all connections. Under the writer lock, or while another process has the index open."""
        self.database.close_every()

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
        if not self._before[0] and self._before[1] != self.database.raw().total_changes:
            self._sign_log(kept=1)  # a transaction that changed nothing leaves no byte behind
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

    def savepoint(self, depth: int) -> None:
        """Mark a place to come back to."""
        self.database.run(f"SAVEPOINT nested_{depth}")

    def release(self, depth: int) -> None:
        """Keep what came after the mark."""
        self.database.run(f"RELEASE nested_{depth}")

    def rollback_to(self, depth: int) -> None:
        """Undo what came after the mark."""
        self.database.run(f"ROLLBACK TO nested_{depth}")
        self.database.run(f"RELEASE nested_{depth}")
        self.executor.forget()
        self.physical.packs.forget_keys()

    def apply(self, seq: int, body: Body) -> None:
        """Turn one change into rows, in the open transaction."""
        self._know(seq, body)
        if body["kind"] == "artifact" and body["action"] == "create":
            self.executor.create_artifact(seq, body)
        else:
            self.executor.apply(seq, reduce(seq, body))

    def apply_all(self, first: int, bodies: Iterable[Body]) -> None:
        """Turn changes from seq `first` on into rows: the same rows as one by one, in less time."""
        numbered = enumerate(bodies, first)
        while part := list(itertools.islice(numbered, _TOGETHER)):
            for seq, body in part:
                self._know(seq, body)
            self.executor.apply_all(part)

    def _know(self, seq: int, body: Body) -> None:
        """What lies in a new collection, or is made in a new run, names it: nearly always the next changes do.

        And a changed collection ends what was seen of where they lie.
        """
        if body["kind"] == "collection":
            self.sights.shift()
        if body["kind"] in ("collection", "run") and body["action"] == "create":
            self.executor.know(body["id"], seq)

    def forget(self) -> None:
        """Rows were made anew: keys and texts that are kept in memory are not to be trusted."""
        self.executor.forget()
        self.physical.packs.forget_keys()
        self.lookups.forget()
        self.tenancy.forget()

    def checkpoint_due(self) -> bool:
        """Whether the write-ahead log has grown so much that `checkpoint` would do something.

        Not looked at where the last transaction found it small and changed a few rows: the next one tells.
        """
        size, changes = self._before
        few = (self.database.raw().total_changes - changes) * _PER_CHANGE
        return size + few > self._checkpoint_at and self._log_bytes() > self._checkpoint_at

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
        """
        size = self._log_bytes()
        if size < 0 or (not force and size <= self._checkpoint_at):
            return
        self.database.run("PRAGMA busy_timeout = 0")
        try:
            busy = self.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
        finally:
            self.database.run(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self._checkpoint_at = size + CHECKPOINT_BYTES if busy else CHECKPOINT_BYTES
        if busy:
            # It may be all in the database, and the next writer would start it anew, unseen.
            self._sign_log(kept=_MOST_MARKS)

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

    # -- facts of this file ------------------------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        """A fact this index file keeps about itself. IndexDamagedError if it is not what was written."""
        row = self.database.one(f"SELECT value, {proof.proven('meta', 'meta')} FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep a fact, in the open transaction or by itself."""
        sql = """INSERT INTO meta (key, value, crc) VALUES (?, ?, ?)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, crc = excluded.crc"""
        self.database.run(sql, (key, value, proof.checksum("meta", key, value)))

    def unset_meta(self, key: str) -> None:
        """Forget a fact."""
        self.database.run("DELETE FROM meta WHERE key = ?", (key,))

    def key_of(self, record_id: str) -> int | None:
        """The key of a record."""
        return self.lookups.key(record_id)

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

    def prove_rows(self, tables_of_interest: Sequence[str]) -> None:
        """IndexDamagedError if a row of some tables is not what its checksum says, or pages are inconsistent."""
        self.prove_pages(up_to_bytes=1 << 62)
        for table in tables_of_interest:
            proof.prove_all(self.database, table)

    def backup_into(self, target: SqliteIndex, *, at_once: bool = False) -> None:
        """Copy this whole database, as it is committed, over another one that is open, by SQLite's own backup.

        `at_once`: in one read, so that whoever commits meanwhile does not make it begin again.
        """
        with self.database.errors(), self.database.committed() as connection:
            target.database.become(connection, pages=-1 if at_once else 1024)

    def take_over(self, fresh: SqliteIndex) -> None:
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
