"""Uses closed indexes again: composing the SQL of one takes longer than all that a lab does with a small store.

What an index has learnt from its rows is forgotten before it is used again; only its composed statements stay.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from holdfast.index import sqlite
from holdfast.index.database import Database
from holdfast.index.sqlite import SqliteIndex

_MOST = 8


@contextlib.contextmanager
def reused_indexes() -> Iterator[None]:
    """In the block, indexes that are opened take over the parts of those that were closed in it."""
    free: list[dict[str, Any]] = []
    guard = threading.Lock()
    real_init, real_close = SqliteIndex.__init__, SqliteIndex.close

    def init(self: SqliteIndex, path: str, *, read_only: bool = False) -> None:
        with guard:
            parts = free.pop() if free else None
        if parts is None:
            real_init(self, path, read_only=read_only)
            return
        vars(self).update(parts)
        self.path, self.read_only = path, read_only
        Database.__init__(self.database, path, read_only=read_only)
        self._checkpoint_at = sqlite.CHECKPOINT_BYTES
        self.executor.forget()
        type(self.lookups).__init__(self.lookups, self.database)

    def close(self: SqliteIndex) -> None:
        if "database" not in vars(self):
            return  # closed before, and its parts are somebody else's by now
        real_close(self)
        with guard:
            if len(free) < _MOST:
                free.append({name: part for name, part in vars(self).items() if name not in ("path", "read_only")})
                for name in free[-1]:
                    delattr(self, name)

    SqliteIndex.__init__, SqliteIndex.close = init, close  # type: ignore[method-assign]
    try:
        yield
    finally:
        SqliteIndex.__init__, SqliteIndex.close = real_init, real_close  # type: ignore[method-assign]
