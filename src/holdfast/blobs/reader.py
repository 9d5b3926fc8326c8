"""Blobs as ordinary Python files, and as a stream that is proven as it goes: over any BlobReader."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from holdfast.blobs.ahead import Helper, ahead
from holdfast.blobs.contract import BlobReader
from holdfast.blobs.files import ContentReader, FramedReader
from holdfast.errors import BlobDamagedError, HandleDeadError, HoldfastError
from holdfast.values import digest as digests

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER = 4 * 1024
"""Small on purpose: the reader keeps the frame, so a larger buffer only makes random reads touch two frames."""

PIECE = 1024 * 1024
_AHEAD = 4
_WORTH_A_THREAD = 256 * 1024
"""Handing a piece to another thread costs as much as hashing some tens of kilobytes."""


class Hashing:
    """SHA-256 of pieces in order; long ones are hashed by a thread of its own while the caller gets the next one."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[None]] = deque()
        self._process = os.getpid()

    def update(self, *pieces: bytes) -> None:
        """Add pieces; at most a few calls are waiting. HandleDeadError in a forked child, where the thread is not."""
        if self._pool is not None and os.getpid() != self._process:
            raise HandleDeadError("the content was being read when the process forked", reason="forked")
        if self._pool is None:
            if sum(map(len, pieces)) < _WORTH_A_THREAD:
                self._hash(pieces)
                return
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="holdfast-sha256")
        self._under_way.append(self._pool.submit(self._hash, pieces))
        if len(self._under_way) > _AHEAD:
            self._under_way.popleft().result()

    def digest(self) -> bytes:
        """Of all pieces; the thread is given back."""
        self.close()
        return self._sha.digest()

    def close(self) -> None:
        """Wait for what is under way, and give the thread back."""
        if os.getpid() != self._process:
            return
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        while self._under_way:
            self._under_way.popleft().result()

    def _hash(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            self._sha.update(piece)


class BlobRaw(io.RawIOBase):
    """A blob as a readable, seekable raw file. Not for several threads at once.

    Read from start to end without a jump, it hashes along, and raises BlobDamagedError instead of handing out the
    last piece of content that does not match its digest. Ranges are covered by the reader's checked frames.
    """

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self._at = 0
        self._hashed = 0
        self._hash = Hashing()
        self._helper: Helper[list[bytes]] = Helper("frames")
        self._begun = (0, 0)
        self._last = 0

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
        at = self._at
        parts = self._parts(len(view))
        self._follow(parts)
        place = 0
        for part in parts:
            view[place : place + len(part)] = part
            place += len(part)
        if at == self._last and place >= _WORTH_A_THREAD and self._at < self.size:
            # Whoever has read two long pieces one after the other will read the next.
            self._begun = (self._at, len(view))
            self._helper.begin(functools.partial(_parts_at, self._reader, *self._begun))
        self._last = self._at
        return place

    def readall(self) -> bytes:
        """What is left from here to the end."""
        self._refuse_closed()
        all_parts: list[bytes] = []
        while self._at < self.size:
            parts = self._parts(PIECE)
            self._follow(parts)
            all_parts += parts
        return b"".join(all_parts)

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
                self._helper.close()
                self._hash.close()
                self._reader.close()
            finally:
                super().close()

    def _parts(self, length: int) -> list[bytes]:
        """What comes next. The reader is not for two threads: what was begun is waited for, whether it is wanted."""
        if self._helper.busy:
            if self._begun == (self._at, length):
                return self._helper.take()
            with contextlib.suppress(HoldfastError):
                self._helper.take()
        return _parts_at(self._reader, self._at, length)

    def _follow(self, parts: Sequence[bytes]) -> None:
        length = sum(map(len, parts))
        if self._hashed == self._at and length:
            self._hash.update(*parts)
            self._hashed += length
            if self._hashed == self.size:
                _prove(self._reader, self._hash.digest())
        self._at += length

    def _refuse_closed(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def buffered(reader: BlobReader) -> io.BufferedReader:
    """A blob as an ordinary binary file: for TextIOWrapper, zipfile, tarfile, json. Closing it closes the reader."""
    return io.BufferedReader(BlobRaw(reader), BUFFER)


def copy_to(reader: BlobReader, write: Callable[[bytes], object]) -> None:
    """Give the whole content to `write`, in order, in pieces of up to 1 MiB; memory stays within a few of them.

    One thread decompresses and another one hashes while the caller's writes. Each piece was checked by frame; the
    digest of the whole is known only at the end: BlobDamagedError then, although everything was given out.
    """
    if isinstance(reader, ContentReader):
        # Proven at open.
        write(reader.content)
        return
    with contextlib.closing(Hashing()) as sha, contextlib.closing(pieces(reader)) as each:
        for parts in each:
            sha.update(*parts)
            for part in parts:
                write(part)
        found = sha.digest()
    _prove(reader, found)


def pieces(reader: BlobReader) -> Generator[list[bytes]]:
    """The whole content in order, up to 1 MiB at a time in the parts in which it is stored. To be closed by the caller.

    A thread decompresses the next while one is used. Checked by frame alone.
    """
    each = (_parts_at(reader, offset, PIECE) for offset in range(0, reader.size, PIECE))
    return ahead(each, "frames") if reader.size > PIECE else each


def _parts_at(reader: BlobReader, offset: int, length: int) -> list[bytes]:
    """A range of a blob, in the pieces in which its reader has it."""
    return reader.parts_at(offset, length) if isinstance(reader, FramedReader) else [reader.read_at(offset, length)]


def _prove(reader: BlobReader, found: bytes) -> None:
    if digests.text(found) != reader.digest:
        reason = f"the content hashes to {digests.text(found)}"
        raise BlobDamagedError(f"{reader.digest} is damaged: {reason}", digest=reader.digest, path="", reason=reason)
