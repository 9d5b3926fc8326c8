"""The files that a destination already has: of the generation before, and of a backup of this one that was killed."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from holdfast.care.backup.destination import Destination
from holdfast.formats import generation
from holdfast.formats.generation import Entry, Generation
from holdfast.values.frozen import dataclass

TOGETHER_FILES = 10_000
TOGETHER_BYTES = 256 << 20
"""So much is made durable at once, and then noted."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file that the destination has. `name`: there; `here`: it is in the generation that is being made."""

    entry: Entry
    name: str
    here: bool


class Known:
    """Lists in order, side by side: each path is asked for in that order, and memory does not grow with them."""

    def __init__(self, destination: Destination, number: int, earlier: Generation | None, *, whole: bool) -> None:
        self._destination = destination
        own = generation.folder_of(number)
        attempts: dict[str, list[str]] = {}
        for part in destination.here(generation.drafts_of(number)):
            attempts.setdefault(part.split("-")[0], []).append(f"{generation.drafts_of(number)}/{part}")
        self.attempts = max((int(one) for one in attempts if one.isdecimal()), default=0)
        lists = [self._held(parts, own, here=True) for parts in attempts.values()]
        if earlier is not None and not whole:
            before = [generation.list_of(earlier.number)]
            lists.append(self._held(before, generation.folder_of(earlier.number), here=False))
        self._merged = heapq.merge(*lists, key=lambda held: (held.entry.order, not held.here))
        self._next = next(self._merged, None)

    def of(self, path: str) -> list[Held]:
        """What there is of a path: what is in place already before what is to be shared."""
        order, found = generation.order_of(path), []
        while self._next is not None and self._next.entry.order <= order:
            if self._next.entry.order == order:
                found.append(self._next)
            self._next = next(self._merged, None)
        return found

    def _held(self, lists: Iterable[str], folder: str, *, here: bool) -> Iterator[Held]:
        blocks = (block for name in lists for block in self._destination.blocks(name))
        for entry in generation.decode_entries(blocks, folder, torn=here):
            yield Held(entry, f"{folder}/{entry.path}", here)


class Noting:
    """The list of the generation that is being made: in parts, each of which follows what makes its files durable."""

    def __init__(self, destination: Destination, number: int, attempt: int) -> None:
        self.files = self.bytes = 0
        self._destination = destination
        self._number, self._attempt = number, attempt
        self._parts: list[str] = []
        self._lines: list[bytes] = []
        self._waiting = 0

    def add(self, entry: Entry) -> None:
        """The next file is there."""
        self.files += 1
        self.bytes += entry.size
        self._lines.append(generation.encode_entry(entry))
        self._waiting += entry.size
        if len(self._lines) >= TOGETHER_FILES or self._waiting >= TOGETHER_BYTES:
            self.keep()

    def keep(self) -> None:
        """Make what was added so far durable, and note it for whoever has to go on."""
        self._destination.settle()
        self._parts.append(generation.draft_of(self._number, self._attempt, len(self._parts)))
        self._destination.put(self._parts[-1], b"".join(self._lines))
        self._lines, self._waiting = [], 0

    def all(self) -> Iterator[bytes]:
        """The whole list, in blocks."""
        for name in self._parts:
            yield from self._destination.blocks(name)
        yield b"".join(self._lines)
