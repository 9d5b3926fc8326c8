"""What is needed of a journal. Each numbered sentence has a conformance test that names it.

L-1  `append` adds the bytes given behind all others: they are read back in that order, whole or not at all.
L-2  `prepare` claims the space first: NoSpaceError then, and never after COMMIT.
L-3  After `sync`, what this journal appended survives the loss of power; `unsynced_bytes` says what would not.
L-4  A torn or damaged line is told from a transaction, and what stands behind it is still read.
L-5  `ends_with` says whether the last line is a given head, whoever has written it.
L-6  `head` is the last whole transaction, None if there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from holdfast.formats.lines import Garbage, Located
from holdfast.values.change import Head


@runtime_checkable
class JournalStore(Protocol):
    """The chain as lines, appended to under the writer lock and read at any time."""

    @property
    def unsynced_bytes(self) -> int:
        """What a loss of power could take (L-3)."""
        ...

    def prepare(self, first_seq: int, length: int) -> None:
        """Before COMMIT: see to the space (L-2)."""
        ...

    def append(self, data: bytes) -> None:
        """After COMMIT (L-1)."""
        ...

    def sync(self) -> None:
        """Make all that was appended durable (L-3)."""
        ...

    def scan(self, from_seq: int = 1) -> Iterator[tuple[str, Located | Garbage]]:
        """(place, transaction or garbage) in order (L-1, L-4)."""
        ...

    def ends_with(self, head: Head) -> bool:
        """Whether the last line is a head's (L-5)."""
        ...

    def head(self) -> Head | None:
        """The end as the last whole transaction shows it (L-6)."""
        ...

    def release(self) -> None:
        """Sync, and give the file back."""
        ...
