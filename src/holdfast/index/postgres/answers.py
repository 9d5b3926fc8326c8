"""What a statement gave, spoken to as to a cursor of SQLite's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg

from holdfast.index.postgres.proving import Row


class Result:
    """What a statement gave, as a cursor of SQLite gives it."""

    __slots__ = ("_cursor", "_fold", "_where", "rowcount")

    def __init__(self, cursor: psycopg.Cursor[Row], fold: Callable[[Row], Row] | None, where: str) -> None:
        self._cursor = cursor
        self._fold = fold
        self._where = where
        self.rowcount = cursor.rowcount

    def fetchall(self) -> list[Row]:
        """All rows."""
        rows = self._cursor.fetchall()
        return rows if self._fold is None else list(map(self._fold, rows))

    def rows(self) -> list[Row]:
        """All rows; none of a statement that gives none."""
        return self.fetchall() if self._cursor.description is not None else []

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        row = self._cursor.fetchone()
        return row if row is None or self._fold is None else self._fold(row)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())

    def close(self) -> None:
        """Give it back."""
        self._cursor.close()


class Known:
    """An answer for which the server need not be asked, or not yet. `rowcount`: of a statement that gives no rows."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: tuple[Row, ...] = (), *, rowcount: int = 0) -> None:
        self._rows = rows
        self.rowcount = rowcount or len(rows)

    def fetchall(self) -> list[Row]:
        """All rows."""
        return [*self._rows]

    rows = fetchall

    def fetchone(self) -> Row | None:
        """The first row, or None."""
        return self._rows[0] if self._rows else None

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def close(self) -> None:
        """Nothing is held."""
