"""Chapter 3 of store-layout.md: one zstd frame (RFC 8878), narrowed so that no bit of its frame header is optional.

Every frame in a store carries its content size and a content checksum, names no dictionary and has the unused bits
zero. The library alone would let a cleared checksum flag, a second frame or trailing bytes pass, so the anatomy of
a frame is read here, and only then is the library asked to decompress it.
"""

from __future__ import annotations

import enum
import functools
import os
import threading
from collections.abc import Iterable, Sequence
from itertools import count, takewhile

import zstandard

from holdfast.errors import BlobDamagedError
from holdfast.values import configuration

MAGIC = b"\x28\xb5\x2f\xfd"
EMPTY = bytes.fromhex("28b52ffd240001000099e9d851")
"""The one frame of empty content."""

ONE_FRAME_MAX = 256 * 1024
"""Content up to this many bytes may be a single frame that is the whole file."""

ONE_FRAME_FILE_MAX = ONE_FRAME_MAX + ONE_FRAME_MAX // 256 + 64
"""No file of a single frame is longer: zstd's own bound for incompressible content, and the frame header."""

MAX_CONTENT = 8 * 1024 * 1024
"""No frame holds more content; this bounds the memory of every reader."""

CHECKSUM_BYTES = 4

_SAMPLE_FROM = 64 * 1024
_SAMPLE_PIECE = 4 * 1024
_WORTH = 0.98

_WORTH_THREADS = 8
"""With fewer frames, starting threads costs more than it saves."""


class Effort(enum.Enum):
    """How hard zstd tries. RAW is for content that will not shrink: it looks quickly and then keeps blocks as they are.

    DENSE is for what is compressed once and kept for long: see _NEAR and _FAR.
    """

    NORMAL = enum.auto()
    RAW = enum.auto()
    DENSE = enum.auto()


NORMAL_LEVEL = 3
_RAW_LEVEL = -5

_FAR_FROM = 352 * 1024 + 1
_FAR = {"compression_level": 6, "window_log": 21, "enable_ldm": True}
"""A dense frame of more than 352 KiB holds much of one artifact, most often its revisions. What they share is found by
long-distance matching, in a window of 2 MiB; a higher level costs half as much again for 1 % (docs/design/019)."""

_NEAR = {
    "window_log": 19, "chain_log": 20, "hash_log": 19, "search_log": 4, "min_match": 5, "target_length": 48,
    "strategy": zstandard.STRATEGY_BTULTRA,
}  # fmt: skip
"""Other dense frames. What follows is weighed before a match is chosen, and none has less than five bytes: 6 % smaller
than level 9 and read faster, for there are fewer of them; in five times the time (docs/design/060)."""

_BLOCK = 32 * 1024
"""So much content is a block of a dense frame: whoever wants the beginning need not decompress the rest. By itself zstd
makes blocks of 128 KiB; these are smaller on the whole, as well, for each has symbols of its own (docs/design/041)."""

_FIRST_BLOCK = 16 * 1024

_WORTH_STOPPING = 0.75
"""Whoever wants more of a frame than that is better off with all of it: to stop early costs a stream to be set up."""


