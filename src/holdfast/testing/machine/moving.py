"""The clock of the stores that the machine opens: the system's, moved on when a grace period is to pass."""

from __future__ import annotations

import time
from pathlib import Path

from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.store import Store
from holdfast.values.change import Actor

ACTOR = "Ada"


PACK_UP_TO = 8
"""Some of the machine's contents are longer: both forms are in every store."""


class MovingClock:
    """The system's clock and what was added to it."""

    ahead_s = 0

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000 + self.ahead_s * 1_000_000


clock = MovingClock()
"""One for all: a process drives one machine at a time, and each sets it back when it begins."""


def make(path: Path) -> Store:
    """A new store that goes by this clock."""
    opening.create(str(path), _settings())
    return open_(path)


def open_(path: Path) -> Store:
    """A store that goes by this clock."""
    return Store(opening.open_store(str(path), _settings()))


def _settings() -> Settings:
    return Settings(Actor(ACTOR), clock=clock, pack_up_to=PACK_UP_TO)
