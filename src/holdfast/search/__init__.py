"""Full text: what people type, matched against names, metadata and texts. Derived and disposable.

This room knows nothing of the index: the engine hands it documents and asks for keys. See `docs/search.md`.
"""

from holdfast.search.document import START, Counts, Document, Hit, LeftOut, NotIndexed, Position
from holdfast.search.index import SearchIndex
from holdfast.search.query import Query, Term, parse
from holdfast.search.schema import Condition
from holdfast.search.snippet import snippet
from holdfast.search.text import MAX_TEXT_BYTES, extract, left_out

__all__ = [
    "MAX_TEXT_BYTES",
    "START",
    "Condition",
    "Counts",
    "Document",
    "Hit",
    "LeftOut",
    "NotIndexed",
    "Position",
    "Query",
    "SearchIndex",
    "Term",
    "extract",
    "left_out",
    "parse",
    "snippet",
]
