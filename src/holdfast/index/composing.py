"""Statements for rows, composed by Peewee once for each shape in a process: a handful of shapes in all.

Building a query costs thirty times as much as running it, so the texts are kept (docs/design/003).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.index import proof, tables
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
    every = tables.models().named(table)._meta.sorted_field_names
    columns = tuple(sorted(given, key=every.index))
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
    model = tables.models().named(table)
    every = (*columns, proof.CHECKSUM) if table in proof.COLUMNS else columns
    one = str(model.insert({model._meta.fields[c]: 0 for c in every}).sql()[0])
    head, values, marks = one.rpartition(" VALUES ")
    return head + values + ", ".join([marks] * rows)  # composing that many would take longer than most commands


@functools.cache
def update(table: str, columns: tuple[str, ...], where: tuple[str, ...]) -> str:
    """New values for some columns, and the checksum that follows, where others have some values."""
    from peewee import SQL  # noqa: PLC0415 - start-up time

    model = tables.models().named(table)
    fields = model._meta.fields
    values: dict[Any, Any] = {fields[c]: 0 for c in columns}
    if table in proof.COLUMNS:
        values[fields[proof.CHECKSUM]] = SQL(proof.changed(table, columns))
    query = model.update(values)
    for column in where:
        query = query.where(fields[column] == 0)
    return str(query.sql()[0])


@functools.cache
def delete(table: str, where: tuple[str, ...]) -> str:
    """No rows any more where some columns have some values."""
    model = tables.models().named(table)
    query = model.delete()
    for column in where:
        query = query.where(model._meta.fields[column] == 0)
    return str(query.sql()[0])
