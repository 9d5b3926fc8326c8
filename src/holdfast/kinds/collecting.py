"""Python's collector of cycles, made to wait while thousands of objects without cycles are made."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


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
