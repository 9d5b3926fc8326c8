"""Notes of how files looked when they were added last (in `state.sqlite3`): what is noted so need not be read again.

Files of one folder are noted together, in parts: names, how each looked, which revision has its content, as three rows
of bytes. So a folder in which nothing has changed is known by comparing bytes. No digest and no content is noted, but
names and paths are: redaction removes the whole file.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

from holdfast.formats.looks import LOOKS
from holdfast.index.operational import StateFile
from holdfast.values.frozen import dataclass

PART = 1_000
"""So many files of a folder are noted together."""

_MOST_BYTES = 256 << 20
_ASKED = 500
_SELECT = """SELECT p.names, p.looks, p.revisions, p.run FROM seen_folder f JOIN seen_part p ON p.folder = f.id
    WHERE f.place = ? AND f.source = ? AND p.first <= ? AND p.last >= ? ORDER BY p.first"""
_EXPECTED = 16
"""Folders whose notes are fetched by one statement, if all that is noted of one is one part."""

_WHOLE = f"""SELECT f.place, f.source, p.first, p.last, p.names, p.looks, p.revisions, p.run
    FROM seen_folder f JOIN seen_part p ON p.folder = f.id WHERE f.place IN ({", ".join("?" * _EXPECTED)})
    AND (SELECT count(*) FROM (SELECT 1 FROM seen_part q WHERE q.folder = f.id LIMIT 2)) = 1"""
_MOST_EXPECTED = 256
_OVERLAPPING = """SELECT id, names, looks, revisions, run FROM seen_part
    WHERE folder = ? AND first <= ? AND last >= ? ORDER BY first"""

Place = tuple[bytes, bytes]
"""A collection as a path in bytes, and the folder that was added to it, absolute."""

Noted = Mapping[bytes, tuple[bytes, int] | None]
"""Of files of a folder, by name: how each looked, and the seq of the revision that has its content; None to forget."""

_Row = tuple[int, bytes, bytes, bytes, bytes, bytes, int]
"""A new row of `seen_part`."""


@dataclass(frozen=True, slots=True)
class Run:
    """An add, and the end of the chain up to which its notes are known to be true of the store."""

    id: int
    token: str
    next_seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """Files of a folder, in order of names, that one run noted. `looks`: formats.looks of each; `revisions`: seqs."""

    names: bytes
    looks: bytes
    revisions: bytes
    run: int

    def each(self) -> Iterator[tuple[bytes, bytes, int]]:
        """(name, how it looked, seq of its revision)."""
        size = LOOKS.size
        for number, (name, revision) in enumerate(zip(self.names.split(b"\0"), _seqs(self.revisions), strict=True)):
            yield name, self.looks[number * size : (number + 1) * size], revision


def _seqs(revisions: bytes) -> array[int]:
    found = array("Q")
    found.frombytes(revisions)
    return found


class Sightings:
    """Reads and writes notes. From one thread; typed errors."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._expected: dict[Place, tuple[bytes, bytes, Part]] = {}
        pages, size = state.query("SELECT * FROM pragma_page_count, pragma_page_size")[0]
        if pages * size > _MOST_BYTES:  # of folders that nobody has added for long, most of it
            self.forget()

    def runs(self) -> list[Run]:
        """All adds of which there are notes."""
        return [Run(*row) for row in self._state.query("SELECT id, token, next_seq, hash FROM seen_run")]

    def of(self, place: Place, first: bytes, last: bytes) -> list[Part]:
        """What is noted of a folder, from one name to another, and perhaps of others around."""
        whole = self._expected.pop(place, None)
        if whole is not None:
            return [whole[2]] if whole[0] <= last and whole[1] >= first else []
        return [Part(*row) for row in self._state.query(_SELECT, (*place, last, first))]

    def expect(self, places: Sequence[Place]) -> None:
        """Some folders are about to be asked for: their notes come together."""
        if len(self._expected) > _MOST_EXPECTED:
            self._expected.clear()
        sources = dict(places)
        asked = list(sources)
        for start in range(0, len(asked), _EXPECTED):
            some = asked[start : start + _EXPECTED]
            some += some[-1:] * (_EXPECTED - len(some))  # one text of the statement
            for place, source, first, last, *cells in self._state.query(_WHOLE, tuple(some)):
                if sources[place] == source:
                    self._expected[place, source] = first, last, Part(*cells)

    def note(self, run: Run, true_of: Iterable[int], noted: Mapping[Place, Noted]) -> None:
        """Note how files look. The notes of the runs `true_of` are now known to be true up to this run's end as well.

        A collection has notes of one folder only: those of another that was added to it before are forgotten.
        """
        true = [one for one in true_of if one != run.id]
        self._expected.clear()
        with self._state.transaction() as db:
            _note_all(db, noted, run.id, {run.id, *true})
            db.execute("INSERT OR REPLACE INTO seen_run (id, token, next_seq, hash) VALUES (?, ?, ?, ?)",
                       (run.id, run.token, run.next_seq, run.hash))  # fmt: skip
            db.executemany("UPDATE seen_run SET next_seq = ?, hash = ? WHERE id = ? AND token = ?",
                           [(run.next_seq, run.hash, one, run.token) for one in true])  # fmt: skip

    def forget(self, runs: Iterable[int] | None = None) -> None:
        """Forget what some runs have noted, or everything."""
        self._expected.clear()
        with self._state.transaction() as db:
            if runs is None:
                for table in ("seen_part", "seen_folder", "seen_run"):
                    db.execute(f"DELETE FROM {table}")
            else:
                db.executemany("DELETE FROM seen_run WHERE id = ?", [(one,) for one in runs])


