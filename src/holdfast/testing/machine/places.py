"""Rules: what people do to collections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Driver
from holdfast.testing.machine.values import Known, Way, among, by, some
from holdfast.testing.model import Model, Place, Refused


def _known(machine: Driver, places: Iterable[Place]) -> list[Known]:
    path = machine.model.path
    return [
        Known(p.handle, f"collection {p.handle} at {path(p.handle)!r}{' (deleted)' * bool(p.deleted)}") for p in places
    ]


def live(machine: Driver) -> list[Known]:
    """Collections that can be seen, the youngest first; the root is the last."""
    return _known(machine, reversed(machine.model.live_places()))


def _below(machine: Driver) -> list[Known]:
    """Collections with much in them first: deleting those says more."""
    model = machine.model
    return _known(
        machine, sorted(model.live_places(), key=lambda p: -sum(len(part) for part in model.inside(p.handle)))
    )


def _dead(machine: Driver) -> list[Known]:
    """Those that can come back by themselves first, and most often: the others come back with what they lie in."""
    places = machine.model.places
    found = sorted((p for p in places.values() if p.deleted), key=lambda p: (-p.deleted, p.handle))
    alone = [p for p in found if p.parent is not None and not places[p.parent].deleted]
    return _known(machine, alone * 4 + [p for p in found if p not in alone])


def _tagged(machine: Driver) -> list[tuple[Known, str]]:
    return [(which, tag) for which in live(machine) for tag in sorted(machine.model.places[which.handle].tags)]


new_names = st.none() | values.names


class CollectionRules(Driver):
    """Verbs of collections."""

    @rule(path=values.paths, parents=st.booleans(), metadata=values.metadata, tags=values.tags)
    def create_collection(self, path: bytes, parents: bool, metadata: dict[str, Any], tags: set[str]) -> None:
        """A place."""
        self.both(
            lambda s: s.collections.create(path, parents=parents, metadata=metadata, tags=tags),
            lambda m: m.create_place(path, parents=parents, metadata=metadata, tags=tags),
        )

    @precondition(some(live))
    @rule(
        which=among(live),
        how=by,
        metadata=st.none() | values.metadata,
        owner=st.none() | st.sampled_from(["", "Ben"]),
    )
    def update_collection(self, which: Known, how: str, metadata: dict[str, Any] | None, owner: str | None) -> None:
        """Other metadata, another owner."""
        mine, its = self.ref(which, how)
        self.both(
            lambda s: s.collections.update(its, metadata=metadata, owner=owner),
            lambda m: m.update_place(mine, metadata=metadata, owner=owner),
        )

    @precondition(some(live))
    @rule(which=among(live), how=by, tags=values.tags)
    def tag_collection(self, which: Known, how: str, tags: set[str]) -> None:
        """Tags that come."""
        mine, its = self.ref(which, how)
        self.both(lambda s: s.collections.tag(its, *tags), lambda m: m.tag_place(mine, add=tags, remove=set()))

    @precondition(some(_tagged))
    @rule(which=among(_tagged), more=values.tags)
    def untag_collection(self, which: tuple[Known, str], more: set[str]) -> None:
        """Tags that go."""
        tags, its = {which[1], *more}, f"id:{self.ids[which[0].handle]}"
        self.both(
            lambda s: s.collections.untag(its, *sorted(tags)),
            lambda m: m.tag_place(which[0].handle, add=set(), remove=tags),
        )

    @precondition(some(live))
    @rule(which=among(live), how=by, into=st.none() | values.folders, name=new_names)
    def move_collection(self, which: Known, how: str, into: bytes | None, name: bytes | None) -> None:
        """Another name, another place, or both; never into itself."""
        mine, its = self.ref(which, how)
        if into is None and name is None:
            return
        self.both(
            lambda s: (
                s.collections.move(its, into, name=name) if into is not None else s.collections.rename(its, name or b"")
            ),
            lambda m: m.put_place(mine, into=into, name=name),
        )

    @precondition(some(_below))
    @rule(which=among(_below), how=by, way=st.sampled_from(["cascade", "cascade", "restrict"]))
    def delete_collection(self, which: Known, how: str, way: Way) -> None:
        """A tombstone on all that lies in it, or a refusal."""
        mine, its = self.ref(which, how)
        self.both(
            lambda s: s.collections.delete(its, contents=way), lambda m: m.delete_place(mine, cascade=way == "cascade")
        )

    @precondition(some(_below))
    @rule(which=among(_below), keep=st.booleans())
    def delete_and_undelete_collection(self, which: Known, keep: bool) -> None:
        """There and back again: what lay in it lies in it, but for what had been deleted before."""
        own, its = which.handle, f"id:{self.ids[which.handle]}"
        inside = self.model.inside(own)[1]
        if inside and not keep:
            first = inside[0].handle
            self.both(lambda s: s.artifacts.delete(f"id:{self.ids[first]}"), lambda m: m.delete(first))
        self.both(lambda s: s.collections.delete(its, contents="cascade"), lambda m: m.delete_place(own, cascade=True))
        if self.model.places[own].deleted:
            self.both(lambda s: s.collections.undelete(its), lambda m: m.undelete_place(own, name=None))

    @precondition(some(_below))
    @rule(which=among(_below), way=st.sampled_from(["cascade", "restrict"]))
    def delete_collection_unrelated(self, which: Known, way: Way) -> None:
        """Only if no relationship touches it or what lies in it."""
        own, its = which.handle, f"id:{self.ids[which.handle]}"

        def ideal(model: Model) -> None:
            if model.place(own).parent is None:
                raise Refused("invalid-value")
            places, things = model.inside(own)
            if (places or things) and way != "cascade":
                raise Refused("in-use")
            inside = [("collection", p.handle) for p in places] + [("artifact", t.handle) for t in things]
            if any(model.touching(kind, one) for kind, one in [("collection", own), *inside]):
                raise Refused("in-use")
            model.delete_place(own, cascade=True)

        self.both(lambda s: s.collections.delete(its, contents=way, relationships="restrict"), ideal)

    @precondition(some(_dead))
    @rule(which=among(_dead), name=st.none() | new_names)
    def undelete_collection(self, which: Known, name: bytes | None) -> None:
        """Back again, with all that went along."""
        its = f"id:{self.ids[which.handle]}"
        self.both(lambda s: s.collections.undelete(its, name=name), lambda m: m.undelete_place(which.handle, name=name))

    @rule(path=values.paths)
    def ensure_collection(self, path: bytes) -> None:
        """A place with all above it, whether it is there or not."""
        self.both(lambda s: s.collections.ensure(path), lambda m: m.ensure_place(path))
