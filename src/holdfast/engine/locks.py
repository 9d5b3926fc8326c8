"""Locks between processes, freed by the death of their process, saying who holds them.

`flock` belongs to the open file, not to the process, so unrelated opens of the same file do not drop it (POSIX record
locks do). A forked child shares the open file; it closes its copy at once, which leaves the parent's lock alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import threading
import time
from typing import Any

from holdfast import disk
from holdfast.errors import HandleDeadError, LockedError
from holdfast.values import moment

_FIRST_PAUSE_S = 0.0002
_LONGEST_PAUSE_S = 0.01
_INFO_BYTES = 512


class FileLock:
    """One lock file. `exclusive` or `shared`; not re-entrant; one holder for each handle at a time."""

    def __init__(self, path: str, *, absent_is_fine: bool = False) -> None:
        """`absent_is_fine`: for readers: the file is neither made nor written; without one nothing is locked."""
        self.path = path
        self._dead = False
        # A descriptor that another thread has closed may be another file's by now.
        self._guard = threading.Lock()
        flags = os.O_RDONLY if absent_is_fine else os.O_RDWR | os.O_CREAT
        try:
            with disk.typed("open", path):
                # Not to wait for whoever opens the other end, should it be a pipe.
                self._fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
                if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                    os.close(self._fd)
                    raise OSError(errno.EINVAL, "not a regular file")
        except FileNotFoundError:
            if not absent_is_fine:
                raise
            self._fd = -1

    def acquire(self, *, shared: bool, wait_s: float) -> None:
        """Wait up to `wait_s` seconds; LockedError names who holds it."""
        deadline = time.monotonic() + wait_s
        pause = _FIRST_PAUSE_S
        while not self._try(shared=shared):
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockedError(
                    f"{os.path.basename(self.path)} lock is held by {describe(self.holder())}",
                    lock=self.path,
                    holder=self.holder(),
                    waited_s=wait_s,
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def _try(self, *, shared: bool) -> bool:
        with self._guard:
            if self._dead:
                raise HandleDeadError(f"{self.path} was closed", reason="closed")
            if self._fd < 0:
                return True
            try:
                fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EINTR):
                    return False
                disk.raise_typed(error, "lock", self.path)
            return True

    def sign(self, what: str) -> None:
        """Write who holds the lock, since when and what for. For people only: never decides anything."""
        text = json.dumps(
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": moment.to_text(time.time_ns() // 1000),
                "doing": what,
            }
        )
        with self._guard, disk.typed("write", self.path):
            if not self._dead:
                os.pwrite(self._fd, text.encode().ljust(_INFO_BYTES)[:_INFO_BYTES], 0)

    def holder(self) -> dict[str, Any] | None:
        """What the last holder wrote; None if nothing readable is there."""
        try:
            with self._guard:
                text = b"" if self._dead or self._fd < 0 else os.pread(self._fd, _INFO_BYTES, 0)
            found = json.loads(text or b"null")
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def release(self) -> None:
        """Let the next one in."""
        with self._guard:
            if not self._dead and self._fd >= 0:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back, and the lock with it."""
        with self._guard:
            self._close()

    def _close(self) -> None:
        if not self._dead:
            self._dead = True
            if self._fd >= 0:
                os.close(self._fd)

    def abandon(self) -> None:
        """In a forked child: close this copy of the open file without unlocking the parent's.

        Without the guard: a thread that is not in the child may hold it for ever.
        """
        self._guard = threading.Lock()
        self._close()


class WriterLock:
    """The writer lock of one open store: first among the threads of the handle, then among processes."""

    def __init__(self, path: str, *, absent_is_fine: bool = False) -> None:
        self._file = FileLock(path, absent_is_fine=absent_is_fine)
        self._threads = threading.Lock()

    def acquire(self, what: str, *, wait_s: float) -> None:
        """Become the writer; LockedError after `wait_s` seconds."""
        started = time.monotonic()
        if not self._threads.acquire(timeout=max(0.0, wait_s)):
            holder = self._file.holder()
            raise LockedError(
                f"another thread of this process writes ({describe(holder)})",
                lock=self._file.path,
                holder=holder,
                waited_s=wait_s,
            )
        try:
            self._file.acquire(shared=False, wait_s=max(0.0, wait_s - (time.monotonic() - started)))
            self._file.sign(what)
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        """Let the next writer in."""
        try:
            self._file.release()
        finally:
            self._threads.release()

    def holder(self) -> dict[str, Any] | None:
        """Who writes right now; None if nobody does."""
        if not self._threads.acquire(blocking=False):
            return self._file.holder()
        try:
            self._file.acquire(shared=False, wait_s=0)
        except LockedError as error:
            return error.fields["holder"]  # type: ignore[return-value]
        else:
            self._file.release()
            return None
        finally:
            self._threads.release()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def abandon(self) -> None:
        """In a forked child."""
        self._file.abandon()


def describe(holder: dict[str, Any] | None) -> str:
    """A holder in words."""
    if holder is None:
        return "somebody who left no name"
    return f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')} ({holder.get('doing')})"
