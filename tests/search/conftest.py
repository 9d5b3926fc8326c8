"""A search index in a folder of its own, and a short way to fill it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.search import Document, SearchIndex

Feed = Callable[..., None]
Find = Callable[..., list[int]]


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "search.sqlite3")


@pytest.fixture
def index(path: str) -> Iterator[SearchIndex]:
    with SearchIndex(path) as made:
        yield made


@pytest.fixture
def feed(index: SearchIndex) -> Feed:
    """Feeds documents (and removals) as the next change."""

    def feed_next(*documents: Document, removed: tuple[int, ...] = ()) -> None:
        at = index.position()
        upto = (at[0] + 1, b"%32d" % (at[0] + 1))
        assert index.feed(documents, removed=removed, expected=at, upto=upto)

    return feed_next


@pytest.fixture
def find(index: SearchIndex) -> Find:
    """The keys that a search finds, best first."""

    def find_keys(query: str, limit: int = 100) -> list[int]:
        return [hit.key for hit in index.query(query, limit=limit)]

    return find_keys
