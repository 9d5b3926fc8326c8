"""Locks between processes, freed by the death of their process, saying who holds them.

`flock` belongs to the open file, not to the process, so unrelated opens of the same file do not drop it (POSIX record
locks do). A forked child shares the open file; it closes its copy at once, which leaves the parent's lock alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import itertools
import json
import os
import stat
import threading
import time
from typing import Any

from holdfast import disk, ram
from holdfast.engine.queueing import Beside
from holdfast.engine.ram_locks import RamLock
from holdfast.errors import HandleDeadError, LockedError, NoSpaceError, StorageIOError, StoreError
from holdfast.values import moment

_FIRST_PAUSE_S = 0.0003
_LONG_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.01
_LONG_WAITED_S = 2.0
_OF_WAITED = 0.05
"""Whoever waits looks again after so much of the time that it has waited: a lock that goes from hand to hand every
millisecond is not left lying, and one that is held for seconds is not asked for a thousand times. Up to two seconds
the pause stays short: who came first would otherwise look least often, and those who come later would go before."""

_INFO_BYTES = 512
_SLOT_BYTES = 256
_SLOTS = 256
_serial = itertools.count()


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
        except FileNotFoundError as error:
            if not absent_is_fine:
                raise StorageIOError(
                    f"the folder of {path} is gone", path=path, operation="open", errno=errno.ENOENT
                ) from error
            self._fd = -1
        except StorageIOError as error:
            if not absent_is_fine or error.fields.get("errno") != errno.ENOTDIR:
                raise
            self._fd = -1  # nobody can hold a lock in what is no folder

    def acquire(self, *, shared: bool, wait_s: float) -> None:
        """Wait up to `wait_s` seconds; LockedError names who holds it."""
        if self.acquire_now(shared=shared):
            return
        began = time.monotonic()
        while not self.acquire_now(shared=shared):
            waited = time.monotonic() - began
            if waited >= wait_s:
                raise self._refused(wait_s)
            longest = _LONG_PAUSE_S if waited < _LONG_WAITED_S else _LONGEST_PAUSE_S
            pause = min(max(_FIRST_PAUSE_S, waited * _OF_WAITED), longest)
            # Not all at the same moment: who comes first would be the same one again and again.
            time.sleep(min(pause * (0.5 + time.monotonic_ns() % 256 / 256), wait_s - waited))

    def _refused(self, wait_s: float) -> LockedError:
        holder = self.holder()
        text = f"{os.path.basename(self.path)} lock is held by {describe(holder)}"
        return LockedError(text, lock=self.path, holder=holder, waited_s=wait_s)

    def acquire_now(self, *, shared: bool) -> bool:
        """Take the lock if nobody has it."""
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
        self._write(_signature(what), _INFO_BYTES, 0)

    def _write(self, text: str, length: int, offset: int) -> None:
        with self._guard:
            if self._dead:
                return
            try:
                os.pwrite(self._fd, text.encode().ljust(length)[:length], offset)
            except OSError as error:
                disk.raise_typed(error, "write", self.path)

    def _read(self, length: int, offset: int) -> bytes:
        with self._guard:
            return b"" if self._dead or self._fd < 0 else os.pread(self._fd, length, offset)

    def holder(self) -> dict[str, Any] | None:
        """What the last holder wrote; None if nothing readable is there."""
        try:
            return _signed(self._read(_INFO_BYTES, 0))
        except OSError:
            return None

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


class HandlesLock(FileLock):
    """The lock that every open handle shares: its file says who they are, and in which place they have the store open.

    The file is a row of slots. The first one names the file itself (file system, inode, when it was made), which a copy
    of it cannot; each handle signs one of the others. Two may meet in one slot: then one of them stays nameless.
    """

    def __init__(self, path: str, *, absent_is_fine: bool = False) -> None:
        super().__init__(path, absent_is_fine=absent_is_fine)
        self._silent = absent_is_fine
        self._slot = 1 + (os.getpid() * 31 + next(_serial)) % (_SLOTS - 1)
        self._signed = False

    def sign(self, what: str) -> None:
        """Write who has the store open, since when and what for. Readers who may write nothing leave no name."""
        if not self._silent:
            self._signed = True
            with contextlib.suppress(NoSpaceError):  # a name for people is no reason to keep a full store closed
                self._write(_signature(what), _SLOT_BYTES, self._slot * _SLOT_BYTES)

    def settle(self) -> None:
        """Say that the store is at home here: what is found in another place later is a copy."""
        if not self._silent and self.elsewhere() is not False:
            self._write(json.dumps({"place": disk.identity(self.path)}), _SLOT_BYTES, 0)

    def elsewhere(self) -> bool | None:
        """Whether the file was written in another place than it is in now; None if it does not say."""
        try:
            said = _signed(self._read(_SLOT_BYTES, 0))
            return None if said is None or "place" not in said else said["place"] != disk.identity(self.path)
        except OSError:
            return None

    def holders(self) -> list[dict[str, Any]]:
        """Everybody else who has the store open, as far as it can be told."""
        here, named = _host(), list[dict[str, Any]]()
        with contextlib.suppress(OSError):
            data = self._read(_SLOT_BYTES * _SLOTS, 0)
            slots = range(_SLOT_BYTES, len(data), _SLOT_BYTES)
            found = [_signed(data[at : at + _SLOT_BYTES]) for at in slots if at != self._slot * _SLOT_BYTES]
            named = [one for one in found if one and (one.get("host") != here or _runs(one.get("pid")))]
        holding = self._holding()
        if holding is not None:
            named = [one for one in named if one.get("host") != here or one.get("pid") in holding]
            nameless = holding - {one.get("pid") for one in named} - {os.getpid()}
            named += [{"pid": pid, "host": here, "since": None, "doing": "reading"} for pid in sorted(nameless)]
        return sorted(named, key=lambda one: str(one.get("since")))

    def holder(self) -> dict[str, Any] | None:
        """Who has had the store open for longest; None if nobody can be named."""
        return next(iter(self.holders()), None)

    def _refused(self, wait_s: float) -> LockedError:
        holders = self.holders()
        names = ", ".join(describe(one) for one in holders[:5]) or describe(None)
        more = f" and {len(holders) - 5} more" if len(holders) > 5 else ""
        return LockedError(
            f"the store is open elsewhere: {names}{more}", lock=self.path, holder=holders[0] if holders else None,
            holders=holders, waited_s=wait_s, remedy="Close the store there, or give a longer --lock-wait.",
        )  # fmt: skip

    def _holding(self) -> set[int] | None:
        """The processes that hold the lock, from Linux's own list; None where there is none."""
        try:
            facts = os.stat(self.path)
            with open("/proc/locks", encoding="ascii") as file:
                rows = [line.split() for line in file]
        except OSError:
            return None
        where = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
        found = {int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == where}
        return found if found and min(found) > 0 else None  # 0 and less: a process that this container cannot see

    def close(self) -> None:
        """Take the name out, and give the file back and the lock with it."""
        if self._signed:
            self._signed = False
            with contextlib.suppress(StoreError):
                self._write("", _SLOT_BYTES, self._slot * _SLOT_BYTES)
        super().close()


