"""The kill lab: processes at work on a store are killed at each named step and at random; books tell what is lost.

Call it from a process that has no store open: it forks. See docs/kill-lab.md.
"""

from __future__ import annotations

import copy
import importlib
import mmap
import os
import random
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from holdfast.disk import Disk
from holdfast.engine.settings import Settings
from holdfast.testing.kill_lab_books import Books
from holdfast.testing.kill_lab_hands import left_behind
from holdfast.testing.kill_lab_jobs import JOBS, Job, Work, made, nothing, reopen
from holdfast.testing.kill_lab_processes import Place, Process, Say, Trap, fork
from holdfast.testing.kill_lab_report import KillReport
from holdfast.testing.kill_lab_steps import STEPS, Step, step_at
from holdfast.testing.kill_lab_tracing import Moment, Tracer
from holdfast.testing.kill_lab_verdict import Seen, examine
from holdfast.testing.kill_lab_writers import ROUNDS, Bench, small_sizes
from holdfast.values.change import Actor

__all__ = ["JOBS", "STEPS", "Job", "KillReport", "Lab", "Step", "kill_at_random", "kill_at_steps", "moments_of"]

Plant = Callable[[], None]
"""Spoils the software in the processes that are killed: to see whether the lab notices."""

LOCK_WAIT_S = 60.0
KILLS_OF_A_STORE = 10
_TRIES = 12
_FEW_ROUNDS = 4
_PATIENCE_S = 2.0
_LOADED = (
    "care.fsck.check",
    "care.redact",
    "kinds.executions",
    "kinds.lineage",
    "kinds.relationships",
    "kinds.runs",
    "search.index",
)
for _module in _LOADED:  # before the forks, so that not each of many short processes loads it again
    importlib.import_module(f"holdfast.{_module}")

_BY_NAME = {job.name: job for job in JOBS}


@dataclass(slots=True)
class Site:
    """A store, and the books on everybody who works on it, by name."""

    root: str
    beside: str
    books: dict[str, Books] = field(default_factory=dict)
    kills: int = 0

    def of(self, name: str) -> Books:
        """The books on one of them."""
        return self.books.setdefault(name, Books())


