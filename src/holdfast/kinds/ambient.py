"""The run that a thread works in: what is put meanwhile is linked to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from holdfast.engine.handle import Handle

_runs: ContextVar[tuple[tuple[int, str], ...]] = ContextVar("holdfast_runs", default=())


def current_run(handle: Handle) -> str | None:
    """Id of the innermost run that this thread (or task) works in on this store."""
    return next((run for owner, run in reversed(_runs.get()) if owner == id(handle)), None)


@contextmanager
def working_in(handle: Handle, run_id: str) -> Iterator[None]:
    """Work in a run for the block."""
    token = _runs.set((*_runs.get(), (id(handle), run_id)))
    try:
        yield
    finally:
        _runs.reset(token)
