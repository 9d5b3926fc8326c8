"""Chapter 1 of store-layout.md: every name in a store is ours, short, lower case and the same on any file system."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.formats import paths

DIGESTS = st.binary(min_size=32, max_size=32)


@given(DIGESTS)
def test_a_loose_blob_lies_where_its_digest_says_and_its_name_says_its_digest(raw: bytes) -> None:
    folder, shard, name = paths.blob_file(raw).split("/")

    assert (folder, shard, name) == ("blobs", raw.hex()[:2], f"{raw.hex()}.zst")
    assert paths.blob_file(raw).startswith(paths.blob_folder(raw) + "/")
    assert paths.parse_blob_file(shard, name) == raw


@given(DIGESTS)
def test_a_blob_in_the_wrong_folder_or_under_another_name_is_none(raw: bytes) -> None:
    name = f"{raw.hex()}.zst"
    other = f"{raw[0] ^ 1:02x}"

    assert paths.parse_blob_file(other, name) is None
    for bad in (name.upper(), name[1:], name + "x", name.removesuffix(".zst"), "x" + name, name + "\n"):
        assert paths.parse_blob_file(name[:2], bad) is None


@given(st.integers(1, 10**16 - 1), st.booleans())
def test_a_segment_is_named_after_its_first_seq(first: int, sealed: bool) -> None:
    folder, name = paths.segment_file(first, sealed=sealed).split("/")

    assert folder == "journal"
    assert paths.parse_segment(name) == (first, sealed)


@given(st.lists(st.integers(1, 10**16 - 1), unique=True))
def test_segments_sort_by_name_as_by_number(firsts: list[int]) -> None:
    files = [paths.segment_file(first) for first in firsts]

    assert sorted(files) == [paths.segment_file(first) for first in sorted(firsts)]


@pytest.mark.parametrize(
    "name", ["1.jsonl", "0" * 16 + ".json", "0" * 16 + ".jsonl.gz", "x" * 16 + ".jsonl", "0" * 16 + ".jsonl\n", ""]
)
def test_other_files_beside_the_segments_are_none(name: str) -> None:
    assert paths.parse_segment(name) is None


def test_every_name_survives_a_file_system_that_folds_case() -> None:
    fixed = (paths.MARKER, *paths.DATABASES, *paths.FOLDERS, paths.WRITER_LOCK, paths.HANDLES_LOCK)

    assert all(re.fullmatch(r"[a-z0-9./]{1,32}", one) for one in fixed)
    assert len({one.casefold() for one in fixed}) == len(fixed)


@given(st.binary(min_size=8, max_size=8), st.integers(0, 1 << 40), st.integers(1, 1 << 30))
def test_names_of_repacked_packs_come_before_all_others_and_newer_ones_before_older(
    drawn: bytes, now_s: int, later_s: int
) -> None:
    plain, repacked = paths.pack_name(drawn), paths.repacked_name(drawn[:3], now_s % (1 << 35))
    assert (paths.is_repacked(plain), paths.is_repacked(repacked)) == (False, True)
    assert paths.parse_pack(f"{plain}.zst") == plain
    assert paths.parse_pack(f"{repacked}.zst") == repacked
    assert paths.repacked_name(b"\xff" * 3, now_s % (1 << 35) + later_s) < paths.repacked_name(
        bytes(3), now_s % (1 << 35)
    )
    assert repacked < plain
