"""Rows of an index as pairs of bytes, one for each, and back: what a keeper is given to keep (keeper.py).

A key is the name of the table, a NUL and the primary key (formats/cells.py): at most 500 bytes, as tags and what stands
in declared indexes are short. A value is the CRC-32 of key and row, then the row: a value that was damaged, or stands
under another key, is found before it is a row again.
"""

from __future__ import annotations

import functools
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from holdfast.errors import IndexDamagedError, SchemaTooNewError
from holdfast.formats import cells
from holdfast.index import tables
from holdfast.index.database import mapped
from holdfast.index.keeper import Change, Pair
from holdfast.index.migrations.manifest import MANIFEST

_CRC_BYTES = 4
_MOST_KEYS = 3
_TOUCHED = """CREATE TEMP TABLE IF NOT EXISTS touched
    (part TEXT NOT NULL, a NOT NULL, b NOT NULL, c NOT NULL, PRIMARY KEY (part, a, b, c)) WITHOUT ROWID"""


@functools.cache
def primary_keys() -> dict[str, tuple[str, ...]]:
    """Columns of the primary key of every table."""
    found = {}
    for model in tables.models().all():
        meta: Any = model._meta
        found[meta.table_name] = tuple(field.column_name for field in meta.get_primary_keys())
    return found


def key_of(table: str, primary: Iterable[cells.Cell]) -> bytes:
    """The key of a row."""
    return table.encode() + b"\0" + cells.encode(primary)


def value_of(key: bytes, row: Iterable[cells.Cell]) -> bytes:
    """The value of a row."""
    data = cells.encode(row)
    return zlib.crc32(data, zlib.crc32(key)).to_bytes(_CRC_BYTES, "big") + data


def row_of(key: bytes, value: bytes) -> tuple[cells.Cell, ...]:
    """The row of a pair. IndexDamagedError if it is not what was made of it."""
    data = value[_CRC_BYTES:]
    try:
        if zlib.crc32(data, zlib.crc32(key)).to_bytes(_CRC_BYTES, "big") != value[:_CRC_BYTES]:
            raise ValueError("checksum")
        return cells.decode(data)
    except ValueError as error:
        raise IndexDamagedError("a row that was kept elsewhere is damaged", reason="row checksum") from error


# -- what a transaction touched ---------------------------------


def _trigger(table: str, keys: tuple[str, ...], event: str, sides: tuple[str, ...]) -> str:
    spare = ["0"] * (_MOST_KEYS - len(keys))
    noted = []
    for side in sides:
        a, b, c = [f'{side}."{key}"' for key in keys] + spare
        noted.append(
            f"INSERT INTO touched SELECT '{table}', {a}, {b}, {c} WHERE NOT EXISTS "
            f"(SELECT 1 FROM touched WHERE part = '{table}' AND a = {a} AND b = {b} AND c = {c});"
        )
    return (
        f'CREATE TEMP TRIGGER IF NOT EXISTS "kept_{table}_{event}" AFTER {event} ON main."{table}" '
        f"BEGIN {' '.join(noted)} END"
    )


_EVENTS = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}


def watch(connection: sqlite3.Connection) -> None:
    """Let a connection note the keys of rows that it changes from now on. Nothing if it does so already."""
    if connection.execute("SELECT 1 FROM sqlite_temp_master WHERE name = 'touched'").fetchone():
        return
    connection.execute(_TOUCHED)
    for table, keys in primary_keys().items():
        for event, sides in _EVENTS.items():
            connection.execute(_trigger(table, keys, event, sides))


def touched(connection: sqlite3.Connection) -> bool:
    """Whether any row was changed."""
    return connection.execute("SELECT 1 FROM temp.touched LIMIT 1").fetchone() is not None


def settle(connection: sqlite3.Connection) -> None:
    """All of it is kept."""
    connection.execute("DELETE FROM temp.touched")


def changes(connection: sqlite3.Connection) -> Iterator[Change]:
    """The rows that were touched, as they are now; None for those that are gone."""
    parts = [part for (part,) in connection.execute("SELECT DISTINCT part FROM temp.touched ORDER BY part")]
    for table in parts:
        keys = primary_keys()[table]
        on = " AND ".join(f'r."{key}" = t.{column}' for key, column in zip(keys, "abc", strict=False))
        sql = f'SELECT t.a, t.b, t.c, r.* FROM temp.touched t LEFT JOIN main."{table}" r ON {on} WHERE t.part = ?'
        for a, b, c, *row in connection.execute(sql, (table,)):
            key = key_of(table, (a, b, c)[: len(keys)])
            gone = all(cell is None for cell in row)
            yield key, None if gone else value_of(key, row)


def everything(connection: sqlite3.Connection) -> Iterator[Pair]:
    """Every row of every table."""
    for table, keys in primary_keys().items():
        found = connection.execute(f'SELECT * FROM "{table}"')
        names = [one[0] for one in found.description]
        places = [names.index(key) for key in keys]
        for row in found:
            key = key_of(table, [row[place] for place in places])
            yield key, value_of(key, row)


# -- and back ---------------------------------------------------


class Loader:
    """Brings pairs into a database, on a connection of its own: the others see that somebody else has committed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "busy_timeout = 60000"):
            self._connection.execute(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def load(self, items: Iterable[Change], *, whole: bool) -> None:
        """Make the rows what pairs say; all of them (`whole`), or those alone. One step for whoever reads.

        IndexDamagedError, SchemaTooNewError.
        """
        link = self._connection
        try:
            link.execute("BEGIN IMMEDIATE")
            made = self._has_schema()
            if made and whole:
                for table in primary_keys():
                    link.execute(f'DELETE FROM "{table}"')
            for key, value in items:
                if not made:  # an index without a schema is told from one without rows
                    self._make_schema()
                    made = True
                self._one(key, value)
            if made:
                self._demand_known()
            link.execute("COMMIT")
        except sqlite3.Error as error:
            raise mapped(error, self._path) from error
        finally:
            if link.in_transaction:
                link.execute("ROLLBACK")

    def _has_schema(self) -> bool:
        return self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None

    def _make_schema(self) -> None:
        for statement in (one for step in MANIFEST for one in step.up):
            self._connection.execute(statement)

    def _one(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            self._put(key, value)
            return
        table, primary = self._table(key)
        where = " AND ".join(f'"{column}" = ?' for column in primary_keys()[table])
        self._connection.execute(f'DELETE FROM "{table}" WHERE {where}', cells.decode(primary))

    def _put(self, key: bytes, value: bytes) -> None:
        row = row_of(key, value)
        table, _ = self._table(key)
        marks = ", ".join("?" * len(row))
        self._connection.execute(f'INSERT OR REPLACE INTO "{table}" VALUES ({marks})', row)

    @staticmethod
    def _table(key: bytes) -> tuple[str, bytes]:
        name, _, primary = key.partition(b"\0")
        table = name.decode("ascii", "replace")
        if table not in primary_keys():
            raise IndexDamagedError("a row that was kept elsewhere is of no table", reason="table")
        return table, primary

    def _demand_known(self) -> None:
        (found,) = self._connection.execute("SELECT max(version) FROM schema_version").fetchone()
        if found is not None and found > MANIFEST[-1].version:
            raise SchemaTooNewError(
                f"the index has schema {found}, this software knows {MANIFEST[-1].version}",
                found=found, known=MANIFEST[-1].version,
            )  # fmt: skip
