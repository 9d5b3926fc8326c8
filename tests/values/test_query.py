"""What conditions mean, decided in one place for every backend."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidQueryError
from holdfast.values import query
from holdfast.values.query import MISSING, Compare, field

BIG = 2**53


def met(condition: query.Condition, value: Any) -> bool:
    return condition.matches(lambda _: value)


@pytest.mark.parametrize(
    ("found", "op", "value", "expected"),
    [
        (BIG + 1, "=", BIG, False),
        (BIG + 1, ">", BIG, True),
        (BIG + 1, "=", float(BIG), False),
        (10**400 + 1, ">", 10**400, True),
        (10**400, ">", 1.7976931348623157e308, True),
        (1, "=", 1.0, True),
        (0.1, "<", 0.30000000000000004, True),
        (-0.0, "=", 0, True),
        (True, "=", 1, False),
        (1, "=", True, False),
        (True, "=", True, True),
        (True, ">", False, False),
        ("1", "=", 1, False),
        ("10", "<", "9", True),
        ("a", "<", 5, False),
        ("é", ">", "z", True),
        ("\U0001f600", ">", "\uffff", True),
        (None, "=", None, True),
        (None, "=", False, False),
        (None, "<=", None, False),
        ([1], "=", [1], True),
        ([1], "=", [True], False),
        ({"a": [1]}, "=", {"a": [1.0]}, True),
        ({"a": 1}, "=", {"a": True}, False),
        ("report.md", "glob", "*.md", True),
        ("report.MD", "glob", "*.md", False),
        ("a\nb", "glob", "a?b", True),
        ("]", "glob", "[]]", True),
        (7, "glob", "7", False),
        (2, "in", [1, 2.0], True),
        (True, "in", [1], False),
        (None, "in", [None], True),
    ],
)
def test_values_are_compared_exactly_and_only_within_their_sort(
    found: Any, op: str, value: Any, expected: bool
) -> None:
    assert met(Compare("x", op, value), found) is expected
    if op == "=":
        assert met(Compare("x", "!=", value), found) is not expected


@pytest.mark.parametrize("op", ["=", "<", "<=", ">", ">=", "glob"])
def test_a_missing_field_meets_nothing_but_unequal(op: str) -> None:
    assert not met(Compare("x", op, "v"), MISSING)
    assert not met(Compare("x", "in", [None]), MISSING)
    assert met(Compare("x", "!=", "v"), MISSING)
    assert not met(field("x").exists(), MISSING)
    assert met(field("x").exists(), None), "null is a value"


def test_a_field_of_many_values_meets_what_one_of_them_meets() -> None:
    tags = ("draft", "x1")

    assert met(field("tag") == "draft", tags)
    assert met(field("tag").glob("x*"), tags)
    assert not met(field("tag") != "draft", tags)
    assert met(field("tag") != "final", tags)


@given(st.integers(), st.integers(), st.integers())
def test_and_or_and_not_are_those_of_logic(value: int, low: int, high: int) -> None:
    above, below = field("x") > low, field("x") < high

    assert met(above & below, value) == (low < value < high)
    assert met(above | below, value) == (value > low or value < high)
    assert met(~above, value) == (not value > low)
    assert met(~(above & below), value) == met(~above | ~below, value)


def test_times_are_compared_as_instants() -> None:
    moment = datetime(2025, 1, 1, tzinfo=UTC)

    assert met(field("created") >= moment, moment)
    assert not met(field("created") > moment, moment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size>1000", Compare("size", ">", 1000)),
        ("size >= 1000", Compare("size", ">=", 1000)),
        ("metadata.score=0.5", Compare("metadata.score", "=", 0.5)),
        ("name=report.md", Compare("name", "=", "report.md")),
        ('name="7"', Compare("name", "=", "7")),
        ("name!=x", Compare("name", "!=", "x")),
        ("name glob *.md", Compare("name", "glob", "*.md")),
        ("name glob 7", Compare("name", "glob", "7")),
        ('status in ["a", "b"]', Compare("status", "in", ["a", "b"])),
        ("metadata.x exists", Compare("metadata.x", "exists", True)),
        (f"n={BIG + 1}", Compare("n", "=", BIG + 1)),
        ("flag=true", Compare("flag", "=", True)),
        ("flag=null", Compare("flag", "=", None)),
        ("a= b c ", Compare("a", "=", "b c")),
        ("a=", Compare("a", "=", "")),
        ("a=NaN", Compare("a", "=", "NaN")),
    ],
)
def test_text_becomes_a_condition(text: str, expected: Compare) -> None:
    found = query.parse(text)

    assert (found.field, found.op) == (expected.field, expected.op)
    assert found.value == expected.value
    assert type(found.value) is type(expected.value)


@pytest.mark.parametrize("text", ["", "x", "=5", "x ~ 5", "status in a", "status in 5", " > 1"])
def test_text_that_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryError):
        query.parse(text)


def test_an_unknown_operator_and_an_in_without_a_list_are_refused() -> None:
    for op, value in (("~", 1), ("==", 1), ("in", 5), ("in", "abc")):
        with pytest.raises(InvalidQueryError):
            Compare("x", op, value)


NOISY = st.one_of(st.text(), st.text(' abx_.=!<>"[]\\0123456789{}:,intglobexists\n'))


@given(NOISY)
@example("a=" + "[" * 5000)
@example("a=" + "9" * 5000)
@example('a="\\ud800"')
def test_any_text_at_all_gives_a_condition_or_an_invalid_query(text: str) -> None:
    try:
        found = query.parse(text)
    except InvalidQueryError:
        return
    assert found.op in query.OPERATORS
    for value in (MISSING, None, 1, "x", ["x"], ("t",)):
        assert met(found, value) in (True, False)


@given(NOISY)
@example('"\\q"')
@example('a."\x01"')
@example("a[" + "9" * 5000 + "]")
@example("a[٣]")
def test_any_text_at_all_is_a_path_or_an_invalid_query(text: str) -> None:
    try:
        steps = query.path_of(text)
    except InvalidQueryError:
        return
    assert steps
    assert query.dig({"a": [1]}, steps) is not None


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 5), min_size=1, max_size=5))
@settings(max_examples=60)
def test_a_path_leads_where_its_steps_say(steps: list[str | int]) -> None:
    text = "".join(
        f"[{step}]" if isinstance(step, int) else f".{json.dumps(step, ensure_ascii=False)}" for step in steps
    )
    value: Any = "here"
    for step in reversed(steps):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]

    assert query.path_of(text.removeprefix(".")) == steps
    assert query.dig(value, steps) == "here"
    assert query.dig("elsewhere", steps) is MISSING
