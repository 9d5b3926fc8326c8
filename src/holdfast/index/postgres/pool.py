"""The connections of one open index: never more than a given number, lent to threads until another needs one.

A thread keeps what it was lent while it can, for what is prepared and in temporary tables goes with the connection. Who
comes when all are lent takes one from a thread that is not in the midst of anything; if there is none, it waits.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Protocol

from holdfast.errors import HandleDeadError, LockedError
from holdfast.index.postgres.place import LOCK_WAIT_MS, Place
from holdfast.index.postgres.wire import Wire
from holdfast.values import configuration

SETTING = "connections"
_LOOK_S = 0.05
"""Who waits looks again so often: a transaction that has ended says nothing."""


class Borrower(Protocol):
    """Who is lent a connection."""

    def give_up(self) -> Wire | None:
        """The connection, for another; None if it is needed, or not there."""
        ...

    def close(self) -> None:
        """Close what there is."""
        ...


class Pool:
    """Connections to one schema. `most`: None: what the setting `connections` says."""

    def __init__(
        self, place: Place, *, read_only: bool, most: int | None = None, wait_s: float = LOCK_WAIT_MS / 1000
    ) -> None:
        self.place = place
        self.read_only = read_only
        self.most = _said() if most is None else most
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._lent: dict[Borrower, threading.Thread] = {}
        self._free: list[Wire] = []
        self._making = 0
        self._closed = False

    def take(self, link: Borrower) -> Wire:
        """A connection for this thread's `link`: LockedError if none comes to be free in time, typed errors."""
        until = time.monotonic() + self._wait_s
        with self._changed:
            while True:
                if self._closed:
                    raise HandleDeadError("the store is closed", reason="closed")
                wire = self._idle()
                if wire is not None:
                    self._lent[link] = threading.current_thread()
                    return wire
                if len(self._lent) + self._making < self.most:
                    self._making += 1
                    break
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise self._exhausted()
                self._changed.wait(min(left_s, _LOOK_S))
        return self._made(link)

    def _idle(self) -> Wire | None:
        while self._free:
            wire = self._free.pop()
            if not wire.lost:
                return wire
        gone = [link for link, thread in self._lent.items() if not thread.is_alive()]
        for link in gone:
            del self._lent[link]
            wire_or_none = link.give_up()
            if wire_or_none is not None:
                self._free.append(wire_or_none)
            else:
                link.close()
        if gone:
            return self._idle()
        if len(self._lent) + self._making < self.most:
            return None
        for link in self._lent:  # those who have had theirs for longest come first
            wire_or_none = link.give_up()
            if wire_or_none is not None:
                del self._lent[link]
                return None if wire_or_none.lost else wire_or_none
        return None

    def _made(self, link: Borrower) -> Wire:
        try:
            wire = Wire(self.place.connect(read_only=self.read_only))
        except BaseException:
            with self._changed:
                self._making -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._making -= 1
            if not self._closed:
                self._lent[link] = threading.current_thread()
                return wire
        wire.close()
        raise HandleDeadError("the store is closed", reason="closed")

    def _exhausted(self) -> LockedError:
        return LockedError(
            f"all {self.most} connections to {self.place} are in use", lock=str(self.place), holder=None,
            waited_s=self._wait_s,
            remedy="Let fewer threads use the store at once, or raise HOLDFAST_CONNECTIONS (and the server's "
            "max_connections with it).",
        )  # fmt: skip

    def forget(self, link: Borrower) -> None:
        """A link has no connection any more."""
        with self._changed:
            self._lent.pop(link, None)
            self._changed.notify()

    def part(self) -> None:
        """Close all; new ones are made when they are asked for."""
        with self._changed:
            lent, self._lent = [*self._lent], {}
            free, self._free = self._free, []
        for link in lent:
            link.close()
        for wire in free:
            wire.close()

    def close(self) -> None:
        """Close all, for good."""
        self._closed = True
        self.part()

    def abandon(self) -> list[object]:
        """In a forked child: use none again, and close none (the server would take it for the parent's)."""
        self._closed = True
        self._changed = threading.Condition()
        return [*self._lent, *self._free]


def _said() -> int:
    """What the setting says; InvalidValueError."""
    one = configuration.setting(SETTING)
    said = os.environ.get(one.environment)
    found = configuration.parsed(one, said, one.environment) if said else one.default
    return int(found or 1)