def _note_all(db: sqlite3.Connection, noted: Mapping[Place, Noted], run: int, true: set[int]) -> None:
    """Most folders that are added are new: what is noted of these goes in together, and nothing is asked of each."""
    known = _folders(db, [place for place, _ in noted])
    following: int = db.execute("SELECT ifnull(max(id), 0) + 1 FROM seen_folder").fetchone()[0]
    folders: list[tuple[int, bytes, bytes]] = []
    parts: list[_Row] = []
    for (place, source), files in noted.items():
        folder, from_where = known.get(place, (0, b""))
        if folder and from_where == source:
            parts += _together(db, folder, files, run, true)
            continue
        if folder:  # it may be one of those that wait
            _write(db, folders, parts)
            folders, parts = [], []
            db.execute("DELETE FROM seen_part WHERE folder = ?", (folder,))
            db.execute("DELETE FROM seen_folder WHERE id = ?", (folder,))
        folders.append((following, place, source))
        parts += _parts(following, {name: one for name, one in files.items() if one is not None}, run)
        known[place] = following, source
        following += 1
    _write(db, folders, parts)


def _folders(db: sqlite3.Connection, places: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
    """Key and source of those collections of which something is noted."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for start in range(0, len(places), _ASKED):
        some = places[start : start + _ASKED]
        sql = f"SELECT place, id, source FROM seen_folder WHERE place IN ({', '.join('?' * len(some))})"
        found |= {place: (key, source) for place, key, source in db.execute(sql, some)}
    return found


def _write(db: sqlite3.Connection, folders: Sequence[tuple[int, bytes, bytes]], parts: Sequence[_Row]) -> None:
    db.executemany("INSERT INTO seen_folder (id, place, source) VALUES (?, ?, ?)", folders)
    db.executemany(
        "INSERT INTO seen_part (folder, first, last, names, looks, revisions, run) VALUES (?, ?, ?, ?, ?, ?, ?)", parts
    )


def _together(db: sqlite3.Connection, folder: int, files: Noted, run: int, true: set[int]) -> list[_Row]:
    """What is noted between the first and the last of some files is put together with them anew.

    What a run noted that is not known to be true any more is left out: it would have to be looked at anyway.
    """
    kept: dict[bytes, tuple[bytes, int]] = {}
    first, last = min(files), max(files)
    for key, *cells in db.execute(_OVERLAPPING, (folder, last, first)).fetchall():
        part = Part(*cells)
        if part.run in true:
            kept.update((name, (look, revision)) for name, look, revision in part.each())
        db.execute("DELETE FROM seen_part WHERE id = ?", (key,))
    for name, noted in files.items():
        if noted is None:
            kept.pop(name, None)
        else:
            kept[name] = noted
    return _parts(folder, kept, run)


def _parts(folder: int, kept: Mapping[bytes, tuple[bytes, int]], run: int) -> list[_Row]:
    every = sorted(kept)
    found = []
    for start in range(0, len(every), PART):
        names = every[start : start + PART]
        noted = [kept[name] for name in names]
        revisions = array("Q", [revision for _, revision in noted]).tobytes()
        looks = b"".join([look for look, _ in noted])
        found.append((folder, names[0], names[-1], b"\0".join(names), looks, revisions, run))
    return found
