"""Several transactions, each with an actor of its own, that one COMMIT makes durable: for histories from elsewhere.

Each is a transaction of the chain like any other; but all of a series are there, or none. A reader sees them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.engine import recover
from holdfast.engine.commit import commit_rows, leave, roll_back
from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit, begun, current, opened
from holdfast.errors import ChainForkedError, ConflictError
from holdfast.formats import lines
from holdfast.values import canon, moment
from holdfast.values.change import Actor, Head, Transaction

_IN_MEMORY_BYTES = 32 << 20


class Series:
    """Transactions on their way. `head`: the end of the chain with those that are whole."""

    def __init__(self, handle: Handle, head: Head) -> None:
        self._handle = handle
        self.head = head
        self.first = head.next_seq
        self._data: list[bytes] = []
        self._size = 0

    @contextmanager
    def transaction(self, actor: Actor | None = None, *, note: str = "", tx: str | None = None) -> Iterator[Unit]:
        """One transaction, by `actor`; whoever opened the store if None. Without changes it leaves nothing.

        `tx`: its id, which no transaction of the chain has.
        """
        handle = self._handle
        unit = Unit(handle, self.head, tx=tx or moment.draw_id(handle.clock.now_us()), note=note, actor=actor)
        with opened(unit):
            yield unit
        if unit.changes:
            transaction = unit.seal()
            self._append(transaction)
            unit.after = transaction.head

    def take(self, transaction: Transaction, incoming: list[Incoming]) -> None:
        """A transaction of this very chain that was made elsewhere, byte for byte, and the contents it speaks of.

        ChainForkedError if it does not follow; BlobMissingError if a content is neither given nor here.
        """
        entry = transaction.entry
        if not lines.follows(transaction, self.head):
            raise ChainForkedError(f"transaction {entry.first} does not follow from the one before", seq=entry.first)
        unit = Unit(self._handle, self.head, tx=entry.tx, note="", actor=entry.actor)
        unit.now_us = entry.time_us
        with opened(unit):
            unit.publish(incoming)
            unit.change_all([canon.decode(body) for body in transaction.bodies])
        self._append(transaction)

    def _append(self, transaction: Transaction) -> None:
        data = lines.encode(transaction)
        self._handle.index.chain.append(transaction, data)
        self._size += len(data)
        self._data.append(data)
        if self._size > _IN_MEMORY_BYTES:
            self._data.clear()
        self.head = transaction.head

    def commit(self) -> None:
        """All of them durable. More than fits in memory comes to the journal from the index, as after a crash."""
        handle, data = self._handle, b"".join(self._data) if self._size <= _IN_MEMORY_BYTES else b""
        if data:
            with handle.watching_syncs():
                handle.journal.prepare(self.first, len(data))
        commit_rows(handle, data)
        if self._size and not data:
            recover.level(handle)


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
        with _all_or_none(handle, series):
            yield series
    finally:
        handle.writer.release()


@contextmanager
def at_once(handle: Handle) -> Iterator[Series]:
    """As `together`, for who has the writer lock already and is quick: what was seen before goes on to hold."""
    series = Series(handle, begun(handle))
    with _all_or_none(handle, series):
        yield series
    if series.head.next_seq > series.first:
        leave(handle, series.head)


@contextmanager
def _all_or_none(handle: Handle, series: Series) -> Iterator[None]:
    try:
        yield
        series.commit()
    except BaseException:
        roll_back(handle)
        handle.index.lookups.forget()  # it may remember transactions that never were
        raise
