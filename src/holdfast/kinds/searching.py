"""Full-text search over names, metadata and the text of newest revisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from holdfast.engine import feeding
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import HoldfastError, IndexDamagedError
from holdfast.search import query, text
from holdfast.search.document import START, Found, Hit, LeftOut
from holdfast.search.snippets import snippet
from holdfast.values.records import Artifact

SNIPPET_WIDTH = 160


_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class SearchHit:
    """An artifact found. `score`: higher is better, comparable within one answer only; `snippet`: with [marks]."""

    artifact: Artifact
    snippet: str
    score: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer. `indexed_to` and `head`: seqs; equal if all that is committed was searched.

    `left_out`: how many live artifacts have text that is not searched, being too large or missing (their names and
    metadata are).
    """

    hits: tuple[SearchHit, ...]
    indexed_to: int
    head: int
    left_out: int


class Searching:
    """`store.search(…)`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __call__(
        self, words: str, *, limit: int = 20, offset: int = 0, snippets: bool = True, progress: Progress | None = None
    ) -> SearchResult:
        """Find artifacts by words, "phrases", prefix*, AND/OR/NOT, parentheses, name: metadata: text: fields.

        Ranked best first. What was committed before the call is searched: a backlog is taken in first.
        Raises InvalidQueryError.
        """
        self._handle.alive()
        asked = query.parse(words)
        at_once = self._at_once(asked, limit, offset)
        if at_once is not None:
            found, artifacts, head = at_once
            hits = self._shown(found.hits, artifacts, asked if snippets else None)
            return SearchResult(hits, found.position[0], head, found.lacking)
        indexed_to = self._level(progress)
        hits = self._shown(*self._found(asked, limit, offset), asked if snippets else None)
        end = self._handle.index.chain.head()
        return SearchResult(hits, indexed_to, end.next_seq - 1 if end else 0, self._count_left_out())

    def _at_once(
        self, asked: query.Query, limit: int, offset: int
    ) -> tuple[Found, dict[int, Artifact], int] | None:  # fmt: skip
        """An answer of a server in three round trips, and the seq of the head; None: there is a backlog to take in."""
        index = self._handle.index
        if not index.is_far or self._handle.tenant is not None:
            return None
        index.foresee(index.chain.head)
        with index.sights.held():
            head = index.chain.head()
            found = self._handle.search.answer(asked, limit=limit, offset=offset)
            level = START if head is None else (head.next_seq - 1, head.hash)
            if found.position != level and not self._handle.read_only:
                return None
            return found, self._records(found.hits), level[0]

    def _shown(
        self, found: list[Hit], artifacts: dict[int, Artifact], asked: query.Query | None
    ) -> tuple[SearchHit, ...]:  # fmt: skip
        """Hits with their artifacts. `asked`: what snippets are to show; None: there are none."""
        hits = []
        for hit in found:
            artifact = artifacts.get(hit.key)
            if artifact is not None and artifact.deleted_at is None:
                shown = self._snippet(artifact, asked) if asked is not None else ""
                hits.append(SearchHit(artifact, shown, hit.score))
        return tuple(hits)

    def _found(self, asked: query.Query, limit: int, offset: int) -> tuple[list[Hit], dict[int, Artifact]]:
        """Hits and their artifacts. Of one tenant: words are indexed for all, so others' hits are passed over."""
        if self._handle.tenant is None:
            found = self._query(asked, limit, offset)
            return found, self._records(found)
        own: list[Hit] = []
        artifacts: dict[int, Artifact] = {}
        at = 0
        while len(own) < offset + limit:
            page = self._query(asked, _TOGETHER, at)
            artifacts |= self._records(page)
            own += [hit for hit in page if hit.key in artifacts]
            at += _TOGETHER
            if len(page) < _TOGETHER:
                break
        # How rare a word is in the whole store is nobody's to know: only the order says something.
        ranked = [replace(hit, score=1 / rank) for rank, hit in enumerate(own, 1)]
        return ranked[offset : offset + limit], artifacts

    def _count_left_out(self) -> int:
        if self._handle.tenant is not None:
            return sum(reason != LeftOut.NOT_TEXT for _, reason in self._left_out())
        return self._handle.search.lacking()

    def _records(self, hits: list[Hit]) -> dict[int, Artifact]:
        found: dict[int, Artifact] = {}
        for start in range(0, len(hits), _TOGETHER):
            keys = [hit.key for hit in hits[start : start + _TOGETHER]]
            found |= self._handle.index.artifacts.many_by_key(keys)
        return found

    def _query(self, asked: query.Query, limit: int, offset: int) -> list[Hit]:
        try:
            return self._handle.search.query(asked, limit=limit, offset=offset)
        except IndexDamagedError:
            # The file was found damaged and made anew: fill it, and ask once more.
            self._level(None)
            return self._handle.search.query(asked, limit=limit, offset=offset)

    def left_out(self) -> Iterator[tuple[Artifact, str]]:
        """Artifacts whose content is not searched, and why: too-large, not-text, missing."""
        self._level(None)
        yield from self._left_out()

    def _left_out(self) -> Iterator[tuple[Artifact, str]]:
        for entry in self._handle.search.left_out():
            artifact = self._handle.index.artifacts.by_key(entry.key)
            if artifact is not None:
                yield artifact, str(entry.reason)

    def _level(self, progress: Progress | None) -> int:
        if self._handle.read_only:
            return self._handle.search.position()[0]
        return feeding.drain(self._handle, progress)

    def _snippet(self, artifact: Artifact, asked: query.Query) -> str:
        if text.left_out(artifact.media_type, artifact.name, artifact.size) is not None:
            return ""
        try:
            words = text.extract(artifact.media_type, self._handle.blobs.read(artifact.digest), artifact.name)
        except HoldfastError:
            return ""
        return snippet(words, asked, width=SNIPPET_WIDTH) if words else ""
