"""Connections to one schema of one server: one for each thread, a lost one replaced, spoken to as to SQLite's."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import pq

from holdfast.errors import HandleDeadError
from holdfast.index.postgres.dialect import Statement, translated
from holdfast.index.postgres.place import Place, mapped
from holdfast.index.postgres.proving import Row

_STREAMED = 1_000
VERSION = "PRAGMA data_version"
_OWN = (b"CREATE TEMP TABLE", b"DROP TABLE IF EXISTS pg_temp.")
"""Makes or drops a table of this connection alone: who may only read may do so, in a transaction that says so."""
_BEGIN = b'BEGIN; SELECT "version" FROM "head" FOR UPDATE'


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


class Link:
    """One thread's connection. Errors come out typed; between transactions a lost one is replaced.

    `total_changes` counts rows as SQLite's does.
    """

    def __init__(self, place: Place, *, read_only: bool) -> None:
        self._place = place
        self._where = str(place)
        self._read_only = read_only
        self._connection = place.connect(read_only=read_only)
        self.total_changes = 0
        self._waiting: list[tuple[bytes, Sequence[Any] | None]] = []
        self.version: int | None = None  # of the index, while this connection holds the row that says it

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; one that failed is until it is rolled back."""
        return self._connection.pgconn.transaction_status not in (
            pq.TransactionStatus.IDLE,
            pq.TransactionStatus.UNKNOWN,
        )

    @property
    def lost(self) -> bool:
        """Whether the server is not at the other end any more, as far as is known."""
        return self._connection.closed

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Result | Known:
        """One statement."""
        if sql == VERSION and self.version is not None:
            return Known(((self.version,),))
        return self.say(translated(sql), parameters)

    def say(self, said: Statement, parameters: Sequence[Any] = ()) -> Result | Known:
        """One statement that is translated already."""
        given = said.arranged(parameters) if parameters else None
        outside = self.version is None and not self.in_transaction
        if said.waits and not outside:
            self._waiting.append((said.text, given))
            self.total_changes += 1
            return Known(rowcount=1)
        if outside and self._read_only and said.text.startswith(_OWN):
            self.script(f"BEGIN READ WRITE; {said.text.decode()}; COMMIT")
            return Known()
        try:
            cursor = self._sent(said.text, given)
        except (psycopg.Error, UnicodeError) as error:
            if not (outside and said.repeatable and self.lost):
                raise mapped(error, self._where) from None
            self._connection = self._place.connect(read_only=self._read_only)
            try:
                cursor = self._connection.execute(said.text, given)
            except (psycopg.Error, UnicodeError) as again:
                raise mapped(again, self._where) from None
        if said.writes:
            self.total_changes += max(cursor.rowcount, 0)
        return Result(cursor, said.fold, self._where)

    def _sent(self, text: bytes, given: Sequence[Any] | None) -> psycopg.Cursor[Row]:
        """A statement behind those that wait: all on their way before the first answer is read."""
        if not self._waiting:
            return self._connection.execute(text, given)
        waiting, self._waiting = self._waiting, []
        if text.startswith(b"ROLLBACK"):  # to a savepoint: it came before them
            return self._connection.execute(text, given)
        with self._connection.pipeline():
            for one in waiting:
                self._connection.execute(*one)
            return self._connection.execute(text, given)

    def send(self) -> None:
        """Send what waits; errors typed."""
        try:
            if self._waiting:
                self._sent(b"SELECT", None)
        except (psycopg.Error, UnicodeError) as error:
            raise mapped(error, self._where) from None

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement for each row, in one go."""
        said = translated(sql)
        self.direct_many(said.text.decode(), [said.arranged(row) for row in rows])
        self.total_changes += len(rows)

    def direct_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """The same of a statement of PostgreSQL's own."""
        if not rows:
            return
        self.send()
        try:
            with self._connection.cursor() as cursor:
                cursor.executemany(sql.encode(), rows)
        except (psycopg.Error, UnicodeError) as error:
            raise mapped(error, self._where) from None

    def stream(self, sql: str) -> Iterator[Row]:
        """Rows of a long answer, a thousand fetched at a time, in the open transaction."""
        said = translated(sql)
        self.send()
        try:
            with self._connection.cursor(name="stream") as cursor:
                cursor.itersize = _STREAMED
                yield from cursor.execute(said.text)
        except (psycopg.Error, UnicodeError) as error:
            raise mapped(error, self._where) from None

    def copy_in(self, text: str, types: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """COPY … FROM STDIN in binary form: rows of columns of these types."""
        self.send()
        try:
            with self._connection.cursor() as cursor, cursor.copy(text.encode()) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row(row)
        except (psycopg.Error, UnicodeError) as error:
            raise mapped(error, self._where) from None

    def script(self, text: str) -> None:
        """Statements of PostgreSQL's own, without parameters, in one message. Not repeated whatever happens."""
        if text == "ROLLBACK":
            self._waiting.clear()
        self.send()
        try:
            self._connection.execute(text.encode())
        except psycopg.Error as error:
            raise mapped(error, self._where) from None

    def begin(self) -> int | None:
        """Begin to write, as the only one: the version of the index, whose row is held until the end. None: it is lost.

        One message, said again on a new connection if the old one was lost.
        """
        self._waiting.clear()
        try:
            cursor = self._connection.execute(_BEGIN)
        except psycopg.Error as error:
            if not self.lost:
                raise mapped(error, self._where) from None
            self._connection = self._place.connect(read_only=self._read_only)
            try:
                cursor = self._connection.execute(_BEGIN)
            except psycopg.Error as again:
                raise mapped(again, self._where) from None
        cursor.nextset()
        row = cursor.fetchone()
        self.version = None if row is None else int(row[0])
        return self.version

    def create_function(self, *_: Any, **__: Any) -> None:
        """Functions are in the schema."""

    def close(self) -> None:
        """Give it back. An open transaction is undone by the server."""
        with contextlib.suppress(psycopg.Error):
            self._connection.close()


class PostgresDatabase:
    """Statements on the connection of the thread that asks. The same calls as `index.database.Database`."""

    def __init__(self, place: Place, *, read_only: bool = False) -> None:
        self.place = place
        self.path = str(place)
        self.read_only = read_only
        self._every: list[tuple[threading.Thread, Link]] = []
        self._guard = threading.Lock()
        self._own = threading.local()
        self._closed = False

    def raw(self) -> Link:
        """This thread's connection; one that an ended thread left, or a new one, when first asked for."""
        link: Link | None = getattr(self._own, "link", None)
        if link is None:
            if self._closed:
                raise HandleDeadError("the store is closed", reason="closed")
            link = self._left() or Link(self.place, read_only=self.read_only)
            with self._guard:
                closed = self._closed  # meanwhile: nobody else would close what is not in the list yet
                if not closed:
                    self._every.append((threading.current_thread(), link))
            if closed:
                link.close()
                raise HandleDeadError("the store is closed", reason="closed")
            self._own.link = link
        elif self._closed:
            raise HandleDeadError("the store is closed", reason="closed")
        return link

    def _left(self) -> Link | None:
        with self._guard:
            gone = [pair for pair in self._every if not pair[0].is_alive()]
            idle = next((pair for pair in gone if not pair[1].lost and not pair[1].in_transaction), None)
            self._every = [pair for pair in self._every if pair not in gone]
        for pair in gone:
            if pair is not idle:
                pair[1].close()
        return None if idle is None else idle[1]

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of psycopg leave the block as ours."""
        try:
            yield
        except psycopg.Error as error:
            raise mapped(error, self.path) from None

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> Result | Known:
        """One statement on this thread's connection; errors typed."""
        return self.raw().execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of one statement, which must bound its result itself; errors typed."""
        return self.raw().execute(sql, parameters).fetchall()

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
        other = Link(self.place, read_only=True)
        try:
            yield other
        finally:
            other.close()

    def direct(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement of PostgreSQL's own; errors typed."""
        reads = sql.startswith(("SELECT", "WITH")) and "DELETE" not in sql
        return self.raw().say(Statement(sql.encode(), None, None, writes=False, repeatable=reads), parameters).rows()

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
        self.part()

    def part(self) -> None:
        """Close the connections of all threads; new ones are made when they are asked for."""
        self._own = threading.local()
        with self._guard:
            every, self._every = self._every, []
        for _, link in every:
            link.close()

    def abandon(self) -> list[Link]:
        """In a forked child: use no connection again, and close none (the server would take it for the parent's)."""
        self._closed = True
        self._guard = threading.Lock()
        self._own = threading.local()
        return [link for _, link in self._every]
