"""Queries as values: conditions on fields, combined, and what they mean. One meaning for every backend.

A comparison holds only between values of one sort: numbers with numbers (exactly, however large), text with text (by
code point), booleans with booleans, null with null. `!=` holds whenever `=` does not. A missing field fails every
comparison but `!=`. Backends may narrow a search as they can; what they cannot decide exactly is decided here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.errors import InvalidQueryError, InvalidValueError
from holdfast.values import canon, patterns
from holdfast.values.frozen import dataclass

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "glob", "exists")


class _Missing:
    """The value of a field that a record does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Condition:
    """Something that a record meets or not. Combine with `&`, `|` and `~`."""

    __slots__ = ()

    def __and__(self, other: Condition) -> All:
        return All((self, other))

    def __or__(self, other: Condition) -> Any_:
        return Any_((self, other))

    def __invert__(self) -> Not:
        return Not(self)

    def matches(self, read: Callable[[str], Any]) -> bool:
        """Whether a record meets the condition; `read` gives the value of a field, or MISSING."""
        raise NotImplementedError

    def fields(self) -> set[str]:
        """The fields that the condition looks at."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is answered. `steps`: what the database does, in its words; `indexes`: which it uses, by name.

    A declared index goes by its field.

    `scans`: tables that it goes through from one end to the other until enough is found. What a condition says beyond
    the steps is decided on each record that they give.
    """

    steps: tuple[str, ...]
    indexes: tuple[str, ...]
    scans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compare(Condition):
    """One field compared with one value."""

    field: str
    op: str
    value: Any = None

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise InvalidQueryError(f"{self.op!r} is no operator", query=self.op, reason="operator")
        if self.op == "in" and not isinstance(self.value, (list, tuple)):
            raise InvalidQueryError(f"`in` wants a list, not {self.value!r}", query=self.field, reason="value")

    def matches(self, read: Callable[[str], Any]) -> bool:
        """Whether the field's value stands to `value` as the operator says."""
        found = read(self.field)
        if self.op == "exists":
            return (found is not MISSING) == (self.value is not False)
        if self.op == "!=":
            return not equal(found, self.value)
        if found is MISSING:
            return False
        # A field with several values (tags) meets a condition if one of them does.
        many = found if isinstance(found, (tuple, frozenset)) else (found,)
        return any(_holds(one, self.op, self.value) for one in many)

    def fields(self) -> set[str]:
        """The one field."""
        return {self.field}


