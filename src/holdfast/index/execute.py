"""Carries out what reducers say: symbols become keys, operations become SQL that is composed once for each shape.

Peewee composes the statements; the texts are kept and run directly, because building a query costs thirty times as
much as running it (docs/design/003).
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any

from peewee import SQL

from holdfast.errors import ChainBrokenError
from holdfast.index import proof
from holdfast.index.database import Database, mapped
from holdfast.index.rows import (
    SLOTS,
    Cell,
    Cells,
    ContentOf,
    DeletedWith,
    Insert,
    KeyOf,
    Operation,
    RevisionOf,
    Term,
    Update,
)
from holdfast.index.tables import Tables
from holdfast.values import digest, moment

_CACHED_KEYS = 20_000


class Executor:
    """Applies operations on one index. One writer at a time uses it: the one that holds the writer lock."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._db = database
        self._tables = tables
        self._keys: dict[str, int] = {}
        self._terms: dict[str, int] = {"": 0}
        # Composed once for each shape: a handful of shapes in all.
        self._field_order = lru_cache(32)(self._compose_order)
        self._insert_sql = lru_cache(256)(self._compose_insert)
        self._update_sql = lru_cache(256)(self._compose_update)
        self._delete_sql = lru_cache(64)(self._compose_delete)

    def forget(self) -> None:
        """Keys seen in a transaction that was rolled back are not to be trusted."""
        self._keys.clear()
        self._terms = {"": 0}

    def apply(self, seq: int, operations: list[Operation]) -> None:
        """Carry out the operations of change `seq`, in order, in the open SQL transaction."""
        connection = self._db.raw()
        try:
            for operation in operations:
                self._one(connection, seq, operation)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise mapped(error, self._db.path) from error

    def _one(self, connection: sqlite3.Connection, seq: int, operation: Operation) -> None:
        if isinstance(operation, Insert):
            cells = self._in_order(operation.table, operation.values)
            values = self._resolve(connection, seq, cells)
            if operation.table in proof.COLUMNS:
                found = dict(zip(cells, values, strict=True))
                values.append(proof.checksum(operation.table, *map(found.get, proof.COLUMNS[operation.table])))
            connection.execute(self._insert_sql(operation.table, tuple(cells)), values)
        elif isinstance(operation, Update):
            cells = self._in_order(operation.table, operation.values)
            values = self._resolve(connection, seq, cells)
            values += self._resolve(connection, seq, operation.where)
            sql = self._update_sql(operation.table, tuple(cells), tuple(operation.where))
            connection.execute(sql, values)
        else:
            values = self._resolve(connection, seq, operation.where)
            connection.execute(self._delete_sql(operation.table, tuple(operation.where)), values)

    def _resolve(self, connection: sqlite3.Connection, seq: int, cells: Cells) -> list[Any]:
        return [self._cell(connection, seq, cell) for cell in cells.values()]

    def _cell(self, connection: sqlite3.Connection, seq: int, cell: Cell) -> int | str | bytes | None:
        if cell is None or isinstance(cell, (int, str, bytes)):
            return cell
        if isinstance(cell, KeyOf):
            return self._key(connection, seq, cell.id)
        if isinstance(cell, Term):
            return self._term(connection, seq, cell)
        if isinstance(cell, ContentOf):
            return self._content(connection, seq, cell)
        if isinstance(cell, RevisionOf):
            sql = "SELECT key FROM revision WHERE artifact = ? AND number = ?"
            return self._found(connection, seq, sql, (self._key(connection, seq, cell.artifact), cell.number))
        assert isinstance(cell, DeletedWith)
        sql = "SELECT deleted FROM record WHERE id = ?"
        return self._found(connection, seq, sql, (moment.id_bytes(cell.id),))

    def _found(self, connection: sqlite3.Connection, seq: int, sql: str, parameters: tuple[Any, ...]) -> int:
        row = connection.execute(sql, parameters).fetchone()
        if row is None:
            raise ChainBrokenError(f"change {seq} speaks of a record that is not there", seq=seq, where="change")
        return int(row[0])

    def _key(self, connection: sqlite3.Connection, seq: int, record_id: str) -> int:
        key = self._keys.get(record_id)
        if key is None:
            if len(self._keys) >= _CACHED_KEYS:
                self._keys.clear()
            sql = "SELECT key FROM record WHERE key = (SELECT key FROM record WHERE id = ?1) AND +id = ?1"
            key = self._keys[record_id] = self._found(connection, seq, sql, (moment.id_bytes(record_id),))
        return key

    def _term(self, connection: sqlite3.Connection, seq: int, term: Term) -> int:
        key = self._terms.get(term.text)
        if key is None:
            row = connection.execute("SELECT key FROM term WHERE text = ?", (term.text,)).fetchone()
            if row is None:
                key = seq * SLOTS + term.slot
                connection.execute(
                    "INSERT INTO term (key, text, crc) VALUES (?, ?, ?)",
                    (key, term.text, proof.checksum("term", key, term.text)),
                )
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
        """The key of an interned text, for rows that are not made by reducers (transactions)."""
        try:
            return self._term(self._db.raw(), seq, Term(text, slot))
        except sqlite3.Error as error:
            raise mapped(error, self._db.path) from error

    def _content(self, connection: sqlite3.Connection, seq: int, content: ContentOf) -> int:
        raw = digest.raw(content.digest)
        found = connection.execute(
            "SELECT key FROM content WHERE substr(digest, 1, 8) = ? AND digest = ?", (raw[:8], raw)
        ).fetchone()
        if found is not None:
            return int(found[0])
        signed = (seq, raw, content.size, proof.checksum("content", seq, raw, content.size))
        connection.execute("INSERT INTO content (key, digest, size, crc) VALUES (?, ?, ?, ?)", signed)
        return seq

    def _in_order(self, table: str, cells: Cells) -> Cells:
        """Cells as Peewee lays columns out: in the order of the model's fields, whatever order they are given in."""
        order = self._field_order(table)
        return dict(sorted(cells.items(), key=lambda pair: order[pair[0]]))

    def _compose_order(self, table: str) -> dict[str, int]:
        return {name: n for n, name in enumerate(self._tables.named(table)._meta.sorted_field_names)}

    def _compose_insert(self, table: str, columns: tuple[str, ...]) -> str:
        model = self._tables.named(table)
        every = (*columns, proof.CHECKSUM) if table in proof.COLUMNS else columns
        return str(model.insert({model._meta.fields[c]: 0 for c in every}).sql()[0])

    def _compose_update(self, table: str, columns: tuple[str, ...], where: tuple[str, ...]) -> str:
        model = self._tables.named(table)
        fields = model._meta.fields
        values: dict[Any, Any] = {fields[c]: 0 for c in columns}
        if table in proof.COLUMNS:
            values[fields[proof.CHECKSUM]] = SQL(proof.changed(table, columns))
        query = model.update(values)
        for column in where:
            query = query.where(fields[column] == 0)
        return str(query.sql()[0])

    def _compose_delete(self, table: str, where: tuple[str, ...]) -> str:
        model = self._tables.named(table)
        query = model.delete()
        for column in where:
            query = query.where(model._meta.fields[column] == 0)
        return str(query.sql()[0])
