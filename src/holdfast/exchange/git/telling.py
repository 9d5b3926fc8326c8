"""The history of a collection as commits to be made: those that were taken from git as they were, others new.

It follows from the chain alone: told twice, it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast.blobs import buffered
from holdfast.engine.handle import Handle
from holdfast.exchange.git import record
from holdfast.exchange.git.landing import TAG
from holdfast.exchange.git.native import Native, Reading, Step
from holdfast.exchange.git.places import Places
from holdfast.exchange.git.record import Change, Kept, State
from holdfast.formats import lines
from holdfast.values import names
from holdfast.values.change import Head
from holdfast.values.records import Change as Changed
from holdfast.values.records import Collection


@dataclass(frozen=True, slots=True)
class Scope:
    """What is told: a collection, by id, and where the record of a history lies that was taken into it, if any."""

    collection: str
    commits: str = ""
    beside: str = ""
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Old:
    """A commit that was taken from git. `changes`: what it changes against its first parent, to be read at once."""

    kept: Kept
    changes: list[Change]


@dataclass(frozen=True, slots=True)
class Joined:
    """After an import: all of the collection as it is then, if commits of the store have to be merged with it."""

    tip: bytes
    message: Native
    steps: Callable[[], Iterator[Step]]


@dataclass(frozen=True, slots=True)
class Stand:
    """All of the chain up to here is told."""

    head: Head


Event = Old | Native | Joined | Stand


def scope_of(handle: Handle, collection: Collection) -> Scope:
    """What is to be told of a collection."""
    place = names.parse_path(collection.path_bytes)
    found = record.find(handle, place)
    if found is None or found[0].collection != collection.id:
        return Scope(collection.id)
    index = handle.index
    key = index.collections.down(record.beside(place))
    inner = None if key is None else index.collections.child(key, names.Name(record.COMMITS))
    if key is None or inner is None:
        return Scope(collection.id)
    ids = index.lookups.ids([key, inner])
    return Scope(collection.id, ids[inner], ids[key], found[0])


class Telling:
    """Tells what came after a change."""

    def __init__(self, handle: Handle, scope: Scope, since: int) -> None:
        self._handle = handle
        self._scope = scope
        self._since = since
        places = Places(handle.index, scope.collection, since)
        self._run = ""
        self._reading = Reading(handle.index, places)

    def events(self) -> Iterator[Event]:
        """Commits in order, and where the chain stands after each transaction that made some."""
        head = None
        for data in self._handle.index.chain.read(self._since + 1):
            transaction = lines.decode(data, "a transaction of the index")
            if transaction.entry.first <= self._since:
                continue
            count = 0
            for event in self._of(transaction.changes()):
                yield event
                count += 1
            head = transaction.head
            if count:
                yield Stand(head)
        if head is not None:
            yield Stand(head)

    def _of(self, changes: list[Changed]) -> Iterator[Event]:
        if self._scope.commits:
            if self._is_commit(changes):
                return
            state = self._state(changes)
            if state is not None:
                yield from self._kept(changes)
                if state.closed and state.last:
                    yield self._joined(changes, state)
                return
        made = self._reading.commit(changes)
        if made is not None:
            yield made

    def _is_commit(self, changes: list[Changed]) -> bool:
        """Whether a transaction is a commit that was taken in, or a part of one: then the record tells of it."""
        for one in changes:
            run_id = one.id if (one.kind, one.action) == ("run", "create") else one.run_id
            if run_id is not None and run_id != self._run:
                found = self._handle.index.runs.by_id(run_id)
                if found is None or TAG not in found.tags or "git" not in found.metadata:
                    continue
                self._run = run_id
            if run_id is not None:
                return True
        return False

    def _kept(self, changes: list[Changed]) -> Iterator[Event]:
        for one in changes:
            new = one.after or {}
            if one.kind == "artifact" and one.action == "create" and new.get("collection") == self._scope.commits:
                yield from self._chapter(new["revision"]["digest"])

    def _chapter(self, digest: str) -> Iterator[Old]:
        kept: Kept | None = None
        found: list[Change] = []
        with buffered(self._handle.blobs.open(digest)) as source:
            for one in record.told(source):
                if isinstance(one, Change):
                    found.append(one)
                    continue
                if kept is not None:
                    yield Old(kept, found)
                kept, found = one, []
        if kept is not None:
            yield Old(kept, found)

    def _state(self, changes: list[Changed]) -> State | None:
        """What the record of the import said after these changes, if they are the end of a batch."""
        last = changes[-1]  # as import writes it
        if last.kind != "artifact" or last.action not in ("create", "revise"):
            return None
        found = self._handle.index.artifacts.by_id(last.id)
        if found is None or found.collection_id != self._scope.beside or found.name != record.STATE:
            return None
        return record.state_of(self._handle.blobs.read((last.after or {})["revision"]["digest"]))

    def _joined(self, changes: list[Changed], state: State) -> Joined:
        last = changes[-1]
        who = self._reading.stamp(last)
        said = f"Merge {state.last.decode()}\n\nHoldfast-Transaction: {last.tx}\n"
        return Joined(
            state.last, Native(who, who, said.encode()),
            lambda: self._reading.everything(self._scope.collection, b"", last.seq),
        )  # fmt: skip
