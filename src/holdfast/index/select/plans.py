"""What SQLite would do for a query, in words: for whoever wonders whether an index is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdfast.index.database import Database
from holdfast.values.query import Plan

_USED = re.compile(r"USING (?:COVERING )?INDEX (\w+)")
_SCANNED = re.compile(r"SCAN (artifact|record|revision|content|tagging)\b")
_DECLARED = re.compile(r"SEARCH (d\d+) USING PRIMARY KEY")
_ALIAS = re.compile(r"\b(?:t[1-4]|c|v|k|d\d+)\b")
_NAMES = {
    "t1": "artifact", "t2": "record", "t3": "revision", "t4": "content", "c": "content", "v": "revision", "k": "found",
}  # fmt: skip


def read(database: Database, sql: str, parameters: tuple[Any, ...], declared: Mapping[str, str]) -> Plan:
    """The plan of a query; nothing of it is carried out. `declared`: fields of declared indexes, by alias."""
    rows = database.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)
    names = _NAMES | {alias: f"index of {field}" for alias, field in declared.items()}
    steps = [_ALIAS.sub(lambda match: names.get(match[0], match[0]), str(row[3])) for row in rows]
    used = [match[1] for row in rows if (match := _USED.search(str(row[3])) or _DECLARED.search(str(row[3])))]
    indexes = dict.fromkeys(declared.get(name, name) for name in used)
    scans = dict.fromkeys(match[1] for step in steps if (match := _SCANNED.match(step)))
    return Plan(tuple(steps), tuple(indexes), tuple(scans))
