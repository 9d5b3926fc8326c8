"""Reads on from a place of a blob: threads open what comes next, into a few buffers that are used again and again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from holdfast.errors import HandleDeadError
from holdfast.values.frozen import dataclass

PIECE = 1024 * 1024
"""Bytes that are made together: smaller ones wake threads oftener, larger ones leave the processor's cache."""

_FILLERS = min(os.cpu_count() or 1, 2)
"""Two decompress faster than one can hash, whatever the processor: a third would wait."""

_COMING = 4
_BUFFERS = 6
"""Pieces that are being made or wait for the reader; with the one he has, and one that is being hashed. Fresh memory
for each piece cost a quarter of all the time, in page faults: threads give back what another one took, and the system
takes it away (docs/design/069). 6 MiB; 48 MiB of a blob beyond 128 GiB, where a frame is a piece."""

_spare: list[bytearray] = []
"""Buffers of those who have left, for who comes next: at most 6 MiB. A content of 8 MiB took half its time longer
without them."""


@runtime_checkable
class Divisible(Protocol):
    """A reader of which several threads may read pieces, each into memory of its own."""

    size: int

    def end_of_piece(self, offset: int) -> int:
        """Where a piece that begins at `offset` ends best: nothing is opened twice. About PIECE bytes on."""
        ...

    def fill(self, offset: int, view: memoryview) -> None:
        """Exactly the bytes from `offset` to an `end_of_piece`. BlobDamagedError, BlobMissingError."""
        ...


def end_among(starts: Sequence[int], offset: int) -> int:
    """The `end_of_piece` of what is stored in parts: the last start within PIECE bytes, else the end of the part."""
    last = starts[bisect_right(starts, offset + PIECE) - 1]
    return last if last > offset else starts[bisect_right(starts, offset)]


class Proof:
    """SHA-256 of a content from its beginning on, as far as it came by."""

    def __init__(self) -> None:
        self._come = (hashlib.sha256(), 0)  # set at once: an interrupt finds the one or the other

    @property
    def at(self) -> int:
        """How far that is."""
        return self._come[1]

    def follow(self, offset: int, data: bytes | memoryview) -> None:
        """Bytes that begin at `offset`: what goes on where it stands counts, all else does not; twice is no harm."""
        sha, at = self._come
        if offset <= at < offset + len(data):
            sha = sha.copy()
            sha.update(memoryview(data)[at - offset :])
            self._come = (sha, offset + len(data))

    def copy(self) -> Proof:
        """The same, for whoever follows by himself."""
        other = Proof()
        sha, at = self._come
        other._come = (sha.copy(), at)
        return other

    def digest(self) -> bytes:
        """Of what came by."""
        return self._come[0].digest()


@dataclass(slots=True)
class _Piece:
    offset: int
    buffer: bytearray
    view: memoryview
    filled: Future[None]
    followed: Future[None] | None = None

    @property
    def free(self) -> bool:
        return self.followed is None or self.followed.done()


class Onward:
    """Pieces of a blob in order, made ahead; `proof` follows in a thread of its own.

    For one thread. To be closed, which leaves no thread and no piece half counted. HandleDeadError in a forked child,
    where the threads are not. An error is that of the piece that is asked for, and comes again if it is asked again.
    """

    def __init__(self, source: Divisible, offset: int, proof: Proof | None = None) -> None:
        self._source = source
        self._next = offset
        self._proof = proof
        self._depth = 1
        self._made = 0
        self._coming: deque[_Piece] = deque()
        self._used: deque[_Piece] = deque()
        self._fillers = ThreadPoolExecutor(_FILLERS, thread_name_prefix="holdfast-frames")
        self._follower = ThreadPoolExecutor(1, thread_name_prefix="holdfast-sha256")
        self._process = os.getpid()
        self._begin()

    @property
    def here(self) -> bool:
        """Whether this is the process that has the threads."""
        return os.getpid() == self._process

    def take(self) -> memoryview | None:
        """The next piece, None behind the last. It is the reader's until he takes another one."""
        self.demand_here()
        self._begin()
        if not self._coming:
            return None
        piece = self._coming[0]
        piece.filled.result()
        self._coming.popleft()
        if self._proof is not None:
            piece.followed = self._follower.submit(self._proof.follow, piece.offset, piece.view)
        self._used.append(piece)
        return piece.view

    def close(self) -> None:
        """What nobody has begun is left; what is under way is waited for, and the threads are given back."""
        if self.here:
            self._fillers.shutdown(cancel_futures=True)
            self._follower.shutdown()
            # Not what is still being filled: an interrupt may have left a thread that nobody could wait for.
            left = [one for one in (*self._coming, *self._used) if one.filled.done() and one.free]
            _spare.extend(one.buffer for one in left if len(one.buffer) == PIECE)
            del _spare[_BUFFERS:]
        self._coming.clear()
        self._used.clear()

    def _begin(self) -> None:
        """One piece more at each call, up to a few: who leaves soon has not had much made for nothing."""
        self._depth = min(self._depth + 1, _COMING)
        while self._next < self._source.size and len(self._coming) < self._depth:
            end = self._source.end_of_piece(self._next)
            buffer = self._room(end - self._next)
            if buffer is None:
                return
            view = memoryview(buffer)[: end - self._next]
            filled = self._fillers.submit(self._source.fill, self._next, view)
            self._coming.append(_Piece(self._next, buffer, view, filled))
            self._next = end

    def _room(self, length: int) -> bytearray | None:
        """A buffer that nobody needs any more; None while there is none and something else is coming."""
        if self._used and (self._used[0].free or (not self._coming and self._made == _BUFFERS)):
            used = self._used.popleft()
            if used.followed is not None:
                used.followed.result()
            if len(used.buffer) >= length:
                return used.buffer
            self._made -= 1
        if self._made == _BUFFERS:
            return None
        self._made += 1
        if length <= PIECE:
            with contextlib.suppress(IndexError):
                return _spare.pop()
        return bytearray(max(length, PIECE))

    def demand_here(self) -> None:
        """HandleDeadError in a forked child."""
        if not self.here:
            raise HandleDeadError("content was being read when the process forked", reason="forked")
