"""The index in one schema of a PostgreSQL database: its connections, its transactions, and the way to its rows.

Whoever writes holds the row of `head` from BEGIN to COMMIT. So seqs are given in the order of commits whatever process
or machine a writer runs on, and a reader who sees a seq sees all before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import cast

from holdfast.errors import IndexDamagedError, InvalidValueError
from holdfast.index import proof, tables
from holdfast.index.audit import Audit
from holdfast.index.database import Database
from holdfast.index.migrations import runner
from holdfast.index.migrations.manifest import MANIFEST
from holdfast.index.outbox import OutboxRows
from holdfast.index.postgres import migrating, schema, sortable
from holdfast.index.postgres.audit import PostgresAudit
from holdfast.index.postgres.connection import Link, PostgresDatabase
from holdfast.index.postgres.dialect import NOW_US
from holdfast.index.postgres.place import Place
from holdfast.index.postgres.proving import Row
from holdfast.index.sqlite import SqliteIndex

_MIGRATING = 0x686F6C64
"""Key of the advisory lock under which schemas are made: one migrates, the others wait."""

OUTBOX = ("outbox_consumer", "outbox_letter")
"""Tables whose rows follow from no chain: an index that is made anew takes them over."""

_IDENTITY = """SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || d.oid || '/' || n.oid
    FROM pg_database d, pg_namespace n WHERE d.datname = current_database() AND n.nspname = current_schema()"""


class PostgresIndex(SqliteIndex):
    """An open index on a server. What it shares with SQLite's is inherited; what a file is asked for has its answer."""

    def __init__(self, url: str | Place, *, read_only: bool = False) -> None:
        self.place = url if isinstance(url, Place) else Place(url)
        self.read_only = read_only
        self.server = PostgresDatabase(self.place, read_only=read_only)
        self._changes: int | None = None
        # The same calls, to connections of another kind: see contract.py.
        self._wire(str(self.place), cast("Database", self.server))

    def _link(self) -> Link:
        return self.server.raw()

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
        with_lock = f"BEGIN; SELECT pg_advisory_xact_lock({_MIGRATING})"
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
        return migrating.change(self, migrating.Way(manifest, target, aside, _MIGRATING), told)

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

    # -- transactions ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start a write transaction on this thread's connection, as the only one: the row of `head` is held."""
        try:
            if self._link().begin() is None:
                raise IndexDamagedError(f"{self.path} has lost its row of `head`", reason="head")
            self.executor.begin(self.sights.begin())
        except BaseException:
            self.rollback()
            raise
        self._changes = self._link().total_changes

    def commit(self) -> None:
        """The point of no return: durable when it returns."""
        link = self._link()
        link.version = None
        if self._changes == link.total_changes:
            link.script("COMMIT")
        else:
            link.script('UPDATE "head" SET "version" = "version" + 1; COMMIT')
        self.sights.end()

    def rollback(self) -> None:
        """Undo the open transaction; nothing happens if there is none, or the connection is lost."""
        self.sights.end()
        link = self._link()
        link.version = None
        if link.in_transaction and not link.lost:
            link.script("ROLLBACK")
        self.executor.forget()

    # -- what a file is asked for ------------------------------------------------------------------------------------

    def checkpoint_due(self) -> bool:
        """The server sees to its log."""
        return False

    def has_log(self) -> bool:
        """None of ours."""
        return False

    def checkpoint(self, *, force: bool = False) -> None:
        """The server sees to its log."""

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
        wanted = {str(model._meta.table_name) for model in tables.models().all()} | {"head", *OUTBOX}
        return [f"{name} is missing" for name in sorted(wanted - found)]

    def prove_pages(self, *, up_to_bytes: int) -> None:
        """The server checks its own pages."""

    def prove_rows(self, tables_of_interest: Sequence[str]) -> None:
        """IndexDamagedError if a row of some tables is not what its checksum says. The server works them out."""
        for table in tables_of_interest:
            proof.prove_all(self.database, table)

    def backup_into(self, target: SqliteIndex, *, at_once: bool = False) -> None:
        """Not possible: there are no pages to copy."""
        raise NotImplementedError("there are no pages to copy; who asks looks first (engine/served.demand_file)")

    def size_bytes(self) -> int:
        """What the tables and their indexes take on the server."""
        row = self.server.one(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'"
        )
        return 0 if row is None else int(row[0])

    def outbox(self) -> OutboxRows:
        """The rows of the outbox, on connections of their own: what is acknowledged is no part of a write here."""
        database = cast("Database", PostgresDatabase(self.place, read_only=self.read_only))
        return OutboxRows(database, lambda: int((database.one(NOW_US) or (0,))[0]))

    def audit(self) -> Audit:
        """Reads this index for fsck, from this thread, which uses it for nothing else meanwhile."""
        return PostgresAudit(self, self.server)

    # -- taking the place of another ---------------------------------------------------------------------------------

    def beside(self) -> PostgresIndex:
        """An empty index in a schema of its own in the same database, to be filled and to `replace` this one."""
        made = PostgresIndex(self.place.beside(f"{self.place.schema[:24]}_new_{os.urandom(4).hex()}"))
        made.migrate()
        return made

    def replace(self, other: PostgresIndex, *, keep: bool) -> None:
        """Take the place of another schema of this database, in one step. `keep`: the other one stays under a new name.

        This handle is closed: open the index anew.
        """
        old, own = other.place.schema, self.place.schema
        aside = f"{old[:24]}_old_{os.urandom(4).hex()}"
        rows = "".join(
            f'DROP TABLE "{own}"."{table}"; ALTER TABLE "{old}"."{table}" SET SCHEMA "{own}";' for table in OUTBOX
        )
        after = "" if keep else f'DROP SCHEMA "{aside}" CASCADE;'
        exists = self.server.one("SELECT 1 FROM pg_namespace WHERE nspname = ?", (old,)) is not None
        away = f'{rows} ALTER SCHEMA "{old}" RENAME TO "{aside}";' if exists else ""
        after = after if exists else ""
        self._link().script(f'BEGIN; {away} ALTER SCHEMA "{own}" RENAME TO "{old}"; {after} COMMIT')
        self.close()

    def drop(self) -> None:
        """Remove the schema with all that is in it: of an index that did not come to be used."""
        self.rollback()
        self._link().script(f'DROP SCHEMA IF EXISTS "{self.place.schema}" CASCADE')