class Lab:
    """Kills, looks and keeps count, in the folder `base`. Stores that failed are left there."""

    def __init__(self, base: str, *, seed: int, plant: Plant | None = None, thorough: float = 0.1) -> None:
        """`thorough`: which part of the looks has fsck read every byte; the last look at a store always has."""
        self.thorough = thorough
        self.latest = 1
        self.rounds = ROUNDS
        self.report = KillReport(seed)
        self.rnd = random.Random(seed)  # noqa: S311
        self._base = base
        self._plant = plant
        self._count = 0

    # -- places and processes ----------------------------------------------------------------------------------------

    def site(self, job: Job) -> Site:
        """A new folder, with a store in it unless the job brings its own."""
        self._count += 1
        here = os.path.join(self._base, f"site-{self._count}")
        site = Site(os.path.join(here, "store"), os.path.join(here, "beside"))
        os.makedirs(site.beside)
        if not job.anew:
            self.well(site, "w", made)
        return site

    def leave(self, site: Site) -> None:
        """A site is done with: it is looked at thoroughly once more. What failed stays to be looked at."""
        if site.kills and not self.failed(site):
            (found, _), *_ = self._judge(site, ["judge"], alone=True, thorough=True)
            for one in found:
                self.fail(site, f"at last: {one}")
        if not self.failed(site):
            shutil.rmtree(os.path.dirname(site.root), ignore_errors=True)

    def start(
        self, site: Site, name: str, work: Callable[[Bench], None], *, wanted: Callable[[Place], bool] | None = None,
        nth: int = 1, traced: bool = True,
    ) -> Process:  # fmt: skip
        """A process at work on a store; `wanted`: where it is to die."""
        books, seed = site.of(name), self.rnd.randrange(1 << 60)

        def live(say: Say, page: mmap.mmap) -> None:
            small_sizes()
            trap = Trap(page, wanted, nth=nth)
            tracer = Tracer(site.root, trap)
            if traced and self._plant is not None:
                self._plant()
            disk = tracer.install() if traced else Disk()
            settings = Settings(Actor(name), wait_s=LOCK_WAIT_S, disk=disk, pack_up_to=0)
            bench = Bench(site.root, site.beside, name, settings, copy.deepcopy(books), random.Random(seed), say)  # noqa: S311
            bench.rounds = self.rounds
            if traced:
                bench.doing = lambda what: setattr(trap, "doing", what)
                bench.acknowledging = lambda: tracer.meet("acknowledge", "call")
            work(bench)
            say(["met", sorted([doing, m.verb, m.place, m.phase] for doing, m in trap.met)])

        return fork(live, books)

    def well(self, site: Site, name: str, work: Callable[[Bench], None]) -> None:
        """Work that nobody disturbs; a failure of it is one of the report."""
        if work is nothing:
            return
        process = self.start(site, name, work, traced=False)
        process.end()
        if not process.well:
            self.fail(site, f"{name} failed: {process.error or process.status}")

    def failed(self, site: Site) -> bool:
        """Whether something was wrong here."""
        return any(failure.startswith(site.root + ":") for failure in self.report.failures)

    def fail(self, site: Site, what: str) -> None:
        """Something was lost, or went wrong."""
        self.report.failures.append(f"{site.root}: {what}")

    def bury(self, site: Site, job: Job, process: Process) -> None:
        """Nobody outlives a process that was killed."""
        left = left_behind(process.pid) if job.helped else []
        if left:
            self.fail(site, f"{job.name}: processes {left} go on without the one they helped")

    # -- one kill ----------------------------------------------------------------------------------------------------

    def strike(self, site: Site, job: Job, step: Step) -> bool:
        """Kill one process at a step of its job, and look; False if it never came to that step."""
        for attempt in range(_TRIES):
            if site.of("w").flying is not None:  # of a try that was not met, one that went before it was killed
                self.verdict(site, ["w"], f"before {job.name}", mend=job.mend)
            self.prepare(site, job)
            nth = 1 if attempt else self.rnd.randint(1, self.latest)
            process = self.start(site, "w", job.run, wanted=lambda place: _is(place, step), nth=nth)
            process.end()
            if process.error:
                self.fail(site, f"{job.name}: {process.error}")
                return False
            if process.killed:
                self.report.hit(process.last, chosen=True)
                self.bury(site, job, process)
                self.verdict(site, ["w"], f"{job.name} killed at: {step.name}", mend=job.mend)
                return True
            if job.anew:
                self.leave(site)
                site = self.site(job)
        return False

    def prepare(self, site: Site, job: Job) -> None:
        """What a job needs before it can be killed."""
        if job.dying is not None:
            wanted = job.dying
            process = self.start(
                site, "w", job.before, wanted=lambda place: place[1] == wanted, nth=self.rnd.randint(3, 9)
            )
            process.end()
            if process.killed:
                self.report.hit(process.last, chosen=True)
        else:
            self.well(site, "w", job.before)
        self.well(site, "w", job.wreck)

    def verdict(self, site: Site, names: list[str], what: str, *, mend: Work = nothing, alone: bool = True) -> None:
        """What is there after somebody was killed: everybody in `names`. The last look at a store is thorough."""
        site.kills += len(names)
        while alone and mend is nothing and self.rnd.random() < 0.25:
            self._strike_opener(site)
        self.well(site, "mend", mend)
        thorough = self.rnd.random() < self.thorough
        verdicts = self._judge(site, names, alone=alone, thorough=thorough)
        for name, (wrong, seen) in zip(names, verdicts, strict=True):
            books = site.of(name)
            doing = books.flying.doing if books.flying else "nothing"
            self.report.acknowledged += books.acknowledged
            for one in wrong[:5]:
                self.fail(site, f"{what}, {name} in {doing}: {one}")
            books.settle({key: fact for key, (fact, _) in seen.items()}, {k: i for k, (_, i) in seen.items() if i})
            books.flying, books.repeatable, books.acknowledged = None, [], 0

    def _judge(self, site: Site, names: list[str], *, alone: bool, thorough: bool) -> list[tuple[list[str], Seen]]:
        """What a fresh process says of the store."""
        books = [copy.deepcopy(site.of(name)) for name in names]

        def look(bench: Bench) -> None:
            benches = [replace(bench, name=name, books=one) for name, one in zip(names, books, strict=True)]
            bench.say(["verdict", examine(benches, alone=alone, thorough=thorough)])

        judge = self.start(site, "judge", look, traced=False)
        judge.end()
        found = [message[1] for message in judge.other if message[0] == "verdict"]
        if not found:
            return [([f"nobody could look: {judge.error or judge.status}"], {}) for _ in names]
        return [(wrong, {key: (fact, known) for key, (fact, known) in seen.items()}) for wrong, seen in found[0]]

    def _strike_opener(self, site: Site) -> None:
        """Kill the process that puts right what a kill left, at any of its steps."""
        process = self.start(site, "opener", reopen, wanted=lambda _: True, nth=self.rnd.randint(1, 25))
        process.end()
        if process.error:
            self.fail(site, f"opening after a kill: {process.error}")
        if process.killed:
            self.report.recovering += 1
            self.report.hit(process.last, chosen=True)


def _is(place: Place, step: Step) -> bool:
    found = step_at(place)
    return found is not None and found.name == step.name


# -- at every step -----------------------------------------------------------------------------------------------------


