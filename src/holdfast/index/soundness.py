"""Whether the rows that say what may be deleted can be believed: asked before anything is."""

from __future__ import annotations

import sqlite3

from holdfast.errors import HoldfastError
from holdfast.index import proof
from holdfast.index.invariants import INVARIANTS, id_bytes
from holdfast.index.sql import SqlIndex

_TABLES = ("tx", "record", "artifact", "revision", "content", "blob", "container", "change", "meta")
"""A content is deleted because no row of these refers to it: each of them must be there, and be what was written."""

_RULES = frozenset({
    "artifact-has-record", "record-has-artifact", "artifact-newest", "revision-numbers", "revision-content",
    "revision-artifact-exists", "content-digest", "blob-content", "container-loose",
})  # fmt: skip
"""What the loss of a single row of these tables breaks."""

_SEQS = """SELECT (SELECT count(*) FROM record WHERE key > 0) + (SELECT count(*) FROM change)
    + (SELECT count(*) FROM revision v WHERE NOT EXISTS (SELECT 1 FROM record r WHERE r.key = v.key)),
    (SELECT coalesce(sum(count), 0) FROM tx), (SELECT coalesce(max(first + count) - 1, 0) FROM tx)"""


def doubts(index: SqlIndex) -> list[str]:
    """What is wrong with the index, in a few words each; none if a row that is not found was never there.

    Reads all of the tables that count; memory does not grow with them. Other damage than that is fsck's business.
    """
    try:
        return _pages(index) + _unproven(index) + _rules(index) + _gaps(index)
    except HoldfastError as error:
        return [error.message]


def broken_rules(index: SqlIndex) -> list[str]:
    """Which rules the rows break that followed from a chain of unknown origin, in a few words each."""
    index.database.raw().create_function("id_bytes", 1, proof.asked_by_sqlite(id_bytes), deterministic=True)
    return _first_of(index, {f"not so: {one.rule}": one.query for one in INVARIANTS})


def _pages(index: SqlIndex) -> list[str]:
    return [str(row[0]) for row in index.database.rows("PRAGMA quick_check(3)") if row[0] != "ok"]


def _unproven(index: SqlIndex) -> list[str]:
    tables = [table for table in _TABLES if table in proof.COLUMNS]
    return _first_of(
        index, {f"a row of {table} is not what its checksum says": proof.unproven(table) for table in tables}
    )


def _rules(index: SqlIndex) -> list[str]:
    return _first_of(index, {f"not so: {one.rule}": one.query for one in INVARIANTS if one.name in _RULES})


def _first_of(index: SqlIndex, queries: dict[str, str]) -> list[str]:
    found = []
    for said, query in queries.items():
        cursor = index.database.run(query)
        try:
            row = cursor.fetchone()
        except sqlite3.Error as error:
            return [f"{said}: {error}"]
        finally:
            cursor.close()
        if row is not None:
            found.append(f"{said} ({row[0]})")
    return found


def _gaps(index: SqlIndex) -> list[str]:
    """Every change made exactly one record, one revision or one row of `change`: so a lost row shows as a number."""
    row = index.database.one(_SEQS)
    assert row is not None
    rows, changes, end = row
    if changes != end:
        return [f"the chain has {changes} changes up to number {end}"]
    return [] if rows == changes else [f"{changes} changes have left {rows} rows"]
