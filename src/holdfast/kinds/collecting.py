"""Python's collector of cycles, made to wait, or to look more seldom, while thousands of objects are made."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

NEW_OBJECTS = 25_000
"""So many new containers wait before cycles are looked for among them, where Python waits for 700. What is put has ten
for each item and no cycles: being gone through again and again was a tenth of the time."""

_guard = threading.Lock()
_inside = 0
_before = (0, 0, 0)


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """The collector goes on, for the caller's code may make cycles; when the last block ends it is as it was."""
    global _inside, _before  # noqa: PLW0603 - it is one for the process, whatever store or thread
    with _guard:
        _inside += 1
        if _inside == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < NEW_OBJECTS:
                gc.set_threshold(NEW_OBJECTS, *_before[1:])
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if not _inside and gc.get_threshold()[0] == NEW_OBJECTS:  # else somebody has set it meanwhile
                gc.set_threshold(*_before)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Python's collector of cycles waits meanwhile: among thousands of new objects it took a quarter of the time.

    What is made here has no cycles. Code of a caller should not run in it for long.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
