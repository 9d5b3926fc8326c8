"""Compares the journal with the index's copy of the chain by their bytes, while the latter is verified.

Where all are the same, what was proven of the one holds for the other. It says no more than that: whatever differs,
and a journal that does not lie in plain order, is read by itself (journal.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import HoldfastError
from holdfast.journal import Journal


class Copies:
    """Takes the transactions of the index in their order. `segments`: how many the journal has."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._left: list[tuple[int, str]] = []
        self._blocks: Iterator[bytes] = iter(())
        self._held = b""
        self.transactions = self.segments = 0
        self._alike = True
        try:
            found = journal.segments()
        except HoldfastError:
            self._alike = False
            return
        self._left = [(first, path) for first, _, path in reversed(found)]
        self.segments = len(found)
        self._alike = len({first for first, _ in self._left}) == len(found)  # one may be there sealed and plain

    def take(self, first: int, data: bytes | None) -> None:
        """The bytes of the next transaction, by its first change; None if there are none."""
        if not self._alike:
            return
        try:
            self._alike = data is not None and self._is_next(first, data)
        except (HoldfastError, FileNotFoundError):
            self._alike = False
        self.transactions += 1

    def are_alike(self) -> bool:
        """Whether the journal holds what was taken, and nothing else, each segment under its right name."""
        try:
            return self._alike and not self._left and not self._held and next(self._blocks, None) is None
        except (HoldfastError, FileNotFoundError):
            return False

    def _is_next(self, first: int, data: bytes) -> bool:
        if self._left and self._left[-1][0] == first:
            if self._held or next(self._blocks, None) is not None:
                return False
            self._blocks = self._journal.blocks(self._left.pop()[1])
        parts, size = [self._held], len(self._held)
        while size < len(data) and (block := next(self._blocks, b"")):
            parts.append(block)
            size += len(block)
        found = b"".join(parts)
        self._held = found[len(data) :]
        return found.startswith(data)
