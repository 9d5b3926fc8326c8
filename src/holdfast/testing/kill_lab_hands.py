"""The job of the kill lab in which helping processes read a tree: whoever they help is killed while they work.

They belong to nobody then, and have to end by themselves: their input does. Which are theirs is told by a word in their
environment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from holdfast.exchange import looking, reading
from holdfast.testing.kill_lab_writers import Bench

Work = Callable[[Bench], None]

_WHOSE = "HOLDFAST_LAB_HANDS_OF"
_PATIENCE_S = 60.0


def with_hands(work: Work) -> Work:
    """The same work with two helping processes, which are started at once and are given little at a time."""

    def run(bench: Bench) -> None:
        reading.ALONE_GROUPS = looking.ALONE_FOLDERS = 0
        reading.TOGETHER_BYTES, looking.AHEAD_FOLDERS = 2_000, 2
        os.environ["HOLDFAST_HANDS"] = "2"
        os.environ[_WHOSE] = str(os.getpid())
        bench.rounds = max(1, bench.rounds // 4)  # each call starts both of them anew
        work(bench)

    return run


def left_behind(pid: int) -> list[int]:
    """Processes that helped a dead one, and do not end; all have ended before long. Empty where there is no /proc."""
    until = time.monotonic() + _PATIENCE_S
    while (found := _hands_of(pid)) and time.monotonic() < until:
        time.sleep(0.005)
    return found


def _hands_of(pid: int) -> list[int]:
    word = f"{_WHOSE}={pid}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    said = file.read().split(b"\0")
            except OSError:  # it is another's, or has ended
                continue
            if word in said:
                found.append(int(name))
    return found
