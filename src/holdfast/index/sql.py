"""What every index with SQL is, whatever its connections lead to: its rooms, its changes, the facts it keeps of itself.

A backend says where its database is, what begins and commits a transaction, and what makes a commit durable. Statements
are composed once, for SQLite; a backend of another dialect translates them below its connections. What rows a change
makes, and what a query means, is not a backend's to decide.
"""

from __future__ import annotations

import abc
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from holdfast.index import migrating, proof
from holdfast.index.chain import ChainRows
from holdfast.index.database import Database
from holdfast.index.select.artifacts import ArtifactRows
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.ends import EndRows
from holdfast.index.select.lookups import Lookups
from holdfast.index.select.sight import Sights
from holdfast.index.select.tenancy import Tenancy

# Rooms that a get does not go through are imported when they are used: a command must not wait for them.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from holdfast.index.execute import Executor
    from holdfast.index.physical import PhysicalRows
    from holdfast.index.select.contents import Contents
    from holdfast.index.select.declared import DeclaredRows
    from holdfast.index.select.finding import Finder
    from holdfast.index.select.lineage import LineageRows
    from holdfast.index.select.relationships import RelationshipRows
    from holdfast.index.select.runs import RunRows
    from holdfast.index.select.whole import Whole
    from holdfast.values.change import Body

HOME = "file identity"
"""The fact by which an index knows that it stands where it was made (see `identity`)."""

_TOGETHER = 1_000
"""Changes that are turned into rows together: some hundreds of bytes each are held meanwhile."""


class Everything:
    """Rows of all tenants, for what serves them all, whoever asks (see scoped.py)."""

    def __init__(self, database: Database, artifacts: ArtifactRows, lookups: Lookups) -> None:
        self._db = database
        self.artifacts = artifacts
        self.lookups = lookups

    @cached_property
    def contents(self) -> Contents:
        """What reading contents needs."""
        from holdfast.index.select.contents import Contents

        return Contents(self._db, self.lookups)


