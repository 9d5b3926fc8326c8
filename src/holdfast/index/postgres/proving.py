"""Rows that prove themselves, where no Python function can be called in the middle of a query.

What `proven` covers in the list of a SELECT is fetched in its place, and proven when it comes. Where a checksum decides
what a statement does (WHERE, UPDATE), functions of the schema work it out.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from holdfast.index import proof
from holdfast.index.postgres.tokens import closing, parts

Row = tuple[Any, ...]


def folded(found: list[str]) -> Callable[[Row], Row] | None:
    """Let the cells be fetched that `proven` covers, in place of what it says; what proves them and leaves a 1."""
    depth, end = 0, None
    for place, word in enumerate(found):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if depth == 0 and word in ("UNION", "INTERSECT", "EXCEPT"):
            return None
        if depth == 0 and word == "FROM" and end is None:
            end = place
    if end is None:
        return None
    start = 2 if found[1] == "DISTINCT" else 1
    plan: list[tuple[str, int]] = []
    items: list[list[str]] = []
    for item in parts(found[start:end]):
        if item[0] in ("proven", "tags_proven") and closing(item, 1) == len(item) - 1:
            cells = parts(item[2:-1])
            table = cells.pop(1)[0].strip("'") if item[0] == "proven" else ""
            plan.append((table, len(cells)))
            items += cells
        else:
            plan.append(("*", 1))
            items.append(item)
    if all(table == "*" for table, _ in plan):
        return None
    found[start:end] = [word for item in items for word in (*item, ",")][:-1]
    return functools.partial(_fold, tuple(plan))


def _fold(plan: tuple[tuple[str, int], ...], row: Row) -> Row:
    out: list[Any] = []
    place = 0
    for table, width in plan:
        if table == "*":
            out.append(row[place])
        elif table:
            proof.prove(table, row[place + 1 : place + width], row[place])
            out.append(1)
        else:
            _prove_tags(row[place], row[place + 1])
            out.append(1)
        place += width
    return tuple(out)


def _prove_tags(stored: Any, joined: str | None) -> None:
    if stored != (0 if joined is None else zlib.crc32(joined.encode())):
        raise proof.damaged("tagging", "?")


def _said(table: str, cells: Sequence[Sequence[str]]) -> list[str]:
    """An expression for the text whose checksum a row has."""
    out = [f"'(''{table.strip(chr(39))}'''"]
    for cell in cells:
        out += ["||", "', '", "||", "repr", "(", *cell, ")"]
    return [*out, "||", "')'"]


def on_server(found: list[str]) -> list[str]:
    """`proven`, `resigned` and `row_checksum`, where the server has to work them out."""
    out: list[str] = []
    place = 0
    while place < len(found):
        word = found[place]
        if word not in ("proven", "resigned", "row_checksum"):
            out.append(word)
            place += 1
            continue
        end = closing(found, place + 1)
        cells = parts(found[place + 2 : end])
        if word == "row_checksum":
            out += ["crc_of", "(", *_said(cells[0][0], cells[1:]), ")"]
        elif word == "proven":
            out += ["proven", "(", *cells[0], ",", *_said(cells[1][0], cells[2:]), ")"]
        else:
            stored, table, *both = cells
            half = len(both) // 2
            old, new = _said(table[0], both[:half]), _said(table[0], both[half:])
            out += ["resigned", "(", *stored, ",", *old, ",", *new, ")"]
        place = end + 1
    return out
