"""Every operation on the disk fails once: at its first call, its second, its third … until a run ends clean.

The ordinary suite leaves out some of the later calls (1, 2, 3, 5, 8 …); the soak run takes every one. The workloads of
the crash lab (gc, redact, rebuild, recover, repair … among them) get faults at calls drawn by a seed:
HOLDFAST_NTH_SEED repeats them, HOLDFAST_NTH_TRIES says how many of each workload.

After each: success or a typed error; the store opens again, has all that was acknowledged, and nothing by halves.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError
from holdfast.store import Store
from holdfast.testing.crash_lab import small_sizes
from holdfast.testing.faults import FaultyDisk
from holdfast.testing.ledger import Expected, Fate, Ledger
from holdfast.testing.workbench import Bench, Workload
from holdfast.testing.workloads import WORKLOADS
from holdfast.values.change import Actor

ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
OPERATIONS = (
    "create", "open_append", "open_read", "write", "overwrite", "pread", "fsync", "fsync_dir", "reserve", "link",
    "unlink", "mkdir", "listdir",
)  # fmt: skip
MOST = 400
TRIES = int(os.environ.get("HOLDFAST_NTH_TRIES", "40"))
Tally = Callable[..., None]


def work(root: str, disk: Disk, ledger: Ledger) -> None:
    """A bit of everything; ends at the first error, with what was in flight as the ledger's last call."""
    rnd = random.Random(7)
    with Store(opening.open_store(root, Settings(Actor("lab"), disk=disk))) as store:
        ledger.put(store, "a", rnd.randbytes(3000))
        ledger.put(store, "f/b", rnd.randbytes(300_000))
        wanted = {f"t/{n}": rnd.randbytes(500) for n in range(3)}
        with ledger.call({path: Fate((data,)) for path, data in wanted.items()}), store.transaction():
            for path, data in wanted.items():
                store.put(path, data)
        ledger.known(store, *wanted)
        ledger.put(store, "a", rnd.randbytes(100))
        gone = ledger.now["t/0"]
        with ledger.call({"t/0": Fate(gone.contents, live=False)}):
            store.artifacts.delete("t/0")
        with ledger.call({"t/0": Fate((None,), live=False)}):
            store.artifacts.purge(f"id:{ledger.ids['t/0']}")
        with ledger.call({}):
            store.gc(grace_s=0)
        ledger.put(store, "again", gone.contents[0] or b"")


class Watched(Ledger):
    """A ledger that knows which call is in flight."""

    flying: dict[str, Fate]
    flying_whole = True

    @contextlib.contextmanager
    def call(self, changes: dict[str, Fate], *, whole: bool = True) -> Iterator[None]:
        self.flying, self.flying_whole = changes, whole
        with super().call(changes, whole=whole):
            yield
        self.flying = {}


def check(root: str, ledger: Watched) -> None:
    expected = Expected(dict(ledger.now), ledger.flying, whole=True, returned=0)
    with holdfast.open(root) as store:
        assert ledger.differences(store, expected) == []
        store.put("after the fault", b"life goes on")
        report = store.fsck()
        assert report.exit_code == 0, [(f.code, f.object, f.detail) for f in report.findings]


