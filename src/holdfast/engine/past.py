"""The rows of a store as they were at an earlier change, in a file of their own that goes again.

The reducers that make the rows of now made them, so an old state is what it was then. A copy of the rows of now is
taken back (`holdfast.index.rewound`): that costs what happened since, not what happened before. Where that would be
more, or cannot be done, all changes up to then are applied anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime

from holdfast import ram
from holdfast.engine import recover
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import ChainBrokenError, ConflictError, IndexDamagedError, InvalidValueError
from holdfast.index.rewound import Rewinding
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.values import canon, moment
from holdfast.values.change import Body, Transaction

When = int | str | datetime
"""A seq, or a time: aware, or as ISO 8601 with its zone."""

_TOGETHER = 2_000
_FEW = 500
"""So many changes are applied sooner than an index is copied."""


def seq_of(handle: Handle, at: When) -> int:
    """The seq of the last change of the state that `at` names; 0: before the first one. InvalidValueError.

    A seq means the state after the transaction that holds it, a time the state after the last transaction until then:
    a transaction is never seen in parts.
    """
    handle.alive()
    head = handle.index.chain.head() or handle.origin
    if isinstance(at, str) and at.isascii() and at.isdigit():
        at = int(at)
    if isinstance(at, int) and not isinstance(at, bool):
        if not 0 <= at < head.next_seq:
            raise InvalidValueError(
                f"there is no change {at}: the newest is {head.next_seq - 1}", where="at", reason="range",
                remedy="Give the seq of a change as `holdfast log` shows it, or a time.",
            )  # fmt: skip
        held = handle.index.chain.at(at) if at else None
        return held.entry.next_seq - 1 if held else at
    if not isinstance(at, (str, datetime)):
        raise InvalidValueError(
            f"a {type(at).__name__} names no state", where="at", reason="type",
            remedy="Give the seq of a change, an aware datetime, or a time as text (ISO 8601 with its zone).",
        )  # fmt: skip
    time_us = moment.from_text(at) if isinstance(at, str) else moment.from_datetime(at)
    return handle.index.chain.seq_at(time_us + 1) - 1


@contextlib.contextmanager
def index_at(handle: Handle, seq: int, progress: Progress | None = None) -> Iterator[SqlIndex]:
    """An index with the logical rows as they were after change `seq`, which ends a transaction; gone after the block.

    It has no rows of files: where a content lies now, the store's own index knows. Raises ChainBrokenError.
    """
    with scratch_folder(root=handle.root) as folder:
        index = derive_at(handle, seq, os.path.join(folder, "past.sqlite3"), progress)
        try:
            yield index
        finally:
            index.close()


def derive_at(handle: Handle, seq: int, path: str, progress: Progress | None = None) -> SqlIndex:
    """The same in a new file at `path`; whoever asks closes and removes it."""
    if seq > _FEW:
        # What is damaged in rows of now, and not in the chain, is not to stand in the way of the state of then.
        with contextlib.suppress(ChainBrokenError, IndexDamagedError, ConflictError):
            found = rewound_at(handle, seq, path, most=seq // 2)
            if found is not None:
                return found
        remove(path)
    return replayed_at(handle, seq, path, progress)


def remove(path: str) -> None:
    """Of rows of an earlier state: the file, or what it is in memory."""
    if ram.holds(path):
        ram.free(path)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _fast(path: str) -> SqlIndex:
    """An index whose file no crash needs to leave whole."""
    index = SqliteIndex(path)
    index.database.run("PRAGMA journal_mode = OFF")
    index.database.run("PRAGMA synchronous = OFF")
    return index


def rewound_at(handle: Handle, seq: int, path: str, *, most: int) -> SqlIndex | None:
    """A copy of the rows of now, taken back; None if more than `most` changes are to be made anew, or none can be."""
    index: SqlIndex = SqliteIndex(path)
    try:
        handle.index.backup_into(index, at_once=True)
        index.close()
        index = _fast(path)
        work = Rewinding(index, seq)
        changes = work.survey()
        if changes is None or changes > most:
            index.close()
            return None
        work.run(_Bodies(handle.index))
    except BaseException:
        index.close()
        raise
    return index


class _Bodies:
    """Changes by seq, asked for in order: a transaction is read and proven once."""

    def __init__(self, index: SqlIndex) -> None:
        self._chain = index.chain
        self._held: Transaction | None = None

    def __call__(self, seq: int) -> Body:
        held = self._held
        if held is None or not held.entry.first <= seq < held.entry.next_seq:
            held = self._held = self._chain.at(seq)
        if held is None:
            raise ChainBrokenError(f"no transaction holds change {seq}", seq=seq, where="index")
        body: Body = canon.decode(held.bodies[seq - held.entry.first])
        return body


def replayed_at(handle: Handle, seq: int, path: str, progress: Progress | None = None) -> SqlIndex:
    """All changes up to `seq`, applied anew. ChainBrokenError."""
    index = _fast(path)
    try:
        index.migrate()
        _replay(handle, index, seq, progress)
    except BaseException:
        index.close()
        raise
    return index


def _replay(handle: Handle, index: SqlIndex, seq: int, progress: Progress | None) -> None:
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
