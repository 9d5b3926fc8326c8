"""Rules: relationships between records of all kinds, and the walks along them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Driver
from holdfast.testing.machine.values import Known, Way, among, some
from holdfast.testing.model import End, Tie
from holdfast.values.records import Endpoint

OUTSIDE: End = ("external", "https://x.example/ü", None)


def live_ends(machine: Driver) -> list[End]:
    """Every end that can be named now, artifacts pinned and not."""
    model = machine.model
    found: list[End] = []
    for thing in model.live_things():
        found += [("artifact", thing.handle, None), ("artifact", thing.handle, thing.newest.number)]
        found += [("artifact", thing.handle, 1)] * (thing.newest.number > 1)
    found += [("run", run.handle, None) for run in model.works.values() if not run.deleted]
    found += [("collection", place.handle, None) for place in model.live_places()]
    found += [("relationship", tie.handle, None) for tie in model.visible_ties()]
    return [*found, OUTSIDE]


def _odd_ends(machine: Driver) -> list[End]:
    """Ends that are not there: deleted ones, and revisions that nobody made."""
    model = machine.model
    found: list[End] = [("artifact", t.handle, t.newest.number + 1) for t in model.live_things()]
    found += [("artifact", t.handle, None) for t in model.things.values() if t.deleted]
    found += [("collection", p.handle, None) for p in model.places.values() if p.deleted]
    found += [("run", run.handle, None) for run in model.works.values() if run.deleted]
    return found + [("relationship", t.handle, None) for t in model.ties.values() if not model.visible(t)]


def _known(ties: Iterable[Tie]) -> list[Known]:
    return [Known(t.handle, f"relationship {t.handle}: {t.source} {t.type} {t.target}") for t in ties]


def _visible(machine: Driver) -> list[Known]:
    return _known(machine.model.visible_ties())


def _hidden(machine: Driver) -> list[Known]:
    """Those that can come back by themselves first, and most often: the others come back with their ends."""
    model = machine.model
    found = [t for t in model.ties.values() if not model.visible(t)]
    alone = [t for t in found if model.is_live(t.source) and model.is_live(t.target)]
    return _known(alone * 4 + [t for t in found if t not in alone])


def _related(machine: Driver) -> list[tuple[End, str]]:
    """Ends of what can be seen, with the type that leads there."""
    return [(end, tie.type) for tie in machine.model.visible_ties() for end in (tie.source, tie.target)]


ends = among(live_ends)
types = st.sampled_from(values.RELATIONS)
small = st.sampled_from([{}, {"k": 1}, {"k": 1.0}, {"k": True}, {"ü": 2**70}])
FAMILIES = ("provenance", "intent")


class RelationshipRules(Driver):
    """Verbs of relationships."""

    @rule(one=ends, type=types, other=ends, metadata=small, tags=values.tags)
    def relate(self, one: End, type: str, other: End, metadata: dict[str, Any], tags: set[str]) -> None:
        """Anything to anything."""
        first, second = self.endpoint(one), self.endpoint(other)
        self.both(
            lambda s: s.relationships.relate(first, type, second, metadata=metadata, tags=tags),
            lambda m: m.relate(one, type, other, metadata, tags),
        )

    @precondition(some(_odd_ends))
    @rule(one=ends, other=among(_odd_ends), back=st.booleans())
    def relate_to_what_is_not_there(self, one: End, other: End, back: bool) -> None:
        """Refused, whichever end it is."""
        pair = (other, one) if back else (one, other)
        first, second = (self.endpoint(end) for end in pair)
        self.both(
            lambda s: s.relationships.relate(first, "supports", second),
            lambda m: m.relate(pair[0], "supports", pair[1], {}),
        )

    @precondition(some(_visible))
    @rule(which=among(_visible))
    def relate_again(self, which: Known) -> None:
        """What is said already: nothing happens. Said with other metadata: refused."""
        held = self.model.ties[which.handle]
        first, second = self.endpoint(held.source), self.endpoint(held.target)
        for said in (held.metadata, {"other": 1}):
            self._relate_with(held, first, second, said)

    def _relate_with(self, held: Tie, first: Endpoint, second: Endpoint, said: dict[str, Any]) -> None:
        self.both(
            lambda s: s.relationships.relate(first, held.type, second, metadata=said),
            lambda m: m.relate(held.source, held.type, held.target, said),
        )

    @precondition(some(_visible))
    @rule(
        which=among(_visible), type=st.none() | types, metadata=st.none() | small, tags=st.none() | values.tags,
        owner=st.none() | st.sampled_from(["", "Ben"]),
    )  # fmt: skip
    def update_relationship(
        self, which: Known, type: str | None, metadata: dict[str, Any] | None, tags: set[str] | None, owner: str | None
    ) -> None:
        """Another type, other metadata, tags, another owner."""
        own = self.ids[which.handle]
        self.both(
            lambda s: s.relationships.update(own, type=type, metadata=metadata, tags=tags, owner=owner),
            lambda m: m.update_tie(which.handle, type_=type, metadata=metadata, tags=tags, owner=owner),
        )

    @precondition(some(_visible))
    @rule(which=among(_visible), cascade=st.booleans())
    def delete_relationship(self, which: Known, cascade: bool) -> None:
        """A tombstone; what has it as an end goes out of sight."""
        way: Way = "cascade" if cascade else "restrict"
        self.both(
            lambda s: s.relationships.delete(self.ids[which.handle], relationships=way),
            lambda m: m.delete_tie(which.handle, cascade=cascade),
        )

    @precondition(some(_hidden))
    @rule(which=among(_hidden))
    def undelete_relationship(self, which: Known) -> None:
        """Back again, unless another says the same by now, or an end is away."""
        self.both(lambda s: s.relationships.undelete(self.ids[which.handle]), lambda m: m.undelete_tie(which.handle))

    @rule(name=st.sampled_from(["follows", "follows", "supports"]), family=st.sampled_from(FAMILIES))
    def register_type(self, name: str, family: str) -> None:
        """A word for the vocabulary; the same again is nothing, another meaning is refused."""
        said = {"family": family, "description": "Comes after."}
        # The model's "follows" is one of provenance.
        if name == "follows" and family != "provenance" and name not in self.model.types:
            return
        self.both(
            lambda s: s.relationships.register_type(name, **said),
            lambda m: m.register(name, family, said["description"]),
        )

    @rule(
        start=ends, direction=st.sampled_from(["up", "down", "both"]), depth=st.none() | st.integers(0, 2),
    )  # fmt: skip
    def walk(self, start: End, direction: Any, depth: int | None) -> None:
        """Where something comes from, and what came of it."""
        self.same_walk(start, direction, depth)

    def same_walk(self, start: End, direction: Any, depth: int | None) -> None:
        """The store walks as the model does."""
        found = self.store.relationships.lineage(self.endpoint(start), direction=direction, depth=depth)
        nodes, edges = self.model.lineage(start, direction=direction, depth=depth)
        assert {n.endpoint: n.depth for n in found.nodes} == {self.endpoint(e): level for e, level in nodes.items()}
        wanted = {(self.endpoint(one), word, self.endpoint(other)) for one, word, other in edges}
        assert {(e.source, e.type, e.target) for e in found.edges} == wanted
        assert not found.truncated
        self.count("done" if edges else "nothing to walk", "walk")

    @precondition(some(_related))
    @rule(which=among(_related), direction=st.sampled_from(["out", "in", "both"]), typed=st.booleans())
    def look_around(self, which: tuple[End, str], direction: Any, typed: bool) -> None:
        """The relationships of a record that has some, all or of one type."""
        end, word = which[0], which[1] if typed else None
        found = [r.id for r in self.store.relationships.of(self.endpoint(end), direction=direction, type=word)]
        handles = self.model.of(end, direction=direction, type_=word)
        assert found == [self.ids[one] for one in handles], f"relationships of {end}, {direction}, {word}: {found}"
        if direction != "both":
            one = self.endpoint(end)
            find = self.store.relationships.find
            again = find(source=one, type=word) if direction == "out" else find(target=one, type=word)
            assert [r.id for r in again] == found
        self.count("done" if found else "nothing to see", "look_around")
