"""Columns of new artifacts say what the changes say that they stand for: the same bytes, the same rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidValueError
from holdfast.index.apply import artifacts
from holdfast.index.rows import Alike
from holdfast.values import bodies, canon
from holdfast.values.newcomers import Newcomers

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ID = st.integers(0, (1 << 128) - 1).map(lambda number: str(uuid.UUID(int=number)))
DIGEST = st.integers(0, 7).map(lambda number: f"sha256:{number:064x}")
NUMBER = st.none() | st.integers(-5, 5) | st.integers(-(1 << 70), 1 << 70)
SOURCE = st.just("") | TEXT | TEXT.map(lambda text: f"/there/{text}")


@st.composite
def newcomers(draw: st.DrawFn, number: st.SearchStrategy[Any] = NUMBER) -> Newcomers:
    count = draw(st.integers(0, 6))
    return Newcomers(*(
        draw(st.lists(one, min_size=count, max_size=count))
        for one in (ID, ID, TEXT, DIGEST, st.integers(0, 1 << 62), TEXT, number, number, SOURCE)
    ))  # fmt: skip


class Keys:
    """Keys that tell what was asked for, and by whom first: whatever is known, is known of both."""

    def __init__(self, known: dict[str, int]) -> None:
        self.terms = MappingProxyType(known)
        self._given: dict[tuple[Any, ...], Any] = {}

    def key(self, seq: int, record_id: str) -> Any:
        return self._given.setdefault(("key", record_id), ("key", seq, record_id))

    def term(self, seq: int, text: str, slot: int) -> Any:
        known = self.terms.get(text)
        return self._given.setdefault(("term", text, slot), ("term", seq, text, slot)) if known is None else known

    def content(self, seq: int, digest: str, size: int) -> Any:
        return ("content", seq, digest, size)

    def contents(self, seqs: Sequence[int], digests: Sequence[str], sizes: Sequence[int]) -> list[Any]:
        return [self.content(*one) for one in zip(seqs, digests, sizes, strict=True)]


@settings(max_examples=60)
@given(newcomers(NUMBER | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)))
def test_their_bytes_are_canonical_json_of_each_change(new: Newcomers) -> None:
    assert bodies.encode_all(new) == [canon.encode(body) for body in new]


@settings(max_examples=60)
@given(newcomers(), st.integers(1, 1 << 40), st.dictionaries(TEXT, st.integers(0, 99), max_size=3))
def test_their_cells_are_those_of_the_reducer_of_one_change(new: Newcomers, first: int, known: dict[str, int]) -> None:
    one, every = Keys({"": 0, "file": 17, **known}), Keys({"": 0, "file": 17, **known})
    one_by_one = [artifacts.creation(seq, body, one) for seq, body in enumerate(new, first)]
    found = artifacts.creations(first, new, every)
    for place, table in enumerate(("record", "artifact", "revision")):
        columns = [[one.value] * len(new) if isinstance(one, Alike) else one for one in found.get(table, [])]
        assert list(zip(*columns, strict=True)) == [rows[place] for rows in one_by_one]


BARE = (
    b'{"action":"create","id":"","kind":"artifact","new":{"collection":"","name":"","revision":'
    b'{"digest":"","media_type":"","size":0},"status":"active","type":"file"}}'
)
OTHERS = st.sampled_from([b"", b"{}", b'""', b"null", b'{"action":"create"}', BARE])


def refusals(new: Newcomers) -> list[bytes]:
    """Lines that nearly say what newcomers do."""
    every = bodies.encode_all(new)
    changes = (
        (b'"type":"file"', b'"type":"note"'),
        (b"create", b"update"),
        (b'"size":', b'"size":0'),
        (b'"new":{', b'"new":{"b":1,'),
        (b'"id":', b'"id": '),
        (b'"artifact"', b'"run"'),
        (b"}", b""),
    )
    return [line.replace(*change) for line in every[:1] for change in changes]


@settings(max_examples=80)
@given(st.lists(newcomers() | OTHERS, max_size=5))
def test_bodies_are_told_apart_without_a_word_being_lost(parts: list[Newcomers | bytes]) -> None:
    lines: list[bytes] = []
    for part in parts:
        lines += [part] if isinstance(part, bytes) else [*bodies.encode_all(part), *refusals(part)]
    seen: list[bytes] = []
    for new, run in bodies.told_apart(lines):
        assert run
        seen += run
        if new is not None:
            assert [canon.encode(body) for body in new] == [canon.encode(canon.decode(line)) for line in run]
            assert bodies.encode_all(new) == list(run)
    assert seen == lines


@settings(max_examples=40)
@given(newcomers(st.none() | st.integers(-(10**18), 10**18)))
def test_nearly_all_newcomers_are_had_as_columns(new: Newcomers) -> None:
    lines = bodies.encode_all(new)
    apart = [line for found, run in bodies.told_apart(lines) for line in run if found is None]
    assert all(b"\\" in line for line in apart)  # a text that needed to be escaped


def test_a_lone_surrogate_is_refused_as_in_any_change() -> None:
    new = Newcomers(["i"], ["c"], ["a\ud800"], ["d"], [1], ["m"], [None], [None], [""])
    with pytest.raises(InvalidValueError, match="name"):
        bodies.encode_all(new)
