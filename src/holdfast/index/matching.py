"""Whether the rows of an index are those that its chain gives, told without making them anew: for fsck.

Every change is reduced as ever, and what it says of a row is compared with the row that stands there. A row that
differs may be changed again by a later change: it waits until the end of the chain. Every row that is expected was then
met, and if there are as many as that, there is no other. This tells only that all is well: whatever is different, or
cannot be followed so, raises UnlikeError, and rows are derived anew beside the store (care/fsck/rows.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from holdfast.index import proof, revised, tables
from holdfast.index.apply import artifacts, reduce
from holdfast.index.database import Database
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
    Term,
    Update,
)
from holdfast.index.tables import SLOT_ACTOR, SLOTS
from holdfast.values import canon, digest, moment
from holdfast.values.change import Body, Transaction

COMPARED = tuple(table for table in tables.LOGICAL if table != "tx")
"""The chain itself is proven row by row; and compressed bytes may differ where the transaction is the same."""

_PAGE = 1_000
"""Changes whose rows are fetched together."""

_MOST_WAITING = 20_000
_MOST_KNOWN = 20_000

_MADE = ("record", "artifact", "revision", "content")
"""Tables of which a new artifact makes a row each, in the order of `artifacts.creation`, and that of its content."""
_CONTENT = _MADE.index("content")

_PLAIN = frozenset({int, float, str, bytes, type(None)})
_CONTENTS = """SELECT content.digest, content.key FROM json_each(?1) AS n CROSS JOIN content
    ON substr(content.digest, 1, 4) = substr(?2, n.key * 32 + 1, 4)
    AND content.digest = substr(?2, n.key * 32 + 1, 32)"""

Row = tuple[Any, ...]
Key = tuple[Any, ...]


class UnlikeError(Exception):
    """A row is not as the chain gives it; or this way of comparing cannot tell. Never leaves this package and fsck."""


class _Table:
    """How rows of a table are asked for. `form`: the last cell that is fetched is a checksum over all before it, so."""

    def __init__(self, name: str) -> None:
        meta = tables.models().named(name)._meta
        self.name = name
        self.form = proof.FORMS.get(name)
        self.columns: tuple[str, ...] = proof.COLUMNS.get(name) or tuple(f.column_name for f in meta.sorted_fields)
        self.keys = tuple(f.column_name for f in meta.get_primary_keys())  # type: ignore[no-untyped-call]
        self.places = tuple(self.columns.index(key) for key in self.keys)
        self.place = self.places[0]
        fetched = (*self.columns, proof.CHECKSUM) if self.form is not None else self.columns
        select = f'SELECT {", ".join(f"t.{column}" for column in fetched)} FROM "{name}" t WHERE '
        self.one = select + " AND ".join(f"t.{key} = ?" for key in self.keys)
        self.paged = len(self.keys) == 1
        self.page = f"{select} t.{self.keys[0]} >= ? AND t.{self.keys[0]} < ?"

    def is_row(self, cells: Row, found: Row | None) -> bool:
        """Whether a row that was fetched has these cells, of the same types, and the checksum of them."""
        if found is None:
            return False
        own = found[:-1] if self.form is not None else found
        if own != cells or [*map(type, own)] != [*map(type, cells)]:
            return False
        return self.form is None or crc32(self.form % cells) == found[-1]

    def are_rows(self, rows: Sequence[Row], found: Sequence[Row | None]) -> bool:
        """The same of many rows of a table with checksums, at a third of the price."""
        form = self.form or b""
        wanted = [(*cells, crc32(form % cells)) for cells in rows]
        # None equals no row; and 1 equals 1.0, but is not of its type.
        return found == wanted and _types(wanted) == _types(one for one in found if one is not None)


def _types(rows: Iterable[Iterable[Any]]) -> list[type]:
    return [*map(type, itertools.chain.from_iterable(rows))]


class Matching:
    """Takes the transactions of a chain in their order; `finish` then tells. In one read transaction of SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tables = {name: _Table(name) for name in COMPARED}
        self._counts = dict.fromkeys(COMPARED, 0)
        self._waiting: dict[tuple[str, Key], Row | None] = {}
        self._keys: dict[str, int] = {}
        self._terms: dict[str, int] = {"": 0}
        self._contents: dict[str, int] = {}
        self._span = (0, 0)
        self._pages: dict[str, dict[Any, Row]] = {}
        self._made: tuple[list[Row], ...] = tuple([] for _ in _MADE)
        if self._count("metadata_index"):
            raise UnlikeError("values of declared indexes follow from rows")

    def take(self, transaction: Transaction) -> None:
        """The next transaction, verified. UnlikeError."""
        first = transaction.entry.first
        numbered = enumerate([canon.canonical(str(body, "utf-8")) for body in transaction.bodies], first)
        while part := list(itertools.islice(numbered, _PAGE)):
            self._take(part)
        actor = transaction.entry.actor
        self.term(first, f"{actor.kind}:{actor.name}", SLOT_ACTOR)

    def finish(self) -> dict[str, int]:
        """How many rows each table has, all of them as the chain gives them. UnlikeError."""
        self._turn_to((0, 0))
        for (name, key), cells in self._waiting.items():
            found = self._found(self._tables[name], key)
            if not (found is None if cells is None else self._tables[name].is_row(cells, found)):
                raise UnlikeError(f"a row of {name}")
        for name, expected in self._counts.items():
            if self._count(name) != expected:
                raise UnlikeError(f"rows of {name}")
        return self._counts

    def _take(self, part: Sequence[tuple[int, Body]]) -> None:
        self._turn_to((part[0][0], part[-1][0] + 1))
        self._contents = self._known_contents([body for _, body in part])
        for seq, body in part:
            if body["kind"] == "artifact" and body["action"] == "create":
                self._created(seq, body)
                continue
            self._meet()  # what follows may change a row that was made just now
            for operation in reduce(seq, body):
                self._one(seq, operation)
        self._meet()

    def _created(self, seq: int, body: Body) -> None:
        """A new artifact, in one piece like where it is applied: most changes of most stores are these."""
        for rows, cells in zip(self._made, artifacts.creation(seq, body, self), strict=False):
            rows.append(cells)
        for tag in body["new"].get("tags", ()):
            self._one(seq, Insert("tagging", {"record": seq, "tag": tag}))

    def _meet(self) -> None:
        """Rows of new artifacts and contents, many at once: where all are as the chain says, none is asked for."""
        for name, rows in zip(_MADE, self._made, strict=True):
            if rows:
                table = self._tables[name]
                page = self._pages.get(name) or self._page(table)
                if self._waiting or not table.are_rows(rows, [page.get(cells[0]) for cells in rows]):
                    for cells in rows:
                        self._insert(table, cells)
                else:
                    self._counts[name] += len(rows)
                rows.clear()

    def _one(self, seq: int, operation: Operation) -> None:
        if type(operation) is Insert:
            table = self._tables[operation.table]
            cells = map(operation.values.get, table.columns)
            self._insert(table, tuple([c if type(c) in _PLAIN else self._cell(seq, c) for c in cells]))
        elif type(operation) is Update:
            self._update(seq, operation)
        elif type(operation) is Delete:
            self._delete(seq, operation)
        elif type(operation) is not Describe:  # without a declared index there is nothing to describe
            raise UnlikeError("an index is declared")

    # -- rows --------------------------------------------------------------------------------------------------------

    def _insert(self, table: _Table, cells: Row) -> None:
        self._counts[table.name] += 1
        if table.paged:
            number = cells[table.place]
            page = self._pages.get(table.name) or self._page(table)
            if table.is_row(cells, page.get(number)) and (table.name, (number,)) not in self._waiting:
                return
        self._expect(table, tuple([cells[place] for place in table.places]), cells)

    def _expect(self, table: _Table, key: Key, cells: Row) -> None:
        if table.is_row(cells, self._found(table, key)):
            self._waiting.pop((table.name, key), None)
        else:
            self._wait(table, key, cells)

    def _wait(self, table: _Table, key: Key, cells: Row | None) -> None:
        self._waiting[table.name, key] = cells
        if len(self._waiting) > _MOST_WAITING:
            raise UnlikeError("too many rows differ for now")

    def _update(self, seq: int, operation: Update) -> None:
        table = self._tables[operation.table]
        key = self._key_where(seq, table, operation.where)
        cells = [*self._now(table, key)]
        for column, cell in operation.values.items():
            cells[table.columns.index(column)] = self._cell(seq, cell)
        self._expect(table, key, tuple(cells))

    def _delete(self, seq: int, operation: Delete) -> None:
        table = self._tables[operation.table]
        key = self._key_where(seq, table, operation.where)
        self._now(table, key)
        self._counts[table.name] -= 1
        if self._found(table, key) is None:
            self._waiting.pop((table.name, key), None)
        else:
            self._wait(table, key, None)

    def _key_where(self, seq: int, table: _Table, where: Cells) -> Key:
        """The primary key of the one row that `where` means."""
        if where.keys() == set(table.keys):
            return tuple(self._cell(seq, where[key]) for key in table.keys)
        raise UnlikeError(f"rows of {table.name} by {', '.join(where)}")

    def _now(self, table: _Table, key: Key) -> Row:
        """The cells of a row after all changes so far: where it does not wait, it is as it stands in the index."""
        cells = self._waiting.get((table.name, key))
        if cells is None:
            found = None if (table.name, key) in self._waiting else self._found(table, key)
            if found is None:
                raise UnlikeError(f"no row of {table.name}")
            cells = found[:-1] if table.form is not None else found
        return cells

    def _found(self, table: _Table, key: Key) -> Row | None:
        """A row as it stands in the index."""
        if table.paged and self._span[0] <= self._by_seq(table, key[0]) < self._span[1]:
            return (self._pages.get(table.name) or self._page(table)).get(key[0])
        return self._db.one(table.one, key)

    def _page(self, table: _Table) -> dict[Any, Row]:
        """The rows that changes of the span make."""
        factor = SLOTS if table.name == "term" else 1
        rows = self._db.rows(table.page, (self._span[0] * factor, self._span[1] * factor))
        page = self._pages[table.name] = {row[table.place]: row for row in rows}
        return page

    @staticmethod
    def _by_seq(table: _Table, key: Any) -> int:
        if type(key) is not int:
            raise UnlikeError(f"a key of {table.name}")
        return key // SLOTS if table.name == "term" else key

    def _turn_to(self, span: tuple[int, int]) -> None:
        self._span, self._pages = span, {}

    def _count(self, name: str) -> int:
        row = self._db.one(f'SELECT count(*) FROM "{name}"')
        return int(row[0]) if row else 0

    # -- what stands for keys ----------------------------------------------------------------------------------------
    #
    # The index itself says which key an id, a text or a digest has. That it is the right one follows: the row with that
    # key was expected with this id, text or digest when its change was taken, or there is one row too many in the end.

    def _cell(self, seq: int, cell: Cell) -> Any:
        if isinstance(cell, Term):
            key = self._terms.get(cell.text)
            return self.term(seq, cell.text, cell.slot) if key is None else key
        if isinstance(cell, KeyOf):
            key = self._keys.get(cell.id)
            return self.key(seq, cell.id) if key is None else key
        if isinstance(cell, ContentOf):
            return self.content(seq, cell.digest, cell.size)
        if isinstance(cell, RevisionOf):
            return self._revision(self.key(seq, cell.artifact), cell.number)
        if isinstance(cell, DeletedWith):
            table = self._tables["record"]
            return self._now(table, (self.key(seq, cell.id),))[table.columns.index("deleted")]
        return cell

    def key(self, seq: int, record_id: str) -> int:
        """Of a record."""
        key = self._keys.get(record_id)
        if key is None:
            key = self._earlier(seq, "SELECT key FROM record WHERE id = ?", (moment.id_bytes(record_id),))
            if len(self._keys) >= _MOST_KNOWN:
                self._keys.clear()
            self._keys[record_id] = key
        return key

    def _revision(self, artifact: int, number: Cell) -> int:
        return self._earlier(
            self._span[1], f"SELECT v.key FROM revision v WHERE {revised.numbered('v', '?1', '?2')}", (artifact, number)
        )

    def _earlier(self, seq: int, sql: str, parameters: tuple[Any, ...]) -> int:
        row = self._db.one(sql, parameters)
        if row is None or type(row[0]) is not int or row[0] > seq:
            raise UnlikeError("a record that is not there yet")
        return row[0]

    @property
    def terms(self) -> Mapping[str, int]:
        """As `artifacts.creation` asks."""
        return self._terms

    def term(self, seq: int, text: str, slot: int) -> int:
        """Of an interned text; its row is expected where it is new."""
        key = self._terms.get(text)
        if key is None:
            new = seq * SLOTS + slot
            key = self._earlier(new, "SELECT key FROM term WHERE text = ?", (text,))
            if key == new:
                self._insert(self._tables["term"], (key, text))
            if len(self._terms) >= _MOST_KNOWN:
                self._terms = {"": 0}
            self._terms[text] = key
        return key

    def content(self, seq: int, content_digest: str, size: int) -> int:
        """Of a content; its row is expected where it is new."""
        key = self._contents.get(content_digest)
        if key is None or key > seq:
            raise UnlikeError("a content that is not there yet")
        if key == seq:
            self._made[_CONTENT].append((seq, digest.raw(content_digest), size))
        return key

    def _known_contents(self, bodies: Sequence[Body]) -> dict[str, int]:
        """Keys of the contents of new revisions, which are all that changes speak of."""
        new = (body["new"]["revision"]["digest"] for body in bodies if "revision" in body.get("new", ()))
        raws = [*map(digest.raw, dict.fromkeys(new))]
        if not raws:
            return {}
        found = self._db.rows(_CONTENTS, (f"[{','.join('0' * len(raws))}]", b"".join(raws)))
        return {digest.text(raw): key for raw, key in found if type(key) is int}
