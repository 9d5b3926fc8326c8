"""Puts similar content together: revisions of one artifact in one frame, and neighbours by type and name for the rest.

Planned by SQL (index/planned.py), read and compressed by two threads ahead of the writer, moved in batches of a
transaction each (engine/solid.py). What is superseded stays until gc's grace period is over. Killed or interrupted
anywhere, every row says where its bytes are, and the next repack goes on with what is left.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from holdfast.blobs.packs import PackedBlobs
from holdfast.care import compacting
from holdfast.care.repack_sources import is_due, sources
from holdfast.engine import configuration, repacking
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.solid import Filled, Mover
from holdfast.engine.transaction import current, write
from holdfast.errors import ConflictError, DamageError
from holdfast.index.planned import PlannedRow, PlanTotals
from holdfast.values import digest as digests

SOLID_BYTES = 2 * 1024 * 1024
"""Revisions of one artifact share a frame up to so many bytes of content. Measured: docs/design/019."""

NEIGHBOUR_BYTES = 352 * 1024
"""Contents of different artifacts share a frame up to so many: to read one, all before it are decompressed. These are a
quarter of it at the mean, for what is small comes first (docs/design/057, 060)."""

LOOSE_UP_TO = SOLID_BYTES // 2
"""Larger files stay as they are: two of them would not share a frame."""

FRAME_MEMBERS = 2_048
"""And up to so many contents: a header lists all contents of a batch."""

_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_MEMBERS = 4_096
_AHEAD_BYTES = 8 * 1024 * 1024
_WORKERS = 2
"""Two threads read and compress, whatever the machine: each takes memory. The bytes do not depend on it."""


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What repack did, or (`dry_run`) would do. Sizes in bytes.

    `contents`, `content_bytes`: moved, and their size; `stored_before`: what they took, as the frames that begin with
    one of them and the loose files; `stored_after`: the new packs; `packs`: new ones; `packs_superseded`: old ones that
    nothing is in any more, `loose_superseded`: files with a successor: gc removes both after its grace period.
    `unreadable`: contents left where they are because they are damaged or missing: fsck names them.
    """

    dry_run: bool
    contents: int = 0
    content_bytes: int = 0
    stored_before: int = 0
    stored_after: int = 0
    packs: int = 0
    packs_superseded: int = 0
    loose_superseded: int = 0
    unreadable: int = 0


def preview(handle: Handle) -> RepackReport:
    """What `repack` would take in now; what comes out is not known before. Writes nothing."""
    handle.alive()
    blobs = repacking.packed(handle)
    if blobs is None or not blobs.pack_up_to:
        return RepackReport(dry_run=True)
    try:
        found = _planned(handle, blobs)
    finally:
        handle.index.physical.repack_plan.drop()
    return RepackReport(
        dry_run=True, contents=found.contents, content_bytes=found.content_bytes, stored_before=found.stored_bytes,
        packs_superseded=found.packs, loose_superseded=found.loose,
    )  # fmt: skip


def repack(handle: Handle, *, progress: Progress | None = None) -> RepackReport:
    """Repack what was not repacked yet. Each batch is durable once it is done; a second run finds nothing to do.

    Needs room for the new packs beside the old ones. Raises ConflictError inside a transaction, ReadOnlyError,
    LockedError, NoSpaceError, StorageIOError, IndexDamagedError; what was moved by then stays moved.
    """
    handle.writable()
    if current(handle) is not None:
        raise ConflictError(
            "repack inside an open transaction", remedy="Repack after the transaction has ended; nothing was moved."
        )
    blobs = repacking.packed(handle)
    if blobs is None or not blobs.pack_up_to:
        return RepackReport(dry_run=False)
    handle.settle_packs()
    blobs.writer.rest()
    try:
        found = _planned(handle, blobs)
        return _Run(handle, blobs, found, progress).run() if found.contents else RepackReport(dry_run=False)
    finally:
        handle.index.physical.repack_plan.drop()


def due(handle: Handle) -> bool:
    """Whether so much was added since the last repack that gc does one."""
    blobs = repacking.packed(handle)
    limit = configuration.value("repack_from", root=handle.root, disk=handle.disk)
    return blobs is not None and bool(blobs.pack_up_to) and is_due(handle.index.physical.packs.each(), limit)


def _planned(handle: Handle, blobs: PackedBlobs) -> PlanTotals:
    wanted = sources(handle, blobs)
    return handle.index.physical.repack_plan.make(wanted, loose_up_to=LOOSE_UP_TO, alone_up_to=blobs.pack_up_to)


