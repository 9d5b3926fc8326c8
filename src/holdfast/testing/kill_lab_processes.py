"""Processes of the kill lab: forked from a warm parent that has no store open, watched through a pipe, killed on time.

The last moment a process came to stands in memory that it shares with the parent, so that a kill at a random time can
be said to have come before or after which step.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.testing.kill_lab_books import Books
from holdfast.testing.kill_lab_tracing import Moment, die

Say = Callable[[list[Any]], None]
Place = tuple[str, Moment]
"""A moment, and what was being done."""

_PAGE = 4096
_BLOCK = 1 << 16


class Trap:
    """Watches the moments of one process and ends it at the `nth` that is wanted. `wanted` None: at none."""

    def __init__(self, page: mmap.mmap, wanted: Callable[[Place], bool] | None = None, *, nth: int = 1) -> None:
        self._page = page
        self._wanted = wanted
        self._left = nth
        self._ending: int | None = None
        self.doing = ""
        self.met: set[Place] = set()

    def __call__(self, moment: Moment) -> bool:
        """Take note of a moment; does not return if it is the one."""
        place = (self.doing, moment)
        self.met.add(place)
        half = moment.verb.startswith("half ")
        wanted = self._wanted is not None and self._wanted(place)
        if self._ending in (None, threading.get_ident()):  # else a thread in the background, while another is ended
            self._ending = None
            if wanted or not half:
                self._write(place)
        if wanted:
            self._left -= 1
            if self._left <= 0:
                if half:
                    self._ending = threading.get_ident()
                    return True
                die()
        return False

    def _write(self, place: Place) -> None:
        doing, moment = place
        text = json.dumps([doing, moment.verb, moment.place, moment.phase]).encode()
        self._page[: len(text) + 1] = text + b"\n"


@dataclass(slots=True)
class Process:
    """A forked process as its parent sees it. `books`: what it said; `error`: a traceback, if it failed by itself."""

    pid: int
    pipe: int
    page: mmap.mmap
    books: Books
    other: list[list[Any]] = field(default_factory=list)
    well: bool = False
    error: str = ""
    over: bool = False
    status: int = 0
    _rest: bytes = b""

    def hear(self, wait_s: float | None = 0.0) -> None:
        """Take in what was said by now; `wait_s`: how long to wait for something, None for ever."""
        while not self.over and select.select([self.pipe], [], [], wait_s)[0]:
            data = os.read(self.pipe, _BLOCK)
            if not data:
                self._bury()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            if wait_s is not None:
                wait_s = 0.0

    def _take(self, message: list[Any]) -> None:
        if message[0] == "well":
            self.well = True
        elif message[0] == "error":
            self.error = message[1]
        elif message[0] in ("begin", "done"):
            self.books.hear(message)
        else:
            self.other.append(message)

    def _bury(self) -> None:
        os.close(self.pipe)
        _, self.status = os.waitpid(self.pid, 0)
        self.over = True

    def end(self) -> None:
        """Wait for its end, and hear all it had to say."""
        self.hear(None)

    def kill(self) -> None:
        """`kill -9`, and hear what it had said. It is not yet waited for, so the id is still its own."""
        if not self.over:
            os.kill(self.pid, signal.SIGKILL)
            self.end()

    @property
    def killed(self) -> bool:
        """Whether it was ended by a signal."""
        return self.over and os.WIFSIGNALED(self.status)

    @property
    def last(self) -> Place | None:
        """The last moment that it came to; None if it came to none."""
        text = self.page[:].split(b"\n")[0].strip(b"\0")
        if not text:
            return None
        doing, *moment = json.loads(text)
        return doing, Moment(*moment)


def fork(work: Callable[[Say, mmap.mmap], None], books: Books) -> Process:
    """A process that does some work and ends. What it says is heard by `Process.hear`."""
    page = mmap.mmap(-1, _PAGE)
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the parent hold nothing that is used here
        pid = os.fork()
    if pid == 0:
        _live(work, theirs, page)
    os.close(theirs)
    return Process(pid, ours, page, books)


def _live(work: Callable[[Say, mmap.mmap], None], pipe: int, page: mmap.mmap) -> None:
    def say(message: list[Any]) -> None:
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            data = data[os.write(pipe, data) :]

    try:
        work(say, page)
        say(["well"])
    except BaseException:  # noqa: BLE001 - whatever it is, the parent is told, and this process must not go on
        say(["error", traceback.format_exc()])
    finally:
        os._exit(0)
