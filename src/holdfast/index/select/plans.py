"""What SQLite would do for a query, in words: for whoever wonders whether an index is used."""

from __future__ import annotations

import re
from typing import Any

from holdfast.index.database import Database
from holdfast.values.query import Plan

_USED = re.compile(r"USING (?:COVERING )?INDEX (\w+)")
_SCANNED = re.compile(r"SCAN (artifact|record|revision|content|tagging)\b")
_ALIAS = re.compile(r"\b(?:t[1-4]|c|v|k)\b")
_NAMES = {
    "t1": "artifact", "t2": "record", "t3": "revision", "t4": "content", "c": "content", "v": "revision", "k": "found",
}  # fmt: skip


def read(database: Database, sql: str, parameters: tuple[Any, ...]) -> Plan:
    """The plan of a query; nothing of it is carried out."""
    rows = database.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)
    steps = [_ALIAS.sub(lambda match: _NAMES[match[0]], str(row[3])) for row in rows]
    indexes = dict.fromkeys(match[1] for step in steps if (match := _USED.search(step)))
    scans = dict.fromkeys(match[1] for step in steps if (match := _SCANNED.match(step)))
    return Plan(tuple(steps), tuple(indexes), tuple(scans))
