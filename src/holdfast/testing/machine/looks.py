"""Rules: what people ask without changing anything, in ways that the comparing of all records does not go."""

from __future__ import annotations

import io

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import holdfast
from holdfast.errors import InvalidValueError
from holdfast.testing.machine import places, runs, ties, verbs
from holdfast.testing.machine.compare import Comparing, agree
from holdfast.testing.machine.values import Known, among, some
from holdfast.testing.model import End


def _readable(machine: Comparing) -> list[tuple[Known, int]]:
    things = machine.model.things
    return [
        (one, revision.number)
        for one in verbs.every(machine)
        for revision in things[one.handle].revisions
        if revision.state == "kept"
    ]


class LookRules(Comparing):
    """Reading."""

    @precondition(some(_readable))
    @rule(which=among(_readable), at=st.integers(0, 12), length=st.integers(0, 200_000))
    def read_a_part(self, which: tuple[Known, int], at: int, length: int) -> None:
        """From the middle, as a file, and copied whole."""
        own, number = which[0].handle, which[1]
        content, its = self.model.things[own].revisions[number - 1].content, f"id:{self.ids[own]}"
        at = at * len(content) // 12
        with self.store.artifacts.open(its, revision=number) as file:
            file.seek(at)
            agree(file.read(length), content[at : at + length], f"bytes from {at} of {which}")
        whole = io.BytesIO()
        agree(self.store.artifacts.copy_to(its, whole, revision=number), len(content), "how many were copied")
        agree(whole.getvalue(), content, f"a copy of {which}")

    @precondition(some(_readable))
    @rule(which=among(_readable))
    def compare_revisions(self, which: tuple[Known, int]) -> None:
        """A diff with the first revision says nothing if both are equal; what is no text is refused."""
        thing = self.model.things[which[0].handle]
        first, other = thing.revisions[0], thing.revisions[which[1] - 1]
        if first.state != "kept" or max(first.size, other.size) > 1000:
            return
        try:
            texts = [one.content.decode() for one in (first, other)]
        except UnicodeDecodeError:
            texts = []
        its = f"id:{self.ids[thing.handle]}"
        try:
            lines = list(self.store.artifacts.diff(its, 1, other.number, context=1))
        except InvalidValueError:
            assert not texts
            return
        assert bool(lines) == (texts[0] != texts[1]), f"diff of {texts}: {lines}"

    @rule(kind=st.sampled_from(["artifact", "collection", "relationship", "run"]), since=st.integers(1, 20))
    def ask_for_changes(self, kind: str, since: int) -> None:
        """Changes of one kind, from a seq on; of one action; of one record; the first few; by whom."""
        if self.pending:
            return
        store = self.store.changes
        every = list(store.list())
        wanted = [c for c in every if c.kind == kind and c.seq >= since]
        agree(list(store.list(kind=kind, since_seq=since)), wanted, f"changes of {kind}s from {since} on")
        created = [c for c in wanted if c.action == "create"][:2]
        agree(list(store.list(kind=kind, action="create", since_seq=since, limit=2)), created, "the first made")
        agree(list(store.list(actor="nobody")), [], "changes by nobody")
        for one in wanted[-1:]:
            agree(list(store.list(record=one.id)), [c for c in every if c.id == one.id], f"changes of {one.id}")

    @precondition(some(ties.live_ends))
    @rule(end=among(ties.live_ends))
    def find_related(self, end: End) -> None:
        """Artifacts at the other end of relationships."""
        kind, handle, _ = end
        if kind != "artifact":
            return
        model = self.model
        far = [
            e
            for one in model.of(end, direction="both", type_=None)
            for e in (model.ties[one].source, model.ties[one].target)
        ]
        wanted = {self.ids[e[1]] for e in far if e[0] == "artifact" and isinstance(e[1], int) and e[1] != handle}
        found = {a.id for a in self.store.find(related_to=self.endpoint(end))}
        agree(found, wanted, f"what is related to {end}")

    @rule(limit=st.integers(1, 3))
    def page_others(self, limit: int) -> None:
        """Pages of runs and of relationships, to their ends."""
        model, store = self.model, self.store
        due = [run.handle for run in model.works.values() if not run.deleted]
        for noun, wanted in ((store.runs, due), (store.relationships, [t.handle for t in model.visible_ties()])):
            found, token = [], None
            while True:
                page = noun.page(limit=limit, token=token)
                found += [self.ids_of[one.id] for one in page.items]
                token = page.token
                if token is None:
                    break
            agree(found, wanted, "pages of runs or relationships")

    @precondition(some(runs.live))
    @rule(which=among(runs.live), direction=st.sampled_from(["input", "output"]))
    def find_runs(self, which: Known, direction: str) -> None:
        """Runs by status and name; steps and links by themselves."""
        run, store = self.model.works[which.handle], self.store
        alike = {self.ids[r.handle] for r in self.model.works.values() if r.status == run.status and not r.deleted}
        agree({r.id for r in store.runs.find(status=run.status)}, alike, f"runs that are {run.status}")
        steps = [self.ids[step] for step in run.steps]
        agree([s.id for s in store.runs.steps(self.ids[run.handle])], steps, f"steps of run {run.handle}")
        count = (
            len(self.model.outputs(run.handle))
            if direction == "output"
            else sum(one[0] == "input" for one in run.links)
        )
        agree(len(list(store.runs.links(self.ids[run.handle], direction))), count, f"{direction}s of run {run.handle}")

    @precondition(some(places.live))
    @rule(which=among(places.live))
    def look_into(self, which: Known) -> None:
        """What lies right in a collection, by name."""
        its, model = f"id:{self.ids[which.handle]}", self.model
        below = sorted(p.name for p in model.live_places() if p.parent == which.handle)
        agree(sorted(c.name_bytes for c in self.store.collections.list(its)), below, f"collections in {which}")
        inside = sorted(t.name for t in model.live_things() if t.parent == which.handle)
        agree(sorted(a.name_bytes for a in self.store.artifacts.list(its)), inside, f"artifacts in {which}")

    @rule()
    def look_about(self) -> None:
        """What the store says of itself."""
        store = self.store
        assert all(applied for _, _, applied in store.migrate_status())
        assert store.path == self.path
        assert {"follows"} & {t.name for t in store.relationships.types()} == set(self.model.types)
        if not self.pending:
            assert holdfast.doctor(self.path)["store"]
            gone = {self.ids[t.handle] for t in self.model.things.values() if t.deleted}
            assert not gone & {a.id for a, _ in store.search.left_out() if a.deleted_at is None}

    @property
    def ids_of(self) -> dict[str, int]:
        """Handles by id."""
        return {one: handle for handle, one in self.ids.items()}
