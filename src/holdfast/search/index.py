"""The search index: fed with documents, asked for keys."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Self

from holdfast.errors import IndexDamagedError, InvalidQueryError, LockedError
from holdfast.search import schema
from holdfast.search.document import START, Counts, Document, Found, Hit, LeftOut, NotIndexed, Position, flatten
from holdfast.search.file import WAIT_S, discard_aside, is_damage, word_trouble
from holdfast.search.fold import fold
from holdfast.search.query import Query, parse
from holdfast.search.ram import connections_at
from holdfast.search.schema import METADATA_WEIGHT, NAME_WEIGHT, TEXT_WEIGHT, Condition

RANKED = 50_000
"""A search ranks this many of the newest matches (1 to 2 µs each); older ones follow in order of age, unranked."""

COMPACT_SHARE = 0.3
COMPACT_AT_LEAST = 1_000

_FEW = 500
_SPARE = 20
"""Rows fetched beyond those asked for: they stand in for dead ones, and show whether the last place is shared."""

_TIED = 2_000
"""So many rows are fetched at most, in parts, until the last place is known."""

_PAGE = 1_000
_TOGETHER = 500
_TOGETHER_CHARACTERS = 1 << 20
_MOST = 2**62

_RANKED_HITS = f"""
SELECT doc.key, doc.revision, -bm25(words, {NAME_WEIGHT}, {METADATA_WEIGHT}, {TEXT_WEIGHT}) AS score
FROM words CROSS JOIN doc ON doc.id = words.rowid
WHERE words MATCH ? AND words.rowid >= ? ORDER BY score DESC, doc.key LIMIT ? OFFSET ?"""
# Ranked and counted at once: FTS5 goes over all that match for either.
_BEST = f"""
WITH found AS MATERIALIZED (SELECT rowid AS place, bm25(words, {NAME_WEIGHT}, {METADATA_WEIGHT}, {TEXT_WEIGHT}) AS worse
FROM words WHERE words MATCH ? AND rowid >= ? LIMIT ?)
SELECT place, worse, (SELECT count(*) FROM found) FROM found ORDER BY worse LIMIT ?"""
_DOCUMENTS = "SELECT id, key, revision FROM doc WHERE id IN (SELECT value FROM json_each(?))"
_OLDER_HITS = """
SELECT doc.key, doc.revision, 0.0 FROM words CROSS JOIN doc ON doc.id = words.rowid
WHERE words MATCH ? AND words.rowid < ? ORDER BY words.rowid DESC LIMIT ? OFFSET ?"""
_RANKED_COUNT = """
SELECT count(*) FROM words CROSS JOIN doc ON doc.id = words.rowid WHERE words MATCH ? AND words.rowid >= ?"""
_COUNT_TO_RANK = """
SELECT CASE WHEN next_id <= ?1 THEN 0 ELSE (SELECT count(*) FROM words WHERE words MATCH ?2) END FROM meta"""
_FIRST_RANKED = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT 1 OFFSET ?"
_LEFT_OUT = """
SELECT key, revision, left_out FROM doc WHERE left_out = ? AND key > ? ORDER BY left_out, key LIMIT ?"""


class SearchIndex:
    """Full text of one store in one file of its own, for any number of threads and processes at once.

    The file is derived: missing, damaged, copied or of another version, it is made anew and empty on first use, and
    `position()` then says START, so that whoever feeds it begins again. Nothing is written before the first call. A
    read-only handle never makes a file: without a usable one it is empty, and `position()` says START.

    Every call raises LockedError if another process kept the file for 30 s, NoSpaceError, StorageIOError, and
    HandleDeadError after `close` and in a forked child.
    """

    def __init__(self, path: str, *, read_only: bool = False) -> None:
        """`path`: the file, in a folder that exists."""
        self._connections = connections_at(path, read_only=read_only)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def found(self) -> Condition:
        """What the file was when this handle first used it (or found it damaged later). All but CURRENT: made anew.

        With a read-only handle nothing is made: MOVED is used as it is (it may be a torn copy), the rest is empty.
        """
        self.position()
        assert self._connections.found is not None
        return self._connections.found

    def position(self) -> Position:
        """Up to where changes are taken in: (seq, chain hash); START if nothing is."""
        try:
            return self._position()
        except IndexDamagedError:
            if self._connections.read_only:
                raise
            return self._position()

    def _position(self) -> Position:
        with self._connections.reading() as connection:
            return START if connection is None else _position(connection)

    def feed(
        self, documents: Iterable[Document], *, expected: Position, upto: Position, removed: Iterable[int] = ()
    ) -> bool:
        """Take in what changed from `expected` to `upto`, all or nothing; False if the index is not at `expected`.

        First the keys in `removed` go, then each document takes the place of the one with its key; of several the last
        stays. Documents are drawn one by one while other feeders wait, so they should be at hand. If drawing one
        raises, nothing is changed. On return it survives the death of the process; a power loss may take it back,
        cursor included.
        """
        try:
            with self._connections.writing() as connection:
                if _position(connection) != expected:
                    return False
                _take_in(connection, documents, removed)
                connection.execute("UPDATE meta SET seq = ?, chain = ?", upto)
        except IndexDamagedError:  # made anew: the cursor is at START now
            if self._connections.read_only:
                raise
            return False
        return True

    def query(self, query: str | Query, *, limit: int, offset: int = 0) -> list[Hit]:
        """The live documents that match, best first, ties by key; at most `limit` after the first `offset`.

        Of more than RANKED matches the newest are ranked; the others follow, newest first, with score 0.0. Raises
        InvalidQueryError, and IndexDamagedError if the file turned out to be damaged: it was then made anew.
        """
        if limit < 0 or offset < 0:
            raise InvalidQueryError("limit and offset must not be negative", query="", reason="negative")
        match = (parse(query) if isinstance(query, str) else query).match
        limit, offset = min(limit, _MOST), min(offset, _MOST)
        with self._connections.reading() as connection:
            if connection is None:
                return []
            first, rows = _best(connection, match, (limit, offset))
            if rows is None:
                first = _first_ranked(connection, match)
                rows = connection.execute(_RANKED_HITS, (match, first, limit, offset)).fetchall()
            if first and len(rows) < limit:
                (ranked,) = connection.execute(_RANKED_COUNT, (match, first)).fetchone()
                rest = (match, first, limit - len(rows), max(0, offset - ranked))
                rows += connection.execute(_OLDER_HITS, rest).fetchall()
        return [Hit(*row) for row in rows]

    def answer(self, query: Query, *, limit: int, offset: int = 0) -> Found:
        """As `query`, with what else an answer says."""
        position = self.position()
        return Found(self.query(query, limit=limit, offset=offset), position, self.lacking())

    def left_out(self, *, reason: LeftOut | None = None) -> Iterator[NotIndexed]:
        """Live documents whose text is not indexed, by reason and then key; read in short pages, not as one view."""
        for wanted in sorted(LeftOut) if reason is None else [reason]:
            last: int = -_MOST
            while rows := self._left_out_page(wanted, last):
                for key, revision, found in rows:
                    yield NotIndexed(key, revision, LeftOut(found))
                last = rows[-1][0]

    def _left_out_page(self, reason: LeftOut, after: int) -> list[tuple[int, int, str]]:
        with self._connections.reading() as connection:
            if connection is None:
                return []
            return connection.execute(_LEFT_OUT, (reason.value, after, _PAGE)).fetchall()

    def counts(self) -> Counts:
        """How many documents there are, live and dead, and how many texts were left out, by reason."""
        with self._connections.reading() as connection:
            if connection is None:
                return Counts(0, 0, {})
            live, dead = _live_and_dead(connection)
            grouped = (
                "SELECT left_out, count(*) FROM doc WHERE left_out IS NOT NULL GROUP BY left_out ORDER BY left_out"
            )
            return Counts(live, dead, {LeftOut(reason): count for reason, count in connection.execute(grouped)})

    def lacking(self) -> int:
        """How many live documents have text that is not indexed."""
        return sum(count for reason, count in self.counts().left_out.items() if reason is not LeftOut.NOT_TEXT)

    @property
    def needs_compaction(self) -> bool:
        """Whether more than 1,000 documents and 30 % of all are dead: `reset` and feeding anew would pay."""
        with self._connections.reading() as connection:
            if connection is None:
                return False
            live, dead = _live_and_dead(connection)
            return dead > COMPACT_AT_LEAST and dead > COMPACT_SHARE * (live + dead)

    def reset(self, *, expected: Position | None = None) -> bool:
        """Forget everything; False, and nothing is done, if `expected` is given and the index is not there.

        The position is START on return, and no word that was indexed is left in the file or beside it. LockedError: a
        reader held old pages; they are out of every answer, and go with the next `reset` or `scrub`.
        """
        try:
            with self._connections.writing() as connection:
                if expected is not None and _position(connection) != expected:
                    return False
                schema.make(connection, schema.home_of(self._connections.path))
        except IndexDamagedError:  # moved aside and made anew, which comes to the same, but for the file aside
            if self._connections.read_only:
                raise
        self._drive_out()
        return True

    def scrub(self) -> None:
        """Drive pages of forgotten text out of the file and its -wal, if `reset` could not; else nothing."""
        with self._connections.bare() as connection:
            due = connection.execute("SELECT scrub FROM meta").fetchone()[0]
        if due:
            self._drive_out()

    def _drive_out(self) -> None:
        discard_aside(self._connections.path)
        with self._connections.bare() as connection:
            connection.execute("VACUUM")
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                raise LockedError("a reader holds old pages of the search index", lock="search", waited_s=WAIT_S)
            connection.execute("UPDATE meta SET scrub = 0")

    def check(self) -> list[str]:
        """What is wrong with the file, in words, by reading all of it; empty if nothing. Changes nothing."""
        if self._connections.read_only:
            with self._connections.reading() as connection:
                return [] if connection is None else _check_pages(connection)
        with self._connections.bare() as connection:
            return _check_pages(connection) or _check_words(connection)


def _position(connection: sqlite3.Connection) -> Position:
    seq, chain = connection.execute("SELECT seq, chain FROM meta").fetchone()
    return seq, chain


def _live_and_dead(connection: sqlite3.Connection) -> tuple[int, int]:
    next_id, dead = connection.execute("SELECT next_id, dead FROM meta").fetchone()
    return next_id - 1 - dead, dead


def _take_in(connection: sqlite3.Connection, documents: Iterable[Document], removed: Iterable[int]) -> None:
    execute = connection.execute
    row, dead = execute("SELECT next_id, dead FROM meta").fetchone()
    for key in removed:
        dead += execute("DELETE FROM doc WHERE key = ?", (key,)).rowcount
    for group in _groups(documents):
        keys = [document.key for document in group]
        dead += execute(f"DELETE FROM doc WHERE key IN ({_marks(len(keys))})", keys).rowcount
        rows = range(row, row + len(group))
        docs = [_doc(*one) for one in zip(rows, group, strict=True)]
        execute(f"INSERT INTO doc VALUES {_marks(len(group), 4)}", [*chain.from_iterable(docs)])
        folded = [_folded(*one) for one in zip(rows, group, strict=True)]
        sql = f"INSERT INTO words (rowid, name, metadata, body) VALUES {_marks(len(group), 4)}"
        execute(sql, [*chain.from_iterable(folded)])
        row += len(group)
    execute("UPDATE meta SET next_id = ?, dead = ?", (row, dead))


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents that go in with one statement, none of them twice.

    Each statement gives up the interpreter's lock once; beside a busy thread getting it back takes milliseconds.
    """
    group: dict[int, Document] = {}
    size = 0
    for document in documents:
        if document.key in group or len(group) >= _TOGETHER or size >= _TOGETHER_CHARACTERS:
            yield [*group.values()]
            group, size = {}, 0
        group[document.key] = document
        size += len(document.text or "")
    if group:
        yield [*group.values()]


