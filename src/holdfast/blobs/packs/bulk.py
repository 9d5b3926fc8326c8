"""Many members at once: in the order of the packs, neighbours with one read, what shares a frame decompressed once.

Another thread reads and decompresses the next frames while the caller's hashes those before: neither needs the
interpreter for long.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterator, Sequence

from holdfast.blobs.ahead import ahead
from holdfast.blobs.packs.folder import LARGEST_FRAME, PackFolder
from holdfast.errors import BlobDamagedError, HoldfastError
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
        if spot is None or not 0 < spot.stored_bytes <= LARGEST_FRAME or min(spot.offset, spot.start, spot.size) < 0:
            yield number, None
        else:
            asked.append((spot.pack, spot.offset, spot.stored_bytes, spot.start, spot.size, number))
    asked.sort()
    each = _decompressed(packs, asked)
    sha256 = hashlib.sha256
    with contextlib.closing(each if len(asked) < _WORTH_A_THREAD else ahead(each, "frames")) as found:
        for held in found:
            for content, pieces in held:
                for start, size, number in pieces:
                    piece = b"" if content is None else content[start : start + size]
                    yield number, piece if sha256(piece).hexdigest() == wanted[number][0][-64:] else None


def _decompressed(packs: PackFolder, asked: list[_Asked]) -> Generator[list[_Held]]:
    """Frames in the order of the packs, some at a time."""
    stored: list[bytes] = []
    pieces: list[list[_Piece]] = []
    size = 0
    for span in _spans(asked):
        begin, data = span[0][1], _read(packs, span)
        before = -1
        for _, offset, length, *piece in span:
            if offset != before or length != len(stored[-1]):
                if size >= CONTENT_BYTES:
                    yield list(zip(frame.decode_many(stored), pieces, strict=True))
                    stored, pieces, size = [], [], 0
                stored.append(data[offset - begin : offset - begin + length])
                pieces.append([])
                size += _content_bytes(stored[-1])
                before = offset
            pieces[-1].append(tuple(piece))  # type: ignore[arg-type]
    if stored:
        yield list(zip(frame.decode_many(stored), pieces, strict=True))


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


def _read(packs: PackFolder, span: list[_Asked]) -> bytes:
    pack, begin = span[0][:2]
    with contextlib.suppress(HoldfastError):  # whoever asks for it alone is told what it is
        return packs.span(pack, begin, max(one[1] + one[2] for one in span) - begin)
    return b""


def _content_bytes(data: bytes) -> int:
    try:
        return frame.head(data)[0]
    except BlobDamagedError:
        return 0
