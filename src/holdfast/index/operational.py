"""The file of notes on work under way (`state.sqlite3`): not in the journal, not in backups' way, harmless to lose.

Whoever cannot open it, or finds it damaged, makes it anew or works without it. Nothing is synced: a note that a power
loss takes away costs work done twice, never data.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from holdfast.disk import Disk
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.index.database import mapped
from holdfast.values.frozen import dataclass

_VERSION = 4
_TABLES = """
CREATE TABLE fsck_pass (id TEXT NOT NULL PRIMARY KEY, store TEXT NOT NULL, place TEXT NOT NULL,
    began_us INTEGER NOT NULL, next_seq INTEGER NOT NULL, chain_first INTEGER NOT NULL, chain_hash BLOB NOT NULL,
    position BLOB NOT NULL, covered INTEGER NOT NULL, covered_bytes INTEGER NOT NULL,
    old INTEGER NOT NULL, runs INTEGER NOT NULL);
CREATE TABLE fsck_noted (pass TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (pass, digest)) WITHOUT ROWID;
CREATE TABLE seen_run (id INTEGER PRIMARY KEY, token TEXT NOT NULL, next_seq INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE TABLE seen_folder (id INTEGER PRIMARY KEY, place BLOB NOT NULL UNIQUE, source BLOB NOT NULL);
CREATE TABLE seen_part (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,
    names BLOB NOT NULL, looks BLOB NOT NULL, revisions BLOB NOT NULL, run INTEGER NOT NULL);
CREATE UNIQUE INDEX seen_part_place ON seen_part (folder, first);
CREATE TABLE tree_place (id INTEGER PRIMARY KEY, place BLOB NOT NULL UNIQUE, label BLOB NOT NULL,
    round INTEGER NOT NULL);
CREATE TABLE tree_part (place INTEGER NOT NULL, folder BLOB NOT NULL, round INTEGER NOT NULL, names BLOB NOT NULL,
    looks BLOB NOT NULL, digests BLOB NOT NULL, marks BLOB NOT NULL, PRIMARY KEY (place, folder)) WITHOUT ROWID;
PRAGMA user_version = 4;
"""
_COLUMNS = "id, store, place, began_us, next_seq, chain_first, chain_hash, position, covered, covered_bytes, old, runs"
_TYPES = (str, str, str, int, int, int, bytes, bytes, int, int, int, int)
_PAGE = 500
_BUSY_S = 5.0


@dataclass(frozen=True, slots=True)
class PassRow:
    """A reading of all contents in several runs. `position`: every content up to this raw digest has been read.

    `store`, `place`: whose files they are and where they lie. `next_seq`, `chain_first`, `chain_hash`: the chain's end
    when the pass began, and its last transaction. `covered`, `covered_bytes`: files read up to `position`;
    `old`: those of them whose content was known when the pass began.
    """

    id: str
    store: str
    place: str
    began_us: int
    next_seq: int
    chain_first: int
    chain_hash: bytes
    position: bytes = b""
    covered: int = 0
    covered_bytes: int = 0
    old: int = 0
    runs: int = 0


_DAMAGED = "the position was damaged"


class StateFile:
    """The open file. From one thread. `lost`: why what was noted in it is not known any more, in words; "" if it is."""

    def __init__(self, path: str, disk: Disk) -> None:
        """Open it, and make it (anew) if it is missing or damaged. Typed errors where nothing can be written."""
        self._path = path
        self.lost = ""
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if _refused(error):
                raise mapped(error, path) from error
            self.lost = _DAMAGED
            for name in (path, path + "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    disk.unlink(name)
            try:
                self._db = self._opened()
            except sqlite3.Error as again:
                raise mapped(again, path) from again

    def _opened(self) -> sqlite3.Connection:
        made = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_S)
        try:
            made.execute("PRAGMA synchronous = OFF")
            made.execute("BEGIN IMMEDIATE")
            (version,) = made.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    made.execute(statement)
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"notes of version {version}")
            made.execute("COMMIT")
            made.execute(f"SELECT {_COLUMNS} FROM fsck_pass").fetchall()
        except BaseException:
            made.close()
            raise
        return made

    def fsck_pass(self) -> PassRow | None:
        """The pass that is under way; None if none is, or what is noted of it makes no sense."""
        with self._errors():
            row = self._db.execute(f"SELECT {_COLUMNS} FROM fsck_pass ORDER BY began_us DESC LIMIT 1").fetchone()
        if row is None:
            return None
        if tuple(map(type, row)) != _TYPES or len(row[7]) not in (0, 32):
            self.lost = _DAMAGED
            return None
        return PassRow(*row)

    def begin_pass(self, one: PassRow) -> None:
        """Forget whatever pass was under way, and begin this one."""
        cells = tuple(getattr(one, name.strip()) for name in _COLUMNS.split(","))
        with self.transaction():
            self._db.execute("DELETE FROM fsck_pass")
            self._db.execute("DELETE FROM fsck_noted")
            self._db.execute(f"INSERT INTO fsck_pass ({_COLUMNS}) VALUES ({', '.join('?' * len(cells))})", cells)

    def go_on(self, pass_id: str) -> None:
        """One more run of a pass begins."""
        with self.transaction():
            self._db.execute("UPDATE fsck_pass SET runs = runs + 1 WHERE id = ?", (pass_id,))

    def reached(self, one: PassRow, noted: list[bytes]) -> None:
        """How far a pass has come, and digests of which there is something to say. Never back, nor after its end."""
        with self.transaction():
            self._db.execute(
                "UPDATE fsck_pass SET position = ?2, covered = ?3, covered_bytes = ?4, old = ?5 "
                "WHERE id = ?1 AND position < ?2",
                (one.id, one.position, one.covered, one.covered_bytes, one.old),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO fsck_noted SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM fsck_pass WHERE id = ?1)",
                [(one.id, digest) for digest in noted],
            )

    def noted(self, pass_id: str) -> Iterator[bytes]:
        """The digests of which there was something to say, in order, in short reads."""
        after = b""
        while True:
            sql = "SELECT digest FROM fsck_noted WHERE pass = ? AND digest > ? ORDER BY digest LIMIT ?"
            with self._errors():
                page = self._db.execute(sql, (pass_id, after, _PAGE)).fetchall()
            if not page:
                return
            for (digest,) in page:
                yield digest
            after = page[-1][0]

    def count_noted(self, pass_id: str) -> int:
        """How many digests there was something to say of."""
        with self._errors():
            row = self._db.execute("SELECT count(*) FROM fsck_noted WHERE pass = ?", (pass_id,)).fetchone()
        return int(row[0])

    def end_pass(self, pass_id: str) -> None:
        """A pass is finished: nothing is left to go on with."""
        with self.transaction():
            self._db.execute("DELETE FROM fsck_pass WHERE id = ?", (pass_id,))
            self._db.execute("DELETE FROM fsck_noted WHERE pass = ?", (pass_id,))

    def close(self) -> None:
        """Give it back."""
        self._db.close()

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of one statement; errors typed."""
        with self._errors():
            return self._db.execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that the block notes, or nothing; errors typed."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise mapped(error, self._path) from error


def state_file(path: str, disk: Disk) -> StateFile | None:
    """The file of notes in a folder that may be written to; None where there cannot be one (read-only, a folder …)."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        return None
    try:
        return StateFile(path, disk)
    except (HoldfastError, OSError):
        return None


def forget_notes(root: str, disk: Disk) -> None:
    """Remove the file with all that is noted in it: it may speak of what is to be forgotten. Durable on return."""
    found = [name for name in (paths.STATE, paths.STATE + "-journal") if os.path.lexists(os.path.join(root, name))]
    for name in found:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(os.path.join(root, name))
    if found:
        disk.fsync_dir(root)


def _refused(error: sqlite3.Error) -> bool:
    """Whether the trouble is not in the file: busy, read-only, no permission, no space, an I/O error."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    )  # fmt: skip
