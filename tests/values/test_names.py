"""A name is whatever a POSIX file system can hold, and nothing that it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import InvalidNameError
from holdfast.values import names

RAW_NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)


@given(RAW_NAMES)
def test_every_name_keeps_its_bytes_and_has_a_form_that_can_be_shown(raw: bytes) -> None:
    name = names.parse(raw)

    assert name.raw == raw
    name.text.encode("utf-8")
    assert names.parse(os.fsdecode(raw)) == name, "Python's own form of the name means the same"
    assert (name.stray == b"") == (raw.decode("utf-8", "replace").encode() == raw)


@pytest.mark.parametrize("byte", range(1, 256))
def test_each_single_byte_but_slash_is_a_name_or_a_part_of_one(byte: int) -> None:
    raw = bytes([byte])

    for candidate in {raw, b"a" + raw, raw + b"\n"} - {b"."}:
        if b"/" in candidate:
            with pytest.raises(InvalidNameError):
                names.parse(candidate)
        else:
            assert names.parse(candidate).raw == candidate


@pytest.mark.parametrize("bad", ["", ".", "..", "a/b", "a\0b", "x" * 256, "é" * 128, b"", b"\0", b"a/b", "\ud800"])
def test_what_no_file_system_can_hold_is_refused_with_its_reason(bad: str | bytes) -> None:
    with pytest.raises(InvalidNameError) as caught:
        names.parse(bad)

    assert caught.value.fields["reason"]
    str(caught.value).encode("utf-8")


def test_the_longest_name_has_255_bytes_not_characters() -> None:
    assert names.parse("x" * 255).raw == b"x" * 255
    assert names.parse("é" * 127).raw == "é".encode() * 127


def test_a_stray_byte_and_its_written_form_are_two_names_that_look_alike() -> None:
    stray, written = names.parse(b"\xff"), names.parse("\\xff")

    assert stray.text == written.text
    assert stray != written
    assert stray.raw == b"\xff"


@given(st.lists(RAW_NAMES, max_size=6))
def test_a_path_is_its_names(parts: list[bytes]) -> None:
    path = b"/".join(parts)

    assert names.join_raw(names.parse_path(path)) == path
    assert [name.raw for name in names.parse_path(os.fsdecode(path))] == parts


@pytest.mark.parametrize("path", ["/a", "a/", "a//b", "./a", "a/..", "/"])
def test_a_path_with_an_empty_or_relative_step_is_refused(path: str) -> None:
    with pytest.raises(InvalidNameError):
        names.parse_path(path)


def test_what_is_taken_is_what_this_file_system_takes(tmp_path: Path) -> None:
    for raw in (b"\xff\xfe", b"\n", b" ", b"a\\b", "\U0001f600".encode(), b"x" * 255):
        (tmp_path / os.fsdecode(raw)).touch()
        assert names.parse(raw).raw in os.listdir(os.fsencode(tmp_path))


@given(st.lists(RAW_NAMES | st.text(min_size=1).map(str.encode).filter(lambda raw: b"/" not in raw), max_size=5))
def test_many_names_are_what_each_is_alone(raws: list[bytes]) -> None:
    assert names.from_raws(raws) == [names.from_raw(raw) for raw in raws]
