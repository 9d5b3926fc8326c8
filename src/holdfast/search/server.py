"""The search index on a server: the same documents, words and queries as in a file, in tables beside the index's.

For a store that several machines write to: what one has taken in all find. It is derived too; rows and cursor change in
one transaction, and whoever feeds holds the row of the cursor, so of several feeders one goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from holdfast.errors import InvalidQueryError
from holdfast.search.document import START, Counts, Document, Found, Hit, LeftOut, NotIndexed, Position, flatten
from holdfast.search.fold import words
from holdfast.search.lexemes import METADATA, NAME, TEXT, tsquery, vectors
from holdfast.search.query import Either, Every, Node, Query, Term, Without, parse
from holdfast.search.schema import METADATA_WEIGHT, NAME_WEIGHT, TEXT_WEIGHT, Condition

RANKED = 50_000
"""As in a file: so many of the newest matches are ranked, older ones follow in order of age."""

_PAGE = 1_000
_MOST = 2**62
_CURSOR = "SELECT seq, chain FROM search_meta"
_WEIGHTS = f"ARRAY[0, {TEXT_WEIGHT / NAME_WEIGHT}, {METADATA_WEIGHT / NAME_WEIGHT}, 1]::float4[]"
_WHOLE = "NOT many AND words @@ %s::tsquery"
_NEW_ENOUGH = "doc + 0 >= %s"
"""By no index: a plan that is made for any number goes through the keys of nearly all documents (0.28 of 0.40 ms)."""
_FOUND = f"SELECT doc FROM search_words WHERE {_WHOLE} UNION ALL SELECT doc FROM ({{parts}}) p"
_RANKED = f"""WITH found AS (
SELECT doc, key, ts_rank({_WEIGHTS}, words, %s::tsquery)::float8 AS score FROM search_words
WHERE {_WHOLE} AND {_NEW_ENOUGH}
UNION ALL SELECT doc, key, sum(ts_rank({_WEIGHTS}, words, %s::tsquery))::float8 FROM search_words
WHERE doc IN ({{parts}}) AND {_NEW_ENOUGH} GROUP BY doc, key),
best AS (SELECT doc, key, score FROM found ORDER BY score DESC, key LIMIT %s OFFSET %s)
SELECT b.key, d.revision, b.score FROM best b JOIN search_doc d ON d.id = b.doc ORDER BY b.score DESC, b.key"""
_OLDER = f"""SELECT d.key, d.revision, 0.0::float8 FROM search_doc d WHERE d.id < %s AND d.id IN ({_FOUND})
ORDER BY d.id DESC LIMIT %s OFFSET %s"""
_OLDEST_RANKED = f"SELECT doc FROM ({_FOUND}) f ORDER BY doc DESC LIMIT 1 OFFSET %s"
_META = "SELECT seq, chain, next_id FROM search_meta"
_LACKING = f"SELECT count(*) FROM search_doc WHERE left_out IS NOT NULL AND left_out <> '{LeftOut.NOT_TEXT.value}'"
_SETTLE = "SELECT gin_clean_pending_list('search_words_whole'), gin_clean_pending_list('search_words_parts')"
_FORGET = """WITH gone AS (DELETE FROM search_doc WHERE key = ANY(%s) RETURNING id)
DELETE FROM search_words USING gone WHERE search_words.doc = gone.id"""
_WORDS = "INSERT INTO search_words (doc, part, key, many, words) VALUES (%s, %s, %s, %s, %s::tsvector)"
_LEFT_OUT = """SELECT key, revision FROM search_doc WHERE left_out = %s AND key > %s ORDER BY key LIMIT %s"""

Row = tuple[Any, ...]


class Server(Protocol):
    """Connections to the schema that has the tables, one for each thread; errors come out typed."""

    path: str
    read_only: bool

    def direct(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement of PostgreSQL's own."""
        ...

    def several(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
        """All rows of each of several statements that only read, asked together."""
        ...

    def direct_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """One statement for each row."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """A transaction: committed at the end of the block, undone if it raises."""
        ...

    def close_every(self) -> None:
        """Close all connections."""
        ...


class ServerSearch:
    """Full text of one store on a server. The same calls as `SearchIndex`; what only a file can suffer is not here."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.read_only = server.read_only
        self._few = True  # documents, as far as is known: all that match are ranked

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._server.close_every()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def found(self) -> Condition:
        """A server's tables are as they are."""
        return Condition.CURRENT

    def position(self) -> Position:
        """Up to where changes are taken in: (seq, chain hash); START if nothing is."""
        return self._position(_CURSOR)

    def _position(self, sql: str) -> Position:
        found = self._server.direct(sql)
        return (int(found[0][0]), bytes(found[0][1])) if found else START

    def feed(
        self, documents: Iterable[Document], *, expected: Position, upto: Position, removed: Iterable[int] = ()
    ) -> bool:
        """Take in what changed from `expected` to `upto`, all or nothing; False if the index is not at `expected`.

        Other feeders wait meanwhile, on whatever machine. Of several documents with one key the last stays.
        """
        newest = {document.key: document for document in documents}
        with self._server.writing():
            if self._position(f"{_CURSOR} FOR UPDATE") != expected:
                return False
            self._server.direct(_FORGET, ([*removed, *newest],))
            self._take_in(list(newest.values()))
            self._server.direct("UPDATE search_meta SET seq = %s, chain = %s", upto)
        if newest:
            self._server.direct(
                _SETTLE
            )  # else the server reads what came last again for every word, and avoids the index
        return True

    def _take_in(self, documents: list[Document]) -> None:
        taken = "UPDATE search_meta SET next_id = next_id + %s RETURNING next_id"
        first = int(self._server.direct(taken, (len(documents),))[0][0]) - len(documents)
        docs: list[Row] = []
        texts: list[Row] = []
        for number, one in enumerate(documents, first):
            docs.append((number, one.key, one.revision, one.left_out and one.left_out.value))
            fields = ((NAME, words(one.name)), (METADATA, words(flatten(one.metadata))), (TEXT, words(one.text or "")))
            parts = [*vectors(fields)]
            texts += [(number, part, one.key, len(parts) > 1, vector) for part, vector in enumerate(parts)]
        self._server.direct_many("INSERT INTO search_doc (id, key, revision, left_out) VALUES (%s, %s, %s, %s)", docs)
        self._server.direct_many(_WORDS, texts)

    def query(self, query: str | Query, *, limit: int, offset: int = 0) -> list[Hit]:
        """The live documents that match, best first, ties by key; at most `limit` after the first `offset`.

        They are the documents that a file would find; their order is that of `ts_rank`. Raises InvalidQueryError.
        """
        asked = parse(query) if isinstance(query, str) else query
        return self.answer(asked, limit=limit, offset=offset).hits

    def answer(self, query: Query, *, limit: int, offset: int = 0) -> Found:
        """As `query`, with what else an answer says; all of it is asked together."""
        if limit < 0 or offset < 0:
            raise InvalidQueryError("limit and offset must not be negative", query="", reason="negative")
        limit, offset = min(limit, _MOST), min(offset, _MOST)
        whole, (parts, given) = _whole(query.tree), _said(query.tree)
        wanted = " | ".join(f"({tsquery(term)})" for term in query.terms)
        ranked = _RANKED.format(parts=parts)

        def best(floor: int) -> tuple[str, Sequence[Any]]:
            return ranked, [wanted, whole, floor, wanted, *given, floor, limit, offset]

        oldest = _OLDEST_RANKED.format(parts=parts), [whole, *given, RANKED - 1]
        first = best(0) if self._few else oldest
        there, ((lacking,),), rows = self._server.several([(_META, ()), (_LACKING, ()), first])
        meta = there[0] if there else (*START, 0)
        if meta[2] > RANKED:
            if self._few:
                self._few = False
                rows = self._server.direct(*oldest)
            floor = int(rows[0][0]) if rows else 0
            rows = self._server.direct(*best(floor))
            if floor and len(rows) < limit:
                rest = [limit - len(rows), max(0, offset - RANKED)]
                rows += self._server.direct(_OLDER.format(parts=parts), [floor, whole, *given, *rest])
        elif not self._few:  # emptied meanwhile
            self._few = True
            rows = self._server.direct(*best(0))
        return Found([Hit(*row) for row in rows], (int(meta[0]), bytes(meta[1])), int(lacking))

    def lacking(self) -> int:
        """How many live documents have text that is not indexed."""
        return int(self._server.direct(_LACKING)[0][0])

    def left_out(self, *, reason: LeftOut | None = None) -> Iterator[NotIndexed]:
        """Live documents whose text is not indexed, by reason and then key; read in short pages, not as one view."""
        for wanted in sorted(LeftOut) if reason is None else [reason]:
            last: int = -_MOST
            while rows := self._server.direct(_LEFT_OUT, (wanted.value, last, _PAGE)):
                for key, revision in rows:
                    yield NotIndexed(key, revision, wanted)
                last = rows[-1][0]

    def counts(self) -> Counts:
        """How many documents there are, and how many texts were left out, by reason. None is dead: rows are removed."""
        grouped = self._server.direct("SELECT left_out, count(*) FROM search_doc GROUP BY left_out ORDER BY left_out")
        reasons = {LeftOut(reason): int(count) for reason, count in grouped if reason is not None}
        return Counts(sum(int(count) for _, count in grouped), 0, reasons)

    @property
    def needs_compaction(self) -> bool:
        """The server sees to what is gone."""
        return False

    def reset(self, *, expected: Position | None = None) -> bool:
        """Forget everything; False, and nothing is done, if `expected` is given and the index is not there.

        The tables get new files: no word that was indexed is left in one of theirs.
        """
        with self._server.writing():
            if expected is not None and self._position(f"{_CURSOR} FOR UPDATE") != expected:
                return False
            self._server.direct("TRUNCATE search_doc, search_words")
            self._server.direct("UPDATE search_meta SET seq = 0, chain = ''::bytea, next_id = 1")
        return True

    def scrub(self) -> None:
        """Nothing of what was forgotten is left."""

    def check(self) -> list[str]:
        """What is wrong, in words: documents without words."""
        astray = "SELECT count(*) FROM search_doc WHERE id NOT IN (SELECT doc FROM search_words)"
        count = self._server.direct(astray)[0][0]
        return [f"{count} documents have no words"] if count else []


def _whole(node: Node) -> str:
    """A part of the tree as one tsquery: for documents whose words are all in one row."""
    if isinstance(node, Term):
        return f"({tsquery(node)})"
    if isinstance(node, Without):
        return f"({_whole(node.wanted)} & !{_whole(node.unwanted)})"
    between = " & " if isinstance(node, Every) else " | "
    return f"({between.join(map(_whole, node.parts))})"


def _said(node: Node) -> tuple[str, list[str]]:
    """A query for the documents of a part of the tree whose words are in several rows, and what stands at its marks.

    Each term is looked up by itself, for it may be in another row than the next.
    """
    if isinstance(node, Term):
        return "SELECT doc FROM search_words WHERE many AND words @@ %s::tsquery", [tsquery(node)]
    parts: Sequence[Node]
    if isinstance(node, Every):
        between, parts = " INTERSECT ", node.parts
    elif isinstance(node, Either):
        between, parts = " UNION ", node.parts
    else:
        between, parts = " EXCEPT ", (node.wanted, node.unwanted)
    said = [_said(part) for part in parts]
    return between.join(f"({sql})" for sql, _ in said), [one for _, given in said for one in given]