def attempt(root: str, template: str, disk: FaultyDisk) -> HoldfastError | None:
    """One run on a fresh copy of an empty store; the typed error that ended it. Anything else passes, and fails us."""
    shutil.copytree(template, root)
    holdfast.open(root).close()  # it is at home here from now on
    ledger = Watched(lambda _: None)
    ledger.flying = {}
    ended: HoldfastError | None = None
    try:
        work(root, disk, ledger)
    except HoldfastError as error:
        ended = error
    disk.heal()
    check(root, ledger)
    shutil.rmtree(root)
    return ended


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_fails_at_its_nth_call_loses_nothing_and_says_what_is_wrong(
    base: str, operation: str, tally: Tally
) -> None:
    template = f"{base}/template"
    holdfast.create(template).close()
    failed = 0
    for nth in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610):
        disk = FaultyDisk()
        disk.fail(operation, nth=nth, error=ERRORS[nth % len(ERRORS)], torn=nth % 2 * 11)
        ended = attempt(f"{base}/store", template, disk)
        failed += ended is not None
        if disk.calls[operation] < nth:
            break
    else:
        pytest.fail("no run ended clean")
    tally(
        "the Nth call fails",
        tried=nth,
        of="faults, each call in turn",
        note=f"`{operation}`: {failed} ended with a typed error",
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("times", [1, 1 << 30], ids=["once", "from then on"])
def test_every_call_with_an_error_in_turn(base: str, operation: str, times: int, tally: Tally) -> None:
    template = f"{base}/template"
    holdfast.create(template).close()
    turn = random.randrange(len(ERRORS))
    for nth in range(1, MOST):
        disk = FaultyDisk()
        disk.fail(operation, nth=nth, times=times, error=ERRORS[(nth + turn) % len(ERRORS)])
        attempt(f"{base}/store", template, disk)
        if disk.calls[operation] < nth:
            tally(
                "the Nth call fails",
                tried=nth,
                of="faults, each call in turn",
                note=f"`{operation}`, until a clean run",
            )
            return
    pytest.fail("no run ended clean")


# -- the workloads of the crash lab ------------------------------------------------------------------------------------


def attempt_workload(workload: Workload, base: str, disk: FaultyDisk, arm: Callable[[], None]) -> HoldfastError | None:
    """Run a workload on a disk that `arm` makes faulty, then without faults open, check and use what it left."""
    place = tempfile.mkdtemp(dir=base)
    os.mkdir(f"{place}/beside")
    ledger = Watched(lambda _: None)
    ledger.flying = {}
    bench = Bench(f"{place}/store", f"{place}/beside", workload.settings(), ledger, random.Random(7))
    ended: HoldfastError | None = None
    with small_sizes():
        workload.before(bench)
        bench.settings = workload.settings(disk)
        arm()
        try:
            workload.run(bench)
        except HoldfastError as error:
            ended = error
        disk.heal()
        if workload.mend is not None:
            workload.mend(bench.root, bench.beside, Settings(Actor("lab")))
        check_workload(bench, ledger)
    shutil.rmtree(place)
    return ended


def check_workload(bench: Bench, ledger: Watched) -> None:
    settings = Settings(Actor("lab"))
    if not Path(bench.root, "holdfast.json").exists() and not ledger.now:
        opening.create(bench.root, settings)
    with Store(opening.open_store(bench.root, settings)) as store:
        expected = Expected(dict(ledger.now), ledger.flying, whole=ledger.flying_whole, returned=0)
        assert ledger.differences(store, expected) == []
        store.put("after the fault", b"life goes on")
        report = store.fsck()
    assert report.exit_code == 0, [(f.code, f.object, f.detail) for f in report.findings]


def of_workload(workload: Workload, base: str, tally: Tally, *, seed: int, tries: int) -> None:
    rnd = random.Random(seed)
    disk, failed = FaultyDisk(), 0
    assert attempt_workload(workload, base, disk, disk.calls.clear) is None
    calls = [(name, nth) for name in OPERATIONS for nth in range(1, disk.calls[name] + 1)]
    chosen = rnd.sample(calls, min(tries, len(calls)))
    for operation, nth in chosen:
        faulty, error, times = FaultyDisk(), rnd.choice(ERRORS), rnd.choice([1, 1 << 30])
        words = f"seed {seed}: {workload.name}, {operation} {nth}, {errno.errorcode[error]}, times {times}"

        def arm(disk: FaultyDisk = faulty, rule: tuple[str, int, int, int] = (operation, nth, times, error)) -> None:
            disk.fail(rule[0], nth=rule[1], times=rule[2], error=rule[3], torn=rule[1] % 2 * 11)

        try:
            failed += attempt_workload(workload, base, faulty, arm) is not None
        except (AssertionError, HoldfastError) as wrong:
            raise AssertionError(words) from wrong
    note = f"{workload.name}: {len(chosen)} of {len(calls)} calls, seed {seed}; {failed} ended with a typed error"
    tally("the Nth call fails", tried=len(chosen), of="faults within workloads", note=note)


CARE = (
    "purge and gc", "redact", "rebuild", "recover of a copy", "repair", "repair from a backup", "bulk add",
    "packs", "gc that rewrites packs", "gc that gathers loose blobs", "redact in packs", "repair of packs",
    "bulk add into packs",
)  # fmt: skip


@pytest.mark.parametrize("workload", [w for w in WORKLOADS if w.name in CARE], ids=lambda w: w.name)
def test_a_workload_survives_faults_at_some_of_its_calls(workload: Workload, base: str, tally: Tally) -> None:
    of_workload(workload, base, tally, seed=int(os.environ.get("HOLDFAST_NTH_SEED", "5")), tries=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workload", [w for w in WORKLOADS if not w.network], ids=lambda w: w.name)
def test_a_workload_survives_faults_at_many_of_its_calls(workload: Workload, base: str, tally: Tally) -> None:
    seed = int(os.environ.get("HOLDFAST_NTH_SEED", random.randrange(1 << 30)))
    of_workload(workload, base, tally, seed=seed, tries=TRIES)


def test_short_writes_are_continued(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = f"{base}/template"
    holdfast.create(template).close()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[: max(1, len(data) // 3)])))
    assert attempt(f"{base}/store", template, FaultyDisk()) is None
