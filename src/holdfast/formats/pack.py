"""Chapter 3 of store-layout.md: a pack, many small blobs in one file: headers, table of contents, covers.

    header | frame | frame … | header | frame … | … | table of contents

Each append is one header and its frames. A header is a skippable frame: it says which bytes of content stand in the
frames behind it, whose they are, and where in the file it stands, and proves itself. So `zstd -dc PACK` gives all
content one after the other, and each member is a range of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from holdfast.formats.frame import MAX_CONTENT, damage
from holdfast.values.frozen import dataclass

MAGIC = b"\x5c\x2a\x4d\x18"
COVER = b"\x5d\x2a\x4d\x18"
SKIP_BYTES = 8
"""Every skippable frame begins with its magic and the number of bytes that follow, 4 bytes each."""

TAG = b"HFPACK"
VERSION = 1
_APPEND, _CONTENTS = 1, 2
MARK = TAG + bytes((VERSION, _APPEND))
"""What stands 8 bytes behind the beginning of every header."""

_HEAD = struct.Struct("<4sI6sBBIIQQ8s")
HEAD_BYTES = _HEAD.size
_FRAME = struct.Struct("<II")
_MEMBER = struct.Struct("<32sI")
_OFFSET = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_DIGEST_BYTES = 32

_SINGLE = struct.Struct("<4sI6sBBIIQQ8sII32sI")
"""A header of one frame with one member: the three structs above, one behind the other."""

_SINGLE_BYTES = _SINGLE.size + _DIGEST_BYTES

MAX_PARTS = 1 << 16
"""So many frames, or members, or headers in a table, at most: this bounds the memory of every reader."""


class Spot(NamedTuple):
    """Where a blob is: `pack` by name; `offset`, `stored_bytes`: its frame in the file; `start`, `size`: of its content
    in the frame's.
    """

    pack: str
    offset: int
    stored_bytes: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """One blob in a pack. `offset`, `stored`: its frame in the file; `start`, `size`: its content in the frame's.

    `at`: where its content begins in that of the whole pack, for `zstd -dc PACK | tail -c +$((at + 1)) | head -c size`.
    """

    digest: bytes
    offset: int
    stored: int
    start: int
    size: int
    at: int

    def spot(self, pack: str) -> Spot:
        """Its place, given the name of the pack."""
        return Spot(pack, self.offset, self.stored, self.start, self.size)


@dataclass(frozen=True, slots=True)
class Header:
    """One append. `position`: where it begins in the file; `before`: bytes of content in the pack before it.

    `frames`: (bytes stored, bytes of content) of each; `members`: (digest, size) of each, in the order of the content,
    which they fill without a gap and without crossing from one frame to the next.
    """

    pack: bytes
    position: int
    before: int
    frames: tuple[tuple[int, int], ...]
    members: tuple[tuple[bytes, int], ...]
    proof: bytes = b""

    @property
    def length(self) -> int:
        """Bytes of the header itself."""
        return HEAD_BYTES + _FRAME.size * len(self.frames) + _MEMBER.size * len(self.members) + _DIGEST_BYTES

    @property
    def end(self) -> int:
        """Where in the file its last frame ends."""
        return self.position + self.length + sum(stored for stored, _ in self.frames)

    @property
    def content(self) -> int:
        """Bytes of content in its frames."""
        return sum(content for _, content in self.frames)

    def spots(self) -> list[Spot]:
        """The places of its members, in order."""
        pack = self.pack.hex()
        frames = iter(self.frames)
        (stored, left), offset, start = next(frames), self.position + self.length, 0
        found = []
        for _, size in self.members:
            if start == left:
                offset += stored
                (stored, left), start = next(frames), 0
            found.append(Spot(pack, offset, stored, start, size))
            start += size
        return found

    def each(self) -> Iterator[Member]:
        """Its members in order, each with its place."""
        frames = iter(self.frames)
        (stored, left), offset, start, at = next(frames), self.position + self.length, 0, self.before
        for digest, size in self.members:
            if start == left:
                offset += stored
                (stored, left), start = next(frames), 0
            yield Member(digest, offset, stored, start, size, at)
            start, at = start + size, at + size


def encode_header(header: Header) -> bytes:
    """The bytes of a header; its `proof` is made here."""
    length = header.length - SKIP_BYTES
    numbers = len(header.frames), len(header.members), header.position, header.before
    parts = [_HEAD.pack(MAGIC, length, TAG, VERSION, _APPEND, *numbers, header.pack)]
    parts += [_FRAME.pack(*one) for one in header.frames]
    parts += [_MEMBER.pack(*one) for one in header.members]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def encode_single(
    owner: bytes, place: tuple[int, int], frame: tuple[int, int], member: tuple[bytes, int]
) -> bytes:  # fmt: skip
    """As `encode_header` of an append of one blob, in a third of the time. `place`: its `position` and `before`."""
    body = _SINGLE.pack(MAGIC, _SINGLE_BYTES - SKIP_BYTES, TAG, VERSION, _APPEND, 1, 1, *place, owner, *frame, *member)
    return body + hashlib.sha256(body).digest()


def length_of(head: bytes) -> int:
    """Bytes of the skippable frame that begins with `head` (SKIP_BYTES or more), its first 8 included."""
    return SKIP_BYTES + int(_LENGTH.unpack_from(head, 4)[0])


def is_contents(head: bytes) -> bool:
    """Whether a table of contents begins here, rather than a header. `head`: HEAD_BYTES."""
    return head[:4] == MAGIC and head[8:16] == TAG + bytes((VERSION, _CONTENTS))


def announced(head: bytes) -> int:
    """Bytes of the header that begins with `head` (HEAD_BYTES); BlobDamagedError if none can begin so."""
    if len(head) < HEAD_BYTES:
        raise damage("a header is cut off")
    magic, length, tag, version, kind, frames, members, *_ = _HEAD.unpack(head[:HEAD_BYTES])
    if (magic, tag, version, kind) != (MAGIC, TAG, VERSION, _APPEND):
        raise damage("no header of a pack where one must begin")
    wanted: int = HEAD_BYTES + _FRAME.size * frames + _MEMBER.size * members + _DIGEST_BYTES
    if length + SKIP_BYTES != wanted or not 0 < frames <= members <= MAX_PARTS:
        raise damage("a header of impossible length")
    return wanted


def decode_header(data: bytes, pack: bytes, position: int) -> Header:
    """The header that is exactly `data`, found in a pack at a position; BlobDamagedError if it is no such header."""
    if len(data) != announced(data[:HEAD_BYTES]):
        raise damage("a header is cut off")
    proof = data[-_DIGEST_BYTES:]
    if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != proof:
        raise damage("a header was altered")
    *_, frames, _, said, before, owner = _HEAD.unpack(data[:HEAD_BYTES])
    if (owner, said) != (pack, position):
        raise damage("a header of another pack, or of another place")
    split = HEAD_BYTES + _FRAME.size * frames
    found = Header(
        pack, position, before,
        tuple(_FRAME.iter_unpack(data[HEAD_BYTES:split])),
        tuple(_MEMBER.iter_unpack(data[split:-_DIGEST_BYTES])),
        proof,
    )  # fmt: skip
    _check(found)
    return found


def owner_of(data: bytes) -> tuple[bytes, int]:
    """(pack, position) that a header (HEAD_BYTES or more) says it is of: to read one in a wrong place."""
    *_, position, _, owner = _HEAD.unpack(data[:HEAD_BYTES])
    return owner, position


def _check(header: Header) -> None:
    """The members must fill the frames: ends of frames are ends of members."""
    sizes = [size for _, size in header.members]
    if 0 in sizes or not all(0 < c <= MAX_CONTENT and s for s, c in header.frames):
        raise damage("a header lists an empty part")
    ends = set(accumulate(sizes))
    of_frames = list(accumulate(content for _, content in header.frames))
    if not ends.issuperset(of_frames) or max(ends) != of_frames[-1]:
        raise damage("the members of a header do not fill its frames")


# -- the table of contents ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contents:
    """What closes a pack. `positions` of its headers; `members`, `content`: how many, and bytes of, in all of them."""

    pack: bytes
    position: int
    content: int
    members: int
    positions: tuple[int, ...]
    proof: bytes


def proof_of(proofs: Iterable[bytes]) -> bytes:
    """What a table of contents says of all headers: the SHA-256 of their own checksums, one after the other."""
    return hashlib.sha256(b"".join(proofs)).digest()


def encode_contents(found: Contents) -> bytes:
    """The bytes of a table of contents."""
    positions = b"".join(_OFFSET.pack(one) for one in found.positions)
    length = HEAD_BYTES + len(positions) + 2 * _DIGEST_BYTES + _LENGTH.size
    numbers = len(found.positions), found.members, found.position, found.content
    head = _HEAD.pack(MAGIC, length - SKIP_BYTES, TAG, VERSION, _CONTENTS, *numbers, found.pack)
    body = head + positions + found.proof
    return body + hashlib.sha256(body).digest() + _LENGTH.pack(length)


def decode_contents(data: bytes, pack: bytes, position: int) -> Contents:
    """The table that is exactly `data`; BlobDamagedError if it is not what was written."""
    if len(data) < HEAD_BYTES + 2 * _DIGEST_BYTES + _LENGTH.size or not is_contents(data[:HEAD_BYTES]):
        raise damage("no table of contents")
    body, own = data[: -_DIGEST_BYTES - _LENGTH.size], data[-_DIGEST_BYTES - _LENGTH.size : -_LENGTH.size]
    if hashlib.sha256(body).digest() != own or _LENGTH.unpack(data[-_LENGTH.size :])[0] != len(data):
        raise damage("the table of contents was altered")
    _, length, _, _, _, headers, members, said, content, owner = _HEAD.unpack(data[:HEAD_BYTES])
    if (owner, said, length) != (pack, position, len(data) - SKIP_BYTES):
        raise damage("a table of contents of another pack, or of another place")
    listed = body[HEAD_BYTES:-_DIGEST_BYTES]
    if len(listed) != _OFFSET.size * headers:
        raise damage("the table of contents has another length than it says")
    positions = tuple(one for (one,) in _OFFSET.iter_unpack(listed))
    return Contents(pack, position, content, members, positions, body[-_DIGEST_BYTES:])


def cover(length: int) -> bytes:
    """The first 8 bytes of a skippable frame of `length` bytes (8 or more) whose content means nothing."""
    return COVER + _LENGTH.pack(length - SKIP_BYTES)


# -- what is written ---------------------------------------------------------------------------------------------------


def group(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Cut a sequence of blobs into frames: (first, end) of each, of up to `limit` bytes, or of one larger blob."""
    first, held = 0, 0
    for number, size in enumerate(sizes):
        if held and held + size > limit:
            yield first, number
            first, held = number, 0
        held += size
    if held:
        yield first, len(sizes)
