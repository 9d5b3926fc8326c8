"""What stands where a history goes: known from the index, kept in mind while nobody else writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit
from holdfast.kinds import collections
from holdfast.kinds.collections import Collections
from holdfast.values import moment
from holdfast.values.names import Name
from holdfast.values.records import SYMLINK_MEDIA_TYPE, RevisionState

MOST = 200_000
"""So many places are kept in mind."""

Folder = tuple[Name, ...]
Place = tuple[Folder, Name]


@dataclass(frozen=True, slots=True)
class Standing:
    """An artifact's newest revision. `kept`: its content can be had."""

    id: str
    number: int
    digest: str
    media_type: str
    mode: int | None
    metadata: dict[str, Any]
    kept: bool = True

    def is_like(self, digest: str, mode: int | None, *, is_link: bool) -> bool:
        """Whether a revision of this would change nothing."""
        same = (self.digest, self.mode) == (digest, mode) and (self.media_type == SYMLINK_MEDIA_TYPE) == is_link
        return self.kept and same

    def next(self, digest: str, media_type: str, mode: int | None) -> Standing:
        """Its next revision."""
        return replace(self, number=self.number + 1, digest=digest, media_type=media_type, mode=mode, kept=True)


class Shelf:
    """The live artifacts and collections below one collection."""

    def __init__(self, handle: Handle, top: Folder) -> None:
        self._handle = handle
        self._top = top
        self.forget()

    def forget(self) -> None:
        """Others may have written."""
        self._known: dict[Place, Standing | None] = {}
        self._folders: dict[Folder, tuple[int, str] | None] = {}
        self._fresh: set[int] = set()
        self._thinned: set[Folder] = set()

    # -- asking ------------------------------------------------------------------------------------------------------

    def look(self, unit: Unit, places: Iterable[Place]) -> None:
        """See what stands at some places, with one query for all that are not known."""
        if len(self._known) > MOST:
            self.forget()
        asked: list[tuple[Place, int]] = []
        for place in dict.fromkeys(places):
            if place in self._known:
                continue
            folder = self._folder(place[0])
            self._known[place] = None
            if folder is not None and folder[0] not in self._fresh:
                asked.append((place, folder[0]))
        rows = unit.handle.index.artifacts
        if not asked:
            return
        found = rows.many_at([(key, place[1]) for place, key in asked])
        rows.prove_absent([(key, place[1]) for n, (place, key) in enumerate(asked) if n not in found])
        for number, one in found.items():
            key = unit.handle.index.key_of(one.id)
            assert key is not None
            newest = one.revision
            self._known[asked[number][0]] = Standing(
                one.id, rows.last_number(key), newest.digest, newest.media_type, newest.file.mode, newest.metadata,
                newest.state is RevisionState.KEPT,
            )  # fmt: skip

    def at(self, unit: Unit, place: Place) -> Standing | None:
        """What stands at a place."""
        if place not in self._known:
            self.look(unit, [place])
        return self._known[place]

    def folder_id(self, folder: Folder) -> str:
        """The id of a collection that is there."""
        found = self._folder(folder)
        assert found is not None
        return found[1]

    def _folder(self, folder: Folder) -> tuple[int, str] | None:
        """Key and id of a live collection."""
        depth = len(folder)
        while depth and folder[:depth] not in self._folders:
            depth -= 1
        if depth == 0 and () not in self._folders:
            root = self._handle.index.collections.root()
            self._folders[()] = None if root is None else (root, self._handle.index.lookups.ids([root])[root])
        for step in range(depth + 1, len(folder) + 1):
            above = self._folders[folder[: step - 1]]
            key = None
            if above is not None and above[0] not in self._fresh:
                key = self._handle.index.collections.child(above[0], folder[step - 1])
            self._folders[folder[:step]] = (
                None if key is None else (key, self._handle.index.lookups.ids([key])[key])
            )  # fmt: skip
        return self._folders[folder]

    # -- making room -------------------------------------------------------------------------------------------------

    def room(self, unit: Unit, place: Place, mark: dict[str, Any]) -> str:
        """See to it that something can be made at a place where no artifact is; the id of its collection."""
        folder = self._make(unit, place[0], mark)
        if folder[0] not in self._fresh:
            inner = (*place[0], place[1])
            if self._folder(inner) is not None:
                self._clear(inner, mark["note"])
        return folder[1]

    def _make(self, unit: Unit, folder: Folder, mark: dict[str, Any]) -> tuple[int, str]:
        found = self._folder(folder)
        if found is not None:
            return found
        collections.root(unit)
        if self._folders.get(()) is None:
            self._folders.pop((), None)
            self._folder(())
        for step in range(1, len(folder) + 1):
            if self._folder(folder[:step]) is None:
                self._make_one(unit, folder[: step - 1], folder[step - 1], mark)
        found = self._folder(folder)
        assert found is not None
        return found

    def _make_one(self, unit: Unit, above: Folder, name: Name, mark: dict[str, Any]) -> None:
        parent = self._folder(above)
        assert parent is not None
        place = (above, name)
        if parent[0] not in self._fresh:
            standing = self.at(unit, place)
            if standing is not None:  # a file where a folder comes to stand
                unit.change({"kind": "artifact", "action": "delete", "id": standing.id, **mark})
                self._known[place] = None
        body = collections.creation(moment.draw_id(unit.now_us), parent[1], name, {})
        key = unit.change({**body, **mark})
        self._folders[(*above, name)] = (key, body["id"])
        self._fresh.add(key)

    def _clear(self, folder: Folder, note: str) -> None:
        """A file comes to stand where a folder is."""
        Collections(self._handle).delete(f"id:{self.folder_id(folder)}", contents="cascade", note=note)
        self.forget()

    # -- noting ------------------------------------------------------------------------------------------------------

    def stands(self, place: Place, standing: Standing) -> None:
        """Something stands at a place now."""
        self._known[place] = standing

    def gone(self, place: Place) -> None:
        """Nothing stands at a place any more."""
        self._known[place] = None
        self._thinned.add(place[0])

    def tidy(self, unit: Unit, mark: dict[str, Any]) -> None:
        """Collections that are empty now go: git has none. Nor does what was made stay fresh: it is filled."""
        waiting = self._thinned
        self._thinned = set()
        for folder in sorted(waiting, key=len, reverse=True):
            self._drop_empty(unit, folder, mark)
        self._fresh.clear()

    def _drop_empty(self, unit: Unit, folder: Folder, mark: dict[str, Any]) -> None:
        while len(folder) > len(self._top):
            found = self._folder(folder)
            if found is None:
                return
            rows = self._handle.index.collections
            if next(rows.artifact_keys(found[0]), None) is not None or next(rows.children(found[0]), None) is not None:
                return
            unit.change({"kind": "collection", "action": "delete", "id": found[1], **mark})
            self._folders[folder] = None
            folder = folder[:-1]
