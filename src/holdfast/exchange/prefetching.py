"""Has folders fetched from the disk before somebody lists them: forked children each look for one name in each folder.

A disk answers many at once, and whoever lists one folder after the other asks it for one thing at a time. The children
know nothing and say nothing: what is found cannot depend on them, only how long it is waited for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence

CHILDREN = 2
"""Of 5,000 cold folders, two processes that list them, seconds by hand beside other load: 2.7 to 3.0 without children,
1.6 to 2.2 with one each, 1.2 to 1.3 with two; the CPU is the same. Four are no faster in a whole add."""

WAITS = 16
"""Who has waited so many times has a disk to wait for; what is in memory is listed without any waiting."""

_ABSENT = b"/\1"
"""A look for a name reads the folder in one call, a third of what it costs to list it."""

_ONCE_BYTES = 1 << 16


class Prefetching:
    """What a process that lists folders tells of those that come next. Only for one that has a single thread."""

    def __init__(self) -> None:
        self.children: list[int] = []
        self._pipes: list[int] = []
        self._waited = 0
        self._may_start = hasattr(os, "fork")

    def waited(self, since: int) -> None:
        """Folders were listed since then (`waits`): how often that waited decides whether any are fetched ahead."""
        self._waited += waits() - since

    def tell(self, paths: Sequence[bytes]) -> None:
        """These folders come next. Never waits; nothing is done where nobody had to wait so far."""
        if self._waited < WAITS or not self._may_start:
            return
        if not self.children:
            self._start()
        for number, pipe in enumerate(self._pipes):
            mine = paths[number :: len(self._pipes)]
            with contextlib.suppress(OSError):  # full, or the child is gone
                os.write(pipe, b"".join([path + b"\0" for path in mine]))

    def _start(self) -> None:
        try:
            for _ in range(CHILDREN):
                asked, pipe = os.pipe()
                os.set_blocking(pipe, False)
                self._pipes.append(pipe)
                try:
                    child = os.fork()
                    if not child:
                        _serve(asked, self._pipes)
                    self.children.append(child)
                finally:
                    os.close(asked)
        except OSError:  # no more processes, or descriptors
            self._may_start = False

    def close(self) -> None:
        """End the children, whatever they are at."""
        for child in self.children:
            os.kill(child, signal.SIGKILL)
        for child in self.children:
            os.waitpid(child, 0)
        for pipe in self._pipes:
            os.close(pipe)
        self.children, self._pipes = [], []


def waits() -> int:
    """How often this process has given up its processor because something was not there yet; no other load counts."""
    try:
        import resource  # noqa: PLC0415 - not everywhere; nor can it fork there
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _serve(asked: int, pipes: Sequence[int]) -> None:
    """What a child does, to its end. It keeps no pipe open that its parent closes, be it by its death."""
    try:
        for one in (0, 1, 2, *pipes):
            os.close(one)
        rest = b""
        while data := os.read(asked, _ONCE_BYTES):
            *paths, rest = (rest + data).split(b"\0")
            for path in paths:
                with contextlib.suppress(OSError):  # as expected
                    os.lstat(path + _ABSENT)
    finally:
        os._exit(0)