class _Contexts(threading.local):
    """zstd contexts are costly to make and must not be shared by threads."""

    def __init__(self) -> None:
        self.compressors: dict[tuple[Effort, bool], zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_contexts = _Contexts()


def encode(content: bytes | memoryview, effort: Effort = Effort.NORMAL) -> bytes:
    """One frame of `content` (at most MAX_CONTENT bytes). The same content and effort give the same bytes."""
    far = effort is Effort.DENSE and len(content) >= _FAR_FROM
    own = _own(effort, far=far)
    in_blocks = effort is Effort.DENSE and not far and len(content) > _BLOCK
    return _in_blocks(own, content, range(_BLOCK, len(content), _BLOCK)) if in_blocks else own.compress(content)


def encode_joined(content: bytes) -> bytes:
    """One frame of several blobs, one after the other, at normal effort: most of them can be had by a part of it.

    A block ends at 16 KiB and wherever it is twice as far: what is wanted is at least half of what is decompressed.
    """
    ends = takewhile(lambda end: end < len(content), (_FIRST_BLOCK << n for n in count()))
    return _in_blocks(_own(Effort.NORMAL, far=False), content, ends)


def _in_blocks(own: zstandard.ZstdCompressor, content: bytes | memoryview, ends: Iterable[int]) -> bytes:
    made, at = own.compressobj(size=len(content)), 0
    parts: list[bytes] = []
    for end in ends:
        parts += made.compress(content[at:end]), made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        at = end
    return b"".join([*parts, made.compress(content[at:]), made.flush()])


def effort_for(content: bytes | memoryview) -> Effort:
    """NORMAL, or RAW if three small pieces of the content do not shrink by 2 %. No second try follows."""
    size = len(content)
    if size < _SAMPLE_FROM:
        return Effort.NORMAL
    step = (size - _SAMPLE_PIECE) // 4
    sample = b"".join(content[at : at + _SAMPLE_PIECE] for at in (step, 2 * step, 3 * step))
    return Effort.RAW if len(encode(sample)) > _WORTH * len(sample) else Effort.NORMAL


def _own(effort: Effort, *, far: bool) -> zstandard.ZstdCompressor:
    """This thread's compressor."""
    found = _contexts.compressors.get((effort, far))
    if found is None:
        found = _contexts.compressors[effort, far] = _compressor(effort, far=far)
    return found


def _compressor(effort: Effort, *, far: bool) -> zstandard.ZstdCompressor:
    if effort is not Effort.DENSE:
        level = _normal_level() if effort is Effort.NORMAL else _RAW_LEVEL
        return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)
    wanted = _FAR if far else _NEAR
    made = zstandard.ZstdCompressionParameters(**wanted, write_checksum=True, write_content_size=True)
    return zstandard.ZstdCompressor(compression_params=made)


@functools.cache
def _normal_level() -> int:
    """As is set for this process (docs/configuration.md). One level for all of it: the same content, the same bytes."""
    one = configuration.setting("compression_level")
    said = os.environ.get(one.environment)
    level = configuration.parsed(one, said, one.environment) if said else NORMAL_LEVEL
    assert isinstance(level, int)
    return level


def head(data: bytes | memoryview) -> tuple[int, int]:
    """(bytes of content, bytes of frame header) of the frame that `data` starts with; BlobDamagedError if not ours."""
    if data[:4] != MAGIC or len(data) < 6:
        raise damage("no zstd frame where one must begin")
    flags = data[4]
    if flags & 0b0001_1111 != 0b0000_0100:
        raise damage("a frame header without checksum, or with a dictionary or unused bits set")
    single, width = flags >> 5 & 1, flags >> 6
    if not single and not width:
        raise damage("a frame header without content size")
    start = 6 - single
    end = start + (1 << width)
    if len(data) < end:
        raise damage("a frame header is cut off")
    content = int.from_bytes(data[start:end], "little") + (256 if width == 1 else 0)
    if content > MAX_CONTENT:
        raise damage(f"a frame claims {content} bytes of content")
    return content, end


def claimed(data: bytes) -> int:
    """Bytes of content that a frame of ours says it has; 0 of anything else."""
    try:
        return head(data)[0]
    except BlobDamagedError:
        return 0


def measure(data: bytes | memoryview) -> tuple[int, int]:
    """(bytes of content, bytes of frame) of the frame that `data` starts with, by its headers alone.

    Raises BlobDamagedError if it is cut off or not ours.
    """
    return _measured(data)[:2]


def _measured(data: bytes | memoryview) -> tuple[int, int, int]:
    """What `measure` gives, and how many blocks there are."""
    content, at = head(data)
    total = len(data)
    last = blocks = 0
    while not last:
        if at + 3 > total:
            raise damage("a frame is cut off")
        block = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        last, kind = block & 1, block >> 1 & 3
        if kind == 3:
            raise damage("a block of the reserved type")
        at += 4 if kind == 1 else 3 + (block >> 3)
        blocks += 1
    at += CHECKSUM_BYTES
    if at > total:
        raise damage("a frame is cut off")
    return content, at, blocks


