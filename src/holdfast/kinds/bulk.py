"""Many puts in one transaction, without making a record of each: what `add` of a tree and `put_many` stand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.engine.content import Incoming
from holdfast.engine.transaction import Unit
from holdfast.errors import NameTakenError
from holdfast.kinds import ambient, collections, media, revising
from holdfast.kinds.revising import Description
from holdfast.values import moment
from holdfast.values.names import Name
from holdfast.values.records import SYMLINK_MEDIA_TYPE, FileFacts


class Outcome(StrEnum):
    """What became of one item."""

    ADDED = "added"
    REVISED = "revised"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(slots=True)
class Item:
    """One thing to put: content (None: a collection alone), where, and what is said of it."""

    folder: tuple[Name, ...]
    name: Name
    incoming: Incoming | None
    file: FileFacts = field(default_factory=FileFacts)
    source: str = ""
    symlink: bool = False
    outcome: Outcome | None = None
    reason: str = ""


class Bulk:
    """Puts items in one open transaction. Collections that were seen are remembered for its length."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._folders: dict[tuple[Name, ...], tuple[int, str]] = {}
        self._run = ambient.current_run(unit.handle)
        self.collections_made = 0

    def put(self, items: list[Item]) -> None:
        """Put all items; each one's `outcome` says what became of it. Refused ones do not undo the others."""
        ids = moment.draw_ids(self._unit.now_us, len(items))
        self._unit.publish([item.incoming for item in items if item.incoming is not None])
        for item, artifact_id in zip(items, ids, strict=True):
            try:
                self._one(item, artifact_id)
            except NameTakenError as error:
                item.outcome, item.reason = Outcome.REFUSED, error.message

    def _one(self, item: Item, artifact_id: str) -> None:
        if item.incoming is None:
            before = self.collections_made
            self._folder((*item.folder, item.name), item.file)
            item.outcome = Outcome.ADDED if self.collections_made > before else Outcome.UNCHANGED
            return
        parent, parent_id = self._folder(item.folder, None)
        found = self._unit.handle.index.artifacts.brief(parent, item.name)
        if found is None:
            if self._unit.handle.index.collections.child(parent, item.name) is not None:
                collections.refuse_taken(self._unit, parent, item.name)
            self._unit.change(self._creation(item, item.incoming, parent_id, artifact_id))
            item.outcome = Outcome.ADDED
            return
        media_type = self._media_type(item, item.incoming, found.media_type)
        same = (found.digest, found.media_type, found.mode) == (item.incoming.digest, media_type, item.file.mode)
        if same and found.kept:
            item.outcome = Outcome.UNCHANGED
            return
        said = Description(media_type=media_type, file=item.file, source=item.source)
        whole = self._unit.handle.index.artifacts.by_key(found.key)
        assert whole is not None
        revising.revise(self._unit, whole, item.incoming, said)
        item.outcome = Outcome.REVISED

    def _creation(self, item: Item, incoming: Incoming, parent_id: str, artifact_id: str) -> dict[str, object]:
        said = Description(file=item.file, source=item.source)
        media_type = self._media_type(item, incoming, None)
        return revising.creation(artifact_id, parent_id, item.name, incoming, said, media_type, run=self._run)

    def _media_type(self, item: Item, incoming: Incoming, known: str | None) -> str:
        """A link is a link; a file keeps the type it has, unless it was a link before."""
        if item.symlink:
            return SYMLINK_MEDIA_TYPE
        if known is not None and known != SYMLINK_MEDIA_TYPE:
            return known
        return media.detect(item.name.text, incoming.head)

    def _folder(self, path: tuple[Name, ...], file: FileFacts | None) -> tuple[int, str]:
        known = self._folders.get(path)
        if known is not None:
            return known
        # Up to one that is known, then down: not by recursion, for a path may be deeper than Python's stack.
        depth = len(path)
        while known is None and depth > 0:
            depth -= 1
            known = self._folders.get(path[:depth])
        found = known or self._kept((), collections.root(self._unit))
        for step in range(depth + 1, len(path) + 1):
            child = self._child(found, path[step - 1], file if step == len(path) else None)
            found = self._kept(path[:step], child)
        return found

    def _child(self, parent: tuple[int, str], name: Name, file: FileFacts | None) -> int:
        child = self._unit.handle.index.collections.child(parent[0], name)
        if child is None:
            collections.refuse_taken(self._unit, parent[0], name)
            child = collections.make(self._unit, parent[1], name, collections.file_fields(file))
            self.collections_made += 1
        return child

    def _kept(self, path: tuple[Name, ...], key: int) -> tuple[int, str]:
        found = self._folders[path] = (key, self._unit.handle.index.lookups.ids([key])[key])
        return found
