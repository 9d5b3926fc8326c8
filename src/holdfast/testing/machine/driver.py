"""Drives a store and the model side by side: the same call to both, and the same answer from both."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from holdfast.errors import HoldfastError, NotFoundError
from holdfast.store import Store
from holdfast.testing.machine import moving
from holdfast.testing.machine.values import Known
from holdfast.testing.model import End, Model, Refused
from holdfast.values.records import Artifact, Change, Collection, Endpoint, PutResult, Relationship, Run

Way = Callable[[Path], Store]


class Boom(Exception):  # noqa: N818
    """What a block raises when the machine wants its transaction to fail."""


@dataclass(frozen=True)
class Repeat:
    """A put that was done with a transaction id, and which revision it made."""

    tx: str
    path: bytes
    content: bytes
    handle: int
    revision: int

    def __repr__(self) -> str:
        return f"<put of revision {self.revision} of artifact {self.handle} at {self.path!r}>"


@dataclass
class Paging:
    """An answer that is being read. `due`: handles that were there all the time and are still to come."""

    order: str
    token: str | None
    seen: list[str]
    due: set[int] = field(default_factory=set)
    names: dict[int, bytes] = field(default_factory=dict)


class Driver(RuleBasedStateMachine):
    """A store in a folder of its own, the model of it, and the transactions that are open on both."""

    folder: ClassVar[str | None] = None
    make: ClassVar[Way] = staticmethod(moving.make)
    open: ClassVar[Way] = staticmethod(moving.open_)
    most_ordeals: ClassVar[int] = 3
    done: ClassVar[Counter[tuple[str, str]]] = Counter()
    """How often each rule did something ("done"), or was refused (the code of the error), in all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="machine-", dir=self.folder))
        self.path = self.home / "store"
        moving.clock.ahead_s = 0
        self.store = type(self).make(self.path)
        self.model = Model()
        self.ids: dict[int, str] = {}
        self.pending: list[tuple[contextlib.AbstractContextManager[Any], Model]] = []
        self.compared = 0
        self.steps = 0
        self.ordeals = 0
        self.refusals = 0
        self.seen = (0, 0, 0)
        self.repeats: list[Repeat] = []
        self.pagings: list[Paging] = []
        self.head_seen = ""
        self.made: list[str] = []
        self.images: dict[str, dict[str, Any]] = {}

    # -- the same call to both -----------------------------------------------------------------------------------------

    def both(self, real: Callable[[Store], Any], ideal: Callable[[Model], Any]) -> Any:
        """Do it in the store and in the model; both do it, or both refuse it with the same code."""
        handle, code, before = None, "", len(self.model.trail)
        try:
            handle = ideal(self.model)
        except Refused as refusal:
            code = refusal.code
        self.refusals += bool(code)
        self.count(code or "done", sys._getframe(1).f_code.co_name)  # noqa: SLF001
        try:
            found = real(self.store)
        except HoldfastError as error:
            assert code == error.code, f"the store refused: {error.code} ({error}); the model said: {code or 'done'}"  # noqa: PT017
            return None
        assert not code, f"the store did it; the model refused: {code}"
        if isinstance(handle, int) and handle not in self.ids:
            self.ids[handle] = getattr(found, "artifact", found).id
        self._compare_returned(found, [action for kind, action, _ in self.model.trail[before:] if kind == "artifact"])
        self.learn()
        return found

    def count(self, outcome: str, rule: str) -> None:
        """One more for the statistics."""
        type(self).done[rule, outcome] += 1

    def _compare_returned(self, found: object, actions: list[str]) -> None:
        """What a verb returns is the record as it is now; a put says what it did."""
        if isinstance(found, PutResult):
            flags = ("create" in actions, "create" in actions or "revise" in actions)
            assert (found.created, found.changed) == flags, f"{found} and changes {actions}"
            found = found.artifact
        kinds = (
            (Artifact, "artifacts"), (Collection, "collections"), (Relationship, "relationships"), (Run, "runs"),
        )  # fmt: skip
        for kind, noun in kinds:
            if isinstance(found, kind):
                now = getattr(self.store, noun).get(f"id:{found.id}", deleted=True)
                assert found == now, f"returned: {found}, and then there is: {now}"

    def learn(self) -> None:
        """Ids of what was made on the way, and media types that the store was left to find."""
        for place in self.model.live_places():
            if place.handle not in self.ids:
                self.ids[place.handle] = self.store.collections.get(self.model.path(place.handle)).id
        for thing in self.model.live_things():
            if thing.handle not in self.ids:
                self.ids[thing.handle] = self.store.get(self.model.path(thing.handle)).id
            for revision in thing.revisions:
                if revision.media_type is None:
                    found = self.store.artifacts.revision(f"id:{self.ids[thing.handle]}", revision.number)
                    revision.media_type = found.media_type

    def ref(self, which: Known, how: str) -> tuple[bytes | int, str | bytes]:
        """A record as the model names it, and as the store is asked for it."""
        path = self.model.path(which.handle)
        if how == "id" or not path:
            return which.handle, f"id:{self.ids[which.handle]}"
        return path, path if how == "path" else path.decode("utf-8", "surrogateescape")

    def endpoint(self, end: End) -> Endpoint:
        """An end of the model as the store's."""
        kind, handle, revision = end
        return Endpoint(kind, handle if isinstance(handle, str) else self.ids[handle], revision)

    # -- transactions --------------------------------------------------------------------------------------------------

    def begin_one(self) -> None:
        """One more transaction, inside of those that are open."""
        block = self.store.transaction()
        block.__enter__()
        self.pending.append((block, self.model.copy()))

    def end_one(self, *, fail: bool) -> None:
        """End the innermost transaction, well or by an exception that its block raises."""
        block, before = self.pending.pop()
        self.refusals += fail
        if not fail:
            block.__exit__(None, None, None)
            return
        boom = Boom("the block fails")
        with contextlib.suppress(Boom):
            block.__exit__(Boom, boom, None)
        self.model = before
        self.pagings = []  # handles that were given in the block will be given again
        self.ids = {handle: one for handle, one in self.ids.items() if handle <= self.model.handles}

    def end_all(self, *, fail: bool) -> None:
        """No transaction is open any more."""
        while self.pending:
            self.end_one(fail=fail)

    def reopen(self) -> None:
        """Close and open again."""
        self.end_all(fail=True)
        self.store.close()
        self.store = type(self).open(self.path)

    # -- the audit trail -----------------------------------------------------------------------------------------------

    def compare_trail(self) -> None:
        """Each change of the model is one change of the store, in one chain without gaps, and no other."""
        if self.pending:
            return
        wanted = self.model.trail[self.compared :]
        head = self.store.changes.head()
        assert head.next_seq == len(self.model.trail) + 1, f"{head.next_seq - 1} changes, wanted: …{wanted}"
        if not wanted:
            return
        changes = list(self.store.changes.list(since_seq=self.compared + 1))
        assert [c.seq for c in changes] == [*range(self.compared + 1, head.next_seq)]
        for (kind, action, handle), change in zip(wanted, changes, strict=True):
            # What a child made and deleted before anybody could look it up.
            if handle not in self.ids and action == "create" == change.action and kind == change.kind:
                self.ids[handle] = change.id
        known = {one: handle for handle, one in self.ids.items()}
        found = Counter((c.kind, c.action, known.get(c.id, -1)) for c in changes)
        assert found == Counter(wanted), f"changes {found}, wanted {Counter(wanted)}"
        self.made += [c.id for c in changes if (c.kind, c.action) == ("artifact", "create")]
        for change in changes:
            self._compare_images(change)
        self.compared = len(self.model.trail)

    def _compare_images(self, change: Change) -> None:
        """What a change says was there before is what the last change of it left there."""
        known = self.images.setdefault(change.id, {})
        for name, value in (change.before or {}).items():
            assert known.get(name, value) == value, (
                f"change {change.seq} says {name} was {value!r}, not {known[name]!r}"
            )
        if change.action == "redact":
            known.clear()
        elif change.action == "create" or change.before is not None:
            known |= change.after or {}

    # -- the end -------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Close what is open and remove the folder."""
        try:
            self.end_all(fail=True)
            self.store.close()
        finally:
            shutil.rmtree(os.fsencode(self.home), ignore_errors=True)


def missing(call: Callable[[], object]) -> bool:
    """Whether a call says that there is no such record."""
    try:
        call()
    except NotFoundError:
        return True
    return False
