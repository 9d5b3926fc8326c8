"""Statements for rows, composed once for each shape in a process: a handful of shapes in all.

The names of tables and columns come from the migrations. Peewee would compose the same, which a test says, but a
command that puts one file would wait longer for it than for all its statements (docs/design/048).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.index import proof
from holdfast.index.rows import Cell, Cells
from holdfast.values.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns as Peewee lays them out, in the order of the model's fields, whatever order they are given in.

    `given` takes their cells out of an operation; `signed`, out of (*cells, None), those that a row's checksum covers,
    in its order; None: no checksum.
    """

    columns: tuple[str, ...]
    given: Callable[[Cells], tuple[Cell, ...]]
    signed: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None


@functools.cache
def layout(table: str, given: tuple[str, ...]) -> Layout:
    """How cells for some columns of a table are laid out."""
    columns = tuple(sorted(given, key=proof.EVERY[table].index))
    places = {column: place for place, column in enumerate(columns)}
    signed = [places.get(column, len(columns)) for column in proof.COLUMNS.get(table, ())]
    return Layout(columns, _getter(columns), _getter(signed) if signed else None)


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """What takes these out, always as a tuple."""
    if len(keys) > 1:
        return operator.itemgetter(*keys)
    return lambda found: tuple(found[key] for key in keys)


@functools.cache
def insert(table: str, columns: tuple[str, ...], rows: int) -> str:
    """So many new rows with these columns, and the checksum if the table has one."""
    every = (*columns, proof.CHECKSUM) if table in proof.COLUMNS else columns
    named = ", ".join(f'"{column}"' for column in every)
    one = f"({', '.join('?' * len(every))})"
    return f'INSERT INTO "{table}" ({named}) VALUES {", ".join([one] * rows)}'


@functools.cache
def update(table: str, columns: tuple[str, ...], where: tuple[str, ...]) -> str:
    """New values for some columns, and the checksum that follows, where others have some values."""
    values = [f'"{column}" = ?' for column in columns]
    if table in proof.COLUMNS:
        values.append(f'"{proof.CHECKSUM}" = {proof.changed(table, columns)}')
    return f'UPDATE "{table}" SET {", ".join(values)} WHERE {_where(table, where)}'


@functools.cache
def delete(table: str, where: tuple[str, ...]) -> str:
    """No rows any more where some columns have some values."""
    return f'DELETE FROM "{table}" WHERE {_where(table, where)}'


def _where(table: str, columns: tuple[str, ...]) -> str:
    return " AND ".join(f'"{table}"."{column}" = ?' for column in columns)
