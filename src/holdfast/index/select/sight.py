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
from holdfast.index.tables import KIND_CODES
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name

MAX_ROWS = 1_024
"""Rows of artifacts kept by a thread, at most: some two megabytes. More of them drive each other, and what is asked
now, out of the processor's own memory when all of a store is gone through one by one."""

MAX_ANSWERED = 4_096
"""Rows of whole answers to queries kept by a thread, at most: some eight megabytes. The oldest answers go first, so
that a store with a few more collections than are kept is not asked for everything anew."""

MAX_CHARACTERS = 4_096
"""A row with more metadata than that is not kept."""

MAX_FOLDERS = 10_000
DEEPEST_KEPT = 64

Row = tuple[Any, ...]
Token = tuple[object, int, int, int]
_VERSION = "PRAGMA data_version"
_COLLECTION = KIND_CODES["collection"]
_MOVED = f"""SELECT EXISTS (SELECT 1 FROM record WHERE key >= ?1 AND kind = {_COLLECTION}) OR EXISTS
    (SELECT 1 FROM change c JOIN record r ON r.key = c.record WHERE c.seq >= ?1 AND r.kind = {_COLLECTION})"""
"""Whether a change from a seq on concerns a collection: it made its record, or has a row of its own."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A collection as those in it need it: the names from the root down to it, as text, as bytes; its id."""

    names: tuple[Name, ...]
    text: str
    raw: bytes
    id: str


