"""What fsck asks of an index on a server: as of one in a file, but the server answers for its own pages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.index.audit import Audit
from holdfast.index.postgres import sortable
from holdfast.index.postgres.proving import Row
from holdfast.index.postgres.server import PostgresDatabase
from holdfast.index.sql import SqlIndex


class PostgresAudit(Audit):
    """Reads one index for fsck, from the thread that made it."""

    def __init__(self, index: SqlIndex, server: PostgresDatabase) -> None:
        super().__init__(index)
        self._server = server

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of the block see one state of the index; writers go on."""
        self._server.raw().script("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            yield
        finally:
            with contextlib.suppress(HoldfastError):
                self._server.raw().script("ROLLBACK")

    def pages(self, *, quick: bool) -> list[str]:  # noqa: ARG002
        """The server checks its own pages."""
        return []

    def schema(self) -> list[str]:
        """What is not as the schema says; SchemaTooNewError and the like pass."""
        self.index.check()
        return self.index.trouble()

    def rows(self, table: str) -> Iterator[Row]:
        """Every row of a table in order of its primary key, read as they are asked for."""
        listed = ", ".join(f'"{name}"' for name in self.columns(table))
        order = ", ".join(f'"{name}"' for name in self.keys(table))
        found = self._server.raw().stream(f'SELECT {listed} FROM "{table}" ORDER BY {order}')
        yield from found if table != "metadata_value" else map(_with_key, found)

    def blobs(self) -> tuple[int, int]:
        """(how many, stored bytes of all) blobs that have a row."""
        row = self._server.one("SELECT count(*), coalesce(sum(stored_bytes), 0) FROM blob")
        return (int(row[0]), int(row[1])) if row else (0, 0)


def _with_key(row: Row) -> tuple[Any, ...]:
    return row[0], sortable.decoded(row[1]), row[2]
