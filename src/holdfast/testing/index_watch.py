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
_WAL_HEAD = 32
_MODE = 18
_ROLLS_BACK = b"\1"
"""The byte of a database's header that says how it is written, and what it says with a rollback journal."""

_READER = """
import sys
for line in sys.stdin.buffer:
    path, _, offset = line[:-1].rpartition(b" ")
    try:
        with open(path, "rb") as file:
            head = file.read(32)
            file.seek(int(offset))
            data = file.read()
    except FileNotFoundError:
        head, data = b"", b""
    sys.stdout.buffer.write(b"%d %d\\n" % (len(head), len(data)) + head + data)
    sys.stdout.buffer.flush()
"""


@dataclass(frozen=True, slots=True)
class IndexSeen:
    """The index's files at one moment. `database`: None if absent; `log`: bytes of the write-ahead log.

    `how` it came about: `append` (a COMMIT: synced by SQLite), `checkpoint` (pages of the log went into the database,
    synced, then the log was cut), `commit` (a COMMIT with a rollback journal, whose removal SQLite has synced or not:
    `removal_synced`), `names` (a file was removed or replaced through `Disk`), `whole` (anything else). `journal`: the
    rollback journal that lies beside the database of a state.
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
        return self._ask(path, 0)[1]

    def _ask(self, path: str, offset: int) -> tuple[bytes, bytes]:
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        self._helper.stdin.write(os.fsencode(path) + b" %d\n" % offset)
        self._helper.stdin.flush()
        head, data = map(int, self._helper.stdout.readline().split())
        return self._helper.stdout.read(head), self._helper.stdout.read(data)

    def look(self, how: str) -> IndexSeen | None:
        """What is new since the last look; None if nothing is. `how`: if the caller knows how it came about."""
        stats = (_facts(self._path), _facts(self._path + "-wal"))
        if stats == self._stats and how != "names":
            return None
        before, self._stats = self._stats, stats
        database = self._database
        if not before or stats[0] != before[0]:
            database = None if stats[0] is None else self.read(self._path)
        log = self._new_log()
        if (database, log) == (self._database, self._log):
            return None
        how = how if how in ("names", "whole") else self._how(database, log)
        self._database, self._log = database, log
        identity = "" if database is None else sqlite.file_identity(self._path)
        return IndexSeen(how, database, log, identity, removal_synced=self.removal_synced)

    def _new_log(self) -> bytes:
        known = len(self._log)
        head, more = self._ask(self._path + "-wal", known)
        if head == self._log[:_WAL_HEAD] and known >= _WAL_HEAD:
            return self._log + more if more else self._log
        return self.read(self._path + "-wal")

    def _how(self, database: bytes | None, log: bytes) -> str:
        before = self._database
        if database == before:
            return "append" if log.startswith(self._log) else "whole"
        if database is None or before is None or log:
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
