"""Looks at folders before their turn: by helping processes, each question some neighbours with what lies below them.

Whoever walks takes folders depth first. What is known of those that come next is kept, within bounds; who is lost is
done without, and what nobody has looked at is looked at when its turn comes. So what is found depends on nobody's help.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from holdfast.exchange import hand, hands
from holdfast.exchange.hand import Seen
from holdfast.exchange.hands import Hands

TOGETHER = 1_000
"""Entries of a folder that are looked at before any of them is taken in."""

ALONE_FOLDERS = 24
"""So many folders are met before helping processes are started."""

AHEAD_FOLDERS = 64
"""So many folders beside each other are asked for together, each with those below it."""

AHEAD_ENTRIES = 1_000
"""An answer ends where it has so many: some 6 ms of work, for which somebody may wait."""

HELD_ENTRIES = 24_000
"""Nothing more is asked for while so many wait for their turn, of 150 bytes each."""

_EACH = 2
"""Questions under way for each process: while one is answered, the next waits for it."""

Looked = tuple[Seen, list[bytes]]
"""What lies in a folder, of up to TOGETHER things; and the names of the others."""


class _Question:
    """Folders that are being looked at; what was not reached of them comes to stand in its place."""

    __slots__ = ("answer", "paths")

    def __init__(self, paths: list[bytes], answer: Future[Any]) -> None:
        self.paths = paths
        self.answer = answer


class Looking:
    """Knows what lies in folders, in the order of a walk."""

    def __init__(self, helpers: Hands, own: tuple[int, int]) -> None:
        """`own`: device and inode of a folder that nobody goes into."""
        self._hands = helpers
        self._own = own
        self._known: dict[bytes, Looked] = {}
        self._next: list[bytes | _Question] = []  # what comes, the nearest last
        self._asked: list[_Question] = []
        self._under_way: dict[bytes, _Question] = {}
        self._met = self._held = 0

    def at(self, path: bytes) -> Looked:
        """What lies in a folder: the one whose turn it is."""
        while self._asked and self._asked[0].answer.done():
            self._take(self._asked[0])
        question = self._under_way.get(path)
        if question is not None:
            if question.answer.cancel():  # nobody has begun: doing it takes less time than waiting
                self._end(question, question.paths)
            else:
                self._take(question)
        looked = self._known.pop(path, None)
        if looked is None:
            if self._next and self._next[-1] == path:
                self._next.pop()
            looked = hand.look(path, None, TOGETHER)
            self._meet(path, looked[0])
        else:
            self._held -= len(looked[0][1])
        self._ask()
        return looked

    def more(self, path: bytes, names: Sequence[bytes]) -> Seen:
        """The same of things in the folder that were left over."""
        seen = hand.look(path, names)[0]
        self._meet(path, seen)
        self._ask()
        return seen

    def _meet(self, path: bytes, seen: Seen) -> None:
        """The folders in one come next."""
        below = hand.below(path, seen, self._own)
        self._met += len(below)
        self._next += reversed(below)

    def _ask(self) -> None:
        if self._met <= ALONE_FOLDERS or not self._hands.count:
            return
        while len(self._asked) < _EACH * self._hands.count and self._held < HELD_ENTRIES:
            # Who walks does the first himself: processes are still being started.
            end = len(self._next) - (not self._under_way and not self._known)
            while end > 0 and isinstance(self._next[end - 1], _Question):
                end -= 1
            start = end
            while start > 0 and end - start < AHEAD_FOLDERS and not isinstance(self._next[start - 1], _Question):
                start -= 1
            if start == end:
                return
            paths: list[Any] = self._next[start:end][::-1]
            question = _Question(paths, self._hands.ask("look", paths, TOGETHER, AHEAD_ENTRIES, self._own))
            self._next[start:end] = [question]
            self._asked.append(question)
            self._under_way.update(dict.fromkeys(paths, question))

    def _take(self, question: _Question) -> None:
        """What was found is known now; what was not reached is asked for again in its turn, or looked at in it."""
        found, left = hands.answer(question.answer, lambda: ([], []))
        self._end(question, left)
        for path, looked in found:
            self._known[path] = looked
            self._held += len(looked[0][1])
            self._met += 1

    def _end(self, question: _Question, left: Sequence[bytes]) -> None:
        self._asked.remove(question)
        for path in question.paths:
            del self._under_way[path]
        place = self._next.index(question)
        self._next[place : place + 1] = reversed(left)
