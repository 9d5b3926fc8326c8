"""Many members at once: in the order of the packs, neighbours with one read, what shares a frame decompressed once.

Another thread reads and decompresses the next frames while the caller's hashes those before: it costs more CPU than
it saves, since the interpreter is handed over and back, and brings the answer a fifth sooner (docs/design/041).
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

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


class _Frame(NamedTuple):
    """A frame of which something was asked for. `who`: the numbers of those who asked."""

    pack: str
    offset: int
    stored_bytes: int
    who: list[int]


_Held = tuple[bytes | None, _Frame]  # the content of a frame, None if it cannot be had


def members(packs: PackFolder, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes | None]]:
    """(number, content) of blobs given as (digest, spot), each proven by its digest.

    None for one that is not where its spot says: it has no spot, it was moved, or it is damaged.
    """
    frames, nowhere = _frames(wanted)
    yield from ((number, None) for number in nowhere)
    sha256 = hashlib.sha256
    with contextlib.closing(_opened(packs, frames, len(wanted))) as found:
        for content, (_, _, _, who) in itertools.chain.from_iterable(found):
            if content is None:
                yield from ((number, None) for number in who)
                continue
            for number in who:
                digest, (_, _, _, start, size) = wanted[number]  # type: ignore[misc]
                piece = content[start : start + size]
                yield number, piece if sha256(piece).hexdigest() == digest[-64:] else None


def are_true(packs: PackFolder, wanted: Sequence[tuple[bytes, Spot]]) -> bool:
    """Whether each blob, given as (raw digest, spot), is where its spot says: nobody is handed what it holds."""
    frames, nowhere = _frames(wanted)
    sha256 = hashlib.sha256
    with contextlib.closing(_opened(packs, frames, len(wanted))) as found:
        for content, (_, _, _, who) in itertools.chain.from_iterable(() if nowhere else found):
            if content is None:
                return False
            for number in who:
                digest, (_, _, _, start, size) = wanted[number]
                if sha256(content[start : start + size]).digest() != digest:
                    return False
    return not nowhere


def _opened(packs: PackFolder, frames: Sequence[_Frame], members: int) -> Generator[list[_Held]]:
    """The contents of frames, some at a time, each made while those before are used."""
    each = _contents(packs, frames)
    return each if members < _WORTH_A_THREAD else ahead(each, "frames")


def _frames(wanted: Sequence[tuple[object, Spot | None]]) -> tuple[list[_Frame], list[int]]:
    """What was asked for, frame by frame in the order of the packs, and the numbers of those that can be in none.

    Frames are put in order, not members: there are thirty times fewer.
    """
    asked: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    nowhere: list[int] = []
    for number, (_, spot) in enumerate(wanted):
        if spot is None:
            nowhere.append(number)
        else:
            asked[spot[:3]].append(number)
    frames: list[_Frame] = []
    for place in sorted(asked):
        if _can_be(place):
            frames.append(_Frame(*place, asked[place]))
        else:
            nowhere += asked[place]
    return frames, nowhere


def _can_be(place: tuple[str, int, int]) -> bool:
    """Whether there can be a frame there. Cells that no checksum proved must not say how much memory it takes."""
    _, offset, stored_bytes = place
    return 0 < stored_bytes <= LARGEST_FRAME and offset >= 0


def _contents(packs: PackFolder, frames: Sequence[_Frame]) -> Generator[list[_Held]]:
    """The contents of frames in the order of the packs, some at a time."""
    stored: list[bytes] = []
    held: list[_Frame] = []
    size = 0
    for data, begin, span in _read(packs, frames):
        for one in span:
            if size >= CONTENT_BYTES:
                yield list(zip(frame.decode_many(stored), held, strict=True))
                stored, held, size = [], [], 0
            stored.append(data[one.offset - begin : one.offset - begin + one.stored_bytes])
            held.append(one)
            size += frame.claimed(stored[-1])
    yield list(zip(frame.decode_many(stored), held, strict=True))


def _read(packs: PackFolder, frames: Sequence[_Frame]) -> Iterator[tuple[bytes, int, Sequence[_Frame]]]:
    """(bytes, where in the pack they begin, what is in them) of each span; no bytes if they cannot be had."""
    spans = _spans(frames)
    following = next(spans, None)
    while following is not None:
        span, following = following, next(spans, None)
        if following is not None:
            packs.expect(following[0].pack, following[0].offset, _length(following))
        data = b""
        with contextlib.suppress(HoldfastError):  # whoever asks for it alone is told what it is
            data = packs.span(span[0].pack, span[0].offset, _length(span))
        yield data, span[0].offset, span


def _length(span: Sequence[_Frame]) -> int:
    return max(one.offset + one.stored_bytes for one in span) - span[0].offset


def _spans(frames: Sequence[_Frame]) -> Iterator[Sequence[_Frame]]:
    """Cut into neighbours that one read gets."""
    first = end = 0
    for number, (pack, offset, stored, _) in enumerate(frames):
        begin = frames[first]
        if number > first and (
            pack != begin.pack or offset - end > GAP_BYTES or offset + stored - begin.offset > SPAN_BYTES
        ):
            yield frames[first:number]
            first, end = number, 0
        end = max(end, offset + stored)
    if frames:
        yield frames[first:]
