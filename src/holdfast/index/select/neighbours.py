"""Before it is said that something is not there: the entries of an index between which it would stand must be true.

A damaged entry of an index stands where the true one stood, so whoever looks for the true one ends up beside it. Its
row tells that it is not what was written. Where the wanted entry itself is there, and its row is not, that is damage
too. Costs two seeks, and only where nothing was found. A server sees to the pages of its indexes itself.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from holdfast.index import proof
from holdfast.index.database import Database


class Neighbours:
    """The two entries of one unique index around a place in it."""

    def __init__(self, table: str, index: str, columns: tuple[str, ...], *, only: str = "1") -> None:
        """`only`: which rows the index has."""
        self._table = table
        cells = ", ".join(columns)
        every = proof.COLUMNS[table]
        self._entry_of = operator.itemgetter(*(every.index(column) for column in ("key", *columns)))
        marks = ", ".join(f"?{n}" for n in range(1, len(columns) + 1))
        ways = [
            f"""SELECT e.*, {proof.columns(table, "r")} FROM (SELECT key, {cells} FROM {table} INDEXED BY {index}
                WHERE {only} AND ({cells}) {sign} ({marks})
                ORDER BY {", ".join(f"{column} {way}" for column in columns)} LIMIT 1) e
                LEFT JOIN {table} r ON r.key = e.key"""
            for sign, way in (("<", "DESC"), (">=", "ASC"))
        ]
        self._around = f"SELECT 0, * FROM ({ways[0]}) UNION ALL SELECT 1, * FROM ({ways[1]})"
        self._width = 1 + len(columns)
        self._behind = f"SELECT {cells} FROM {table} WHERE {only} AND ({cells}) >= ({marks}) ORDER BY {cells} LIMIT 1"

    def prove(self, database: Database, wanted: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """IndexDamagedError if an entry beside the wanted one is not that of its row. Gives the one behind, if any."""
        if database.keeps_entries:
            return database.one(self._behind, wanted)
        behind = None
        for is_behind, *cells in database.rows(self._around, wanted):
            entry, row = tuple(cells[: self._width]), tuple(cells[self._width : -1])
            if self._entry_of(row) != entry:
                raise proof.damaged(self._table, entry[0])
            proof.prove(self._table, row, cells[-1])
            if is_behind:
                behind = entry[1:]
        return behind

    def prove_all(self, database: Database, wanted: Iterable[tuple[Any, ...]]) -> None:
        """As `prove` for each of many: those that would stand between the same two entries are proven at once."""
        if database.keeps_entries:
            return
        behind: tuple[Any, ...] | None = ()
        for one in sorted(wanted):
            if behind is not None and one >= behind:
                behind = self.prove(database, one)


RECORDS = Neighbours("record", "record_id", ("id",))
ARTIFACTS = Neighbours("artifact", "artifact_collection_name_stray", ("collection", "name", "stray"), only="live = 1")
COLLECTIONS = Neighbours("collection", "collection_parent_name_stray", ("parent", "name", "stray"), only="live = 1")
ROOTS = Neighbours("collection", "collection_root", ("tenant",), only="parent IS NULL")
