"""Frees what nothing refers to, safely beside writers: condemn, wait out the grace period, look again, remove.

Steps, each of which a put may come between:
0. cut        large contents that are stored whole though a later revision is in chunks (wholes.py)
1. condemn    blobs that no kept revision refers to get a date in their row; those referred to again lose it
2. sweep      what was condemned before the grace period and is still unreferenced: file removed, then its row
3. gather     many small blobs with a file each are appended to packs, which supersede the files (gathering.py)
4. strays     files without a row (a transaction that never committed), and superseded ones, older than the grace period
5. packs      those with much garbage are rewritten, those that nothing is in any more removed (packing.py),
              and what was added is repacked once it is much (repack.py)
6. leftovers  temporary files of dead writers; plain journal segments whose sealed successor is old enough

Each removal happens under the writer lock, after the rows were read again. A put that finds a condemned row looks at
the file and revives it or publishes anew, under the same lock. gc refuses when it cannot be sure: a chain that does
not verify, rows that are not what was written, a folder that cannot be read, a clock that jumped (care/certainty.py).
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from holdfast.care import chunking, gathering, packing, repack, wholes
from holdfast.care.certainty import CLOCK_FACT, clock_fact, prove_chain, prove_clock, prove_rows
from holdfast.engine import chunk_marks, derive, feeding
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.transaction import current, write
from holdfast.errors import ConflictError, NoSpaceError
from holdfast.formats import paths

GRACE_S = 14 * 24 * 3600.0
LEFTOVER_S = 24 * 3600.0
"""Temporary files untouched for so long are nobody's. Whatever the grace period: a live writer may need younger."""

_BATCH = 500
_SEALING = "seal-"


@dataclass(frozen=True, slots=True)
class GcReport:
    """What gc did, or (`dry_run`) would do. Sizes in bytes.

    `condemned`: newly condemned blobs; `waiting`: condemned ones still within the grace period; `removed`,
    `freed_bytes`: blobs removed; `gathered`: small ones that had a file each and are in packs now; `strays`: files
    removed that have no row, or that a pack has superseded; `leftovers`: temporary files and superseded
    journal segments removed; `sealed`: journal segments compressed. A blob in a pack frees its bytes only with
    the pack; so does a chunk, `chunks` of which lost their rows. `packs_rewritten`: packs whose members were written
    again without the garbage; `packs_removed`: files. `repacked`: contents that were put together with similar ones.
    `cut`: large ones, stored whole till now, that share chunks with a later revision; their files go as `strays`.
    `dry_run` counts all that may share some.
    """

    dry_run: bool
    condemned: int = 0
    waiting: int = 0
    removed: int = 0
    freed_bytes: int = 0
    gathered: int = 0
    strays: int = 0
    leftovers: int = 0
    sealed: int = 0
    packs_rewritten: int = 0
    packs_removed: int = 0
    chunks: int = 0
    repacked: int = 0
    cut: int = 0


