"""How a value of metadata stands in a declared index, and where in it the values lie that may meet a condition.

Numbers stand as numbers, text by its beginning, all else as one byte for its sort: SQLite orders numbers before text
before bytes, each as conditions do. Equal values have equal keys, and of two of one sort the smaller never has the
larger key. So what lies outside of a span surely does not meet its condition; what lies inside is for Python to decide.
No number is read by SQLite itself, whose reading of decimal fractions differs from one of its versions to the next.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import Any

from holdfast.index import proof
from holdfast.values import canon, query
from holdfast.values.frozen import dataclass
from holdfast.values.query import MISSING, Compare

DECLARED = f"SELECT key, field, {proof.proven('metadata_index', 'm')} FROM metadata_index m WHERE live = 1 ORDER BY key"
"""The declared indexes that there are."""

Key = int | float | str | bytes

LONGEST = 100
"""Characters of a text that stand in an index."""

MOST_IN = 500
PREFIX = "metadata."
_EXACT = 1 << 53
_SURROGATES = (0xD800, 0xE000)


def key_of(value: Any) -> Key | None:
    """The key of a value; None for what no metadata can hold."""
    if value is None or isinstance(value, bool):
        return {None: b"n", False: b"f", True: b"t"}[value]
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, str):
        return _text(value)
    return b"a" if isinstance(value, list) else b"o" if isinstance(value, dict) else None


def _number(value: float) -> int | float | None:
    try:
        near = float(value)
    except OverflowError:
        near = float("inf") if value > 0 else float("-inf")
    if math.isnan(near):
        return None
    return int(near) if -_EXACT <= near <= _EXACT and near.is_integer() else near


def _text(value: str) -> str | None:
    # SQLite's own tools show a text up to its first NUL only.
    short = value.partition("\0")[0][:LONGEST]
    return short if _encodable(short) else None


def _encodable(text: str) -> bool:
    return text.isascii() or not any(_SURROGATES[0] <= ord(char) < _SURROGATES[1] for char in text)


@functools.lru_cache(1_000)
def steps_of(field: str) -> tuple[str | int, ...]:
    """The steps of a field `metadata.PATH`; InvalidQueryError if it is malformed."""
    return tuple(query.path_of(field.removeprefix(PREFIX)))


def key_in(metadata: dict[str, Any], field: str) -> Key | None:
    """The key of what a field has in some metadata; None if it has nothing."""
    found = query.dig(metadata, steps_of(field))
    return None if found is MISSING else key_of(found)


def parsed(text: str | None) -> dict[str, Any]:
    """The metadata that a revision's row holds as text."""
    found: dict[str, Any] = canon.decode(text) if text else {}
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """Keys that may meet a condition. `keys`: these; None: from `low` to `high`, which belongs to them if `closed`."""

    keys: tuple[Key, ...] | None = None
    low: Key | None = None
    high: Key | None = None
    closed: bool = False

    def sql(self, column: str) -> tuple[str, tuple[Key, ...]]:
        """The span as SQL about a column, and its parameters."""
        if self.keys is not None:
            marks = ", ".join("?" * len(self.keys))
            return (f"{column} = ?" if len(self.keys) == 1 else f"{column} IN ({marks})"), self.keys
        bounds = [(">=", self.low), ("<=" if self.closed else "<", self.high)]
        given = [(sign, key) for sign, key in bounds if key is not None]
        return " AND ".join(f"{column} {sign} ?" for sign, _ in given) or "1", tuple(key for _, key in given)

    def __and__(self, other: Span) -> Span:
        """What both leave, or a little more: SQLite looks at one bound on each side only."""
        if self.keys is not None or other.keys is not None:
            return self if self.keys is not None else other
        low = max((key for key in (self.low, other.low) if key is not None), key=_order, default=None)
        ended = [one for one in (self, other) if one.high is not None]
        least = min(ended, key=lambda one: _order(one.high), default=self)
        return Span(None, low, least.high, least.closed)


def _order(key: Key | None) -> tuple[int, Any]:
    """SQLite's order: numbers, text, bytes."""
    return (1 if isinstance(key, str) else 2 if isinstance(key, bytes) else 0), key


_NONE = Span(keys=())


def span_of(one: Compare) -> Span | None:
    """Where the values lie that may meet a comparison; None: anywhere, also where the field is missing."""
    value = one.value
    if one.op == "exists":
        return None if value is False else Span()
    if one.op in ("=", "in"):
        keys = {key for key in map(key_of, value if one.op == "in" else [value]) if key is not None}
        return Span(keys=tuple(sorted(keys, key=_order))) if len(keys) <= MOST_IN else None
    if one.op == "glob":
        return _begins(str(value))
    return _beyond(one.op, value) if one.op in ("<", "<=", ">", ">=") else None


def _beyond(op: str, value: Any) -> Span:
    key = None if isinstance(value, bool) or not isinstance(value, (int, float, str)) else key_of(value)
    if key is None:
        return _NONE
    first, end = ("", b"") if isinstance(key, str) else (None, "")
    return Span(low=first, high=key, closed=True) if op in ("<", "<=") else Span(low=key, high=end)


def _begins(pattern: str) -> Span:
    plain = min((pattern.find(sign) for sign in "*?[" if sign in pattern), default=len(pattern))
    start = _text(pattern[:plain])
    if start is None:
        return _NONE
    return Span(low=start, high=_after(start))


def _after(start: str) -> str | bytes:
    """What comes right after all texts that begin so."""
    bare = start.rstrip(chr(sys.maxunicode))
    if not bare:
        return b""
    following = ord(bare[-1]) + 1
    return bare[:-1] + chr(_SURROGATES[1] if following == _SURROGATES[0] else following)