def _signature(what: str) -> str:
    since = moment.to_text(time.time_ns() // 1000)
    return f'{{{_who(os.getpid())}, "since": "{since}", "doing": {_quoted(what)}}}'


_quoted = functools.lru_cache(32)(json.dumps)
"""A text as JSON. Each write signs the lock, and says nearly always the same."""


@functools.lru_cache(1)
def _who(process: int) -> str:
    return f'"pid": {process}, "host": {_quoted(_host()[:64])}'


def _host() -> str:
    """As `socket.gethostname` says, without importing it: every command signs a lock."""
    return os.uname().nodename


def _signed(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data.strip(b" \0") or b"null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _runs(pid: object) -> bool:
    try:
        os.kill(int(str(pid)), 0)
    except (OSError, ValueError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True


_CROWDED_S = 1.0
"""So long after another writer was met, another one is expected."""


class WriterLock:
    """The writer lock of one open store: first among the threads of the handle, then among processes."""

    def __init__(self, path: str, *, absent_is_fine: bool = False) -> None:
        self._file = lock_at(path, absent_is_fine=absent_is_fine)
        self._threads = threading.Lock()
        self._met = -_CROWDED_S
        self.queue = Beside(path)

    def is_crowded(self) -> bool:
        """Whether another writer was met within the last second."""
        return time.monotonic() - self._met < _CROWDED_S

    def meet(self) -> None:
        """Another writer was met."""
        self._met = time.monotonic()

    def acquire_now(self, what: str) -> bool:
        """Become the writer, if nobody is."""
        return self._now(what)

    def _now(self, what: str) -> bool:
        if not self._threads.acquire(blocking=False):
            self.meet()
            return False
        try:
            if self._file.acquire_now(shared=False):
                self._file.sign(what)
                return True
        except BaseException:
            self._threads.release()
            raise
        self._threads.release()
        self.meet()
        return False

    def acquire(self, what: str, *, wait_s: float) -> None:
        """Become the writer; LockedError after `wait_s` seconds."""
        if self._now(what):
            return
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
        except BaseException as error:
            self._threads.release()
            if isinstance(error, LockedError):
                error.fields["waited_s"] = wait_s  # for the threads and for the file together
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
        self.queue.close()
        self._file.close()

    def abandon(self) -> None:
        """In a forked child."""
        self.queue.abandon()
        self._file.abandon()


def lock_at(path: str, *, absent_is_fine: bool = False) -> FileLock | RamLock:
    """The lock at a path, which may be one in memory."""
    return RamLock(path) if ram.holds(path) else FileLock(path, absent_is_fine=absent_is_fine)


def describe(holder: dict[str, Any] | None) -> str:
    """A holder in words."""
    if holder is None:
        return "somebody who left no name"
    since = f" since {holder['since']}" if holder.get("since") else ""
    return f"process {holder.get('pid')} on {holder.get('host')}{since} ({holder.get('doing')})"