class _Run:
    """One repack. Memory: a batch, what is read and compressed ahead, and the compressors."""

    def __init__(self, handle: Handle, blobs: PackedBlobs, found: PlanTotals, progress: Progress | None) -> None:
        self._handle = handle
        self._blobs = blobs
        self._found = found
        self._progress = progress
        self._unreadable = 0

    def run(self) -> RepackReport:
        """All batches, then a date for what is empty now."""
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="holdfast-repack") as pool:
            mover = Mover(self._handle, self._blobs, each=pool.map)
            try:
                self._move_all(pool, mover)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                mover.finish()
        with write(self._handle, what="repack") as unit:
            emptied = self._handle.index.physical.packs.condemn(unit.now_us)
        compacting.after_moving(self._handle, mover.moved)
        return RepackReport(
            dry_run=False, contents=mover.moved, content_bytes=mover.moved_bytes,
            stored_before=self._found.stored_bytes, stored_after=mover.writer.stored_bytes, packs=mover.writer.packs,
            packs_superseded=emptied, loose_superseded=mover.loose, unreadable=self._unreadable,
        )  # fmt: skip

    def _move_all(self, pool: ThreadPoolExecutor, mover: Mover) -> None:
        waiting: deque[tuple[list[PlannedRow], Future[Filled]]] = deque()
        held = 0
        for rows in _frames(self._handle.index.physical.repack_plan.rows()):
            waiting.append((rows, pool.submit(self._filled, rows)))
            held += _size(rows)
            while held > _BATCH_BYTES + _AHEAD_BYTES:
                held -= self._move(waiting, mover)
        while waiting:
            self._move(waiting, mover)

    def _move(self, waiting: deque[tuple[list[PlannedRow], Future[Filled]]], mover: Mover) -> int:
        """Move the next batch; how many bytes of content that was."""
        batch: list[Filled] = []
        size = members = 0
        while waiting and (not batch or (size < _BATCH_BYTES and members < _BATCH_MEMBERS)):
            rows, made = waiting.popleft()
            filled = made.result()
            self._unreadable += len(rows) - len(filled.rows)
            size, members = size + _size(rows), members + len(rows)
            if filled.rows:
                batch.append(filled)
        if batch:
            mover.move(batch, lambda: _commit(self._handle))
        if self._progress:
            self._progress(mover.moved, self._found.contents, "repacking", "contents")
        return size

    def _filled(self, rows: list[PlannedRow]) -> Filled:
        """Read what is to share a frame, check each digest, compress; without what cannot be read. In a worker."""
        frames: dict[tuple[str, int], bytes] = {}
        kept: list[PlannedRow] = []
        contents: list[bytes] = []
        for row in rows:
            with contextlib.suppress(DamageError):
                contents.append(self._content(row, frames))
                kept.append(row)
        filled = Filled(tuple(kept), tuple(contents))
        return filled.compressed() if kept else filled

    def _content(self, row: PlannedRow, frames: dict[tuple[str, int], bytes]) -> bytes:
        """A content, checked against its digest. `frames`: those already read. BlobMissingError, BlobDamagedError."""
        spot = row.spot
        with contextlib.suppress(DamageError):
            if spot is not None:
                whole = frames.get((spot.pack, spot.offset))
                if whole is None:
                    whole = self._blobs.packs.frame(spot.pack, spot.offset, spot.stored_bytes)
                    frames[spot.pack, spot.offset] = whole
                content = whole[spot.start : spot.start + spot.size]
                if digests.text(hashlib.sha256(content).digest()) == row.digest:
                    return content
        return self._blobs.read(row.digest)  # loose; or moved meanwhile; or before the damage in a frame; or an error


def _frames(rows: Iterator[PlannedRow]) -> Iterator[list[PlannedRow]]:
    """The contents of a plan, cut into frames."""
    kept: list[PlannedRow] = []
    held = 0
    for row in rows:
        if kept and (len(kept) >= FRAME_MEMBERS or _ends(kept[-1], row, held)):
            yield _small_first(kept)
            kept, held = [], 0
        kept.append(row)
        held += row.size
    if kept:
        yield _small_first(kept)


def _small_first(rows: list[PlannedRow]) -> list[PlannedRow]:
    """Artifacts by the size of what they bring; revisions of one stay together, newest first."""
    return sorted(rows, key=lambda row: row.whole)


def _size(rows: list[PlannedRow]) -> int:
    return sum(row.size for row in rows)


def _ends(last: PlannedRow, following: PlannedRow, held: int) -> bool:
    """Whether a frame that holds so many bytes ends before a content."""
    if last.artifact == following.artifact:
        return held + following.size > SOLID_BYTES
    return held + following.whole > NEIGHBOUR_BYTES


@contextmanager
def _commit(handle: Handle) -> Iterator[object]:
    with write(handle, what="repack") as unit:
        yield unit
