"""Rows prove themselves: SQLite pages carry no checksum, so rows do, and it is verified where rows become records.

The checksum of a row is the CRC-32 of the ASCII text that Python's `ascii` gives of (table, column, column, …). A row
that changes is verified as it was before it gets the checksum of what it is now: damage is never signed.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from holdfast.errors import IndexDamagedError
from holdfast.index.migrations.manifest import MANIFEST

CHECKSUM = "crc"
_BESIDES = frozenset({CHECKSUM, "data"})
"""Not covered: the checksum itself, and the chain's bytes, which prove themselves by their hashes."""

SEPARATOR = "\x1f"


def _columns() -> dict[str, list[str]]:
    """Cut out where tools/schema_sql.py puts words together: patterns would take longer to compile."""
    every: dict[str, list[str]] = {}
    for statement in (one for step in MANIFEST for one in step.up):
        verb, _, rest = statement.partition(' TABLE "')
        table, _, said = rest.partition('"')
        if verb == "CREATE":
            parts = (part.partition('" ') for part in said.partition('("')[2].split(', "'))
            every[table] = [name for name, _, kind in parts if kind[:1].isupper()]
        elif verb == "ALTER" and said.startswith(' ADD COLUMN "'):
            every[table].append(said.split('"')[1])
    return every


EVERY = _columns()
"""All columns of each table, in order.

As the migrations make them, which tests compare with the models: making models takes longer than most reads.
"""

COLUMNS = {
    table: tuple(column for column in columns if column not in _BESIDES)
    for table, columns in EVERY.items()
    if CHECKSUM in columns
}
"""The columns that a row's checksum covers, in order, for every table whose rows have one."""


FORMS = {table: b"('%b', %b)" % (table.encode(), b", ".join([b"%a"] * len(cells))) for table, cells in COLUMNS.items()}
"""What becomes the text of a row when its cells, a tuple, are put in: what `ascii` gives, in two thirds of the time."""


_raised = threading.local()


def checksum(table: str, *cells: Any) -> int:
    """The checksum of a row."""
    return zlib.crc32(FORMS[table] % cells)


def prove(table: str, cells: tuple[Any, ...], stored: Any) -> None:
    """IndexDamagedError unless the cells of a whole row, as they were fetched, are what its checksum says.

    A third of what `proven` costs, which goes from SQLite through Python and back for each row.
    """
    if not is_true(table, cells, stored):
        raise damaged(table, cells[0])


def is_true(table: str, cells: tuple[Any, ...], stored: Any) -> bool:
    """Whether the cells of a whole row are what its checksum says."""
    return bool(zlib.crc32(FORMS[table] % cells) == stored)


def columns(table: str, alias: str) -> str:
    """The columns of a row and its checksum, last, to be fetched for `prove`."""
    return ", ".join(f"{alias}.{column}" for column in (*COLUMNS[table], CHECKSUM))


def of_tags(tags: Sequence[str]) -> int:
    """The checksum of all tags of a record; 0 if it has none."""
    return zlib.crc32(SEPARATOR.join(sorted(tags)).encode()) if tags else 0


def proven(table: str, alias: str) -> str:
    """An SQL expression that is 1, or an error where the row of an alias is not what its checksum says."""
    return f"proven({alias}.{CHECKSUM}, '{table}', {', '.join(f'{alias}.{c}' for c in COLUMNS[table])})"


def unproven(table: str) -> str:
    """A query for the keys of rows that are not what their checksum says."""
    columns = COLUMNS[table]
    return f"SELECT {columns[0]} FROM {table} WHERE {CHECKSUM} IS NOT row_checksum('{table}', {', '.join(columns)})"


class Asked(Protocol):
    """What can be asked for one row."""

    def one(self, sql: str) -> tuple[Any, ...] | None:
        """The first row, or None."""


def prove_all(database: Asked, table: str) -> None:
    """IndexDamagedError if a row of a table is not what its checksum says. Two microseconds a row."""
    row = database.one(f"{unproven(table)} LIMIT 1")
    if row is not None:
        raise damaged(table, row[0])


def tags_proven(alias: str) -> str:
    """An SQL expression that is 1, or an error where a record (an alias) has other tags than its row says."""
    inner = f"SELECT tag FROM tagging WHERE tagging.record = {alias}.key ORDER BY tag"
    return f"tags_proven({alias}.tags, (SELECT group_concat(tag, char(31)) FROM ({inner})))"


def changed(table: str, columns: Sequence[str], first: int = 1) -> str:
    """An SQL expression for the checksum of a row after an UPDATE sets columns to parameters ?first, ?first+1, …"""
    after = {column: f"?{first + n}" for n, column in enumerate(columns)}
    old = [f'"{c}"' for c in COLUMNS[table]]
    new = [after.get(c, f'"{c}"') for c in COLUMNS[table]]
    return f"""resigned("{CHECKSUM}", '{table}', {", ".join([*old, *new])})"""


def install(connection: sqlite3.Connection) -> None:
    """Make the functions known that the expressions use."""
    connection.create_function("row_checksum", -1, asked_by_sqlite(checksum), deterministic=True)
    connection.create_function("proven", -1, asked_by_sqlite(_proven))
    connection.create_function("tags_proven", 2, asked_by_sqlite(_tags_proven))
    connection.create_function("resigned", -1, asked_by_sqlite(_resigned))


def asked_by_sqlite(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, and `interruption` knows what it raised: SQLite says only that one did, not what."""

    def asked(*cells: Any) -> Any:
        try:
            return function(*cells)
        except (MemoryError, OverflowError):
            raise  # of these SQLite says what they are
        except BaseException as error:
            _raised.last = error
            raise

    return asked


def interruption() -> BaseException | None:
    """
    What has nothing to do with rows, and made a function of this thread fail just now; None where a row is at fault.

    Ctrl-C, which may come while one runs, was taken for a damaged row: lost, and the index made anew.
    """
    error: BaseException | None = vars(_raised).pop("last", None)
    return None if isinstance(error, Exception) else error


def is_silent() -> bool:
    """Whether the function that failed just now never began: its cells are no text, or Ctrl-C came first."""
    return not hasattr(_raised, "last") and threading.current_thread() is threading.main_thread()


def _proven(stored: Any, *cells: Any) -> int:
    if zlib.crc32(ascii(cells).encode()) != stored:
        raise damaged(cells[0], cells[1])
    return 1


def _tags_proven(stored: Any, joined: Any) -> int:
    if stored != (0 if joined is None else zlib.crc32(joined.encode())):
        raise damaged("tagging", "?")
    return 1


def _resigned(stored: Any, table: str, *cells: Any) -> int:
    half = len(cells) // 2
    _proven(stored, table, *cells[:half])
    return checksum(table, *cells[half:])


def damaged(table: str, key: Any) -> IndexDamagedError:
    """The error for a row that is not what was written."""
    return IndexDamagedError(f"row {key} of {table} in the index is damaged", reason="row checksum")
