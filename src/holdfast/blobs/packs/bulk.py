"""Many members at once: in the order of the packs, neighbours with one read, what shares a frame decompressed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

from holdfast.blobs.packs.folder import PackFolder
from holdfast.errors import BlobDamagedError, HoldfastError
from holdfast.formats import frame
from holdfast.formats.pack import Spot
from holdfast.values import digest as digests

SPAN_BYTES = 256 * 1024
"""So much of a file is read at once, or one frame."""

CONTENT_BYTES = 2 * 1024 * 1024
"""When frames held have so much content, they are decompressed: this and one frame bound the memory."""

GAP_BYTES = 4 * 1024
"""Reading over so many bytes that nobody asked for costs less than another call."""

_LARGEST_FRAME = frame.MAX_CONTENT + frame.MAX_CONTENT // 256 + 64

_Asked = tuple[str, int, int, int, int, int]  # pack, offset and stored bytes of the frame, start, size, number


def members(packs: PackFolder, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes | None]]:
    """(number, content) of blobs given as (digest, spot), each proven by its digest.

    None for one that is not where its spot says: it has no spot, it was moved, or it is damaged.
    """
    asked = sorted(
        (spot.pack, spot.offset, spot.stored_bytes, spot.start, spot.size, number)
        for number, (_, spot) in enumerate(wanted)
        if spot is not None and 0 < spot.stored_bytes <= _LARGEST_FRAME and min(spot.offset, spot.start, spot.size) >= 0
    )
    raws = [digests.raw(digest) for digest, _ in wanted]
    placed = {one[5] for one in asked}
    for span in _spans(asked):
        yield from _of_span(packs, span, raws)
    for number in range(len(wanted)):
        if number not in placed:
            yield number, None


def _spans(asked: list[_Asked]) -> Iterator[list[_Asked]]:
    """Cut into neighbours that one read gets."""
    span: list[_Asked] = []
    begin = end = 0
    for one in asked:
        pack, offset, stored = one[:3]
        near = span and pack == span[0][0] and offset - end <= GAP_BYTES and offset + stored - begin <= SPAN_BYTES
        if not near:
            if span:
                yield span
            span, begin, end = [], offset, offset
        span.append(one)
        end = max(end, offset + stored)
    if span:
        yield span


def _of_span(packs: PackFolder, span: list[_Asked], raws: list[bytes]) -> Iterator[tuple[int, bytes | None]]:
    pack, begin = span[0][:2]
    length = max(one[1] + one[2] for one in span) - begin
    try:
        data = packs.span(pack, begin, length)
    except HoldfastError:  # whoever asks for it alone is told what it is
        data = b""
    held: list[tuple[bytes, list[_Asked]]] = []
    size = 0
    for (offset, stored), sharing in groupby(span, key=lambda one: one[1:3]):
        held.append((data[offset - begin : offset - begin + stored], list(sharing)))
        size += _content_bytes(held[-1][0])
        if size >= CONTENT_BYTES:
            yield from _of_frames(held, raws)
            held, size = [], 0
    yield from _of_frames(held, raws)


def _of_frames(held: list[tuple[bytes, list[_Asked]]], raws: list[bytes]) -> Iterator[tuple[int, bytes | None]]:
    contents = frame.decode_many([data for data, _ in held])
    for content, (_, sharing) in zip(contents, held, strict=True):
        for *_, start, size, number in sharing:
            piece = b"" if content is None else content[start : start + size]
            proven = hashlib.sha256(piece).digest() == raws[number]
            yield number, piece if proven else None


def _content_bytes(data: bytes) -> int:
    try:
        return frame.head(data)[0]
    except BlobDamagedError:
        return 0
