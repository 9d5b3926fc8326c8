"""Watches SQLite's files from outside: a helper process reads them, for no code of this one may open them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from holdfast.formats import paths
from holdfast.index import sqlite

WAL = paths.INDEX + "-wal"
ROLLBACK = paths.INDEX + "-journal"
WAL_HEAD = 32
_MODE = 18
_ROLLS_BACK = b"\1"
"""The byte of a database's header that says how it is written, and what it says with a rollback journal."""

_READER = """
import sys
for line in sys.stdin.buffer:
    try:
        with open(line[:-1], "rb") as file:
            data = file.read()
    except FileNotFoundError:
        data = b""
    sys.stdout.buffer.write(b"%d\\n" % len(data) + data)
    sys.stdout.buffer.flush()
"""


@dataclass(frozen=True, slots=True)
class IndexSeen:
    """The index's files at one moment. `database`: None if absent; `log`: bytes of the write-ahead log.

    `how` it came about: `append` (a COMMIT: synced by SQLite; behind the last one, or over what an older log has left
    there), `anew` (the same from the beginning of the log: its head is synced first, and what is longer than is kept
    may be cut), `checkpoint` (pages of the log went into the database, synced; then the log was cut, or not), `commit`
    (a COMMIT with a rollback journal, whose removal SQLite has synced or not: `removal_synced`), `names` (a file was
    removed or replaced through `Disk`), `whole` (anything else). `journal`: the rollback journal that lies beside the
    database of a state.
    """

    how: str
    database: bytes | None
    log: bytes
    identity: str
    journal: bytes = b""
    removal_synced: bool = False


class IndexWatch:
    """Reads the index's files by a process of its own, and says what is new."""

    def __init__(self, root: str) -> None:
        self._path = os.path.join(root, paths.INDEX)
        self._helper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._stats: tuple[Any, ...] = ()
        self._database: bytes | None = None
        self._log = b""
        self.removal_synced = False

    def stop(self) -> None:
        """End the helper process."""
        self._helper.communicate()

    def read(self, path: str) -> bytes:
        """A file's bytes; none if it is not there."""
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        self._helper.stdin.write(os.fsencode(path) + b"\n")
        self._helper.stdin.flush()
        return self._helper.stdout.read(int(self._helper.stdout.readline()))

    def look(self, how: str, *, surely: bool = False) -> IndexSeen | None:
        """What is new since the last look; None if nothing is. `how`: if the caller knows how it came about.

        `surely`: a log may be written over twice in what is one moment to the file system's clock.
        """
        stats = (_facts(self._path), _facts(self._path + "-wal"))
        if stats == self._stats and how != "names" and not surely:
            return None
        before, self._stats = self._stats, stats
        database = self._database
        if not before or stats[0] != before[0]:
            database = None if stats[0] is None else self.read(self._path)
        log = self.read(self._path + "-wal")
        if (database, log) == (self._database, self._log):
            return None
        how = how if how in ("names", "whole") else self._how(database, log)
        self._database, self._log = database, log
        identity = "" if database is None else sqlite.file_identity(self._path)
        return IndexSeen(how, database, log, identity, removal_synced=self.removal_synced)

    def _how(self, database: bytes | None, log: bytes) -> str:
        before = self._database
        if database == before:
            if not log:
                return "whole"
            return "append" if log.startswith(self._log[:WAL_HEAD]) else "anew"
        if database is None or before is None or log not in (b"", self._log):
            return "whole"
        if self._log:
            return "checkpoint"
        return "commit" if before[_MODE : _MODE + 1] == database[_MODE : _MODE + 1] == _ROLLS_BACK else "whole"


def _facts(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
