"""Small facts that many records need: interned texts, times and actors of seqs, tags, paths of collections."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from holdfast.errors import IndexDamagedError
from holdfast.index import proof
from holdfast.index.database import Database
from holdfast.index.select import neighbours
from holdfast.index.select.sight import DEEPEST_KEPT, Folder, Sight, Sights
from holdfast.index.tables import KIND_CODES, SLOTS
from holdfast.values import canon, moment, names
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name

_CACHED = 20_000
_DEEPEST = 100_000
_ALL = 1 << 63
MARKS = 500
"""How many values one `IN (…)` may hold: well below SQLite's limit on parameters."""

TIME_OF = "(SELECT time_us FROM tx WHERE first <= {0} ORDER BY first DESC LIMIT 1)"
ACTOR_OF = "(SELECT actor FROM tx WHERE first <= {0} ORDER BY first DESC LIMIT 1)"


_RECORD = proof.proven("record", "record")
_TERM = f"SELECT text, {proof.proven('term', 'term')} FROM term WHERE key = ?"
_KEY = f"SELECT key, id, kind, {_RECORD} FROM record WHERE key = (SELECT key FROM record WHERE id = ?)"
_TERM_KEY = (
    f"SELECT key, text, {proof.proven('term', 'term')} FROM term WHERE key = (SELECT key FROM term WHERE text = ?)"
)
STEP = f"""SELECT {proof.columns("collection", "c")}, {proof.columns("record", "r")}
           FROM collection c LEFT JOIN record r ON r.key = c.key WHERE c.key ="""
"""A step of a path: the row of a collection and that of its record."""
_STEP = f"{STEP} ?"
_TX = f"SELECT {proof.columns('tx', 'x')} FROM tx x WHERE first <= ? ORDER BY first DESC LIMIT 1"
_TXS = f"""SELECT {proof.columns("tx", "x")} FROM (SELECT DISTINCT (SELECT first FROM tx WHERE first <= s.value
           ORDER BY first DESC LIMIT 1) AS first FROM json_each(?) s) n CROSS JOIN tx x ON x.first = n.first"""
