"""Rows that go in together, and what is looked up for many changes at once, while they are applied."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from holdfast.index import composing, proof
from holdfast.index.columnar import TOGETHER
from holdfast.index.database import Database
from holdfast.values import canon, digest

Shape = tuple[str, tuple[str, ...]]
"""A table, and the columns that are given."""

NEW_CONTENT: Shape = ("content", proof.COLUMNS["content"])
_TERMS = "SELECT t.text FROM json_each(?) AS n CROSS JOIN term t ON t.text = json_extract(n.value, '$[0]')"
_CONTENTS = """SELECT content.digest, content.key FROM json_each(?1) AS n CROSS JOIN content
               ON substr(content.digest, 1, 4) = substr(?2, n.key * 32 + 1, 4)
               AND content.digest = substr(?2, n.key * 32 + 1, 32)"""


def write(connection: sqlite3.Connection, shape: Shape, rows: list[Sequence[Any]]) -> None:
    """Insert rows, and forget them: so many at a time, and what is left in halves, with few texts of statements."""
    start, size = 0, TOGETHER
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        cells = list(chain.from_iterable(rows[start : start + size]))
        connection.execute(composing.insert(*shape, size), cells)
        start += size
    rows.clear()


def contents(
    database: Database, news: Sequence[tuple[int, str, int]], unspoken: set[str]
) -> tuple[dict[str, int], list[tuple[Any, ...]]]:
    """Keys of all contents that changes speak of (seq, digest, size), by digest; and the rows of those that have none.

    `unspoken`: digests that are known to have no row; those that get one now are taken out.
    """
    named = list(dict.fromkeys([name for _, name, _ in news]))
    raws = dict(zip(named, digest.raws(named), strict=True))
    asked = [raw for name, raw in raws.items() if name not in unspoken]
    unspoken.difference_update(raws)
    found = database.rows(_CONTENTS, (f"[{','.join('0' * len(asked))}]", b"".join(asked))) if asked else []
    keys = {digest.text(raw): key for raw, key in found}
    rows: list[tuple[Any, ...]] = []
    for seq, name, size in news:
        if name not in keys:
            keys[name] = seq
            rows.append((seq, raws[name], size))
    return keys, rows


def known(contents: Mapping[str, int], digests: Sequence[str]) -> list[int] | None:
    """Keys of contents, if all of them are known."""
    found = [key for key in map(contents.get, digests) if key is not None]
    return found if len(found) == len(digests) else None


def absent_terms(database: Database, known: Mapping[str, int], sources: Iterable[str]) -> set[str]:
    """Texts that revisions bring and no row has: the folders that files come from, most of them new."""
    folders = {source[: source.rfind("/") + 1] for source in sources if source}  # as `folder_of` each
    asked = [text for text in folders if text not in known and "\0" not in text]
    if not asked:
        return set()
    there = {row[0] for row in database.rows(_TERMS, (canon.dumps([[text] for text in asked]),))}
    return {text for text in asked if text not in there}
