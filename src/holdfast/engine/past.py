"""The rows of a store as they were at an earlier change: derived from the chain, in a file that goes again.

The same reducers make them as make the rows of now, so an old state is what it was then, without any rule for going
back. It costs as much as making the index anew up to there, and no memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime

from holdfast.engine import recover
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import InvalidValueError
from holdfast.index.sqlite import SqliteIndex
from holdfast.values import moment

When = int | str | datetime
"""A seq, or a time: aware, or as ISO 8601 with its zone."""

_TOGETHER = 2_000


def seq_of(handle: Handle, at: When) -> int:
    """The seq of the last change of the state that `at` names; 0: before the first one. InvalidValueError.

    A seq means the state after the transaction that holds it, a time the state after the last transaction until then:
    a transaction is never seen in parts.
    """
    handle.alive()
    head = handle.index.chain.head() or handle.origin
    if isinstance(at, str) and at.isascii() and at.isdigit():
        at = int(at)
    if isinstance(at, int):
        if not 0 <= at < head.next_seq:
            raise InvalidValueError(
                f"there is no change {at}: the newest is {head.next_seq - 1}", where="at", reason="range",
                remedy="Give the seq of a change as `holdfast log` shows it, or a time.",
            )  # fmt: skip
        held = handle.index.chain.at(at) if at else None
        return held.entry.next_seq - 1 if held else at
    time_us = moment.from_text(at) if isinstance(at, str) else moment.from_datetime(at)
    return handle.index.chain.seq_at(time_us + 1) - 1


@contextlib.contextmanager
def index_at(handle: Handle, seq: int, progress: Progress | None = None) -> Iterator[SqliteIndex]:
    """An index with the logical rows as they were after change `seq`, which ends a transaction; gone after the block.

    It has no rows of files: where a content lies now, the store's own index knows. Raises ChainBrokenError.
    """
    with scratch_folder() as folder:
        index = SqliteIndex(os.path.join(folder, "past.sqlite3"))
        try:
            index.database.run("PRAGMA journal_mode = OFF")
            index.database.run("PRAGMA synchronous = OFF")
            index.migrate()
            _replay(handle, index, seq, progress)
            yield index
        finally:
            index.close()


def _replay(handle: Handle, index: SqliteIndex, seq: int, progress: Progress | None) -> None:
    index.begin()
    pending = 0
    for transaction in recover.from_index(handle.index):
        if transaction.entry.first > seq:
            break
        recover.replay(index, transaction)
        pending += transaction.entry.count
        if pending >= _TOGETHER:
            index.commit()
            index.begin()
            pending = 0
            if progress:
                progress(transaction.entry.next_seq - 1, seq, "going back", "changes")
    index.commit()
