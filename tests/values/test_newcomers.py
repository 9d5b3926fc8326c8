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


def test_a_lone_surrogate_is_refused_as_in_any_change() -> None:
    new = Newcomers(["i"], ["c"], ["a\ud800"], ["d"], [1], ["m"], [None], [None], [""])
    with pytest.raises(InvalidValueError, match="name"):
        bodies.encode_all(new)
