"""Carries the rows of an index from a server into a file and back, cell for cell: what is equal need not be derived.

Deriving says some ten statements for each change, and each costs a tenth of a millisecond and a way to the server. A
file is filled in a tenth of that time, and its rows go over in one COPY for each table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from holdfast.index import tables
from holdfast.index.postgres import sortable
from holdfast.index.postgres.connection import Link
from holdfast.index.sql import SqlIndex

_KEYS = "metadata_value"
_BINARY = {"INT": "int8", "BLOB": "bytea", "TEXT": "text"}

Row = tuple[Any, ...]


def columns(table: str) -> list[str]:
    """The columns of a table that both have, in order: those that only a server derives are left out."""
    return [str(field.column_name) for field in tables.models().named(table)._meta.sorted_fields]


def to_file(link: Link, target: SqlIndex) -> None:
    """Every row as one moment has it. `target` may be empty; what is in it goes. IndexDamagedError and the like."""
    target.migrate()
    link.script("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        target.database.run("BEGIN IMMEDIATE")
        try:
            for table in _every():
                _fill(target, table, _rows(link, table))
            target.database.run("COMMIT")
        except BaseException:
            if target.database.raw().in_transaction:
                target.database.run("ROLLBACK")
            raise
    finally:
        if not link.lost:
            link.script("ROLLBACK")
    target.forget()


def to_server(source: SqlIndex, link: Link) -> None:
    """Every row of a file that nobody writes to, in one transaction. The schema there has no rows of records yet."""
    link.script("BEGIN")
    try:
        for table in _every():
            link.script(f'DELETE FROM "{table}"')
            listed = ", ".join(f'"{name}"' for name in columns(table))
            rows = source.database.run(f'SELECT {listed} FROM "{table}"')
            link.copy_in(f'COPY "{table}" ({listed}) FROM STDIN (FORMAT BINARY)', _types(table), _encoded(table, rows))
        link.script("COMMIT")
    except BaseException:
        if not link.lost:
            link.script("ROLLBACK")
        raise


def _every() -> list[str]:
    named = [str(model._meta.table_name) for model in tables.models().all()]
    return [name for name in named if name != "schema_version"]


def _rows(link: Link, table: str) -> Iterator[Row]:
    listed = ", ".join(f'"{name}"' for name in columns(table))
    for row in link.stream(f'SELECT {listed} FROM "{table}"'):
        yield row if table != _KEYS else (row[0], sortable.decoded(row[1]), row[2])


def _fill(target: SqlIndex, table: str, rows: Iterator[Row]) -> None:
    names = columns(table)
    listed, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
    target.database.run(f'DELETE FROM "{table}"')
    with target.database.errors():
        target.database.raw().executemany(f'INSERT INTO "{table}" ({listed}) VALUES ({marks})', rows)


def _encoded(table: str, rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        yield row if table != _KEYS else (row[0], sortable.encoded(row[1]), row[2])


def _types(table: str) -> list[str]:
    fields = tables.models().named(table)._meta.sorted_fields
    return [_BINARY[str(field.field_type)] for field in fields]
