"""kill -9 at every named step and at random: nothing acknowledged is lost, and nothing is half there.

Processes with writers, gc, rebuild, repair, redaction and the rest of it are forked, killed at steps that they come to
or at any moment, and the books of what they were told are compared with the store by a fresh process.
HOLDFAST_KILL_SEED repeats a run of the long form, HOLDFAST_KILL_SECONDS makes each of them longer or shorter. What the
page cache holds survives a kill, so this says nothing of syncs: that is what the crash lab is for.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.engine import transaction
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit
from holdfast.exchange import hands
from holdfast.formats import lines
from holdfast.testing import kill_lab_hands
from holdfast.testing.kill_lab import KillReport, kill_at_random, kill_at_steps, moments_of
from holdfast.testing.kill_lab_jobs import JOBS, Job
from holdfast.testing.kill_lab_steps import STEPS, Step, needs_name

SEED = int(os.environ.get("HOLDFAST_KILL_SEED", "0"))
SECONDS = float(os.environ.get("HOLDFAST_KILL_SECONDS", "1200"))
PARTS = 4
LAB = "kill -9 at any step loses nothing acknowledged, and leaves nothing half done"
Tally = Callable[..., None]


def well(report: KillReport) -> KillReport:
    print(report)
    assert report.failures == [], f"seed {report.seed}"
    assert report.unnamed == set()
    return report


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_each_named_step_loses_nothing_and_leaves_nothing_half_done(
    base: str, part: int, tally: Tally
) -> None:
    wanted = [step for number, step in enumerate(STEPS) if number % PARTS == part]

    report = well(kill_at_steps(base, seed=SEED or 20261121 + part, steps=wanted))

    never = [step.name for step in wanted if not report.steps[step.name]]
    assert never == [], f"seed {report.seed}"
    tally(
        LAB, tried=report.kills, of="kills", note=f"{len(wanted)} named steps, each at least once; seed {report.seed}"
    )


def test_a_kill_at_any_moment_loses_nothing_while_others_go_on(base: str, tally: Tally) -> None:
    report = well(kill_at_random(base, seed=SEED or 20261121, kills=16, seconds=60))

    assert report.at_random >= 8
    tally(LAB, tried=report.kills, of="kills", note=f"at random, 4 processes at once; seed {report.seed}")


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("form", ["at steps", "at random"])
def test_the_same_in_thousands(base: str, form: str, tally: Tally) -> None:
    seed = SEED or random.randrange(1 << 30)
    print(f"HOLDFAST_KILL_SEED={seed}")
    if form == "at steps":
        report = kill_at_steps(base, seed=seed, seconds=SECONDS)
    else:
        report = kill_at_random(base, seed=seed, kills=1 << 30, seconds=SECONDS)
    note = (
        f"{form}: at or after {report.passed} of {len(STEPS)} named steps, {len(report.pairs)} pairs of call and step, "
    )
    note += f"{report.recovering} while recovering from another, {report.acknowledged} acknowledged calls; seed {seed}"
    tally(LAB, tried=report.kills, of="kills", lost=len(report.failures), note=note)
    well(report)


# -- the lab itself ----------------------------------------------------------------------------------------------------


def steps(*names: str) -> list[Step]:
    found = [step for step in STEPS if step.name in names]
    assert len(found) == len(names)
    return found


def commit_after_return() -> None:
    """Each call returns with its transaction still open; the COMMIT comes when the next call begins."""
    begin, commit, waiting = transaction._begin, transaction._commit, []

    def late(handle: Handle, tx: str | None, note: str) -> Unit:
        while waiting:
            commit(waiting.pop())
        return begin(handle, tx, note)

    transaction._begin, transaction._commit = late, waiting.append


def test_the_lab_notices_a_store_that_acknowledges_before_its_commit(base: str) -> None:
    """A lab that cannot fail proves nothing."""
    wanted = steps("returned, not yet acknowledged", "staged, before its sync", "all applied, before COMMIT")
    assert kill_at_steps(base, seed=1, steps=wanted * 2, plant=commit_after_return).failures


def half_of_each_transaction() -> None:
    """Each change of a transaction is committed by itself."""
    real = Unit.change

    def change(self: Unit, body: dict[str, object]) -> int:
        seq = real(self, body)
        if len(self._bodies) > 2:
            handle = self.handle
            whole = self.seal()
            data = lines.encode(whole)
            handle.journal.prepare(whole.entry.first, len(data))
            handle.index.chain.append(whole, data)
            handle.index.commit()
            handle.journal.append(data)
            handle.index.begin()
            self._head, self._bodies = whole.head, []
        return seq

    Unit.change = change  # type: ignore[method-assign]


def test_the_lab_notices_transactions_that_come_in_parts(base: str) -> None:
    wanted = [replace(step, jobs=("transaction",)) for step in steps("after COMMIT, before the journal")]
    report = kill_at_steps(base, seed=2, steps=wanted, plant=half_of_each_transaction)
    assert any("half of transaction" in failure for failure in report.failures), report.failures


def helpers_that_stay() -> None:
    """They answer nothing, and do not end when nobody asks any more."""
    program = [sys.executable, "-S", "-c", "import os, time; os.close(1); time.sleep(20)"]
    hands._started = lambda: subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked at in /proc")
def test_the_lab_notices_processes_that_outlive_the_one_they_helped(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_lab_hands, "_PATIENCE_S", 0.2)
    wanted = [replace(step, jobs=("add with help",)) for step in steps("before an append to a pack")]
    report = kill_at_steps(base, seed=3, steps=wanted, plant=helpers_that_stay)
    assert any("without the one they helped" in failure for failure in report.failures), report.failures


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_every_durable_moment_of_every_job_has_a_name_in_the_catalogue(base: str, job: Job) -> None:
    unnamed = {f"{doing}: {moment}" for doing, moment in moments_of(base, job) if needs_name((doing, moment))}
    assert unnamed == set()


def test_no_two_steps_have_one_name_or_one_place() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert len({(step.doing, step.moment) for step in STEPS}) == len(STEPS)
    assert {name for step in STEPS for name in step.jobs} <= {job.name for job in JOBS}
