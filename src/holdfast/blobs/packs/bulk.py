"""Many members at once: in the order of the packs, neighbours with one read, what shares a frame decompressed once.

No thread of Python helps: each hash and each read would hand the interpreter over, and wait to get it back. The library
decompresses with two threads of its own, and the system is told in time what will be read next.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from holdfast.blobs.packs.folder import LARGEST_FRAME, PackFolder
from holdfast.errors import HoldfastError
from holdfast.formats import frame
from holdfast.formats.pack import Spot

SPAN_BYTES = 1024 * 1024
"""So much of a file is read at once, or one frame."""

CONTENT_BYTES = 1024 * 1024
"""When frames held have so much content, they are decompressed: twice this and a frame bound the memory."""

GAP_BYTES = 32 * 1024
"""Reading over so many bytes that nobody asked for costs less than another call."""

_Asked = tuple[str, int, int, int, int, int]  # pack, offset and stored bytes of the frame, start, size, number
_Piece = tuple[int, int, int]  # start, size, number
_Held = tuple[bytes | None, list[_Piece]]  # the content of a frame, None if it is damaged; what was asked for of it


def members(packs: PackFolder, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes | None]]:
    """(number, content) of blobs given as (digest, spot), each proven by its digest.

    None for one that is not where its spot says: it has no spot, it was moved, or it is damaged.
    """
    asked: list[_Asked] = []
    for number, (_, spot) in enumerate(wanted):
        if spot is not None:
            pack, offset, stored, start, size = spot
            if 0 < stored <= LARGEST_FRAME and offset >= 0 and start >= 0 and size >= 0:
                asked.append((pack, offset, stored, start, size, number))
                continue
        yield number, None
    asked.sort()
    sha256 = hashlib.sha256
    for content, pieces in _frames(packs, asked):
        if content is None:
            for _, _, number in pieces:
                yield number, None
            continue
        for start, size, number in pieces:
            piece = content[start : start + size]
            yield number, piece if sha256(piece).hexdigest() == wanted[number][0][-64:] else None


def _frames(packs: PackFolder, asked: list[_Asked]) -> Iterator[_Held]:
    """Frames in the order of the packs; some at a time are held."""
    stored: list[bytes] = []
    pieces: list[list[_Piece]] = []
    size = 0
    for data, begin, span in _read(packs, asked):
        before = (-1, -1)
        for _, offset, length, start, wanted, number in span:
            if (offset, length) != before:
                if size >= CONTENT_BYTES:
                    yield from zip(frame.decode_many(stored), pieces, strict=True)
                    stored, pieces, size = [], [], 0
                before = offset, length
                stored.append(data[offset - begin : offset - begin + length])
                own: list[_Piece] = []
                pieces.append(own)
                size += frame.claimed(stored[-1])
            own.append((start, wanted, number))
    yield from zip(frame.decode_many(stored), pieces, strict=True)


def _read(packs: PackFolder, asked: list[_Asked]) -> Iterator[tuple[bytes, int, list[_Asked]]]:
    """(bytes, where in the pack they begin, who is in them) of each span; no bytes if they cannot be had."""
    spans = _spans(asked)
    following = next(spans, None)
    while following is not None:
        span, following = following, next(spans, None)
        if following is not None:
            packs.expect(following[0][0], following[0][1], _length(following))
        data = b""
        with contextlib.suppress(HoldfastError):  # whoever asks for it alone is told what it is
            data = packs.span(span[0][0], span[0][1], _length(span))
        yield data, span[0][1], span


def _length(span: list[_Asked]) -> int:
    return max(one[1] + one[2] for one in span) - span[0][1]


def _spans(asked: list[_Asked]) -> Iterator[list[_Asked]]:
    """Cut into neighbours that one read gets."""
    first = end = 0
    for number, (pack, offset, stored, *_) in enumerate(asked):
        begin = asked[first]
        if number > first and (pack != begin[0] or offset - end > GAP_BYTES or offset + stored - begin[1] > SPAN_BYTES):
            yield asked[first:number]
            first, end = number, 0
        end = max(end, offset + stored)
    if asked:
        yield asked[first:]
