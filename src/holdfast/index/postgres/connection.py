"""Connections to one schema of one server: one for each thread, a lost one replaced, and errors in our own words.

Nothing that a store keeps secret leaves through here: of a server's errors only the primary message is passed on (the
detail quotes rows), and a connection is named without its password.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from holdfast.errors import (
    ConflictError,
    HandleDeadError,
    HoldfastError,
    IndexDamagedError,
    InvalidValueError,
    LockedError,
    MissingDependencyError,
    NoSpaceError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.index.postgres import schema
from holdfast.index.postgres.dialect import Statement, translated, unknown_row
from holdfast.index.postgres.proving import Row

try:
    import psycopg
    from psycopg import pq
    from psycopg.adapt import Loader
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.types.numeric import Int8Dumper
    from psycopg.types.string import BytesBinaryDumper, StrDumper
except ImportError as error:  # pragma: no cover - the extra is there wherever the tests run
    raise MissingDependencyError(
        "an index in PostgreSQL needs psycopg", extra="postgres", remedy="pip install 'holdfast[postgres]'"
    ) from error

LOCK_WAIT_MS = 30_000
CONNECT_S = 10
_PREPARED = 512
_STREAMED = 1_000
_SETUP = """SET search_path = "{schema}"; SET lock_timeout = {wait}; SET client_min_messages = warning;
SET timezone = 'UTC'; SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = {read_only};
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
"""Nobody's defaults decide whether a commit is durable when it returns, nor what a query means."""

Work = Callable[[Any], Any]


class _Whole(Loader):
    """Sums come as `numeric`: they are whole numbers."""

    def load(self, data: Any) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


class Place:
    """Which schema of which server a URL names. `str` of it has no secret.

    `postgresql://user@host:port/database?schema=NAME`, and whatever else libpq takes; without a schema, `holdfast`.
    """

    def __init__(self, url: str) -> None:
        """InvalidValueError for what is no such URL; the message does not repeat it."""
        try:
            parts = urlsplit(url)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            wanted = given.pop("schema", None)
            said = conninfo_to_dict(urlunsplit(parts._replace(query=urlencode(given))))
        except (ValueError, psycopg.Error):
            raise InvalidValueError(
                "this is no URL of a PostgreSQL database", where="index", reason="URL",
                remedy="postgresql://USER@HOST:PORT/DATABASE?schema=NAME; a password is best kept in ~/.pgpass.",
            ) from None  # fmt: skip
        self.schema = schema.name(wanted)
        self._said = said
        where = "/".join(str(said[key]) for key in ("host", "port", "dbname") if said.get(key))
        self._shown = f"postgresql://{where}?schema={self.schema}"

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Place({self._shown})"

    def beside(self, name: str) -> Place:
        """Another schema of the same database."""
        other = object.__new__(Place)
        other.schema, other._said = schema.name(name), self._said
        other._shown = self._shown.rpartition("?schema=")[0] + f"?schema={name}"
        return other

    def connect(self, *, read_only: bool) -> psycopg.Connection[Any]:
        """A new connection, set up. Typed errors."""
        asked: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "application_name": "holdfast",
            **self._said,
            "client_encoding": "UTF8",
        }
        try:
            made = psycopg.connect(make_conninfo(**asked), autocommit=True)
        except psycopg.Error as error:
            raise mapped(error, self._shown) from None
        adapters = made.adapters
        adapters.register_dumper(int, Int8Dumper)
        adapters.register_dumper(str, StrDumper)
        adapters.register_dumper(bytes, BytesBinaryDumper)
        adapters.register_loader("numeric", _Whole)
        made.prepared_max = _PREPARED
        try:
            switch = "on" if read_only else "off"
            made.execute(_SETUP.format(schema=self.schema, wait=LOCK_WAIT_MS, read_only=switch).encode())
        except psycopg.Error as error:
            made.close()
            raise mapped(error, self._shown) from None
        return made


def mapped(error: Exception, where: str) -> HoldfastError:
    """The typed error for one of psycopg's. It quotes no value of a row."""
    if isinstance(error, HoldfastError):
        return error
    state = getattr(error, "sqlstate", None) or ""
    diagnostics = getattr(error, "diag", None)
    text = (diagnostics.message_primary if diagnostics is not None else None) or _short(error)
    if state == schema.DAMAGED:
        return unknown_row(text)
    if state in ("53100", "53200"):
        return NoSpaceError(f"no space left on the server of {where}", path=where)
    if state in ("55P03", "57014", "40P01"):
        return LockedError(f"{where} is busy: {text}", lock=where, holder=None, waited_s=LOCK_WAIT_MS / 1000)
    if state in ("25006", "42501"):
        return ReadOnlyError(f"cannot write to {where}: {text}", path=where)
    if state.startswith("23"):
        return ConflictError(f"a row of {where} clashes", reason=f"SQLSTATE {state}")
    if state.startswith("22") or (not state and isinstance(error, (psycopg.DataError, UnicodeError))):
        return InvalidValueError("a value that no row can hold", where="query", reason=f"SQLSTATE {state or '22000'}")
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return StorageIOError(
            f"{where} could not be reached, or the connection was lost: {text}", path=where, operation="postgresql",
            errno=0, remedy="See that the server runs and lets you in; then try again.",
        )  # fmt: skip
    return IndexDamagedError(f"{where}: {text}", reason=f"SQLSTATE {state}")


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0]


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

    def fetchone(self) -> Row | None:
        """The next row, or None."""
        row = self._cursor.fetchone()
        return row if row is None or self._fold is None else self._fold(row)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())

    def close(self) -> None:
        """Give it back."""
        self._cursor.close()


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

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        """One statement."""
        return self._execute(translated(sql), parameters)

    def _execute(self, said: Statement, parameters: Sequence[Any]) -> Result:
        given = said.arranged(parameters) if parameters else None
        outside = not self.in_transaction
        try:
            cursor = self._connection.execute(said.text, given)
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

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement for each row, in one go."""
        if not rows:
            return
        said = translated(sql)
        try:
            cursor = self._connection.cursor()
            cursor.executemany(said.text, [said.arranged(row) for row in rows])
        except (psycopg.Error, UnicodeError) as error:
            raise mapped(error, self._where) from None
        self.total_changes += len(rows)

    def stream(self, sql: str) -> Iterator[Row]:
        """Rows of a long answer, a thousand fetched at a time, in the open transaction."""
        said = translated(sql)
        try:
            with self._connection.cursor(name="stream") as cursor:
                cursor.itersize = _STREAMED
                yield from cursor.execute(said.text)
        except (psycopg.Error, UnicodeError) as error:
            raise mapped(error, self._where) from None

    def script(self, text: str) -> None:
        """Statements of PostgreSQL's own, without parameters, in one message. Not repeated whatever happens."""
        try:
            self._connection.execute(text.encode())
        except psycopg.Error as error:
            raise mapped(error, self._where) from None

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
            link = self._own.link = self._left() or Link(self.place, read_only=self.read_only)
            with self._guard:
                self._every.append((threading.current_thread(), link))
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

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        """One statement on this thread's connection; errors typed."""
        return self.raw().execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of one statement, which must bound its result itself; errors typed."""
        return self.raw().execute(sql, parameters).fetchall()

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None; errors typed."""
        return self.raw().execute(sql, parameters).fetchone()

    def close_every(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
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
