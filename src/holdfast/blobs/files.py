"""Reads one blob's file: tells its two forms apart, proves the table at open, and each frame when it is touched."""

from __future__ import annotations

import functools
import stat as stat_flags
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TypeVar

from holdfast.blobs.contract import BlobStat
from holdfast.blobs.onward import end_among
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, HandleDeadError, InvalidValueError
from holdfast.formats import frame, seekable
from holdfast.formats.seekable import FrameTable
from holdfast.values import digest as digests

T = TypeVar("T")

_TAIL_GUESS = 64 * 1024


class ContentReader:
    """Random access to content that lies in memory and was proven against its digest."""

    def __init__(self, digest: str, content: bytes, stored_bytes: int) -> None:
        self.digest = digest
        self.size = len(content)
        self.content = content
        self.stat = BlobStat(digest, self.size, stored_bytes, 1)

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length), cut off at the end."""
        check_range(offset, length)
        return self.content[offset : offset + length]

    def close(self) -> None:
        """Nothing to give back."""


class FramedReader:
    """Random access to a file of many frames by its proven table. Keeps one frame, the last one that was read."""

    def __init__(self, disk: Disk, fd: int, *, path: str, table: FrameTable, stored_bytes: int) -> None:
        self.digest = digests.text(table.digest)
        self.size = table.size
        self.stat = BlobStat(self.digest, table.size, stored_bytes, table.frames)
        self._disk = disk
        self._fd = fd
        self._path = path
        self._table = table
        self._held = -1
        self._content = b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length), cut off at the end; raises BlobDamagedError, HandleDeadError if closed."""
        parts = self.parts_at(offset, length)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def parts_at(self, offset: int, length: int) -> list[bytes]:
        """The same in the pieces in which it is stored: nothing is copied to put them together."""
        check_range(offset, length)
        if self._fd < 0:
            raise HandleDeadError("the blob's reader is closed", reason="closed")
        end = min(offset + length, self.size)
        if offset >= end:
            return []
        starts = self._table.starts
        n = bisect_right(starts, offset) - 1
        parts = [self._frame(n)[offset - starts[n] : end - starts[n]]]
        while starts[n + 1] < end:
            n += 1
            parts.append(self._frame(n)[: end - starts[n]])
        return parts

    def end_of_piece(self, offset: int) -> int:
        """The end of a frame (Divisible)."""
        return end_among(self._table.starts, offset)

    def fill(self, offset: int, view: memoryview) -> None:
        """Whole frames but for the beginning of the first (Divisible). One read; BlobDamagedError."""
        starts, places = self._table.starts, self._table.places
        first, last = bisect_right(starts, offset) - 1, bisect_left(starts, offset + len(view))
        base, at = places[first], 0
        stored = memoryview(self._disk.pread(self._fd, places[last] - base, base, self._path))
        if starts[first] < offset:
            at = starts[first + 1] - offset
            view[:at] = self._opened(first, stored[: places[first + 1] - base], frame.decode)[offset - starts[first] :]
            first += 1
        for n in range(first, last):
            into = view[at : at + starts[n + 1] - starts[n]]
            self._opened(n, stored[places[n] - base : places[n + 1] - base], functools.partial(frame.decode_into, into))
            at += len(into)

    def close(self) -> None:
        """Close the file; again does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._content = b""
            self._disk.close(fd)

    def _frame(self, n: int) -> bytes:
        if n != self._held:
            place = self._table.places[n]
            stored = self._disk.pread(self._fd, self._table.places[n + 1] - place, place, self._path)
            self._content = self._opened(n, stored, frame.decode)
            self._held = n
        return self._content

    def _opened(self, n: int, stored: bytes | memoryview, decode: Callable[[bytes | memoryview], T]) -> T:
        """What `decode` makes of a frame, if it is the one that the table lists."""
        table = self._table
        checksum = int.from_bytes(stored[-frame.CHECKSUM_BYTES :], "little")
        try:
            if len(stored) != table.places[n + 1] - table.places[n]:
                raise frame.damage("the file was cut while it was open")
            if checksum != table.checks[n] or frame.head(stored)[0] != table.starts[n + 1] - table.starts[n]:
                raise frame.damage(f"frame {n} is not the one that the table lists")
            return decode(stored)
        except BlobDamagedError as error:
            raise damaged(self.digest, self._path, error.message) from error


def open_file(disk: Disk, path: str, digest: str) -> ContentReader | FramedReader:
    """Open a blob. One frame: content read and proven now. Many: table proven now, frames when touched.

    Raises BlobMissingError, BlobDamagedError, StorageIOError.
    """
    fd = _open(disk, path, digest)
    keep = False
    try:
        data, found, stored_bytes = _look(disk, fd, path)
        if isinstance(found, FrameTable):
            _same(digests.text(found.digest), digest)
            keep = True
            return FramedReader(disk, fd, path=path, table=found, stored_bytes=stored_bytes)
        content = frame.decode(data)
        _same(digests.of(content), digest)
        return ContentReader(digest, content, stored_bytes)
    except BlobDamagedError as error:
        raise damaged(digest, path, error.message) from error
    finally:
        if not keep:
            disk.close(fd)


def stat_file(disk: Disk, path: str, digest: str) -> BlobStat | None:
    """Sizes of a blob from headers and table, not decompressed; None if absent, BlobDamagedError if unreadable."""
    try:
        fd = _open(disk, path, digest)
    except BlobMissingError:
        return None
    try:
        _, found, stored_bytes = _look(disk, fd, path)
        if isinstance(found, FrameTable):
            _same(digests.text(found.digest), digest)
            return BlobStat(digest, found.size, stored_bytes, found.frames)
        return BlobStat(digest, found, stored_bytes, 1)
    except BlobDamagedError as error:
        raise damaged(digest, path, error.message) from error
    finally:
        disk.close(fd)


def _open(disk: Disk, path: str, digest: str) -> int:
    there = disk.stat(path)
    if there is not None and not stat_flags.S_ISREG(there.st_mode):
        raise damaged(digest, path, "it is not a regular file")
    try:
        return disk.open_read(path)
    except FileNotFoundError as error:
        raise BlobMissingError(f"no file holds {digest}", digest=digest, path=path) from error


def _look(disk: Disk, fd: int, path: str) -> tuple[bytes, FrameTable | int, int]:
    """(all bytes, size of content) of one frame, or (nothing, proven table) of many; and the length of the file."""
    total = disk.size(fd)
    tail = b""
    if total <= frame.ONE_FRAME_FILE_MAX:
        tail = disk.pread(fd, total, 0, path)
        content, end = frame.measure(tail)
        # A first frame that ends with the file is the whole blob, whatever its last bytes look like.
        if end == len(tail) == total:
            if content > frame.ONE_FRAME_MAX:
                raise frame.damage("a single frame of more content than one may hold")
            return tail, content, total
    else:
        tail = disk.pread(fd, _TAIL_GUESS, total - _TAIL_GUESS, path)
    wanted = seekable.tail_bytes(tail[-seekable.FOOT_BYTES :])
    if wanted > total:
        raise frame.damage("the seek table is longer than the file")
    tail = tail[-wanted:] if wanted <= len(tail) else disk.pread(fd, wanted, total - wanted, path)
    return b"", seekable.decode_tail(tail, total), total


def _same(found: str, digest: str) -> None:
    if found != digest:
        raise frame.damage(f"the content is that of {found}")


def damaged(digest: str, path: str, reason: str) -> BlobDamagedError:
    """The error for a file whose bytes are not the blob's."""
    return BlobDamagedError(f"{path} is damaged: {reason}", digest=digest, path=path, reason=reason)


def check_range(offset: int, length: int) -> None:
    """Refuse ranges that begin before the content or have no length."""
    if offset < 0 or length < 0:
        raise InvalidValueError(f"no range of bytes: {offset}, {length}", where="range", reason="negative")
