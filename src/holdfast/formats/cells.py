"""A row of cells as bytes, and back: how rows lie with a keeper that somebody else has written (index/keeper.py).

Each cell is one letter and what it says: `n` nothing, `i` and `f` eight bytes, big-endian, of a whole number or a
double, `s` and `b` four bytes of length and then UTF-8 or plain bytes. So nothing is rounded and no sign is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

Cell = int | float | str | bytes | None

_NUMBER, _DOUBLE, _LENGTH = struct.Struct(">q"), struct.Struct(">d"), struct.Struct(">I")


def encode(cells: Iterable[Cell]) -> bytes:
    """The bytes of a row. Whole numbers have at most 64 bits, with the sign."""
    found: list[bytes] = []
    for cell in cells:
        if cell is None:
            found.append(b"n")
        elif isinstance(cell, int):
            found += (b"i", _NUMBER.pack(cell))
        elif isinstance(cell, float):
            found += (b"f", _DOUBLE.pack(cell))
        else:
            data = cell.encode() if isinstance(cell, str) else cell
            found += (b"s" if isinstance(cell, str) else b"b", _LENGTH.pack(len(data)), data)
    return b"".join(found)


def decode(data: bytes) -> tuple[Cell, ...]:
    """The row. ValueError for bytes that are none."""
    found: list[Cell] = []
    at, end = 0, len(data)
    while at < end:
        letter, at = data[at : at + 1], at + 1
        if letter == b"n":
            found.append(None)
            continue
        held, width = (data[at : at + 8], 8) if letter in (b"i", b"f") else (data[at : at + 4], 4)
        if len(held) < width or letter not in (b"i", b"f", b"s", b"b"):
            raise ValueError("no row of cells")
        at += width
        if width == 8:
            found.append((_NUMBER if letter == b"i" else _DOUBLE).unpack(held)[0])
            continue
        (length,) = _LENGTH.unpack(held)
        if at + length > end:
            raise ValueError("a row that ends early")
        part, at = data[at : at + length], at + length
        found.append(part.decode() if letter == b"s" else part)
    return tuple(found)
