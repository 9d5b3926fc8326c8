"""Many puts in one transaction, without making a record of each: what `add` of a tree and `put_many` stand on."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from holdfast.engine.content import Incoming
from holdfast.engine.transaction import Unit
from holdfast.errors import NameTakenError
from holdfast.index.select.artifacts import Brief
from holdfast.kinds import ambient, collections, media, revising
from holdfast.kinds.revising import Description
from holdfast.values import moment
from holdfast.values.change import Body
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name
from holdfast.values.newcomers import Newcomers
from holdfast.values.records import SYMLINK_MEDIA_TYPE, FileFacts


class Outcome(StrEnum):
    """What became of one item."""

    ADDED = "added"
    REVISED = "revised"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class Origin(Protocol):
    """A folder that files come from: its absolute path with a slash, and the path of the collection they go to."""

    absolute: bytes
    place: bytes


@dataclass(slots=True)
class Item:
    """One thing to put: content (None: a collection alone), where, and what is said of it.

    `origin`, `look`: where the file is that it is of, and how that looked (formats.looks) when it was read. When it was
    put, `outcome` says what became of it, `refused` why it was not taken, `revision` the seq of the revision that has
    its content now.
    `media_type`: what its name says, if that is known by now. `said`: all that is said of it, if that is more than
    `mode`, `mtime_ns` and `source`.
    """

    folder: tuple[Name, ...]
    name: Name
    incoming: Incoming | None
    mode: int | None = None
    mtime_ns: int | None = None
    source: str = ""
    origin: Origin | None = None
    look: bytes | None = None
    symlink: bool = False
    media_type: str | None = None
    said: Description | None = None
    revision: int = 0
    outcome: Outcome | None = None
    refused: NameTakenError | None = None

    @property
    def file(self) -> FileFacts:
        """What the file system says of it."""
        return FileFacts(self.mode, self.mtime_ns)

    @property
    def path(self) -> bytes:
        """Of the file."""
        return b"" if self.origin is None else self.origin.absolute + self.name.raw


_NOTHING = Description()
"""What is said of most items but where they come from."""

TOGETHER = 1_000
"""Items that are looked up with one query and become rows together."""

_MOST_IDS = 1 << 32

Place = tuple[int, str]
"""Key and id of a collection."""

Placed = tuple[Item, Place, str]
"""An item, the collection that it goes to, and the id that it gets if it is new."""


class Bulk:
    """Puts items in one open transaction. Collections that were seen are remembered for its length."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._ids = moment.draw_ids(unit.now_us, _MOST_IDS)  # one draw for all
        self._folders: dict[tuple[Name, ...], Place] = {}
        self._run = ambient.current_run(unit.handle)
        self._made: set[int] = set()
        self._fresh: set[int] = set()
        self._filled: set[tuple[int, str, bytes]] = set()
        self._subfolders: set[tuple[int, str, bytes]] = set()
        self._folders_to_make: list[Body] = []

    @property
    def collections_made(self) -> int:
        """How many collections were made on the way."""
        return len(self._made)

    def put(self, items: list[Item]) -> None:
        """Put all items; each one's `outcome` says what became of it. Refused ones do not undo the others.

        Collections come first, so that what is there can be looked up for all items at once.
        """
        self._unit.publish([item.incoming for item in items if item.incoming is not None])
        there: list[tuple[Item, Place]] = []
        folder, parent = None, None
        for item in items:
            if item.folder is not folder or item.incoming is None or parent is None:
                parent = self._placed(item)
                folder = None if item.incoming is None else item.folder
            if parent is not None:
                there.append((item, parent))
        self._make_folders()
        placed = [(item, parent, one) for (item, parent), one in zip(there, self._ids, strict=False)]
        for start in range(0, len(placed), TOGETHER):
            group = placed[start : start + TOGETHER]
            self._put_together(group)
            if start + TOGETHER < len(placed):
                self._filled.update((parent[0], *item.name) for item, parent, _ in group if parent[0] in self._fresh)
        self._fresh.clear()  # they are empty no more
        self._filled.clear()

    def _placed(self, item: Item) -> Place | None:
        """Where an item goes; None if nothing is left to do."""
        try:
            if item.incoming is not None:
                return self._folder(item.folder, None)
            before = self.collections_made
            self._folder((*item.folder, item.name), item.file)
            item.outcome = Outcome.ADDED if self.collections_made > before else Outcome.UNCHANGED
        except NameTakenError as error:
            item.outcome, item.refused = Outcome.REFUSED, error
        return None

    def _put_together(self, placed: list[Placed]) -> None:
        # In a collection that was made just now nothing is but what comes from here.
        if all(parent[0] in self._fresh for _, parent, _ in placed) and self._are_all_new(placed):
            self._make(placed)
            return
        index = self._unit.handle.index
        asked = [(parent[0], item.name) for item, parent, _ in placed if self._may_be_there(parent[0], item.name)]
        found = index.artifacts.briefs(asked) if asked else {}
        taken = index.collections.taken(asked) if asked else set()
        index.artifacts.prove_absent([place for place in asked if place not in found])
        taken |= {
            (parent[0], item.name)
            for item, parent, _ in placed
            if (parent[0], item.name.text, item.name.stray) in self._subfolders
        }
        new: dict[tuple[int, Name], Placed] = {}
        for one in placed:
            item, parent, _ = one
            place = (parent[0], item.name)
            if place in new:  # twice in one batch: the second finds the first, as those behind it find theirs
                self._make(list(new.values()))
                found |= index.artifacts.briefs(list(new))
                new = {}
            if place in taken:
                self._refuse(item, parent[0])
            elif place in found:
                self._revise(item, found[place])
            else:
                new[place] = one
        self._make(list(new.values()))

    def _are_all_new(self, placed: list[Placed]) -> bool:
        """Whether no two of some items are at one place, and none where a folder is, or one came before."""
        places = {(parent[0], *item.name) for item, parent, _ in placed}
        return len(places) == len(placed) and places.isdisjoint(self._subfolders) and places.isdisjoint(self._filled)

    def _may_be_there(self, parent: int, name: Name) -> bool:
        return parent not in self._fresh or (parent, *name) in self._filled

    def _make(self, placed: list[Placed]) -> None:
        if not placed:
            return
        bodies: Sequence[Body] | None = self._plain(placed)
        if bodies is None:
            bodies = [self._creation(item, parent, artifact_id) for item, parent, artifact_id in placed]
        first = self._unit.change_all(bodies)
        added = Outcome.ADDED
        for seq, (item, _, _) in enumerate(placed, first):
            item.outcome, item.revision = added, seq

    def _plain(self, placed: list[Placed]) -> Newcomers | None:
        """The changes that make some artifacts, as columns; None if anything special is said of one."""
        if self._run is not None:
            return None
        new, last = Newcomers(), _NOTHING
        for item, _, _ in placed:
            said, incoming = item.said or _NOTHING, item.incoming
            if (said is not last and not said.is_plain()) or item.name.stray or incoming is None:
                return None
            last = said
            new.digests.append(incoming.digest)
            new.sizes.append(incoming.size)
            new.media_types.append(said.media_type or self._media_type(item, incoming, None))
        new.ids = [artifact_id for _, _, artifact_id in placed]
        new.collections = [parent[1] for _, parent, _ in placed]
        new.names = [item.name.text for item, _, _ in placed]
        new.modes = [item.mode for item, _, _ in placed]
        new.mtimes = [item.mtime_ns for item, _, _ in placed]
        new.sources = [item.source for item, _, _ in placed]
        return new

    def _refuse(self, item: Item, parent: int) -> None:
        try:
            collections.refuse_taken(self._unit, parent, item.name)
        except NameTakenError as error:
            item.outcome, item.refused = Outcome.REFUSED, error

    def _revise(self, item: Item, found: Brief) -> None:
        incoming = _content(item)
        said = item.said
        if said is None:
            media_type = self._media_type(item, incoming, found.media_type)
            same = (found.digest, found.media_type, found.mode) == (incoming.digest, media_type, item.mode)
            if same and found.kept:
                item.outcome, item.revision = Outcome.UNCHANGED, found.revision
                return
            said = Description(media_type=media_type, file=item.file, source=item.source)
        whole = self._unit.handle.index.artifacts.by_key(found.key)
        assert whole is not None
        revised = revising.revise(self._unit, whole, incoming, said)
        item.outcome = Outcome.REVISED if revised.changed else Outcome.UNCHANGED
        item.revision = revised.artifact.revision.seq

    def _creation(self, item: Item, parent: Place, artifact_id: str) -> Body:
        incoming = _content(item)
        said = item.said
        if said is None:
            said, media_type, run = _NOTHING, self._media_type(item, incoming, None), self._run
        else:
            media_type = said.media_type or self._media_type(item, incoming, None)
            run = self._run if said.run is None else revising.run_of(self._unit, said)
        made = revising.creation(artifact_id, parent[1], item.name, incoming, said, media_type, run=run)
        if said is _NOTHING:
            revising.add_origin(made["new"]["revision"], item.file, item.source)
        return made

    def _media_type(self, item: Item, incoming: Incoming, known: str | None) -> str:
        """A link is a link; a file keeps the type it has, unless it was a link before."""
        if item.symlink:
            return SYMLINK_MEDIA_TYPE
        if known is not None and known != SYMLINK_MEDIA_TYPE:
            return known
        return item.media_type or media.detect(item.name.text, incoming.head)

    def _folder(self, path: tuple[Name, ...], file: FileFacts | None) -> Place:
        known = self._folders.get(path)
        if known is not None:
            return known
        # Up to one that is known, then down: not by recursion, for a path may be deeper than Python's stack.
        depth = len(path)
        while known is None and depth > 0:
            depth -= 1
            known = self._folders.get(path[:depth])
        found = known or self._kept((), self._root())
        for step in range(depth + 1, len(path) + 1):
            child = self._child(found, path[step - 1], file if step == len(path) else None)
            found = self._kept(path[:step], child)
        return found

    def _root(self) -> Place:
        key = collections.root(self._unit)
        return key, self._unit.handle.index.lookups.ids([key])[key]

    def _child(self, parent: Place, name: Name, file: FileFacts | None) -> Place:
        if parent[0] not in self._fresh:
            child = self._unit.handle.index.collections.child(parent[0], name)
            if child is not None:
                return child, self._unit.handle.index.lookups.ids([child])[child]
            collections.refuse_taken(self._unit, parent[0], name)
        body = collections.creation(next(self._ids), parent[1], name, collections.file_fields(file))
        made = self._unit.next_seq + len(self._folders_to_make)
        self._folders_to_make.append(body)
        self._made.add(made)
        self._fresh.add(made)
        self._subfolders.add((parent[0], name.text, name.stray))
        return made, body["id"]

    def _make_folders(self) -> None:
        """Their keys are known before: they follow from the seqs, and nothing else is changed meanwhile."""
        bodies, self._folders_to_make = self._folders_to_make, []
        self._unit.change_all(bodies)

    def _kept(self, path: tuple[Name, ...], found: Place) -> Place:
        self._folders[path] = found
        return found


def _content(item: Item) -> Incoming:
    assert item.incoming is not None
    return item.incoming
