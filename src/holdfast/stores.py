"""What is done with a store that is not open yet, by its place: opened, made, recovered, rebuilt, checked, repaired."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from holdfast import ram
from holdfast.engine import configuration, places, tenancy
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings, actor_of
from holdfast.errors import NotAStoreError
from holdfast.kinds.clauses import upheld_call
from holdfast.store import Store
from holdfast.values.change import Actor

# Care and exchange are imported when they are used: opening must not wait for `repair`.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from holdfast.blobs.contract import BlobStore
    from holdfast.care.fsck import FsckReport, OnFinding, Portion
    from holdfast.care.rebuild import RebuildReport
    from holdfast.care.recover import RecoverReport
    from holdfast.care.repair import RepairReport
    from holdfast.engine.recover import Progress
    from holdfast.exchange.tree_import import ImportReport
    from holdfast.index.contract import Index
    from holdfast.index.keeper import Keeper


@upheld_call
def open_store(
    path: str | os.PathLike[str],
    *,
    actor: Actor | str | None = None,
    create: bool = False,
    read_only: bool = False,
    lock_wait_s: float | None = None,
    blobs: BlobStore | str | os.PathLike[str] | None = None,
    index: Index | Keeper | str | None = None,
    tenant: str | None = None,
) -> Store:
    """Open the store in a folder; with `create`, make it if the folder is empty or absent.

    `index`: URL of its index in PostgreSQL (docs/postgresql.md), or an index that somebody else has written, or its URL
    (docs/backends.md); `blobs`: who has its contents, likewise. None: as the environment says where the store asks for
    it, else they are in the folder. What is given as an object is closed with the store. `path` may be the URL of an
    index in PostgreSQL; `blobs` is the folder then.
    `tenant`: show and write this tenant's records only (docs/tenants.md); None: those of all.

    Raises NotAStoreError, LockedError, FormatTooNewError, UnknownBackendError (nothing is installed for a URL),
    IndexElsewhereError and BlobsElsewhereError (the store stands on other parts than were given).
    """
    _promised()
    said = places.of(path, blobs, index)
    root = opening.place_of(said.folder)
    settings = Settings(
        actor_of(actor), wait_s=_wait(root, lock_wait_s), read_only=read_only, index=said.index, parts=said.parts,
        tenant=tenancy.checked(tenant), pack_up_to=configuration.value("pack_up_to", root=root),
        segment_bytes=configuration.chosen("segment_bytes", root),
        sync_s=configuration.chosen("sync_within_s", root),
    )  # fmt: skip
    configuration.value("compression_level")  # refused here, and not in the midst of a write
    if ram.holds(root):
        from holdfast.engine import memory

        return Store(memory.join(root, settings))
    if create:
        try:
            return Store(opening.open_store(root, settings))
        except NotAStoreError:
            opening.create(root, settings)
    return Store(opening.open_store(root, settings))


def _wait(path: str | os.PathLike[str], said: float | None) -> float:
    """How long to wait for locks, in seconds: as is said, or set (docs/configuration.md)."""
    return float(configuration.value("lock_wait_s", said, root=os.fspath(path)))


@upheld_call
def create_store(
    path: str | os.PathLike[str], *, actor: Actor | str | None = None,
    blobs: BlobStore | str | os.PathLike[str] | None = None, index: Index | Keeper | str | None = None,
) -> Store:  # fmt: skip
    """Make an empty store in a new or empty folder and open it; StoreExistsError.

    `index` and `blobs`, and a `path` that is the URL of a PostgreSQL database: see `open`.
    """
    said = places.of(path, blobs, index)
    settings = Settings(actor_of(actor), index=said.index, parts=said.parts)
    opening.create(said.folder, settings)
    return Store(opening.open_store(said.folder, settings))


@upheld_call
def memory_store(*, actor: Actor | str | None = None, index: Index | Keeper | None = None) -> Store:
    """A new, empty store that is nowhere but in memory, with all that an opened one can do; closing it frees it.

    Nothing of it is on disk, but for what you export. `copy` makes a durable store of it: `store.copy(PATH)`. Every
    call makes a store of its own; threads may share one, other processes cannot.

    `index`: one that somebody else has written, empty (docs/backends.md); it is closed with the store.
    """
    from holdfast.engine import memory, parts

    _promised()
    return Store(memory.make(Settings(actor_of(actor)), None if index is None else parts.index_of(index)))


def _promised() -> None:
    """Where the environment asks for it, promises and invariants are checked."""
    if os.environ.get("HOLDFAST_CONTRACTS"):
        from holdfast.kinds import promises

        promises.enforce_if_asked(Store)


@upheld_call
def recover_store(
    path: str | os.PathLike[str], *, actor: Actor | str | None = None, lock_wait_s: float | None = None,
    progress: Progress | None = None,
) -> RecoverReport:  # fmt: skip
    """Open a store, put right what a crash or a plain copy left, and say what was done. Durable when it returns."""
    from holdfast.care import recover as recovering

    handle = opening.open_store(os.fspath(path), Settings(actor_of(actor), wait_s=_wait(path, lock_wait_s)))
    try:
        return recovering.recover_store(handle, progress)
    finally:
        handle.close()


@upheld_call
def import_store(
    path: str | os.PathLike[str], source: str | bytes | os.PathLike[str], *, on_conflict: str = "fail",
    mirror: bool = False, edits: bool | None = None, dry_run: bool = False,
    max_bytes: int | None = None, actor: Actor | str | None = None, lock_wait_s: float | None = None,
    progress: Progress | None = None,
) -> ImportReport:  # fmt: skip
    """Take an exported tree or a snapshot in: a new store becomes equal to it, another one merges it.

    `on_conflict`: whose counts where both changed the same: "fail" (nothing is imported), "skip", "rename", "newest",
    "theirs" or "ours". `mirror`: what is not in it is deleted. `edits` in a tree become
    new revisions, unless the store is new: there they could be damage. True: there too, and what they replaced is
    withdrawn, since the tree has it no more; False: nowhere, they are refused.
    `dry_run`: say of each item what would become of it, and write nothing. `max_bytes`: what a snapshot may hold at
    most (None: 1 GiB, or 200 times its file). See `holdfast.exchange.importing`.
    """
    from holdfast.exchange import importing
    from holdfast.exchange.merge import report

    wish = report.Wish(
        report.policy_of(on_conflict), mirror=mirror, dry_run=dry_run, exact=edits is False, edits=bool(edits),
        most_bytes=max_bytes,
    )  # fmt: skip
    settings = Settings(actor_of(actor), wait_s=_wait(path, lock_wait_s))
    return importing.import_path(os.fspath(path), source, settings, wish=wish, progress=progress)


@upheld_call
def rebuild_store(
    path: str | os.PathLike[str], *, lock_wait_s: float | None = None, progress: Progress | None = None
) -> RebuildReport:
    """Make the index of a store anew from journal and blobs; the old one may be missing or damaged."""
    from holdfast.care import rebuild as rebuilding

    return rebuilding.rebuild(os.fspath(path), Settings(actor_of(None), wait_s=_wait(path, lock_wait_s)), progress)


@upheld_call
def fsck_store(
    path: str | os.PathLike[str], *, quick: bool = False, portion: Portion | None = None,
    progress: Progress | None = None, on_finding: OnFinding | None = None,
) -> FsckReport:  # fmt: skip
    """Check a store without opening it: also one that `open` refuses. See `holdfast.care.fsck.check.check_path`.

    `quick`: presence and sizes, not every byte; `portion`: which contents are read. Nothing is written, but for the
    position of a check that goes on where the last one stopped (`Portion.during`).
    """
    from holdfast.care import fsck as checking

    return checking.check_path(os.fspath(path), quick=quick, portion=portion, progress=progress, on_finding=on_finding)


@upheld_call
def repair_store(
    path: str | os.PathLike[str], *, sources: Iterable[str | os.PathLike[str]] = (), dry_run: bool = False,
    lost_and_found: bool = False, accept_loss: bool = False, actor: Actor | str | None = None,
    lock_wait_s: float | None = None, progress: Progress | None = None,
) -> RepairReport:  # fmt: skip
    """Mend what `fsck` finds, also in a store that does not open; what cannot be mended is named. Deletes nothing.

    `sources`: stores and folders with original files, to take lost content from; digests decide. `dry_run`: say what
    would be done. `lost_and_found`: content that nothing refers to becomes artifacts in the collection `lost+found`;
    without it such files stay for gc. `accept_loss`: where the chain has a hole that no copy fills, what is behind it
    goes to quarantine (its content to `lost+found`), so that the store can be written to again.

    A sound store is not changed. Durable when it returns. Raises NotAStoreError, FormatTooNewError, InvalidValueError
    (a source that is not there), LockedError, NoSpaceError.
    """
    from holdfast.care import repair as repairing

    wanted = repairing.Wanted([os.fspath(one) for one in sources], dry_run, lost_and_found, accept_loss)
    settings = Settings(actor_of(actor), wait_s=_wait(path, lock_wait_s))
    return repairing.repair(os.fspath(path), settings, wanted, progress)


@upheld_call
def doctor(path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Versions, file system, locks and settings, as plain values; no content, names or metadata."""
    from holdfast.care import doctor as doctoring

    return doctoring.doctor(None if path is None else os.fspath(path))
