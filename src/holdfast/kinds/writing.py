"""The way of the verbs into the engine's writing half, imported when the first of them writes.

A command that shows a record has the nouns too, and must not wait for what only writing needs (docs/design/048). Names
are imported out of modules: a module out of its package takes a microsecond more, at each call.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

# ruff: noqa: PLC0415 - start-up time, as said above
if TYPE_CHECKING:
    from holdfast.engine.content import Incoming, Source
    from holdfast.engine.handle import Handle
    from holdfast.engine.transaction import Unit


def write(
    handle: Handle, *, tx: str | None = None, note: str = "", what: str = "write", wait_s: float | None = None
) -> AbstractContextManager[Unit]:
    """Work in a transaction: see `holdfast.engine.transaction.write`, which says what it takes and raises."""
    from holdfast.engine.transaction import write as begin

    return begin(handle, tx=tx, note=note, what=what, wait_s=wait_s)


def staging(handle: Handle, source: Source, **said: Any) -> AbstractContextManager[Incoming]:
    """Take content in for the block: see `holdfast.engine.content.staging`."""
    from holdfast.engine.content import staging as begin

    return begin(handle, source, **said)
