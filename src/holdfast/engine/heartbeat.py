"""Renews a lease from a thread of its own while one call lasts: whoever is at work need not say so."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

from holdfast.errors import HoldfastError, LeaseLostError

SHARE = 3
"""A lease is renewed when this part of its time has passed: two renewals may fail before it runs out."""


class Heartbeat:
    """Use it in a `with`, and `during` around each call. A process that is stopped or killed renews nothing.

    `longest_s`: a call that takes longer is not waited for any more: nobody can tell it from one that hangs.
    """

    def __init__(self, renew: Callable[[], None], *, lease_s: float, longest_s: float) -> None:
        self._renew = renew
        self._every_s = lease_s / SHARE
        self._longest_s = longest_s
        self._began: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="holdfast-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """The call that is under way."""
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._began = None

    def _beat(self) -> None:
        while not self._stop.wait(self._every_s):
            began = self._began
            if began is None or time.monotonic() - began >= self._longest_s:
                continue
            try:
                self._renew()
            except LeaseLostError:
                return  # the next acknowledgement says so
            except HoldfastError:
                continue  # busy, say: there is time for another
