"""Keys of declared indexes as bytes whose order is the order of the keys: numbers, then text, then the rest.

SQLite keeps a key as what it is and orders numbers before text before bytes. A column of PostgreSQL has one type, so a
byte for the sort comes first; a number follows as its IEEE 754 double, big-endian, with its sign bit turned if it is
positive and all bits turned if not. Text follows as UTF-8, whose order is that of code points.
"""

from __future__ import annotations

import struct

from holdfast.index.metadata import Key

_DOUBLE = struct.Struct(">d")
_WORD = struct.Struct(">Q")
_SIGN = 1 << 63
_ALL = (1 << 64) - 1
_EXACT = 1 << 53


def encoded(key: Key) -> bytes:
    """The bytes that stand for a key; the function `sortable` of the schema gives the same."""
    if isinstance(key, str):
        return b"\x02" + key.encode()
    if isinstance(key, bytes):
        return b"\x03" + key
    bits = _WORD.unpack(_DOUBLE.pack(float(key)))[0]
    return b"\x01" + _WORD.pack(bits ^ _ALL if bits & _SIGN else bits | _SIGN)


def decoded(data: bytes) -> Key:
    """The key that bytes stand for."""
    if data[:1] == b"\x02":
        return data[1:].decode()
    if data[:1] == b"\x03":
        return data[1:]
    bits = _WORD.unpack(data[1:])[0]
    number: float = _DOUBLE.unpack(_WORD.pack(bits & ~_SIGN if bits & _SIGN else bits ^ _ALL))[0]
    return int(number) if -_EXACT <= number <= _EXACT and number.is_integer() else number
