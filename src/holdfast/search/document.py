"""What goes into the search index and what comes out: values only."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from holdfast.values.canon import JSON
from holdfast.values.frozen import dataclass

Position = tuple[int, bytes]
"""How far changes are taken in: (seq, chain hash at that seq). `START` is before the first."""

START: Position = (0, b"")

_LONGEST_INTEGER_BITS = 1_024
"""Longer integers are not worth a word (and Python refuses to print them from 4,300 digits on)."""


class LeftOut(enum.StrEnum):
    """Why the text of a revision is not in the index; its name and metadata are."""

    TOO_LARGE = "too-large"
    NOT_TEXT = "not-text"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Document:
    """The newest revision of one artifact, as it is to be found.

    `key`: the artifact's integer key; `name`: its path in display form; `metadata`: any JSON value, of which keys,
    strings and numbers are indexed; `text`: the content, None if there is none to index, and then `left_out` says why.
    """

    key: int
    revision: int
    name: str
    metadata: JSON = None
    text: str | None = None
    left_out: LeftOut | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One artifact found. `score`: higher is better, comparable within one answer only; 0.0 means not ranked."""

    key: int
    revision: int
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """A page of hits; up to where changes were taken in before it was looked for; how many texts are not indexed."""

    hits: list[Hit]
    position: Position
    lacking: int


@dataclass(frozen=True, slots=True)
class NotIndexed:
    """A live document whose text is not in the index, and why."""

    key: int
    revision: int
    reason: LeftOut


@dataclass(frozen=True, slots=True)
class Counts:
    """Documents in the index. `dead`: superseded or removed ones that still take space; `left_out`: live, by reason."""

    live: int
    dead: int
    left_out: dict[LeftOut, int]


def flatten(value: JSON) -> str:
    """Keys, strings and numbers of a JSON value as text, a line for each, in order of reading."""
    return "\n".join(_lines(value))


def _lines(value: JSON) -> Iterator[str]:
    waiting: list[JSON] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for key, inner in reversed(item.items()):
                waiting += (inner, key)
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, str):
            yield item
        elif isinstance(item, float) or (_is_integer(item) and item.bit_length() <= _LONGEST_INTEGER_BITS):
            yield str(item)


def _is_integer(item: object) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)
