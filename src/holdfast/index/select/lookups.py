"""Small facts that many records need: interned texts, times and actors of seqs, tags, paths of collections."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime

from holdfast.errors import IndexDamagedError
from holdfast.index.database import Database
from holdfast.values import moment, names
from holdfast.values.names import Name

_CACHED = 20_000
_DEEPEST = 100_000
MARKS = 500
"""How many values one `IN (…)` may hold: well below SQLite's limit on parameters."""

TIME_OF = "(SELECT time_us FROM tx WHERE first <= {0} ORDER BY first DESC LIMIT 1)"
ACTOR_OF = "(SELECT actor FROM tx WHERE first <= {0} ORDER BY first DESC LIMIT 1)"


class Lookups:
    """Reads small facts; keeps only what can never change (a term's text)."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._terms: dict[int, str] = {0: ""}
        self._open = threading.local()

    def forget(self) -> None:
        """Rows were made anew, and keys may stand for other texts."""
        self._terms = {0: ""}

    def open_transaction(self, first: int, time_us: int, actor: str) -> None:
        """This thread writes changes from seq `first` on: their time and actor stand in no row yet."""
        self._open.facts = (first, time_us, actor)

    def close_transaction(self) -> None:
        """The rows are there, or never will be."""
        self._open.facts = None

    def time(self, seq: int, time_us: int | None) -> datetime:
        """When change `seq` happened; `time_us` is what TIME_OF gave for it."""
        facts = getattr(self._open, "facts", None)
        if facts is not None and seq >= facts[0]:
            time_us = facts[1]
        assert time_us is not None
        return moment.to_datetime(time_us)

    def actor(self, seq: int, key: int | None) -> str:
        """Who made change `seq`; `key` is what ACTOR_OF gave for it (a term `kind:name`)."""
        facts = getattr(self._open, "facts", None)
        if facts is not None and seq >= facts[0]:
            return str(facts[2])
        return self.term(key).partition(":")[2]

    def term(self, key: int | None) -> str:
        """The text of an interned key."""
        if key is None:
            return ""
        text = self._terms.get(key)
        if text is None:
            row = self._db.one("SELECT text FROM term WHERE key = ?", (key,))
            text = str(row[0]) if row else ""
            if len(self._terms) >= _CACHED:
                self._terms = {0: ""}
            # A key whose row may still be rolled back must not outlive the transaction.
            if not self._db.raw().in_transaction:
                self._terms[key] = text
        return text

    def term_key(self, text: str) -> int | None:
        """The key of a text; None if no record ever used it."""
        if text == "":
            return 0
        row = self._db.one("SELECT key FROM term WHERE text = ?", (text,))
        return None if row is None else int(row[0])

    def tags(self, keys: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Tags of records, each in order of code points."""
        wanted = list(keys)
        found: dict[int, list[str]] = {}
        for start in range(0, len(wanted), MARKS):
            part = wanted[start : start + MARKS]
            marks = ",".join("?" * len(part))
            sql = f"SELECT record, tag FROM tagging WHERE record IN ({marks}) ORDER BY record, tag"
            for record, tag in self._db.rows(sql, part):
                found.setdefault(record, []).append(tag)
        return {key: tuple(tags) for key, tags in found.items()}

    def path(self, collection: int) -> tuple[Name, ...]:
        """The names from the root down to a collection, itself included; empty for the root."""
        steps: list[Name] = []
        key: int | None = collection
        while key is not None:
            row = self._db.one("SELECT parent, name, stray FROM collection WHERE key = ?", (key,))
            if row is None or row[0] is None:
                break
            steps.append(Name(row[1], row[2]))
            if len(steps) > _DEEPEST:
                raise IndexDamagedError(f"collection {collection} lies in itself", reason="cycle")
            key = row[0]
        return tuple(reversed(steps))

    def paths(self, collections: Iterable[int]) -> dict[int, str]:
        """Paths of several collections in display form."""
        return {key: names.join(steps) for key, steps in self.steps(collections).items()}

    def steps(self, collections: Iterable[int]) -> dict[int, tuple[Name, ...]]:
        """The names down to each of several collections."""
        return {key: self.path(key) for key in set(collections)}

    def ids(self, keys: Iterable[int | None]) -> dict[int, str]:
        """Ids of records by key."""
        wanted = [key for key in set(keys) if key is not None]
        found: dict[int, str] = {}
        for start in range(0, len(wanted), MARKS):
            part = wanted[start : start + MARKS]
            sql = f"SELECT key, id FROM record WHERE key IN ({','.join('?' * len(part))})"
            found |= {row[0]: moment.id_text(row[1]) for row in self._db.rows(sql, part)}
        return found

    def deleted_at(self, seq: int) -> datetime | None:
        """When the delete with this seq happened; None for 0."""
        if seq == 0:
            return None
        row = self._db.one(f"SELECT {TIME_OF.format('?')}", (seq,))
        return self.time(seq, row[0] if row else None)


def join_path(folder: str, name: str) -> str:
    """A path in display form."""
    return f"{folder}/{name}" if folder else name