class SqlIndex(abc.ABC):
    """An open index. Writes happen inside `begin` … `commit`, under the writer lock that the engine holds.

    See contract.py for what its calls promise; SQLite's and PostgreSQL's are thin over this one. `is_far`: whether each
    question costs a way to a server, so that it is worth saying in time what will be asked.
    """

    is_far = False

    def __init__(self, path: str, database: Database, *, read_only: bool) -> None:
        """`path`: where it is, for messages, without secrets. `database`: statements of this room on each thread."""
        self.read_only = read_only
        self.path = path
        self.database = database
        self._own = threading.local()
        self.chain = ChainRows(self.database, lambda seq, text, slot: self.executor.term(seq, text, slot))  # noqa: PLW0108
        self.sights = Sights(self.database)
        self.lookups = Lookups(self.database, self.sights)
        self.tenancy = Tenancy(self.database, self.lookups)
        self.collections = CollectionRows(self.database, self.lookups)
        self.artifacts = ArtifactRows(self.database, self.lookups)
        self.ends = EndRows(self.database)
        self.everything = Everything(self.database, self.artifacts, self.lookups)

    # -- rooms that are made when somebody uses them -------------------------------------------------------------------

    @cached_property
    def contents(self) -> Contents:
        """What reading contents needs."""
        return self.everything.contents

    @cached_property
    def executor(self) -> Executor:
        """What carries out changes."""
        from holdfast.index.execute import Executor

        return Executor(self.database)

    @cached_property
    def physical(self) -> PhysicalRows:
        """Where contents lie."""
        from holdfast.index.physical import PhysicalRows

        return PhysicalRows(self.database)

    @cached_property
    def declared(self) -> DeclaredRows:
        """Declared indexes."""
        from holdfast.index.select.declared import DeclaredRows

        return DeclaredRows(self.database, self.everything.lookups)

    @cached_property
    def finder(self) -> Finder:
        """Answers queries."""
        from holdfast.index.select.finding import Finder

        return Finder(self.database, self.artifacts, self.collections, self.chain, self.declared)

    @cached_property
    def relationships(self) -> RelationshipRows:
        """How records stand to each other."""
        from holdfast.index.select.relationships import RelationshipRows

        return RelationshipRows(self.database, self.lookups, self.ends)

    @cached_property
    def runs(self) -> RunRows:
        """Executions."""
        from holdfast.index.select.runs import RunRows

        return RunRows(self.database, self.lookups)

    @cached_property
    def lineage(self) -> LineageRows:
        """What came of what."""
        from holdfast.index.select.lineage import LineageRows

        return LineageRows(self.database, self.lookups)

    @cached_property
    def whole(self) -> Whole:
        """All rows of a kind, for what serves the whole store."""
        from holdfast.index.select.whole import Whole

        return Whole(self.database, self.lookups)

    # -- what each backend says for itself -----------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def keeps_bytes(self) -> bool:
        """Whether a COMMIT may keep bytes of packs that are not synced: see pending.py."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Make it ready to be written to, with the newest schema. Under the writer lock."""

    @abc.abstractmethod
    def migrate(self) -> None:
        """Bring the schema to the newest version."""

    @abc.abstractmethod
    def change_schema(
        self, manifest: migrating.Manifest, target: int, aside: str, *, told: migrating.Told | None = None
    ) -> int:  # fmt: skip
        """Keep a copy of all rows `aside`, then take the steps to a version; the version reached. A kill leaves one."""

    @abc.abstractmethod
    def check(self) -> None:
        """Whether this is an index with a schema this software can work on; typed errors if not."""

    @abc.abstractmethod
    def identity(self) -> str:
        """What a copy of the index cannot carry along."""

    @abc.abstractmethod
    def again(self, *, read_only: bool = True) -> Self:
        """Another handle on the same index."""

    @abc.abstractmethod
    def begin(self) -> None:
        """Start a write transaction on this thread's connection."""

    @abc.abstractmethod
    def commit(self) -> None:
        """The point of no return: durable when it returns."""

    @abc.abstractmethod
    def rollback(self) -> None:
        """Undo the open transaction; nothing happens if there is none."""

    @abc.abstractmethod
    def version(self) -> int:
        """A number that a commit of another thread or process makes another one."""

    @abc.abstractmethod
    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait until `version` is another than `seen`, at most so many seconds; the version then."""

    @abc.abstractmethod
    def checkpoint_due(self) -> bool:
        """Whether `checkpoint` would do something."""

    @abc.abstractmethod
    def has_log(self) -> bool:
        """Whether there is a write-ahead log of ours with something in it."""

    @abc.abstractmethod
    def checkpoint(self, *, force: bool = False) -> None:
        """Move such a log into the database if it has grown (or `force`). Under the writer lock."""

    @abc.abstractmethod
    def compact(self, *, up_to_bytes: int) -> None:
        """Give back what lies empty between the rows of a file that has no more bytes. Under the writer lock."""

    @abc.abstractmethod
    def log_is_own(self) -> bool:
        """Whether such a log belongs to the database. Only while nobody else has it open."""

    @abc.abstractmethod
    def dump(self, table: str) -> Iterator[tuple[Any, ...]]:
        """Every row of a table in order of its primary key, to compare two indexes."""

    @abc.abstractmethod
    def trouble(self) -> list[str]:
        """What is wrong with pages or schema; empty if nothing."""

    @abc.abstractmethod
    def prove_pages(self, *, up_to_bytes: int) -> None:
        """IndexDamagedError if pages are inconsistent; more than that is not looked at."""

    @abc.abstractmethod
    def backup_into(self, target: SqlIndex, *, at_once: bool = False) -> None:
        """Copy every row, as it is committed, over an index in a file that is open."""

    @abc.abstractmethod
    def take_over(self, fresh: SqlIndex) -> None:
        """The rows of an index in a file become this one's, in place of all that it had: in one step."""

    # -- what all have alike --------------------------------------------------------------------------------

    def close(self) -> None:
        """Close all connections. Under the writer lock, or while another process has the index open."""
        self.database.close_every()

    def foresee(  # noqa: B027 - most have no use for it
        self, *asks: Callable[[], object], having: tuple[Any, ...] = ()
    ) -> None:
        """What these calls read will be asked soon: an index that is far has it asked together with what comes next.

        Others do nothing. They are called at once and get no rows; so they only read, and no version. `having`: values
        that a new row has to have, all of them, to change what is read; (): any may.
        """

    def migrations(self) -> list[tuple[int, str, bool]]:
        """(version, name, applied) of every migration, in order."""
        return [(one.version, one.name, one.applied) for one in migrating.status(self.database)]

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
        from holdfast.index.apply import reduce

        self._know(seq, body)
        if body["kind"] == "artifact" and body["action"] == "create":
            self.executor.create_artifact(seq, body)
        else:
            self.executor.apply(seq, reduce(seq, body))

    def apply_all(self, first: int, bodies: Iterable[Body]) -> None:
        """Turn changes from seq `first` on into rows: the same rows as one by one, in less time."""
        from holdfast.values.newcomers import Newcomers

        if isinstance(bodies, Newcomers) and len(bodies) <= _TOGETHER:
            self.executor.create_all(first, bodies)
            return
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

    def prove_rows(self, tables_of_interest: Sequence[str]) -> None:
        """IndexDamagedError if a row of some tables is not what its checksum says, or pages are inconsistent."""
        self.prove_pages(up_to_bytes=1 << 62)
        for table in tables_of_interest:
            proof.prove_all(self.database, table)
