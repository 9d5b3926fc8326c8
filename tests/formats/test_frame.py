"""A frame is ours only if every bit of its header is what this store writes; its length follows from its blocks."""

import hashlib
import os

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


def test_many_contents_at_once_give_the_frames_that_each_gives_alone() -> None:
    contents = [b"", b"x", *(bytes([n]) * (n * 131) for n in range(1, 60)), os.urandom(70_000), b"text " * 20_000]
    assert frame.encode_all(contents) == [frame.encode(content) for content in contents]
    assert frame.encode_all([]) == []
    assert frame.encode_all([b"one"]) == [frame.encode(b"one")]
