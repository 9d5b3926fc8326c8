"""A frame is ours only if every bit of its header is what this store writes; its length follows from its blocks."""

import hashlib
import random

import pytest
import zstandard

from holdfast.errors import BlobDamagedError
from holdfast.formats import frame
from holdfast.formats.frame import Effort

CONTENTS = [b"", b"x", b"abc" * 100, bytes(70_000), hashlib.shake_256(b"r").digest(300_000), b"text and more " * 50_000]


@pytest.mark.parametrize("effort", list(Effort))
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_a_frame_gives_its_content_back(content: bytes, effort: Effort) -> None:
    data = frame.encode(content, effort)
    assert frame.decode(data) == content
    assert frame.head(data)[0] == len(content)
    assert frame.measure(data) == frame.measure(data + b"more") == (len(content), len(data))
    assert frame.encode(content, effort) == data


@pytest.mark.parametrize("effort", list(Effort))
def test_empty_content_has_one_form(effort: Effort) -> None:
    assert frame.encode(b"", effort) == frame.EMPTY


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"write_checksum": False}, "checksum"),
        ({"write_checksum": True, "write_content_size": False}, "content size"),
        ({"write_checksum": True, "dict_data": zstandard.ZstdCompressionDict(b"some words" * 100)}, None),
    ],
)
def test_frames_that_zstd_allows_and_we_do_not(options: dict[str, object], reason: str | None) -> None:
    data = zstandard.ZstdCompressor(level=3, **options).compress(b"some words" * 20)
    with pytest.raises(BlobDamagedError, match=reason):
        frame.decode(data)


@pytest.mark.parametrize("bit", [0, 1, 3, 4])
def test_dictionary_and_unused_bits_of_the_header_must_be_zero(bit: int) -> None:
    data = bytearray(frame.encode(b"content"))
    data[4] |= 1 << bit
    with pytest.raises(BlobDamagedError):
        frame.decode(bytes(data))


@pytest.mark.parametrize("more", [b"\0", b"x", frame.EMPTY, frame.encode(b"second")])
def test_one_frame_means_one_frame(more: bytes) -> None:
    with pytest.raises(BlobDamagedError, match="after the end"):
        frame.decode(frame.encode(b"first") + more)


def test_every_cut_is_seen_before_anything_is_decompressed() -> None:
    data = frame.encode(b"content " * 40)
    for length in range(len(data)):
        with pytest.raises(BlobDamagedError, match=r"cut off|no zstd frame"):
            frame.measure(data[:length])


def test_no_frame_can_claim_more_memory_than_the_largest_has() -> None:
    bomb = frame.encode(bytes(frame.MAX_CONTENT + 1))
    assert len(bomb) < 2000
    with pytest.raises(BlobDamagedError, match="claims"):
        frame.decode(bomb)
    assert len(frame.decode(frame.encode(bytes(frame.MAX_CONTENT)))) == frame.MAX_CONTENT


def test_a_claim_that_the_content_does_not_keep_is_refused() -> None:
    data = bytearray(frame.encode(b"abc" * 50))
    data[5] += 1
    with pytest.raises(BlobDamagedError):
        frame.decode(bytes(data))


def test_the_largest_single_frame_fits_the_bound_that_tells_the_forms_apart() -> None:
    for effort in Effort:
        data = frame.encode(hashlib.shake_256(b"r").digest(frame.ONE_FRAME_MAX), effort)
        assert len(data) <= frame.ONE_FRAME_FILE_MAX


