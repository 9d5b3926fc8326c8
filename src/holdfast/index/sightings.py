"""Notes of how files looked when they were added last (in `state.sqlite3`): what is noted so need not be read again.

No digest and no content is noted, but names and paths are: redaction removes the whole file.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from holdfast.index.operational import StateFile

_FACTS = struct.Struct("<qqqQQI")
_MOST_BYTES = 256 << 20
_SELECT = """SELECT s.name, s.facts, s.revision, s.run FROM seen_folder f JOIN seen_file s ON s.folder = f.id
    WHERE f.place = ? AND f.source = ? AND s.name >= ? AND s.name <= ?"""
_NOTE = """INSERT INTO seen_file (folder, name, facts, revision, run) VALUES (?, ?, ?, ?, ?) ON CONFLICT (folder, name)
    DO UPDATE SET facts = excluded.facts, revision = excluded.revision, run = excluded.run"""


@dataclass(frozen=True, slots=True)
class Run:
    """An add, and the end of the chain up to which its notes are known to be true of the store."""

    id: int
    token: str
    next_seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file of a folder, as it looked, and the seq of the revision that has its content.

    `place`: the collection as a path in bytes; `source`: the folder, absolute. `facts` "" for a folder, None to forget.
    """

    place: bytes
    source: bytes
    name: bytes
    facts: bytes | None
    revision: int


def facts(size: int, mtime_ns: int, ctime_ns: int, inode: int, device: int, mode: int) -> bytes | None:
    """How a file looks, to be compared; None where a number is beyond all bounds."""
    try:
        return _FACTS.pack(size, mtime_ns, ctime_ns, inode, device, mode)
    except struct.error:
        return None


class Sightings:
    """Reads and writes notes. From one thread; typed errors."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        pages, size = state.query("SELECT * FROM pragma_page_count, pragma_page_size")[0]
        if pages * size > _MOST_BYTES:  # of folders that nobody has added for long, most of it
            self.forget()

    def runs(self) -> list[Run]:
        """All adds of which there are notes."""
        return [Run(*row) for row in self._state.query("SELECT id, token, next_seq, hash FROM seen_run")]

    def of(self, place: bytes, source: bytes, first: bytes, last: bytes) -> dict[bytes, tuple[bytes, int, int]]:
        """(facts, revision, id of the run) of what is noted of a folder, from one name to another."""
        rows = self._state.query(_SELECT, (place, source, first, last))
        return {name: (seen, revision, run) for name, seen, revision, run in rows}

    def note(self, run: Run, true_of: Iterable[int], noted: Sequence[Sighting]) -> None:
        """Note how files look. The notes of the runs `true_of` are now known to be true up to this run's end as well.

        A collection has notes of one folder only: those of another that was added to it before are forgotten.
        """
        with self._state.transaction() as db:
            folders: dict[tuple[bytes, bytes], int] = {}
            for place, source in dict.fromkeys((one.place, one.source) for one in noted):
                folders[place, source] = _folder(db, place, source)
            kept = [
                (folders[one.place, one.source], one.name, one.facts, one.revision, run.id)
                for one in noted
                if one.facts is not None
            ]
            gone = [(folders[one.place, one.source], one.name) for one in noted if one.facts is None]
            db.executemany(_NOTE, kept)
            db.executemany("DELETE FROM seen_file WHERE folder = ? AND name = ?", gone)
            db.execute("INSERT OR REPLACE INTO seen_run (id, token, next_seq, hash) VALUES (?, ?, ?, ?)",
                       (run.id, run.token, run.next_seq, run.hash))  # fmt: skip
            db.executemany("UPDATE seen_run SET next_seq = ?, hash = ? WHERE id = ? AND token = ?",
                           [(run.next_seq, run.hash, one, run.token) for one in true_of])  # fmt: skip

    def forget(self, runs: Iterable[int] | None = None) -> None:
        """Forget what some runs have noted, or everything."""
        with self._state.transaction() as db:
            if runs is None:
                for table in ("seen_file", "seen_folder", "seen_run"):
                    db.execute(f"DELETE FROM {table}")
            else:
                db.executemany("DELETE FROM seen_run WHERE id = ?", [(one,) for one in runs])


def _folder(db: sqlite3.Connection, place: bytes, source: bytes) -> int:
    found = db.execute("SELECT id, source FROM seen_folder WHERE place = ?", (place,)).fetchone()
    if found is not None and found[1] == source:
        return int(found[0])
    if found is not None:
        db.execute("DELETE FROM seen_file WHERE folder = ?", (found[0],))
        db.execute("DELETE FROM seen_folder WHERE id = ?", (found[0],))
    made = db.execute("INSERT INTO seen_folder (place, source) VALUES (?, ?)", (place, source)).lastrowid
    assert made is not None
    return made
