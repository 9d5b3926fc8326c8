"""Before it is said that something is not there: the entries of an index between which it would stand must be true.

A damaged entry of an index stands where the true one stood, so whoever looks for the true one ends up beside it. Its
row tells that it is not what was written. Where the wanted entry itself is there, and its row is not, that is damage
too. Costs two seeks, and only where nothing was found.
"""

from __future__ import annotations

from typing import Any

from holdfast.index import proof
from holdfast.index.database import Database


class Neighbours:
    """The two entries of one unique index around a place in it."""

    def __init__(self, table: str, index: str, columns: tuple[str, ...], *, only: str = "1") -> None:
        """`only`: which rows the index has."""
        self._table = table
        cells, marks = ", ".join(columns), ", ".join("?" * len(columns))
        self._ways = [
            f"""SELECT key, {cells} FROM {table} INDEXED BY {index} WHERE {only} AND ({cells}) {sign} ({marks})
                ORDER BY {", ".join(f"{column} {way}" for column in columns)} LIMIT 1"""
            for sign, way in (("<", "DESC"), (">=", "ASC"))
        ]
        self._row = f"SELECT key, {cells}, {proof.proven(table, 'r')} FROM {table} r WHERE key = ?"

    def prove(self, database: Database, wanted: tuple[Any, ...]) -> None:
        """IndexDamagedError if an entry beside the wanted one is not that of its row."""
        for sql in self._ways:
            entry = database.one(sql, wanted)
            if entry is not None:
                row = database.one(self._row, (entry[0],))
                if row is None or row[:-1] != entry:
                    raise proof.damaged(self._table, entry[0])


RECORDS = Neighbours("record", "record_id", ("id",))
ARTIFACTS = Neighbours("artifact", "artifact_collection_name_stray", ("collection", "name", "stray"), only="live = 1")
COLLECTIONS = Neighbours("collection", "collection_parent_name_stray", ("parent", "name", "stray"), only="live = 1")
ROOTS = Neighbours("collection", "collection_root", ("tenant",), only="parent IS NULL")
