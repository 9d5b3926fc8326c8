"""Many puts in one transaction, without making a record of each: what `add` of a tree and `put_many` stand on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.engine.content import Incoming
from holdfast.engine.transaction import Unit
from holdfast.errors import NameTakenError
from holdfast.index.select.artifacts import Brief
from holdfast.kinds import ambient, collections, media, revising
from holdfast.kinds.revising import Description
from holdfast.values import moment
from holdfast.values.change import Body
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


TOGETHER = 500
"""Items that are looked up with one query and become rows together."""


class Bulk:
    """Puts items in one open transaction. Collections that were seen are remembered for its length."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._folders: dict[tuple[Name, ...], tuple[int, str]] = {}
        self._run = ambient.current_run(unit.handle)
        self._made: set[int] = set()

    @property
    def collections_made(self) -> int:
        """How many collections were made on the way."""
        return len(self._made)

    def put(self, items: list[Item]) -> None:
        """Put all items; each one's `outcome` says what became of it. Refused ones do not undo the others.

        Collections come first, so that what is there can be looked up for all items at once.
        """
        ids = moment.draw_ids(self._unit.now_us, len(items))
        self._unit.publish([item.incoming for item in items if item.incoming is not None])
        placed = [
            (item, parent, artifact_id)
            for item, artifact_id in zip(items, ids, strict=True)
            if (parent := self._placed(item)) is not None
        ]
        for start in range(0, len(placed), TOGETHER):
            self._put_together(placed[start : start + TOGETHER])

    def _placed(self, item: Item) -> tuple[int, str] | None:
        """Key and id of the collection that an item goes to; None if nothing is left to do."""
        try:
            if item.incoming is not None:
                return self._folder(item.folder, None)
            before = self.collections_made
            self._folder((*item.folder, item.name), item.file)
            item.outcome = Outcome.ADDED if self.collections_made > before else Outcome.UNCHANGED
        except NameTakenError as error:
            item.outcome, item.reason = Outcome.REFUSED, error.message
        return None

    def _put_together(self, placed: list[tuple[Item, tuple[int, str], str]]) -> None:
        index = self._unit.handle.index
        places = [(parent[0], item.name) for item, parent, _ in placed]
        found, taken = index.artifacts.briefs(places), index.collections.taken(places)
        index.artifacts.prove_absent(p for p in places if p not in found and p[0] not in self._made)
        creations: list[Body] = []
        made: set[tuple[int, Name]] = set()
        for place, (item, parent, artifact_id) in zip(places, placed, strict=True):
            if place in made:  # twice in one batch: the second finds the first
                self._unit.change_all(creations)
                creations, made = [], set()
                found |= index.artifacts.briefs([place])
            if place in taken:
                self._refuse(item, parent[0])
            elif place in found:
                self._revise(item, found[place])
            else:
                creations.append(self._creation(item, _content(item), parent[1], artifact_id))
                made.add(place)
                item.outcome = Outcome.ADDED
        self._unit.change_all(creations)

    def _refuse(self, item: Item, parent: int) -> None:
        try:
            collections.refuse_taken(self._unit, parent, item.name)
        except NameTakenError as error:
            item.outcome, item.reason = Outcome.REFUSED, error.message

    def _revise(self, item: Item, found: Brief) -> None:
        incoming = _content(item)
        media_type = self._media_type(item, incoming, found.media_type)
        same = (found.digest, found.media_type, found.mode) == (incoming.digest, media_type, item.file.mode)
        if same and found.kept:
            item.outcome = Outcome.UNCHANGED
            return
        said = Description(media_type=media_type, file=item.file, source=item.source)
        whole = self._unit.handle.index.artifacts.by_key(found.key)
        assert whole is not None
        revising.revise(self._unit, whole, incoming, said)
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
            self._made.add(child)
        return child

    def _kept(self, path: tuple[Name, ...], key: int) -> tuple[int, str]:
        found = self._folders[path] = (key, self._unit.handle.index.lookups.ids([key])[key])
        return found


def _content(item: Item) -> Incoming:
    assert item.incoming is not None
    return item.incoming