_TIMES = f"""SELECT s.value, s.value < x.first + x.count, {proof.proven("tx", "x")} FROM json_each(?) s
             JOIN tx x ON x.first = (SELECT first FROM tx WHERE first <= s.value ORDER BY first DESC LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class Written:
    """Which seqs a transaction wrote ([first, end)), when, and who; `kind`: of actor."""

    first: int
    end: int
    when: datetime
    who: str
    kind: str = ""


class Lookups:
    """Reads small facts, each proven by its row; keeps what can never change (a term's text, what a transaction was)
    and, in sights, what holds until the next commit.
    """

    def __init__(self, database: Database, sights: Sights) -> None:
        self._db = database
        self.sights = sights
        self._terms: dict[int, str] = {0: ""}
        self._ids: dict[int, str] = {}
        self._open = threading.local()
        self._proven: set[int] = set()
        self._guard = threading.Lock()
        self._written: tuple[list[int], dict[int, Written]] = ([], {})

    def forget(self) -> None:
        """Rows were made anew, and keys may stand for other texts."""
        self._terms, self._ids = {0: ""}, {}
        self._proven, self._written = set(), ([], {})
        self.sights.forget()

    def written(self, seq: int) -> Written:
        """By which transaction a change was written. IndexDamagedError if its row is not what it was."""
        facts = getattr(self._open, "facts", None)
        if facts is not None and seq >= facts[0]:
            return Written(facts[0], _ALL, moment.to_datetime(facts[1]), facts[2])
        return self.known(seq) or self._read_written(seq, self._db.one(_TX, (seq,)))

    def gather(self, seqs: Iterable[int]) -> None:
        """Have `written` ready for many seqs: one statement for all whose transactions are not known.

        What is wrong with a row is told to whoever asks for it.
        """
        facts = getattr(self._open, "facts", None)
        asked = [seq for seq in seqs if self.known(seq) is None and (facts is None or seq < facts[0])]
        for start in range(0, len(asked), MARKS):
            for row in self._db.rows(_TXS, (canon.dumps(asked[start : start + MARKS]),)):
                if proof.is_true("tx", row[:6], row[6]):
                    self._read_written(row[0], row)

    def known(self, seq: int) -> Written | None:
        """What `written` gives, if it was read before."""
        firsts, known = self._written
        at = bisect_right(firsts, seq)
        found = known.get(firsts[at - 1]) if at else None
        return found if found is not None and found.first <= seq < found.end else None

    def _read_written(self, seq: int, row: tuple[Any, ...] | None) -> Written:
        if row is None:
            raise proof.damaged("tx", seq)
        proof.prove("tx", row[:6], row[6])
        first, _, count, time_us, actor = row[:5]
        if seq >= first + count:
            raise proof.damaged("tx", seq)
        kind, _, who = self.term(actor).partition(":")
        found = Written(first, first + count, moment.to_datetime(time_us), who, kind)
        with self._guard:
            firsts, known = self._written
            if len(firsts) >= _CACHED:
                firsts, known = self._written = ([], {})
            if first not in known:
                known[first] = found
                insort(firsts, first)
        return found

    def take_step(self, step: tuple[Any, ...], sight: Sight | None) -> int:
        """The key of a row of STEP, which is proven. Where it lies is remembered in `sight`, if what it is in is known.

        Its record is another's concern: where that is not what was written, nothing is remembered.
        """
        key: int = step[0]
        proof.prove("collection", step[:9], step[9])
        if sight is not None and key not in sight.folders and proof.is_true("record", step[10:18], step[18]):
            above = None if step[1] is None else sight.folders.get(step[1])
            if step[1] is None:
                sight.keep_folder(key, Folder((), "", b"", moment.id_text(step[11])))
            elif above is not None:
                sight.keep_folder(key, below(above, Name(step[3], step[4]), moment.id_text(step[11])))
        return key

    def folder(self, key: int, sight: Sight) -> Folder:
        """Where a collection lies, each step up proven by its row."""
        waiting: list[tuple[int, Name, str]] = []
        found = sight.folders.get(key)
        at = key
        while found is None:
            step = self._db.one(_STEP, (at,))
            if step is None:
                raise proof.damaged("collection", at)
            proof.prove("collection", step[:9], step[9])
            proof.prove("record", step[10:18], step[18])
            record_id = moment.id_text(step[11])
            if step[1] is None:
                found = Folder((), "", b"", record_id)
                sight.keep_folder(at, found)
                break
            waiting.append((at, Name(step[3], step[4]), record_id))
            if len(waiting) > _DEEPEST:
                raise IndexDamagedError(f"collection {key} lies in itself", reason="cycle")
            at = step[1]
            found = sight.folders.get(at)
        if len(found.names) + len(waiting) > DEEPEST_KEPT:  # each step with a path of its own would be quadratic
            way = (*found.names, *(name for _, name, _ in reversed(waiting)))
            return Folder(way, names.join(way), names.join_raw(way), waiting[0][2] if waiting else found.id)
        for at, name, record_id in reversed(waiting):
            found = below(found, name, record_id)
            sight.keep_folder(at, found)
        return found

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

    def prove_times(self, seqs: Iterable[int]) -> None:
        """See to it that the transactions which give these seqs their time and actor are what was written.

        IndexDamagedError if one is not.
        """
        facts = getattr(self._open, "facts", None)
        todo = {seq for seq in seqs if seq not in self._proven and (facts is None or seq < facts[0])}
        if not todo:
            return
        found = {seq: inside for seq, inside, _ in self._db.rows(_TIMES, (canon.dumps(sorted(todo)),))}
        for seq in todo:
            if not found.get(seq):
                raise proof.damaged("tx", seq)
        if len(self._proven) >= _CACHED:
            self._proven = set()
        self._proven |= todo

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
            row = self._db.one(_TERM, (key,))
            if row is None:
                raise proof.damaged("term", key)
            text = str(row[0])
            if len(self._terms) >= _CACHED:
                self._terms = {0: ""}
            if self.is_committed(key // SLOTS):  # the key of a text follows from a seq
                self._terms[key] = text
        return text

    def term_key(self, text: str) -> int | None:
        """The key of a text; None if no record ever used it."""
        if text == "":
            return 0
        row = self._db.one(_TERM_KEY, (text,))
        if row is not None and row[1] != text:
            raise proof.damaged("term", row[0])
        return None if row is None else int(row[0])

    def key(self, record_id: str) -> int | None:
        """The key of a record; None if there is none with this id."""
        raw = moment.id_bytes(record_id)
        row = self._db.one(_KEY, (raw,))
        if row is None:
            neighbours.RECORDS.prove(self._db, (raw,))
        elif row[1] != raw:
            raise proof.damaged("record", row[0])
        return None if row is None else int(row[0])

    def missed(self, record_id: str, kind: str) -> None:
        """A record of a kind was not found by its id. IndexDamagedError if there is one: its row is lost."""
        raw = moment.id_bytes(record_id)
        row = self._db.one(_KEY, (raw,))
        if row is None:
            neighbours.RECORDS.prove(self._db, (raw,))
        elif (
            row[1] != raw or row[2] == KIND_CODES[kind]
        ):  # the way led to another's row, or to one that has lost a part
            raise proof.damaged(kind, row[0])

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

    def paths(self, collections: Iterable[int]) -> dict[int, str]:
        """Paths of several collections in display form."""
        sight = self.sights.now()
        return {key: self.folder(key, sight).text for key in set(collections)}

    def steps(self, collections: Iterable[int]) -> dict[int, tuple[Name, ...]]:
        """The names down to each of several collections."""
        sight = self.sights.now()
        return {key: self.folder(key, sight).names for key in set(collections)}

    def ids(self, keys: Iterable[int | None]) -> dict[int, str]:
        """Ids of records by key."""
        every = {key for key in keys if key is not None}
        found = {key: self._ids[key] for key in every if key in self._ids}
        wanted = [key for key in every if key not in found]
        for start in range(0, len(wanted), MARKS):
            part = wanted[start : start + MARKS]
            sql = f"SELECT key, id, {_RECORD} FROM record WHERE key IN ({','.join('?' * len(part))})"
            found |= {row[0]: moment.id_text(row[1]) for row in self._db.rows(sql, part)}
        for key in wanted:
            if key not in found:
                raise proof.damaged("record", key)
            if self.is_committed(key):
                if len(self._ids) >= _CACHED:
                    self._ids = {}
                self._ids[key] = found[key]
        return found

    def few_of(self, column: str, key: int, most: int) -> bool:
        """Whether a tenant or owner (`column`), by the key of its text, has no more than so many records."""
        sql = f"SELECT count(*) FROM (SELECT 1 FROM record WHERE {column} = ? AND {column} <> 0 LIMIT ?)"
        row = self._db.one(sql, (key, most + 1))
        return row is not None and row[0] <= most

    def is_committed(self, key: int) -> bool:
        """Whether what has this key can never have another id or text: not if it may still be rolled back."""
        facts = getattr(self._open, "facts", None)
        return bool(key < facts[0]) if facts is not None else not self._db.raw().in_transaction

    def deleted_at(self, seq: int) -> datetime | None:
        """When the delete with this seq happened; None for 0."""
        if seq == 0:
            return None
        self.prove_times([seq])
        row = self._db.one(f"SELECT {TIME_OF.format('?')}", (seq,))
        return self.time(seq, row[0] if row else None)


def join_path(folder: str, name: str) -> str:
    """A path in display form."""
    return f"{folder}/{name}" if folder else name


def below(folder: Folder, name: Name, record_id: str) -> Folder:
    """A collection in another one."""
    if not folder.names:
        return Folder((name,), name.text, name.raw, record_id)
    return Folder((*folder.names, name), f"{folder.text}/{name.text}", folder.raw + b"/" + name.raw, record_id)
