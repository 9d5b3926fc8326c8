"""The unit of work: changes that are wholly there or wholly absent, in index and journal alike.

Order of the durable steps (DESIGN, section 3):
1. content is staged, no lock held            (content.py); what is small only when it is published
2. the writer lock; BEGIN IMMEDIATE; index and journal are seen to be level (recover.found_level). If they are not, the
   transaction is given up, they are made so (recover.level), and it begins again
3. the kinds read, check their rules and make changes
4. staged content is published: names durable, then its row
5. changes are applied by the reducers; the transaction is appended to the index's chain; COMMIT
6. the same bytes are appended to the journal, for which space was claimed before COMMIT
7. unlock
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from holdfast.engine import chunk_rows, recover, tenancy
from holdfast.engine.commit import commit_rows, leave, roll_back
from holdfast.engine.content import Incoming, stage_durably
from holdfast.engine.handle import Handle
from holdfast.errors import (
    BlobMissingError,
    ConflictError,
    HoldfastError,
    TransactionReusedError,
)
from holdfast.formats import lines
from holdfast.values import moment
from holdfast.values.bodies import encode, encode_all
from holdfast.values.change import Actor, Body, Entry, Head, Transaction, root_of
from holdfast.values.newcomers import Newcomers

if TYPE_CHECKING:
    from holdfast.blobs.contract import BlobStat
    from holdfast.index.physical import Place

_active = threading.local()


class Unit:
    """An open transaction. Kinds read through the index (and see its changes), and call `change` and `publish`.

    `before`, `after`: the end of the chain without it, and with it once it is committed.
    """

    def __init__(self, handle: Handle, head: Head, *, tx: str, note: str, actor: Actor | None = None) -> None:
        """`actor`: who writes, if that is not whoever opened the store."""
        self.handle = handle
        self.actor = actor or handle.actor
        self.tx = tx
        self.note = note
        self.now_us = max(handle.clock.now_us(), head.time_us)
        self.before = self.after = head
        self._bodies: list[bytes] = []
        self._awaiting_rows: dict[str, BlobStat] = {}
        self._depth = 0
        self.fresh: set[str] = set()
        """Digests of staged contents that are known to have no row (content.stage_together)."""

    @property
    def next_seq(self) -> int:
        """The seq that the next change gets."""
        return self.before.next_seq + len(self._bodies)

    @property
    def changes(self) -> int:
        """How many changes there are so far."""
        return len(self._bodies)

    def change(self, body: Body) -> int:
        """Apply a change at once; its seq. Rows are visible to this thread only until COMMIT."""
        (body,) = self._bound([self._noted(body)])
        seq = self.next_seq
        encoded = encode(body)
        self.handle.index.apply(seq, body)
        self._bodies.append(encoded)
        self._place([body])
        return seq

    def change_all(self, bodies: Sequence[Body]) -> int:
        """Apply changes that do not depend on one another's rows: as `change` for each, in less time.

        The seq of the first; the others follow.
        """
        if self.note:
            bodies = [self._noted(body) for body in bodies]
        bodies = self._bound(bodies)
        encoded = encode_all(bodies)
        first = self.next_seq
        self.handle.index.apply_all(first, bodies)
        self._bodies += encoded
        self._place(bodies)
        return first

    def _bound(self, bodies: Sequence[Body]) -> Sequence[Body]:
        """The changes with the tenant that they belong to; before a tenant's first one its root is made."""
        root = tenancy.root_first(self.handle, bodies, self.now_us) if self.handle.tenant and bodies else None
        if root is not None:
            self.handle.index.apply(self.next_seq, root)
            self._bodies.append(encode(root))
        return tenancy.bound(self.handle, bodies)

    def _noted(self, body: Body) -> Body:
        return {**body, "note": self.note} if self.note and "note" not in body else body

    def _place(self, bodies: Sequence[Body]) -> None:
        """Rows for published content, now that changes speak of it."""
        if not self._awaiting_rows:
            return
        spoken: Iterable[str] = (body.get("new", {}).get("revision", {}).get("digest") for body in bodies)
        if isinstance(bodies, Newcomers):
            spoken = bodies.digests
        stats = [self._awaiting_rows.pop(one) for one in spoken if one in self._awaiting_rows]
        chunk_rows.place_all(self.handle.index.physical, stats, self.handle.index.executor.resolved)

    def publish(self, incoming: list[Incoming]) -> None:
        """See to it that content is durable under its name, before the changes that speak of it are made."""
        wanted = self._absent(self._each_once(incoming))
        with self.handle.watching_syncs():
            for one in wanted:
                if one.staged is None:
                    if one.data is None:
                        raise BlobMissingError(f"no file holds {one.digest}", digest=one.digest)
                    one.staged = stage_durably(self.handle, one.data, one.digest)
            stats = self.handle.blobs.publish([one.staged for one in wanted if one.staged is not None])
        for one in wanted:
            one.staged = None
        self._awaiting_rows.update([(stat.digest, stat) for stat in stats])

    def _each_once(self, incoming: list[Incoming]) -> list[Incoming]:
        """One of each content that has not been published here; one that is staged, if any is."""
        first: dict[str, Incoming] = {}
        awaiting = self._awaiting_rows
        for one in incoming:
            digest = one.digest
            if digest in awaiting:
                continue
            other = first.get(digest)
            if other is None or (other.staged is None and one.staged is not None):
                first[digest] = one
        return [*first.values()]

    def _absent(self, incoming: list[Incoming]) -> list[Incoming]:
        """Those that no row says are here. Of most contents no change ever spoke, which a smaller query tells."""
        index = self.handle.index
        asked = {one.digest for one in incoming} - self.fresh
        if not asked:
            return incoming
        if len(asked) == 1 and index.physical.content_key(*asked) is None:
            index.executor.unspoken |= asked
            return incoming
        spoken = index.physical.spoken(asked)
        index.executor.unspoken |= asked - spoken
        places = index.physical.places(spoken)
        return [one for one in incoming if not self._present(places.get(one.digest))]

    def _present(self, place: Place | None) -> bool:
        """Whether a row says that content is here. A condemned one is looked at, and revived if it is sound."""
        if place is None:
            return False
        if place.condemned_us is not None:
            try:
                self.handle.blobs.verify(place.digest)
            except HoldfastError:
                return False
            self.handle.index.physical.revive(place.key)
        return True

    @contextmanager
    def nested(self) -> Iterator[None]:
        """A part that can fail by itself: an exception undoes the part and passes on."""
        self._depth += 1
        depth, mark, awaiting = self._depth, len(self._bodies), dict(self._awaiting_rows)
        index = self.handle.index
        index.savepoint(depth)
        try:
            yield
        except BaseException:
            index.rollback_to(depth)
            del self._bodies[mark:]
            self._awaiting_rows = awaiting
            raise
        else:
            index.release(depth)
        finally:
            self._depth -= 1

    def seal(self) -> Transaction:
        """The transaction as it enters the chain."""
        salt = os.urandom(16)
        bodies = tuple(self._bodies)
        entry = Entry(
            tx=self.tx,
            first=self.before.next_seq,
            count=len(bodies),
            time_us=self.now_us,
            actor=self.actor,
            root=root_of(salt, bodies),
            prev=self.before.hash,
            store=self.handle.marker.store_id if self.before.next_seq == 1 else "",
        )
        return Transaction(entry, salt, bodies)


