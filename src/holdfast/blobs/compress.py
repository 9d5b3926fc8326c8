"""Decides how hard to compress, and writes one blob: hashed and compressed as it streams by, in bounded memory.

The bytes that come out depend on the content alone: neither on the number of threads nor on how the source hands
its pieces over. The caller's thread reads, hashes and emits; workers compress groups of frames; what is between them
is limited in bytes.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from typing import BinaryIO

from holdfast.errors import InvalidValueError, StorageIOError
from holdfast.formats import frame, seekable
from holdfast.formats.frame import effort_for
from holdfast.values.frozen import dataclass

GROUP_FRAMES = 8
IN_FLIGHT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """How blobs are cut. All but `workers` in bytes; it changes speed, never what is written."""

    frame_bytes: int = seekable.FRAME
    one_frame_max: int = frame.ONE_FRAME_MAX
    workers: int = min(os.cpu_count() or 1, 4)

    def __post_init__(self) -> None:
        """Refuse what readers would refuse or the writer could not tell apart."""
        largest = self.frame_bytes << seekable.STEPS
        if not (0 < largest <= frame.MAX_CONTENT and self.workers > 0):
            raise InvalidValueError(f"{self} cannot be", where="shape", reason="frame_bytes or workers")
        if not 0 <= self.one_frame_max < min(self.frame_bytes * GROUP_FRAMES, frame.ONE_FRAME_MAX + 1):
            raise InvalidValueError(f"{self} cannot be", where="shape", reason="one_frame_max")

    def group_size(self, offset: int) -> int:
        """Bytes of content that are compressed as one piece of work; a whole number of frames of equal size."""
        return max(self.frame_bytes * GROUP_FRAMES, seekable.frame_size(offset, self.frame_bytes))


@dataclass(frozen=True, slots=True)
class Written:
    """What went by: raw digest, bytes of content, bytes emitted, frames."""

    digest: bytes
    size: int
    stored_bytes: int
    frames: int


def write_small(content: bytes | memoryview, emit: Callable[[bytes], None]) -> Written:
    """Give the file of a blob of one frame to `emit`, for content of at most `Shape.one_frame_max` bytes."""
    stored = frame.encode(content, effort_for(content))
    emit(stored)
    return Written(hashlib.sha256(content).digest(), len(content), len(stored), 1)


def as_bytes_view(content: bytes | bytearray | memoryview) -> memoryview:
    """Any contiguous buffer as a view of bytes; raises InvalidValueError."""
    try:
        return memoryview(content).cast("B")
    except TypeError as error:
        raise InvalidValueError("the buffer is not contiguous", where="content", reason=str(error)) from error


def write_blob(
    source: bytes | bytearray | memoryview | BinaryIO, emit: Callable[[bytes], None], *, shape: Shape
) -> Written:
    """Give the bytes of a blob's file to `emit`, in order, from the caller's thread.

    Holds at most about IN_FLIGHT_BYTES of content. Raises InvalidValueError if the source gives no bytes,
    StorageIOError (operation `read source`) if reading it fails, and whatever `emit` raises.
    """
    read = _reader(source)
    first = read(shape.group_size(0))
    if len(first) <= shape.one_frame_max:
        return write_small(first, emit)
    return _Stream(emit, shape).run(first, read)


def _reader(source: bytes | bytearray | memoryview | BinaryIO) -> Callable[[int], bytes | memoryview]:
    """A function that gives exactly as many bytes as asked for, fewer only at the end."""
    if not isinstance(source, bytes | bytearray | memoryview):
        return lambda length: read_full(source, length)
    view, at = as_bytes_view(source), 0

    def read(length: int) -> memoryview:
        nonlocal at
        at += length
        return view[at - length : at]

    return read


def read_full(source: BinaryIO, length: int) -> bytes:
    """Exactly `length` bytes of a stream, fewer only at its end; raises as `write_blob` does."""
    parts: list[bytes] = []
    wanted = length
    while wanted:
        try:
            piece: object = source.read(wanted)
        except OSError as error:
            raise StorageIOError(
                f"cannot read the source: {error}", path="", operation="read source", errno=error.errno
            ) from error
        if not isinstance(piece, bytes | bytearray | memoryview) or len(piece) > wanted:
            raise InvalidValueError(
                f"the source gave {type(piece).__name__}, not up to {wanted} bytes",
                where="source",
                reason="read",
                remedy="Give bytes, or a blocking stream opened in binary mode.",
            )
        if not piece:
            break
        parts.append(bytes(piece))
        wanted -= len(piece)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(source: BinaryIO, view: memoryview) -> int:
    """Fill a buffer from a stream; how many bytes, fewer than it has only at the end. Raises as `read_full`."""
    fill: object = getattr(source, "readinto", None)
    if not callable(fill):
        data = read_full(source, len(view))
        view[: len(data)] = data
        return len(data)
    got = 0
    while got < len(view):
        try:
            count: object = fill(view[got:])
        except OSError as error:
            raise StorageIOError(
                f"cannot read the source: {error}", path="", operation="read source", errno=error.errno
            ) from error
        if not isinstance(count, int) or not 0 <= count <= len(view) - got:
            raise InvalidValueError(
                f"the source filled {count!r} of {len(view) - got} bytes", where="source", reason="read",
                remedy="Give bytes, or a blocking stream opened in binary mode.",
            )  # fmt: skip
        if not count:
            break
        got += count
    return got


@dataclass(slots=True)
class _Stream:
    """One blob of many frames on its way to `emit`."""

    emit: Callable[[bytes], None]
    shape: Shape
    entries: array[int] = field(default_factory=seekable.new_entries)
    size: int = 0
    stored: int = 0

    def run(self, first: bytes | memoryview, read: Callable[[int], bytes | memoryview]) -> Written:
        hashed = hashlib.sha256()
        if len(first) < self.shape.group_size(0):
            hashed.update(first)
            self._emit_group(_compress_group(first, self._step(first)))
        else:
            self._run_parallel(first, read, hashed.update)
        digest = hashed.digest()
        tail = seekable.encode_tail(digest, self.entries)
        self.emit(tail)
        return Written(digest, self.size, self.stored + len(tail), len(self.entries) // 3)

    def _run_parallel(
        self,
        group: bytes | memoryview,
        read: Callable[[int], bytes | memoryview],
        update: Callable[[bytes | memoryview], None],
    ) -> None:
        waiting: deque[tuple[int, Future[list[tuple[bytes, int]]]]] = deque()
        in_flight = 0
        pool = ThreadPoolExecutor(self.shape.workers, thread_name_prefix="holdfast-zstd")
        try:
            while group:
                full = len(group) == self.shape.group_size(self.size)
                waiting.append((len(group), pool.submit(_compress_group, group, self._step(group))))
                in_flight += len(group)
                update(group)
                # One group is being read while the others are compressed, so they all count.
                while waiting and (in_flight + len(group) > IN_FLIGHT_BYTES or waiting[0][1].done()):
                    length, job = waiting.popleft()
                    self._emit_group(job.result())
                    in_flight -= length
                group = read(self.shape.group_size(self.size)) if full else b""
            while waiting:
                self._emit_group(waiting.popleft()[1].result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _step(self, group: bytes | memoryview) -> int:
        step = seekable.frame_size(self.size, self.shape.frame_bytes)
        self.size += len(group)
        return step

    def _emit_group(self, frames: list[tuple[bytes, int]]) -> None:
        for stored, content in frames:
            checksum = int.from_bytes(stored[-frame.CHECKSUM_BYTES :], "little")
            self.entries.extend((len(stored), content, checksum))
        data = b"".join([stored for stored, _ in frames])
        self.emit(data)
        self.stored += len(data)


def _compress_group(group: bytes | memoryview, step: int) -> list[tuple[bytes, int]]:
    """(frame, bytes of its content) for each `step` bytes of the group; one sample decides for all of them."""
    effort = effort_for(group)
    view = memoryview(group)
    pieces = [view[at : at + step] for at in range(0, len(view), step)]
    return [(frame.encode(piece, effort), len(piece)) for piece in pieces]
