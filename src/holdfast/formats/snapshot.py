"""The file of a snapshot: a tar in frames of zstd, then what lies where in it, then a seek table.

    frame 0 | frame 1 | … | contents (skippable) | seek table (skippable)

The seek table is that of zstd's seekable format. Each frame holds FRAME bytes of the tar, the last one less, so that
whoever wants a member reads only the frames that it lies in. `zstd -dc` steps over both skippable frames: what it gives
is the tar. docs/export-format.md has a chapter.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from holdfast.errors import FormatTooNewError, HoldfastError, InvalidValueError
from holdfast.formats import frame

FRAME = 1 << 20
VERSION = 0
BLOCK = 512

_TABLE_MAGIC, _FOOT_MAGIC, _CONTENTS_MAGIC = 0x184D2A5E, 0x8F92EAB1, 0x184D2A5A
_TAG = b"HFSNAP"
_HEAD = struct.Struct("<II")
_FOOT = struct.Struct("<IBI")
_CONTENTS = struct.Struct("<6sHQQ32s")
"""Tag, version, entries, bytes of the tar, SHA-256 of the compressed lines behind it."""

_WITH_CHECKSUMS = 0x80
FOOT_BYTES = _FOOT.size
MOST_FRAMES = 1 << 27
_LINE = re.compile(rb"(sha256:[0-9a-f]{64}) (0|[1-9][0-9]{0,17}) (0|[1-9][0-9]{0,17}) ([^\n]+)")
MOST_PATH_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the tar. `offset`: where its bytes begin, in the tar."""

    path: bytes
    digest: str
    size: int
    offset: int

    @property
    def end(self) -> int:
        """Where the next header begins: after its bytes, filled up to whole blocks."""
        return self.offset + self.size + -self.size % BLOCK


@dataclass(frozen=True, slots=True)
class Tail:
    """What the end of a file says. `stored`: bytes of each frame; `lines`: the compressed lines about members."""

    stored: tuple[int, ...]
    tar_bytes: int
    entries: int
    lines: bytes


def header(path: bytes, size: int) -> bytes:
    """The tar header of a member: a plain file, readable by all, of no owner and no time. POSIX (pax)."""
    info = tarfile.TarInfo(path.decode("utf-8"))
    info.size, info.mode = size, 0o644
    return info.tobuf(format=tarfile.PAX_FORMAT, encoding="utf-8", errors="strict")


END = b"\0" * (2 * BLOCK)
"""What ends a tar."""


