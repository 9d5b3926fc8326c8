"""Whether the rows of an index are those that its chain gives, told without making them anew: for fsck.

Every change is reduced as ever, and what it says of a row is compared with the row that stands there. A row that
differs may be changed again by a later change: it waits until the end of the chain. Every row that is expected was then
met, and if there are as many as that, there is no other. This tells only that all is well: whatever is different, or
cannot be followed so, raises UnlikeError, and rows are derived anew beside the store (care/fsck/rows.py).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.index import columnar, revised, tables
from holdfast.index.apply import artifacts, reduce
from holdfast.index.compared import Compared, Row
from holdfast.index.database import Database
from holdfast.index.rows import (
    Cell,
    Cells,
    Column,
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
from holdfast.values import bodies, canon, digest, moment
from holdfast.values.change import Body, Transaction
from holdfast.values.newcomers import Newcomers

COMPARED = tuple(table for table in tables.LOGICAL if table != "tx")
"""The chain itself is proven row by row; and compressed bytes may differ where the transaction is the same."""

_PAGE = 1_000
"""Changes whose rows are fetched together."""

_NEVER = 1 << 62
_MOST_WAITING = 20_000
_MOST_KNOWN = 20_000

_MADE = ("record", "artifact", "revision", "content")
"""Tables of which a new artifact makes a row each, in the order of `artifacts.creation`, and that of its content."""
_CONTENT = _MADE.index("content")

_PLAIN = frozenset({int, float, str, bytes, type(None)})
_CONTENTS = """SELECT content.digest, content.key FROM json_each(?1) AS n CROSS JOIN content
    ON substr(content.digest, 1, 4) = substr(?2, n.key * 32 + 1, 4)
    AND content.digest = substr(?2, n.key * 32 + 1, 32)"""

Key = tuple[Any, ...]


class UnlikeError(Exception):
    """A row is not as the chain gives it; or this way of comparing cannot tell. Never leaves this package and fsck."""


class Matching:
    """Takes the transactions of a chain in their order; `finish` then tells. In one read transaction of SQLite."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tables = {name: Compared(name, database) for name in COMPARED}
        self._counts = dict.fromkeys(COMPARED, 0)
        self._waiting: dict[tuple[str, Key], Row | None] = {}
        self._waits = 0
        self._keys: dict[str, int] = {}
        self._terms: dict[str, int] = {"": 0}
        self._contents: dict[str, int] = {}
        self._new_contents: list[Column] = []
        self._here: list[Row] = []
        self._span = (0, 0)
        self._pages: dict[str, dict[Any, Row]] = {}
        self._made: tuple[list[Row], ...] = tuple([] for _ in _MADE)
        if self._count("metadata_index"):
            raise UnlikeError("values of declared indexes follow from rows")

    def take(self, transaction: Transaction) -> None:
        """The next transaction, verified. UnlikeError."""
        first, lines = transaction.entry.first, transaction.bodies
        for start in range(0, len(lines), _PAGE):
            self._take(first + start, lines[start : start + _PAGE])
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

    def _take(self, first: int, part: Sequence[bytes]) -> None:
        self._turn_to((first, first + len(part)))
        for new, run in bodies.told_apart(part):
            if new is not None and first > self._waits:
                self._newcomers(first, new)
            else:
                self._each(first, [canon.canonical(str(body, "utf-8")) for body in run])
            first += len(run)

    def _newcomers(self, first: int, new: Newcomers) -> None:
        """New artifacts as columns; of rows that are not as these say, each is asked for."""
        columns = artifacts.creations(first, new, self)
        columns["content"] = self._new_contents
        for name, cells in columns.items():
            found = self._here if name == "content" else self._rows(self._tables[name], first, first + len(new))
            if columnar.are_rows(name, cells, found):
                self._counts[name] += len(found)
            else:
                for row in zip(*columnar.each(cells), strict=True):
                    self._insert(self._tables[name], row)

    def contents(self, seqs: Sequence[int], digests: Sequence[str], sizes: Sequence[int]) -> list[int]:
        """Of contents, most of which came with the changes that speak of them; as `artifacts.creations` asks."""
        raws = digest.raws(digests)
        self._here = self._rows(self._tables["content"], seqs[0], seqs[-1] + 1)
        known = {raw: key for key, raw, *_ in self._here}
        if absent := [raw for raw in dict.fromkeys(raws) if raw not in known]:
            known |= self._keys_of_contents(absent)
        keys = [known.get(raw, _NEVER) for raw in raws]
        if any(map(operator.gt, keys, seqs)):
            raise UnlikeError("a content that is not there yet")
        own = [key == seq for key, seq in zip(keys, seqs, strict=True)]
        self._new_contents = [[*itertools.compress(cells, own)] for cells in (seqs, raws, sizes)]
        return keys

    def _each(self, first: int, part: Sequence[Body]) -> None:
        self._contents = self._known_contents(part)
        for seq, body in enumerate(part, first):
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
                found = [row for cells in rows if (row := page.get(cells[0])) is not None]
                columns = [[*cells] for cells in zip(*rows, strict=True)]
                if rows[0][0] <= self._waits or not columnar.are_rows(name, columns, found):
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

    def _insert(self, table: Compared, cells: Row) -> None:
        self._counts[table.name] += 1
        if table.paged:
            number = cells[table.place]
            page = self._pages.get(table.name) or self._page(table)
            if table.is_row(cells, page.get(number)) and (table.name, (number,)) not in self._waiting:
                return
        self._expect(table, tuple([cells[place] for place in table.places]), cells)

    def _expect(self, table: Compared, key: Key, cells: Row) -> None:
        if table.is_row(cells, self._found(table, key)):
            self._waiting.pop((table.name, key), None)
        else:
            self._wait(table, key, cells)

    def _wait(self, table: Compared, key: Key, cells: Row | None) -> None:
        self._waiting[table.name, key] = cells
        if table.name in _MADE:
            self._waits = max(self._waits, key[0])
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

    def _key_where(self, seq: int, table: Compared, where: Cells) -> Key:
        """The primary key of the one row that `where` means."""
        if where.keys() == set(table.keys):
            return tuple(self._cell(seq, where[key]) for key in table.keys)
        raise UnlikeError(f"rows of {table.name} by {', '.join(where)}")

    def _now(self, table: Compared, key: Key) -> Row:
        """The cells of a row after all changes so far: where it does not wait, it is as it stands in the index."""
        cells = self._waiting.get((table.name, key))
        if cells is None:
            found = None if (table.name, key) in self._waiting else self._found(table, key)
            if found is None:
                raise UnlikeError(f"no row of {table.name}")
            cells = found[:-1] if table.form is not None else found
        return cells

    def _found(self, table: Compared, key: Key) -> Row | None:
        """A row as it stands in the index."""
        if table.paged and self._span[0] <= self._by_seq(table, key[0]) < self._span[1]:
            return (self._pages.get(table.name) or self._page(table)).get(key[0])
        return self._db.one(table.one, key)

    def _page(self, table: Compared) -> dict[Any, Row]:
        """The rows that changes of the span make."""
        factor = SLOTS if table.name == "term" else 1
        rows = self._rows(table, self._span[0] * factor, self._span[1] * factor)
        page = self._pages[table.name] = {row[table.place]: row for row in rows}
        return page

    def _rows(self, table: Compared, first: int, end: int) -> list[Row]:
        return self._db.rows(table.page, (first, end))

    @staticmethod
    def _by_seq(table: Compared, key: Any) -> int:
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
        return {digest.text(raw): key for raw, key in self._keys_of_contents(raws).items()} if raws else {}

    def _keys_of_contents(self, raws: Sequence[bytes]) -> dict[bytes, int]:
        found = self._db.rows(_CONTENTS, (f"[{','.join('0' * len(raws))}]", b"".join(raws)))
        return {raw: key for raw, key in found if type(key) is int}
