"""The part of the dict model that says what happens to artifacts: puts, revisions, moves, tombstones, purges."""

from __future__ import annotations

from typing import Any

from holdfast.testing.model_places import Places, Refused, Rev, Said, Thing, same

LEARN = "?"
"""As a media type: what the store finds in the content, whatever type the artifact had."""

ERASED_TYPE = "application/octet-stream"


class Things(Places):
    """Verbs of artifacts. `said`: media_type, metadata, type, status, owner, tags, message, mode, run."""

    # -- content -----------------------------------------------------------------------------------------------------

    def put(self, ref: bytes | int, content: bytes, said: Said, *, expect: int | None = None) -> int:
        """`put`; the handle of the artifact."""
        found = self.thing(ref) if isinstance(ref, int) else self.at(ref)
        self._meet(expect, found)
        if found is not None:
            self._revise(found, content, said)
            return found.handle
        assert isinstance(ref, bytes)
        return self.create(ref, content, said)

    def create(self, path: bytes, content: bytes, said: Said) -> int:
        """`create`: the name must be free."""
        folder, _, name = path.rpartition(b"/")
        self.refuse_barred(folder)
        self.refuse_taken(self.down(folder), name)
        self._refuse_run(said)
        parent = self.ensure(folder)
        handle = self.new_handle()
        first = Rev(
            1, content, said.get("media_type"), said.get("metadata") or {}, said.get("message", ""),
            said.get("mode"), said.get("run"),
        )  # fmt: skip
        self.things[handle] = Thing(
            handle, parent, name, said.get("type") or "file", said.get("status") or "active", said.get("owner") or "",
            set(said.get("tags") or ()), [first],
        )  # fmt: skip
        self.note("artifact", "create", handle)
        return handle

    def _refuse_run(self, said: Said) -> None:
        if said.get("run") is not None and not self.run_is_live(said["run"]):
            raise Refused("not-found")

    def run_is_live(self, handle: int) -> bool:
        """Whether a revision can be put in this run."""
        raise NotImplementedError

    def _meet(self, expect: int | None, found: Thing | None) -> None:
        number = found.newest.number if found else 0
        if expect is not None and expect != number:
            raise Refused("name-taken" if expect == 0 else "expectation-failed")

    def _revise(self, found: Thing, content: bytes, said: Said) -> None:
        old = found.newest
        media_type = said.get("media_type") or old.media_type
        media_type = None if media_type == LEARN else media_type
        metadata = old.metadata if said.get("metadata") is None else said["metadata"]
        mode = said.get("mode", old.mode)
        equal = (content, media_type, mode, old.state) == (old.content, old.media_type, old.mode, "kept")
        if not equal or not same(metadata, old.metadata):
            self._refuse_run(said)
            number = len(found.revisions) + 1
            message = said.get("message", "")
            found.revisions.append(Rev(number, content, media_type, metadata, message, mode, said.get("run")))
            self.note("artifact", "revise", found.handle)
        self._set(found, {field: said[field] for field in ("type", "status", "owner", "tags") if field in said})

    def _set(self, found: Thing, fields: dict[str, Any]) -> None:
        changed = {field: value for field, value in fields.items() if value is not None}
        changed = {field: value for field, value in changed.items() if getattr(found, field) != value}
        for field, value in changed.items():
            setattr(found, field, value)
        if changed:
            self.note("artifact", "update", found.handle)

    def set_metadata(self, ref: bytes | int, metadata: dict[str, Any], *, expect: int | None = None) -> None:
        """`set_metadata`."""
        found = self.thing(ref)
        self._meet(expect, found)
        if found.newest.state != "kept":
            raise Refused("content-purged")
        self._revise(found, found.newest.content, {"metadata": metadata})

    def revert(self, ref: bytes | int, number: int, message: str = "") -> None:
        """`revert`: an old revision made newest, with its content, media type, metadata and mode."""
        found = self.thing(ref)
        if not 1 <= number <= len(found.revisions):
            raise Refused("not-found")
        old = found.revisions[number - 1]
        if old.state != "kept":
            raise Refused("content-purged")
        said = {"metadata": old.metadata, "media_type": old.media_type, "mode": old.mode}
        self._revise(found, old.content, {**said, "message": message or f"revert to revision {number}"})

    # -- what belongs to the artifact --------------------------------------------------------------------------------

    def update(self, ref: bytes | int, fields: dict[str, Any]) -> None:
        """`update`."""
        self._set(self.thing(ref), fields)

    def tag(self, ref: bytes | int, *, add: set[str], remove: set[str]) -> None:
        """`tag` and `untag`."""
        found = self.thing(ref)
        self._tag(found, "artifact", (found.tags | add) - remove)

    def put_thing(self, ref: bytes | int, *, into: bytes | None, name: bytes | None) -> None:
        """`rename` and `move`."""
        found = self.thing(ref)
        parent = found.parent if into is None else self.place(into).handle
        new = found.name if name is None else name
        if (parent, new) == (found.parent, found.name):
            return
        self.refuse_taken(parent, new)
        found.parent, found.name = parent, new
        self.note("artifact", "update", found.handle)

    # -- tombstones --------------------------------------------------------------------------------------------------

    def delete(self, ref: bytes | int) -> None:
        """`delete`."""
        found = self.thing(ref)
        self.deletes += 1
        found.deleted = self.deletes
        self.note("artifact", "delete", found.handle)

    def undelete(self, ref: bytes | int, *, name: bytes | None) -> None:
        """`undelete`; a path means the live one, else the one deleted last."""
        found = self.things[ref] if isinstance(ref, int) else self.at(ref) or self._buried(ref)
        if found is None:
            raise Refused("not-found")
        if not found.deleted:
            return
        if self.places[found.parent].deleted:
            raise Refused("conflict")
        self.refuse_taken(found.parent, name or found.name)
        found.deleted, found.name = 0, name or found.name
        self.note("artifact", "undelete", found.handle)

    def _buried(self, path: bytes) -> Thing | None:
        folder, _, name = path.rpartition(b"/")
        parent = self.root
        for step in folder.split(b"/") if folder else ():
            live = self.child(parent, step)
            gone = [one for one in self.places.values() if one.parent == parent and one.name == step]
            if parent is None or not gone:
                return None
            parent = (live or max(gone, key=lambda one: one.deleted)).handle
        things = [one for one in self.things.values() if one.parent == parent and one.name == name and one.deleted]
        return max(things, key=lambda one: one.deleted, default=None)

    def purge(self, handle: int, numbers: set[int] | None) -> None:
        """`purge`: revisions of a deleted artifact, or older ones of a live one."""
        found = self.things[handle]
        known = {one.number for one in found.revisions}
        wanted = known if numbers is None else numbers
        if not found.deleted and (numbers is None or found.newest.number in wanted):
            raise Refused("conflict")
        if wanted - known:
            raise Refused("not-found")
        kept = [one for one in found.revisions if one.number in wanted and one.state == "kept"]
        for one in kept:
            one.state = "purged"
        if kept:
            self.note("artifact", "purge", handle)

    def redact(self, handle: int, fields: set[str], numbers: set[int] | None, name: bytes) -> None:
        """`redact` of an artifact that has something to erase; `name`: what one is called whose name is gone."""
        found = self.things[handle]
        for one in found.revisions:
            if numbers is None or one.number in numbers:
                _erase(one, fields)
        found.tags = set() if "tags" in fields else found.tags
        found.owner = "" if "owner" in fields else found.owner
        found.name = name if "name" in fields else found.name
        self.note("artifact", "redact", handle)

    def holds(self, handle: int, fields: set[str], numbers: set[int] | None) -> bool:
        """Whether an artifact is seen to have one of some fields, so that redacting them takes something away."""
        found = self.things[handle]
        said = [one for one in found.revisions if numbers is None or one.number in numbers]
        return (
            ("tags" in fields and bool(found.tags)) or ("owner" in fields and bool(found.owner))
            or ("content" in fields and any(not one.erased for one in said))
            or ("metadata" in fields and any(one.metadata for one in said))
            or ("message" in fields and any(one.message for one in said))
        )  # fmt: skip


def _erase(one: Rev, fields: set[str]) -> None:
    if "content" in fields:
        one.erased, one.state, one.media_type = True, "purged", ERASED_TYPE
    one.metadata = {} if "metadata" in fields else one.metadata
    one.message = "" if "message" in fields else one.message
