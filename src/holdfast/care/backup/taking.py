"""Makes a generation: a snapshot of the index, then every file that it speaks of, then what says that it is whole.

What is written before the record of a generation is nobody's: killed at any moment, a destination has the generations
that it had, whole, or one more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from holdfast.care.backup import generations
from holdfast.care.backup.destination import Destination
from holdfast.care.backup.known import Held, Known, Noting
from holdfast.care.backup.passing import Passing
from holdfast.care.backup.report import BackupReport
from holdfast.care.backup.snapshot import copy_index
from holdfast.care.backup.source import MovedError, Snapshot, Source
from holdfast.care.backup.sources import sources
from holdfast.disk import Disk
from holdfast.engine import elsewhere, transaction
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import BackupRefusedError, CancelledError, ConflictError, InvalidValueError, StorageIOError
from holdfast.formats import generation, marker, paths
from holdfast.formats.generation import Entry, Generation, Lacking
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.index.stored import StoredFiles

_TRIES = 10
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """How to back up. `keep`: so many generations stay (None: all); `whole`: share no file with earlier ones."""

    keep: int | None = None
    whole: bool = False


def kept(keep: int | None) -> int | None:
    """How many generations are to stay; InvalidValueError for less than one."""
    if keep is not None and keep < 1:
        raise InvalidValueError(f"{keep} generations", where="keep", reason="less than one",
                                remedy="Keep at least one: the one that is being made.")  # fmt: skip
    return keep


@dataclass(slots=True)
class _Made:
    """What was done for one generation so far."""

    copied_files: int = 0
    copied_bytes: int = 0
    shared_files: int = 0
    shared_bytes: int = 0
    erased_seq: int = 0
    resumed: bool = False
    lacks: list[Lacking] = field(default_factory=list)


def backup(handle: Handle, destination: Destination, way: Way, progress: Progress | None = None) -> BackupReport:
    """Back up an open store. See `holdfast.Store.backup`."""
    handle.alive()
    if transaction.current(handle) is not None:
        raise ConflictError("a backup inside a transaction would have what is not committed",
                            remedy="End the transaction first.")  # fmt: skip
    if handle.blobs_elsewhere is not None:
        raise elsewhere.blobs_wanted_here(handle.root, "backup")
    began_s = time.monotonic()
    _demand_elsewhere(handle, destination)
    with destination.hold(handle.wait_s):
        _settle_journal(handle)
        earlier = _demand_own(handle, destination)
        again = 0
        while again < _TRIES:
            try:
                report = _Taking(handle, destination, way, progress, earlier).make()
                break
            except MovedError:
                again += 1
        else:
            raise StorageIOError(
                f"contents of {handle.root} were moved {_TRIES} times while they were copied", path=handle.root,
                operation="back up", errno=0, remedy="Back up again when neither gc nor repack is at work.",
            )  # fmt: skip
        removed = _prune(destination, way, report)
    left = tuple(number for number in report.erased_in if number not in removed)
    took_s = time.monotonic() - began_s
    return replace(report, removed=removed, erased_in=left, again=again, duration_s=took_s)


def _settle_journal(handle: Handle) -> None:
    """What was acknowledged is in the index's log; the journal is made durable too, as before every care."""
    if not handle.read_only:
        with handle.watching_syncs():
            handle.journal.sync()
            handle.keeper.sync()


def _demand_elsewhere(handle: Handle, destination: Destination) -> None:
    """Not inside the store, nor in the folder that is the store."""
    place = os.path.realpath(destination.where)
    root = os.path.realpath(handle.root)
    if os.path.commonpath([place, root]) == root and os.path.isabs(destination.where):
        raise BackupRefusedError(
            f"{destination.where} lies in the store itself", path=destination.where, reason="inside",
            remedy="Back up to another folder, best on another disk.",
        )  # fmt: skip


def _demand_own(handle: Handle, destination: Destination) -> Generation | None:
    """The newest generation, of which this store must be a continuation. BackupRefusedError."""
    if destination.read(generation.MARKER) is None:
        if not destination.is_empty():
            raise BackupRefusedError(
                f"{destination.where} is neither empty nor a backup", path=destination.where, reason="occupied",
                remedy="Name a new or an empty folder.",
            )  # fmt: skip
        destination.put(generation.MARKER, generation.encode_marker(handle.marker.store_id))
    found = generations.store_id(destination)
    if found != handle.marker.store_id:
        raise BackupRefusedError(
            f"{destination.where} holds backups of the store {found}, and this is {handle.marker.store_id}",
            path=destination.where, reason="other-store", remedy="Back up each store to a folder of its own.",
        )  # fmt: skip
    earlier = generations.newest(destination)
    if earlier is not None:
        _demand_continued(destination, earlier, handle.index)
    return earlier


