"""One encoding for hashing, journal, export and index: what goes in comes back, types included, or is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidValueError
from holdfast.values import canon

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HUGE = st.integers(min_value=0, max_value=40_000).map(lambda n: 3**n)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), HUGE, HUGE.map(int.__neg__), TEXT,
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


def same(left: Any, right: Any) -> bool:
    """Equal, types and signs of zero included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(VALUES)
@example(-0.0)
@example([1, 1.0, True, 1e16, 10**16, 5e-324, 1.7976931348623157e308])
@example(10**5000)
@example({"": {"\x00": "\x1f\x7f\u2028\U0001f600"}})
def test_every_json_value_comes_back_as_it_was(value: Any) -> None:
    assert same(canon.decode(canon.encode(value)), value)


@given(VALUES)
@example([1, 1.0, True, 1e16, 10**16])
@example(-(10**5000))
def test_text_that_was_proven_gives_the_same_value_more_quickly(value: Any) -> None:
    assert same(canon.canonical(canon.dumps(value)), value)


@given(VALUES)
def test_equal_values_have_one_encoding_whatever_their_history(value: Any) -> None:
    again = canon.decode(canon.encode(value))

    assert canon.encode(again) == canon.encode(value)


@given(st.dictionaries(TEXT, st.integers(), min_size=2))
def test_the_order_of_keys_is_that_of_code_points(value: dict[str, int]) -> None:
    turned = dict(reversed(value.items()))

    assert canon.encode(turned) == canon.encode(value)
    assert list(canon.decode(canon.encode(turned))) == sorted(value)


def test_the_encoding_is_fixed_to_the_byte() -> None:
    value = {"b": [1, 1.0, -0.0, 1e16, True, None], "a": 'é\n"\\\x00/\U0001f600', "": 10**20}

    assert canon.encode(value) == (
        '{"":100000000000000000000,"a":"é\\n\\"\\\\\\u0000/\U0001f600","b":[1,1.0,-0.0,1e+16,true,null]}'.encode()
    )


def test_numbers_that_are_equal_in_python_but_not_the_same_have_different_encodings() -> None:
    assert len({canon.encode(value) for value in (1, 1.0, True, "1")}) == 4
    assert canon.encode(0.0) != canon.encode(-0.0)
    assert canon.encode(10**16) != canon.encode(1e16)


@pytest.mark.parametrize("digits", [4_299, 4_300, 4_301, 20_000])
def test_an_integer_of_more_digits_than_python_prints_is_kept(digits: int) -> None:
    value = {"n": [10**digits - 1, -(10**digits) + 1], "m": 1.5}
    encoded = canon.encode(value)

    assert encoded == b'{"m":1.5,"n":[' + b"9" * digits + b",-" + b"9" * digits + b"]}"
    assert canon.decode(encoded) == value


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, float("nan")]}, "$.a[1]"),
        ([float("inf")], "$[0]"),
        ({"x": -float("inf")}, "$.x"),
        ({"x": "\ud800"}, "$.x"),
        ({"\udcff": 1}, "$"),
        ({"x": (1, 2)}, "$.x"),
        ({1: 2}, "$"),
        ([b"bytes"], "$[0]"),
        ({"x": {1, 2}}, "$.x"),
        ([10**5000, object()], "$[1]"),
    ],
)
def test_what_could_not_come_back_is_refused_and_the_place_named(value: Any, place: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        canon.encode(value)

    assert caught.value.fields["where"] == place


def test_nesting_is_kept_to_a_limit_and_refused_beyond_it_also_when_it_never_ends() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    endless: list[Any] = []
    endless.append(endless)

    assert canon.decode(canon.encode(nested(canon.MAX_DEPTH))) == nested(canon.MAX_DEPTH)
    for value in (nested(canon.MAX_DEPTH + 1), endless):
        with pytest.raises(InvalidValueError, match="nested"):
            canon.encode(value)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "NaN", "Infinity", "{'a':1}", b"\xff", "1 2", "[" * 100_000])
def test_what_is_no_json_is_an_invalid_value_and_nothing_else(text: str | bytes) -> None:
    with pytest.raises(InvalidValueError):
        canon.decode(text)


@given(VALUES)
@settings(max_examples=30)
def test_other_json_readers_understand_it(value: Any) -> None:
    if "9" * 4000 not in canon.dumps(value) and len(canon.dumps(value)) < 4_000:
        assert json.loads(canon.encode(value)) == value
