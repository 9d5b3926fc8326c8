"""Carries out what reducers say: symbols become keys, operations become SQL that is composed once for each shape.

Peewee composes the statements; the texts are kept and run directly, because building a query costs thirty times as
much as running it (docs/design/003).
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from holdfast.errors import ChainBrokenError
from holdfast.index import columnar, composing, metadata, proof, revised, together
from holdfast.index.apply import artifacts, reduce
from holdfast.index.columnar import TOGETHER
from holdfast.index.database import Database, mapped
from holdfast.index.rows import (
    Cell,
    Cells,
    ContentOf,
    Delete,
    DeletedWith,
    Describe,
    Insert,
    KeyOf,
    Operation,
    RevisionOf,
    Survey,
    Term,
    Update,
)
from holdfast.index.tables import SLOTS
from holdfast.index.together import Shape
from holdfast.values import digest, moment
from holdfast.values.change import Body
from holdfast.values.newcomers import Newcomers

_CACHED_KEYS = 20_000

_CREATED = [((table, proof.COLUMNS[table]), proof.FORMS[table]) for table in ("record", "artifact", "revision")]
_NEW_TERM = ("term", proof.COLUMNS["term"])
"""Shapes of rows that are always given whole, in the order of their columns."""

_PLAIN = frozenset({int, float, str, bytes, type(None)})
"""Types of cells that are values already, and need no look."""

_CONTENT = "SELECT key FROM content WHERE substr(digest, 1, 4) = ? AND digest = ?"

_METADATA = f"""SELECT v.metadata, {proof.proven("artifact", "a")}, {proof.proven("revision", "v")}
    FROM artifact a JOIN revision v ON {revised.of_artifact("v", "a.key")} WHERE a.key = ?1 AND """
_DESCRIBED = f"""SELECT a.key, v.metadata FROM artifact a JOIN revision v ON v.key = a.newest
    WHERE a.key > ? AND v.metadata IS NOT NULL AND {proof.proven("artifact", "a")} AND {proof.proven("revision", "v")}
    ORDER BY a.key LIMIT 1000"""
_REVISION = f"SELECT v.key FROM revision v WHERE {revised.numbered('v', '?1', '?2')}"
_VALUE = ("declared", "value", "artifact")


@functools.cache
def _creating() -> list[tuple[str, bytes]]:
    """The statement and the form of the checksum of each row of a new artifact."""
    return [(composing.insert(*shape, 1), form) for shape, form in _CREATED]


class Executor:
    """Applies operations on one index. One writer at a time uses it: the one that holds the writer lock."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._keys: dict[str, int] = {}
        self._terms: dict[str, int] = {"": 0}
        self._contents: dict[str, int] = {}
        self._waiting: dict[Shape, list[Sequence[Any]]] | None = None
        self._new: dict[str, list[tuple[Any, ...]]] = {}  # whole rows that wait, without their checksums
        self._absent: set[str] = set()
        self.unspoken: set[str] = set()  # digests of contents that are known to have no row
        self.resolved: dict[str, int] = {}  # keys of contents that changes of this transaction spoke of, by digest
        self._declared: dict[int, str] | None = None
        self._seen: tuple[sqlite3.Connection, int] | None = None

    def begin(self, version: int) -> None:
        """A transaction begins. `version`: of the database as this connection sees it; a new one: others have written.

        Which indexes are declared is known as long as nobody else writes.
        """
        self.resolved.clear()
        self.unspoken.clear()
        seen = (self._db.raw(), version)
        if seen != self._seen:
            self._declared, self._seen = None, seen

    def committed(self, version: int) -> None:
        """The version that this thread's own commit has made: where these count too."""
        self._seen = (self._db.raw(), version)

    def forget(self) -> None:
        """Keys seen in a transaction that was rolled back are not to be trusted."""
        self._keys.clear()
        self._terms, self._declared = {"": 0}, None
        self.resolved.clear()
        self.unspoken.clear()

    def know(self, record_id: str, key: int) -> None:
        """The key of a record that is being made: whoever names it next need not look it up."""
        if len(self._keys) >= _CACHED_KEYS:
            self._keys.clear()
        self._keys[record_id] = key

    def apply(self, seq: int, operations: Iterable[Operation]) -> None:
        """Carry out the operations of change `seq`, in order, in the open SQL transaction."""
        connection = self._db.raw()
        try:
            for operation in operations:
                self._one(connection, seq, operation)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise mapped(error, self._db.path) from error

    def create_artifact(self, seq: int, body: Body) -> None:
        """As `apply` of what the creation of an artifact is reduced to, without symbols: most changes are one."""
        connection = self._db.raw()
        try:
            rows = artifacts.creation(seq, body, self)
            for (sql, form), cells in zip(_creating(), rows, strict=True):
                connection.execute(sql, (*cells, crc32(form % cells)))
            self._beside(connection, seq, body["new"])
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise mapped(error, self._db.path) from error

    def _beside(self, connection: sqlite3.Connection, seq: int, new: dict[str, Any]) -> None:
        """Tags of a new artifact, and what declared indexes have of it."""
        for tag in new.get("tags", ()):
            self._one(connection, seq, Insert("tagging", {"record": seq, "tag": tag}))
        if new["revision"].get("metadata") and self._indexes():
            self._describe(connection, seq, Describe(seq, new["revision"]["metadata"], new=True))

    def apply_all(self, changes: Sequence[tuple[int, Body]]) -> None:
        """Reduce and apply many changes in turn: the same rows in the end as one by one. New ones go in together."""
        said = [(seq, new["revision"]) for seq, body in changes if "revision" in (new := body.get("new", ()))]
        news = [(seq, revision["digest"], revision["size"]) for seq, revision in said]
        with self._together(news, [revision.get("source", "") for _, revision in said]):
            self._apply_all(changes)

    def create_all(self, first: int, new: Newcomers) -> None:
        """As `apply_all` of the changes that these columns stand for, from seq `first` on."""
        news = list(zip(range(first, first + len(new)), new.digests, new.sizes, strict=True))
        with self._together(news, new.sources):
            for table, cells in artifacts.creations(first, new, self).items():
                columnar.write_columns(self._db.raw(), table, cells)

    @contextmanager
    def _together(self, news: Sequence[tuple[int, str, int]], sources: Iterable[str]) -> Iterator[None]:
        """New rows wait in the block. What the index has of contents and folders of files is asked for all at once."""
        self._waiting = {}
        try:
            self._contents, self._new["content"] = together.contents(self._db, news, self.unspoken)
            self._absent = together.absent_terms(self._db, self._terms, sources)
            yield
            self._write_waiting()
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise mapped(error, self._db.path) from error
        finally:
            self._waiting, self._new, self._contents, self._absent = None, {}, {}, set()

    def _apply_all(self, changes: Sequence[tuple[int, Body]]) -> None:
        assert self._waiting is not None
        connection = self._db.raw()
        created = [self._new.setdefault(table, []) for table in ("record", "artifact", "revision")]
        for seq, body in changes:
            if body["kind"] == "artifact" and body["action"] == "create":
                for rows, cells in zip(created, artifacts.creation(seq, body, self), strict=True):
                    rows.append(cells)
                self._beside(connection, seq, body["new"])
            else:
                self.apply(seq, reduce(seq, body))

    def _insert(self, connection: sqlite3.Connection, shape: Shape, values: Sequence[Any]) -> None:
        if self._waiting is None:
            connection.execute(composing.insert(*shape, 1), values)
        else:
            (rows := self._waiting.setdefault(shape, [])).append(values)
            if len(rows) == TOGETHER:
                together.write(connection, shape, rows)

    def _write_waiting(self, table: str | None = None) -> None:
        """Write the rows that wait (those of one table): something is about to read or change it."""
        for name in [*self._new] if table is None else [table]:
            columnar.write(self._db.raw(), name, self._new.get(name, []))
        for shape, rows in (self._waiting or {}).items():
            if rows and table in (None, shape[0]):
                together.write(self._db.raw(), shape, rows)

    def _one(self, connection: sqlite3.Connection, seq: int, operation: Operation) -> None:
        if isinstance(operation, Describe):
            self._describe(connection, seq, operation)
            return
        if isinstance(operation, Survey):
            self._write_waiting()
            index, self._declared = self._resolve(connection, seq, {"": operation.index})[0], None
            _survey(connection, index, self._indexes()[index])
            return
        if isinstance(operation, Insert):
            table = operation.table
            layout = composing.layout(table, tuple(operation.values))
            values = [
                cell if type(cell) in _PLAIN else self._cell(connection, seq, cell)
                for cell in layout.given(operation.values)
            ]
            if self._waiting is not None and layout.columns == proof.COLUMNS.get(table):
                self._new.setdefault(table, []).append(tuple(values))
            else:
                values += [] if layout.signed is None else [proof.checksum(table, *layout.signed((*values, None)))]
                self._insert(connection, (table, layout.columns), values)
            return
        self._write_waiting(operation.table)
        if operation.table == "metadata_index":
            self._declared = None
        if isinstance(operation, Update):
            columns = composing.layout(operation.table, tuple(operation.values)).columns
            values = self._resolve(connection, seq, {column: operation.values[column] for column in columns})
            values += self._resolve(connection, seq, operation.where)
            sql = composing.update(operation.table, columns, tuple(operation.where))
            connection.execute(sql, values)
        else:
            values = self._resolve(connection, seq, operation.where)
            connection.execute(composing.delete(operation.table, tuple(operation.where)), values)

    def _describe(self, connection: sqlite3.Connection, seq: int, said: Describe) -> None:
        """What the declared indexes have of an artifact becomes what its newest revision is about to say."""
        declared = self._indexes()
        if not declared:
            return
        key = self._resolve(connection, seq, {"": said.artifact})[0]
        before = {} if said.new else self._metadata(connection, key, None)
        number = said.metadata.number if isinstance(said.metadata, RevisionOf) else None
        after = said.metadata if isinstance(said.metadata, dict) else self._metadata(connection, key, number)
        for index, field in declared.items():
            old, new = metadata.key_in(before, field), metadata.key_in(after, field)
            if old == new and type(old) is type(new):
                continue
            if old is not None:
                self._one(connection, seq, Delete("metadata_value", {"declared": index, "value": old, "artifact": key}))
            if new is not None:
                self._one(connection, seq, Insert("metadata_value", {"declared": index, "value": new, "artifact": key}))

    def _indexes(self) -> dict[int, str]:
        if self._declared is None:
            self._write_waiting("metadata_index")
            self._declared = {row[0]: row[1] for row in self._db.rows(metadata.DECLARED)}
        return self._declared

    def _metadata(self, connection: sqlite3.Connection, artifact: int, number: int | None) -> dict[str, Any]:
        self._write_waiting()
        return _metadata_of(connection, artifact, number)

    def key(self, seq: int, record_id: str) -> int:
        """The key of a record."""
        key = self._keys.get(record_id)
        return self._key(self._db.raw(), seq, record_id) if key is None else key

    @property
    def terms(self) -> Mapping[str, int]:
        """Keys of interned texts that are known."""
        return self._terms

    def content(self, seq: int, content_digest: str, size: int) -> int:
        """The key of a content, whose row is made if it is new."""
        return self._content(self._db.raw(), seq, content_digest, size)

    def contents(self, seqs: Sequence[int], digests: Sequence[str], sizes: Sequence[int]) -> list[int]:
        """The same of many."""
        found = together.known(self._contents, digests)
        if found is None or len(self.resolved) + len(found) >= _CACHED_KEYS:
            return [self.content(*one) for one in zip(seqs, digests, sizes, strict=True)]
        self.resolved.update(zip(digests, found, strict=True))
        return found

    def _resolve(self, connection: sqlite3.Connection, seq: int, cells: Cells) -> list[Any]:
        return [self._cell(connection, seq, cell) for cell in cells.values()]

    def _cell(self, connection: sqlite3.Connection, seq: int, cell: Cell) -> int | float | str | bytes | None:
        if isinstance(cell, Term):
            key = self._terms.get(cell.text)
            return self._term(connection, seq, cell) if key is None else key
        if isinstance(cell, KeyOf):
            return self._key(connection, seq, cell.id)
        if cell is None or isinstance(cell, (int, float, str, bytes)):
            return cell
        if isinstance(cell, ContentOf):
            return self._content(connection, seq, cell.digest, cell.size)
        if isinstance(cell, RevisionOf):
            return self._found(connection, seq, _REVISION, (self._key(connection, seq, cell.artifact), cell.number))
        assert isinstance(cell, DeletedWith)
        sql = "SELECT deleted FROM record WHERE id = ?"
        return self._found(connection, seq, sql, (moment.id_bytes(cell.id),))

    def _found(self, connection: sqlite3.Connection, seq: int, sql: str, parameters: tuple[Any, ...]) -> int:
        self._write_waiting()
        row = connection.execute(sql, parameters).fetchone()
        if row is None:
            raise ChainBrokenError(f"change {seq} speaks of a record that is not there", seq=seq, where="change")
        return int(row[0])

    def _key(self, connection: sqlite3.Connection, seq: int, record_id: str) -> int:
        key = self._keys.get(record_id)
        if key is None:
            sql = "SELECT key FROM record WHERE key = (SELECT key FROM record WHERE id = ?1) AND +id = ?1"
            key = self._found(connection, seq, sql, (moment.id_bytes(record_id),))
            self.know(record_id, key)
        return key

    def _term(self, connection: sqlite3.Connection, seq: int, term: Term) -> int:
        key = self._terms.get(term.text)
        if key is None:
            row = None
            if term.text in self._absent:
                self._absent.remove(term.text)
            else:
                self._write_waiting("term")
                row = connection.execute("SELECT key FROM term WHERE text = ?", (term.text,)).fetchone()
            if row is None:
                key = seq * SLOTS + term.slot
                self._insert(connection, _NEW_TERM, (key, term.text, proof.checksum("term", key, term.text)))
            else:
                key = int(row[0])
                # What the index of texts says is not written anywhere before the row itself has confirmed it.
                confirmed = connection.execute("SELECT text FROM term WHERE key = ?", (key,)).fetchone()
                if confirmed is None or confirmed[0] != term.text:
                    raise proof.damaged("term", key)
            if len(self._terms) >= _CACHED_KEYS:
                self._terms = {"": 0}
            self._terms[term.text] = key
        return key

    def term(self, seq: int, text: str, slot: int) -> int:
        """The key of an interned text, which is made if it is new."""
        key = self._terms.get(text)
        if key is not None:
            return key
        try:
            return self._term(self._db.raw(), seq, Term(text, slot))
        except sqlite3.Error as error:
            raise mapped(error, self._db.path) from error

    def _content(self, connection: sqlite3.Connection, seq: int, content_digest: str, size: int) -> int:
        if len(self.resolved) >= _CACHED_KEYS:
            self.resolved.clear()
        key = self.resolved[content_digest] = self._content_key(connection, seq, content_digest, size)
        return key

    def _content_key(self, connection: sqlite3.Connection, seq: int, content_digest: str, size: int) -> int:
        key = self._contents.get(content_digest)
        if key is not None:
            return key
        raw = digest.raw(content_digest)
        if content_digest in self.unspoken:
            self.unspoken.remove(content_digest)
        elif self._waiting is None:
            row = connection.execute(_CONTENT, (raw[:4], raw)).fetchone()
            if row is not None:
                return int(row[0])
        self._insert(connection, together.NEW_CONTENT, (seq, raw, size, proof.checksum("content", seq, raw, size)))
        if self._waiting is not None:
            self._contents[content_digest] = seq
        return seq


def _metadata_of(connection: sqlite3.Connection, artifact: int, number: int | None) -> dict[str, Any]:
    """Of a revision of an artifact; without a number, of the one that its row says is the newest."""
    which, found = ("v.number = ?2", (artifact, number)) if number is not None else ("v.key = a.newest", (artifact,))
    row = connection.execute(_METADATA + which, found).fetchone()
    return {} if row is None else metadata.parsed(row[0])


def _survey(connection: sqlite3.Connection, index: int, field: str) -> None:
    """What a newly declared index has of every artifact."""
    after = -1
    while page := connection.execute(_DESCRIBED, (after,)).fetchall():
        after = page[-1][0]
        keys = ((artifact, metadata.key_in(metadata.parsed(text), field)) for artifact, text in page)
        rows = [[index, key, artifact] for artifact, key in keys if key is not None]
        connection.executemany(composing.insert("metadata_value", _VALUE, 1), rows)
