"""The index in one schema of a PostgreSQL database: its connections, its transactions, and the way to its rows.

Whoever writes holds the row of `head` from BEGIN to COMMIT. So seqs are given in the order of commits whatever process
or machine a writer runs on, and a reader who sees a seq sees all before it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Self, cast

from holdfast.errors import HoldfastError, IndexDamagedError, InvalidValueError
from holdfast.index import migrating as runner
from holdfast.index import tables
from holdfast.index.audit import Audit
from holdfast.index.database import Database
from holdfast.index.metadata import DECLARED
from holdfast.index.migrations.manifest import MANIFEST
from holdfast.index.outbox import OutboxRows
from holdfast.index.postgres import carrying, following, migrating, schema, sortable
from holdfast.index.postgres.audit import PostgresAudit
from holdfast.index.postgres.connection import VERSION, Link
from holdfast.index.postgres.dialect import NOW_US
from holdfast.index.postgres.following import Ear
from holdfast.index.postgres.place import Place
from holdfast.index.postgres.pool import Pool
from holdfast.index.postgres.proving import Row
from holdfast.index.postgres.server import PostgresDatabase
from holdfast.index.sql import HOME, SqlIndex

_MIGRATING = 0x686F6C64 << 32
"""Of the key of the advisory lock under which a schema is made: one migrates, the others wait."""

OUTBOX = ("outbox_consumer", "outbox_letter")
"""Tables whose rows follow from no chain: an index that is made anew takes them over."""

_BESIDE, _ASIDE = "holdfast: made beside", "holdfast: set aside for"
"""What the comment of a schema begins with that is not to be used: of an index in the making, and of an old one."""

_IDENTITY = """SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || d.oid || '/' || n.oid
    FROM pg_database d, pg_namespace n WHERE d.datname = current_database() AND n.nspname = current_schema()"""


class PostgresIndex(SqlIndex):
    """An open index on a server. What a file is asked for has its answer."""

    is_far = True

    def __init__(self, url: str | Place, *, read_only: bool = False) -> None:
        self.place = url if isinstance(url, Place) else Place(url)
        self.server = PostgresDatabase(self.place, read_only=read_only)
        # The same calls, to connections of another kind: see contract.py.
        super().__init__(str(self.place), cast("Database", self.server), read_only=read_only)
        self._changes: int | None = None
        self._lock = _MIGRATING | zlib.crc32(self.place.schema.encode())
        self._counted = (
            f'UPDATE "head" SET "version" = "version" + 1 RETURNING {following.told(self.place.schema)}'.encode()
        )
        self._ears: list[Ear] = []
        self._hearing = threading.local()

    def _link(self) -> Link:
        return self.server.raw()

    @property
    def keeps_bytes(self) -> bool:
        """Never: what stands in the folder is all that is needed of it without the server."""
        return False

    # -- making and closing ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the schema with its newest version."""
        self.migrate()

    def migrate(self) -> None:
        """Bring the schema to the newest version, in one transaction. Four processes at once: one does, others wait."""
        link = self._link()
        row = self.server.one("SHOW server_encoding")
        if row != ("UTF8",):
            raise InvalidValueError(
                f"{self.path} is encoded as {row and row[0]}, and not as UTF8", where="index", reason="encoding",
                remedy="createdb --encoding=UTF8 --template=template0 NAME",
            )  # fmt: skip
        with_lock = f"BEGIN; SELECT pg_advisory_xact_lock({self._lock})"
        link.script(with_lock)
        try:
            link.script(f'CREATE SCHEMA IF NOT EXISTS "{self.place.schema}"')
            found = runner.check(self.database)
            for step in MANIFEST:
                if step.version > found:
                    link.script(";\n".join([*schema.steps(step), schema.record(step)]))
            link.script("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def change_schema(
        self, manifest: runner.Manifest, target: int, aside: str, *, told: runner.Told | None = None
    ) -> int:  # fmt: skip
        """Copy all tables to a schema `aside`, then take the steps to a version, all in one transaction; see there."""
        return migrating.change(self, migrating.Way(manifest, target, aside, self._lock), told)

    def check(self) -> None:
        """Whether this is an index with a schema this software can work on; typed errors if not."""
        found = runner.demand_newest(self.database)
        if found == 0:
            raise IndexDamagedError(f"{self.path} has no tables of an index", reason="no schema")

    def exists(self) -> bool:
        """Whether there is a schema with tables of an index."""
        return runner.version_of(self.database) > 0

    def identity(self) -> str:
        """What a dump of the index that is restored elsewhere cannot carry along: server, database, schema."""
        row = self.server.one(_IDENTITY)
        return "" if row is None else str(row[0])

    def again(self, *, read_only: bool = True) -> Self:
        """Another handle on the same schema."""
        return type(self)(self.place, read_only=read_only)

    # -- transactions ------------------------------------------------------------------------------------------------

    def foresee(self, *asks: Callable[[], object], having: tuple[Any, ...] = ()) -> None:
        """See there: what they read comes with the answer to what is asked, or begun, next."""
        for ask in asks:
            self._link().foresee(ask, having)

    def _declared(self) -> None:
        self.server.rows(DECLARED)

    def begin(self) -> None:
        """Start a write transaction on this thread's connection, as the only one: the row of `head` is held."""
        if self.sights.is_behind():
            self.foresee(self.chain.head, self.sights.foresee, self._declared, self.physical.packs.foresee)
        try:
            if self._link().begin() is None:
                raise IndexDamagedError(f"{self.path} has lost its row of `head`", reason="head")
            version = self.sights.begin()
            self.executor.begin(version)
            self.physical.packs.begin(version)
        except BaseException:
            self.rollback()
            raise
        self._changes = self._link().total_changes

    def commit(self) -> None:
        """The point of no return: durable when it returns."""
        link = self._link()
        version = link.version
        if self._changes == link.total_changes:
            link.commit(None)
        else:
            link.commit(self._counted)
            version = None if version is None else version + 1
        if version is not None:  # its row was held until now: what this thread has seen is as good as before
            self.executor.committed(version)
            self.physical.packs.committed(version)
            self.sights.committed(version)
        self.sights.end()

    def rollback(self) -> None:
        """Undo the open transaction; nothing happens if there is none, or the connection is lost."""
        self.sights.end()
        link = self._link()
        link.version = None
        if link.in_transaction and not link.lost:
            link.script("ROLLBACK")
        self.executor.forget()
        self.physical.packs.forget_keys()

    def version(self) -> int:
        """A number that every commit that changed something makes another one."""
        row = self.server.one(VERSION)
        if row is None:
            raise IndexDamagedError(f"{self.path} has lost its row of `head`", reason="head")
        return int(row[0])

    def wait(self, seen: int, timeout_s: float) -> int:
        """See contract.py. A connection of this thread listens; it costs the server a process while it waits."""
        ear: Ear | None = getattr(self._hearing, "ear", None)
        if ear is None:
            ear = self._hearing.ear = Ear(self.place, self.version)
            self._ears.append(ear)
        return ear.wait(seen, timeout_s)

    def await_commit(self, timeout_s: float) -> bool:
        """As of a file; but the server tells, and nobody asks again and again."""
        known: int | None = getattr(self._hearing, "seen", None)
        before = self.version() if known is None else known
        self._hearing.seen = self.wait(before, timeout_s)
        return bool(self._hearing.seen != before)

    def close(self) -> None:
        """Close all connections."""
        while self._ears:
            self._ears.pop().close()
        super().close()

    # -- what a file is asked for ------------------------------------------------------------------------------------

    def checkpoint_due(self) -> bool:
        """The server sees to its log."""
        return False

    def has_log(self) -> bool:
        """None of ours."""
        return False

    def checkpoint(self, *, force: bool = False) -> None:
        """The server sees to its log."""

    def compact(self, *, up_to_bytes: int) -> None:
        """The server sees to its tables."""

    def log_is_own(self) -> bool:
        """The server sees to its log."""
        return True

    def dump(self, table: str) -> Iterator[Row]:
        """Every row of a table in order of its primary key, to compare two indexes. Derived columns are left out."""
        model = tables.models().named(table)
        columns = ", ".join(f'"{field.column_name}"' for field in model._meta.sorted_fields)
        keys = model._meta.get_primary_keys()  # type: ignore[no-untyped-call]
        order = ", ".join(f'"{field.column_name}"' for field in keys)
        rows = self.server.run(f'SELECT {columns} FROM "{table}" ORDER BY {order}')
        yield from rows if table != "metadata_value" else ((row[0], sortable.decoded(row[1]), row[2]) for row in rows)

    def trouble(self) -> list[str]:
        """What the schema lacks; the server checks its own pages."""
        found = {str(row[0]) for row in self.server.rows("SELECT tablename FROM pg_tables WHERE schemaname = "
                                                          "current_schema()")}  # fmt: skip
        wanted = {str(model._meta.table_name) for model in tables.models().all()} | {*schema.OWN, *OUTBOX}
        return [f"{name} is missing" for name in sorted(wanted - found)]

    def prove_pages(self, *, up_to_bytes: int) -> None:
        """The server checks its own pages."""

    def backup_into(self, target: SqlIndex, *, at_once: bool = False) -> None:  # noqa: ARG002
        """Copy every row, as it is committed, into a file that is open: the same cells, as one moment has them."""
        pool = Pool(self.place, read_only=True, most=1)
        try:
            carrying.to_file(Link(pool), target)
        finally:
            pool.close()

    def load(self, source: SqlIndex) -> None:
        """Take in every row of a file, into this schema, which is new. IDENTITY and the like come along."""
        carrying.to_server(source, self._link())
        self.forget()

    def take_over(self, fresh: SqlIndex) -> None:
        """The rows of a file become this index's, in one step; of the old ones no version is left in a table.

        Schemas that were set aside go too: they may hold every name and text there was.
        """
        made = self.beside()
        try:
            made.load(fresh)
            made.set_meta(HOME, made.identity())
            made.replace(self, keep=False)
        except BaseException:
            with contextlib.suppress(HoldfastError):
                made.drop()
            raise
        finally:
            made.close()
        self.server.part()  # what they have prepared is of tables that are gone
        self.forget()
        self._drop_those(_ASIDE)

    def size_bytes(self) -> int:
        """What the tables and their indexes take on the server."""
        row = self.server.one(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'"
        )
        return 0 if row is None else int(row[0])

    def elsewhere(self) -> PostgresDatabase:
        """More connections to the same schema, for what must not happen inside of a transaction of this index."""
        return PostgresDatabase(self.place, read_only=self.read_only)

    def outbox(self) -> OutboxRows:
        """The rows of the outbox, on connections of their own: what is acknowledged is no part of a write here."""
        database = cast("Database", PostgresDatabase(self.place, read_only=self.read_only))
        return OutboxRows(database, lambda: int((database.one(NOW_US) or (0,))[0]))

    def audit(self) -> Audit:
        """Reads this index for fsck, from this thread, which uses it for nothing else meanwhile."""
        return PostgresAudit(self, self.server)

    # -- taking the place of another ---------------------------------------------------------------------------------

    def beside(self) -> PostgresIndex:
        """An empty index in a schema of its own in the same database, to be filled and to `replace` this one.

        What others began beside this one and did not finish goes: the caller has the store to itself.
        """
        said = self._drop_those(_BESIDE)
        made = PostgresIndex(self.place.beside(f"{self.place.schema[:24]}_new_{os.urandom(4).hex()}"))
        try:
            made.migrate()
            made._link().script(f"COMMENT ON SCHEMA \"{made.place.schema}\" IS '{said}'")
        except BaseException:
            made.close()
            raise
        return made

    def _drop_those(self, why: str) -> str:
        """Drop the schemas that say that they are there because of this one; what they say."""
        said = f"{why} {self.place.schema}"
        sql = "SELECT n.nspname FROM pg_namespace n WHERE obj_description(n.oid, 'pg_namespace') = %s"
        for (name,) in self.server.direct(sql, (said,)):
            self._link().script(f'DROP SCHEMA "{name}" CASCADE')
        return said

    def replace(self, other: PostgresIndex, *, keep: bool) -> None:
        """Take the place of another schema of this database, in one step. `keep`: the other one stays under a new name.

        This handle is closed: open the index anew.
        """
        old, own = other.place.schema, self.place.schema
        aside = f"{old[:24]}_old_{os.urandom(4).hex()}"
        rows = "".join(
            f'DROP TABLE "{own}"."{table}"; ALTER TABLE "{old}"."{table}" SET SCHEMA "{own}";' for table in OUTBOX
        )
        after = f'DROP SCHEMA "{aside}" CASCADE;'
        if keep:
            after = f"COMMENT ON SCHEMA \"{aside}\" IS '{_ASIDE} {old}';"
        exists = self.server.one("SELECT 1 FROM pg_namespace WHERE nspname = ?", (old,)) is not None
        away = f'{rows} ALTER SCHEMA "{old}" RENAME TO "{aside}";' if exists else ""
        after = after if exists else ""
        named = f'ALTER SCHEMA "{own}" RENAME TO "{old}"; COMMENT ON SCHEMA "{old}" IS NULL;'
        self._link().script(f"BEGIN; {away} {named} {after} COMMIT")
        self.close()

    def drop(self) -> None:
        """Remove the schema with all that is in it: of an index that did not come to be used."""
        self.rollback()
        self._link().script(f'DROP SCHEMA IF EXISTS "{self.place.schema}" CASCADE')
