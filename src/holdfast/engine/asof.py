"""A handle on the store as it was: rows of an earlier change, contents from where they lie now, and no way to write.

The rows lie in a scratch folder that goes with the last handle (see `holdfast.engine.scratch`); the next use of them
needs no deriving. What is erased from the store goes from them too: a redaction makes them be derived anew.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, cast

from holdfast.blobs.contract import BlobReader, BlobStat, BlobStore
from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import BlobMissingError, ContentPurgedError, HandleDeadError, ReadOnlyError
from holdfast.formats.pack import Spot
from holdfast.index import scoped
from holdfast.index.rewound import take_away
from holdfast.index.sql import SqlIndex
from holdfast.values.redaction import NOTHING

KEPT = 4
"""So many states that nobody looks at any more are kept for the next look."""

_ASKED = 500
"""So many places are asked for with one query."""

_TAKING = (b'"action":"redact"', b'"action":"purge"', b'"action":"withdraw"')


_asking = threading.Lock()


@dataclass(slots=True)
class _State:
    """Rows of one earlier state. `seen`: up to where it is known what was taken from it since; `users`: open views."""

    seq: int
    seen: int
    index: SqlIndex
    users: int = 0


@dataclass(eq=False)
class Pasts:
    """The earlier states of one open store that were asked for, in a folder of their own."""

    live: Handle
    _states: dict[int, _State] = field(default_factory=dict)
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _folder: str = ""

    def __post_init__(self) -> None:
        self._guard = threading.RLock()
        self._numbers = itertools.count()

    def take(self, seq: int, progress: Progress | None) -> _State:
        """The state after change `seq`, until it is given back."""
        with self._guard:
            state = self._states.pop(seq, None) or self._derive(seq, progress)
            self._states[seq] = state  # the newest asked for is last
            state.users += 1
            try:
                return self.fresh(state)
            except BaseException:
                self.give_back(state)
                raise

    def give_back(self, state: _State) -> None:
        """One view less looks at it."""
        with self._guard:
            state.users -= 1
            idle = [one for one in list(self._states.values()) if not one.users]
            for one in idle[: max(0, len(idle) - KEPT)]:
                del self._states[one.seq]
                self._remove(one.index)

    def fresh(self, state: _State) -> _State:
        """See to it that what was given up since is not in a state any more."""
        head = self.live.index.chain.head()
        next_seq = head.next_seq if head else 1
        if next_seq == state.seen:
            return state
        with self._guard:
            if next_seq != state.seen and self._taken_since(state.seen):
                old = state.index
                new = self._derive(state.seq, None)
                state.index, next_seq = new.index, new.seen
                self._remove(old)
            state.seen = next_seq
        return state

    def erase(self) -> None:
        """Something was redacted: it goes from every state, of those nobody looks at with the state itself."""
        with self._guard:
            for state in list(self._states.values()):
                if state.users:
                    self.fresh(state)
                else:
                    del self._states[state.seq]
                    self._remove(state.index)

    def close(self) -> None:
        """Nothing stays behind."""
        with self._guard:
            for state in self._states.values():
                state.index.close()
            self._states.clear()
            self._held.close()
            self._folder = ""

    def abandon(self) -> list[object]:
        """In a forked child: the files are the parent's; what must be kept so that nothing of it is closed."""
        states, self._states = self._states, {}
        self._folder = ""
        return [*(one.index.database.abandon() for one in states.values()), self._held]

    def _derive(self, seq: int, progress: Progress | None) -> _State:
        if not self._folder:
            self._folder = self._held.enter_context(scratch_folder(root=self.live.root))
        head = self.live.index.chain.head()
        seen = head.next_seq if head else 1
        path = os.path.join(self._folder, f"{seq}-{next(self._numbers)}.sqlite3")
        with contextlib.ExitStack() as undo:
            undo.callback(past.remove, path)
            index = past.derive_at(self.live, seq, path, progress)
            undo.callback(index.close)
            take_away(index, self.live.index, seq)
            if self.live.tenant is not None:
                scoped.limit(index, self.live.tenant)
            undo.pop_all()
        return _State(seq, seen, index)

    @staticmethod
    def _remove(index: SqlIndex) -> None:
        index.close()
        past.remove(index.path)

    def _taken_since(self, next_seq: int) -> bool:
        return any(word in data for data in self.live.index.chain.read(next_seq) for word in _TAKING)