def encode_tail(members: Iterable[Member], stored: list[int], checks: list[bytes], tar_bytes: int) -> bytes:
    """Contents and seek table for frames of these sizes with these checksums (the last four bytes of each)."""
    count, waiting = 0, bytearray()
    made: list[bytes] = []
    for one in members:
        waiting += b"%s %d %d %s\n" % (one.digest.encode(), one.size, one.offset, one.path)
        count += 1
        if len(waiting) >= FRAME:
            made.append(frame.encode(bytes(waiting)))
            waiting.clear()
    made.append(frame.encode(bytes(waiting)))
    lines = b"".join(made)
    body = _CONTENTS.pack(_TAG, VERSION, count, tar_bytes, hashlib.sha256(lines).digest()) + lines
    sizes = [FRAME] * (tar_bytes // FRAME) + ([tar_bytes % FRAME] if tar_bytes % FRAME else [])
    entries = b"".join(
        struct.pack("<II", *pair) + check for pair, check in zip(zip(stored, sizes, strict=True), checks, strict=True)
    )
    table = _HEAD.pack(_TABLE_MAGIC, len(entries) + FOOT_BYTES) + entries
    return _HEAD.pack(_CONTENTS_MAGIC, len(body)) + body + table + _FOOT.pack(len(stored), _WITH_CHECKSUMS, _FOOT_MAGIC)


def table_bytes(foot: bytes) -> int:
    """Bytes of the seek table, from the file's last FOOT_BYTES. InvalidValueError if there is none."""
    if len(foot) != FOOT_BYTES:
        raise wrong("it is too short")
    frames, flags, magic = _FOOT.unpack(foot)
    if magic != _FOOT_MAGIC or flags != _WITH_CHECKSUMS or not 0 < frames <= MOST_FRAMES:
        raise wrong("it does not end as a snapshot does: it is none, or was cut off")
    return _HEAD.size + 12 * int(frames) + FOOT_BYTES


def most_tar_bytes(table_length: int) -> int:
    """What a tar can have at most whose seek table has so many bytes."""
    return (table_length - _HEAD.size - FOOT_BYTES) // 12 * FRAME


def frames_of(table: bytes) -> tuple[int, ...]:
    """Stored bytes of each frame, from the seek table. InvalidValueError unless all hold FRAME bytes but the last."""
    if _HEAD.unpack_from(table) != (_TABLE_MAGIC, len(table) - _HEAD.size):
        raise wrong("its seek table is of the wrong kind")
    found = list(struct.iter_unpack("<III", table[_HEAD.size : -FOOT_BYTES]))
    if any(size != FRAME for _, size, _ in found[:-1]) or not 0 < found[-1][1] <= FRAME:
        raise wrong("its seek table has a frame of a size that no snapshot has")
    return tuple(stored for stored, _, _ in found)


def decode_tail(tail: bytes, table: bytes, stored: tuple[int, ...]) -> Tail:
    """What stands between the last frame and the seek table. InvalidValueError, FormatTooNewError."""
    last = struct.unpack_from("<II", table, len(table) - FOOT_BYTES - 12)[1]
    if len(tail) < _HEAD.size + _CONTENTS.size or _HEAD.unpack_from(tail) != (_CONTENTS_MAGIC, len(tail) - _HEAD.size):
        raise wrong("there is no list of what is in it")
    tag, version, entries, tar_bytes, digest = _CONTENTS.unpack_from(tail, _HEAD.size)
    if tag != _TAG:
        raise wrong("it is no snapshot of a store")
    if version > VERSION:
        raise FormatTooNewError(
            f"a snapshot of version {version}; this software knows {VERSION}", found=version, known=VERSION
        )
    lines = tail[_HEAD.size + _CONTENTS.size :]
    if hashlib.sha256(lines).digest() != digest:
        raise wrong("the list of what is in it was altered")
    if tar_bytes != (len(stored) - 1) * FRAME + last:
        raise wrong("the list of what is in it does not fit its frames")
    return Tail(stored, tar_bytes, entries, lines)


def members(tail: Tail) -> Iterator[Member]:
    """What is in it, in the order of the tar; each checked to be where the one before leaves room for it.

    InvalidValueError for a path that leads elsewhere, an overlap, a gap, and a count that is not as claimed.
    """
    at = count = 0
    for line in _lines(tail.lines):
        found = _LINE.fullmatch(line)
        if found is None:
            raise wrong(f"the list of what is in it has a line that is none: {line[:80]!r}")
        one = Member(found[4], found[1].decode(), int(found[2]), int(found[3]))
        refuse_path(one.path)
        if one.offset != at + len(header(one.path, one.size)) or one.end > tail.tar_bytes - len(END):
            raise wrong(f"{shown(one.path)}: it is not where the one before it ends")
        at, count = one.end, count + 1
        yield one
    if count != tail.entries or at + len(END) != tail.tar_bytes:
        raise wrong("the list of what is in it is not whole")


def _lines(data: bytes) -> Iterator[bytes]:
    left = memoryview(data)
    while left:
        try:
            _, length = frame.measure(left)
            some = frame.decode(bytes(left[:length]))
        except HoldfastError as error:
            raise wrong(f"the list of what is in it cannot be read: {error}") from error
        left = left[length:]
        if left and len(some) < FRAME:  # whoever makes millions of them wants to keep us busy
            raise wrong("the list of what is in it is cut into pieces that no snapshot has")
        yield from some.splitlines()


def refuse_path(path: bytes) -> None:
    """InvalidValueError for a path that no snapshot has: absolute, with `..`, empty steps or unprintable bytes."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        raise wrong(f"{shown(path)}: its path is not UTF-8") from None
    steps = path.split(b"/")
    if len(path) > MOST_PATH_BYTES or not text.isprintable() or "\\" in text:
        raise wrong(f"{shown(path)}: no snapshot has such a path")
    if any(step in (b"", b".", b"..") or len(step) > 255 for step in steps):
        raise wrong(f"{shown(path)}: its path leads elsewhere")


def shown(path: bytes) -> str:
    """A path for people."""
    return path[:200].decode("utf-8", "backslashreplace")


def wrong(reason: str) -> InvalidValueError:
    """The error for a file that is no snapshot, or not a sound one."""
    return InvalidValueError(
        f"the snapshot is not sound: {reason}", where="snapshot", reason="form",
        remedy="Take another copy of the file, or make the snapshot anew. Nothing was changed.",
    )  # fmt: skip
