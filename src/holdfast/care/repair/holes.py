"""Finds contents in bytes of a pack that no header in its place speaks of: a lost header, or a pack under a wrong name.

A header of another pack still proves itself and lists what follows it. Where none does, the frames are there: what
they hold is cut at the sizes of the contents that are looked for, and digests decide.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

from holdfast.blobs.packs import Hole, PackFolder
from holdfast.errors import BlobDamagedError, HoldfastError
from holdfast.formats import frame, pack
from holdfast.formats.pack import Spot

Wanted = Mapping[bytes, int | None]
"""Contents that are looked for: raw digest, and bytes of content if somebody knows."""

_BLOCK = 1 << 20
_STARTS_AT_MOST = 4_096
"""So many places in a frame are looked at: each costs a digest of all that follows."""

_MARKS_BYTES = 1 << 22
"""4 MiB: of a million contents, one in a hundred thousand others passes for one of them."""

_LARGEST = frame.MAX_CONTENT + frame.MAX_CONTENT // 256 + 64


class Neighbours:
    """Contents between which a frame is cut: what is looked for, and what else may stand beside it.

    Of the others only marks are kept, in a Bloom filter (B. H. Bloom, 1970) of fixed size: where it errs, the search
    goes on from a place where nothing begins, and finds nothing there.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._marks = bytearray(_MARKS_BYTES)
        self._sizes = {size for size in wanted.values() if size}

    def add(self, digest: bytes, size: int) -> None:
        """One that may stand there: a sound header lists it somewhere."""
        self._sizes.add(size)
        for place in self._places(digest):
            self._marks[place >> 3] |= 1 << (place & 7)

    def sizes(self) -> list[int]:
        """All sizes that there are, the smallest first."""
        return sorted(self._sizes)

    def may_be(self, digest: bytes) -> bool:
        """Whether it is looked for, or may be one of the others."""
        known = all(self._marks[place >> 3] & 1 << (place & 7) for place in self._places(digest))
        return known or digest in self._wanted

    def _places(self, digest: bytes) -> list[int]:
        return [int.from_bytes(digest[at : at + 4], "big") % (_MARKS_BYTES * 8) for at in (0, 4, 8)]


def spots(
    folder: PackFolder, name: str, hole: Hole, wanted: Wanted, neighbours: Neighbours
) -> Iterator[tuple[bytes, Spot]]:
    """(digest, place) of each content that is looked for and stands in a hole of a pack, proven by its digest.

    Memory: one frame, one header and the sizes. FileNotFoundError, BlobMissingError.
    """
    at, end = hole.offset, hole.offset + hole.length
    while (at := _next(folder, name, at, end)) < end:
        found = _append(folder, name, at, wanted)
        if found is None:
            found = _alone(folder, name, at, wanted, neighbours)
        behind, places = found
        yield from places
        at = max(behind, at + 1)


def _next(folder: PackFolder, name: str, at: int, end: int) -> int:
    """Where the next header or frame may begin; `end` if none does."""
    overlap = len(frame.MAGIC) - 1
    while at < end:
        block = folder.span(name, at, min(_BLOCK + overlap, end - at))
        places = [place for magic in (pack.MAGIC, frame.MAGIC) if (place := block.find(magic)) >= 0]
        if places:
            return at + min(places)
        at += _BLOCK
    return end


def _append(
    folder: PackFolder, name: str, at: int, wanted: Wanted
) -> tuple[int, list[tuple[bytes, Spot]]] | None:  # fmt: skip
    """Where a header that proves itself ends, and what it lists; whatever pack and place it says that it is for."""
    with contextlib.suppress(BlobDamagedError):
        length = pack.announced(folder.span(name, at, pack.HEAD_BYTES))
        data = folder.span(name, at, length)
        header = pack.decode_header(data, *pack.owner_of(data))
        moved = at - header.position
        places = [
            (member.digest, Spot(name, member.offset + moved, member.stored, member.start, member.size))
            for member in header.each()
            if member.digest in wanted
        ]
        return at + length, places  # its frames are met next, and found to hold what is known already
    return None


def _alone(
    folder: PackFolder, name: str, at: int, wanted: Wanted, neighbours: Neighbours
) -> tuple[int, list[tuple[bytes, Spot]]]:
    """Where a frame ends of which nothing says what it holds, and what is found in it."""
    with contextlib.suppress(HoldfastError):
        content, stored = frame.measure(folder.span(name, at, _LARGEST))
        data = folder.frame(name, at, stored)
        return at + stored, [
            (raw, Spot(name, at, stored, start, size))
            for raw, start, size in _cut(data[:content], neighbours)
            if raw in wanted
        ]
    return at + 1, []


def _cut(data: bytes, neighbours: Neighbours) -> Iterator[tuple[bytes, int, int]]:
    """(digest, start, size) of contents one behind the other, from the first byte of a frame on.

    Members fill a frame without gaps, so where one ends the next begins; where none is known to end, the search does.
    One content can be the beginning of another, as in a log that grows, so every end is gone on from.
    """
    sizes = neighbours.sizes()
    starts, seen = [0], {0}
    while starts and len(seen) <= _STARTS_AT_MOST:
        start = starts.pop()
        for digest, end in _beginnings(data, start, sizes):
            if neighbours.may_be(digest):
                yield digest, start, end - start
                if end not in seen:
                    seen.add(end)
                    starts.append(end)


def _beginnings(data: bytes, start: int, sizes: list[int]) -> Iterator[tuple[bytes, int]]:
    """(digest, where it ends) of what begins at a place and has one of these sizes, or goes to the end."""
    running, at = hashlib.sha256(), start
    for end in [*(start + size for size in sizes if start + size < len(data)), len(data)]:
        running.update(data[at:end])
        at = end
        yield running.digest(), end
