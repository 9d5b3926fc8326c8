"""Which tenant a record belongs to, by its id or its key; kept in memory, for it never changes."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.select.lookups import MARKS, Lookups
from holdfast.values import moment

_KEPT = 20_000
_OF = f"SELECT id, key, tenant, {proof.proven('record', 'record')} FROM record WHERE"


class Tenancy:
    """Reads whose records are."""

    def __init__(self, database: Database, lookups: Lookups) -> None:
        self._db = database
        self._lookups = lookups
        self._guard = threading.Lock()
        self._used = False
        self._by_id: dict[str, str] = {}
        self._by_key: dict[int, str] = {}

    def forget(self) -> None:
        """Rows were made anew: keys may stand for other records."""
        with self._guard:
            self._by_id, self._by_key, self._used = {}, {}, False

    def in_use(self) -> bool:
        """Whether any tenant but the default one ever wrote: each begins with a root collection of its own."""
        if not self._used:
            sight = self._lookups.sights.now()
            if sight.alone is None:
                # The index that says so has one entry for each tenant.
                sql = "SELECT 1 FROM collection WHERE parent IS NULL AND tenant <> 0 LIMIT 1"
                sight.alone = self._db.one(sql) is None
            self._used = not sight.alone
        return self._used

    def of(self, record_id: str) -> str | None:
        """The tenant of a record; None if there is none with this id."""
        return self.of_ids([record_id]).get(record_id)

    def of_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """The tenants of records, of those that there are."""
        wanted = set(ids)
        found = {one: self._by_id[one] for one in wanted if one in self._by_id}
        rest = [moment.id_bytes(one) for one in wanted if one not in found]
        for raw, _, tenant in self._rows("id", rest):
            found[moment.id_text(raw)] = tenant
        return found

    def of_keys(self, keys: Iterable[int]) -> dict[int, str]:
        """The tenants of records by key, of those that there are."""
        wanted = set(keys)
        found = {one: self._by_key[one] for one in wanted if one in self._by_key}
        for _, key, tenant in self._rows("key", [one for one in wanted if one not in found]):
            found[key] = tenant
        return found

    def _rows(self, column: str, wanted: list[bytes] | list[int]) -> list[tuple[bytes, int, str]]:
        found: list[tuple[bytes, int, str]] = []
        for start in range(0, len(wanted), MARKS):
            part = wanted[start : start + MARKS]
            sql = f"{_OF} {column} IN ({','.join('?' * len(part))})"
            found += [(row[0], row[1], self._lookups.term(row[2])) for row in self._db.rows(sql, part)]
        with self._guard:
            if len(self._by_id) + len(found) > _KEPT:
                self._by_id, self._by_key = {}, {}
            for raw, key, tenant in found:
                if self._lookups.is_committed(key):  # else it may still be rolled back
                    self._by_id[moment.id_text(raw)] = self._by_key[key] = tenant
        return found
