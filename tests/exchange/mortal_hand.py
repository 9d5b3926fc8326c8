"""A helping process that is killed, or waits, at a step of its work: what the environment variable MORTAL says.

`STEP NTH`: kill -9 at that step of the nth question; `wait FOLDER`: in each piece of work a file is made in FOLDER, and
it goes on when FOLDER/go is there. REAL_HAND is the program's own module.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

STEPS = ("started", "asked", "working", "half answered", "answered")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Asked:
    """What is asked, until the nth question was half read."""

    def __init__(self, real: BinaryIO, nth: int) -> None:
        self._real, self._left = real, 2 * nth  # each question is two reads

    def read(self, size: int) -> bytes:
        self._left -= 1
        if self._left == 0:
            self._real.read(size // 2)
            _die()
        return self._real.read(size)


class Answers:
    """Answers, of which the nth is given in half, or the last one."""

    def __init__(self, real: BinaryIO, nth: int, *, whole: bool) -> None:
        self._real, self._left, self._whole = real, 2 * nth, whole  # each answer is two writes

    def write(self, data: bytes) -> None:
        self._left -= 1
        last = self._left == 0
        self._real.write(data[: len(data) // 2] if last and not self._whole else data)
        if last and not self._whole:
            self._real.flush()
            _die()

    def flush(self) -> None:
        self._real.flush()
        if self._left <= 0:
            _die()


def _counted(work: Any, nth: int, left: list[int]) -> Any:
    def counted(*given: Any) -> Any:
        left[0] += 1
        if left[0] == nth:
            _die()
        return work(*given)

    return counted


def _waiting(work: Any, folder: Path) -> Any:
    def waiting(*given: Any) -> Any:
        (folder / f"{os.getpid()}").touch()
        until = time.monotonic() + 200
        while not (folder / "go").exists() and time.monotonic() < until:
            time.sleep(0.01)
        return work(*given)

    return waiting


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("hand", os.environ["REAL_HAND"])
    assert spec is not None
    assert spec.loader is not None
    hand = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hand)
    step, _, said = os.environ["MORTAL"].rpartition(" ")
    asked: Any = sys.stdin.buffer
    answers: Any = sys.stdout.buffer
    if step == "started":
        _die()
    elif step == "asked":
        asked = Asked(asked, int(said))
    elif step == "working":
        count = [0]
        hand._WORK = {name: _counted(work, int(said), count) for name, work in hand._WORK.items()}
    elif step == "wait":
        hand._WORK = {name: _waiting(work, Path(said)) for name, work in hand._WORK.items()}
    else:
        answers = Answers(answers, int(said), whole=step == "answered")
    hand.serve(asked, answers)
