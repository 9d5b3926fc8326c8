"""Rows that wait for each other go to the server as one statement.

Each by itself costs the server a round of its own: six rows and the version of a small put are said in half the time as
one statement with parts (`WITH … AS (INSERT …)`; note 051).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.index.postgres.dialect import Statement

MOST = 8
"""So many rows to a statement: those of a small put."""

_WIDEST = 24
"""A statement with more parameters than that makes many rows, and is a message of its own."""

_MARK = re.compile(rb"\$(\d+)")

Waiting = tuple[Statement, Sequence[Any]]


def statements(waiting: Sequence[Waiting], last: bytes | None = None) -> list[tuple[bytes, Sequence[Any]]]:
    """What waits, as few statements with their parameters. `last`: one without parameters, which comes at the end."""
    every = [*groups(waiting)]
    ends = last is not None and bool(every) and not _is_alone(*every[-1][0])
    said: list[tuple[bytes, Sequence[Any]]] = [merged(group) for group in (every[:-1] if ends else every)]
    if last is not None:
        said.append(merged(every[-1] if ends else (), last))
    return said


def groups(waiting: Sequence[Waiting]) -> Iterator[Sequence[Waiting]]:
    """What can go in one statement, in order: parts of one see nothing of each other, so no table comes twice."""
    group: list[Waiting] = []
    tables: set[str] = set()
    for said, given in waiting:
        if group and (len(group) >= MOST or said.table in tables or _is_alone(said, given) or _is_alone(*group[0])):
            yield group
            group, tables = [], set()
        group.append((said, given))
        tables.add(said.table)
    if group:
        yield group


def _is_alone(said: Statement, given: Sequence[Any]) -> bool:
    return not said.table or len(given) > _WIDEST


def merged(group: Sequence[Waiting], last: bytes | None = None) -> tuple[bytes, list[Any]]:
    """One statement, marked `$1`, and its parameters. `last`: a statement without parameters that goes with them."""
    texts = tuple(said.text for said, _ in group)
    return _merged(texts, last), list(itertools.chain.from_iterable(given for _, given in group))


@functools.lru_cache(1_024)
def _merged(texts: tuple[bytes, ...], last: bytes | None) -> bytes:
    said, marks = [], 0
    for text in texts:
        said.append(_MARK.sub(lambda found: b"$%d" % (int(found[1]) + marks), text))  # noqa: B023 - called at once
        marks += len(_MARK.findall(text))
    end = said.pop() if last is None else last
    if not said:
        return end
    return b"WITH " + b", ".join(b"w%d AS (%s)" % one for one in enumerate(said)) + b" " + end
