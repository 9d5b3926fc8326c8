"""Tables of search.sqlite3, and how to tell whether a file holds them.

`words` is a contentless FTS5 table: it keeps no copy of any text. SQLite 3.40 cannot delete from such a table, so its
row numbers are never used twice, and rows without a `doc` are dead: in no answer, and gone when all is made anew.
"""

from __future__ import annotations

import enum
import os
import sqlite3

from holdfast import ram

APPLICATION_ID = 0x48465346  # "HFSF"
VERSION = 1

NAME_WEIGHT, METADATA_WEIGHT, TEXT_WEIGHT = 10.0, 4.0, 1.0

_SEGMENTS = 16
"""So many parts of a size are merged into one, the most that FTS5 allows. By 4, its own choice, all is written twice as
often: 8.1 against 5.8 CPU seconds for 153 MB of text; a search among 100,000 texts takes 1.25 and 1.27 ms."""

_TABLES = f"""
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,           -- changes up to here are taken in …
    chain BLOB NOT NULL,            -- … if the chain hash there is this
    next_id INTEGER NOT NULL,       -- number of the next row of `words`
    dead INTEGER NOT NULL,          -- rows of `words` without a `doc`
    scrub INTEGER NOT NULL,         -- 1: pages of forgotten text may still be in the file
    home TEXT NOT NULL              -- file system and inode; a copy has others
);
INSERT INTO meta VALUES (1, 0, x'', 1, 0, 1, '');
CREATE TABLE doc (id INTEGER PRIMARY KEY, key INTEGER NOT NULL UNIQUE, revision INTEGER NOT NULL, left_out TEXT);
CREATE INDEX doc_left_out ON doc (left_out, key, revision) WHERE left_out IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5 (name, metadata, body, content = '', tokenize = 'ascii');
INSERT INTO words (words, rank) VALUES ('hashsize', 4194304);
INSERT INTO words (words, rank) VALUES ('automerge', {_SEGMENTS});
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


class Condition(enum.StrEnum):
    """What a search file was found to be. All but CURRENT are answered by making it anew."""

    CURRENT = "current"
    MISSING = "missing"
    OTHER_VERSION = "other-version"
    MOVED = "moved"
    DAMAGED = "damaged"
    FOREIGN = "foreign"


def home_of(path: str) -> str:
    """File system and inode of a file, as text. It is looked at, never opened: closing it would drop SQLite's locks."""
    if ram.holds(path):
        return ""
    found = os.stat(path)
    device = os.statvfs(path).f_fsid if hasattr(os, "statvfs") else found.st_dev
    return f"{device}:{found.st_ino}"


def examine(connection: sqlite3.Connection, home: str) -> Condition:
    """What an open database is. Raises sqlite3.Error if it cannot be read as one.

    A copy taken of a live WAL database can pass every check of SQLite and still hold rows that don't belong together;
    only the place of the file tells (MOVED).
    """
    if _number(connection, "application_id") != APPLICATION_ID:
        return Condition.FOREIGN if _tables(connection) else Condition.MISSING
    if _number(connection, "user_version") != VERSION:
        return Condition.OTHER_VERSION
    try:
        row = connection.execute("SELECT home FROM meta").fetchone()
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # no such table or column
            return Condition.DAMAGED
        raise
    if row is None:
        return Condition.DAMAGED
    return Condition.CURRENT if row[0] == home else Condition.MOVED


def make(connection: sqlite3.Connection, home: str) -> None:
    """Drop whatever is there and make empty tables. Runs inside the caller's write transaction."""
    if "words" in _tables(connection):
        connection.execute("DROP TABLE words")  # takes its shadow tables along
    for name in _tables(connection):
        connection.execute('DROP TABLE "{}"'.format(name.replace('"', '""')))
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute("UPDATE meta SET home = ?", (home,))


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    return [name for (name,) in connection.execute(query).fetchall()]


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
