"""Store: the one way in. It wires the rooms together and does nothing itself."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from holdfast.engine.handle import Handle, Opened
from holdfast.kinds.clauses import upheld
from holdfast.kinds.collections import Collections
from holdfast.kinds.readings import Artifacts
from holdfast.kinds.writing import write
from holdfast.tenants import OfTenants, store_wide
from holdfast.values.records import Artifact, Collection, PutResult, Record

# Care, exchange and the rarer nouns are imported when they are used: `holdfast show` must not wait for `repair`.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.care.audit import Auditing
    from holdfast.care.backup import BackupReport
    from holdfast.care.fsck import FsckReport, OnFinding, Portion
    from holdfast.care.gc import GcReport
    from holdfast.care.moving import CopyReport
    from holdfast.care.redact import RedactReport
    from holdfast.care.repack import RepackReport
    from holdfast.care.status import Status
    from holdfast.engine.past import When
    from holdfast.engine.recover import Progress
    from holdfast.engine.transaction import Unit
    from holdfast.exchange.delivery import CheckoutReport
    from holdfast.exchange.folder import AddReport
    from holdfast.exchange.git.exporting import GitExportReport
    from holdfast.exchange.git.importing import GitImportReport
    from holdfast.exchange.snapshot import SnapshotReport
    from holdfast.exchange.standards import Standards
    from holdfast.exchange.tree_export import ExportReport
    from holdfast.kinds.changes import Changes
    from holdfast.kinds.indexes import Indexes
    from holdfast.kinds.many import ManyResult
    from holdfast.kinds.outbox import Outbox
    from holdfast.kinds.relationships import Relationships
    from holdfast.kinds.runs import Runs
    from holdfast.kinds.searching import Searching
    from holdfast.kinds.view import View


@upheld
class Store(OfTenants):
    """An open store. Made by `holdfast.open` or `holdfast.create`; usable from many threads; closed by `with`."""

    def __init__(self, handle: Handle) -> None:
        super().__init__(handle)
        self.artifacts = Artifacts(handle)
        self.collections = Collections(handle)

    @property
    def path(self) -> Path:
        """The store's folder."""
        from pathlib import Path

        return Path(self._handle.root)

    @property
    def id(self) -> str:
        """The store's id, drawn when it was made."""
        return self._handle.marker.store_id

    @property
    def opened(self) -> Opened:
        """What opening had to do."""
        return self._handle.opened

    @functools.cached_property
    def relationships(self) -> Relationships:
        """How records stand to each other, and lineage."""
        from holdfast.kinds.relationships import Relationships

        return Relationships(self._handle)

    @functools.cached_property
    def runs(self) -> Runs:
        """Executions, with their steps, inputs and outputs."""
        from holdfast.kinds.runs import Runs

        return Runs(self._handle)

    @functools.cached_property
    @store_wide
    def indexes(self) -> Indexes:
        """Which fields of metadata are indexed."""
        from holdfast.kinds.indexes import Indexes

        return Indexes(self._handle)

    @functools.cached_property
    def changes(self) -> Changes:
        """What was changed, when and by whom."""
        from holdfast.kinds.changes import Changes

        return Changes(self._handle)

    @functools.cached_property
    def outbox(self) -> Outbox:
        """Named consumers that get every change, in order, at least once."""
        from holdfast.kinds.outbox import Outbox

        return Outbox(self._handle)

    @functools.cached_property
    def search(self) -> Searching:
        """Full text."""
        from holdfast.kinds.searching import Searching

        return Searching(self._handle)

    @functools.cached_property
    def standards(self) -> Standards:
        """Packages, lineage and runs in the forms of others: BagIt, RO-Crate, W3C PROV, OpenLineage."""
        from holdfast.exchange.standards import Standards

        return Standards(self._handle)

    @functools.cached_property
    @store_wide
    def audit(self) -> Auditing:
        """Proofs that nothing in the history was edited, dropped or reordered."""
        from holdfast.care.audit import Auditing

        return Auditing(self._handle)

    def transaction(self, *, id: str | None = None, note: str = "") -> AbstractContextManager[Unit]:
        """Many changes, all or nothing; transactions nest. What was acknowledged at the outermost end is durable."""
        return write(self._handle, tx=id, note=note, what="transaction")

    def at(self, at: When, *, progress: Progress | None = None) -> View:
        """The store as it was after the change with this seq, or at a time: a view to read: see `holdfast.View`.

        Use it in a `with`, or close it. It shows what was committed until then, whatever is written meanwhile. The
        first look at a state derives its rows, in a folder for temporary files; they are kept while the store is open.
        """
        from holdfast.kinds import view

        return view.view_at(self._handle, at, progress=progress)

    # -- shorthands --------------------------------------------------------------------------------------------------

    @property
    def put(self) -> Callable[..., PutResult]:
        """`store.artifacts.put`."""
        return self.artifacts.put

    @property
    def put_many(self) -> Callable[..., ManyResult]:
        """`store.artifacts.put_many`."""
        return self.artifacts.put_many

    @property
    def create(self) -> Callable[..., Artifact]:
        """`store.artifacts.create`."""
        return self.artifacts.create

    @property
    def get(self) -> Callable[..., Artifact]:
        """`store.artifacts.get`."""
        return self.artifacts.get

    @property
    def read(self) -> Callable[..., bytes]:
        """`store.artifacts.read`."""
        return self.artifacts.read

    @property
    def find(self) -> Callable[..., Iterator[Artifact]]:
        """`store.artifacts.find`."""
        return self.artifacts.find

    def add(
        self, *paths: str | bytes | os.PathLike[str], into: str | bytes = "", atomic: bool = False,
        checksum: bool = False, searchable: bool = False, progress: Progress | None = None,
    ) -> AddReport:  # fmt: skip
        """Take files and folder trees in: see `holdfast.exchange.folder.add`.

        `atomic`: all in one transaction; `checksum`: read files that look as they did, too; `searchable`: text as well.
        """
        from holdfast.exchange import folder

        way = folder.Way(atomic=atomic, checksum=checksum, searchable=searchable)
        return folder.add(self._handle, paths, into=into, way=way, progress=progress)

    def checkout(
        self, ref: str | bytes | Artifact | Collection, dest: str | bytes | os.PathLike[str], *, at: When | None = None,
        revision: int | None = None, existing: str = "refuse", dry_run: bool = False, progress: Progress | None = None,
    ) -> CheckoutReport:  # fmt: skip
        """Write a collection out as a working tree, or an artifact as a file: see `holdfast.exchange.checkout`.

        `at`: as it was after the change with that seq, or at a time; `revision`: of one artifact. `existing`: what
        becomes of files that are there and differ: "refuse" (DestinationDiffersError), "keep" or "replace".
        """
        from holdfast.exchange import checkout as writing
        from holdfast.exchange.delivery import Way

        way = Way(at=at, revision=revision, existing=writing.existing(existing), dry_run=dry_run)
        return writing.checkout(self._handle, ref, dest, way=way, progress=progress)

    @store_wide
    def export_tree(
        self, dest: str | bytes | os.PathLike[str], *, large_from: int | None = None, large_beside: bool | None = None,
        force: bool = False, progress: Progress | None = None,
    ) -> ExportReport:  # fmt: skip
        """Write all the store knows as readable files that git can keep: see `holdfast.exchange.tree_export`.

        Content of more than `large_from` bytes stands as a pointer; `large_beside`: and lies in a folder of its own.
        What is not said is as in the export that is there, else 10 MiB and beside. `force`: edits are overwritten.
        """
        from holdfast.exchange import tree_export

        wanted = tree_export.Wanted(large_from, large_beside, force)
        return tree_export.export_tree(self._handle, dest, wanted=wanted, progress=progress)

    def snapshot(
        self, dest: str | bytes | os.PathLike[str], *, collections: Iterable[str | bytes] = (), force: bool = False,
        progress: Progress | None = None,
    ) -> SnapshotReport:  # fmt: skip
        """Write the store, or some collections with all they refer to, to one file: see `holdfast.exchange.snapshot`.

        `force`: a file that is there gives way. Of a handle of one tenant: all that this one has, or some of it.
        """
        from holdfast.exchange import snapshot

        collections = list(collections) or ([] if self.tenant is None else [""])
        return snapshot.take(self._handle, dest, collections=collections, replace=force, progress=progress)

    @store_wide
    def import_git(
        self, repo: str | bytes | os.PathLike[str], *, into: str | bytes | None = None, branch: str = "",
        paths: Iterable[str | bytes] = (), range: str = "", progress: Progress | None = None,
    ) -> GitImportReport:  # fmt: skip
        """Take the history of a git repository into a collection: see `holdfast.exchange.git.importing`.

        `branch`: a branch, tag or commit, else what HEAD is; `paths`: these only; `range`: `OLD..NEW` or `OLD..`.
        The same call takes what is new since; after an interruption it goes on.
        """
        from holdfast.exchange.git import importing

        wanted = importing.Wanted(branch, tuple(paths), range)
        return importing.import_git(self._handle, repo, into=into, wanted=wanted, progress=progress)

    @store_wide
    def export_git(
        self, repo: str | bytes | os.PathLike[str], *, ref: str | bytes | Collection = "", branch: str = "",
        bare: bool = False, progress: Progress | None = None,
    ) -> GitExportReport:  # fmt: skip
        """Write the history of a collection, by default of all, as commits: see `holdfast.exchange.git.exporting`.

        `branch`: by default the one that was taken in, else `main`; a repository that is not there is made, without a
        work tree if `bare` or if its name ends with `.git`. The same call adds what is new since.
        """
        from holdfast.exchange.git import exporting

        return exporting.export_git(self._handle, repo, ref=ref, branch=branch, bare=bare, progress=progress)

    # -- care --------------------------------------------------------------------------------------------------------

    @store_wide
    def gc(self, *, dry_run: bool = False, grace_s: float | None = None, progress: Progress | None = None) -> GcReport:
        """Free what nothing refers to and was condemned longer than `grace_s` seconds ago (None: as is set).

        See `holdfast.care.gc`.
        """
        from holdfast.care import gc as collecting
        from holdfast.engine import configuration

        grace_s = configuration.value("grace_s", grace_s, root=self._handle.root, disk=self._handle.disk)
        work = collecting.Gc(self._handle, grace_s=grace_s, progress=progress)
        return work.preview() if dry_run else work.run()

    @store_wide
    def repack(self, *, dry_run: bool = False, progress: Progress | None = None) -> RepackReport:
        """Put similar content together, so that it takes less space: see `holdfast.care.repack`."""
        from holdfast.care import repack as repacking

        return repacking.preview(self._handle) if dry_run else repacking.repack(self._handle, progress=progress)

    @store_wide
    def fsck(
        self, *, quick: bool = False, portion: Portion | None = None, progress: Progress | None = None,
        on_finding: OnFinding | None = None,
    ) -> FsckReport:  # fmt: skip
        """Check blobs, index and journal against each other: see `holdfast.fsck`."""
        from holdfast.care import fsck as checking

        return checking.check(self._handle, quick=quick, portion=portion, progress=progress, on_finding=on_finding)

    @store_wide
    def backup(
        self, destination: str | os.PathLike[str], *, keep: int | None = None, whole: bool = False,
        progress: Progress | None = None,
    ) -> BackupReport:  # fmt: skip
        """Back up into a folder, while others write; only what is new is copied: see `holdfast.backup`."""
        from holdfast.care import backup as backing

        way = backing.Way(keep=backing.kept(keep), whole=whole)
        return backing.backup(self._handle, backing.Folder(os.fspath(destination)), way, progress)

    @store_wide
    def copy(
        self, dest: str | os.PathLike[str], *, index: str | None = None, progress: Progress | None = None
    ) -> CopyReport:
        """Make this store again in a new folder, its index in a file or at the URL `index`: `holdfast.care.moving`."""
        from holdfast.care import moving

        return moving.copy_store(self._handle, os.fspath(dest), index, progress)

    @store_wide
    def redact(
        self, record: Record | str, *, fields: Iterable[str] | None = None, revisions: Iterable[int] | None = None,
        note: str = "", dry_run: bool = False,
    ) -> RedactReport:  # fmt: skip
        """Erase fields of a record (by itself or its id), or all of it, for good: see `holdfast.care.redact`."""
        from holdfast.care import redact as redacting

        record_id = record.removeprefix("id:") if isinstance(record, str) else record.id
        return redacting.redact(self._handle, record_id, fields=fields, revisions=revisions, note=note, dry_run=dry_run)

    @store_wide
    def migrate_status(self) -> list[tuple[int, str, bool]]:
        """(version, name, applied) of every migration of the index's schema that this software knows, in order."""
        return self._handle.index.migrations()

    @store_wide
    def status(self) -> Status:
        """Counts, sizes and positions."""
        from holdfast.care import status as stating

        return stating.status(self._handle)

    def close(self) -> None:
        """Make everything durable and give all files back. Safe to call twice."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