def decode(data: bytes | memoryview) -> bytes:
    """The content of exactly one frame; BlobDamagedError if anything is missing, left over, altered or not ours."""
    return _whole(data, _alone(data)[0])


def decode_into(view: memoryview, data: bytes | memoryview) -> None:
    """Fill `view` with the content of exactly one frame, as long as it is; BlobDamagedError as of `decode`.

    Where there is room for all of a frame, zstd decompresses straight into it, and compares its checksum.
    """
    content, _ = _alone(data)
    if not content or content != len(view):
        raise damage(f"a frame of {content} bytes, not {len(view)}")
    try:
        with _contexts.decompressor.stream_reader(data) as reader:
            done = reader.readinto(view)
            over = reader.read(1)
    except zstandard.ZstdError as error:
        raise damage(str(error)) from error
    if done != content or over:
        raise damage(f"a frame of {content} bytes gave {done + len(over)}")


def decode_part(data: bytes, end: int) -> bytes:
    """The first `end` bytes, or all, of the content of exactly one frame: what need not be is not decompressed.

    Then zstd has not compared its checksum: whoever asks must have a digest of what was asked for.
    Raises BlobDamagedError.
    """
    content, blocks = _alone(data)
    if blocks == 1 or end > content * _WORTH_STOPPING:
        return _whole(data, content)
    try:
        with _contexts.decompressor.stream_reader(data) as reader:
            out = bytes(reader.read(end))
    except zstandard.ZstdError as error:
        raise damage(str(error)) from error
    if len(out) != end:
        raise damage(f"a frame of {content} bytes gave {len(out)}")
    return out


def _alone(data: bytes | memoryview) -> tuple[int, int]:
    """(bytes of content, blocks) of the frame that is all of `data`, by its headers."""
    content, end, blocks = _measured(data)
    if end != len(data):
        raise damage("bytes after the end of a frame")
    return content, blocks


def _whole(data: bytes | memoryview, content: int) -> bytes:
    if not content:
        # The library takes the header's word for empty content and looks no further.
        if data != EMPTY:
            raise damage("an altered frame of empty content")
        return b""
    try:
        out = _contexts.decompressor.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise damage(str(error)) from error
    if len(out) != content:
        raise damage(f"a frame of {content} bytes gave {len(out)}")
    return out


def decode_many(frames: Sequence[bytes]) -> list[bytes | None]:
    """The contents of many frames, None for each that `decode` would refuse; by one call that lets the interpreter go.

    In this thread alone: who has many asks from a thread that works beside another, and two cores have no third one.
    """
    try:
        if len(frames) > 1 and all(map(_is_one, frames)):
            found = _contexts.decompressor.multi_decompress_to_buffer(list(frames))
            return [found[number].tobytes() for number in range(len(found))]
    except (BlobDamagedError, zstandard.ZstdError):
        pass  # one after the other, to see which
    return [_decoded(data) for data in frames]


def are_whole(frames: Sequence[memoryview], contents: Sequence[int]) -> bool:
    """Whether each is exactly one frame of ours, of so many bytes of content that have its checksum.

    A tenth of the work of proving digests: what zstd's checksum says of accidents, in 32 bits a frame.
    """
    try:
        if not all(_is_one(data) for data in frames):
            return False
        found = _contexts.decompressor.multi_decompress_to_buffer([*frames], threads=_threads_for(len(frames)))
    except (BlobDamagedError, zstandard.ZstdError):
        return False
    return [len(found[number]) for number in range(len(found))] == [*contents]


def _threads_for(frames: int) -> int:
    return 2 if frames >= _WORTH_THREADS else 0


def _is_one(data: bytes | memoryview) -> bool:
    """Whether it is one frame of ours, with content; what is in it, the library sees."""
    content, end = measure(data)
    return content > 0 and end == len(data)


def _decoded(data: bytes) -> bytes | None:
    try:
        return decode(data)
    except BlobDamagedError:
        return None


def damage(reason: str) -> BlobDamagedError:
    """An error for bytes at fault; whoever knows digest and path adds them."""
    return BlobDamagedError(reason, reason=reason)
