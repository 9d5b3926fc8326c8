"""Reads a blob from place to place: straight on by threads, and proven whole for whoever began at its beginning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from holdfast.blobs.contract import BlobReader
from holdfast.blobs.files import ContentReader, FramedReader
from holdfast.blobs.onward import PIECE, Divisible, Onward, Proof
from holdfast.errors import BlobDamagedError, HoldfastError
from holdfast.values import digest as digests

_NOTHING = memoryview(b"")

_STRAIGHT = PIECE // 2
"""Who has read so much without a jump is likely to read on; by then it costs more than threads do."""


class Passage:
    """Gives ranges of a blob. Threads open what comes next for whoever has read half a megabyte without a jump, if he
    has a whole one before him. Not for several threads at once.
    """

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self._proof = Proof()
        self._onward: Onward | None = None
        self._piece, self._piece_at = _NOTHING, 0  # the last one that threads made
        self._straight, self._last = 0, 0  # bytes that were read without a jump, and up to where
        self._come = 0  # so much was given, from the beginning on

    def give(self, offset: int, length: int, write: Callable[[bytes | memoryview], object]) -> int:
        """Hand a range to `write`, cut off at the end, in parts that are good until it returns; how many bytes.

        Where the content ends and all of it was given, BlobDamagedError if it has another digest. HandleDeadError in a
        forked child whose threads are not there.
        """
        at, end = offset, min(offset + length, self._reader.size)
        try:
            while at < end:
                for part in self._parts(at, min(end - at, PIECE)):
                    write(part)
                    at += len(part)
            come = max(self._come, end) if offset <= self._come else self._come
            if offset < end == self._reader.size == come:
                self._prove()
        except BaseException:
            self.close()  # so that nothing here is half done, whatever was interrupted
            raise
        self._come = come
        return at - offset

    def close(self) -> None:
        """No threads; the proof has followed all that they gave. What is read after it is read without them.

        In a forked child nothing changes: a digest that was being made when the process forked is of no use there.
        """
        if self._onward is not None and self._onward.here:
            onward, self._onward = self._onward, None
            self._piece, self._straight = _NOTHING, 0
            onward.close()

    def _parts(self, at: int, length: int) -> Sequence[bytes | memoryview]:
        """Some of the bytes from `at` on: what threads have made, else as they are stored."""
        if self._onward is not None:
            self._onward.demand_here()
            made = self._made(self._onward, at, length)
            if made:
                return (made,)
            # Not for two threads, neither the reader nor the proof.
            self.close()
        source = divisible(self._reader) if length >= _STRAIGHT else None
        if source is not None:
            length = min(length, source.end_of_piece(at) - at)  # where threads go on, nothing is opened twice
        parts = _parts_at(self._reader, at, length)
        self._straight = 0 if at != self._last else self._straight
        self._last = at
        for part in parts:
            self._proof.follow(self._last, part)
            self._last += len(part)
        self._straight += self._last - at
        if self._straight >= _STRAIGHT and self._reader.size - self._last >= PIECE:
            self._go_on()
        return parts

    def _go_on(self) -> None:
        source = divisible(self._reader)
        if source is not None:
            self._onward = Onward(source, self._last, self._proof)
            self._piece, self._piece_at = _NOTHING, self._last

    def _made(self, onward: Onward, at: int, length: int) -> memoryview:
        """Nothing if it is another place that threads are at, or if they failed: whoever wants what is damaged is told
        when he asks for it.
        """
        if at == self._piece_at + len(self._piece):
            try:
                piece = onward.take()
            except HoldfastError:
                return _NOTHING
            self._piece, self._piece_at = piece or _NOTHING, at
        start = at - self._piece_at
        return self._piece[start : start + length] if start >= 0 else _NOTHING

    def _prove(self) -> None:
        if self._onward is not None:
            self._onward.demand_here()
            self.close()  # nothing comes after the end
        # An interrupt may have left a thread that nobody waits for: what it has not hashed is read once more, here.
        proof = self._proof.copy()
        while proof.at < self._reader.size:
            for part in _parts_at(self._reader, proof.at, PIECE):
                proof.follow(proof.at, part)
        found, digest = digests.text(proof.digest()), self._reader.digest
        if found != digest:
            reason = f"the content hashes to {found}"
            raise BlobDamagedError(f"{digest} is damaged: {reason}", digest=digest, path="", reason=reason)


class _OneByOne:
    """Any reader: it reads for one thread at a time."""

    def __init__(self, reader: BlobReader) -> None:
        self._reader = reader
        self._alone = threading.Lock()
        self.size = reader.size

    def end_of_piece(self, offset: int) -> int:
        """Anywhere."""
        return min(offset + PIECE, self.size)

    def fill(self, offset: int, view: memoryview) -> None:
        """As Divisible says."""
        with self._alone:
            view[:] = self._reader.read_at(offset, len(view))


def divisible(reader: BlobReader) -> Divisible | None:
    """A reader for threads; None of what lies in memory."""
    if isinstance(reader, ContentReader):
        return None
    return reader if isinstance(reader, Divisible) else _OneByOne(reader)


def _parts_at(reader: BlobReader, offset: int, length: int) -> Sequence[bytes]:
    """A range of a blob, in the pieces in which its reader has it."""
    return reader.parts_at(offset, length) if isinstance(reader, FramedReader) else [reader.read_at(offset, length)]
