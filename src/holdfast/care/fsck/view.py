"""Opens an index to look at it and leaves no trace: neither its bytes nor the files beside it change.

SQLite itself would leave traces: opened for reading only, it makes a `-wal` and a `-shm` and leaves them. So an index
that nobody has open is copied, in a moment in which nobody can open it, to a folder outside the store. One that is in
use has these files already, and is read where it is, through SQLite: no other code may open it then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast import disk, ram
from holdfast.engine import elsewhere, served
from holdfast.engine.handle import handle_on, open_here
from holdfast.engine.locks import FileLock, lock_at
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import HoldfastError, LockedError
from holdfast.formats import paths
from holdfast.index.audit import Audit
from holdfast.index.sqlite import SqliteIndex

if TYPE_CHECKING:
    from holdfast.index.postgres.place import Place

_WAIT_S = 30.0
_TRIES = 500
_PATIENCE = 30
COPIED = ("", "-wal", "-journal")


class View:
    """An index as fsck sees it. `audit` reads it; None while it is not open. `copy`: where it is, if it is a copy."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = os.path.join(root, paths.INDEX)
        self._held = contextlib.ExitStack()
        self._copied: tuple[object, ...] | None = None
        self.audit: Audit | None = None
        self.copy: str | None = None

    def open(self) -> Audit:
        """Look at the index as it is now; FileNotFoundError, and typed errors if it cannot be read."""
        self.close()
        place = served.place_of(self._root, ram.disk_of(self._root))
        if place is not None:
            return self._open_served(place)
        with contextlib.ExitStack() as stack:
            known = handle_on(self._root)
            opens = elsewhere.index_at(self._root)
            if known is not None and known.index.path != self._path and (opens is not None or ram.holds(self._root)):
                index = known.index.again()  # of what somebody else has written
            elif opens is not None:
                index = opens(read_only=True)
            else:
                index = SqliteIndex(self._found(stack), read_only=True)
            stack.callback(index.close)
            self.audit = Audit(index)
            self._held = stack.pop_all()
        return self.audit

    def _open_served(self, place: str | Place) -> Audit:
        """One on a server, which keeps its own house."""
        index = served.index_class()(place, read_only=True)
        self._held.callback(index.close)
        if not index.exists():
            raise FileNotFoundError(index.path)  # never the URL: it may have a password
        self.audit = index.audit()
        return self.audit

    def refresh(self) -> None:
        """If a copy is looked at, and the index has changed since, look anew."""
        if self.audit is not None and self._copied is not None and self._copied != _facts(self._path):
            self.open()

    def close(self) -> None:
        """Let go of it."""
        self.audit = None
        self._copied = self.copy = None
        self._held.close()

    def _found(self, stack: contextlib.ExitStack) -> str:
        """A path to open: that of a copy, or the index itself while the lock that keeps it in place is held."""
        if ram.holds(self._path):
            return self._path
        for number in range(_TRIES):
            time.sleep(min(0.001 * number, 0.05))
            with contextlib.ExitStack() as attempt:
                users = FileLock(os.path.join(self._root, paths.HANDLES_LOCK), absent_is_fine=True)
                attempt.callback(users.close)
                # The lock would tell; but where locks fail, opening the files here would undo SQLite's own.
                open_by_us = open_here(self._root) is not None
                in_use = open_by_us or not _alone(users)
                # Whoever has it open for so long and makes no log reads a copy, as we do.
                idle = not open_by_us and number > _PATIENCE and not os.path.exists(self._path + "-wal")
                if (idle or not in_use) and (copy := self._copy(attempt)):
                    users.release()
                    stack.push(attempt.pop_all())
                    return copy
                if open_by_us or (in_use and os.path.exists(self._path + "-wal")):
                    stack.push(attempt.pop_all())
                    return self._path
        raise LockedError(
            "the index changes hands too often to be looked at", lock=paths.HANDLES_LOCK, holder=None, waited_s=_WAIT_S
        )

    def _copy(self, stack: contextlib.ExitStack) -> str:
        """Copy the index and what belongs to it; "" if it changed meanwhile."""
        folder = stack.enter_context(scratch_folder())
        before = _facts(self._path)
        for suffix in COPIED:
            with disk.typed("copy", self._path), contextlib.suppress(*[FileNotFoundError] if suffix else []):
                shutil.copyfile(self._path + suffix, os.path.join(folder, paths.INDEX + suffix))
        if before != _facts(self._path):
            return ""
        self._copied, self.copy = before, os.path.join(folder, paths.INDEX)
        return self.copy


@contextlib.contextmanager
def nobody_writes(root: str, wait_s: float) -> Iterator[bool]:
    """True if no writer can come between in the block; False if that could not be had in `wait_s` seconds."""
    with contextlib.ExitStack() as stack:
        try:
            lock = lock_at(os.path.join(root, paths.WRITER_LOCK), absent_is_fine=True)
            stack.callback(lock.close)
            lock.acquire(shared=False, wait_s=wait_s)
            sure = True
        except HoldfastError:
            sure = False
        yield sure


def _alone(users: FileLock) -> bool:
    """Hold the handles lock exclusively, or shared if others have the store open."""
    try:
        users.acquire(shared=False, wait_s=0.0)
    except LockedError:
        users.acquire(shared=True, wait_s=_WAIT_S)
        return False
    return True


def _facts(path: str) -> tuple[object, ...]:
    """What changes when an index is written to or replaced. Only looked at, never opened."""
    found: list[object] = []
    for suffix in COPIED:
        try:
            facts = os.stat(path + suffix)
        except OSError:
            found.append(None)
        else:
            found.append((facts.st_ino, facts.st_size, facts.st_mtime_ns))
    return tuple(found)
