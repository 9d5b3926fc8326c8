"""Locks of a store in memory: between its handles and the threads of this process, which are all who can reach it."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from holdfast.errors import LockedError
from holdfast.values import moment

_changed = threading.Condition()
_held: dict[str, dict[RamLock, bool]] = {}


class RamLock:
    """The same calls as `FileLock` and `HandlesLock`; the name of a lock is its path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.signature: dict[str, Any] | None = None

    def acquire(self, *, shared: bool, wait_s: float) -> None:
        """Wait up to `wait_s` seconds; LockedError."""
        with _changed:
            if not _changed.wait_for(lambda: self._try(shared=shared), wait_s):
                raise LockedError(
                    f"{os.path.basename(self.path)} lock of a store in memory is held", lock=self.path,
                    holder=self.holder(), waited_s=wait_s,
                )  # fmt: skip

    def acquire_now(self, *, shared: bool) -> bool:
        """Take the lock if nobody has it."""
        with _changed:
            return self._try(shared=shared)

    def _try(self, *, shared: bool) -> bool:
        users = _held.setdefault(self.path, {})
        if any((alone or not shared) and one is not self for one, alone in users.items()):
            return False
        users[self] = not shared
        return True

    def sign(self, what: str) -> None:
        """Say what the lock is held for."""
        since = moment.to_text(time.time_ns() // 1000)
        self.signature = {"pid": os.getpid(), "host": "memory", "since": since, "doing": what}

    def holder(self) -> dict[str, Any] | None:
        """What the holder signed."""
        with _changed:
            return next((one.signature for one in _held.get(self.path, {})), None)

    def holders(self) -> list[dict[str, Any]]:
        """Nobody else can have the store open."""
        return []

    def settle(self) -> None:
        """Memory is not copied file by file."""

    def elsewhere(self) -> bool | None:
        """Memory is not copied file by file."""
        return False

    def release(self) -> None:
        """Let the next one in."""
        with _changed:
            users = _held.get(self.path, {})
            users.pop(self, None)
            if not users:
                _held.pop(self.path, None)
            _changed.notify_all()

    def close(self) -> None:
        """Let the next one in."""
        self.release()

    def abandon(self) -> None:
        """In a forked child: the condition may be held by a thread that is not there."""
