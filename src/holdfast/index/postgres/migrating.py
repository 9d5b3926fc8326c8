"""Takes the steps of the manifest on a server: all in one transaction, after a copy of every table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from holdfast.index import migrating as runner
from holdfast.index.database import Database
from holdfast.index.migrations import manifest as known
from holdfast.index.postgres import dialect, schema
from holdfast.index.postgres.server import PostgresDatabase


@dataclass(frozen=True, slots=True)
class Way:
    """Where to. `aside`: name of the schema that gets the copy; `lock`: key of the advisory lock."""

    manifest: runner.Manifest
    target: int
    aside: str
    lock: int


class Served(Protocol):
    """What is asked of the index."""

    server: PostgresDatabase
    database: Database

    def rollback(self) -> None:
        """Undo the open transaction."""
        ...


def change(index: Served, way: Way, told: runner.Told | None) -> int:
    """The version reached. Others who migrate wait for the lock; a kill leaves what was there before."""
    link = index.server.raw()
    link.script(f"BEGIN; SELECT pg_advisory_xact_lock({way.lock})")
    try:
        planned = runner.plan(index.database, way.manifest, target=way.target)
        if planned:
            _copy(index.server, way.aside)
        steps = {one.version: one for one in (known.MANIFEST if way.manifest is None else way.manifest)}
        for number, one in enumerate(planned, 1):
            step = steps[one.version]
            if one.direction == "up":
                said = [*schema.steps(step), schema.record(step)]
            else:
                said = [
                    f'DELETE FROM "schema_version" WHERE "version" = {step.version}',
                    *map(dialect.schema, step.down),
                ]
            link.script(";\n".join(said))
            if told:
                told(number, len(planned))
        link.script("COMMIT")
    except BaseException:
        index.rollback()
        raise
    return runner.version_of(index.database)


def _copy(server: PostgresDatabase, aside: str) -> None:
    tables = server.rows("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename")
    server.raw().script(f'CREATE SCHEMA "{aside}"')
    for (table,) in tables:
        server.raw().script(f'CREATE TABLE "{aside}"."{table}" AS TABLE "{table}"')
