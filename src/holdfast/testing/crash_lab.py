"""The crash lab: records a workload, builds what a power loss may leave of it, and compares it with the ledger."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast import disk as disks
from holdfast.blobs.packs import writer
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError, NotAStoreError
from holdfast.exchange import folder as folders
from holdfast.formats import paths
from holdfast.index import sqlite
from holdfast.journal import Journal
from holdfast.store import Store
from holdfast.testing import crash_choices, crash_states
from holdfast.testing.crash_choices import CORNERS
from holdfast.testing.crash_states import Point, State
from holdfast.testing.ledger import Expected, Ledger
from holdfast.testing.recording import Recording, recording
from holdfast.testing.workbench import Bench, Workload
from holdfast.values.change import Actor

SEGMENT_BYTES = 6_000
CHECKPOINT_BYTES = 150_000
BATCH_ITEMS = 12
PACK_APPENDS = 9
FEW = 8
"""Of a crash point with at most so many legal states (or three times its share of the tries) every one is tried."""


@dataclass(slots=True)
class CrashReport:
    """What was tried. `log2_legal`: about how many states are legal, as a power of two; `tried`: all different.

    `points`: crash points there are; `visited`: those of which a state was tried; `whole`: those of which every legal
    state was; `nested`: how many states were of a crash within the recovery from a crash.
    """

    workload: str
    seed: int
    operations: int
    points: int
    log2_legal: float = 0.0
    visited: int = 0
    whole: int = 0
    tried: int = 0
    corners: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = f"at {self.visited} points; all there are at {self.whole}; {self.corners} corners; seed {self.seed}"
        return (
            f"{self.workload}: {self.operations} operations, {self.points} crash points, about "
            f"2^{self.log2_legal:.0f} legal states, {self.tried} tried ({how}), {len(self.failures)} bad"
        )


@dataclass(slots=True)
class Trace:
    """A recorded workload with its ledger.

    `fixed`: what is expected at every point, instead of what the ledger says. `sound`: what recovered stores that
    passed every check looked like; one with the same bytes in every file is not put through all of them again.
    """

    workload: Workload
    recording: Recording
    ledger: Ledger
    beside: str
    fixed: Expected | None = None
    sound: set[bytes] = field(default_factory=set)

    def expected(self, at: int) -> Expected:
        """What must be there after the first `at` events."""
        return self.fixed or self.ledger.expected(self.recording.events, at)


def record(workload: Workload, base: str, *, seed: int) -> Trace:
    """Run a workload once in the folder `base`, on a real disk, and write down what it did."""
    root, beside = os.path.join(base, "store"), os.path.join(base, "beside")
    os.mkdir(beside)
    ledger = Ledger(lambda _: None)
    bench = Bench(root, beside, workload.settings(), ledger, random.Random(seed))  # noqa: S311
    with small_sizes(), _file_system_of(workload):
        workload.before(bench)
        ledger.start = dict(ledger.now)
        with recording(root) as disk:
            bench.settings = workload.settings(disk)
            ledger.say = disk.mark
            workload.run(bench)
            disk.observe()
    return Trace(workload, disk.recording, ledger, beside)


@contextlib.contextmanager
def small_sizes() -> Iterator[None]:
    """Segments, checkpoints and batches come often in a short workload."""
    defaults = Journal.__init__.__kwdefaults__ or {}
    before = defaults["segment_bytes"], sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS, writer.PACK_APPENDS
    defaults["segment_bytes"], sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS, writer.PACK_APPENDS = (
        SEGMENT_BYTES,
        CHECKPOINT_BYTES,
        BATCH_ITEMS,
        PACK_APPENDS,
    )
    try:
        yield
    finally:
        defaults["segment_bytes"], sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS, writer.PACK_APPENDS = before


@contextlib.contextmanager
def _scratch_in(base: str) -> Iterator[None]:
    """Temporary folders are made where the states are: in memory, if they are."""
    before, tempfile.tempdir = tempfile.tempdir, base
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextlib.contextmanager
def _file_system_of(workload: Workload) -> Iterator[None]:
    """Where the workload wants one, the store is on a network file system, as far as it can tell."""
    real = disks.on_network
    if workload.network:
        disks.on_network = _always
    try:
        yield
    finally:
        disks.on_network = real


def _always(path: str) -> bool:
    return bool(path)


# -- trying states -----------------------------------------------------------------------------------------------------


def explore(trace: Trace, base: str, *, tries: int, seed: int, enough: int = 1 << 30) -> CrashReport:
    """Try `tries` different states, spread over all crash points; stop when `enough` of them were bad.

    With as many tries as crash points, each of them has its turn. Where fewer states are legal than asked for, all are
    tried.
    """
    rnd = random.Random(seed)  # noqa: S311
    events = len(trace.recording.events)
    report = CrashReport(trace.workload.name, seed, trace.recording.operations, events + 1)
    run = _Run(trace, base, rnd, report, tries=tries, enough=enough)
    with _scratch_in(base), _file_system_of(trace.workload):
        before = -1
        while before < report.tried < tries and len(report.failures) < enough:
            before = report.tried
            run.once_over()
    return report


@dataclass(slots=True)
class _Run:
    trace: Trace
    base: str
    rnd: random.Random
    report: CrashReport
    tries: int
    enough: int
    rounds: int = 0
    seen: set[tuple[int, int, int]] = field(default_factory=set)

    def once_over(self) -> None:
        """One way along the crash points, each of which gets its share of the tries that are left."""
        recorded, report = self.trace.recording, self.report
        ats = _spread(len(recorded.events), self.tries - report.tried, self.rnd)
        bits: list[float] = []
        for number, found in enumerate(crash_states.points(recorded, ats)):
            bits.append(crash_choices.log2_states(found))
            left, to_come = self.tries - report.tried, len(ats) - number
            share = left / to_come
            whole = self.rounds == 0 and 2 ** min(bits[-1], 60) <= min(max(3 * share, FEW), left - to_come)
            report.visited += self.rounds == 0
            for state in crash_choices.every(found) if whole else self._some(found, number, share):
                self._try(state)
                if report.tried >= self.tries or len(report.failures) >= self.enough:
                    break
            else:
                report.whole += whole
            if len(report.failures) >= self.enough:
                break
        if self.rounds == 0:
            top = max(bits)
            report.log2_legal = top + math.log2(
                sum(2.0 ** (b - top) for b in bits) * (len(recorded.events) + 1) / len(ats)
            )
        self.rounds += 1

    def _some(self, found: Point, number: int, share: float) -> Iterator[State]:
        """Corners and draws in turn: a different corner first at each point."""
        count = max(1, int(share) + (self.rnd.random() < share % 1))
        for turn in range(count):
            place = self.rounds * 5 + number + turn
            if place % 2 == 0 and (self.rounds * count + turn) // 2 < len(CORNERS):
                self.report.corners += 1
                corner = CORNERS[place // 2 % len(CORNERS)]
                state = crash_choices.corner(found, corner)
                yield crash_choices.corner(found, "all lost") if is_spared(self.trace, state) else state
            else:
                yield crash_choices.drawn(found, self.rnd)

    def _try(self, state: State) -> None:
        expected = self.trace.expected(state.at)
        mark = (state.fingerprint(), expected.returned, len(expected.coming))
        if mark in self.seen:
            return
        self.seen.add(mark)
        self.report.tried += 1
        wrong = examine(self.trace, state, self.base)
        if wrong:
            self.report.failures.append(f"{describe(self.trace, state)}: {'; '.join(wrong)}")


def is_spared(trace: Trace, state: State) -> bool:
    """Whether the index must not go in a state: with the journal damaged, or still empty, it is the only copy.

    A store with content and without any transaction is refused, by design: it could be one that lost all of them.
    """
    written = any(name.startswith(f"{paths.JOURNAL}/") and data for name, data in state.files)
    only_copy = bool(trace.fixed) or trace.workload.needs_index or not written
    return state.origin == "index gone" and only_copy


def _sum(bits: list[float]) -> float:
    top = max(bits)
    return top + math.log2(sum(2.0 ** (b - top) for b in bits))


def _spread(events: int, tries: int, rnd: random.Random) -> list[int]:
    """Crash points in order: all if there are enough tries, else spread evenly."""
    wanted = max(1, min(events + 1, tries))
    step = (events + 1) / wanted
    return sorted({min(events, int(n * step + rnd.random() * step)) for n in range(wanted)})


def describe(trace: Trace, state: State) -> str:
    """Which crash point a state belongs to, in words that help to find it."""
    last = trace.recording.events[state.at - 1] if state.at else "nothing"
    said = getattr(last, "how", "") or f"{getattr(last, 'kind', '')} {getattr(last, 'path', '')}"
    return f"{trace.workload.name}, after event {state.at} ({said}), {state.origin}"


def examine(trace: Trace, state: State, base: str) -> list[str]:
    """Build a state, open it, check it, use it; what is wrong with it, in words; empty if nothing is."""
    place = tempfile.mkdtemp(prefix="state-", dir=base)
    root = os.path.join(place, "store")
    try:
        crash_states.build(state, root)
        with crash_states.at_home(state, root):
            return _examined(trace, trace.expected(state.at), root)
    finally:
        shutil.rmtree(place)


def _examined(trace: Trace, expected: Expected, root: str) -> list[str]:
    settings = Settings(Actor("lab"))
    try:
        if trace.workload.mend is not None:
            trace.workload.mend(root, trace.beside, settings)
        with _opened(root, expected, settings) as store:
            wrong = trace.ledger.differences(store, expected)
            redacted = trace.ledger.redacted(store, expected)
        mark = _content_of(root)
        if wrong or mark in trace.sound:
            return wrong
        wrong = _in_use(root, settings) + trace.ledger.remembered(root, redacted)
    except HoldfastError as error:
        return [f"{error.code}: {error.message}"]
    if not wrong:
        trace.sound.add(mark)
    return wrong


def _in_use(root: str, settings: Settings) -> list[str]:
    """What is wrong with a store that was recovered, when it is checked in full and written to."""
    with Store(opening.open_store(root, settings)) as store:
        report = store.fsck()
        wrong = [f"fsck: {f.code} {f.object} {f.detail}" for f in report.findings] if report.exit_code else []
        store.gc(dry_run=True)
        store.put("after the crash.txt", b"life goes on")
    with Store(opening.open_store(root, settings)) as store:
        if store.opened.rebuilt or store.read("after the crash.txt") != b"life goes on":
            wrong.append("what was put after the crash is not there")
        if "after the crash.txt" not in {hit.artifact.path for hit in store.search("goes").hits}:
            wrong.append("what was put after the crash is not found by its text")
    return wrong


def _content_of(root: str) -> bytes:
    """A digest of every file of a closed store, names included, except those that are drawn at random."""
    total = hashlib.sha256()
    for folder, folders_in_it, names in os.walk(root):
        folders_in_it.sort()
        short = os.path.relpath(folder, root)
        for name in sorted(names) if short != paths.LOCKS else ():
            with open(os.path.join(folder, name), "rb") as file:
                data = hashlib.sha256(file.read()).digest()
            total.update(f"{short}/{name if short not in (paths.QUARANTINE, paths.TMP) else ''}\n".encode() + data)
    return total.digest()


def _opened(root: str, expected: Expected, settings: Settings) -> Store:
    try:
        return Store(opening.open_store(root, settings))
    except NotAStoreError:
        if expected.returned or expected.settled:
            raise
        # Making it had not been acknowledged: then it can be made again.
        opening.create(root, settings)
        return Store(opening.open_store(root, settings))


# -- a crash during the recovery from a crash --------------------------------------------------------------------------


def nested(trace: Trace, state: State, base: str, *, tries: int, seed: int) -> CrashReport:
    """Record the recovery from a state, as it is opened and closed, and try the states that a crash leaves of that."""
    place = tempfile.mkdtemp(prefix="nested-", dir=base)
    root = os.path.join(place, "store")
    try:
        crash_states.build(state, root)
        with crash_states.at_home(state, root):
            inner = Trace(trace.workload, _recovery(trace, root), trace.ledger, trace.beside, trace.expected(state.at))
            report = explore(inner, place, tries=tries, seed=seed)
    finally:
        shutil.rmtree(place)
    report.workload = f"{describe(trace, state)}, then in the recovery"
    return report


def _recovery(trace: Trace, root: str) -> Recording:
    with small_sizes(), _file_system_of(trace.workload), recording(root) as disk:
        settings = Settings(Actor("lab"), disk=disk)
        with contextlib.suppress(NotAStoreError):
            if trace.workload.mend is not None:
                trace.workload.mend(root, trace.beside, settings)
            with Store(opening.open_store(root, settings)):
                pass
        disk.observe()
    return disk.recording
