"""Patterns that are compiled late are patterns: they match as one compiled at once, text or bytes."""

from __future__ import annotations

import re

import pytest

from holdfast.values import patterns


def test_a_pattern_matches_as_one_that_was_compiled_at_once() -> None:
    late, plain = patterns.later(r"(a+)(b)?", re.I), re.compile(r"(a+)(b)?", re.I)
    for text in ("", "a", "AAb", "c", "xab"):
        for way in ("match", "fullmatch", "search"):
            found, wanted = getattr(late, way)(text), getattr(plain, way)(text)
            assert (found and found.groups()) == (wanted and wanted.groups())
    assert late.pattern == plain.pattern
    assert [one.group() for one in late.finditer("aab ab")] == ["aab", "ab"]


def test_a_pattern_of_bytes_is_one_of_bytes() -> None:
    found = patterns.later(rb"([0-9]+)").search(b"x 12")
    assert found is not None
    assert found[1] == b"12"


def test_what_is_no_pattern_is_found_out_when_it_is_used() -> None:
    broken = patterns.later("(")
    with pytest.raises(re.error):
        broken.fullmatch("x")