@pytest.mark.parametrize("effort", list(Effort))
@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_the_beginning_of_a_frame_can_be_had_alone(content: bytes, effort: Effort) -> None:
    data = frame.encode(content, effort)
    for end in {0, 1, len(content) // 3, len(content) - 1, len(content), len(content) + 1}:
        assert frame.decode_part(data, max(end, 0))[: max(end, 0)] == content[: max(end, 0)]


@pytest.mark.parametrize("size", [1, 32_767, 32_768, 32_769, 65_536, 100_000, 131_072, 200_000])
def test_a_dense_frame_is_in_blocks_so_that_its_beginning_costs_no_more_than_it_is(size: int) -> None:
    content = b"".join(b"line %d of many\n" % (n * n) for n in range(20_000))[:size]
    data = frame.encode(content, Effort.DENSE)
    assert frame.encode(memoryview(content), Effort.DENSE) == data
    assert frame.decode(data) == content
    assert frame.measure(data) == (size, len(data))
    harmed = data[:-6] + bytes([data[-6] ^ 1]) + data[-5:]
    if size > 65_536:
        assert frame.decode_part(harmed, 32_768) == content[:32_768]
    with pytest.raises(BlobDamagedError):
        frame.decode(harmed)


def test_what_is_behind_the_wanted_part_of_a_long_frame_is_not_decompressed_but_its_shape_is_looked_at() -> None:
    content = hashlib.shake_256(b"r").digest(300_000)
    data = bytearray(frame.encode(content, Effort.DENSE))
    data[-30_000] ^= 1
    assert frame.decode_part(bytes(data), 100_000) == content[:100_000]
    for end in (len(content), frame.MAX_CONTENT):
        with pytest.raises(BlobDamagedError):
            frame.decode_part(bytes(data), end)
    for wrong in (bytes(data[:-1]), bytes(data) + b"x"):
        with pytest.raises(BlobDamagedError):
            frame.decode_part(wrong, 100_000)


def test_damage_in_the_wanted_part_is_found_by_the_frame_or_left_to_the_digest_of_whoever_asked() -> None:
    content = b"".join(b"line %d of many\n" % n for n in range(30_000))
    data = frame.encode(content, Effort.DENSE)
    for at in range(20, len(data) - 8, len(data) // 40):
        harmed = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        try:
            found = frame.decode_part(harmed, 100_000)
        except BlobDamagedError:
            continue
        assert len(found) == 100_000


def test_many_frames_are_decoded_as_each_alone_would_be() -> None:
    contents = [bytes([number]) * (number * 50) for number in range(30)]
    frames = [frame.encode(content) for content in contents]
    assert frame.decode_many(frames) == contents
    assert frame.decode_many(frames[1:]) == contents[1:]
    assert frame.decode_many(frames[:3]) == contents[:3]
    altered = bytearray(frames[9])
    altered[-1] ^= 1
    damaged = [*frames[1:9], bytes(altered), frames[10][:-1], frames[11] + b"\0", b"", frames[12] + frames[13]]
    assert frame.decode_many(damaged) == [*contents[1:9], None, None, None, None, None]


@pytest.mark.parametrize("size", [2, 16_384, 16_385, 32_768, 65_536, 65_537, 300_000])
def test_of_a_frame_of_several_blobs_at_most_twice_what_is_wanted_is_decompressed(size: int) -> None:
    content = b"".join(b"line %d of many\n" % (n * n) for n in range(20_000))[:size]
    data = frame.encode_joined(content)
    assert frame.encode_joined(content) == data
    assert frame.decode(data) == content
    assert frame.measure(data) == (size, len(data))
    for end in (1, 16_384, 16_385, 32_768, 65_536):
        if 2 * max(end, 8_192) < size:
            at = len(data) - 5  # in the last block
            harmed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            assert frame.decode_part(harmed, end) == content[:end]


@pytest.mark.parametrize("content", [b"a", b"some words " * 30_000, random.Random(1).randbytes(300_000)])
def test_a_frame_comes_straight_into_memory_or_is_refused_as_decode_refuses_it(content: bytes) -> None:
    data = frame.encode(content)
    room = bytearray(len(content) + 2)
    frame.decode_into(memoryview(room)[1:-1], memoryview(data))
    assert room == b"\0" + content + b"\0"
    for length in (0, len(content) - 1, len(content) + 1):
        with pytest.raises(BlobDamagedError):
            frame.decode_into(memoryview(bytearray(length)), data)
    rnd = random.Random(2)
    places = {*range(12), len(data) - 1, len(data) - 4, *(rnd.randrange(len(data)) for _ in range(60))}
    for harmed in (data[:-1], data + b"\0", data + data, *(_flipped(data, at) for at in places if at < len(data))):
        with pytest.raises(BlobDamagedError):
            frame.decode(harmed)
        with pytest.raises(BlobDamagedError):
            frame.decode_into(memoryview(bytearray(len(content))), harmed)


def test_an_empty_frame_is_not_for_memory() -> None:
    with pytest.raises(BlobDamagedError):
        frame.decode_into(memoryview(bytearray()), frame.EMPTY)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
