"""Changes the schema of an index, up and down: alone, one step after the other, with a copy of what was there.

The index can be made anew from journal and blobs (`rebuild`), so no step can lose what the chain says; going down can
take away what an older software has no rows for, and says so first. Who opens a store with an older schema is told to
come here (SchemaOutdatedError): a process of the older software may be at work on it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine import served
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.recover import Progress
from holdfast.engine.settings import Settings
from holdfast.errors import DataLossError, IndexDamagedError, InvalidValueError
from holdfast.formats import marker, paths
from holdfast.index import migrating as runner
from holdfast.index.migrating import Manifest, MigrationStatus, PlannedStep
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What was done. `before`, `after`: versions; `copy`: where what was there before lies; "" if nothing was done."""

    before: int
    after: int
    steps: tuple[PlannedStep, ...]
    copy: str


def status(path: str, settings: Settings, *, manifest: Manifest = None) -> list[MigrationStatus]:
    """Every migration this software knows, in order, and whether the index has it. Nothing is locked or written."""
    with _index(os.path.abspath(path), settings, read_only=True) as index:
        return runner.status(index.database, manifest)


def plan(path: str, settings: Settings, *, target: int | None = None, manifest: Manifest = None) -> list[PlannedStep]:
    """The steps to a version (None: the newest), and what those down would lose. Nothing is locked or written."""
    with _index(os.path.abspath(path), settings, read_only=True) as index:
        return runner.plan(index.database, manifest, target=_checked(target))


def migrate(
    path: str, settings: Settings, *, target: int | None = None, accept_loss: bool = False, manifest: Manifest = None,
    progress: Progress | None = None,
) -> MigrationReport:  # fmt: skip
    """Bring the index to a version (None: the newest). Durable when it returns; again, it does nothing.

    Nobody may have the store open: who has is waited for, `settings.wait_s` seconds. Of several at once one does the
    work, and the others find it done. A kill leaves the version before a step, or after it. Raises LockedError,
    DataLossError for a way down that loses something without `accept_loss`, MigrationChangedError, SchemaTooNewError,
    InvalidValueError, NoSpaceError.
    """
    root, disk = os.path.abspath(path), settings.disk
    opening.demand_no_backup(root)
    _checked(target)
    if not plan(root, settings, target=target, manifest=manifest):
        return _at(root, settings)  # nobody need be waited for
    writer = WriterLock(os.path.join(root, paths.WRITER_LOCK))
    users = HandlesLock(os.path.join(root, paths.HANDLES_LOCK))
    try:
        writer.acquire("migrate", wait_s=settings.wait_s)
        users.acquire(shared=False, wait_s=settings.wait_s)
        users.sign("migrating the index")
        with _index(root, settings, read_only=False) as index:
            return _migrate(index, root, disk, _Way(target, accept_loss, manifest), progress)
    finally:
        writer.close()
        users.close()


@dataclass(frozen=True, slots=True)
class _Way:
    target: int | None
    accept_loss: bool
    manifest: Manifest


def _migrate(
    index: SqlIndex, root: str, disk: Disk, way: _Way, progress: Progress | None
) -> MigrationReport:  # fmt: skip
    before = runner.version_of(index.database)
    steps = tuple(runner.plan(index.database, way.manifest, target=way.target))
    if not steps:
        return MigrationReport(before, before, (), "")
    losses = [loss for step in steps for loss in step.loses]
    if losses and not way.accept_loss:
        told = ", ".join(f"{what}: {count}" for what, count in losses)
        raise DataLossError(
            f"going down to schema {way.target} would lose {told}", losses=losses,
            remedy="Say --accept-loss if that may go. What the journal says stays there.",
        )  # fmt: skip
    token = secrets.token_hex(8)
    aside = os.path.join(root, paths.QUARANTINE, f"{paths.INDEX}.{token}")  # by this name a redaction knows it
    on_server = marker.SERVED in opening.read_marker(root, disk, served=True).features
    last = steps[-1].version if steps[-1].direction == "up" else steps[-1].version - 1

    def tell(done: int, total: int) -> None:
        if progress:
            progress(done, total, "migrating", "steps")

    if on_server:
        schema = f"{index.place.schema[:20]}_old_{token}"  # type: ignore[attr-defined]  # it is PostgreSQL's
        after = index.change_schema(way.manifest, last, schema, told=tell)
        return MigrationReport(before, after, steps, f"schema {schema}")
    disk.mkdir(os.path.dirname(aside))
    after = index.change_schema(way.manifest, last, aside, told=tell)
    disk.fsync_dir(os.path.dirname(aside))
    index.checkpoint(force=True)
    return MigrationReport(before, after, steps, f"{paths.QUARANTINE}/{os.path.basename(aside)}")


def _at(root: str, settings: Settings) -> MigrationReport:
    with _index(root, settings, read_only=True) as index:
        version = runner.version_of(index.database)
    return MigrationReport(version, version, (), "")


def _checked(target: int | None) -> int | None:
    if target is not None and (type(target) is not int or target < 1):
        raise InvalidValueError(
            f"an index cannot have schema {target!r}", where="target", reason="range",
            remedy="Give the version of a migration, 1 or more. An index is made anew by `holdfast rebuild`.",
        )  # fmt: skip
    return target


@contextmanager
def _index(root: str, settings: Settings, *, read_only: bool) -> Iterator[SqlIndex]:
    """The index as it is, whatever its version; IndexDamagedError if there is none."""
    found = opening.read_marker(root, settings.disk, served=True)
    if marker.SERVED in found.features:
        place = served.place_of(root, settings.disk)
        assert place is not None
        index: SqlIndex = served.index_class()(place, read_only=read_only)
    else:
        path = os.path.join(root, paths.INDEX)
        if not os.path.isfile(path):
            raise IndexDamagedError("there is no index: it is made, with the newest schema, when the store is opened",
                                    reason="missing", remedy="Open the store, or run `holdfast rebuild`.")  # fmt: skip
        index = SqliteIndex(path, read_only=read_only)
    try:
        yield index
    finally:
        index.close()
