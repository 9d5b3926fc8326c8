"""New rows that go in by columns: what a thousand of them say alike is checked, signed and handed over once.

Of the 46 cells that a new file brings 19 are its own; the others are the same for its neighbours (a kind, a type, a
folder) or the row's own key again. Texts of statements and forms of checksums follow from which are which.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any
from zlib import crc32

from holdfast.index import composing, proof
from holdfast.index.rows import Alike, Column

TOGETHER = 64
"""Rows that go in with one statement: each statement gives up the interpreter's lock once, and beside busy threads
getting it back costs more than the row."""

_FEW = 8
"""For so few rows a statement of their own is not worth composing: all their cells are handed over."""

_KEY, _ALIKE, _OWN = "k", "a", "o"
"""What a column is: the row's key, the same in all rows, or of each row's own."""

_INT = {int}


def write(connection: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]], more: str = "") -> None:
    """Insert whole rows, all cells but the checksum in order of the columns, and forget them.

    `more`: what the statement says behind the rows.
    """
    if not rows:
        return
    every = list(zip(*rows, strict=True))
    rows.clear()
    write_columns(connection, table, every, more)


def write_columns(
    connection: sqlite3.Connection, table: str, columns: Sequence[Column], more: str = ""
) -> None:  # fmt: skip
    """The same of columns, all of one type of sequence; the first has the keys."""
    count = _count(columns)
    if not count:
        return
    every, pattern, sums = _signed(table, columns, count)
    alike = [column[0] for column, what in zip(every, pattern, strict=True) if what == _ALIKE]
    own = [every[0], *(column for column, what in zip(every, pattern, strict=True) if what == _OWN), sums]
    cells = list(chain.from_iterable(zip(*own, strict=True)))
    width, start = len(own), 0
    size = TOGETHER
    while start < count:
        while size > count - start:
            size //= 2
        given = cells[start * width : (start + size) * width]
        connection.execute(_insertion(table, pattern, size, more), alike + given)
        start += size


def are_rows(table: str, columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether these are the rows, checksum and all, that `write_columns` makes of columns, in the same order."""
    count = _count(columns)
    if len(rows) != count or not count:
        return len(rows) == count
    sums = _signed(table, columns, count)[2]
    return all(map(_is_column, [*columns, sums], zip(*rows, strict=True)))


def each(columns: Sequence[Column]) -> list[Sequence[Any]]:
    """The cells of columns, also of those that say the same in all rows."""
    return [[one.value] * _count(columns) if isinstance(one, Alike) else one for one in columns]


def _count(columns: Sequence[Column]) -> int:
    return 0 if isinstance(columns[0], Alike) else len(columns[0])


def _is_column(wanted: Column, found: tuple[Any, ...]) -> bool:
    """Whether all cells are equal and of one type: 1 equals 1.0, and is not the same."""
    if isinstance(wanted, Alike):
        return found.count(wanted.value) == len(found) and {*map(type, found)} == {type(wanted.value)}
    if [*found] != wanted:
        return False
    return len({*map(type, found), *map(type, wanted)}) == 1 or [*map(type, found)] == [*map(type, wanted)]


def _signed(table: str, columns: Sequence[Column], count: int) -> tuple[list[Sequence[Any]], str, list[int]]:
    """(columns, what each is, checksums) of rows."""
    shown = count if count <= _FEW else 1  # one stands for all
    every: list[Sequence[Any]] = [[one.value] * shown if isinstance(one, Alike) else one for one in columns]
    pattern, forms = _pattern(every)
    return every, pattern, _checksums(table, every, pattern, forms)


def _pattern(every: Sequence[Sequence[Any]]) -> tuple[str, list[str]]:
    """What each column is; and how each stands in the text that a checksum is of."""
    keys, count = every[0], len(every[0])
    pattern, forms = [_KEY], ["%d" if type(keys[0]) is int else "%a"]
    for column in every[1:]:
        first, kinds = column[0], _INT if column is keys else {*map(type, column)}
        if count <= _FEW or len(kinds) > 1:
            what = _OWN  # a 1 may equal a 1.0 or a True that is written otherwise
        elif len(column) < count:
            what = _ALIKE
        elif kinds == _INT and column == keys:
            what = _KEY
        else:
            what = _ALIKE if first is None or column.count(first) == count else _OWN
        pattern.append(what)
        forms.append(ascii(first).replace("%", "%%") if what == _ALIKE else "%d" if kinds == _INT else "%a")
    return "".join(pattern), forms


def _checksums(table: str, every: Sequence[Sequence[Any]], pattern: str, forms: list[str]) -> list[int]:
    form = f"({table!a}, {', '.join(forms)})".encode()  # as bytes: a quarter less than as text
    given = zip(*[every[0] if what == _KEY else column for column, what in zip(every, pattern, strict=True)
                  if what != _ALIKE], strict=True)  # fmt: skip
    return [crc32(form % cells) for cells in given]


@functools.cache
def _insertion(table: str, pattern: str, rows: int, more: str) -> str:
    """What is alike comes first among the parameters, then of each row its key, its own cells and its checksum."""
    head = composing.insert(table, proof.COLUMNS[table], 1).rpartition(" VALUES ")[0]
    alike, own = pattern.count(_ALIKE), pattern.count(_OWN) + 2
    lines = []
    for number in range(rows):
        before = alike + number * own
        said, mine = iter(range(1, alike + 1)), iter(range(before + 2, before + own))
        marks = [before + 1 if what == _KEY else next(said if what == _ALIKE else mine) for what in pattern]
        lines.append(f"({', '.join(f'?{mark}' for mark in (*marks, before + own))})")
    return f"{head} VALUES {', '.join(lines)}{more}"