class Gc:
    """One garbage collection. `run` takes all steps; each is a method, so that tests can stop between them."""

    def __init__(
        self, handle: Handle, *, grace_s: float = GRACE_S, loose_many: int | None = None,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        """`loose_many`: so many small blobs with a file each are too many; None: as usual."""
        self._handle = handle
        self._grace_s = grace_s
        self._loose_many = gathering.LOOSE_MANY if loose_many is None else loose_many
        self._progress = progress
        self.report = GcReport(dry_run=False)
        self._sure = False

    def run(self) -> GcReport:
        """All steps in order."""
        self.prove()
        self._handle.settle_packs()
        self.cut()
        try:
            self.condemn()
        except NoSpaceError:
            self.make_room()
            self.condemn()
        try:
            self.sweep()
            self.gather()
            self.strays()
            self.packs()
            self.leftovers()
        finally:
            if self.report.removed:
                feeding.forget(self._handle)  # its words must not outlive what was purged; it may take room to empty it
            if self._grace_s <= 0:
                self._forget_log()
        return self.report

    def _forget_log(self) -> None:
        """Bytes of small contents stand in the index's log until a checkpoint: what goes at once goes from there."""
        handle = self._handle
        handle.writer.acquire("gc: log", wait_s=handle.wait_s)
        try:
            with handle.watching_syncs():
                handle.journal.settle()
                handle.index.checkpoint(force=True)
        finally:
            handle.writer.release()

    def make_room(self) -> None:
        """Where not a page is left to write to: what was condemned before goes first. Its files need none to go."""
        with contextlib.suppress(NoSpaceError):
            self.sweep()
        done = packing.remove_condemned(self._handle, before_us=self._before_us())
        self.report = replace(
            self.report,
            packs_removed=self.report.packs_removed + done.removed,
            freed_bytes=self.report.freed_bytes + done.freed_bytes,
        )

    def preview(self) -> GcReport:
        """What `run` would do now, if nothing changed; writes nothing."""
        self.prove()
        physical = self._handle.index.physical
        known, _ = physical.count_condemned()
        unreferenced, everything = physical.unreferenced()
        # Without a grace period `run` removes what it has just condemned, and what it has just sealed.
        at_once = self._grace_s <= 0
        due, freed = (unreferenced, everything) if at_once else physical.count_condemned(before_us=self._before_us())
        strays = [size for _, size in self._stray_files()]
        strays += [size for _, _, size in chunking.strays(self._handle, before_us=self._before_us())]
        whole = [place.stored_bytes for _, place in wholes.due(self._handle)]
        strays += whole if at_once else []
        gathered, superseded = gathering.due(self._handle, many=self._loose_many)
        sealed = len(self._handle.journal.sealable())
        packs = packing.preview(self._handle, before_us=self._before_us(), at_once=at_once)
        return GcReport(
            dry_run=True,
            condemned=unreferenced - known,
            waiting=unreferenced - due,
            removed=due,
            freed_bytes=freed + sum(strays) + packs.freed_bytes + (superseded if at_once else 0),
            gathered=gathered,
            strays=len(strays) + (gathered if at_once else 0),
            leftovers=len({*self._leftover_files(), *self._interrupted()}) + (sealed if at_once else 0),
            sealed=sealed,
            packs_rewritten=packs.rewritten,
            packs_removed=packs.removed,
            chunks=physical.chunks.count_due(before_us=self._before_us(), at_once=at_once),
            repacked=repack.preview(self._handle).contents if repack.due(self._handle) else 0,
            cut=len(whole),
        )

    def prove(self) -> None:
        """Refuse to work on a store that cannot be trusted wholly. Nothing has been removed then.

        ChainBrokenError: the journal does not verify, or the index is behind it; IndexDamagedError: a row or page is
        not what was written, or a row is missing; ConflictError: the clock has jumped, or a transaction of this thread
        is open (what it gave up is given up only when it has committed); StorageIOError: something cannot be read.
        """
        handle = self._handle
        handle.alive()
        if current(handle) is not None:
            raise ConflictError(
                "gc inside an open transaction", remedy="Run gc after the transaction has ended; nothing was removed."
            )
        prove_chain(handle)
        prove_clock(handle)
        prove_rows(handle)
        for _ in self._leftover_files():
            pass
        for _ in handle.blobs.walk():  # a folder that cannot be read stops gc before its first removal
            pass
        chunk_marks.mark(handle)

    def cut(self) -> None:
        """Step 0, so that with no grace period the files go at once. Where there is no room the next gc does it."""
        with contextlib.suppress(NoSpaceError):
            cut = wholes.cut(self._handle, done=lambda count: self._show(count, "cutting contents"))
            self.report = replace(self.report, cut=cut)

    def condemn(self) -> None:
        """Step 1."""
        with write(self._handle, what="gc: condemn") as unit:
            self._handle.index.physical.acquit()
            count = self._handle.index.physical.condemn(unit.now_us)
            chunk_marks.catch_up(self._handle)
            self._handle.index.physical.chunks.acquit()
            self._handle.index.physical.chunks.condemn(unit.now_us)
            self._handle.index.set_meta(CLOCK_FACT, clock_fact())
        self.report = replace(self.report, condemned=count)

    def sure(self) -> None:
        """Before the first file goes: "nothing refers to it" is an answer of rows and pages. IndexDamagedError."""
        if not self._sure:
            self._handle.index.prove_rows(("record", "content", "revision", "blob", "chunk", "container"))
            self._sure = True

    def sweep(self) -> None:
        """Step 2, in batches, each under the writer lock for a short time."""
        before_us = self._before_us()
        if self._handle.index.physical.count_condemned(before_us=before_us)[0]:
            self.sure()
        while True:
            with write(self._handle, what="gc: sweep"):
                batch = self._handle.index.physical.condemned(before_us=before_us, limit=_BATCH)
                for place in batch:
                    self._handle.blobs.delete(place.digest)
                    self._handle.index.physical.remove(place.key)
            self.report = replace(
                self.report,
                removed=self.report.removed + len(batch),
                freed_bytes=self.report.freed_bytes + sum(place.stored_bytes for place in batch if place.spot is None),
            )
            self._show(self.report.removed, "removing blobs")
            if len(batch) < _BATCH:
                break
        self._sweep_chunks(before_us)
        waiting, _ = self._handle.index.physical.count_condemned()
        self.report = replace(self.report, waiting=waiting)

    def _sweep_chunks(self, before_us: int) -> None:
        chunks = self._handle.index.physical.chunks
        while chunks.count_due(before_us=before_us, at_once=False):
            self.sure()
            with write(self._handle, what="gc: sweep"):
                chunk_marks.catch_up(self._handle)
                gone = chunks.sweep(before_us=before_us, limit=_BATCH)
            self.report = replace(self.report, chunks=self.report.chunks + gone)
            self._show(self.report.chunks, "removing chunks")
            if not gone:
                break

    def gather(self) -> None:
        """Step 3."""
        gathered = gathering.gather(
            self._handle, many=self._loose_many, done=lambda count: self._show(count, "appending blobs to packs")
        )
        self.report = replace(self.report, gathered=gathered)

    def strays(self) -> None:
        """Step 4: a file without a row, that nothing speaks of, belongs to a transaction that never was.

        Looked at again under the lock. "Not found" alone is no reason: a row may be missing by damage.
        """
        for digest, size in self._stray_files():
            self.sure()
            with write(self._handle, what="gc: strays"):
                gone = self._is_stray(digest) and self._handle.blobs.delete(digest)
            if gone:
                self._count_stray(size)
        for path, digest, size in chunking.strays(self._handle, before_us=self._before_us()):
            self.sure()
            with write(self._handle, what="gc: strays"):
                there = os.path.join(self._handle.root, path)
                # Another gc may have been here since the folder was looked at.
                if self._handle.disk.stat(there) is not None and chunking.is_stray(self._handle, path, digest):
                    self._handle.disk.unlink(there)
                    self._count_stray(size)

    def _count_stray(self, size: int) -> None:
        self.report = replace(self.report, strays=self.report.strays + 1, freed_bytes=self.report.freed_bytes + size)

    def packs(self) -> None:
        """Step 5. Repacking comes first: with no grace period what it empties goes at once."""
        if repack.due(self._handle):
            with contextlib.suppress(NoSpaceError):  # it needs room, gc makes some: the next gc tries again
                again = repack.repack(self._handle, progress=self._progress)
                self.report = replace(self.report, repacked=again.contents)
        done = packing.collect(self._handle, before_us=self._before_us(), at_once=self._grace_s <= 0)
        self.report = replace(
            self.report,
            packs_rewritten=done.rewritten,
            packs_removed=self.report.packs_removed + done.removed,
            freed_bytes=self.report.freed_bytes + done.freed_bytes,
        )

    def leftovers(self) -> None:
        """Step 6. Journal segments are sealed first, so that space is gained in time."""
        with write(self._handle, what="gc: leftovers"):
            removed = 0
            before = self._interrupted()
            sealed = self._handle.journal.seal(f"{_SEALING}{os.getpid()}-{time.time_ns()}.tmp")
            for path in dict.fromkeys([*before, *self._leftover_files()]):
                with contextlib.suppress(FileNotFoundError):  # its writer lived, and has removed it
                    self._handle.disk.unlink(path)
                    removed += 1
        self.report = replace(self.report, leftovers=removed, sealed=sealed)

    def _before_us(self) -> int:
        return self._handle.clock.now_us() - int(self._grace_s * 1e6)

    def _stray_files(self) -> Iterator[tuple[str, int]]:
        limit = self._before_us()
        for entry in self._handle.blobs.walk():
            if entry.digest is not None and entry.modified_us <= limit and self._is_stray(entry.digest):
                yield entry.digest, entry.stored_bytes

    def _is_stray(self, digest: str) -> bool:
        physical = self._handle.index.physical
        place = physical.place(digest)
        return place.spot is not None if place is not None else not physical.wanted(digest)

    def _leftover_files(self) -> Iterator[str]:
        limit = self._handle.clock.now_us() - int(LEFTOVER_S * 1e6)
        folder = os.path.join(self._handle.root, paths.TMP)
        for name in self._handle.disk.listdir(folder):
            path = os.path.join(folder, name)
            facts = self._handle.disk.stat(path)
            if facts is not None and stat.S_ISREG(facts.st_mode) and facts.st_mtime_ns // 1000 <= limit:
                yield path
        yield from self._handle.journal.expired(self._grace_s)

    def _interrupted(self) -> list[str]:
        """What a rebuild or a gc that was killed left in `tmp/`, however young: both work under the writer lock."""
        folder = os.path.join(self._handle.root, paths.TMP)
        sealing = [name for name in self._handle.disk.listdir(folder) if name.startswith(_SEALING)]
        return derive.abandoned(self._handle.root, self._handle.disk) + [os.path.join(folder, n) for n in sealing]

    def _show(self, done: int, what: str) -> None:
        if self._progress:
            self._progress(done, None, what, "blobs")
