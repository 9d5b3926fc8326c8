"""The part of the dict model that keeps collections and artifacts: names, revisions, tombstones, refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

ROOT_NAME = b""
Said = dict[str, Any]


class Refused(Exception):  # noqa: N818
    """The model says no; `code` is the stable code of the error that the store must raise."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Rev:
    """A revision. `media_type`: None until it is learned, where the store was left to find it."""

    number: int
    content: bytes
    media_type: str | None
    metadata: dict[str, Any]
    message: str
    mode: int | None
    run: int | None
    state: str = "kept"
    erased: bool = False

    @property
    def size(self) -> int:
        """Bytes of the content; none are known of one that was redacted."""
        return 0 if self.erased else len(self.content)


@dataclass
class Place:
    """A collection. `deleted`: number of the delete that hides it, 0 if it is live."""

    handle: int
    parent: int | None
    name: bytes
    metadata: dict[str, Any]
    tags: set[str] = field(default_factory=set)
    owner: str = ""
    deleted: int = 0


@dataclass
class Thing:
    """An artifact."""

    handle: int
    parent: int
    name: bytes
    type: str
    status: str
    owner: str
    tags: set[str]
    revisions: list[Rev]
    deleted: int = 0

    @property
    def newest(self) -> Rev:
        """The last revision that was made."""
        return self.revisions[-1]


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same: 1, 1.0 and True are three."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


