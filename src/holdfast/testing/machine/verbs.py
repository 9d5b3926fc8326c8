"""Rules: what people do to artifacts."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.store import Store
from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Driver
from holdfast.testing.machine.values import Known, Way, among, by, some
from holdfast.testing.model import Model, Thing
from holdfast.values.records import Artifact, PutResult


def _known(machine: Driver, things: Iterable[Thing]) -> list[Known]:
    path = machine.model.path
    return [
        Known(t.handle, f"artifact {t.handle} at {path(t.handle)!r}{' (deleted)' * bool(t.deleted)}") for t in things
    ]


def live(machine: Driver) -> list[Known]:
    """Artifacts that can be seen."""
    return _known(machine, machine.model.live_things())


def dead(machine: Driver) -> list[Known]:
    """Deleted artifacts, the last deleted first."""
    return _known(machine, sorted((t for t in machine.model.things.values() if t.deleted), key=lambda t: -t.deleted))


def every(machine: Driver) -> list[Known]:
    """All artifacts, the live ones first: a failure shrinks towards them."""
    return live(machine) + dead(machine)


def _tagged(machine: Driver) -> list[tuple[Known, str]]:
    return [(which, tag) for which in live(machine) for tag in sorted(machine.model.things[which.handle].tags)]


def _revisions(machine: Driver) -> list[tuple[Known, int]]:
    """Each revision of the live ones; one that there is not, now and then, is asked for by its rule."""
    return [(one, r.number) for one in live(machine) for r in machine.model.things[one.handle].revisions]


def _old(machine: Driver) -> list[tuple[Known, int]]:
    """Revisions of live artifacts that are not the newest and are still there."""
    things = machine.model.things
    return [
        (one, number)
        for one, number in _revisions(machine)
        if number < len(things[one.handle].revisions) and things[one.handle].revisions[number - 1].state == "kept"
    ]


numbers = st.integers(1, 4)
expectations = st.none() | st.none() | st.integers(0, 3)
new_names = st.none() | values.names


def _put(store: Store, *, path: bytes, given: Any) -> PutResult:
    return store.put(path, given)


class ArtifactRules(Driver):
    """Verbs of artifacts."""

    def given(self, content: bytes, how: str) -> Any:
        """Content in one of the ways that it can be handed in."""
        if how == "stream":
            return io.BytesIO(content)
        if how == "path":
            path = self.home / "content"
            path.write_bytes(content)
            return path
        try:
            return content.decode() if how == "str" else bytes(content)
        except UnicodeDecodeError:
            return content

    @rule(
        path=values.paths, content=values.contents, how=st.sampled_from(["bytes", "str", "stream", "path"]),
        said=values.described(), expect=expectations,
    )  # fmt: skip
    def put(self, path: bytes, content: bytes, how: str, said: dict[str, Any], expect: int | None) -> None:
        """A put anywhere."""
        given = self.given(content, how)
        self.both(
            lambda s: s.put(path, given, expect=expect, **said), lambda m: m.put(path, content, said, expect=expect)
        )

    @precondition(some(live))
    @rule(which=among(live), how=by, content=values.contents, said=values.described(), right=st.booleans())
    def put_again(self, which: Known, how: str, content: bytes, said: dict[str, Any], right: bool) -> None:
        """A put to a known artifact, by any name it has, that expects its newest revision or the one before."""
        mine, its = self.ref(which, how)
        expect = self.model.things[which.handle].newest.number - (not right)
        self.both(
            lambda s: s.put(its, content, expect=expect, **said), lambda m: m.put(mine, content, said, expect=expect)
        )

    @rule(path=values.paths, contents=st.permutations(values.GROWN), how=st.sampled_from(["bytes", "stream", "path"]))
    def grow(self, path: bytes, contents: list[bytes], how: str) -> None:
        """Large contents with much in common, one after the other: they are cut where chunks are small."""
        for content in contents[:3]:
            given = self.given(content, how)
            self.both(partial(_put, path=path, given=given), partial(Model.put, ref=path, content=content, said={}))

    @rule(path=values.paths, contents=st.lists(values.contents, min_size=1, max_size=3), said=values.described())
    def put_many(self, path: bytes, contents: list[bytes], said: dict[str, Any]) -> None:
        """Several contents of one name in one call: they come in the order given, as puts would."""

        def real(store: Store) -> Artifact:
            store.put_many([(path, content, said) for content in contents])
            return store.get(path)

        def ideal(model: Model) -> int:
            return [model.put(path, content, said) for content in contents][-1]

        self.both(real, ideal)

    @precondition(some(live))
    @rule(which=among(live))
    def put_the_same(self, which: Known) -> None:
        """The newest content once more: nothing happens, unless its bytes were given up."""
        content = self.model.things[which.handle].newest.content
        self.both(lambda s: s.put(f"id:{self.ids[which.handle]}", content), lambda m: m.put(which.handle, content, {}))

    @rule(path=values.paths, content=values.contents, said=values.described())
    def create(self, path: bytes, content: bytes, said: dict[str, Any]) -> None:
        """A name that must be free."""
        self.both(lambda s: s.create(path, content, **said), lambda m: m.create(path, content, said))

    @precondition(some(live))
    @rule(which=among(live), how=by, metadata=values.metadata, expect=expectations)
    def set_metadata(self, which: Known, how: str, metadata: dict[str, Any], expect: int | None) -> None:
        """Other metadata, the same content."""
        mine, its = self.ref(which, how)
        self.both(
            lambda s: s.artifacts.set_metadata(its, metadata, expect=expect),
            lambda m: m.set_metadata(mine, metadata, expect=expect),
        )

    @precondition(some(live))
    @rule(
        which=among(live), how=by, type=st.none() | st.sampled_from(values.TYPES),
        owner=st.none() | st.sampled_from(["", "Ben"]), tags=st.none() | values.tags,
    )  # fmt: skip
    def update(self, which: Known, how: str, type: str | None, owner: str | None, tags: set[str] | None) -> None:
        """What belongs to the artifact and not to a revision."""
        mine, its = self.ref(which, how)
        fields: dict[str, Any] = {"type": type, "owner": owner, "tags": tags}
        self.both(lambda s: s.artifacts.update(its, **fields), lambda m: m.update(mine, fields))

    @precondition(some(live))
    @rule(which=among(live), how=by, tags=values.tags)
    def tag(self, which: Known, how: str, tags: set[str]) -> None:
        """Tags that come."""
        mine, its = self.ref(which, how)
        self.both(lambda s: s.artifacts.tag(its, *tags), lambda m: m.tag(mine, add=tags, remove=set()))

    @precondition(some(_tagged))
    @rule(which=among(_tagged), more=values.tags, every=st.booleans())
    def untag(self, which: tuple[Known, str], more: set[str], every: bool) -> None:
        """Tags that go: one that is there and some that may be there, or all."""
        tags = {which[1], *more, *(self.model.things[which[0].handle].tags if every else ())}
        its = f"id:{self.ids[which[0].handle]}"
        self.both(
            lambda s: s.artifacts.untag(its, *sorted(tags)),
            lambda m: m.tag(which[0].handle, add=set(), remove=tags),
        )

    @precondition(some(live))
    @rule(which=among(live), how=by, into=st.none() | values.folders, name=new_names)
    def move(self, which: Known, how: str, into: bytes | None, name: bytes | None) -> None:
        """Another name, another collection, or both."""
        mine, its = self.ref(which, how)
        if into is None and name is None:
            return
        self.both(
            lambda s: (
                s.artifacts.move(its, into, name=name) if into is not None else s.artifacts.rename(its, name or b"")
            ),
            lambda m: m.put_thing(mine, into=into, name=name),
        )

    @precondition(some(live))
    @rule(which=among(live), how=by, restrict=st.booleans())
    def delete(self, which: Known, how: str, restrict: bool) -> None:
        """A tombstone."""
        mine, its = self.ref(which, how)
        way: Way = "restrict" if restrict else "cascade"
        self.both(
            lambda s: s.artifacts.delete(its, relationships=way),
            lambda m: m.restricted_delete(mine) if restrict else m.delete(mine),
        )

    @precondition(some(dead))
    @rule(which=among(dead), how=by, name=st.none() | new_names)
    def undelete(self, which: Known, how: str, name: bytes | None) -> None:
        """Back again, under its own name or another; a path means the one deleted last."""
        mine, its = self.ref(which, how)
        self.both(lambda s: s.artifacts.undelete(its, name=name), lambda m: m.undelete(mine, name=name))

    @precondition(some(every))
    @rule(which=among(every), verb=st.sampled_from(["get", "delete", "undelete", "tag", "purge"]))
    def miss(self, which: Known, verb: str) -> None:
        """A call that fits a live artifact to a dead one, or the other way round: refused, or nothing happens."""
        own, its = which.handle, f"id:{self.ids[which.handle]}"
        if verb == "get":
            self.both(lambda s: s.artifacts.get(its), lambda m: m.thing(own).handle)
        elif verb == "delete" and self.model.things[own].deleted:
            self.both(lambda s: s.artifacts.delete(its), lambda m: m.delete(own))
        elif verb == "undelete" and not self.model.things[own].deleted:
            self.both(lambda s: s.artifacts.undelete(its), lambda m: m.undelete(own, name=None))
        elif verb == "tag" and self.model.things[own].deleted:
            self.both(lambda s: s.artifacts.tag(its, "red"), lambda m: m.tag(own, add={"red"}, remove=set()))
        elif verb == "purge" and not self.model.things[own].deleted:
            self.both(lambda s: s.artifacts.purge(its), lambda m: m.purge(own, None))

    @precondition(some(_revisions))
    @rule(which=among(_revisions), how=by, beyond=st.sampled_from([0, 0, 0, 1]), message=st.sampled_from(["", "why"]))
    def revert(self, which: tuple[Known, int], how: str, beyond: int, message: str) -> None:
        """An old revision made newest."""
        mine, its = self.ref(which[0], how)
        number = which[1] + beyond
        self.both(lambda s: s.artifacts.revert(its, number, message=message), lambda m: m.revert(mine, number, message))

    @precondition(some(dead))
    @rule(which=among(dead), some=st.none() | st.sets(numbers, min_size=1, max_size=2))
    def purge(self, which: Known, some: set[int] | None) -> None:
        """The bytes of a deleted artifact given up, all or some."""
        its = f"id:{self.ids[which.handle]}"
        self.both(lambda s: s.artifacts.purge(its, revisions=some), lambda m: m.purge(which.handle, some))

    @precondition(some(_old))
    @rule(which=among(_old))
    def purge_old(self, which: tuple[Known, int]) -> None:
        """The bytes of an old revision given up; the newest stays."""
        its, numbers = f"id:{self.ids[which[0].handle]}", {which[1]}
        self.both(lambda s: s.artifacts.purge(its, revisions=numbers), lambda m: m.purge(which[0].handle, numbers))
