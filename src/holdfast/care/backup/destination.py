"""What a place for backups must do: a few operations on named files, so that object storage can be one too.

Names are short relative paths with `/`. Each numbered sentence has a conformance test that names it.

D-1  `write` makes a file of the bytes given, in place of one that was there. It is not durable before `settle`, and
     need not be whole if the process ends meanwhile.
D-2  `settle` makes everything durable that was written, shared or removed before.
D-3  `put` makes a small file whole or not at all, whatever happens, and durable when it returns.
D-4  `share` gives a file a second name; removing one name leaves the other. False if the first is not there.
D-5  `blocks` gives exactly the bytes of a file; BackupDamagedError if there is no such file.
D-6  `remove` takes away a name, and all names below it; what is not there is no error.
D-7  `names` gives every name below a prefix, in order; `here` those right below it, also of what has names below.
D-8  `hold` keeps everybody else out: LockedError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable


@runtime_checkable
class Destination(Protocol):
    """Files by name. See the numbered sentences above. Raises NoSpaceError, ReadOnlyError, StorageIOError."""

    @property
    def where(self) -> str:
        """How people call it: a path, a URL."""
        ...

    def hold(self, wait_s: float) -> AbstractContextManager[None]:
        """Have it alone while the block lasts (D-8)."""
        ...

    def is_empty(self) -> bool:
        """Whether there is nothing at all."""
        ...

    def read(self, name: str) -> bytes | None:
        """A small file whole; None if there is none."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """A small file, whole or not at all (D-3)."""
        ...

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        """A file of any size (D-1)."""
        ...

    def folder(self, name: str) -> None:
        """Where folders are things of their own: one with nothing in it yet."""
        ...

    def share(self, name: str, second: str) -> bool:
        """A second name (D-4)."""
        ...

    def settle(self) -> None:
        """Make everything durable (D-2)."""
        ...

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file (D-5)."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """Every name below a prefix, in order (D-7)."""
        ...

    def here(self, prefix: str) -> list[str]:
        """The last parts of what is right below a prefix, in order (D-7)."""
        ...

    def remove(self, name: str) -> None:
        """Take away a name and all below it (D-6)."""
        ...

    def local(self, name: str) -> str | None:
        """Where on this machine a file is, or would be, for SQLite to work on in place; None if nowhere."""
        ...

    def same(self, name: str, second: str) -> bool:
        """Whether two names are known to be of one file, so that reading both tells no more than reading one."""
        ...
