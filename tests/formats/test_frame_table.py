"""Trailer and seek table: every bit counts, and the table stays small however large the blob."""

import hashlib
import struct

import pytest

from holdfast.errors import BlobDamagedError
from holdfast.formats import seekable

DIGEST = hashlib.sha256(b"content").digest()
KIB, GIB = 1024, 1024**3


def entries_for(*rows: tuple[int, int, int]) -> "seekable.array[int]":
    entries = seekable.new_entries()
    for row in rows:
        entries.extend(row)
    return entries


TAIL = seekable.encode_tail(DIGEST, entries_for((100, 512, 7), (90, 512, 0xFFFFFFFF), (20, 3, 0)))
WHOLE = 210 + len(TAIL)


def test_a_table_says_where_each_frame_lies() -> None:
    table = seekable.decode_tail(TAIL, WHOLE)
    assert table.digest == DIGEST
    assert list(table.starts) == [0, 512, 1024, 1027]
    assert list(table.places) == [0, 100, 190, 210]
    assert list(table.checks) == [7, 0xFFFFFFFF, 0]
    assert (table.size, table.frames) == (1027, 3)


def test_the_bytes_are_those_of_the_layout() -> None:
    assert len(TAIL) == 136 + 8 + 3 * 12 + 9 == seekable.tail_bytes(TAIL[-9:])
    trailer, table = TAIL[:136], TAIL[136:]
    assert trailer[:16] == struct.pack("<II", 0x184D2A5B, 128) + b"HFBLOB" + struct.pack("<H", 1)
    assert trailer[16:48] == DIGEST
    assert struct.unpack("<QQQ", trailer[48:72]) == (1027, 210, 3)
    assert trailer[72:104] == hashlib.sha256(table).digest()
    assert trailer[104:136] == hashlib.sha256(trailer[:104]).digest()
    assert table[:8] == struct.pack("<II", 0x184D2A5E, 3 * 12 + 9)
    assert table[8:20] == struct.pack("<III", 100, 512, 7)
    assert table[-9:] == struct.pack("<IBI", 3, 0x80, 0x8F92EAB1)


@pytest.mark.parametrize("bit", range(8))
def test_no_bit_of_it_can_change_unnoticed(bit: int) -> None:
    for at in range(len(TAIL)):
        altered = bytearray(TAIL)
        altered[at] ^= 1 << bit
        with pytest.raises(BlobDamagedError):
            seekable.decode_tail(bytes(altered), WHOLE)


@pytest.mark.parametrize("size", [WHOLE - 1, WHOLE + 1, 0, len(TAIL)])
def test_the_frames_must_fill_the_file(size: int) -> None:
    with pytest.raises(BlobDamagedError):
        seekable.decode_tail(TAIL, size)


@pytest.mark.parametrize("rows", [[], [(10, 0, 0)], [(10, 8 * 1024 * KIB + 1, 0)]], ids=["none", "empty", "too large"])
def test_tables_that_no_writer_makes_are_refused(rows: list[tuple[int, int, int]]) -> None:
    tail = seekable.encode_tail(DIGEST, entries_for(*rows))
    with pytest.raises(BlobDamagedError):
        seekable.decode_tail(tail, sum(row[0] for row in rows) + len(tail))


def test_a_foot_without_checksums_or_cut_short_is_no_table() -> None:
    for foot in (b"", TAIL[-8:], struct.pack("<IBI", 3, 0, 0x8F92EAB1), struct.pack("<IBI", 1 << 28, 0x80, 0x8F92EAB1)):
        with pytest.raises(BlobDamagedError):
            seekable.tail_bytes(foot)


def test_frames_grow_with_the_blob_and_stop_growing() -> None:
    assert seekable.frame_size(0) == seekable.frame_size(2 * GIB - 1) == 128 * KIB
    assert seekable.frame_size(2 * GIB) == seekable.frame_size(4 * GIB - 1) == 256 * KIB
    assert seekable.frame_size(4 * GIB) == 512 * KIB
    assert seekable.frame_size(64 * GIB) == seekable.frame_size(10_000 * GIB) == 8192 * KIB


def test_a_blob_of_128_gib_has_65536_frames_and_none_crosses_a_step() -> None:
    at = frames = 0
    while at < 128 * GIB:
        step = seekable.frame_size(at)
        assert seekable.frame_size(at + step - 1) == step
        at += step
        frames += 1
    assert (at, frames) == (128 * GIB, 65_536)
