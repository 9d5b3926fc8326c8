"""Rows that keep the newest bytes of packs until a sync has reached them there: the COMMIT that acknowledges a small
content makes it durable, and the pack needs no sync of its own (docs/design/033).

A row says that a pack has these bytes from `start` on. Rows of one pack leave no gap behind what was synced, so that
whoever finds the pack shorter, or torn, can write its end again from them.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator

from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.values.frozen import dataclass

_PAGE = 64
_KEEP = "INSERT INTO pending (key, pack, start, sum, data, crc) VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes of a pack from `start` on. `key`: of its row, 0 if it has none yet."""

    pack: str
    start: int
    data: bytes
    key: int = 0

    @property
    def end(self) -> int:
        """Where in the pack they end."""
        return self.start + len(self.data)


class PendingRows:
    """Reads and changes the `pending` table."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, kept: Iterable[Kept]) -> None:
        """Keep bytes, in the open transaction."""
        for number, one in enumerate(kept):
            self.keep(one.pack, one.start, one.data, number)

    def keep(self, pack: str, start: int, data: bytes, number: int = 0) -> None:
        """Keep some bytes, the `number`th of a transaction."""
        cells = (time.time_ns() + number, pack, start, zlib.crc32(data))
        self._db.run(_KEEP, (*cells, data, proof.checksum("pending", *cells)))

    def packs(self) -> list[str]:
        """The packs of which anything is kept, by name."""
        return [str(row[0]) for row in self._db.rows("SELECT DISTINCT pack FROM pending ORDER BY pack")]

    def of(self, pack: str, *, start: int = 0) -> Iterator[Kept]:
        """What is kept of a pack and ends behind `start`, in order; what is not as it was written is left out.

        In short reads. Two rows may have some bytes both.
        """
        sql = f"""SELECT key, pack, start, sum, data, crc FROM pending
                  WHERE pack = ? AND start + length(data) > ? AND (start, key) > (?, ?)
                  ORDER BY start, key LIMIT {_PAGE}"""
        at, key = -1, 0
        while page := self._db.rows(sql, (pack, start, at, key)):
            for key, name, at, total, data, crc in page:
                is_whole = isinstance(data, bytes) and zlib.crc32(data) == total
                if is_whole and proof.checksum("pending", key, name, at, total) == crc:
                    yield Kept(pack, at, data, key)

    def span(self, pack: str, start: int, length: int) -> bytes | None:
        """Bytes of a pack if they are all kept; else None."""
        found = b""
        for one in self.of(pack, start=start):
            at = start + len(found)
            if not one.start <= at < one.end:
                if one.start > at:
                    return None
                continue
            found += one.data[at - one.start :][: length - len(found)]
            if len(found) == length:
                return found
        return None

    def forget(self, pack: str, end: int) -> None:
        """A pack has been synced up to `end`."""
        self._db.run("DELETE FROM pending WHERE pack = ? AND start + length(data) <= ?", (pack, end))

    def take_over(self, other: PendingRows) -> None:
        """Keep all that another index keeps, as far as it is what was written. In the open transaction."""
        for pack in other.packs():
            self.add(other.of(pack))
