"""The search index on a server: the same documents, words and queries as in a file, in tables beside the index's.

For a store that several machines write to: what one has taken in all find. It is derived too; rows and cursor change in
one transaction, and whoever feeds holds the row of the cursor, so of several feeders one goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from holdfast.errors import InvalidQueryError
from holdfast.search.document import START, Counts, Document, Hit, LeftOut, NotIndexed, Position, flatten
from holdfast.search.fold import words
from holdfast.search.lexemes import METADATA, NAME, TEXT, tsquery, vectors
from holdfast.search.query import Either, Every, Node, Query, Term, parse
from holdfast.search.schema import METADATA_WEIGHT, NAME_WEIGHT, TEXT_WEIGHT, Condition

RANKED = 50_000
"""As in a file: so many of the newest matches are ranked, older ones follow in order of age."""

_PAGE = 1_000
_MOST = 2**62
_CURSOR = "SELECT seq, chain FROM search_meta"
_WEIGHTS = f"ARRAY[0, {TEXT_WEIGHT / NAME_WEIGHT}, {METADATA_WEIGHT / NAME_WEIGHT}, 1]::float4[]"
_RANKED = f"""WITH found AS ({{found}}), ranked AS (SELECT doc FROM found ORDER BY doc DESC LIMIT {RANKED})
SELECT d.key, d.revision, sum(ts_rank({_WEIGHTS}, w.words, %s::tsquery))::float8 AS score
FROM ranked JOIN search_doc d ON d.id = ranked.doc JOIN search_words w ON w.doc = ranked.doc
GROUP BY d.key, d.revision ORDER BY score DESC, d.key LIMIT %s OFFSET %s"""
_OLDER = f"""WITH found AS ({{found}}), older AS (SELECT doc FROM found ORDER BY doc DESC OFFSET {RANKED})
SELECT d.key, d.revision, 0.0::float8 FROM older JOIN search_doc d ON d.id = older.doc
ORDER BY d.id DESC LIMIT %s OFFSET %s"""
_FORGET = """WITH gone AS (DELETE FROM search_doc WHERE key = ANY(%s) RETURNING id)
DELETE FROM search_words USING gone WHERE search_words.doc = gone.id"""
_LEFT_OUT = """SELECT key, revision FROM search_doc WHERE left_out = %s AND key > %s ORDER BY key LIMIT %s"""

Row = tuple[Any, ...]


class Server(Protocol):
    """Connections to the schema that has the tables, one for each thread; errors come out typed."""

    path: str
    read_only: bool

    def direct(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement of PostgreSQL's own."""
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
        return True

    def _take_in(self, documents: list[Document]) -> None:
        taken = "UPDATE search_meta SET next_id = next_id + %s RETURNING next_id"
        first = int(self._server.direct(taken, (len(documents),))[0][0]) - len(documents)
        docs: list[Row] = []
        texts: list[Row] = []
        for number, one in enumerate(documents, first):
            docs.append((number, one.key, one.revision, one.left_out and one.left_out.value))
            fields = ((NAME, words(one.name)), (METADATA, words(flatten(one.metadata))), (TEXT, words(one.text or "")))
            texts += [(number, part, vector) for part, vector in enumerate(vectors(fields))]
        self._server.direct_many("INSERT INTO search_doc (id, key, revision, left_out) VALUES (%s, %s, %s, %s)", docs)
        self._server.direct_many("INSERT INTO search_words (doc, part, words) VALUES (%s, %s, %s::tsvector)", texts)

    def query(self, query: str | Query, *, limit: int, offset: int = 0) -> list[Hit]:
        """The live documents that match, best first, ties by key; at most `limit` after the first `offset`.

        They are the documents that a file would find; their order is that of `ts_rank`. Raises InvalidQueryError.
        """
        if limit < 0 or offset < 0:
            raise InvalidQueryError("limit and offset must not be negative", query="", reason="negative")
        asked = parse(query) if isinstance(query, str) else query
        limit, offset = min(limit, _MOST), min(offset, _MOST)
        found, given = _said(asked.tree)
        wanted = " | ".join(f"({tsquery(term)})" for term in asked.terms)
        rows = self._server.direct(_RANKED.format(found=found), [*given, wanted, limit, offset])
        if len(rows) < limit and offset + len(rows) >= RANKED:
            rest = [limit - len(rows), max(0, offset - RANKED)]
            rows += self._server.direct(_OLDER.format(found=found), [*given, *rest])
        return [Hit(*row) for row in rows]

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


def _said(node: Node) -> tuple[str, list[str]]:
    """A query for the documents of a part of the tree, and what stands at its marks.

    Each term is looked up by itself: the words of a long text are in several rows.
    """
    if isinstance(node, Term):
        return "SELECT doc FROM search_words WHERE words @@ %s::tsquery", [tsquery(node)]
    parts: Sequence[Node]
    if isinstance(node, Every):
        between, parts = " INTERSECT ", node.parts
    elif isinstance(node, Either):
        between, parts = " UNION ", node.parts
    else:
        between, parts = " EXCEPT ", (node.wanted, node.unwanted)
    said = [_said(part) for part in parts]
    return between.join(f"({sql})" for sql, _ in said), [one for _, given in said for one in given]
