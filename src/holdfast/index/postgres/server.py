"""A schema of a server as this room's statements know a database: one connection for each thread that asks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from holdfast.errors import HandleDeadError
from holdfast.index.postgres.answers import Known
from holdfast.index.postgres.connection import Link
from holdfast.index.postgres.dialect import Statement, translated
from holdfast.index.postgres.place import Place, mapped
from holdfast.index.postgres.pool import Pool
from holdfast.index.postgres.proving import Row
from holdfast.index.postgres.wire import Answer, numbered


class PostgresDatabase:
    """Statements on the connection of the thread that asks. The same calls as `index.database.Database`."""

    keeps_entries = True

    def __init__(self, place: Place, *, read_only: bool = False, most: int | None = None) -> None:
        """`most`: connections at once; None: what the setting says."""
        self.place = place
        self.path = str(place)
        self.read_only = read_only
        self._pool = Pool(place, read_only=read_only, most=most)
        self._own = threading.local()
        self._closed = False

    def raw(self) -> Link:
        """This thread's way to a connection, which it gets when it asks something."""
        if self._closed:
            raise HandleDeadError("the store is closed", reason="closed")
        link: Link | None = getattr(self._own, "link", None)
        if link is None:
            link = self._own.link = Link(self._pool)
        return link

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of psycopg leave the block as ours."""
        try:
            yield
        except psycopg.Error as error:
            raise mapped(error, self.path) from None

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> Answer | Known:
        """One statement on this thread's connection; errors typed."""
        return self.raw().execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of one statement, which must bound its result itself; errors typed."""
        return self.raw().execute(sql, parameters).fetchall()

    def whole(self, columns: str, rest: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """As `rows` of SELECT `columns` `rest`."""
        return self.rows(f"SELECT {columns} {rest}", parameters)

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None; errors typed."""
        said = translated(sql)
        return None if said.moot else self.raw().say(said, parameters).fetchone()

    @contextlib.contextmanager
    def committed(self) -> Iterator[Link]:
        """A connection that sees what is committed: this thread's, or another while that has a transaction open."""
        own = self.raw()
        if not own.in_transaction:
            yield own
            return
        pool = Pool(self.place, read_only=True, most=1)
        try:
            yield Link(pool)
        finally:
            pool.close()

    def direct(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement of PostgreSQL's own; errors typed."""
        reads = sql.startswith(("SELECT", "WITH")) and "DELETE" not in sql
        said = Statement(numbered(sql.encode()), None, None, writes=False, repeatable=reads)
        return self.raw().say(said, parameters).rows()

    def several(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
        """All rows of each of several statements of PostgreSQL's own that only read, asked together; errors typed."""
        return self.raw().several([(numbered(sql.encode()), given) for sql, given in statements])

    def direct_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """A statement of PostgreSQL's own for each row, in one go; errors typed."""
        self.raw().direct_many(sql, rows)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction on this thread's connection: committed at the end of the block, undone if it raises."""
        link = self.raw()
        link.script("BEGIN")
        try:
            yield
            link.script("COMMIT")
        except BaseException:
            if link.in_transaction and not link.lost:
                link.script("ROLLBACK")
            raise

    def close_every(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
        self._pool.close()

    def part(self) -> None:
        """Close the connections of all threads; new ones are made when they are asked for."""
        self._own = threading.local()
        self._pool.part()

    def abandon(self) -> list[object]:
        """In a forked child: use no connection again, and close none (the server would take it for the parent's)."""
        self._closed = True
        self._own = threading.local()
        return self._pool.abandon()
