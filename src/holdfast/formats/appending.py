"""Chapter 3 of store-layout.md: small blobs made ready to be appended to a pack: put together, compressed, listed.

Needs nothing but the formats, so that a helping process can do it: what comes out depends on the blobs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from holdfast.formats import frame, pack
from holdfast.formats.frame import Effort, effort_for
from holdfast.formats.pack import Header, Spot
from holdfast.values.frozen import dataclass

FRAME_BYTES = 32 * 1024
"""Several blobs share a frame up to so many bytes of content: a read of one stays cheap."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Blobs made ready to be appended, in one or more frames.

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
    """Compress (raw digest, content) of blobs in their order, neighbours together up to FRAME_BYTES. Takes no lock."""
    groups = list(pack.group([len(content) for _, content in contents], FRAME_BYTES))
    joined = [b"".join([one for _, one in contents[first:end]]) for first, end in groups]
    efforts = [effort_for(content) for content in joined]
    normal = [content for content, effort in zip(joined, efforts, strict=True) if effort is Effort.NORMAL]
    encoded = iter(frame.encode_all(normal))
    stored = [
        next(encoded) if effort is Effort.NORMAL else frame.encode(content, effort)
        for content, effort in zip(joined, efforts, strict=True)
    ]
    frames = tuple((len(one), len(content)) for one, content in zip(stored, joined, strict=True))
    members = tuple((raw, len(one)) for first, end in groups for raw, one in contents[first:end])
    return Batch(frames, members, b"".join(stored))


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