def _marks(rows: int, columns: int = 1) -> str:
    one = ", ".join("?" * columns)
    return ", ".join([f"({one})"] * rows)


def _doc(row: int, document: Document) -> tuple[int | str | None, ...]:
    return row, document.key, document.revision, document.left_out and document.left_out.value


def _folded(row: int, document: Document) -> tuple[int | str, ...]:
    return row, fold(document.name), fold(flatten(document.metadata)), fold(document.text or "")


def _first_ranked(connection: sqlite3.Connection, match: str) -> int:
    """The row from which on matches are ranked; 0 if all are. Counting them is cheaper than going through them."""
    if connection.execute(_COUNT_TO_RANK, (RANKED, match)).fetchone()[0] <= RANKED:
        return 0
    return _beyond_ranked(connection, match)


def _beyond_ranked(connection: sqlite3.Connection, match: str) -> int:
    found = connection.execute(_FIRST_RANKED, (match, RANKED)).fetchone()
    return 0 if found is None else found[0] + 1


def _best(
    connection: sqlite3.Connection, match: str, part: tuple[int, int]
) -> tuple[int, list[tuple[int, int, float]] | None]:
    """The first row that is ranked, and what _RANKED_HITS gives for a limit and an offset.

    Only the documents of the best rows are looked at. Rows that share the last place are fetched too, for another may
    have the smaller key. None where too many do, too many of the best are dead, or too many are wanted.
    """
    limit, offset = part
    wanted, first = limit + offset, 0
    if wanted > _FEW:
        return first, None
    best = connection.execute(_BEST, (match, first, RANKED + 1, _TIED))
    rows = best.fetchmany(wanted + _SPARE)
    if rows and rows[0][2] > RANKED:
        best.close()
        first = _beyond_ranked(connection, match)
        best = connection.execute(_BEST, (match, first, RANKED + 1, _TIED))
        rows = best.fetchmany(wanted + _SPARE)
    live: list[tuple[float, int, int]] = []
    fetched = 0
    with contextlib.closing(best):
        while rows:
            named = connection.execute(_DOCUMENTS, (str([row for row, *_ in rows]),))
            documents = {row: (key, revision) for row, key, revision in named}
            live += [(worse, *documents[row]) for row, worse, _ in rows if row in documents]
            fetched += len(rows)
            if len(live) >= wanted and (wanted == 0 or live[wanted - 1][0] < rows[-1][1]):
                break
            rows = best.fetchmany(wanted + _SPARE)
    if not rows and fetched == _TIED:
        return first, None
    return first, [(key, revision, -worse) for worse, key, revision in sorted(live)[offset:wanted]]


def _check_pages(connection: sqlite3.Connection) -> list[str]:
    try:
        return [line for (line,) in connection.execute("PRAGMA quick_check") if line != "ok"]
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return [str(error)]
        raise


def _check_words(connection: sqlite3.Connection) -> list[str]:
    trouble = word_trouble(connection)
    if trouble:
        return [f"the word index is inconsistent: {trouble}"]
    astray = "SELECT count(*) FROM doc WHERE id NOT IN (SELECT id FROM words_docsize)"
    count = connection.execute(astray).fetchone()[0]
    return [f"{count} documents have no words"] if count else []
