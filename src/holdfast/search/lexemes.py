"""Words as PostgreSQL's tsvector takes them: cut into parts that its limits allow, and queries in its own words.

The words are those of `fold`: no dictionary and no parser of the server has a say, so that both backends have one
tokenizer. A tsvector has positions up to 16,383, at most 255 of them for a word, words of at most 2,046 bytes, and less
than 1 MiB. A long text becomes several; each begins with the last words of the one before, so that phrases are found
across the cut.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

from holdfast.search.query import MAX_WORDS, Term

NAME, METADATA, TEXT = "A", "B", "C"
"""The weights by which a position says where its word stands."""

WEIGHTS = {"name": NAME, "metadata": METADATA, "text": TEXT}
LONGEST_BYTES = 1_900

_LAST = 16_000
_MOST_PLACES = 250
_MOST_BYTES = 400_000
_REPEATED = 128
_AGAIN_BYTES = 100_000


def lexeme(word: str) -> str:
    """A word as it is kept: what is longer than LONGEST_BYTES by its beginning and its digest."""
    if len(word) * 4 <= LONGEST_BYTES:
        return word
    data = word.encode()
    return word if len(data) <= LONGEST_BYTES else f"{_cut(data)}#{hashlib.sha256(data).hexdigest()}"


def _cut(data: bytes) -> str:
    return data[:LONGEST_BYTES].decode(errors="ignore")


def vectors(fields: Iterable[tuple[str, Sequence[str]]]) -> Iterator[str]:
    """The tsvectors, as text, of a document: (weight, folded words in order) of each of its fields. At least one."""
    building = _Building()
    for weight, words in fields:
        building.begin(weight)
        for word in words:
            kept = lexeme(word)
            if building.is_full(kept):
                yield building.text()
                building = building.following()
            building.add(kept)
    yield building.text()


class _Building:
    """One tsvector in the making. `_recent`: the last words of the field that is being taken in."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = {}
        self._at = 0
        self._bytes = 0
        self._weight = ""
        self._recent: deque[str] = deque(maxlen=MAX_WORDS - 1)

    def begin(self, weight: str) -> None:
        """What comes next is another field: no phrase leads into it."""
        self._weight = weight
        self._at += 1
        self._recent.clear()

    def is_full(self, word: str) -> bool:
        """Whether a word does not go in any more."""
        return self._at >= _LAST or self._bytes >= _MOST_BYTES or len(self._places.get(word, ())) >= _MOST_PLACES

    def add(self, word: str) -> None:
        """The next word."""
        self._at += 1
        self._bytes += len(word) * 4 + 4
        self._places.setdefault(word, []).append(f"{self._at}{self._weight}")
        self._recent.append(word)

    def following(self) -> _Building:
        """One that goes on where this one ends, with as many of its last words as leave room for others."""
        again: deque[str] = deque()
        counts: Counter[str] = Counter()
        room = _AGAIN_BYTES
        for word in reversed(self._recent):
            counts[word] += 1
            room -= len(word) * 4
            if counts[word] > _REPEATED or room < 0:
                break
            again.appendleft(word)
        made = _Building()
        made.begin(self._weight)
        for word in again:
            made.add(word)
        return made

    def text(self) -> str:
        """As PostgreSQL reads it. Folded words have neither quotes nor backslashes."""
        return " ".join(f"'{word}':{','.join(places)}" for word, places in self._places.items())


def tsquery(term: Term) -> str:
    """Words that follow each other, as PostgreSQL's tsquery."""
    weight = WEIGHTS[term.field] if term.field else ""
    said = [f"'{lexeme(word)}'" + (f":{weight}" if weight else "") for word in term.words[:-1]]
    return " <-> ".join([*said, _last(term, weight)])


def _last(term: Term, weight: str) -> str:
    word = term.words[-1]
    if not term.prefix:
        return f"'{lexeme(word)}'" + (f":{weight}" if weight else "")
    data = word.encode()
    return f"'{word if len(data) <= LONGEST_BYTES else _cut(data)}':*{weight}"
