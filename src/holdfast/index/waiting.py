"""Waits for a commit where nobody tells of one: by looking again, at first soon and then less often."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_S, _LOOK_AT_MOST_S = 0.005, 0.25


def polled(version: Callable[[], int], seen: int, timeout_s: float) -> int:
    """The version, as soon as it is another than `seen`, or when the time is up."""
    until, pause_s = time.monotonic() + timeout_s, _LOOK_S
    while (now := version()) == seen and (left_s := until - time.monotonic()) > 0:
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, _LOOK_AT_MOST_S)
    return now
