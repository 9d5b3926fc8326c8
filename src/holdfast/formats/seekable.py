"""Chapter 3 of store-layout.md: a blob of many frames: where each begins, and the two skippable frames at its end.

    frame 0 | frame 1 | … | blob trailer (136 bytes) | seek table (17 + 12 * frames bytes)

The seek table is that of zstd's seekable format with its checksum field. The trailer says whose content it is and
holds the SHA-256 of the seek table and of itself, so no bit of either can change unnoticed.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from itertools import accumulate

from holdfast.formats.frame import MAX_CONTENT, damage
from holdfast.values.frozen import dataclass

FRAME = 128 * 1024
"""Content of the first frames, bytes."""

STEPS = 6
"""How often the size of a frame doubles: 64 * 128 KiB = 8 MiB is the largest."""

FIRST_FRAMES = 16_384
"""Frames of the first size, and twice the frames of each later size but the last: 65,536 frames at 128 GiB."""

_TRAILER = struct.Struct("<II6sH32sQQQ32s32s")
_TRAILER_MAGIC = 0x184D2A5B
_TRAILER_TAG = b"HFBLOB"
_TRAILER_VERSION = 1
TRAILER_BYTES = _TRAILER.size

_TABLE_HEAD = struct.Struct("<II")
_TABLE_FOOT = struct.Struct("<IBI")
_TABLE_MAGIC = 0x184D2A5E
_FOOT_MAGIC = 0x8F92EAB1
_WITH_CHECKSUMS = 0x80
_ENTRY_BYTES = 12
FOOT_BYTES = _TABLE_FOOT.size
MAX_FRAMES = 1 << 27
"""The seekable format's own limit."""


def frame_size(offset: int, first: int = FRAME) -> int:
    """Bytes of content in the frame that begins at `offset`, unless the content ends before.

    `first` up to FIRST_FRAMES * first, then doubled each time the offset doubles, STEPS times.
    """
    return first << min((offset // (first * FIRST_FRAMES)).bit_length(), STEPS)


@dataclass(frozen=True, slots=True)
class FrameTable:
    """Where frame n lies: content [starts[n], starts[n+1]), stored [places[n], places[n+1]), checksum checks[n]."""

    digest: bytes
    starts: array[int]
    places: array[int]
    checks: array[int]

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.starts[-1]

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.checks)


def new_entries() -> array[int]:
    """Room for a table's entries: stored bytes, content bytes, checksum of each frame in turn, 32 bits each."""
    return array("I")


def encode_tail(digest: bytes, entries: array[int]) -> bytes:
    """Blob trailer and seek table for frames whose entries were gathered in `new_entries()`."""
    frames = len(entries) // 3
    body = _little(entries).tobytes()
    length = len(body) + FOOT_BYTES
    table = _TABLE_HEAD.pack(_TABLE_MAGIC, length) + body + _TABLE_FOOT.pack(frames, _WITH_CHECKSUMS, _FOOT_MAGIC)
    trailer = _TRAILER.pack(
        _TRAILER_MAGIC,
        TRAILER_BYTES - 8,
        _TRAILER_TAG,
        _TRAILER_VERSION,
        digest,
        sum(entries[1::3]),
        sum(entries[0::3]),
        frames,
        hashlib.sha256(table).digest(),
        b"",
    )[:-32]
    return trailer + hashlib.sha256(trailer).digest() + table


def tail_bytes(foot: bytes) -> int:
    """Bytes of trailer and table together, from the file's last FOOT_BYTES; BlobDamagedError if it has no table."""
    if len(foot) != FOOT_BYTES:
        raise damage("too short for a seek table")
    frames, flags, magic = _TABLE_FOOT.unpack(foot)
    if magic != _FOOT_MAGIC or flags != _WITH_CHECKSUMS or not 0 < frames <= MAX_FRAMES:
        raise damage("no seek table at the end")
    return TRAILER_BYTES + _TABLE_HEAD.size + _ENTRY_BYTES * int(frames) + FOOT_BYTES


def decode_tail(tail: bytes, file_bytes: int) -> FrameTable:
    """The frame table of a file of `file_bytes` bytes that ends with `tail` (as long as `tail_bytes` said).

    Raises BlobDamagedError unless every byte of trailer and table is what was written, and the frames fill the file.
    """
    if len(tail) != tail_bytes(tail[-FOOT_BYTES:]) or len(tail) >= file_bytes:
        raise damage("trailer and seek table do not fit into the file")
    fields = _TRAILER.unpack_from(tail)
    magic, length, tag, version, digest, content, stored, frames, table_hash, own_hash = fields
    if (magic, length, tag) != (_TRAILER_MAGIC, TRAILER_BYTES - 8, _TRAILER_TAG):
        raise damage("no blob trailer before the seek table")
    if hashlib.sha256(tail[: TRAILER_BYTES - 32]).digest() != own_hash:
        raise damage("the blob trailer was altered")
    if version != _TRAILER_VERSION:
        raise damage(f"a blob trailer of version {version}, which is unknown here")
    table = tail[TRAILER_BYTES:]
    if hashlib.sha256(table).digest() != table_hash:
        raise damage("the seek table was altered")
    if _TABLE_HEAD.unpack_from(table) != (_TABLE_MAGIC, len(table) - _TABLE_HEAD.size):
        raise damage("a seek table of the wrong kind")
    entries = new_entries()
    entries.frombytes(table[_TABLE_HEAD.size : -FOOT_BYTES])
    found = _frame_table(digest, _little(entries))
    if (found.frames, found.size, found.places[-1]) != (frames, content, stored):
        raise damage("blob trailer and seek table disagree")
    if stored + len(tail) != file_bytes:
        raise damage(f"a file of {file_bytes} bytes where its table says {stored + len(tail)}")
    return found


def _frame_table(digest: bytes, entries: array[int]) -> FrameTable:
    sizes = entries[1::3].tolist()
    if not 0 < min(sizes) <= max(sizes) <= MAX_CONTENT:
        raise damage("the seek table has a frame of impossible size")
    # By way of lists: an array filled from an iterator takes a quarter longer.
    starts = array("Q", list(accumulate(sizes, initial=0)))
    places = array("Q", list(accumulate(entries[0::3].tolist(), initial=0)))
    return FrameTable(digest, starts, places, entries[2::3])


def _little(entries: array[int]) -> array[int]:
    if sys.byteorder == "little":
        return entries
    swapped = entries[:]
    swapped.byteswap()
    return swapped
