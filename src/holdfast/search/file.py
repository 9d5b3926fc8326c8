"""The file search.sqlite3: opened if it is what it must be, made anew if it is not.

It is derived, so trouble with it is answered by starting over. What must not happen is that somebody else who has it
open is cut off unawares: tables are dropped and made inside SQLite; only a file that SQLite cannot use, or that is no
search index, is moved aside, under a lock; and each use compares the inode at the path with that of its connection, so
that handles on a file that was moved aside notice.

`synchronous=NORMAL` under WAL: a power loss may undo the last commits, but rows and cursor are in one transaction, so
what comes back is an earlier state that is consistent in itself, and feeding goes on from there. No acknowledged write
depends on this file; a sync at each commit would buy nothing. OFF could tear the file, and nobody would notice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator

from holdfast import ram
from holdfast.disk import on_network, typed
from holdfast.errors import ReadOnlyError
from holdfast.search import schema
from holdfast.search.schema import Condition

try:
    import fcntl
except ImportError:  # without POSIX a file that is open cannot be moved aside anyway
    fcntl = None  # type: ignore[assignment]

WAIT_S = 30.0

"""How long one feeder waits for another."""
_STATEMENTS = 8
"""So many statements a connection keeps. Each holds what it was given last, for texts up to a megabyte, and each number
of rows is a statement of its own: with the 128 that are usual, filling the index took 55 MB more, and no less time."""
ASIDE = ".damaged"
"""What is appended to the name of a file that was no search index; the next one replaces it."""

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
_log = logging.getLogger("holdfast.search")


def open_to_write(path: str) -> tuple[Condition, sqlite3.Connection]:
    """A connection to a file that holds our tables; and what the file was before. Raises sqlite3.Error."""
    condition, connection = _look(path, "rw")
    if condition is not Condition.CURRENT:
        shut(connection)
        with _alone(os.path.dirname(path)):
            condition, connection = _look(path, "rw")
            if condition is not Condition.CURRENT:
                connection = _make_anew(path, condition, connection)
    assert connection is not None  # CURRENT comes with one
    return condition, connection


def open_to_read(path: str) -> tuple[Condition, sqlite3.Connection | None]:
    """What the file is, and a connection if it is usable: CURRENT, or MOVED, which may be a torn copy."""
    condition, connection = _look(path, "ro")
    if condition in (Condition.CURRENT, Condition.MOVED):
        return condition, connection
    shut(connection)
    return condition, None


def replace_damaged(path: str) -> None:
    """Make a file anew in which damage showed, unless another process has done so already."""
    with _alone(os.path.dirname(path)):
        if not _is_well(path):
            _make_anew(path, Condition.DAMAGED, None).close()


def discard_aside(path: str) -> None:
    """Remove the file that was moved aside, if there is one: what is to be forgotten may be in it."""
    if ram.holds(path):
        return
    with contextlib.suppress(FileNotFoundError), typed("remove", path + ASIDE):
        os.unlink(path + ASIDE)


def is_damage(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    """Whether SQLite says that the file is not what it must be, or Python that a text of it is none."""
    undecodable = isinstance(error, UnicodeDecodeError) or "decode to UTF-8" in str(error)
    return undecodable or primary_code(error) in _DAMAGE


def primary_code(error: sqlite3.Error | UnicodeDecodeError) -> int:
    """SQLite's result code without its extension; 0 if the error did not come from SQLite's library."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def inode_of(path: str) -> int:
    """0 if there is no such file. A look by name: opening the file and closing it would drop SQLite's locks."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def word_trouble(connection: sqlite3.Connection) -> str:
    """What FTS5 finds wrong with its own tables; "" if nothing. Reads all of them."""
    try:
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise
    return ""


def shut(connection: sqlite3.Connection | None) -> None:
    """Close what may not be there."""
    if connection is not None:
        connection.close()


def _make_anew(path: str, condition: Condition, connection: sqlite3.Connection | None) -> sqlite3.Connection:
    """Empty tables in the file if SQLite can work with it, else in a new file. Runs under the folder's lock."""
    level = logging.INFO if condition is Condition.MISSING else logging.WARNING
    _log.log(level, "search-index-made-anew", extra={"holdfast": {"found": condition.value}})
    if connection is not None:
        try:
            return _filled(path, connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            connection.close()
            if not is_damage(error):
                raise
    _set_aside(path)
    return _filled(path, _connect(path, "rwc"))


def _filled(path: str, connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        connection.execute("BEGIN IMMEDIATE")
        schema.make(connection, schema.home_of(path))
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _set_aside(path: str) -> None:
    """Out of the way with a file, if there is one, and with what SQLite left beside it."""
    with contextlib.suppress(FileNotFoundError), typed("move aside", path):
        os.replace(path, path + ASIDE)
    for companion in ("-wal", "-shm"):  # SQLite would lay an old -wal over the new file, and share an old -shm
        with contextlib.suppress(FileNotFoundError), typed("remove", path + companion):
            os.unlink(path + companion)


def _look(path: str, mode: str) -> tuple[Condition, sqlite3.Connection | None]:
    """What the file is, and a connection to it if SQLite can use it as a search index or make it one."""
    if not os.path.exists(path):
        return Condition.MISSING, None
    if not (os.path.isfile(path) or os.path.isdir(path)):
        return Condition.DAMAGED, None  # a pipe: SQLite would wait for whoever opens its other end
    connection = None
    try:
        connection = _connect(path, mode)
        condition = schema.examine(connection, schema.home_of(path))
    except FileNotFoundError:  # moved aside just now
        shut(connection)
        return Condition.MISSING, None
    except (sqlite3.Error, UnicodeDecodeError) as error:
        shut(connection)
        if is_damage(error):
            return Condition.DAMAGED, None
        if mode == "ro" and primary_code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            return _look_at_medium(path)
        raise
    if condition is Condition.FOREIGN:
        shut(connection)
        return condition, None
    return condition, connection


def _look_at_medium(path: str) -> tuple[Condition, sqlite3.Connection | None]:
    """A folder where SQLite can make no -shm. `immutable` would hide rows that are still in a -wal."""
    if os.path.exists(path + "-wal") and os.stat(path + "-wal").st_size:
        raise ReadOnlyError(
            "the search index was not closed, and this medium cannot be written to finish it",
            path=path,
            remedy="Copy the store to a medium that can be written, and open it there once.",
        )
    return _look(path, "ro&immutable=1")


def _connect(path: str, mode: str) -> sqlite3.Connection:
    uri = f"file:{urllib.parse.quote(os.fsencode(os.path.abspath(path)))}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=WAIT_S, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS
    )
    try:
        if mode.startswith("rw"):
            if not on_network(path):
                _switch_to_wal(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            # What is dropped leaves the file by VACUUM and truncation; zeroing it before would write it all twice.
            connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA mmap_size = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """WAL mode. When two make the first switch at once SQLite fails instead of waiting, so the waiting is done here."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _is_well(path: str) -> bool:
    condition, connection = _look(path, "rw")
    if connection is None:
        return False
    try:
        return (
            condition is Condition.CURRENT
            and connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            and not word_trouble(connection)
        )
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return False
        raise
    finally:
        connection.close()


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """No other process makes or moves a search file in this folder meanwhile.

    The folder itself is locked: a lock file would be one more name in the store, and the search file itself must not be
    opened except through SQLite.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder or ".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then there is no such guard
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
