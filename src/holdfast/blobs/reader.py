"""Blobs as ordinary Python files, and as a stream that is proven as it goes: over any BlobReader."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from holdfast.blobs.contract import BlobReader
from holdfast.blobs.files import ContentReader
from holdfast.blobs.onward import PIECE, Onward
from holdfast.blobs.passage import Passage, divisible

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER = 4 * 1024
"""Small on purpose: the reader keeps the frame, so a larger buffer only makes random reads touch two frames."""


class BlobRaw(io.RawIOBase):
    """A blob as a readable, seekable raw file. Not for several threads at once.

    Read from start to end without a jump, it hashes along, and raises BlobDamagedError instead of handing out the
    last piece of content that does not match its digest. Ranges are covered by the reader's checked frames.
    """

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self._passage = Passage(reader)
        self._at = 0

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self._reader.size

    @property
    def name(self) -> str:
        """The digest: what zipfile and tarfile show of a file."""
        return self._reader.digest

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` as far as content goes; returns the number of bytes, 0 at the end."""
        self._refuse_closed()
        view = memoryview(buffer).cast("B")
        place = 0

        def take(part: bytes | memoryview) -> None:
            nonlocal place
            view[place : place + len(part)] = part
            place += len(part)

        self._at += self._passage.give(self._at, len(view), take)
        return place

    def readall(self) -> bytes:
        """What is left from here to the end."""
        self._refuse_closed()
        whole, left = io.BytesIO(), self.size - self._at
        if left > 0:
            # Room for all of it at once: where it grew instead, 2 MiB took half as long again, in page faults.
            whole.seek(left - 1)
            whole.write(b"\0")
            whole.seek(0)
        self._at += self._passage.give(self._at, self.size, whole.write)
        return whole.getvalue()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a byte; past the end is allowed and reads nothing there. Raises ValueError before the start."""
        self._refuse_closed()
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"no such whence: {whence}")
        target = offset + (0, self._at, self.size)[whence]
        if target < 0:
            raise ValueError(f"seek before the start: {target}")
        self._at = target
        return target

    def tell(self) -> int:
        """Where the next read begins."""
        self._refuse_closed()
        return self._at

    def close(self) -> None:
        """Close this and the reader."""
        if not self.closed:
            try:
                self._passage.close()
                self._reader.close()
            finally:
                super().close()

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def buffered(reader: BlobReader) -> io.BufferedReader:
    """A blob as an ordinary binary file: for TextIOWrapper, zipfile, tarfile, json. Closing it closes the reader."""
    return io.BufferedReader(BlobRaw(reader), BUFFER)


def copy_to(reader: BlobReader, write: Callable[[bytes], object]) -> None:
    """Give the whole content to `write`, in order, in pieces of up to 1 MiB; memory stays within a few of them.

    Threads decompress and hash while the caller's writes. Each piece was checked by frame; the digest of the whole is
    known only at the end: BlobDamagedError then, although everything was given out.
    """
    # Bytes of his own for whoever keeps them.
    lend_to(reader, lambda part: write(bytes(part)))


def lend_to(reader: BlobReader, write: Callable[[bytes | memoryview], object]) -> None:
    """As `copy_to`, in parts that are good until `write` returns: not copied for whoever keeps none, as files do."""
    if isinstance(reader, ContentReader):
        # Proven at open.
        write(reader.content)
        return
    with contextlib.closing(Passage(reader)) as passage:
        passage.give(0, reader.size, write)


def verify(reader: BlobReader) -> None:
    """Read the whole content, as `copy_to` does; BlobDamagedError."""
    lend_to(reader, len)


def pieces(reader: BlobReader) -> Generator[bytes | memoryview]:
    """The whole content in order, each piece good until the next is asked for. To be closed by the caller.

    Threads open the next while one is used. Checked by frame alone.
    """
    source = divisible(reader)
    if source is None or reader.size <= PIECE:
        yield from (reader.read_at(offset, PIECE) for offset in range(0, reader.size, PIECE))
        return
    with contextlib.closing(Onward(source, 0)) as onward:
        while (piece := onward.take()) is not None:
            yield piece
