"""Where an index is on a server: a URL without its secrets, how to connect, and errors in our own words.

Nothing that a store keeps secret leaves through here: of a server's errors only the primary message is passed on (the
detail quotes rows), and a place is named without its password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import BytesBinaryDumper, StrDumper

from holdfast.errors import (
    ConflictError,
    HoldfastError,
    IndexDamagedError,
    InvalidValueError,
    LockedError,
    NoSpaceError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.index.postgres import schema
from holdfast.index.postgres.dialect import unknown_row

LOCK_WAIT_MS = 30_000
CONNECT_S = 10
_SETUP = """SET search_path = "{schema}"; SET lock_timeout = {wait}; SET client_min_messages = warning;
SET timezone = 'UTC'; SET random_page_cost = 1.1; SET jit = off; SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = {read_only};
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
"""Nobody's defaults decide whether a commit is durable when it returns, nor what a query means. Statements here look
for a few rows by key: compiling them never pays, and at the usual price of a page all of a table is read for twenty.
"""

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
        made.prepare_threshold = None  # see wire.py, which forgets all that is prepared now and then
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