def _demand_continued(destination: Destination, earlier: Generation, index: SqlIndex) -> None:
    if index.chain.passed(earlier.head.next_seq, earlier.head.hash) or earlier.head.next_seq == 1:
        return
    head, last = index.chain.head(), earlier.head.next_seq - 1
    end = head.next_seq - 1 if head else 0
    if end < last:
        raise BackupRefusedError(
            f"{destination.where} has changes up to {last}, and the store only up to {end}",
            path=destination.where, reason="older", seq=end + 1,
            remedy="The store was put back to an earlier state, or is an old copy. If it lost something, bring that "
            "back: `holdfast restore`. To keep this shorter history, back it up to a new folder.",
        )  # fmt: skip
    raise BackupRefusedError(
        f"change {last} is another one in {destination.where} than in the store: the history has forked",
        path=destination.where, reason="forked", seq=last,
        remedy="Two copies of the store were written to. Nothing was touched. Back this one up to a new folder, keep "
        "both, and see docs/procedures/forked.md.",
    )  # fmt: skip


def _prune(destination: Destination, way: Way, report: BackupReport) -> tuple[int, ...]:
    """Generations beyond those to be kept go, oldest first; none if the newest has not all that they have."""
    if way.keep is None or report.lacks:
        return ()
    surplus = generations.numbers(destination)[: -max(1, way.keep)]
    for number in surplus:
        generations.remove(destination, number)
    return tuple(surplus)


