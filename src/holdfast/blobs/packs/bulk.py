"""Many members at once: in the order of the packs, neighbours with one read, what shares a frame decompressed once.

Another thread reads and decompresses the next frames while the caller's hashes those before: it costs more CPU than
it saves, since the interpreter is handed over and back, and brings the answer a fifth sooner (docs/design/041).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Generator, Iterator, Sequence

from holdfast.blobs.ahead import ahead
from holdfast.blobs.packs.folder import LARGEST_FRAME, PackFolder
from holdfast.errors import HoldfastError
from holdfast.formats import frame
from holdfast.formats.pack import Spot

SPAN_BYTES = 1024 * 1024
"""So much of a file is read at once, or one frame."""

CONTENT_BYTES = 1024 * 1024
"""When frames held have so much content, they are decompressed: three times this and a frame bound the memory."""

GAP_BYTES = 32 * 1024
"""Reading over so many bytes that nobody asked for costs less than another call."""

_WORTH_A_THREAD = 64
"""With fewer members, starting a thread costs more than it saves."""

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
    each = _frames(packs, asked)
    with contextlib.closing(each if len(asked) < _WORTH_A_THREAD else ahead(each, "frames")) as found:
        for content, pieces in itertools.chain.from_iterable(found):
            if content is None:
                for _, _, number in pieces:
                    yield number, None
                continue
            for start, size, number in pieces:
                piece = content[start : start + size]
                yield number, piece if sha256(piece).hexdigest() == wanted[number][0][-64:] else None


def _frames(packs: PackFolder, asked: list[_Asked]) -> Generator[list[_Held]]:
    """Frames in the order of the packs, some at a time."""
    stored: list[bytes] = []
    pieces: list[list[_Piece]] = []
    size = 0
    for data, begin, span in _read(packs, asked):
        before = (-1, -1)
        for _, offset, length, start, wanted, number in span:
            if (offset, length) != before:
                if size >= CONTENT_BYTES:
                    yield list(zip(frame.decode_many(stored), pieces, strict=True))
                    stored, pieces, size = [], [], 0
                before = offset, length
                stored.append(data[offset - begin : offset - begin + length])
                own: list[_Piece] = []
                pieces.append(own)
                size += frame.claimed(stored[-1])
            own.append((start, wanted, number))
    yield list(zip(frame.decode_many(stored), pieces, strict=True))


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