def pasts_of(live: Handle) -> Pasts:
    """The earlier states of an open store; they end with it."""
    with _asking:
        found = next((one for one in live.companions if isinstance(one, Pasts)), None)
        if found is None:
            found = Pasts(live)
            live.companions.append(found)
        return found


class PastHandle(Handle):
    """What the verbs of the nouns work with when they look back. Closing it leaves the store open."""

    def __init__(self, live: Handle, seq: int, progress: Progress | None = None) -> None:
        self.live = live
        self._states = pasts_of(live)
        self._state: _State | None = self._states.take(seq, progress)
        self.seq = seq
        super().__init__(
            root=live.root, marker=live.marker, disk=live.disk, blobs_made=lambda: cast("BlobStore", PastBlobs(live)),
            index=self._state.index, journal=live.journal, writer=live.writer, users=live.users, actor=live.actor,
            wait_s=live.wait_s, read_only=True, opened=live.opened, clock=live.clock, tenant=live.tenant,
        )  # fmt: skip
        self._gone = weakref.finalize(self, self._states.give_back, self._state)
        self._gone.atexit = False

    def alive(self) -> None:
        """Raise HandleDeadError if the view, or the store, was closed; what was erased meanwhile is gone from it."""
        if self._state is None:
            raise HandleDeadError(
                "this view of the past was closed", reason="closed", remedy="Ask the store for another: `store.at(…)`."
            )
        self.live.alive()
        self.index = self._states.fresh(self._state).index

    def writable(self) -> None:
        """Nobody writes into the past: raises ReadOnlyError."""
        self.alive()
        refuse(self)

    def close(self) -> None:
        """Give the rows back. Safe to call twice."""
        if self._state is not None:
            self._state = None
            self._gone()

    def abandon(self) -> None:
        """In a forked child: dead, like the handle of the store."""
        self._state = None
        self._gone.detach()


def refuse(handle: PastHandle) -> NoReturn:
    """The error for what would change the store."""
    raise ReadOnlyError(
        f"this is a view of {handle.root} as it was after change {handle.seq}: nothing can be written to it",
        path=handle.root, seq=handle.seq,
        remedy="Write to the store itself; `revert` makes an old revision the newest again.",
    )  # fmt: skip


class PastBlobs:
    """The contents of the store, and why one that was there then is not there now. Nothing can be taken in."""

    def __init__(self, live: Handle) -> None:
        self._live = live
        self._blobs: BlobStore = live.blobs

    def open(self, digest: str) -> BlobReader:
        """As the store's own. Raises ContentPurgedError for what was given up since."""
        with self._explained(digest):
            return self._blobs.open(digest)

    def read(self, digest: str, *, spot: Spot | None = None) -> bytes:
        """As the store's own."""
        with self._explained(digest):
            return self._blobs.read(digest, spot=spot)

    def read_many(self, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes]]:
        """As the store's own; rows of then do not know where the bytes are, so those of now are asked."""
        spots: dict[str, Spot | None] = {}
        digests = [digest for digest, spot in wanted if spot is None]
        for start in range(0, len(digests), _ASKED):
            places = self._live.index.physical.places(set(digests[start : start + _ASKED]))
            spots |= {digest: place.spot for digest, place in places.items()}
        with self._explained(""):
            yield from self._blobs.read_many([(digest, spot or spots.get(digest)) for digest, spot in wanted])

    def stat(self, digest: str) -> BlobStat | None:
        """As the store's own."""
        return self._blobs.stat(digest)

    def verify(self, digest: str) -> BlobStat:
        """As the store's own."""
        with self._explained(digest):
            return self._blobs.verify(digest)

    @contextlib.contextmanager
    def _explained(self, digest: str) -> Iterator[None]:
        try:
            yield
        except BlobMissingError as error:
            digest = digest or str(error.fields.get("digest", ""))
            if digest != NOTHING and self._live.index.physical.wanted(digest):
                raise
            raise ContentPurgedError(
                f"the content {digest} was given up since", digest=digest,
                remedy="`view.losses()` names the change that took it.",
            ) from error  # fmt: skip