class _Taking:
    """One attempt at one generation."""

    def __init__(
        self, handle: Handle, destination: Destination, way: Way, progress: Progress | None, earlier: Generation | None
    ) -> None:
        self._handle, self._destination, self._way = handle, destination, way
        self._progress, self._earlier = progress, earlier
        self._number = (earlier.number if earlier else 0) + 1
        self._folder = generation.folder_of(self._number)
        self._has_leftovers = False
        self._made = _Made(erased_seq=earlier.erased_seq if earlier else 0)

    def make(self) -> BackupReport:
        """Everything, and a report. MovedError if a new snapshot is needed."""
        generations.clear(self._destination, but=self._number)
        self._has_leftovers = bool(self._destination.here(self._folder))
        with self._snapshot() as (snapshot, index_path):
            known = Known(self._destination, self._number, self._earlier, whole=self._way.whole)
            self._made.resumed = known.attempts > 0
            noting = Noting(self._destination, self._number, known.attempts + 1)
            try:
                self._copy_all(snapshot, known, noting)
            except (MovedError, KeyboardInterrupt, CancelledError):
                noting.keep()  # so that whoever goes on need not copy it again
                raise
            counts, head = StoredFiles(snapshot.index.database).counts(), snapshot.head
            snapshot.index.close()
            if self._is_unchanged(head.next_seq, noting.files):
                return self._discard()
            lines = self._finish_store(noting, index_path)
        one = Generation(
            self._number, head, time.time_ns() // 1000, noting.files, noting.bytes, lines, counts,
            self._made.erased_seq, tuple(self._made.lacks),
        )  # fmt: skip
        self._publish(one)
        return self._report(one, made=True)

    # -- the snapshot ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[tuple[Snapshot, str]]:
        """A copy of the index, where it is to lie if that is on this machine, closed at the end."""
        name = f"{self._folder}/{paths.INDEX}"
        with contextlib.ExitStack() as held:
            path = self._destination.local(name)
            if path is None:
                path = os.path.join(held.enter_context(scratch_folder()), paths.INDEX)
            for one in (paths.MARKER, *(paths.INDEX + more for more in ("", "-wal", "-shm", "-journal"))):
                self._destination.remove(f"{self._folder}/{one}")
            copy_index(self._handle, path)
            index = SqliteIndex(path, read_only=True)
            held.callback(index.close)
            yield Snapshot(self._handle, index, index.chain.head() or self._handle.origin), path

    # -- files -------------------------------------------------------------------------------------------------------

    def _copy_all(self, snapshot: Snapshot, known: Known, noting: Noting) -> None:
        total = StoredFiles(snapshot.index.database).count() + len(self._handle.journal.segments())
        for done, source in enumerate(sources(snapshot), 1):
            entry = self._one(source, known.of(source.path))
            if entry is not None:
                noting.add(entry)
            if self._progress:
                self._progress(done, max(total, done), "backing up", "files")

    def _one(self, source: Source, held: list[Held]) -> Entry | None:
        """A file in its place: as it was, shared, or copied; None if it is lost."""
        for one in held:
            if source.is_still(one.entry) and self._is_here(one):
                self._made.shared_files += 1
                self._made.shared_bytes += one.entry.size
                return one.entry
        proven = source.proven(held[-1].entry if held else None)
        self._made.erased_seq = max(self._made.erased_seq, proven.erased_seq)
        entry = None if proven.blocks is None else self._copied(proven.path or source.path, proven.blocks)
        self._made.lacks += proven.lacks
        if entry is None:
            return None
        return replace(entry, seen=generation.SUSPECT if proven.lacks else proven.seen)

    def _is_here(self, held: Held) -> bool:
        """Whether the file is in the new generation now."""
        name = f"{self._folder}/{held.entry.path}"
        if not held.here and not self._destination.share(held.name, name):
            return False
        return self._destination.size(name) == held.entry.size

    def _copied(self, path: str, blocks: Iterator[bytes]) -> Entry:
        with Passing(blocks) as passing:
            self._destination.write(f"{self._folder}/{path}", passing)
        self._made.copied_files += 1
        self._made.copied_bytes += passing.size
        return Entry(path, passing.size, passing.digest)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _is_unchanged(self, next_seq: int, files: int) -> bool:
        """Whether the store is as the newest generation has it: then there is nothing to make."""
        before = self._earlier
        top = 2  # marker and index are copied each time
        return (
            before is not None
            and not self._made.copied_files
            and before.head.next_seq == next_seq
            and before.files == files + top
            and not self._way.whole
            and list(before.lacks) == self._made.lacks
        )

    def _discard(self) -> BackupReport:
        assert self._earlier is not None
        self._destination.remove(self._folder)
        self._destination.remove(generation.drafts_of(self._number))
        return self._report(self._earlier, made=False)

    def _finish_store(self, noting: Noting, index_path: str) -> str:
        """Index and marker, then the list; its digest. All durable on return, and nothing says yet that it is whole.

        Of the files of the store the marker is the last: without it the folder opens as none.
        """
        data = marker.encode(marker.filed(self._handle.marker))
        noting.add(Entry(paths.MARKER, len(data), hashlib.sha256(data).hexdigest()))
        noting.add(self._index_entry(index_path))
        for folder in paths.FOLDERS:
            self._destination.folder(f"{self._folder}/{folder}")
        with Passing(noting.all()) as listed:
            self._destination.write(generation.list_of(self._number), listed)
        if self._has_leftovers:
            for name in list(generations.unlisted(self._destination, self._number)):
                self._destination.remove(name)
        self._destination.settle()
        self._copied(paths.MARKER, iter((data,)))
        self._destination.settle()
        return listed.digest

    def _index_entry(self, path: str) -> Entry:
        name = f"{self._folder}/{paths.INDEX}"
        if self._destination.local(name) is None:
            return self._copied(paths.INDEX, _of_file(self._handle.disk, path))
        with Passing(self._destination.blocks(name)) as passing:
            for _ in passing:
                pass
        self._made.copied_files += 1
        self._made.copied_bytes += passing.size
        return Entry(paths.INDEX, passing.size, passing.digest)

    def _publish(self, one: Generation) -> None:
        self._destination.put(generation.record_of(self._number), generation.encode_record(one))
        self._destination.remove(generation.drafts_of(self._number))

    def _report(self, one: Generation, *, made: bool) -> BackupReport:
        done, destination = self._made, self._destination
        before = [generations.read(destination, n) for n in generations.numbers(destination) if n != one.number]
        quarantine = os.path.join(self._handle.root, paths.QUARANTINE)
        return BackupReport(
            destination.where, one.number, made, one.head.next_seq - 1, one.head.hash.hex(), done.copied_files,
            done.copied_bytes, done.shared_files, done.shared_bytes, done.resumed, 0, 0.0, tuple(done.lacks),
            erased_in=tuple(old.number for old in before if old.head.next_seq <= one.erased_seq),
            left_out=len(self._handle.disk.listdir(quarantine)),
        )  # fmt: skip


def _of_file(disk: Disk, path: str) -> Iterator[bytes]:
    fd = disk.open_read(path)
    try:
        offset = 0
        while block := disk.pread(fd, _BLOCK, offset, path):
            yield block
            offset += len(block)
    finally:
        disk.close(fd)
