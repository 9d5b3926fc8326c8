"""Repair from end to end: look, mend under the locks what the findings name, look again, until nothing more mends.

Order: the marker and the folders, so that the store opens; the index from journal and old index; the journal from the
index; then, with the store open, both brought level, and the contents. Each step leaves a store that the next repair
can begin with: kill it anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.blobs import LocalBlobs
from holdfast.care.fsck import check_path
from holdfast.care.rebuild import rebuild_locked
from holdfast.care.repair import pieces
from holdfast.care.repair.contents import is_sound, keep_strangers, mend_contents
from holdfast.care.repair.identity import proven_id, restore_marker
from holdfast.care.repair.packs import mend_packs
from holdfast.care.repair.plan import HOLLOW, Plan
from holdfast.care.repair.report import Bench, RepairReport, Step
from holdfast.care.repair.segments import Beyond, mend_journal
from holdfast.care.repair.sources import Sources
from holdfast.engine import open as opening
from holdfast.engine import placing, recover, served
from holdfast.engine.handle import Handle
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.recover import Progress
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError, LockedError, NoSpaceError, NotAStoreError
from holdfast.formats import marker, paths
from holdfast.formats.marker import Marker
from holdfast.values import change
from holdfast.values import digest as digests
from holdfast.values.change import Head

_ROUNDS = 3
"""One round shows what the next has to mend: the contents that an index needs show when there is an index."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a repair may do. `sources`: stores or folders to take content from, and transactions if some are lost.

    `accept_loss`: transactions that no chain leads to any more go to quarantine, so that the store can be written to.
    """

    sources: Sequence[str] = field(default=())
    dry_run: bool = False
    lost_and_found: bool = False
    accept_loss: bool = False

    @property
    def keeps_strangers(self) -> bool:
        """Whether content that nothing refers to is taken in: always where a chain is cut, or gc would have it."""
        return self.lost_and_found or self.accept_loss


def repair(root: str, settings: Settings, wanted: Wanted, progress: Progress | None = None) -> RepairReport:
    """Mend the store in a folder, also one that does not open. See `holdfast.repair`."""
    root = os.path.abspath(root)
    opening.demand_no_backup(root)
    bench = Bench(root, settings.disk)
    sources = Sources(root, wanted.sources, settings.disk)
    before = after = None
    for _ in range(_ROUNDS):
        plan = Plan()
        try:
            after = check_path(root, progress=progress, on_finding=plan.take)
            if "marker-too-new" in plan.codes:
                opening.read_marker(root, settings.disk, served=True)  # says so
            before = before or after
            if wanted.dry_run:
                steps = tuple(_foretell(bench, plan, sources, wanted))
                return RepairReport(dry_run=True, steps=steps, before=before, after=after)
            taken = len(bench.steps)
            if _nothing_to_do(plan, wanted):
                break
            _mend(bench, plan, sources, settings=settings, wanted=wanted, progress=progress)
            if len(bench.steps) == taken:
                break
        finally:
            plan.close()
    else:
        after = check_path(root, progress=progress)
    assert before is not None
    assert after is not None
    return RepairReport(
        dry_run=False, steps=tuple(bench.steps), before=before, after=after,
        trouble=tuple(dict.fromkeys(bench.trouble)), gone=tuple(bench.gone),
    )  # fmt: skip


def _nothing_to_do(plan: Plan, wanted: Wanted) -> bool:
    return plan.stuck or (plan.empty and not (wanted.keeps_strangers and plan.strangers.count))


def _mend(
    bench: Bench, plan: Plan, sources: Sources, *, settings: Settings, wanted: Wanted, progress: Progress | None
) -> None:
    try:
        _mend_files(bench, plan, sources, settings=settings, wanted=wanted, progress=progress)
        _mend_open(bench, plan, sources, settings, wanted)
    except (LockedError, NoSpaceError):
        raise
    except HoldfastError as error:
        bench.trouble.append(error.message)


# -- with the store closed ---------------------------------------------------------------------------------------------


def _mend_files(
    bench: Bench, plan: Plan, sources: Sources, *, settings: Settings, wanted: Wanted, progress: Progress | None
) -> None:
    if not (plan.lost or plan.marker or plan.folders or plan.aside or plan.search or plan.renews_index or plan.journal):
        return
    locks = bench.path(paths.LOCKS)
    if bench.disk.stat(locks) is not None and not os.path.isdir(locks):
        bench.quarantine(paths.LOCKS, "it is not a folder")
    if bench.disk.mkdir(locks):
        bench.did("make-folder", f"{paths.LOCKS}/")
    writer = WriterLock(bench.path(paths.WRITER_LOCK))
    users = HandlesLock(bench.path(paths.HANDLES_LOCK))
    try:
        writer.acquire("repair", wait_s=settings.wait_s)
        try:
            _mend_folder(bench, plan, sources, users)
            _mend_chain(bench, plan, sources, settings=settings, wanted=wanted, users=users, progress=progress)
        finally:
            writer.release()
    finally:
        writer.close()
        users.close()


def _mend_folder(bench: Bench, plan: Plan, sources: Sources, users: HandlesLock) -> None:
    proven = proven_id(bench, sources) if plan.renews_marker else None
    if plan.search or any(path in paths.DATABASES for path, _ in plan.aside):
        users.acquire(shared=False, wait_s=1.0)
    for path, why in sorted(plan.aside, key=lambda one: one[0] != paths.QUARANTINE):  # first, where the others go
        if bench.disk.stat(bench.path(path)) is not None:
            bench.quarantine(path, why)
    for path in plan.search:
        for name in (path + suffix for suffix in ("", "-wal", "-shm", "-journal")):
            if bench.disk.stat(bench.path(name)) is not None:
                bench.quarantine(name, "damaged; the store can do without it")
    for folder in paths.FOLDERS:
        if bench.disk.mkdir(bench.path(folder)):
            bench.disk.fsync_dir(bench.root)
            bench.did("make-folder", folder + "/")
    if plan.renews_marker:
        restore_marker(bench, proven)


def _mend_chain(
    bench: Bench, plan: Plan, sources: Sources, *, settings: Settings, wanted: Wanted, users: HandlesLock,
    progress: Progress | None,
) -> None:  # fmt: skip
    try:
        found = opening.read_marker(bench.root, bench.disk, served=True)
    except NotAStoreError:
        return  # restore_marker has said so
    origin, whole = change.origin(found.store_id), True
    if plan.chain_is_short:
        whole = _is_whole_with(bench, plan, sources, origin)
        if not whole and not wanted.accept_loss:
            bench.trouble.append("transactions are lost that others build on: index and journal were left as they are")
            return
    if plan.renews_index or (plan.chain_is_short and (whole or plan.codes & HOLLOW)):
        _renew(bench, plan, sources, found, settings=settings, users=users, progress=progress)
        if not wanted.accept_loss and _is_hollow(bench, origin):
            bench.gone = ["every transaction: neither journal nor index has any"]
    on_server = marker.SERVED in found.features
    if (plan.journal or plan.lost) and (on_server or os.path.isfile(bench.path(paths.INDEX))):
        _mend_journal(bench, plan, origin, Beyond.ASIDE if wanted.accept_loss and plan.lost else Beyond.STOP)


def _is_hollow(bench: Bench, origin: Head) -> bool:
    """Whether there is content and no transaction any more that speaks of it."""
    index = served.index_of(bench.root, bench.disk)
    try:
        return (index.chain.head() or origin).next_seq == 1 and placing.has_content(bench.root, bench.disk)
    finally:
        index.close()


def _mend_journal(bench: Bench, plan: Plan, origin: Head, beyond: Beyond) -> None:
    index = served.index_of(bench.root, bench.disk)
    try:
        mend_journal(bench, index, origin, beyond=beyond)
        end = (index.chain.head() or origin).next_seq
        gone = [words for first, words in plan.lost if first >= end]
        if gone:
            bench.gone = [f"changes from {end} on"] if beyond is Beyond.ASIDE else gone
        index.checkpoint(force=True)
    finally:
        index.close()


def _is_whole_with(bench: Bench, plan: Plan, sources: Sources, origin: Head) -> bool:
    """Whether the chains of other stores fill the holes of ours, up to the end that its index shows."""
    index = served.index_of(bench.root, bench.disk)
    try:
        end = index.chain.head()
        with sources.chains() as others:
            own = [*pieces.streams(bench.root, bench.disk), recover.salvaged(index, [])]
            reached = recover.reach(origin, [*own, *others])
            return end is not None and reached >= end.next_seq and all(first < reached for first, _ in plan.lost)
    finally:
        index.close()


def _renew(
    bench: Bench, plan: Plan, sources: Sources, found: Marker, *, settings: Settings, users: HandlesLock,
    progress: Progress | None,
) -> None:  # fmt: skip
    # A newer copy of the chain is not asked for without need: it may have gone its own way since.
    pieced = pieces.streams(bench.root, bench.disk)
    hollow = bool(plan.lost) or not pieced or plan.journal_alone_and_torn
    if plan.codes & HOLLOW:
        users.acquire(shared=False, wait_s=1.0)  # the old index has to be kept, not written over
    own = pieced if hollow or plan.journal else []
    with sources.chains(of=None if hollow else []) as others:
        result, _ = rebuild_locked(bench.root, found, settings, users, progress, others=[*own, *others])
    bench.did("rebuild-index", paths.INDEX, f"{result.transactions} transactions, {result.changes} changes")
    if result.unreachable:
        bench.trouble += result.trouble


# -- with the store open -----------------------------------------------------------------------------------------------


def _mend_open(bench: Bench, plan: Plan, sources: Sources, settings: Settings, wanted: Wanted) -> None:
    strangers = wanted.keeps_strangers and plan.strangers.count > 0
    if not (plan.level or plan.contents.count or plan.packs or strangers):
        return
    handle = opening.open_store(bench.root, settings)
    try:
        if plan.level:
            _level(handle)
            bench.did("level", f"{paths.JOURNAL}/", "journal and index end with the same transaction")
        mend_contents(bench, handle, plan.contents, sources)
        if plan.packs:
            mend_packs(bench, handle, plan.packs)
        if strangers:
            keep_strangers(bench, handle, plan.strangers)
    finally:
        handle.close()


def _level(handle: Handle) -> None:
    """The last line of the journal can be right where the lines before it are damaged: then opening sees nothing."""
    handle.writer.acquire("repair", wait_s=handle.wait_s)
    try:
        recover.level_thoroughly(handle)
    finally:
        handle.writer.release()


# -- without doing it --------------------------------------------------------------------------------------------------


def _foretell(bench: Bench, plan: Plan, sources: Sources, wanted: Wanted) -> list[Step]:
    """The steps that would be taken, as far as they can be told from what is found now."""
    if plan.stuck:
        return []
    bench.steps += [Step("quarantine", path, why) for path, why in plan.aside]
    bench.steps += [Step("quarantine", path, "damaged; the store can do without it") for path in plan.search]
    bench.steps += [Step("make-folder", folder + "/") for folder in plan.folders]
    if plan.renews_marker and proven_id(bench, sources) is not None:
        bench.did("restore-marker", paths.MARKER, "its id is proven by the chain")
    if plan.renews_index:
        bench.did("rebuild-index", paths.INDEX, "from the journal and the transactions of the old index")
    if plan.journal and not plan.chain_is_short:
        bench.did("rewrite-segment", paths.JOURNAL + "/", "what is damaged or missing, from the index")
    if plan.level:
        bench.did("level", paths.JOURNAL + "/", "the one that is behind catches up")
    _foretell_contents(bench, plan, sources)
    bench.steps += [Step("rewrite-pack", paths.pack_file(name), "what can be read of it") for name in plan.packs]
    if wanted.keeps_strangers:
        for digest, _ in plan.strangers:
            bench.did("keep-in-lost-found", paths.blob_file(digests.raw(digest)))
    return bench.steps


def _foretell_contents(bench: Bench, plan: Plan, sources: Sources) -> None:
    sources.look_for(plan.contents)
    blobs = LocalBlobs(bench.root, bench.disk)
    for digest, _ in plan.contents:
        path = paths.blob_file(digests.raw(digest))
        if is_sound(blobs, digest):
            bench.did("register-blob", path, "its file is sound")
        elif where := sources.where(digest):
            bench.did("restore-blob", path, f"from {where}")
        else:
            if os.path.isfile(bench.path(path)):
                bench.did("quarantine", path, "damaged, and no source has it")
            bench.did("give-up-blob", path, "no source has it")
