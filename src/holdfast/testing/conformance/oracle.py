"""What the right answers are, worked out with plain dicts and lists: it shares no code with what is tested.

A record here is a dict; a question is (field, operator, value). The rules are those of docs/queries.md, written down a
second time on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Record = dict[str, Any]
Question = tuple[str, str, Any]
ABSENT = object()

ODD_VALUES: list[Any] = [
    None, True, False, 0, -0.0, 1, 1.0, 2, -7, 0.1, 1e16, 10**16, 2**53, 2**53 + 1, 10**40, -(10**40), 1e300, 5e-324,
    "", "a", "A", "Z", "a b", "é", "e\u0301", "ß", "\uffff", "\U0001f600", "nul\0in it", "[x]", "1", "true", "null",
    [], [1], [1, "a"], {}, {"a": 1}, {"a": 1.0},
]  # fmt: skip
"""Metadata that a backend may get wrong: signs, kinds of numbers, texts that locales sort in other ways, NUL."""

ODD_NAMES = [
    "a",
    "A",
    "B",
    "b",
    "Z",
    "é",
    "e\u0301",
    "z",
    "ß",
    "ss",
    "\uffff",
    "\U0001f600",
    "10",
    "9",
    "_",
    "~",
    "a b",
]


def value_of(record: Record, field: str) -> Any:
    """What a record has in a field; ABSENT if nothing."""
    value: Any = record
    for step in field.split("."):
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, (int, float)):
        return "number"
    return type(value).__name__


def same(one: Any, other: Any) -> bool:
    """Equal and of one kind; numbers exactly."""
    if _kind(one) != _kind(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def identical(one: Any, other: Any) -> bool:
    """As it was given: 1 is not 1.0, and -0.0 not 0.0. The order of keys says nothing."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(identical(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return set(one) == set(other) and all(identical(one[key], other[key]) for key in one)
    return repr(one) == repr(other)


def fits(text: str, pattern: str) -> bool:
    """A glob of `*` and `?`, by trying every way."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(fits(text[cut:], pattern[1:]) for cut in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and fits(text[1:], pattern[1:])


def meets(record: Record, question: Question) -> bool:
    """Whether a record meets a condition."""
    field, operator, wanted = question
    found = value_of(record, field)
    if operator == "exists":
        return found is not ABSENT
    if operator == "!=":
        return found is ABSENT or not same(found, wanted)
    if found is ABSENT:
        return False
    if operator == "=":
        return same(found, wanted)
    if operator == "in":
        return any(same(found, one) for one in wanted)
    if operator == "glob":
        return isinstance(found, str) and fits(found, wanted)
    if _kind(found) != _kind(wanted) or _kind(found) not in ("number", "str"):
        return False
    less, equal = found < wanted, found == wanted
    return bool({"<": less, "<=": less or equal, ">": not less and not equal, ">=": not less}[operator])


def in_order(records: Iterable[Record], order: str) -> list[Record]:
    """`name` or `-name`: by the field, then by age, which turns round too. Text by code point."""
    field, down = order.removeprefix("-"), order.startswith("-")
    return sorted(records, key=lambda one: (one[field], one["age"]), reverse=down)


def reached(edges: Sequence[tuple[str, str]], start: str) -> dict[str, int]:
    """How far each node is that can be reached from one, by going on until nothing is new."""
    far = {start: 0}
    while True:
        new = {to: far[at] + 1 for at, to in edges if at in far and to not in far}
        if not new:
            return far
        far |= new
