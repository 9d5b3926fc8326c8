"""Brings an index to a schema version, one transaction a step, under the locks that the caller holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.errors import InvalidValueError, MigrationChangedError, SchemaOutdatedError, SchemaTooNewError
from holdfast.index.database import Database
from holdfast.index.migrations import manifest as known
from holdfast.index.migrations.manifest import Migration
from holdfast.values.frozen import dataclass

Manifest = Sequence[Migration] | None
"""None: that of this software."""

Told = Callable[[int, int], None]
"""Called with (steps done, steps there are)."""


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration and whether the index has it. `kinds`: of records that have their rows since it."""

    version: int
    name: str
    applied: bool
    release: str = ""
    checksum: str = ""
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step that would be taken. `direction`: "up" or "down"; `loses`: (what, how many) a step down takes with it."""

    version: int
    name: str
    direction: str
    loses: tuple[tuple[str, int], ...] = ()


def version_of(database: Database) -> int:
    """The schema version of an index; 0 if it is empty."""
    if database.one("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'") is None:
        return 0
    row = database.one("SELECT max(version) FROM schema_version")
    return int(row[0]) if row and row[0] is not None else 0


def check(database: Database, manifest: Manifest = None) -> int:
    """The version, if this software may work on it: SchemaTooNewError, or MigrationChangedError for an edited step."""
    steps = known.MANIFEST if manifest is None else manifest
    found = version_of(database)
    if found > steps[-1].version:
        raise SchemaTooNewError(
            f"the index has schema {found}, this software knows {steps[-1].version}",
            found=found,
            known=steps[-1].version,
        )
    rows = database.rows("SELECT version, name, checksum FROM schema_version") if found else []
    applied = {version: (name, checksum) for version, name, checksum in rows}
    for step in steps:
        if step.version in applied and applied[step.version] != (step.name, step.checksum):
            raise MigrationChangedError(
                f"migration {step.version} ({step.name}) is not the one that this index was made with",
                version=step.version,
                applied=applied[step.version][1],
                known=step.checksum,
            )
    return found


def demand_newest(database: Database) -> int:
    """The version, which is the newest (0: there are no tables); SchemaOutdatedError for an older one."""
    found, newest = check(database), known.MANIFEST[-1].version
    if 0 < found < newest:
        raise SchemaOutdatedError(
            f"the index has schema {found}, this software works with {newest}", found=found, known=newest
        )
    return found


def plan(database: Database, manifest: Manifest = None, *, target: int | None = None) -> list[PlannedStep]:
    """The steps to a version (None: the newest), in the order in which they would be taken. InvalidValueError."""
    steps = known.MANIFEST if manifest is None else manifest
    found = check(database, steps)
    goal = steps[-1].version if target is None else target
    if not 0 <= goal <= steps[-1].version:
        raise InvalidValueError(
            f"there is no schema {goal}: this software knows 1 to {steps[-1].version}", where="target", reason="range",
            remedy="`holdfast migrate status` lists them.",
        )  # fmt: skip
    if goal >= found:
        return [PlannedStep(one.version, one.name, "up") for one in steps if found < one.version <= goal]
    return [
        PlannedStep(one.version, one.name, "down", _losses(database, one))
        for one in reversed(steps)
        if goal < one.version <= found
    ]


def _losses(database: Database, step: Migration) -> tuple[tuple[str, int], ...]:
    counted = ((lost.what, database.one(lost.count)) for lost in step.loses)
    return tuple((what, int(row[0])) for what, row in counted if row is not None and row[0])


def up(
    database: Database, manifest: Manifest = None, *, target: int | None = None, told: Told | None = None
) -> int:  # fmt: skip
    """Apply what is missing up to `target` (default: the newest); the version reached. Nothing to do is no error."""
    steps = known.MANIFEST if manifest is None else manifest
    found = check(database, steps)
    goal = steps[-1].version if target is None else target
    wanted = [step for step in steps if found < step.version <= goal]
    for number, step in enumerate(wanted, 1):
        _step(database, step.up, step, applied=True)
        found = step.version
        if told:
            told(number, len(wanted))
    return found


def down(database: Database, manifest: Manifest = None, *, target: int, told: Told | None = None) -> int:
    """Undo steps above `target`, newest first; the version reached."""
    steps = known.MANIFEST if manifest is None else manifest
    found = check(database, steps)
    wanted = [step for step in reversed(steps) if target < step.version <= found]
    for number, step in enumerate(wanted, 1):
        _step(database, step.down, step, applied=False)
        found = step.version - 1
        if told:
            told(number, len(wanted))
    return found


def status(database: Database, manifest: Manifest = None) -> list[MigrationStatus]:
    """Every migration this software knows, in order."""
    steps = known.MANIFEST if manifest is None else manifest
    found = check(database, steps)
    return [
        MigrationStatus(step.version, step.name, step.version <= found, step.release, step.checksum, step.kinds)
        for step in steps
    ]


def counts(database: Database) -> dict[str, int]:
    """What the steps that an index has say is to be counted in diagnostics: numbers of rows, by key."""
    version = version_of(database)
    wanted = [pair for step in known.MANIFEST if step.version <= version for pair in step.counts]
    found = ((key, database.one(sql)) for key, sql in wanted)
    return {key: int(row[0]) for key, row in found if row is not None}


def _step(database: Database, statements: Sequence[str], step: Migration, *, applied: bool) -> None:
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
