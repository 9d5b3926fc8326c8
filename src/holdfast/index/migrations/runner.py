"""Brings an index to a schema version, one transaction a step, under the writer lock that the caller holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from holdfast.errors import MigrationChangedError, SchemaTooNewError
from holdfast.index.migrations.manifest import MANIFEST, Migration
from holdfast.values.frozen import dataclass


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration and whether the index has it."""

    version: int
    name: str
    applied: bool


class Runs(Protocol):
    """What runs statements: of index/database.py, which in the end rests on what the manifest says of columns."""

    def one(self, sql: str) -> tuple[Any, ...] | None:
        """The first row, or None."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows."""

    def run(self, sql: str, parameters: tuple[Any, ...] = ()) -> object:
        """One statement."""

    def raw(self) -> Any:
        """This thread's connection."""


def version_of(database: Runs) -> int:
    """The schema version of an index; 0 if it is empty."""
    if database.one("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'") is None:
        return 0
    row = database.one("SELECT max(version) FROM schema_version")
    return int(row[0]) if row and row[0] is not None else 0


def check(database: Runs, manifest: Sequence[Migration] = MANIFEST) -> int:
    """The version, if this software may work on it: SchemaTooNewError, or MigrationChangedError for an edited step."""
    found = version_of(database)
    if found > manifest[-1].version:
        raise SchemaTooNewError(
            f"the index has schema {found}, this software knows {manifest[-1].version}",
            found=found,
            known=manifest[-1].version,
        )
    rows = database.rows("SELECT version, name, checksum FROM schema_version") if found else []
    applied = {version: (name, checksum) for version, name, checksum in rows}
    for step in manifest:
        if step.version in applied and applied[step.version] != (step.name, step.checksum):
            raise MigrationChangedError(
                f"migration {step.version} ({step.name}) is not the one that this index was made with",
                version=step.version,
                applied=applied[step.version][1],
                known=step.checksum,
            )
    return found


def up(database: Runs, manifest: Sequence[Migration] = MANIFEST, *, target: int | None = None) -> int:
    """Apply what is missing up to `target` (default: the newest); the version reached. Nothing to do is no error."""
    found = check(database, manifest)
    goal = manifest[-1].version if target is None else target
    for step in manifest:
        if found < step.version <= goal:
            _step(database, step.up, step, applied=True)
            found = step.version
    return found


def down(database: Runs, manifest: Sequence[Migration] = MANIFEST, *, target: int) -> int:
    """Undo steps above `target`, newest first; the version reached."""
    found = check(database, manifest)
    for step in reversed(manifest):
        if target < step.version <= found:
            _step(database, step.down, step, applied=False)
            found = step.version - 1
    return found


def status(database: Runs, manifest: Sequence[Migration] = MANIFEST) -> list[MigrationStatus]:
    """Every migration this software knows, in order."""
    found = check(database, manifest)
    return [MigrationStatus(step.version, step.name, step.version <= found) for step in manifest]


def _step(database: Runs, statements: Sequence[str], step: Migration, *, applied: bool) -> None:
    database.run("BEGIN IMMEDIATE")
    try:
        if not applied:  # before the statements: those of the first step take the table away
            database.run("DELETE FROM schema_version WHERE version = ?", (step.version,))
        for statement in statements:
            database.run(statement)
        if applied:
            sql = "INSERT INTO schema_version (version, name, checksum) VALUES (?, ?, ?)"
            database.run(sql, (step.version, step.name, step.checksum))
        database.run("COMMIT")
    except BaseException:
        if database.raw().in_transaction:  # on a full disk SQLite has rolled back by itself
            database.run("ROLLBACK")
        raise
