"""Collections: nested places with names of their own."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from holdfast.engine.handle import Handle
from holdfast.errors import (
    ConflictError,
    InUseError,
    InvalidNameError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
)
from holdfast.index.tables import KIND_CODES
from holdfast.kinds import addresses, checks, labels
from holdfast.kinds.addresses import CollectionRef
from holdfast.kinds.clauses import upheld
from holdfast.kinds.writing import write
from holdfast.values import moment, names
from holdfast.values.change import Body
from holdfast.values.names import Name
from holdfast.values.records import Collection, FileFacts

if TYPE_CHECKING:
    from holdfast.engine.transaction import Unit


def name_fields(name: Name) -> dict[str, Any]:
    """A name as fields of a change body."""
    return {"name": name.text, **({"name_hex": name.stray.hex()} if name.stray else {})}


def name_change(old: Name, new: Name) -> dict[str, list[Any]]:
    """A change of name as fields of a `set`."""
    fields: dict[str, list[Any]] = {"name": [old.text, new.text]}
    if old.stray or new.stray:
        fields["name_hex"] = [old.stray.hex() or None, new.stray.hex() or None]
    return fields


def root(unit: Unit) -> int:
    """Key of the root collection, made by the first write that needs it."""
    found = unit.handle.index.collections.root()
    return found if found is not None else make(unit, None, Name(""), {})


def make(unit: Unit, parent_id: str | None, name: Name, extra: dict[str, Any]) -> int:
    """A new collection; its key. The caller has seen to it that the name is free."""
    return unit.change(creation(moment.draw_id(unit.now_us), parent_id, name, extra))


def creation(collection_id: str, parent_id: str | None, name: Name, extra: dict[str, Any]) -> Body:
    """The change that makes a collection."""
    new: dict[str, Any] = {**name_fields(name), **extra}
    if parent_id is not None:
        new["parent"] = parent_id
    return {"kind": "collection", "action": "create", "id": collection_id, "new": new}


def ensure_down(unit: Unit, path: tuple[Name, ...]) -> int:
    """Key of the collection at a path, made with its parents where missing."""
    rows = unit.handle.index.collections
    key = root(unit)
    for name in path:
        child = rows.child(key, name)
        if child is None:
            refuse_taken(unit, key, name)
            parent = unit.handle.index.lookups.ids([key])[key]
            child = make(unit, parent, name, {})
        key = child
    return key


def refuse_taken(unit: Unit, parent: int, name: Name) -> None:
    """NameTakenError if a live artifact or collection has the name: a path leads to one thing."""
    held = unit.handle.index.artifacts.by_place(parent, name)
    if held is not None:
        raise NameTakenError(f"{held.path!r} is an artifact", name=held.path, holder=held.id, kind="artifact")
    refuse_collection(unit, parent, name)


def refuse_collection(unit: Unit, parent: int, name: Name) -> None:
    """NameTakenError if a live collection has the name; of artifacts the caller knows that none has."""
    key = unit.handle.index.collections.child(parent, name, unit.handle.index.sights.now())
    if key is not None:
        found = unit.handle.index.collections.by_key(key)
        assert found is not None
        raise NameTakenError(f"{found.path!r} is a collection", name=found.path, holder=found.id, kind="collection")


@upheld
class Collections:
    """`store.collections`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, ref: CollectionRef = "", *, deleted: bool = False) -> Collection:
        """The collection at a path ("" is the root) or `id:UUID`. Raises NotFoundError."""
        return addresses.collection(self._handle, ref, deleted=deleted)

    def list(self, ref: CollectionRef = "", *, recursive: bool = False) -> Iterator[Collection]:
        """Live collections right below one, by name; `recursive`: each followed by those below it."""
        start = self._existing_key(ref)
        if start is None:
            return
        waiting = [self._handle.index.collections.children(start)]
        while waiting:
            found = next(waiting[-1], None)
            if found is None:
                waiting.pop()
                continue
            yield found[1]
            if recursive:
                waiting.append(self._handle.index.collections.children(found[0]))

    def contents(self, ref: CollectionRef = "") -> dict[str, int]:
        """How many live collections and artifacts lie in a collection, at any depth."""
        key = self._existing_key(ref)
        if key is None:
            return {"collections": 0, "artifacts": 0}
        below = self._handle.index.collections.below(key)
        return {"collections": len(below), "artifacts": self._handle.index.collections.count_artifacts([key, *below])}

    def _existing_key(self, ref: CollectionRef) -> int | None:
        if ref in ("", b"") and self._handle.index.collections.root() is None:
            return None
        return addresses.key_of(self._handle, self.get(ref).id)

    # -- writing -----------------------------------------------------------------------------------------------------

    def create(
        self,
        path: str | bytes,
        *,
        parents: bool = False,
        metadata: dict[str, Any] | None = None,
        tags: Iterable[str] = (),
        owner: str = "",
        file: FileFacts | None = None,
    ) -> Collection:
        """A new collection; durable when it returns. NameTakenError; NotFoundError without `parents` if one lacks."""
        folder, name = addresses.split(path)
        tags = labels.checked(tags)
        checks.object_of(metadata, "metadata")
        checks.text_of(owner, "owner")
        with write(self._handle, what="create collection") as unit:
            rows = unit.handle.index.collections
            parent = ensure_down(unit, folder) if parents or not folder else rows.down(folder)
            if parent is None:
                shown = names.join(folder)
                raise NotFoundError(f"there is no collection {shown!r}", kind="collection", ref=shown,
                                    remedy="Make it first, or say `parents`.")  # fmt: skip
            refuse_taken(unit, parent, name)
            parent_id = unit.handle.index.lookups.ids([parent])[parent]
            extra = labels.given(metadata=metadata, tags=tags, owner=owner) | file_fields(file)
            return self._by_key(make(unit, parent_id, name, extra))

    def ensure(self, path: str | bytes) -> Collection:
        """The collection at a path, made with its parents if it is not there."""
        parts = names.parse_path(path)
        with write(self._handle, what="ensure collection") as unit:
            return self._by_key(ensure_down(unit, parts))

    def update(
        self, ref: CollectionRef, *, metadata: dict[str, Any] | None = None, owner: str | None = None,
        file: FileFacts | None = None, note: str = "",
    ) -> Collection:  # fmt: skip
        """New metadata (replaced whole), owner or file facts; what is not given stays. No change is a no-op."""
        checks.object_of(metadata, "metadata")
        checks.text_of(owner or "", "owner")
        file_fields(file)
        with write(self._handle, note=note, what="update collection") as unit:
            found = self.get(ref)
            pairs: dict[str, list[Any]] = {}
            if metadata is not None and not labels.same(metadata, found.metadata):
                pairs["metadata"] = [found.metadata, metadata]
            if owner is not None and owner != found.owner:
                pairs["owner"] = [found.owner, owner]
            if file is not None:
                pairs |= {f: [getattr(found.file, f), getattr(file, f)] for f in ("mode", "mtime_ns")
                          if getattr(file, f) != getattr(found.file, f)}  # fmt: skip
            return self._set(unit, found, pairs)

    def tag(self, ref: CollectionRef, *tags: str) -> Collection:
        """Add tags."""
        with write(self._handle, what="tag") as unit:
            found = self.get(ref)
            return self._set(unit, found, labels.tag_change(found.tags, add=tags))

    def untag(self, ref: CollectionRef, *tags: str) -> Collection:
        """Take tags away; those it has not are no error."""
        with write(self._handle, what="untag") as unit:
            found = self.get(ref)
            return self._set(unit, found, labels.tag_change(found.tags, remove=tags))

    def rename(self, ref: CollectionRef, name: str | bytes) -> Collection:
        """A new name in the same place; id, contents and history stay. NameTakenError."""
        return self._place(ref, None, names.parse(name))

    def move(self, ref: CollectionRef, into: CollectionRef, *, name: str | bytes | None = None) -> Collection:
        """Into another collection, which must not lie in this one. NameTakenError, ConflictError."""
        return self._place(ref, into, None if name is None else names.parse(name))

    def _place(self, ref: CollectionRef, into: CollectionRef | None, name: Name | None) -> Collection:
        with write(self._handle, what="move collection") as unit:
            found = self.get(ref)
            if found.parent_id is None:
                raise InvalidNameError("the root can be neither renamed nor moved", name="", reason="root")
            old = names.from_raw(found.name_bytes)
            new = name or old
            parent = found.parent_id if into is None else self._target(unit, into).id
            if parent == found.parent_id and new == old:
                return found
            parent_key, own = addresses.key_of(self._handle, parent), addresses.key_of(self._handle, found.id)
            if parent_key == own or parent_key in unit.handle.index.collections.below(own):
                raise ConflictError(f"{found.path!r} cannot be moved into itself", id=found.id)
            refuse_taken(unit, parent_key, new)
            pairs = name_change(old, new) if new != old else {}
            if parent != found.parent_id:
                pairs["parent"] = [found.parent_id, parent]
            return self._set(unit, found, pairs)

    def _target(self, unit: Unit, into: CollectionRef) -> Collection:
        if into in ("", b""):
            return self._by_key(root(unit))
        return self.get(into)

    def delete(
        self, ref: CollectionRef, *, contents: Literal["restrict", "cascade"] = "restrict",
        relationships: Literal["restrict", "cascade"] = "cascade", note: str = "",
    ) -> Collection:  # fmt: skip
        """A tombstone on a collection; with `cascade` on all that lies in it, each with its own change record.

        Raises InUseError with the counts if it holds something (or is related, with `restrict`). `undelete` brings
        back exactly what went along.
        """
        with write(self._handle, note=note, what="delete collection") as unit:
            found = self.get(ref)
            if found.parent_id is None:
                raise InvalidValueError("the root collection cannot be deleted", where="collection", reason="root")
            own = addresses.key_of(self._handle, found.id)
            counts = self.contents(found)
            if contents != "cascade" and any(counts.values()):
                raise InUseError(
                    f"{found.path!r} holds {counts['collections']} collections and {counts['artifacts']} artifacts",
                    id=found.id, counts=counts,
                )  # fmt: skip
            rows = unit.handle.index.collections
            below = rows.below(own)
            if relationships != "cascade":
                inside = (artifact for key in [own, *below] for artifact in rows.artifact_keys(key))
                labels.refuse_related(unit, [own, *below, *inside], found.path)
            unit.change({"kind": "collection", "action": "delete", "id": found.id})
            for key in [own, *below]:
                for artifact in unit.handle.index.collections.artifact_keys(key):
                    labels.bury(unit, "artifact", artifact, cause=found.id)
            for key in reversed(below):
                labels.bury(unit, "collection", key, cause=found.id)
            return self._by_key(own)

    def undelete(self, ref: CollectionRef, *, name: str | bytes | None = None) -> Collection:
        """Bring back a deleted collection with all that its delete took along. NameTakenError names the holder."""
        with write(self._handle, what="undelete collection") as unit:
            found = addresses.collection(self._handle, ref, deleted=True)
            own = addresses.key_of(self._handle, found.id)
            if found.deleted_at is None:
                return found
            parent = unit.handle.index.collections.parent_of(own)
            assert parent is not None
            if unit.handle.index.collections.deleted_seq(parent):
                raise ConflictError(f"the collection that held {found.path!r} is deleted", id=found.id,
                                    remedy="Undelete that one first.")  # fmt: skip
            old = names.from_raw(found.name_bytes)
            new = old if name is None else names.parse(name)
            refuse_taken(unit, parent, new)
            seq = unit.handle.index.collections.deleted_seq(own)
            along = unit.handle.index.collections.taken_along(seq)
            body: Body = {"kind": "collection", "action": "undelete", "id": found.id}
            unit.change(body | ({"set": name_change(old, new)} if new != old else {}))
            for key, kind in along:
                if key != own:
                    kind_name = next(n for n, code in KIND_CODES.items() if code == kind)
                    labels.raise_again(unit, kind_name, key)
            return self._by_key(own)

    def _set(self, unit: Unit, found: Collection, pairs: dict[str, builtins.list[Any]]) -> Collection:
        if not pairs:
            return found
        unit.change({"kind": "collection", "action": "update", "id": found.id, "set": pairs})
        return self._by_key(addresses.key_of(self._handle, found.id))

    def _by_key(self, key: int) -> Collection:
        found = self._handle.index.collections.by_key(key)
        assert found is not None
        return found


def file_fields(file: FileFacts | None) -> dict[str, Any]:
    """File facts as fields of a change body."""
    if file is None:
        return {}
    checks.facts_of(file)
    return {f: v for f, v in (("mode", file.mode), ("mtime_ns", file.mtime_ns)) if v is not None}
