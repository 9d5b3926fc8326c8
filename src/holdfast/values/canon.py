"""Canonical JSON: the one encoding for hashing, journal, export and the index.

Sorted keys (by code point), UTF-8, no spaces, shortest round-trip floats, integers of any size, `1` and `1.0` told
apart, `-0.0` kept. Refused, because they could not come back as given: NaN, infinities, lone surrogates, keys that
are not strings, tuples and other types. In the spirit of RFC 8785, which itself cannot keep integers beyond 2^53.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from holdfast.errors import InvalidValueError

JSON = Any
"""A JSON value: None, bool, int, float, str, list of these, dict of str to these."""

MAX_DEPTH = 200
"""Deeper nesting is refused: parsers of other tools give up soon after."""

_SHALLOW = 8
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

_BIG = 1 << 14_000
"""Integers beyond this have more digits than int() converts (4,300 by default); they take a slower way."""


def encode(value: JSON) -> bytes:
    """`value` as canonical JSON bytes; raises InvalidValueError naming the place."""
    return dumps(value).encode("utf-8")


def dumps(value: JSON) -> str:
    """`value` as canonical JSON text; raises InvalidValueError naming the place."""
    if not _is_plain(value, 0) and _check(value, "$", 0):
        return _dump_big(value)
    return _encode(value)


def trusted(value: JSON) -> bytes:
    """Canonical JSON of a value that this software made itself: same bytes, without the checks."""
    return _encode(value).encode("utf-8")


def decode(text: str | bytes) -> JSON:
    """The value of canonical JSON text; raises InvalidValueError if it is not JSON."""
    try:
        if not isinstance(text, str):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        elif text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark")
        found: JSON = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidValueError(f"not valid JSON: {error}", where="$", reason=str(error)) from error
    return found


def canonical(text: str) -> JSON:
    """The value of text that `dumps` made and that was proven since: as `decode`, at a third of the price."""
    try:
        found, end = _USUAL.raw_decode(text)
    except (ValueError, RecursionError):
        end = -1
    return found if end == len(text) else decode(text)


def _parse_int(digits: str) -> int:
    if len(digits) < 4_000:
        return int(digits)
    from decimal import Decimal  # noqa: PLC0415 - start-up time: hardly anybody has such numbers

    return int(Decimal(digits))


def _refuse_constant(name: str) -> JSON:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_int=_parse_int, parse_constant=_refuse_constant)
"""Made once: `json.loads` with these would make one for each call, at twice the price of reading a short text."""

_USUAL = json.JSONDecoder(parse_constant=_refuse_constant)
"""Makes whole numbers itself, instead of calling Python for each; it refuses those of more than 4,300 digits."""

_TEXT = frozenset({str})
_SCALARS = frozenset({bool, type(None)})


def _is_plain(value: JSON, depth: int) -> bool:
    """Whether nothing can be wrong with a value, at a glance. False: `_check` has to look, and say where."""
    items: Iterable[JSON] = value if type(value) is list else (value,)
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)) or not "".join(value).isascii():
            return False
        items = value.values()
    for item in items:
        kind = type(item)
        if kind is str:
            if not (item.isascii() or _encodes(item)):
                return False
        elif kind is int:
            if not -_BIG <= item <= _BIG:
                return False
        elif kind is float:
            if not math.isfinite(item):
                return False
        elif kind not in _SCALARS and (kind not in (dict, list) or depth >= _SHALLOW or not _is_plain(item, depth + 1)):
            return False
    return True


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check(value: JSON, where: str, depth: int) -> bool:
    """Refuse what JSON cannot give back; True if an integer is too big for the fast encoder."""
    kind = type(value)
    if kind is str:
        _check_text(value, where)
        return False
    if value is None or kind is bool:
        return False
    if kind is int:
        return bool(value > _BIG or value < -_BIG)
    if kind is float:
        if not math.isfinite(value):
            raise InvalidValueError(f"{where} is {value}: JSON has no such number", where=where, reason="not finite")
        return False
    if depth >= MAX_DEPTH:
        raise InvalidValueError(f"{where} is nested deeper than {MAX_DEPTH}", where=where, reason="too deep")
    if kind is dict:
        big = False
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidValueError(f"{where} has a key that is a {type(key).__name__}, not a str", where=where,
                                        reason="key")  # fmt: skip
            _check_text(key, where)
            big |= _check(item, f"{where}.{key}", depth + 1)
        return big
    if kind is list:
        # No short circuit: every item is checked, whatever the ones before said.
        return sum(_check(item, f"{where}[{n}]", depth + 1) for n, item in enumerate(value)) > 0
    raise InvalidValueError(f"{where} is a {kind.__name__}, which JSON cannot keep", where=where, reason="type")


def _check_text(text: str, where: str) -> None:
    if not (text.isascii() or _encodes(text)):  # raised here: Python's own error would bring the text along
        raise InvalidValueError(f"{where} has a lone surrogate", where=where, reason="surrogate")


def _dump_big(value: JSON) -> str:
    """The same encoding, with integers beyond int()'s limit on digits written by way of Decimal."""
    if type(value) is dict:
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_dump_big(value[k])}" for k in sorted(value)) + "}"
    if type(value) is list:
        return "[" + ",".join(map(_dump_big, value)) + "]"
    if type(value) is int and not -_BIG <= value <= _BIG:
        from decimal import Decimal  # noqa: PLC0415 - as above

        return str(Decimal(value))
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