def current(handle: Handle) -> Unit | None:
    """The transaction that this thread has open on this store."""
    units: dict[int, Unit] = getattr(_active, "units", {})
    return units.get(id(handle))


def write(
    handle: Handle, *, tx: str | None = None, note: str = "", what: str = "write", wait_s: float | None = None
) -> AbstractContextManager[Unit]:
    """Work in a transaction: the one this thread has open (as a nested part), or a new one that commits at the end.

    On return of the outermost block its changes survive kill -9 and power loss. An exception leaves nothing behind
    but unreferenced blobs. Raises LockedError, NoSpaceError, StorageIOError, TransactionReusedError if `tx` was
    committed before, and whatever the block raises. `wait_s`: for the lock, where that is not as the store was opened.
    """
    unit = current(handle)
    if unit is not None:
        return _within(unit, tx)
    return _Outermost(handle, tx, note, what, handle.wait_s if wait_s is None else wait_s)


@contextmanager
def _within(unit: Unit, tx: str | None) -> Iterator[Unit]:
    """A part of the transaction that this thread has open."""
    unit.handle.writable()
    if tx is not None and tx != unit.tx:
        raise ConflictError(
            "a transaction id inside an open transaction", tx=tx, remedy="Give the id to the outermost transaction."
        )
    with unit.nested():
        yield unit


