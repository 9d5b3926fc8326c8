"""Full text: what people type, matched against names, metadata and texts. Derived and disposable.

This room knows nothing of the index: the engine hands it documents and asks for keys. See `docs/search.md`.
Names are loaded when they are used (PEP 562): whoever only opens a store does not search.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.search.document import START, Counts, Document, Hit, LeftOut, NotIndexed, Position
    from holdfast.search.index import SearchIndex
    from holdfast.search.query import Query, Term, parse
    from holdfast.search.schema import Condition
    from holdfast.search.snippets import snippet
    from holdfast.search.text import MAX_TEXT_BYTES, extract, left_out

_HOMES = {
    "Condition": "holdfast.search.schema",
    "Counts": "holdfast.search.document",
    "Document": "holdfast.search.document",
    "Hit": "holdfast.search.document",
    "LeftOut": "holdfast.search.document",
    "MAX_TEXT_BYTES": "holdfast.search.text",
    "NotIndexed": "holdfast.search.document",
    "Position": "holdfast.search.document",
    "Query": "holdfast.search.query",
    "START": "holdfast.search.document",
    "SearchIndex": "holdfast.search.index",
    "Term": "holdfast.search.query",
    "extract": "holdfast.search.text",
    "left_out": "holdfast.search.text",
    "parse": "holdfast.search.query",
    "snippet": "holdfast.search.snippets",
}

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


def __getattr__(name: str) -> Any:
    """Load a name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.search' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found
