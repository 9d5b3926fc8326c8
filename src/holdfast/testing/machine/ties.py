"""Rules: relationships between records of all kinds, and runs with their steps, inputs and outputs."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Boom, Driver
from holdfast.testing.machine.values import Known, Way, among
from holdfast.testing.model import End, Model


def _ends(machine: Driver) -> list[End]:
    model = machine.model
    found: list[End] = [("external", "https://x.example/ü", None)]
    for thing in model.things.values():
        found += [("artifact", thing.handle, None), ("artifact", thing.handle, thing.newest.number)]
        found.append(("artifact", thing.handle, thing.newest.number + 1))
    found += [("collection", handle, None) for handle in model.places]
    found += [("run", handle, None) for handle in model.works]
    found += [("relationship", handle, None) for handle in model.ties]
    return found


def _ties(machine: Driver) -> list[Known]:
    return [
        Known(t.handle, f"relationship {t.handle}: {t.source} {t.type} {t.target}") for t in machine.model.ties.values()
    ]


def _runs(machine: Driver) -> list[Known]:
    return [Known(run.handle, f"run {run.handle}, {run.status}") for run in machine.model.works.values()]


def _steps(machine: Driver) -> list[tuple[Known, int]]:
    works = machine.model.works.values()
    return [(Known(run.handle, f"run {run.handle}"), step) for run in works for step in run.steps]


ends = st.runner().flatmap(lambda machine: st.sampled_from(_ends(machine)))
small = st.sampled_from([{}, {"k": 1}, {"k": 1.0}, {"k": True}, {"ü": 2**70}])
statuses = st.sampled_from(["processing", "completed", "failed", "cancelled", "pending"])
there_are_ties = precondition(lambda machine: bool(machine.model.ties))
there_are_runs = precondition(lambda machine: bool(machine.model.works))


class RelationshipRules(Driver):
    """Verbs of relationships."""

    @rule(one=ends, type=st.sampled_from(values.RELATIONS), other=ends, metadata=small)
    def relate(self, one: End, type: str, other: End, metadata: dict[str, Any]) -> None:
        """Anything to anything."""
        first, second = self.endpoint(one), self.endpoint(other)
        self.both(
            lambda s: s.relationships.relate(first, type, second, metadata=metadata),
            lambda m: m.relate(one, type, other, metadata),
        )

    @there_are_ties
    @rule(which=among(_ties), type=st.none() | st.sampled_from(values.RELATIONS), metadata=st.none() | small)
    def update_relationship(self, which: Known, type: str | None, metadata: dict[str, Any] | None) -> None:
        """Another type, other metadata."""
        self.both(
            lambda s: s.relationships.update(self.ids[which.handle], type=type, metadata=metadata),
            lambda m: m.update_tie(which.handle, type_=type, metadata=metadata),
        )

    @there_are_ties
    @rule(which=among(_ties), cascade=st.booleans())
    def delete_relationship(self, which: Known, cascade: bool) -> None:
        """A tombstone; what has it as an end goes out of sight."""
        way: Way = "cascade" if cascade else "restrict"
        self.both(
            lambda s: s.relationships.delete(self.ids[which.handle], relationships=way),
            lambda m: m.delete_tie(which.handle, cascade=cascade),
        )

    @there_are_ties
    @rule(which=among(_ties))
    def undelete_relationship(self, which: Known) -> None:
        """Back again, unless another says the same by now."""
        self.both(lambda s: s.relationships.undelete(self.ids[which.handle]), lambda m: m.undelete_tie(which.handle))


class RunRules(Driver):
    """Verbs of runs."""

    @rule(name=st.sampled_from(["train", "ü"]), parameters=small)
    def create_run(self, name: str, parameters: dict[str, Any]) -> None:
        """A pending run."""
        self.both(lambda s: s.runs.create(name, parameters=parameters), lambda m: m.create_run(name, parameters))

    @there_are_runs
    @rule(which=among(_runs), status=statuses, reason=st.sampled_from(["", "because"]))
    def set_run_status(self, which: Known, status: str, reason: str) -> None:
        """The next status, or one that cannot be next."""
        self.both(
            lambda s: s.runs.set_status(self.ids[which.handle], status, reason=reason),
            lambda m: m.set_status(which.handle, status, reason),
        )

    @there_are_runs
    @rule(which=among(_runs), said=small)
    def diagnose(self, which: Known, said: dict[str, Any]) -> None:
        """More diagnostics."""
        self.both(lambda s: s.runs.diagnose(self.ids[which.handle], said), lambda m: m.diagnose(which.handle, said))

    @there_are_runs
    @rule(which=among(_runs), direction=st.sampled_from(["input", "output"]), end=ends, role=st.sampled_from(["", "ü"]))
    def link(self, which: Known, direction: str, end: End, role: str) -> None:
        """What a run read or made."""
        record = self.endpoint(end)
        self.both(
            lambda s: s.runs.link(self.ids[which.handle], direction, record, role=role),
            lambda m: m.link(which.handle, direction, end, role),
        )

    @there_are_runs
    @rule(which=among(_runs), path=values.paths, content=values.texts)
    def put_in_run(self, which: Known, path: bytes, content: bytes) -> None:
        """A revision that names its run."""
        said = {"run": which.handle}
        self.both(lambda s: s.put(path, content, run=self.ids[which.handle]), lambda m: m.put(path, content, said))

    @rule(path=values.paths, content=values.texts, fail=st.booleans())
    def work_in_a_run(self, path: bytes, content: bytes, fail: bool) -> None:
        """A run from its start to its end, with a put inside; an exception makes it fail and goes on."""
        with contextlib.suppress(Boom), self.store.runs.start("work") as under_way:
            handle = self.model.create_run("work", {})
            self.ids[handle] = under_way.id
            self.model.set_status(handle, "processing")
            said = {"run": handle}
            self.both(lambda s: s.put(path, content), lambda m: m.put(path, content, said))
            if fail:
                raise Boom("not today")
        self.model.set_status(handle, *(("failed", "Boom: not today") if fail else ("completed", "")))

    @there_are_runs
    @rule(which=among(_runs))
    def add_step(self, which: Known) -> None:
        """One more step."""
        self.both(lambda s: s.runs.add_step(self.ids[which.handle], "step"), lambda m: m.add_step(which.handle))

    @precondition(lambda machine: bool(_steps(machine)))
    @rule(which=st.runner().flatmap(lambda machine: st.sampled_from(_steps(machine))), status=statuses)
    def set_step_status(self, which: tuple[Known, int], status: str) -> None:
        """The next status of a step."""
        run, step = which
        self.both(
            lambda s: s.runs.set_step_status(self.ids[step], status),
            lambda m: m.set_step_status(run.handle, step, status),
        )

    @there_are_runs
    @rule(which=among(_runs), cascade=st.booleans(), back=st.booleans())
    def delete_run(self, which: Known, cascade: bool, back: bool) -> None:
        """A tombstone, or away with one."""
        own = self.ids[which.handle]
        way: Way = "cascade" if cascade else "restrict"

        def ideal(model: Model) -> None:
            if back:
                model.undelete_run(which.handle)
            else:
                model.delete_run(which.handle, cascade=cascade)

        self.both(lambda s: s.runs.undelete(own) if back else s.runs.delete(own, contents=way), ideal)
