"""What a thread has read and proven, kept until anybody commits: hot rows, folders, ways down a path.

Each thread has its own, because SQLite tells of others' commits for each connection (`PRAGMA data_version`), and of
one's own by `total_changes`. So one small statement decides whether all of it still holds, whoever wrote: this process
or another. Bounded by weight; when it is full it begins anew.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

from holdfast.index.database import Database, mapped
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name

MAX_ROWS = 1_024
"""Rows of artifacts kept by a thread, at most: some two megabytes. More of them drive each other, and what is asked
now, out of the processor's own memory when all of a store is gone through one by one."""

MAX_CHARACTERS = 4_096
"""A row with more metadata than that is not kept."""

MAX_FOLDERS = 10_000
DEEPEST_KEPT = 64

Row = tuple[Any, ...]
Token = tuple[object, int, int, int]
_VERSION = "PRAGMA data_version"


@dataclass(frozen=True, slots=True)
class Folder:
    """A collection as those in it need it: the names from the root down to it, as text, as bytes; its id."""

    names: tuple[Name, ...]
    text: str
    raw: bytes
    id: str


class Sight:
    """What holds for one version of the index. `version` None: for the moment only, inside a transaction."""

    __slots__ = ("_weight", "barren", "companies", "declared", "folders", "pages", "subtrees", "version", "ways")

    def __init__(self, version: tuple[int, int, int] | None) -> None:
        self.version = version
        self.folders: dict[int, Folder] = {}
        self.ways: dict[str | bytes, int] = {}
        self.barren: set[int] = set()
        self.subtrees: dict[str, tuple[list[int], frozenset[str]]] = {}
        self.pages: dict[Any, Sequence[Row]] = {}
        self.declared: dict[tuple[str | int, ...], tuple[int, str]] | None = None
        self.companies: dict[tuple[Any, ...], Any] = {}
        self._weight = 0

    def keep(self, asked: Any, rows: Sequence[Row]) -> None:
        """Remember the proven rows that an answer consists of."""
        if self._weight + len(rows) >= MAX_ROWS:
            self.pages, self._weight = {}, 0
        self.pages[asked] = rows
        self._weight += 1 + len(rows)

    def keep_folder(self, key: int, folder: Folder) -> None:
        """Remember where a collection lies."""
        if len(self.folders) >= MAX_FOLDERS:
            self.folders = {}
        if len(folder.names) <= DEEPEST_KEPT:
            self.folders[key] = folder

    def keep_way(self, path: str | bytes, key: int) -> None:
        """Remember which live collection a path leads to."""
        if len(self.ways) >= MAX_FOLDERS:
            self.ways = {}
        self.ways[path] = key

    def keep_company(self, named: tuple[Any, ...], company: object) -> None:
        """Remember what rows name by the same keys (making.py)."""
        if len(self.companies) >= MAX_FOLDERS:
            self.companies = {}
        self.companies[named] = company

    def keep_barren(self, key: int) -> None:
        """Remember that no live collection lies right below one."""
        if len(self.barren) >= MAX_FOLDERS:
            self.barren = set()
        self.barren.add(key)

    def keep_subtree(self, path: str, subtree: tuple[list[int], frozenset[str]]) -> None:
        """Remember which collections lie below one: keys and ids."""
        if sum(len(keys) for keys, _ in self.subtrees.values()) + len(subtree[0]) > MAX_FOLDERS:
            self.subtrees = {}
        self.subtrees[path] = subtree


class _Own(threading.local):
    """What one thread has."""

    began: int = -1
    known: int | None = None
    held: Sight | None = None
    sight: Sight | None = None
    steady: Sight | None = None


class Held:
    """A block in which one sight is held; within another one, that of the other."""

    __slots__ = ("_outer", "_own", "_sights")

    def __init__(self, sights: Sights, own: _Own) -> None:
        self._sights, self._own = sights, own

    def __enter__(self) -> Sight:
        self._outer = self._own.held
        sight = self._own.held = self._sights.now()
        return sight

    def __exit__(self, *_: object) -> None:
        self._own.held = self._outer


class Sights:
    """The sights of all threads on one index."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._own = _Own()
        self._epoch = 0

    def held(self) -> Held:
        """What this thread sees when the block begins is what `now` gives in all of it: one answer asks once."""
        return Held(self, self._own)

    def now(self) -> Sight:
        """This thread's, as far as it still holds. After the first change of an open transaction: an empty one."""
        own = self._own
        held: Sight | None = own.held
        if held is not None:
            return held
        connection = self._db.raw()
        changes = connection.total_changes
        known = None
        if connection.in_transaction:
            if own.began != changes:
                return self._moved(None)  # a roll-back would not show in the version
            known = own.known
        version = (self._epoch, self._version(connection) if known is None else known, changes)
        sight: Sight | None = own.sight
        if sight is None or sight.version != version:
            sight = own.sight = Sight(version)
        return sight

    def begin(self) -> int:
        """This thread's connection has begun a write transaction: until it changes a row, what was seen holds.

        The version of the database, which nobody else changes until `end`.
        """
        connection = self._db.raw()
        self._own.began = connection.total_changes
        version = self._own.known = self._version(connection)
        self._own.steady = None if self._own.held is not None else self.now()
        return version

    def shift(self) -> None:
        """The open transaction changes collections: where they lie is not what it was before it."""
        self._own.steady = None

    def committed(self) -> None:
        """What this thread changed is committed, and changes the version by nothing but the count of changes."""
        version = getattr(self._own, "known", None)
        if version is not None:
            self._own.sight = self._moved((self._epoch, version, self._db.raw().total_changes))

    def _moved(self, version: tuple[int, int, int] | None) -> Sight:
        """An empty sight; it knows where collections lie if this thread's transaction has changed none."""
        sight, steady = Sight(version), getattr(self._own, "steady", None)
        if steady is not None:
            sight.folders, sight.ways, sight.barren = steady.folders, steady.ways, steady.barren
        return sight

    def token(self) -> Token | None:
        """Names what this thread can see: the same as before only if nobody has committed or changed a row since."""
        connection = self._db.raw()
        known = getattr(self._own, "known", None) if connection.in_transaction else None
        if connection.in_transaction and known is None:
            return None
        version = self._version(connection) if known is None else known
        if getattr(self._own, "connection", None) is not connection:
            self._own.connection, self._own.mark = connection, object()
        return (self._own.mark, self._epoch, version, connection.total_changes)

    def end(self) -> None:
        """The write transaction is over."""
        self._own.known = self._own.steady = None

    def _version(self, connection: sqlite3.Connection) -> int:
        try:
            return connection.execute(_VERSION).fetchone()[0]  # type: ignore[no-any-return]
        except Exception as error:
            raise mapped(error, self._db.path) from error

    def forget(self) -> None:
        """All rows were made anew."""
        self._epoch += 1
