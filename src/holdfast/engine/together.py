"""Several transactions, each with an actor of its own, that one COMMIT makes durable: for histories from elsewhere.

Each is a transaction of the chain like any other; but all of a series are there, or none. A reader sees them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.engine import recover
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit, commit_rows, current, opened, roll_back
from holdfast.errors import ConflictError
from holdfast.formats import lines
from holdfast.values import moment
from holdfast.values.change import Actor, Head


class Series:
    """Transactions on their way. `head`: the end of the chain with those that are whole."""

    def __init__(self, handle: Handle, head: Head) -> None:
        self._handle = handle
        self.head = head
        self.first = head.next_seq
        self.data: list[bytes] = []

    @contextmanager
    def transaction(self, actor: Actor | None = None, *, note: str = "") -> Iterator[Unit]:
        """One transaction, by `actor`; whoever opened the store if None. Without changes it leaves nothing."""
        handle = self._handle
        unit = Unit(handle, self.head, tx=moment.draw_id(handle.clock.now_us()), note=note, actor=actor)
        with opened(unit):
            yield unit
        if unit.changes:
            transaction = unit.seal()
            data = lines.encode(transaction)
            handle.index.chain.append(transaction, data)
            self.data.append(data)
            self.head = unit.after = transaction.head


@contextmanager
def together(handle: Handle, *, what: str) -> Iterator[Series]:
    """A series of transactions; durable when the block ends, and nothing of it if the block raises.

    Raises what `transaction.write` raises, and ConflictError inside an open transaction.
    """
    if current(handle) is not None:
        raise ConflictError(
            f"{what} makes transactions of its own", tx="", remedy="Call it outside of `transaction()`."
        )  # fmt: skip
    handle.writable()
    handle.writer.acquire(what, wait_s=handle.wait_s)
    try:
        handle.writable()
        series = Series(handle, recover.level(handle))
        handle.index.begin()
        try:
            yield series
            if series.data:
                with handle.watching_syncs():
                    handle.journal.prepare(series.first, sum(map(len, series.data)))
            commit_rows(handle, b"".join(series.data))
        except BaseException:
            roll_back(handle)
            handle.index.lookups.forget()  # it may remember transactions that never were
            raise
    finally:
        handle.writer.release()
