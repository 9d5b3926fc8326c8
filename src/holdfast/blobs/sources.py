"""What content comes from, read in parts: for blob stores, ours and those of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from holdfast.blobs.compress import as_bytes_view, read_full


def parts_of(source: bytes | memoryview | BinaryIO, length: int) -> Iterator[bytes]:
    """Parts of `length` bytes, the last one shorter. A source may give any number of bytes at a time.

    Raises InvalidValueError for text, and StorageIOError with the operation "read source" if the source fails.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        view = as_bytes_view(source)
        for at in range(0, len(view), length):
            yield bytes(view[at : at + length])
        return
    while data := read_full(source, length):
        yield bytes(data)


class Rejoined:
    """What was read of a stream to see how long it is, then the rest of it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        if not self._head:
            return self._rest.read(size)
        taken, self._head = bytes(self._head[:size]), self._head[size:]
        return taken