def kill_at_steps(
    base: str, *, seed: int, steps: Iterable[Step] = STEPS, seconds: float | None = None, plant: Plant | None = None
) -> KillReport:
    """Kill a process at each of the named steps, once; with `seconds` again and again for that long, in other jobs."""
    lab, until = Lab(base, seed=seed, plant=plant), time.monotonic() + (seconds or 0.0)
    if seconds is not None:
        lab.thorough, lab.latest = 0.3, 4
    sites: dict[str, Site] = {}
    wanted = [*steps]
    while True:
        lab.rnd.shuffle(wanted)
        for step in wanted:
            _somewhere(lab, sites, step)
            if seconds is not None and time.monotonic() > until:
                break
        if seconds is None or time.monotonic() > until:
            break
    for site in sites.values():
        lab.leave(site)
    return lab.report


def _somewhere(lab: Lab, sites: dict[str, Site], step: Step) -> None:
    """Kill at a step of any job that comes to it; on a new store if none did: an old one may have outgrown the step."""
    jobs = [_BY_NAME[name] for name in step.jobs]
    lab.rnd.shuffle(jobs)
    for job, fresh in [*((job, job.anew) for job in jobs), *((job, True) for job in jobs)]:
        place = "" if not job.anew else job.name
        site = sites.pop(place, None)
        if site is None or fresh or site.kills >= KILLS_OF_A_STORE or lab.failed(site):
            if site is not None:
                lab.leave(site)
            site = lab.site(job)
        sites[place] = site
        if lab.strike(site, job, step):
            return


def moments_of(base: str, job: Job, *, seed: int = 1) -> list[Place]:
    """Every moment that a job comes to if nobody kills it, in order of names: what the catalogue has to cover."""
    lab = Lab(base, seed=seed)
    lab.rounds = _FEW_ROUNDS
    site = lab.site(job)
    lab.prepare(site, job)
    process = lab.start(site, "w", job.run)
    process.end()
    assert process.well, process.error
    assert not lab.report.failures, lab.report.failures
    lab.leave(site)
    met = next(message[1] for message in process.other if message[0] == "met")
    return [(doing, Moment(*moment)) for doing, *moment in met]


# -- at random ---------------------------------------------------------------------------------------------------------


def kill_at_random(
    base: str, *, seed: int, kills: int, seconds: float, workers: int = 4, plant: Plant | None = None
) -> KillReport:
    """Several processes work on one store; one after the other is killed at any moment while the others go on.

    Ends after so many kills or seconds. After each kill a fresh process looks at what the dead one had been told; now
    and then all are killed, and the whole store is looked at.
    """
    lab, until = Lab(base, seed=seed, plant=plant, thorough=0.3), time.monotonic() + seconds
    jobs = [job for job in JOBS if job.beside]
    while lab.report.kills < kills and time.monotonic() < until:
        site = lab.site(jobs[0])
        crowd: dict[str, tuple[Job, Process]] = {}
        while site.kills < KILLS_OF_A_STORE and lab.report.kills < kills and time.monotonic() < until:
            _fill(lab, site, crowd, jobs, workers)
            _pause(crowd, lab.rnd.randrange(3 * workers), lab.rnd.random() * 0.03)
            _kill(lab, site, crowd, lab.rnd.sample([*crowd], lab.rnd.randint(1, workers)))
        _kill(lab, site, crowd, [*crowd])
        lab.verdict(site, [*site.books], "all killed")
        lab.leave(site)
    return lab.report


def _fill(lab: Lab, site: Site, crowd: dict[str, tuple[Job, Process]], jobs: list[Job], workers: int) -> None:
    for name in [f"w{n}" for n in range(workers)]:
        if name in crowd and crowd[name][1].over:
            _kill(lab, site, crowd, [name])
        if name not in crowd:
            job = lab.rnd.choice(jobs)
            crowd[name] = job, lab.start(site, name, job.run)


def _pause(crowd: dict[str, tuple[Job, Process]], calls: int, seconds: float) -> None:
    """Let them get so many calls done, however slow the machine is, and go on for a moment."""
    processes = [process for _, process in crowd.values()]
    wanted, until = sum(one.books.acknowledged for one in processes) + calls, time.monotonic() + _PATIENCE_S
    while sum(one.books.acknowledged for one in processes) < wanted and time.monotonic() < until:
        for process in processes:
            process.hear()
        time.sleep(0.002)
    time.sleep(seconds)


def _kill(lab: Lab, site: Site, crowd: dict[str, tuple[Job, Process]], names: list[str]) -> None:
    """Kill some, and look at what they were told while the others go on."""
    doing = []
    for name in names:
        job, process = crowd.pop(name)
        process.kill()
        doing.append(job.name)
        if process.error:
            lab.fail(site, f"{job.name}: {process.error}")
        if process.killed:
            lab.report.hit(process.last, chosen=False)
            lab.bury(site, job, process)
    for _, process in crowd.values():
        process.hear()
    lab.verdict(site, names, f"{' and '.join(doing)} killed at random", alone=False)
