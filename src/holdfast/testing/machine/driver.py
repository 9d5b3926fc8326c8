"""Drives a store and the model side by side: the same call to both, and the same answer from both."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

import holdfast
from holdfast.errors import HoldfastError, NotFoundError
from holdfast.store import Store
from holdfast.testing.machine.values import Known
from holdfast.testing.model import End, Model, Refused
from holdfast.values.records import Endpoint

Way = Callable[[Path], Store]


class Boom(Exception):  # noqa: N818
    """What a block raises when the machine wants its transaction to fail."""


class Driver(RuleBasedStateMachine):
    """A store in a folder of its own, the model of it, and the transactions that are open on both."""

    folder: ClassVar[str | None] = None
    make: ClassVar[Way] = staticmethod(holdfast.create)
    open: ClassVar[Way] = staticmethod(holdfast.open)
    most_ordeals: ClassVar[int] = 3

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="machine-", dir=self.folder))
        self.path = self.home / "store"
        self.store = type(self).make(self.path)
        self.model = Model()
        self.ids: dict[int, str] = {}
        self.pending: list[tuple[contextlib.AbstractContextManager[Any], Model]] = []
        self.compared = 0
        self.steps = 0
        self.ordeals = 0

    # -- the same call to both -----------------------------------------------------------------------------------------

    def both(self, real: Callable[[Store], Any], ideal: Callable[[Model], Any]) -> Any:
        """Do it in the store and in the model; both do it, or both refuse it with the same code."""
        handle, code = None, ""
        try:
            handle = ideal(self.model)
        except Refused as refusal:
            code = refusal.code
        try:
            found = real(self.store)
        except HoldfastError as error:
            assert code == error.code, f"the store refused: {error.code} ({error}); the model said: {code or 'done'}"  # noqa: PT017
            return None
        assert not code, f"the store did it; the model refused: {code}"
        if isinstance(handle, int) and handle not in self.ids:
            self.ids[handle] = getattr(found, "artifact", found).id
        self.learn()
        return found

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
        if not fail:
            block.__exit__(None, None, None)
            return
        boom = Boom("the block fails")
        with contextlib.suppress(Boom):
            block.__exit__(Boom, boom, None)
        self.model = before
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
        self.compared = len(self.model.trail)

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
