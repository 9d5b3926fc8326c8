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

import holdfast
from holdfast.engine.open import Settings
from holdfast.errors import HoldfastError, NotAStoreError
from holdfast.exchange import folder as folders
from holdfast.index import sqlite
from holdfast.journal import Journal
from holdfast.store import Store
from holdfast.testing import crash_states
from holdfast.testing.crash_states import CORNERS, Point, State
from holdfast.testing.ledger import Expected, Ledger
from holdfast.testing.recording import Recording, recording
from holdfast.testing.workloads import Bench, Workload
from holdfast.values.change import Actor

SEGMENT_BYTES = 6_000
CHECKPOINT_BYTES = 150_000
BATCH_ITEMS = 12


@dataclass(slots=True)
class CrashReport:
    """What was tried. `log2_legal`: about how many states are legal, as a power of two; `tried`: all different."""

    workload: str
    seed: int
    operations: int
    points: int
    log2_legal: float
    tried: int = 0
    corners: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        how = f"{self.corners} corners, {self.tried - self.corners} drawn"
        return (
            f"{self.workload}: {self.operations} operations, {self.points} crash points, about 2^{self.log2_legal:.0f} "
            f"legal states, {self.tried} tried ({how}; seed {self.seed}), {len(self.failures)} bad"
        )


@dataclass(slots=True)
class Trace:
    """A recorded workload with its ledger."""

    workload: Workload
    recording: Recording
    ledger: Ledger


def record(workload: Workload, base: str, *, seed: int) -> Trace:
    """Run a workload once in the folder `base`, on a real disk, and write down what it did."""
    root, beside = os.path.join(base, "store"), os.path.join(base, "beside")
    os.mkdir(beside)
    actor = Actor("lab")
    ledger = Ledger(lambda _: None)
    bench = Bench(root, beside, Settings(actor), ledger, random.Random(seed))  # noqa: S311
    with _small_sizes():
        workload.before(bench)
        with recording(root) as disk:
            bench.settings = Settings(actor, disk=disk)
            ledger.say = disk.mark
            workload.run(bench)
            disk.observe()
    return Trace(workload, disk.recording, ledger)


@contextlib.contextmanager
def _small_sizes() -> Iterator[None]:
    """Segments, checkpoints and batches come often in a short workload."""
    defaults = Journal.__init__.__kwdefaults__ or {}
    before = defaults["segment_bytes"], sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS
    defaults["segment_bytes"], sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS = (
        SEGMENT_BYTES,
        CHECKPOINT_BYTES,
        BATCH_ITEMS,
    )
    try:
        yield
    finally:
        defaults["segment_bytes"], sqlite.CHECKPOINT_BYTES, folders.BATCH_ITEMS = before


def explore(trace: Trace, base: str, *, tries: int, seed: int) -> CrashReport:
    """Try `tries` different states, spread over all crash points: corners of each, and others drawn by `seed`."""
    rnd = random.Random(seed)  # noqa: S311
    events = trace.recording.events
    points = [crash_states.point(trace.recording, at) for at in _spread(len(events), tries, rnd)]
    report = CrashReport(
        trace.workload.name, seed, trace.recording.operations, len(events) + 1, _legal(points, len(events))
    )
    seen: set[bytes] = set()
    for found, how in _choices(points, tries):
        state = crash_states.corner(found, how) if how else crash_states.drawn(found, rnd)
        print_of_it = _fingerprint(state)
        if print_of_it in seen:
            continue
        seen.add(print_of_it)
        report.tried += 1
        report.corners += bool(how)
        wrong = examine(trace, state, base)
        if wrong:
            report.failures.append(f"{trace.workload.name}, {describe(trace, state)}: {'; '.join(wrong)}")
        if report.tried >= tries:
            break
    return report


def _spread(events: int, tries: int, rnd: random.Random) -> list[int]:
    """Crash points: all if there are enough tries, else about one for each two, spread evenly."""
    wanted = min(events + 1, max(1, tries // 2))
    step = (events + 1) / wanted
    return sorted({min(events, int(n * step + rnd.random() * step)) for n in range(wanted)})


def _choices(points: list[Point], tries: int) -> Iterator[tuple[Point, str]]:
    """First a corner of each point in turn, then the other corners, mixed with draws; for ever."""
    rounds = 0
    while rounds < 4 * len(CORNERS) + tries:
        for number, found in enumerate(points):
            if rounds < len(CORNERS):
                yield found, CORNERS[(number + rounds) % len(CORNERS)]
            yield found, ""
        rounds += 1


def _legal(points: list[Point], events: int) -> float:
    """The sum over all crash points, estimated from those that were looked at."""
    bits = [found.log2_states() for found in points]
    top = max(bits)
    return top + math.log2(sum(2.0 ** (b - top) for b in bits) * (events + 1) / len(points))


def _fingerprint(state: State) -> bytes:
    total = hashlib.sha256(repr(state.folders).encode())
    for name, data in state.files:
        total.update(f"{name} {len(data)} ".encode() + hashlib.sha256(data).digest())
    if state.index is not None:
        total.update(state.index.database or b"-")
        total.update(state.index.log)
    return total.digest()


def describe(trace: Trace, state: State) -> str:
    """Which crash point a state belongs to, in words that help to find it."""
    last = trace.recording.events[state.at - 1] if state.at else "nothing"
    said = getattr(last, "how", "") or f"{getattr(last, 'kind', '')} {getattr(last, 'path', '')}"
    return f"after event {state.at} ({said}), {state.origin}"


def examine(trace: Trace, state: State, base: str) -> list[str]:
    """Build a state, open it, check it, use it; what is wrong with it, in words; empty if nothing is."""
    place = tempfile.mkdtemp(prefix="state-", dir=base)
    root = os.path.join(place, "store")
    try:
        crash_states.build(state, root)
        with crash_states.at_home(state, root):
            return _examined(trace, trace.ledger.expected(trace.recording.events, state.at), root)
    finally:
        shutil.rmtree(place)


def _examined(trace: Trace, expected: Expected, root: str) -> list[str]:
    try:
        if trace.workload.recover:
            holdfast.recover(root, actor="lab")
        with _opened(root, expected) as store:
            wrong = trace.ledger.differences(store, expected) if expected.settled or not trace.workload.recover else []
            report = store.fsck()
            wrong += [f"fsck: {f.code} {f.object} {f.detail}" for f in report.findings] if report.exit_code else []
            store.gc(dry_run=True)
            store.put("after the crash", b"life goes on")
        with holdfast.open(root, actor="lab") as store:
            if store.opened.rebuilt or store.read("after the crash") != b"life goes on":
                wrong.append("what was put after the crash is not there")
    except HoldfastError as error:
        return [f"{error.code}: {error.message}"]
    return wrong


def _opened(root: str, expected: Expected) -> Store:
    try:
        return holdfast.open(root, actor="lab")
    except NotAStoreError:
        if expected.returned:
            raise
        # Making it had not been acknowledged: then it can be made again.
        return holdfast.create(root, actor="lab")
