"""What is known without asking, spoken to as to a cursor of SQLite's."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.index.postgres.proving import Row


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
