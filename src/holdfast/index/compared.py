"""How rows of a table are asked for that are to be compared, and whether one is what was expected."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from holdfast.index import proof
from holdfast.index.database import Database

_KEYS = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk"
"""Models would tell, but making them takes a tenth of all the time in a store of 50,000."""

Row = tuple[Any, ...]


class Compared:
    """How rows of a table are asked for. `form`: the last cell that is fetched is a checksum over all before it, so."""

    def __init__(self, name: str, database: Database) -> None:
        self.name = name
        self.form = proof.FORMS.get(name)
        self.columns: tuple[str, ...] = proof.COLUMNS.get(name) or tuple(proof.EVERY[name])
        self.keys = tuple(row[0] for row in database.rows(_KEYS, (name,)))
        self.places = tuple(self.columns.index(key) for key in self.keys)
        self.place = self.places[0]
        fetched = (*self.columns, proof.CHECKSUM) if self.form is not None else self.columns
        select = f'SELECT {", ".join(f"t.{column}" for column in fetched)} FROM "{name}" t WHERE '
        self.one = select + " AND ".join(f"t.{key} = ?" for key in self.keys)
        self.paged = len(self.keys) == 1
        self.page = f"{select} t.{self.keys[0]} >= ? AND t.{self.keys[0]} < ? ORDER BY t.{self.keys[0]}"

    def is_row(self, cells: Row, found: Row | None) -> bool:
        """Whether a row that was fetched has these cells, of the same types, and the checksum of them."""
        if found is None:
            return False
        own = found[:-1] if self.form is not None else found
        if own != cells or [*map(type, own)] != [*map(type, cells)]:
            return False
        return self.form is None or crc32(self.form % cells) == found[-1]