class Places:
    """Collections and artifacts by handle: small numbers that the model gives, in order of creation."""

    def __init__(self) -> None:
        self.places: dict[int, Place] = {}
        self.things: dict[int, Thing] = {}
        self.trail: list[tuple[str, str, int]] = []
        self.handles = 0
        self.deletes = 0

    def new_handle(self) -> int:
        """The next small number."""
        self.handles += 1
        return self.handles

    def note(self, kind: str, action: str, handle: int) -> None:
        """One change in the audit trail."""
        self.trail.append((kind, action, handle))

    # -- paths -------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> int | None:
        """The root collection; None before the first write that needs it."""
        return next((one.handle for one in self.places.values() if one.parent is None), None)

    def path(self, handle: int) -> bytes:
        """The path of a collection or artifact, live or not."""
        one: Place | Thing = self.things[handle] if handle in self.things else self.places[handle]
        if one.parent is None:
            return b""
        above = self.path(one.parent)
        return above + b"/" + one.name if above else one.name

    def child(self, parent: int | None, name: bytes) -> Place | None:
        """The live collection of a name in another."""
        found = (one for one in self.places.values() if one.parent == parent and one.name == name and not one.deleted)
        return None if parent is None else next(found, None)

    def thing_in(self, parent: int | None, name: bytes) -> Thing | None:
        """The live artifact of a name in a collection."""
        found = (one for one in self.things.values() if one.parent == parent and one.name == name and not one.deleted)
        return None if parent is None else next(found, None)

    def down(self, path: bytes) -> int | None:
        """The live collection at a path."""
        found = self.root
        for name in path.split(b"/") if path else ():
            below = self.child(found, name)
            found = None if below is None else below.handle
        return found

    def place(self, ref: bytes | int) -> Place:
        """The live collection that is named; refuses `not-found`."""
        handle = self.down(ref) if isinstance(ref, bytes) else ref
        if handle is None or self.places[handle].deleted:
            raise Refused("not-found")
        return self.places[handle]

    def thing(self, ref: bytes | int) -> Thing:
        """The live artifact that is named; refuses `not-found`."""
        found = self.things[ref] if isinstance(ref, int) else self.at(ref)
        if found is None or found.deleted:
            raise Refused("not-found")
        return found

    def at(self, path: bytes) -> Thing | None:
        """The live artifact at a path."""
        folder, _, name = path.rpartition(b"/")
        return self.thing_in(self.down(folder), name)

    def refuse_taken(self, parent: int | None, name: bytes) -> None:
        """A path leads to one thing."""
        if self.thing_in(parent, name) or self.child(parent, name):
            raise Refused("name-taken")

    def refuse_barred(self, path: bytes) -> None:
        """No artifact may stand where a collection is wanted."""
        found = self.root
        for name in path.split(b"/") if path else ():
            if self.thing_in(found, name):
                raise Refused("name-taken")
            below = self.child(found, name)
            found = None if below is None else below.handle

    def ensure(self, path: bytes) -> int:
        """The collection at a path, made with its parents; refuses before anything is made."""
        self.refuse_barred(path)
        made = self.root if self.root is not None else self._make(None, ROOT_NAME, {})
        for name in path.split(b"/") if path else ():
            below = self.child(made, name)
            made = below.handle if below else self._make(made, name, {})
        return made

    def _make(self, parent: int | None, name: bytes, metadata: dict[str, Any]) -> int:
        handle = self.new_handle()
        self.places[handle] = Place(handle, parent, name, metadata)
        self.note("collection", "create", handle)
        return handle

    # -- collections -------------------------------------------------------------------------------------------------

    def create_place(self, path: bytes, *, parents: bool, metadata: dict[str, Any], tags: set[str]) -> int:
        """`collections.create`."""
        folder, _, name = path.rpartition(b"/")
        if folder and not parents and self.down(folder) is None:
            raise Refused("not-found")
        held = self.down(folder)
        if held is not None:
            self.refuse_taken(held, name)
        handle = self._make(self.ensure(folder), name, metadata)
        self.places[handle].tags |= tags
        return handle

    def ensure_place(self, path: bytes) -> int:
        """`collections.ensure`."""
        return self.ensure(path)

    def update_place(self, ref: bytes | int, *, metadata: dict[str, Any] | None, owner: str | None) -> None:
        """`collections.update`."""
        found = self.place(ref)
        before = (found.metadata, found.owner)
        after = (found.metadata if metadata is None else metadata, found.owner if owner is None else owner)
        if not same(before, after):
            found.metadata, found.owner = after
            self.note("collection", "update", found.handle)

    def tag_place(self, ref: bytes | int, *, add: set[str], remove: set[str]) -> None:
        """`collections.tag` and `untag`."""
        self._tag(self.place(ref), "collection", (self.place(ref).tags | add) - remove)

    def _tag(self, found: Place | Thing, kind: str, tags: set[str]) -> None:
        if tags != found.tags:
            found.tags = tags
            self.note(kind, "update", found.handle)

    def put_place(self, ref: bytes | int, *, into: bytes | None, name: bytes | None) -> None:
        """`collections.rename` and `move`."""
        found = self.place(ref)
        if found.parent is None:
            raise Refused("invalid-name")
        parent = found.parent if into is None else self.place(into).handle
        new = found.name if name is None else name
        if (parent, new) == (found.parent, found.name):
            return
        if found.handle in self.line(parent):
            raise Refused("conflict")
        self.refuse_taken(parent, new)
        found.parent, found.name = parent, new
        self.note("collection", "update", found.handle)

    def line(self, handle: int | None) -> list[int]:
        """A collection and all above it."""
        found = []
        while handle is not None:
            found.append(handle)
            handle = self.places[handle].parent
        return found

    def inside(self, handle: int) -> tuple[list[Place], list[Thing]]:
        """What live things lie below a collection, at any depth."""
        places = [p for p in self.places.values() if not p.deleted and handle in self.line(p.parent)]
        things = [t for t in self.things.values() if not t.deleted and handle in self.line(t.parent)]
        return places, things

    def delete_place(self, ref: bytes | int, *, cascade: bool) -> None:
        """`collections.delete`."""
        found = self.place(ref)
        if found.parent is None:
            raise Refused("invalid-value")
        places, things = self.inside(found.handle)
        if (places or things) and not cascade:
            raise Refused("in-use")
        self.deletes += 1
        for one, kind in [(found, "collection"), *((p, "collection") for p in places)]:
            one.deleted = self.deletes
            self.note(kind, "delete", one.handle)
        for thing in things:
            thing.deleted = self.deletes
            self.note("artifact", "delete", thing.handle)

    def undelete_place(self, handle: int, *, name: bytes | None) -> None:
        """`collections.undelete`: what went along comes back."""
        found = self.places[handle]
        if not found.deleted:
            return
        assert found.parent is not None
        if self.places[found.parent].deleted:
            raise Refused("conflict")
        self.refuse_taken(found.parent, name or found.name)
        found.name = name or found.name
        event = found.deleted
        for place in self.places.values():
            if place.deleted == event:
                place.deleted = 0
                self.note("collection", "undelete", place.handle)
        for thing in self.things.values():
            if thing.deleted == event:
                thing.deleted = 0
                self.note("artifact", "undelete", thing.handle)
