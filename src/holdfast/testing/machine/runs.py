"""Rules: runs with their steps, inputs and outputs, and work in them."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.errors import HoldfastError
from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Boom, Driver
from holdfast.testing.machine.ties import ends, small
from holdfast.testing.machine.values import Known, Way, among, some
from holdfast.testing.model import End, Model

FOLLOWING = {"pending": ("processing", "cancelled"), "processing": ("completed", "failed", "cancelled")}


def _known(machine: Driver, *, deleted: bool) -> list[Known]:
    works = machine.model.works.values()
    return [Known(run.handle, f"run {run.handle}, {run.status}") for run in works if run.deleted == deleted]


def live(machine: Driver) -> list[Known]:
    """Runs that can be seen."""
    return _known(machine, deleted=False)


def _dead(machine: Driver) -> list[Known]:
    return _known(machine, deleted=True)


def _moves(machine: Driver) -> list[tuple[Known, str]]:
    works = machine.model.works
    return [(one, status) for one in live(machine) for status in FOLLOWING.get(works[one.handle].status, ("pending",))]


def _step_moves(machine: Driver) -> list[tuple[Known, int, str]]:
    works = machine.model.works
    return [
        (one, step, following)
        for one in live(machine)
        for step, status in works[one.handle].steps.items()
        for following in FOLLOWING.get(status, ("pending",))
    ]


class RunRules(Driver):
    """Verbs of runs."""

    @rule(name=st.sampled_from(["train", "ü"]), parameters=small, inputs=st.lists(ends, max_size=2))
    def create_run(self, name: str, parameters: dict[str, Any], inputs: list[End]) -> None:
        """A pending run that reads something."""
        records = [self.endpoint(end) for end in inputs]

        def ideal(model: Model) -> int:
            handle = model.create_run(name, parameters)
            for end in inputs:
                model.link(handle, "input", end, "")
            return handle

        self.both(lambda s: s.runs.create(name, parameters=parameters, inputs=records), ideal)

    @precondition(some(_moves))
    @rule(which=among(_moves), reason=st.sampled_from(["", "because"]))
    def set_run_status(self, which: tuple[Known, str], reason: str) -> None:
        """A status that may be next, or one that cannot be after the end."""
        run, status = which
        self.both(
            lambda s: s.runs.set_status(self.ids[run.handle], status, reason=reason),
            lambda m: m.set_status(run.handle, status, reason),
        )

    @precondition(some(live))
    @rule(which=among(live), said=small)
    def diagnose(self, which: Known, said: dict[str, Any]) -> None:
        """More diagnostics."""
        self.both(lambda s: s.runs.diagnose(self.ids[which.handle], said), lambda m: m.diagnose(which.handle, said))

    @precondition(some(live))
    @rule(
        which=among(live), metadata=st.none() | small, tags=st.none() | values.tags,
        owner=st.none() | st.sampled_from(["", "Ben"]),
    )  # fmt: skip
    def update_run(
        self, which: Known, metadata: dict[str, Any] | None, tags: set[str] | None, owner: str | None
    ) -> None:
        """What people say of a run."""
        said = {"metadata": metadata, "tags": tags, "owner": owner}
        self.both(
            lambda s: s.runs.update(self.ids[which.handle], metadata=metadata, tags=tags, owner=owner),
            lambda m: m.update_run(which.handle, said),
        )

    @precondition(some(live))
    @rule(which=among(live), direction=st.sampled_from(["input", "output"]), end=ends, role=st.sampled_from(["", "ü"]))
    def link(self, which: Known, direction: str, end: End, role: str) -> None:
        """What a run read or made."""
        record = self.endpoint(end)
        self.both(
            lambda s: s.runs.link(self.ids[which.handle], direction, record, role=role),
            lambda m: m.link(which.handle, direction, end, role),
        )

    @precondition(some(live))
    @rule(which=among(live), path=values.paths, content=values.texts)
    def put_in_run(self, which: Known, path: bytes, content: bytes) -> None:
        """A revision that names its run."""
        said = {"run": which.handle}
        self.both(lambda s: s.put(path, content, run=self.ids[which.handle]), lambda m: m.put(path, content, said))

    @rule(path=values.paths, content=values.texts, fail=st.sampled_from(["", "run", "step"]), end=ends)
    def work_in_a_run(self, path: bytes, content: bytes, fail: str, end: End) -> None:
        """A run from its start to its end, with a step, a put inside, an input and an output; or one that fails."""
        handle = step = 0
        with contextlib.suppress(Boom), self.store.runs.start("work", parameters={"k": 1}) as under_way:
            handle = self.model.create_run("work", {"k": 1})
            self.ids[handle] = under_way.id
            self.model.set_status(handle, "processing")
            said = {"run": handle}
            self.both(lambda s: s.put(path, content), lambda m: m.put(path, content, said))
            self.both(lambda _: under_way.input(self.endpoint(end), "ü"), lambda m: m.link(handle, "input", end, "ü"))
            self.both(lambda _: under_way.diagnose(k=2), lambda m: m.diagnose(handle, {"k": 2}))
            with under_way.step("part") as part:
                step = self.model.add_step(handle)
                self.ids[step] = part.id
                self.model.set_step_status(handle, step, "processing")
                self.both(lambda _: under_way.output(self.endpoint(end)), lambda m: m.link(handle, "output", end, ""))
                part.diagnose(k=3)
                self.model.note("step", "update", step)
                if fail == "step":
                    raise Boom("not today")
            self.model.set_step_status(handle, step, "completed")
            if fail == "run":
                raise Boom("not today")
        if fail == "step":
            self.model.set_step_status(handle, step, "failed")
        self.model.set_status(handle, *(("failed", "Boom: not today") if fail else ("completed", "")))
        self.count("failed" if fail else "done", "work_in_a_run")

    @precondition(some(live))
    @rule(which=among(live))
    def start_run(self, which: Known) -> None:
        """Work in a run that is there; refused if somebody has started it, or it has ended."""

        def real(store: Any) -> None:
            with store.runs.start(f"id:{self.ids[which.handle]}"):
                pass

        def ideal(model: Model) -> None:
            ended = model.work(which.handle).status not in FOLLOWING
            model.start_run(which.handle)
            if not ended:
                model.set_status(which.handle, "completed")

        self.both(real, ideal)

    @precondition(some(live))
    @rule(which=among(live))
    def add_step(self, which: Known) -> None:
        """One more step."""
        self.both(lambda s: s.runs.add_step(self.ids[which.handle], "step"), lambda m: m.add_step(which.handle))

    @precondition(some(_step_moves))
    @rule(which=among(_step_moves))
    def set_step_status(self, which: tuple[Known, int, str]) -> None:
        """The next status of a step."""
        run, step, status = which
        self.both(
            lambda s: s.runs.set_step_status(self.ids[step], status),
            lambda m: m.set_step_status(run.handle, step, status),
        )

    @precondition(some(live))
    @rule(which=among(live), way=st.sampled_from(["cascade", "restrict"]))
    def delete_run(self, which: Known, way: Way) -> None:
        """A tombstone."""
        own = self.ids[which.handle]
        self.both(
            lambda s: s.runs.delete(own, contents=way), lambda m: m.delete_run(which.handle, cascade=way == "cascade")
        )

    @precondition(some(_dead))
    @rule(which=among(_dead))
    def undelete_run(self, which: Known) -> None:
        """Away with the tombstone; before, nothing can be done to it."""
        own = self.ids[which.handle]
        with contextlib.suppress(HoldfastError):
            self.store.runs.set_status(own, "cancelled")
            raise AssertionError(f"{which} is deleted, and got a status")
        self.both(lambda s: s.runs.undelete(own), lambda m: m.undelete_run(which.handle))
