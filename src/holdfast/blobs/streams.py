"""What an open content must do. Each numbered sentence has a conformance test that names it.

F-1  `read` gives the next bytes: as many as asked for where there are so many, all that is left without a number, and
     b"" at the end, however often it is asked. `readinto` and `readline` and a loop over lines give the same bytes.
F-2  `seek` and `tell` are those of files: from the start, from here, from the end. Beyond the end nothing is read;
     before the start is ValueError, and the place stays what it was.
F-3  It can be read and sought in, and not be written to: `write` and `truncate` raise, and nothing is changed.
F-4  Never a wrong byte: what is damaged raises BlobDamagedError, read from start to end or after any jump.
F-5  After `close`, which is the end of a `with` too, every use is ValueError; to close again is nothing.
F-6  It is an ordinary binary file to Python: TextIOWrapper, zipfile, tarfile and json take it.
F-7  Several may be open at once, also on one content and in many threads, each with a place of its own. One alone is
     for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@runtime_checkable
class ContentStream(Protocol):
    """An open content: what `store.artifacts.open`, `open_many` and `holdfast.blobs.buffered` give."""

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        ...

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes (F-1). ValueError when closed, BlobDamagedError."""
        ...

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as content goes; how many bytes (F-1)."""
        ...

    def readline(self, size: int | None = -1, /) -> bytes:
        """Up to the next line feed, with it (F-1)."""
        ...

    def seek(self, target: int, whence: int = 0, /) -> int:
        """Go to a byte; where that is (F-2)."""
        ...

    def tell(self) -> int:
        """The byte that is read next (F-2)."""
        ...

    def readable(self) -> bool:
        """Yes (F-3)."""
        ...

    def seekable(self) -> bool:
        """Yes (F-3)."""
        ...

    def writable(self) -> bool:
        """No (F-3)."""
        ...

    def close(self) -> None:
        """Give the file back (F-5)."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Line by line (F-1)."""
        ...

    def __enter__(self) -> Self:
        """Itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it (F-5)."""
        ...
