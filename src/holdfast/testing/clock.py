"""A clock that stands still until it is told to go on."""

from __future__ import annotations

START_US = 1_750_000_000_000_000
"""2025-06-15T15:06:40Z."""


class FixedClock:
    """Shows one moment; `advance` and `set_back` move it."""

    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_us += int(seconds * 1_000_000)

    def set_back(self, seconds: float) -> None:
        """What an administrator or a bad battery does."""
        self._now_us -= int(seconds * 1_000_000)
