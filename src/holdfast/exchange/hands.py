"""Processes that lend a hand: started when there is much to do, each asked by a thread of its own.

A process, because a thread that reads small files waits for the interpreter five times a file; a fresh one, not a
forked one, because nobody knows which locks the threads of a program hold. If one cannot be started, or dies, whoever
asked does the work himself, with the same result.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import marshal
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import IO, TYPE_CHECKING, Any, cast

from holdfast.exchange import hand

if TYPE_CHECKING:
    from subprocess import Popen

MOST = 4
_PATIENCE_S = 2.0
_LAST_S = 5.0
"""So long an answer that nobody waits for any more is waited for: who is interrupted wants to end."""

_LONGEST = 1 << 30
_PIPE_BYTES = 1 << 20
"""A whole answer lies in the pipe: who gave it goes on, and who takes it waits for the interpreter once."""

_SOON = frozenset({"look"})
"""What comes before other work: who asks for it waits for it soon, and without it asks for nothing else."""

_Asked = tuple[bool, int, str, tuple[Any, ...], "Future[Any]"]
"""Whether it can wait, a number by age, the work, what it is given, its answer."""


def wanted(said: int | None) -> int:
    """How many processes are worth it here: as is `said`, else one for each processor, up to MOST."""
    if said is not None:
        return said
    count = os.cpu_count() or 1
    is_python = bool(sys.executable) and not getattr(sys, "frozen", False)
    return min(count, MOST) if is_python and count > 1 else 0


class Hands:
    """Up to `count` processes. None is started before there is work for it."""

    def __init__(self, count: int) -> None:
        self.count = count
        # Taken as it is: an interrupt while a Condition is entered, which is Python, would leave it held.
        self._guard = threading.Lock()
        self._moved = threading.Condition(self._guard)
        self._every: list[Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._asked: list[_Asked] = []
        self._idle = self._number = 0
        self._closed = False

    def ask(self, work: str, *given: Any) -> Future[Any]:
        """Have something done. The future raises OSError, EOFError or ValueError if the process was lost."""
        answer: Future[Any] = Future()
        with self._guard:
            self._number += 1
            heapq.heappush(self._asked, (work not in _SOON, self._number, work, given, answer))
            if len(self._asked) > self._idle and len(self._threads) < self.count:
                thread = threading.Thread(target=self._serve, name="holdfast-hand", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._moved.notify()
        return answer

    def _serve(self) -> None:
        """What a thread does for its process: one question after the other."""
        child: Popen[bytes] | None = None
        while (asked := self._next()) is not None:
            _, _, work, given, answer = asked
            if not answer.set_running_or_notify_cancel():  # whoever asked has done it by now
                continue
            try:
                if child is None:
                    child = self._started()
                done = _done(child, work, given)
            except BaseException as error:  # noqa: BLE001 - whoever waits for the answer is told
                answer.set_exception(error)
            else:
                answer.set_result(done)

    def _next(self) -> _Asked | None:
        with self._guard:
            self._idle += 1
            while not self._asked and not self._closed:
                self._moved.wait()
            self._idle -= 1
            return heapq.heappop(self._asked) if self._asked else None

    def _started(self) -> Popen[bytes]:
        child = _started()
        with self._guard:
            self._every.append(child)
        return child

    def close(self) -> None:
        """End them. What was asked for and not begun is given up."""
        with self._guard:
            self._closed = True
            for *_, answer in self._asked:
                answer.cancel()
            self._asked.clear()
            self._moved.notify_all()
        until = time.monotonic() + _LAST_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        late = any(thread.is_alive() for thread in self._threads)
        for child in self._every:
            if late:  # else closing its pipes would wait for whoever reads from them
                child.kill()
            with contextlib.suppress(OSError):
                if child.stdin is not None:
                    child.stdin.close()
        for child in self._every:
            _end(child)
        self._every.clear()


def _done(child: Popen[bytes], work: str, given: tuple[Any, ...]) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    question = marshal.dumps((work, given))
    child.stdin.write(hand.LENGTH.pack(len(question)) + question)
    child.stdin.flush()
    head = child.stdout.read(hand.LENGTH.size)
    length = hand.LENGTH.unpack(head)[0] if len(head) == hand.LENGTH.size else 0
    if not 0 < length <= _LONGEST:
        raise EOFError("a helping process has ended, or talks nonsense")
    return marshal.loads(child.stdout.read(length))  # noqa: S302 - from our own child


def _end(child: Popen[bytes]) -> None:
    """Its input has ended; when its output has, it is as good as gone: only waiting would look again after pauses."""
    try:
        if child.stdout is not None:
            with contextlib.suppress(OSError, ValueError):
                select.select([child.stdout], [], [], _PATIENCE_S)
            child.stdout.close()
        child.wait(timeout=_PATIENCE_S)
    except Exception:  # noqa: BLE001 - a fork of ours may hold the other end of its pipe
        child.kill()
        child.wait()


_SECRETS = ("HOLDFAST_INDEX", "HOLDFAST_BLOBS", "PGPASS")
"""Where passwords may be, which a helper has no use for: it reads files and knows of no store."""


def _started() -> Popen[bytes]:
    import subprocess  # noqa: PLC0415 - start-up time of those who need no helper

    # Without `site`, which would look for what the path below names already; and never from the working folder.
    command = [sys.executable, "-P", "-S", os.path.abspath(hand.__file__)]
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}
    environment = {**kept, "PYTHONPATH": paths}
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
        bufsize=_PIPE_BYTES,
    )  # fmt: skip
    if (most := getattr(fcntl, "F_SETPIPE_SZ", None)) is not None:
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):  # too many pipes of this user are large already
                fcntl.fcntl(cast("IO[bytes]", pipe), most, _PIPE_BYTES)
    return child


def answer(asked: Future[Any], otherwise: Callable[[], Any]) -> Any:
    """What a process has answered; what `otherwise` gives if it was lost."""
    try:
        return asked.result()
    except (OSError, EOFError, ValueError, TypeError):
        return otherwise()
