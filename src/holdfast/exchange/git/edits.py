"""What was changed in the store since an import: it is never overwritten by the next one, unless it says the same."""

from __future__ import annotations

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit
from holdfast.errors import ConflictError
from holdfast.exchange.git.commits import object_id
from holdfast.exchange.git.shelf import Folder, Place, Shelf
from holdfast.formats import lines
from holdfast.values import names
from holdfast.values.records import Change

_REMEDY = (
    "Bring both together in git: `holdfast export git` into a branch of its own, merge it there, and import the merge."
)


class Edits:
    """Places below a collection that others have changed."""

    def __init__(self, handle: Handle, top: Folder) -> None:
        self._handle = handle
        self._top = top
        self._places: set[Place] = set()

    def note(self, first: int, end: int) -> None:
        """Take note of all changes with a seq in [first, end)."""
        for data in self._handle.index.chain.read(first):
            for change in lines.decode(data, "a transaction of the index").changes():
                if change.seq >= end:
                    return
                if change.seq >= first and change.kind in ("artifact", "collection"):
                    self._take(change)

    def _take(self, change: Change) -> None:
        before = change.before or {}
        if change.kind == "collection":
            if not {"name", "parent"} & before.keys():
                return
            moved = self._handle.index.collections.by_id(change.id)
            if moved is not None and self._inside(names.parse_path(moved.path_bytes)):
                raise ConflictError(f"the collection {moved.path!r} was moved in the store since the last import",
                                    id=change.id, remedy=_REMEDY)  # fmt: skip
            return
        found = self._handle.index.artifacts.by_id(change.id)
        if found is None:
            return
        place = names.parse_path(found.path_bytes)
        self._add(place)
        if {"name", "collection"} & before.keys():
            folder = place[:-1]
            if "collection" in before:
                old = self._handle.index.collections.by_id(before["collection"])
                folder = () if old is None else names.parse_path(old.path_bytes)
            stray = bytes.fromhex(before.get("name_hex") or "")
            self._add((*folder, names.Name(before["name"], stray) if "name" in before else place[-1]))

    def _add(self, path: Folder) -> None:
        if self._inside(path):
            self._places.add((path[:-1], path[-1]))

    def _inside(self, path: Folder) -> bool:
        return len(path) > len(self._top) and path[: len(self._top)] == self._top

    def refuse(self, unit: Unit, shelf: Shelf, place: Place, *, before: bytes, digest: str | None) -> None:
        """ConflictError if a place was changed, to what is neither the old content (git's id) nor the new one."""
        if place not in self._places:
            return
        standing = shelf.at(unit, place)
        now = None if standing is None else standing.digest
        if now != digest:
            zeros = b"0" * len(before)
            held = zeros if now is None else object_id(b"blob", self._handle.blobs.read(now), like=before)
            if held != before:
                shown = names.join((*place[0], place[1]))
                raise ConflictError(f"{shown!r} was changed in the store since the last import, and in the repository",
                                    path=shown, remedy=_REMEDY)  # fmt: skip
        self._places.discard(place)

    def __bool__(self) -> bool:
        return bool(self._places)
