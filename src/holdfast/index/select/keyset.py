"""A result of any length as short reads, each beginning where the one before ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

PAGE = 500
"""Rows of one read."""


def stream(read: Callable[[int], list[tuple[int, T]]], *, after: int = 0) -> Iterator[tuple[int, T]]:
    """All (key, item) beyond `after`; `read` gives those beyond a key, at most PAGE of them, in its own order."""
    while True:
        page = read(after)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]
