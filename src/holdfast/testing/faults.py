"""A disk that fails where it is told to, or stops there until somebody lets it go on; and the way to the crash lab."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.disk import Disk, typed
from holdfast.testing.crash_choices import corner, drawn
from holdfast.testing.crash_lab import CrashReport, Trace, examine, explore, nested, record
from holdfast.testing.crash_states import State, build, point
from holdfast.testing.ledger import Fate, Ledger
from holdfast.testing.recording import Recording, RecordingDisk, recording
from holdfast.testing.workbench import Bench, Workload
from holdfast.testing.workloads import WORKLOADS

__all__ = [
    "WORKLOADS",
    "Bench",
    "CrashReport",
    "Fate",
    "FaultyDisk",
    "Ledger",
    "Recording",
    "RecordingDisk",
    "State",
    "Trace",
    "Workload",
    "build",
    "corner",
    "drawn",
    "examine",
    "explore",
    "nested",
    "point",
    "record",
    "recording",
]

_VERBS = {
    "create": "create", "open_append": "open", "open_read": "open", "write": "write", "pread": "read", "fsync": "sync",
    "fsync_dir": "sync folder", "sync_filesystem": "sync file system of", "reserve": "reserve space in", "link": "link",
    "unlink": "remove", "rename": "rename", "mkdir": "make folder", "listdir": "list",
}  # fmt: skip
"""The operations that can be made to fail, and how Disk names them in its errors."""

Hook = Callable[[str], None]


@dataclass(slots=True)
class _Fault:
    operation: str
    path: str
    skip: int
    left: int
    error: int
    torn: int


class FaultyDisk(Disk):
    """A real disk with faults. `calls` counts the operations that were asked for, failed ones included."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._faults: list[_Fault] = []
        self._hooks: list[tuple[str, str, Hook]] = []

    def fail(
        self, operation: str, *, path: str = "", nth: int = 1, times: int = 1, error: int = errno.EIO, torn: int = 0
    ) -> None:
        """Fail from the `nth` call on, `times` times, on paths that hold `path`; a write leaves `torn` bytes."""
        self._faults.append(_Fault(operation, path, nth - 1, times, error, torn))

    def before(self, operation: str, hook: Hook, *, path: str = "") -> None:
        """Call `hook` with the path before each such operation on paths that hold `path`."""
        self._hooks.append((operation, path, hook))

    def heal(self) -> None:
        """No more faults and hooks."""
        self._faults.clear()
        self._hooks.clear()

    def _meet(self, operation: str, path: str, arguments: tuple[Any, ...]) -> None:
        self.calls[operation] += 1
        for wanted, part, hook in list(self._hooks):
            if wanted == operation and part in path:
                hook(path)
        for fault in self._faults:
            if fault.operation != operation or fault.path not in path or fault.left == 0:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.left -= 1
            if operation == "write" and fault.torn:
                super().write(arguments[0], bytes(arguments[1])[: fault.torn], path)
            with typed(_VERBS[operation], path):
                raise OSError(fault.error, os.strerror(fault.error), path)


def _watched(name: str) -> Callable[..., Any]:
    real = getattr(Disk, name)

    def operation(self: FaultyDisk, *arguments: Any) -> Any:
        path = next(one for one in reversed(arguments) if isinstance(one, str))
        self._meet(name, path, arguments)
        return real(self, *arguments)

    return operation


for _name in _VERBS:
    setattr(FaultyDisk, _name, _watched(_name))
