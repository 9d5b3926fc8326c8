"""Waits until somebody commits: the server tells, so nobody has to ask again and again.

A commit with NOTIFY holds a lock of the whole server until it is done, also against stores in other schemas. So
a writer notifies only where somebody listens, and asks that of an advisory lock: who listens holds it shared, and who
gets it exclusively is alone.
"""

from __future__ import annotations

import contextlib
import time
import zlib
from collections.abc import Callable
from typing import Any

import psycopg

from holdfast.index.postgres.place import Place, mapped

_LISTENING = 0x6C697374
"""The first half of the key of that lock; the second comes from the name of the schema."""

_AGAIN_S = 30.0
"""The version is looked at as often as that even where nobody tells: what tells may be lost with a connection."""


def channel(schema: str) -> str:
    """The name under which commits of a schema are told."""
    return f"holdfast_{schema}"


def key(schema: str) -> str:
    """The key of the lock, as SQL."""
    half = zlib.crc32(schema.encode())
    return f"{_LISTENING}, {half - (1 << 32) if half >= 1 << 31 else half}"


def told(schema: str) -> str:
    """The expression with which a writer tells, before it commits."""
    return f"CASE WHEN NOT pg_try_advisory_xact_lock({key(schema)}) THEN pg_notify('{channel(schema)}', '') END"


class Ear:
    """One thread's connection to listen with. `version`: asks for the number of the last commit."""

    def __init__(self, place: Place, version: Callable[[], int]) -> None:
        self._place = place
        self._version = version
        self._connection: psycopg.Connection[Any] | None = None

    def wait(self, seen: int, timeout_s: float) -> int:
        """The version, as soon as it is another than `seen`, or when the time is up. Typed errors."""
        until = time.monotonic() + timeout_s
        while True:
            listening = self._listening()
            now, left_s = self._version(), until - time.monotonic()
            if now != seen or left_s <= 0:
                return now
            try:
                for _ in listening.notifies(timeout=min(left_s, _AGAIN_S), stop_after=1):
                    pass
            except psycopg.Error:
                self.close()  # the next turn connects anew, or raises

    def _listening(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            made = self._place.connect(read_only=False)
            schema = self._place.schema
            try:
                made.execute(f"SELECT pg_advisory_lock_shared({key(schema)}); LISTEN {channel(schema)}".encode())
            except psycopg.Error as error:
                made.close()
                raise mapped(error, str(self._place)) from None
            self._connection = made
        return self._connection

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(psycopg.Error):
            if self._connection is not None:
                self._connection.close()
        self._connection = None
