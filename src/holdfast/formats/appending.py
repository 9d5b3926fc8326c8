"""Chapter 3 of store-layout.md: small blobs made ready to be appended to a pack: put together, compressed, listed.

Needs nothing but the formats, so that a helping process can do it: what comes out depends on the blobs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from holdfast.formats import frame, pack
from holdfast.formats.frame import effort_for
from holdfast.formats.pack import Header, Spot
from holdfast.values.frozen import dataclass

FRAME_BYTES = 96 * 1024
"""Several blobs share a frame up to so many bytes of content. A read of one decompresses what stands before it: little
for most, because small ones come first (docs/design/057)."""

ALONE_FROM = 32 * 1024
"""A blob of more bytes has a frame of its own: it gains little from neighbours, and would stand behind all of them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Blobs made ready to be appended, in one or more frames, in the order in which they will stand there.

    `frames`: (bytes stored, bytes of content) of each; `members`: (raw digest, size) of each; `stored`: all frames.
    """

    frames: tuple[tuple[int, int], ...]
    members: tuple[tuple[bytes, int], ...]
    stored: bytes

    def contents(self) -> Iterator[tuple[bytes, bytes]]:
        """(raw digest, content) of each member, in order, out of the frames again."""
        ends, at = [0], 0
        for stored, _ in self.frames:
            ends.append(ends[-1] + stored)
        whole = memoryview(b"".join(frame.decode(self.stored[a:b]) for a, b in pairwise(ends)))
        for raw, size in self.members:
            yield raw, bytes(whole[at : at + size])
            at += size


def prepare_one(raw: bytes, content: bytes) -> Batch:
    """As `prepare` of one blob."""
    stored = frame.encode(content, effort_for(content))
    return Batch(((len(stored), len(content)),), ((raw, len(content)),), stored)


def prepare(contents: Sequence[tuple[bytes, bytes]]) -> Batch:
    """Compress (raw digest, content) of blobs, neighbours together up to FRAME_BYTES. Takes no lock.

    In each frame small ones come first, and large ones come after all: whoever knows blobs by their number must look
    at `members`.
    """
    ordered = _frames([one for one in contents if len(one[1]) <= ALONE_FROM])
    ordered += [[one] for one in contents if len(one[1]) > ALONE_FROM]
    joined = [b"".join([content for _, content in group]) for group in ordered]
    stored = [
        frame.encode_joined(content) if len(group) > 1 else frame.encode(content, effort_for(content))
        for group, content in zip(ordered, joined, strict=True)
    ]
    frames = tuple((len(one), len(content)) for one, content in zip(stored, joined, strict=True))
    members = tuple((raw, len(content)) for group in ordered for raw, content in group)
    return Batch(frames, members, b"".join(stored))


def _frames(contents: Sequence[tuple[bytes, bytes]]) -> list[list[tuple[bytes, bytes]]]:
    groups = pack.group([len(content) for _, content in contents], FRAME_BYTES)
    return [sorted(contents[first:end], key=lambda one: len(one[1])) for first, end in groups]


def headed(batch: Batch, name: str, *, position: int, before: int) -> tuple[bytes, list[Spot]]:
    """The header of a batch appended to a pack at a position, behind `before` bytes of content; where its members are.

    An append of one blob, as each small put is, comes out the same in a third of the time.
    """
    owner = bytes.fromhex(name)
    if len(batch.members) > 1:
        header = Header(owner, position, before, batch.frames, batch.members)
        return pack.encode_header(header), header.spots()
    ((stored, size),) = batch.frames
    data = pack.encode_single(owner, (position, before), batch.frames[0], batch.members[0])
    return data, [Spot(name, position + len(data), stored, 0, size)]
