"""Reads a source once, into buffers that are used in turn, while a thread of its own hashes the whole of it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Self

from holdfast.blobs.compress import read_into

_BUFFERS = 3
"""One is looked at, the others are hashed. Fresh memory for each piece cost a tenth of the time, in page faults."""

Window = Callable[[int, "bytes | memoryview"], memoryview]
"""`window(length, held)` gives `held` and up to `length` bytes more, fewer only at the end."""


class Intake:
    """A source on its way in. Use it in a `with`: its thread ends there."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._whole = hashlib.sha256()
        self._buffers = [bytearray() for _ in range(_BUFFERS)]
        self._hashing: deque[Future[None]] = deque()
        self._turn = 0
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="holdfast-sha256")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hasher.shutdown(wait=True, cancel_futures=True)

    def window(self, length: int, held: bytes | memoryview = b"") -> memoryview:
        """`held`, and up to `length` bytes that come next, fewer only at the end; valid until the next window.

        Raises as `read_full` does.
        """
        if len(self._hashing) == _BUFFERS:
            self._hashing.popleft().result()
        kept = len(held)
        buffer = self._buffers[self._turn]
        if len(buffer) < kept + length:
            buffer = self._buffers[self._turn] = bytearray(kept + length)
        self._turn = (self._turn + 1) % _BUFFERS
        view = memoryview(buffer)
        view[:kept] = held
        end = kept + read_into(self._source, view[kept : kept + length])
        self._hashing.append(self._hasher.submit(self._whole.update, view[kept:end]))
        return view[:end]

    def digest(self) -> bytes:
        """SHA-256 of all that was read since the beginning."""
        while self._hashing:
            self._hashing.popleft().result()
        return self._whole.copy().digest()

    def again(self) -> None:
        """From the first byte on: the source can go back, and what was read so far does not count."""
        self.digest()
        self._whole = hashlib.sha256()
        self._source.seek(0)
