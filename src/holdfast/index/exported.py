"""Notes of how the files of an exported tree looked when they were written (in `state.sqlite3`), and what is in each.

Files of one folder are noted together, as rows of bytes. Names and digests stand there, so redaction removes the whole
file of notes. They are true only of a tree whose FORMAT is the noted one: notes that are being changed name none.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.formats.looks import LOOKS
from holdfast.index.operational import StateFile
from holdfast.values.frozen import dataclass

DIGEST = 32
_MOST_PLACES = 8
_FOLDERS = "SELECT folder, names, looks, digests, marks FROM tree_part WHERE place = ?"


@dataclass(frozen=True, slots=True)
class Noted:
    """One file. `look`: `formats.looks`; `digest`: of its bytes, raw; `mark`: of the rows that it shows, or zeros."""

    look: bytes
    digest: bytes
    mark: bytes = bytes(DIGEST)


Folder = dict[bytes, Noted]


class Exported:
    """The notes of one place. From one thread; typed errors."""

    def __init__(self, state: StateFile, place: bytes) -> None:
        self._state = state
        with state.transaction() as db:
            db.execute("INSERT OR IGNORE INTO tree_place (place, label, round) VALUES (?, x'', 0)", (place,))
            row = db.execute("SELECT id, label, round FROM tree_place WHERE place = ?", (place,)).fetchone()
            old = "SELECT id FROM tree_place WHERE id <> ? ORDER BY id DESC LIMIT -1 OFFSET ?"
            gone = db.execute(old, (row[0], _MOST_PLACES - 1)).fetchall()
            db.executemany("DELETE FROM tree_part WHERE place = ?", gone)
            db.executemany("DELETE FROM tree_place WHERE id = ?", gone)
        self._key, self.label, self._round = int(row[0]), bytes(row[1]), int(row[2])
        """`label`: what FORMAT said when the notes were made; empty: they are of no use."""

    def folders(self) -> Iterator[tuple[bytes, Folder]]:
        """Every folder, by its path: `steps` joined by NUL. Read one by one."""
        for (folder,) in self._state.query("SELECT folder FROM tree_part WHERE place = ?", (self._key,)):
            yield folder, self.folder(folder)

    def folder(self, folder: bytes) -> Folder:
        """What is noted of one folder."""
        rows = self._state.query(f"{_FOLDERS} AND folder = ?", (self._key, folder))
        return _unpacked(*rows[0][1:]) if rows else {}

    def begin(self) -> None:
        """Files are about to change: what is noted is of no use until `end`."""
        with self._state.transaction() as db:
            self._round += 1
            db.execute("UPDATE tree_place SET label = x'', round = ? WHERE id = ?", (self._round, self._key))

    def note(self, folders: dict[bytes, Folder]) -> None:
        """What is in some folders now."""
        with self._state.transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO tree_part (place, folder, round, names, looks, digests, marks) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(self._key, path, self._round, *_packed(found)) for path, found in folders.items()],
            )

    def end(self, label: bytes) -> None:
        """Everything was noted again since `begin`; what was not is there no more."""
        with self._state.transaction() as db:
            db.execute("DELETE FROM tree_part WHERE place = ? AND round <> ?", (self._key, self._round))
            db.execute("UPDATE tree_place SET label = ? WHERE id = ?", (label, self._key))


def _packed(found: Folder) -> tuple[bytes, bytes, bytes, bytes]:
    every = list(found.values())
    marks = b"".join([one.mark for one in every])
    return (
        b"\0".join(found), b"".join([one.look for one in every]), b"".join([one.digest for one in every]),
        marks if any(marks) else b"",
    )  # fmt: skip


def _unpacked(names: bytes, looks: bytes, digests: bytes, marks: bytes) -> Folder:
    size, found = LOOKS.size, {}
    for number, name in enumerate(names.split(b"\0") if names else ()):
        at = number * DIGEST
        mark = marks[at : at + DIGEST] or bytes(DIGEST)
        found[name] = Noted(looks[number * size : (number + 1) * size], digests[at : at + DIGEST], mark)
    return found
