"""Rules: what people do to artifacts and collections."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Driver
from holdfast.testing.machine.values import Known, Way, among, by


def _things(machine: Driver) -> list[Known]:
    path = machine.model.path
    # The live ones first: a failure shrinks towards them.
    found = sorted(machine.model.things.values(), key=lambda t: (t.deleted, t.handle))
    return [
        Known(t.handle, f"artifact {t.handle} at {path(t.handle)!r}{' (deleted)' * bool(t.deleted)}") for t in found
    ]


def _places(machine: Driver) -> list[Known]:
    path = machine.model.path
    found = sorted(machine.model.places.values(), key=lambda p: (p.deleted, -p.handle))
    return [
        Known(p.handle, f"collection {p.handle} at {path(p.handle)!r}{' (deleted)' * bool(p.deleted)}") for p in found
    ]


there_are_things = precondition(lambda machine: bool(machine.model.things))
there_are_places = precondition(lambda machine: bool(machine.model.places))
numbers = st.integers(1, 4)
expectations = st.none() | st.none() | st.integers(0, 3)
new_names = st.none() | values.names


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

    @there_are_things
    @rule(which=among(_things), how=by, content=values.contents, said=values.described(), right=st.booleans())
    def put_again(self, which: Known, how: str, content: bytes, said: dict[str, Any], right: bool) -> None:
        """A put to a known artifact, by any name it has, that expects its newest revision or the one before."""
        mine, its = self.ref(which, how)
        expect = self.model.things[which.handle].newest.number - (not right)
        self.both(
            lambda s: s.put(its, content, expect=expect, **said), lambda m: m.put(mine, content, said, expect=expect)
        )

    @there_are_things
    @rule(which=among(_things))
    def put_the_same(self, which: Known) -> None:
        """The newest content once more: nothing happens, unless its bytes were given up."""
        content = self.model.things[which.handle].newest.content
        self.both(lambda s: s.put(f"id:{self.ids[which.handle]}", content), lambda m: m.put(which.handle, content, {}))

    @rule(path=values.paths, content=values.contents, said=values.described())
    def create(self, path: bytes, content: bytes, said: dict[str, Any]) -> None:
        """A name that must be free."""
        self.both(lambda s: s.create(path, content, **said), lambda m: m.create(path, content, said))

    @there_are_things
    @rule(which=among(_things), how=by, metadata=values.metadata, expect=expectations)
    def set_metadata(self, which: Known, how: str, metadata: dict[str, Any], expect: int | None) -> None:
        """Other metadata, the same content."""
        mine, its = self.ref(which, how)
        self.both(
            lambda s: s.artifacts.set_metadata(its, metadata, expect=expect),
            lambda m: m.set_metadata(mine, metadata, expect=expect),
        )

    @there_are_things
    @rule(
        which=among(_things), how=by, type=st.none() | st.sampled_from(values.TYPES),
        owner=st.none() | st.sampled_from(["", "Ben"]), tags=st.none() | values.tags,
    )  # fmt: skip
    def update(self, which: Known, how: str, type: str | None, owner: str | None, tags: set[str] | None) -> None:
        """What belongs to the artifact and not to a revision."""
        mine, its = self.ref(which, how)
        fields: dict[str, Any] = {"type": type, "owner": owner, "tags": tags}
        self.both(lambda s: s.artifacts.update(its, **fields), lambda m: m.update(mine, fields))

    @there_are_things
    @rule(which=among(_things), how=by, tags=values.tags, away=st.booleans())
    def tag(self, which: Known, how: str, tags: set[str], away: bool) -> None:
        """Tags that come and go."""
        mine, its = self.ref(which, how)
        self.both(
            lambda s: (s.artifacts.untag if away else s.artifacts.tag)(its, *tags),
            lambda m: m.tag(mine, add=set() if away else tags, remove=tags if away else set()),
        )

    @there_are_things
    @rule(which=among(_things), how=by, into=st.none() | values.folders, name=new_names)
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

    @there_are_things
    @rule(which=among(_things), how=by, restrict=st.booleans())
    def delete(self, which: Known, how: str, restrict: bool) -> None:
        """A tombstone."""
        mine, its = self.ref(which, how)
        way: Way = "restrict" if restrict else "cascade"
        self.both(
            lambda s: s.artifacts.delete(its, relationships=way),
            lambda m: m.restricted_delete(mine) if restrict else m.delete(mine),
        )

    @there_are_things
    @rule(which=among(lambda m: _things(m)[::-1]), how=by, name=new_names)
    def undelete(self, which: Known, how: str, name: bytes | None) -> None:
        """Back again, under its own name or another; a path means the one deleted last."""
        mine, its = self.ref(which, how)
        self.both(lambda s: s.artifacts.undelete(its, name=name), lambda m: m.undelete(mine, name=name))

    @there_are_things
    @rule(which=among(_things), how=by, number=numbers)
    def revert(self, which: Known, how: str, number: int) -> None:
        """An old revision made newest."""
        mine, its = self.ref(which, how)
        self.both(lambda s: s.artifacts.revert(its, number), lambda m: m.revert(mine, number))

    @there_are_things
    @rule(which=among(_things), some=st.none() | st.sets(numbers, min_size=1, max_size=2))
    def purge(self, which: Known, some: set[int] | None) -> None:
        """Bytes given up: of a deleted artifact, or of old revisions."""
        its = f"id:{self.ids[which.handle]}"
        self.both(lambda s: s.artifacts.purge(its, revisions=some), lambda m: m.purge(which.handle, some))

    @rule(
        into=values.folders, name=values.names, mode=st.sampled_from([0o644, 0o755]), atomic=st.booleans(),
        files=st.dictionaries(values.names, values.contents, max_size=3),
    )  # fmt: skip
    def add(self, into: bytes, name: bytes, mode: int, atomic: bool, files: dict[bytes, bytes]) -> None:
        """A folder of files taken in."""
        folder = bytes(self.home) + b"/" + b"tree-%d" % self.steps + b"/" + name
        Path(folder.decode("utf-8", "surrogateescape")).mkdir(parents=True)
        for file, content in files.items():
            made = Path((folder + b"/" + file).decode("utf-8", "surrogateescape"))
            made.write_bytes(content)
            made.chmod(mode)
        report = self.store.add(folder, into=into, atomic=atomic)
        outcomes = self.model.add(values.path_of(into, name), files, mode)
        self.learn()
        assert report.added == outcomes["create"]
        assert report.revised == outcomes["revise"]
        assert report.unchanged == outcomes["unchanged"]
        assert len(report.problems) == outcomes["refused"], report.problems


class CollectionRules(Driver):
    """Verbs of collections."""

    @rule(path=values.paths, parents=st.booleans(), metadata=values.metadata, tags=values.tags)
    def create_collection(self, path: bytes, parents: bool, metadata: dict[str, Any], tags: set[str]) -> None:
        """A place."""
        self.both(
            lambda s: s.collections.create(path, parents=parents, metadata=metadata, tags=tags),
            lambda m: m.create_place(path, parents=parents, metadata=metadata, tags=tags),
        )

    @there_are_places
    @rule(
        which=among(_places),
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

    @there_are_places
    @rule(which=among(_places), how=by, tags=values.tags, away=st.booleans())
    def tag_collection(self, which: Known, how: str, tags: set[str], away: bool) -> None:
        """Tags that come and go."""
        mine, its = self.ref(which, how)
        self.both(
            lambda s: (s.collections.untag if away else s.collections.tag)(its, *tags),
            lambda m: m.tag_place(mine, add=set() if away else tags, remove=tags if away else set()),
        )

    @there_are_places
    @rule(which=among(_places), how=by, into=st.none() | values.folders, name=new_names)
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

    @there_are_places
    @rule(which=among(_places), how=by, cascade=st.booleans())
    def delete_collection(self, which: Known, how: str, cascade: bool) -> None:
        """A tombstone on all that lies in it, or a refusal."""
        mine, its = self.ref(which, how)
        way: Way = "cascade" if cascade else "restrict"
        self.both(lambda s: s.collections.delete(its, contents=way), lambda m: m.delete_place(mine, cascade=cascade))

    @there_are_places
    @rule(which=among(lambda m: _places(m)[::-1]), name=new_names)
    def undelete_collection(self, which: Known, name: bytes | None) -> None:
        """Back again, with all that went along."""
        its = f"id:{self.ids[which.handle]}"
        self.both(lambda s: s.collections.undelete(its, name=name), lambda m: m.undelete_place(which.handle, name=name))
