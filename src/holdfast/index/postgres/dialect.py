"""SQL as this room composes it for SQLite → the same in PostgreSQL's words. Pure, and kept for each text.

Reducers and queries are written once. What differs is named here, rule by rule, over tokens: so nothing inside of a
text or of a quoted name is ever touched. Upper case is a keyword, lower case a name: as all SQL here is written.

Row checksums need one thing more. SQLite asks Python for them in the middle of a query; here the cells that `proven`
covers are fetched instead, and `Statement.fold` proves them when they come. Only where a checksum decides what a
statement does (WHERE, UPDATE) the server works it out, by functions of the schema.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.errors import IndexDamagedError
from holdfast.index.postgres import lists, proving
from holdfast.index.postgres.proving import Row
from holdfast.index.postgres.tokens import closing, dropped, is_name, joined, parts, tokens

NOW_US = "SELECT now_us"
"""The server's time in microseconds: one clock for all who share a lease."""

_SPECIAL = {
    NOW_US: "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    # What SQLite keeps about itself is a row here: it changes with every commit that changed something.
    "PRAGMA data_version": 'SELECT "version" FROM "head"',
    "SELECT 1 FROM sqlite_master WHERE name = 'schema_version'": (
        "SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL"
    ),
    "BEGIN IMMEDIATE": "BEGIN",
    "PRAGMA quick_check(3)": "SELECT 'ok'",  # the server checks its own pages
}
_FUNCTIONS = {"ifnull": "coalesce", "group_concat": "string_agg", "char": "chr"}
_TYPES = {"INTEGER": "BIGINT", "BLOB": "BYTEA", "TEXT": 'TEXT COLLATE "C"'}
_TRUTHS = {"0": "FALSE", "1": "TRUE"}
_BEFORE_TRUTH = frozenset({"WHERE", "AND", "OR", "NOT", "ON"})
_AFTER_TRUTH = frozenset({"", ")", "AND", "OR", "ORDER", "GROUP", "LIMIT", "UNION"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE"})
_PLAN = ["EXPLAIN", "QUERY", "PLAN"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as PostgreSQL takes it. `order`: which of the caller's parameters stand at its marks; None: all.

    `fold`: what makes the caller's row of a fetched one; None: they are the same. `writes`: it changes rows.
    `repeatable`: it may be said again on a new connection if the old one was lost before an answer came. `moot`: it
    reads entries of one index to compare them with their rows, which is the server's own business here. `waits`: it
    makes one row or fails, so it may be sent together with the statement after it. `table`: the one that it writes to,
    "" if that is not known; `names`: the words of one that reads, those of its tables among them.
    """

    text: bytes
    order: tuple[int, ...] | None
    fold: Callable[[Row], Row] | None
    writes: bool
    repeatable: bool
    moot: bool = False
    waits: bool = False
    table: str = ""
    names: frozenset[str] = frozenset()

    @property
    def is_mark(self) -> bool:
        """Whether it sets a mark to come back to, or lets go of one: no row is another one after it."""
        return self.text.startswith((b"SAVEPOINT ", b"RELEASE "))

    def arranged(self, parameters: Sequence[Any]) -> Sequence[Any]:
        """The parameters at its marks."""
        return parameters if self.order is None else [parameters[place] for place in self.order]


@functools.lru_cache(4_096)
def translated(sql: str) -> Statement:
    """The statement for a text."""
    special = _SPECIAL.get(sql)
    if special is not None:
        return Statement(special.encode(), None, None, writes=False, repeatable=True)
    found = tokens(sql)
    first, moot = found[0], "INDEXED" in found
    fold = proving.folded(found) if first == "SELECT" else None
    if found[:3] == _PLAN:
        found, fold = ["EXPLAIN", *found[3:]], _step
    for rule in _RULES:
        found = rule(found)
    text, order = _marked(found)
    own = any(word.startswith("pg_temp.") for word in found)
    reads = first in ("SELECT", "WITH", "EXPLAIN") and not own
    names = frozenset(word.strip('"') for word in found) if reads else frozenset[str]()
    return Statement(
        text.encode(), order, fold, first in _WRITES, reads, moot, _waits(found), "" if reads else _table(found), names
    )


def _waits(found: Sequence[str]) -> bool:
    """A plain INSERT, or one that takes the place of a row: it makes one row, or the transaction fails."""
    words = set(found)
    if found[0] != "INSERT" or "VALUES" not in words or {"SELECT", "RETURNING", "WHERE"} & words:
        return False
    return "ON" not in words or "UPDATE" in words


def _table(found: Sequence[str]) -> str:
    """The table that a statement writes to; "" for what is none that writes rows."""
    place = {"INSERT": 2, "UPDATE": 1, "DELETE": 2}.get(found[0])
    return "" if place is None else found[place].strip('"')


def schema(sql: str) -> str:
    """A statement of the schema, so that saying it twice does no harm."""
    found = [_TYPES.get(word, word) for word in tokens(sql)]
    found = dropped(found, ["WITHOUT", "ROWID"])
    head = " ".join(found[:3])
    if head.startswith("CREATE TABLE"):
        found[2:2] = ["IF", "NOT", "EXISTS"]
    elif head.startswith("CREATE UNIQUE INDEX"):
        found[3:3] = ["IF", "NOT", "EXISTS"]
    elif head.startswith("CREATE INDEX"):
        found[2:2] = ["IF", "NOT", "EXISTS"]
    elif head.startswith("INSERT"):
        found += ["ON", "CONFLICT", "DO", "NOTHING"]
    return joined(found)


def _marked(found: Sequence[str]) -> tuple[str, tuple[int, ...] | None]:
    """The text with the server's marks, and which parameters stand there."""
    order: list[int] = []
    out = []
    for word in found:
        if word[0] == "?":
            order.append(int(word[1:]) - 1 if len(word) > 1 else max(order, default=-1) + 1)
            out.append(f"${len(order)}")
        else:
            out.append(word)
    straight = order == list(range(len(order)))
    return joined(out), None if straight or not order else tuple(order)


def _step(row: Row) -> Row:
    """A line of a plan, in the words of SQLite's plans where these have words for it."""
    line = str(row[0]).strip().removeprefix("->").strip()
    used = re.match(r"Index (?:Only )?Scan(?: Backward)? using (\w+) on \w+(?: (\w+))?", line)
    scanned = re.match(r"Seq Scan on (\w+)", line)
    if used and used[1].endswith("_pkey"):
        line = f"SEARCH {used[2]} USING PRIMARY KEY"
    elif used:
        line = f"SEARCH {used[2]} USING INDEX {used[1]}"
    elif bitmap := re.match(r"Bitmap Index Scan on (\w+)", line):
        line = f"SEARCH USING INDEX {bitmap[1]}"
    elif scanned:
        line = f"SCAN {scanned[1]}"
    return (0, 0, 0, line.partition("  (cost")[0])


def _joins(found: list[str]) -> list[str]:
    """CROSS JOIN with ON (which for SQLite fixes the order) is a plain JOIN; INDEXED BY says nothing here."""
    out: list[str] = []
    place = 0
    while place < len(found):
        if found[place : place + 2] == ["CROSS", "JOIN"] and _has_condition(found, place + 2):
            place += 1
        elif found[place : place + 2] == ["INDEXED", "BY"]:
            place += 3
        else:
            out.append(found[place])
            place += 1
    return out


def _has_condition(found: Sequence[str], place: int) -> bool:
    if found[place] == "(":
        place = closing(found, place)
    elif found[place + 1 : place + 2] == ["("]:
        place = closing(found, place + 1)
    place += 1
    while place < len(found) and (found[place] == "AS" or is_name(found[place])):
        place += 1
    return found[place : place + 1] == ["ON"]


def _comparisons(found: list[str]) -> list[str]:
    """IS between values, truths that are written as numbers, GLOB, and the plus that keeps SQLite from an index."""
    out: list[str] = []
    for place, word in enumerate(found):
        before, after = out[-1] if out else "", found[place + 1] if place + 1 < len(found) else ""
        if before == "IS" and word not in ("NULL", "NOT", "DISTINCT"):
            out += ["NOT", "DISTINCT", "FROM", word]
        elif before == "NOT" and out[-2:-1] == ["IS"] and word not in ("NULL", "DISTINCT"):
            out[-1:] = ["DISTINCT", "FROM", word]
        elif word == ")" and out[-2:] == ["IN", "("]:  # in nothing
            out[-3:] = ["FALSE"]
        elif word in _TRUTHS and _is_truth(out) and after in _AFTER_TRUTH:
            out.append(_TRUTHS[word])
        elif word == "GLOB":
            out.append("~~")
        elif before == "~~":
            out += ["glob_like", "(", word, ")"]
        elif word == "+" and (before in _BEFORE_TRUTH or before == "("):
            continue
        else:
            out.append(word)
    return out


def _is_truth(before: Sequence[str]) -> bool:
    """Whether a number that comes next says yes or no."""
    at = len(before) - 1
    while at > 0 and before[at] == "(":
        at -= 1
    return before[at] in _BEFORE_TRUTH and "BETWEEN" not in before[-4:]


def _names(found: list[str]) -> list[str]:
    """Functions, types and names that PostgreSQL calls otherwise."""
    out: list[str] = []
    makes = found[0] == "CREATE"
    for place, word in enumerate(found):
        if word.startswith("temp."):
            out.append(f"pg_temp.{word[5:]}")
        elif word == "offset":
            out.append('"offset"')
        elif word in ("max", "min") and len(parts(found[place + 2 : closing(found, place + 1)])) > 1:
            out.append({"max": "greatest", "min": "least"}[word])
        elif word in _FUNCTIONS and found[place + 1 : place + 2] == ["("]:
            out.append(_FUNCTIONS[word])
        else:
            out.append(_TYPES.get(word, word) if makes else word)
    return dropped(out, ["WITHOUT", "ROWID"])


def _ignoring(found: list[str]) -> list[str]:
    """INSERT OR IGNORE."""
    if found[:3] != ["INSERT", "OR", "IGNORE"]:
        return found
    return ["INSERT", *found[3:], "ON", "CONFLICT", "DO", "NOTHING"]


def _named_subqueries(found: list[str]) -> list[str]:
    """A query in FROM has a name."""
    out = list(found)
    for place in range(len(found) - 1, 0, -1):
        if found[place - 1] in ("FROM", "JOIN") and found[place] == "(":
            end = closing(out, place)
            after = out[end + 1] if end + 1 < len(out) else ""
            if not (after == "AS" or is_name(after)):
                out[end + 1 : end + 1] = ["AS", "found"]
    return out


_RULES: tuple[Callable[[list[str]], list[str]], ...] = (
    proving.on_server, lists.lists, lists.metadata, lists.declared,
    _joins, _comparisons, _ignoring, _names, _named_subqueries,
)  # fmt: skip


def unknown_row(table: str) -> IndexDamagedError:
    """The error for a row that the server found to be other than its checksum says."""
    return IndexDamagedError(f"a row of {table} is not what its checksum says", reason="row checksum")