class Sight:
    """What holds for one version of the index. `version` None: for the moment only, inside a transaction.

    `has_places`: what is found out about collections may be kept in it all the same.
    """

    __slots__ = (
        "_answered", "answers", "at", "barren", "companies", "declared", "facts", "folders", "has_places", "pages",
        "roots", "subtrees", "version", "ways",
    )  # fmt: skip

    def __init__(self, version: tuple[int, int, int] | None) -> None:
        self.version = version
        self.has_places = version is not None
        self.folders: dict[int, Folder] = {}
        self.ways: dict[str | bytes, int] = {}
        self.at: dict[str, int] = {}
        self.roots: dict[str, int] = {}
        self.barren: set[int] = set()
        self.facts: set[str] = set()
        self.subtrees: dict[str, tuple[list[int], frozenset[str]]] = {}
        self.pages: dict[Any, Row] = {}
        self.answers: dict[Any, Sequence[Row]] = {}
        self.declared: dict[tuple[str | int, ...], tuple[int, str]] | None = None
        self.companies: dict[tuple[Any, ...], Any] = {}
        self._answered = 0

    def keep(self, asked: Any, row: Row) -> None:
        """Remember a proven row."""
        if len(self.pages) >= MAX_ROWS:
            self.pages = {}
        self.pages[asked] = row

    def keep_answer(self, asked: Any, rows: Sequence[Row]) -> None:
        """Remember the proven rows that an answer consists of."""
        self._answered += 1 + len(rows)
        while self._answered > MAX_ANSWERED and self.answers:
            self._answered -= 1 + len(self.answers.pop(next(iter(self.answers))))
        self.answers[asked] = rows

    def take_places(self, other: Sight) -> None:
        """What another one knows of collections holds here too."""
        self.folders, self.ways, self.barren, self.facts = other.folders, other.ways, other.barren, other.facts
        self.at, self.roots = other.at, other.roots
        self.has_places = True

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

    def keep_at(self, path: str, key: int) -> None:
        """Remember which live collection is at a path that somebody asks below."""
        if len(self.at) >= MAX_FOLDERS:
            self.at = {}
        self.at[path] = key

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
    connection: sqlite3.Connection | None = None
    mark: object = None
    left: Token | None = None
    met: bool = True
    lasting: tuple[Sight, int] | None = None


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
        return self._as_of((self._epoch, self._version(connection) if known is None else known, changes))

    def _as_of(self, version: tuple[int, int, int]) -> Sight:
        own = self._own
        sight: Sight | None = own.sight
        if sight is None or sight.version != version:
            sight = own.sight = Sight(version)
        return sight

    def begin(self) -> int:
        """This thread's connection has begun a write transaction: until it changes a row, what was seen holds.

        The version of the database, which nobody else changes until `end`.
        """
        own, connection = self._own, self._db.raw()
        version = own.known = self._version(connection)
        own.met = own.left is None or own.left[2] != version
        own.began, own.left = connection.total_changes, None
        self._mark(connection)
        own.steady = None
        if own.held is None:
            own.steady = self._as_of((self._epoch, version, own.began))
        return version

    def is_behind(self) -> bool:
        """Whether others may have committed since this thread did: a guess, without asking. They had the last time."""
        return self._own.left is None or self._own.met

    def lately(self) -> Sight | None:
        """What this thread saw last: true then, and a hint now."""
        return self._own.sight

    def foresee(self) -> None:
        """Read what `carry` will ask; see SqlIndex.foresee."""
        if self._own.lasting is not None:
            self._db.one(_MOVED, (self._own.lasting[1],))

    def hold(self, next_seq: int) -> None:
        """The chain ends before `next_seq` with what this thread has committed just now: see `carry`."""
        if self._own.left is not None and self._own.sight is not None:
            self._own.lasting = (self._own.sight, next_seq)

    def carry(self) -> None:
        """Where others have committed since this thread did, but no change of a collection: what it saw of those holds.

        In a write transaction that has changed nothing yet. Rows of collections come from the chain alone.
        """
        sight, next_seq = self._own.lasting or (None, 0)
        steady = self._own.steady
        if sight is None or steady is None or steady.ways is sight.ways:
            return
        if sight.version is None or sight.version[0] != self._epoch:
            return
        self._own.lasting = None
        found = self._db.one(_MOVED, (next_seq,))
        if found is not None and not found[0]:
            steady.take_places(sight)

    def shift(self) -> None:
        """The open transaction changes collections: where they lie is not what it was before it."""
        self._own.steady = None

    def committed(self, version: int | None = None) -> None:
        """What this thread changed is committed, and changes the version by nothing but the count of changes.

        `version`: what it is now, where commits of one's own count too.
        """
        version = self._own.known if version is None else version
        if version is not None:
            connection = self._db.raw()
            self._mark(connection)
            changes = connection.total_changes
            self._own.sight = self._moved((self._epoch, version, changes))
            self._own.left = (self._own.mark, self._epoch, version, changes)

    def left(self) -> Token | None:
        """What `token` says as long as nobody has committed since this thread did; None if that is not known."""
        return self._own.left

    def _moved(self, version: tuple[int, int, int] | None) -> Sight:
        """An empty sight; it knows where collections lie if this thread's transaction has changed none."""
        sight, steady = Sight(version), self._own.steady
        if steady is not None:
            sight.take_places(steady)
        return sight

    def token(self) -> Token | None:
        """Names what this thread can see: the same as before only if nobody has committed or changed a row since."""
        connection = self._db.raw()
        known = self._own.known if connection.in_transaction else None
        if connection.in_transaction and known is None:
            return None
        version = self._version(connection) if known is None else known
        self._mark(connection)
        return (self._own.mark, self._epoch, version, connection.total_changes)

    def _mark(self, connection: sqlite3.Connection) -> None:
        if self._own.connection is not connection:
            self._own.connection, self._own.mark = connection, object()

    def end(self) -> None:
        """The write transaction is over."""
        self._own.known = self._own.steady = None

    def _version(self, connection: sqlite3.Connection) -> int:
        try:
            found: int = connection.execute(_VERSION).fetchone()[0]
        except Exception as error:
            raise mapped(error, self._db.path) from error
        return found

    def forget(self) -> None:
        """All rows were made anew."""
        self._epoch += 1