class _Outermost:
    """A transaction of its own. A plain class: generators would cost a small put some twentieth of its time."""

    __slots__ = ("_handle", "_note", "_opened", "_tx", "_wait_s", "_what")

    def __init__(self, handle: Handle, tx: str | None, note: str, what: str, wait_s: float) -> None:
        self._handle = handle
        self._tx = tx
        self._note = note
        self._what = what
        self._wait_s = wait_s

    def __enter__(self) -> Unit:
        handle = self._handle
        handle.may_write()
        handle.writer.acquire(self._what, wait_s=self._wait_s)
        try:
            self._opened = opened(_begin(handle, self._tx, self._note))
            return self._opened.__enter__()
        except BaseException:
            handle.writer.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                if kind is None:
                    _commit(self._opened.unit)
            finally:
                self._opened.__exit__(kind, error, trace)
        except BaseException:
            roll_back(self._handle)
            raise
        else:
            if kind is not None:
                roll_back(self._handle)
        finally:
            self._handle.writer.release()


class opened:  # noqa: N801 - it is called like a function
    """This thread works in a transaction: what reads and writes here finds it."""

    __slots__ = ("unit",)

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def __enter__(self) -> Unit:
        unit = self.unit
        _units()[id(unit.handle)] = unit
        unit.handle.index.lookups.open_transaction(unit.next_seq, unit.now_us, unit.actor.name)
        return unit

    def __exit__(self, *_: object) -> None:
        del _units()[id(self.unit.handle)]
        self.unit.handle.index.lookups.close_transaction()


def _units() -> dict[int, Unit]:
    if not hasattr(_active, "units"):
        _active.units = {}
    units: dict[int, Unit] = _active.units
    return units


def _begin(handle: Handle, tx: str | None, note: str) -> Unit:
    head = begun(handle)
    try:
        if tx is not None and handle.index.chain.find(tx) is not None:
            raise TransactionReusedError(f"transaction {tx} was committed before", tx=tx)
    except BaseException:
        roll_back(handle)
        raise
    return Unit(handle, head, tx=tx or moment.draw_id(handle.clock.now_us()), note=note)


def begun(handle: Handle) -> Head:
    """Begin in the index, which is seen to be level with the journal; the end of the chain. Under the writer lock."""
    handle.writable()  # another thread may have poisoned or closed it while we waited
    index = handle.index
    index.begin()
    try:
        head = recover.found_level(handle)
        if head is None:
            index.rollback()
            head = recover.level(handle)
            index.begin()
        index.sights.carry()
    except BaseException:
        roll_back(handle)
        raise
    return head


def _commit(unit: Unit) -> None:
    handle = unit.handle
    data = b""
    transaction = unit.seal() if unit.changes else None
    if transaction is not None:
        data = lines.encode(transaction)
        with handle.watching_syncs():
            handle.journal.prepare(transaction.entry.first, len(data))
        handle.index.chain.append(transaction, data)
    commit_rows(handle, data)
    if transaction is not None:
        unit.after = transaction.head
        leave(handle, unit.after)