@dataclass(frozen=True, slots=True)
class All(Condition):
    """Every part holds."""

    parts: tuple[Condition, ...]

    def matches(self, read: Callable[[str], Any]) -> bool:
        """Whether every part holds."""
        return all(part.matches(read) for part in self.parts)

    def fields(self) -> set[str]:
        """The fields of all parts."""
        return set().union(*(part.fields() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Any_(Condition):  # noqa: N801
    """At least one part holds."""

    parts: tuple[Condition, ...]

    def matches(self, read: Callable[[str], Any]) -> bool:
        """Whether at least one part holds."""
        return any(part.matches(read) for part in self.parts)

    def fields(self) -> set[str]:
        """The fields of all parts."""
        return set().union(*(part.fields() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part does not hold."""

    part: Condition

    def matches(self, read: Callable[[str], Any]) -> bool:
        """Whether the part does not hold."""
        return not self.part.matches(read)

    def fields(self) -> set[str]:
        """The fields of the part."""
        return self.part.fields()


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field to compare: `field("size") > 1000`, `field("metadata.author.name") == "Ada"`."""

    name: str

    def __eq__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare(self.name, "=", value)

    def __ne__(self, value: object) -> Compare:  # type: ignore[override]
        return Compare(self.name, "!=", value)

    def __lt__(self, value: Any) -> Compare:
        return Compare(self.name, "<", value)

    def __le__(self, value: Any) -> Compare:
        return Compare(self.name, "<=", value)

    def __gt__(self, value: Any) -> Compare:
        return Compare(self.name, ">", value)

    def __ge__(self, value: Any) -> Compare:
        return Compare(self.name, ">=", value)

    __hash__ = None  # type: ignore[assignment]

    def is_in(self, values: list[Any]) -> Compare:
        """The field's value is one of these."""
        return Compare(self.name, "in", list(values))

    def glob(self, pattern: str) -> Compare:
        """The field's text fits a pattern of `*`, `?` and `[…]`; case matters."""
        return Compare(self.name, "glob", pattern)

    def exists(self) -> Compare:
        """The record has the field."""
        return Compare(self.name, "exists", True)  # noqa: FBT003


def field(name: str) -> Field:
    """A field of a record, to build conditions with: see docs/queries.md for the names."""
    return Field(name)


@dataclass(frozen=True, slots=True)
class Order:
    """A total order: by a field, then by age. Equal records are told apart by the seq of their creation."""

    field: str = "created"
    descending: bool = False


@functools.lru_cache(64)
def order(text: str) -> Order:
    """`name` ascending, `-name` descending."""
    return Order(text.removeprefix("-"), text.startswith("-"))


# Texts, which `re` compiles when they are first used: it would take longer than all else in this module.
_TEXT = r"\s*(?P<field>[^\s=!<>]+?)\s*(?P<op>!=|<=|>=|=|<|>|\s(?:in|glob|exists)(?=\s|$))\s*(?P<value>.*)"
_PLAIN_STEP = r'[^.\[\]"\s=!<>]+'


def parse(text: str) -> Compare:
    """A condition from text: FIELD OP VALUE, the value as JSON or, if it is none, as plain text."""
    try:
        match = re.fullmatch(_TEXT, text, re.S)
    except TypeError:
        match = None
    if match is None:
        raise InvalidQueryError(
            f"{text!r} is no condition",
            query=text,
            reason="form",
            remedy="Write FIELD OP VALUE, e.g. metadata.score>=0.5.",
        )
    raw, op = match["value"].strip(), match["op"].strip()
    if op == "exists":
        return Compare(match["field"], op, True)  # noqa: FBT003
    try:
        value = canon.decode(raw)
    except InvalidValueError:
        value = raw
    return Compare(match["field"], op, str(raw) if op == "glob" else value)


def _sort_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return type(value).__name__
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def equal(found: Any, value: Any) -> bool:
    """Whether a value that was found is what `=` asks for; of several, whether one is."""
    if isinstance(found, (tuple, frozenset)):
        return any(equal(one, value) for one in found)
    if _sort_of(found) != _sort_of(value):
        return False
    if isinstance(found, list):
        return len(found) == len(value) and all(map(equal, found, value))
    if isinstance(found, dict):
        return found.keys() == value.keys() and all(equal(found[key], value[key]) for key in found)
    return bool(found == value)


def _holds(found: Any, op: str, value: Any) -> bool:
    if op == "=":
        return equal(found, value)
    if op == "in":
        return any(equal(found, one) for one in value)
    if op == "glob":
        return isinstance(found, str) and _glob(str(value)).fullmatch(found) is not None
    if _sort_of(found) != _sort_of(value) or _sort_of(found) not in ("number", "str", "datetime"):
        return False
    return bool({"<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value}[op])


def _glob(pattern: str) -> re.Pattern[str]:
    import fnmatch  # noqa: PLC0415 - start-up time

    return re.compile(fnmatch.translate(pattern))


_STEP = patterns.later(r'"((?:[^"\\]|\\.)*)"|\[([0-9]{1,18})\]|([^.\[\]"]+)', re.S)


def _unquoted(quoted: str, field_name: str) -> str:
    try:
        return str(canon.decode(f'"{quoted}"'))
    except InvalidValueError as error:
        raise InvalidQueryError(f"{field_name!r} is no path: {error}", query=field_name, reason="quotes") from error


def path_of(field_name: str) -> list[str | int]:
    """The steps of a metadata path: `a.b[0]."x.y"`; InvalidQueryError if it is malformed."""
    steps: list[str | int] = []
    position = 0
    while position < len(field_name):
        match = _STEP.match(field_name, position)
        if match is None:
            raise InvalidQueryError(f"{field_name!r} is no path", query=field_name, reason=f"at {position}")
        quoted, index, plain = match.groups()
        steps.append(int(index) if index is not None else plain if plain is not None else _unquoted(quoted, field_name))
        position = match.end()
        if field_name[position : position + 1] == ".":
            position += 1
    if not steps:
        raise InvalidQueryError("an empty path", query=field_name, reason="empty")
    return steps


def path_text(steps: list[str | int]) -> str:
    """The path of some steps: what `path_of` takes apart, quoted only where it must be."""
    shown = ""
    for step in steps:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            plain = step.isprintable() and re.fullmatch(_PLAIN_STEP, step)
            shown += ("." if shown else "") + (step if plain else canon.dumps(step))
    return shown


def dig(value: Any, steps: Sequence[str | int]) -> Any:
    """The part of a JSON value that a path leads to; MISSING if there is none."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return MISSING
            value = value[step]
        else:
            if not isinstance(value, dict) or step not in value:
                return MISSING
            value = value[step]
    return value
