"""Makes the next thing in another thread while the one before is used: where neither needs the interpreter for long."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from holdfast.errors import HandleDeadError

T = TypeVar("T")


class Helper(Generic[T]):
    """One thread that makes one thing at a time. HandleDeadError in a forked child, where the thread is not."""

    def __init__(self, name: str) -> None:
        self._name = f"holdfast-{name}"
        self._pool: ThreadPoolExecutor | None = None
        self._coming: Future[T] | None = None
        self._process = os.getpid()

    @property
    def busy(self) -> bool:
        """Whether something was begun and not taken."""
        return self._coming is not None

    def begin(self, make: Callable[[], T]) -> None:
        """Begin to make a thing; the one before was taken."""
        self._demand_here()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._coming = self._pool.submit(make)

    def take(self) -> T:
        """What was begun; its error, if it raised."""
        self._demand_here()
        assert self._coming is not None
        coming, self._coming = self._coming, None
        return coming.result()

    def close(self) -> None:
        """Wait for what is under way, and give the thread back."""
        if os.getpid() == self._process and self._pool is not None:
            self._pool.shutdown()
        self._pool = self._coming = None

    def _demand_here(self) -> None:
        if os.getpid() != self._process:
            raise HandleDeadError("content was being read when the process forked", reason="forked")


def ahead(source: Iterator[T], name: str) -> Generator[T]:
    """The same things, each made while the one before is used."""
    helper: Helper[T | None] = Helper(name)
    try:
        helper.begin(lambda: next(source, None))
        while (found := helper.take()) is not None:
            helper.begin(lambda: next(source, None))
            yield found
    finally:
        helper.close()
