"""Delivers committed changes to named consumers: in order, at least once, to one holder of a lease at a time.

A cursor is (seq, hash of its transaction), and stands beside the chain, never in it. Whoever reads proves first that
the chain still has that place: after a restore it may not. A holder that stalls keeps its lease until it runs out; who
takes it over gets a larger token (a fencing token), and nothing that names a smaller one is accepted any more.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.engine.handle import Handle
from holdfast.engine.recover import from_index
from holdfast.errors import CursorAstrayError, LeaseLostError
from holdfast.formats import marker, paths
from holdfast.index.outbox import ConsumerRow, Key, LetterRow, OutboxRows, outbox_file
from holdfast.values.outbox import Delivery
from holdfast.values.records import Change

SCANNED = 10_000
"""So many changes are looked at before a cursor is moved past those that its consumer does not want."""

CAREFUL = 1_000
"""So many changes go one by one to who takes over from a holder that ended without a word: one of them ended it."""

_REASON_CHARS = 200
_asking = threading.Lock()


class Outboxes:
    """The rows of the outbox of one open store, opened when first asked for."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._rows: OutboxRows | None = None
        self._guard = threading.Lock()

    def rows(self, *, make: bool = True) -> OutboxRows | None:
        """The rows; None if there are none and none are to be made."""
        with self._guard:
            if self._rows is None:
                handle, read_only = self._handle, self._handle.read_only or not make
                if marker.SERVED in handle.marker.features:
                    self._rows = handle.index.outbox()  # type: ignore[attr-defined]  # an index on a server has it
                else:
                    path = os.path.join(handle.root, paths.OUTBOX)
                    if not make and handle.disk.stat(path) is None:
                        return None
                    self._rows = outbox_file(path, handle.clock.now_us, read_only=handle.read_only)
                    assert self._rows is not None or read_only
            return self._rows

    def close(self) -> None:
        """The store is closed."""
        if self._rows is not None:
            self._rows.close()

    def abandon(self) -> list[object]:
        """In a forked child."""
        rows, self._rows = self._rows, None
        self._guard = threading.Lock()
        return [] if rows is None else rows.abandon()


def outboxes_of(handle: Handle) -> Outboxes:
    """Of an open store; they end with it."""
    with _asking:
        found = next((one for one in handle.companions if isinstance(one, Outboxes)), None)
        if found is None:
            found = Outboxes(handle)
            handle.companions.append(found)
        return found


def forget_reasons(handle: Handle) -> None:
    """Something was redacted: what consumers said about failures may speak of it."""
    rows = outboxes_of(handle).rows(make=False)
    if rows is not None:
        rows.forget_reasons()


def hash_at(handle: Handle, seq: int) -> bytes:
    """The hash that a cursor at `seq` has; CursorAstrayError if there is no such change."""
    if seq == 0:
        return handle.origin.hash
    found = handle.index.chain.hash_at(seq)
    if found is None:
        raise _astray(handle, seq, "ahead")
    return found


def demand_on_chain(handle: Handle, seq: int, known: bytes) -> None:
    """Raise CursorAstrayError unless the chain has this very place."""
    if hash_at(handle, seq) != known:
        raise _astray(handle, seq, "fork")


def _astray(handle: Handle, seq: int, reason: str) -> CursorAstrayError:
    head = handle.index.chain.head()
    newest = head.next_seq - 1 if head else 0
    told = f"the newest is {newest}" if reason == "ahead" else "the change with that number is another one"
    return CursorAstrayError(
        f"the consumer has handled changes up to {seq}, and in this store {told}",
        seq=seq, head_seq=newest, reason=reason,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose changes are wanted. `tenant`: None for all."""

    tenant: str | None = None

    @property
    def key(self) -> str:
        """As it stands in a row."""
        return "" if self.tenant is None else f":{self.tenant}"

    @staticmethod
    def of(key: str) -> Scope:
        """From a row."""
        return Scope(key[1:] if key else None)


class Lease:
    """The right to work for a consumer, held until it is given back or runs out."""

    def __init__(self, handle: Handle, rows: OutboxRows, row: ConsumerRow, lease_us: int) -> None:
        self.handle = handle
        self.token = row.token
        self._rows = rows
        self._key: Key = (row.scope, row.name)
        self._lease_us = lease_us
        self._seq, self._hash = row.seq, row.hash
        self._failures = row.failures + row.deaths
        self._attempts = row.attempts
        self._careful_to = row.seq + CAREFUL if row.deaths else 0
        self._scope = Scope.of(row.scope)
        self._renewed_at = time.monotonic()
        self.buried = 0
        if row.deaths >= row.attempts:
            self._bury_the_deadly(row)

    @property
    def lease_s(self) -> float:
        """For how long, in seconds, it is had each time."""
        return self._lease_us / 1e6

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, limit: int) -> list[Delivery]:
        """What comes next: first the dead letters that are to be tried again, then changes beyond the cursor.

        Empty: there is nothing new. Reading moves no cursor but past changes of other tenants.
        """
        self.renew()
        while letters := self._rows.letters(self._key, due=True, limit=limit):
            due = [one for one in map(self._again, letters) if one is not None]
            if due:
                return due
        if self._seq < self._careful_to:
            limit = 1
        demand_on_chain(self.handle, self._seq, self._hash)
        while True:
            found, passed = _scan(self.handle, self._seq, self._scope.tenant, limit)
            if found:
                first = found[0]
                return [Delivery(first.change, first.hash, self._failures + 1), *found[1:]]
            if passed is None:
                return []
            self._fenced(self._rows.advance, *passed)
            self._seq, self._hash = passed

    def _again(self, letter: LetterRow) -> Delivery | None:
        transaction = self.handle.index.chain.at(letter.seq)
        if transaction is None or transaction.entry.hash() != letter.hash:
            self._fenced(self._rows.settle, letter.seq)  # that change is not history any more
            return None
        change = transaction.changes()[letter.seq - transaction.entry.first]
        return Delivery(change, letter.hash, letter.failures + 1, again=True)

    # -- answering ---------------------------------------------------------------------------------------------------

    def ack(self, delivery: Delivery) -> None:
        """This change and all before it are handled; a dead letter: this one. Durable. LeaseLostError."""
        if delivery.again:
            self._fenced(self._rows.settle, delivery.seq)
            return
        self._fenced(self._rows.advance, delivery.seq, delivery.hash)
        self._moved(delivery.seq, delivery.hash)

    def fail(self, delivery: Delivery, reason: str) -> bool:
        """It could not be handled. Whether it is a dead letter now; else it is delivered again, before all after it.

        All before it count as handled. `reason` is kept beside a dead letter, in 200 characters at most.
        """
        letter = LetterRow(delivery.seq, delivery.hash, delivery.attempt, _short(reason), self._rows.clock(), 0)
        if delivery.again:
            self._fenced(self._rows.fail_again, letter)
            return True
        if delivery.attempt >= self._attempts:
            self._fenced(self._rows.bury, letter)
            self._moved(delivery.seq, delivery.hash)
            return True
        self._fenced(self._rows.failed)
        self._failures += 1
        return False

    def renew(self) -> None:
        """Hold the lease for its whole time from now. LeaseLostError."""
        self._fenced(self._rows.renew, self._lease_us)
        self._renewed_at = time.monotonic()

    def keep(self) -> None:
        """The same, if a third of its time has passed."""
        if (time.monotonic() - self._renewed_at) * 3e6 >= self._lease_us:
            self.renew()

    def release(self) -> None:
        """Give it back. Nothing happens if another has it by now."""
        self._rows.release(self._key, self.token)

    def _moved(self, seq: int, hash_: bytes) -> None:
        if seq > self._seq:
            self._seq, self._hash = seq, hash_
        self._failures = 0

    def _bury_the_deadly(self, row: ConsumerRow) -> None:
        """Whoever got the next change never came back, as often as it may be tried: on without it."""
        found, _ = _scan(self.handle, row.seq, self._scope.tenant, 1)
        for one in found:
            reason = "whoever worked on it ended without a word"
            letter = LetterRow(one.seq, one.hash, row.deaths, reason, self._rows.clock(), 0)
            self._fenced(self._rows.bury, letter)
            self._moved(one.seq, one.hash)
            self.buried += 1

    def _fenced(self, step: Callable[..., bool], *cells: object) -> None:
        """A step that does nothing under another token than ours."""
        if not step(self._key, self.token, *cells):
            raise LeaseLostError("the lease of this consumer ran out and another has it now", token=self.token)


def _short(reason: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in reason.encode("utf-8", "replace").decode())
    return clean[:_REASON_CHARS]


def _scan(
    handle: Handle, after: int, tenant: str | None, limit: int
) -> tuple[list[Delivery], tuple[int, bytes] | None]:
    """Up to `limit` wanted changes beyond a seq; where there are none, the end of what was looked at."""
    found: list[Delivery] = []
    passed: tuple[int, bytes] | None = None
    whose = functools.lru_cache(1_000)(handle.index.tenancy.of)
    for transaction in from_index(handle.index, after + 1):
        hash_ = transaction.entry.hash()
        for change in transaction.changes():
            if change.seq > after and (tenant is None or _tenant_of(change, whose) == tenant):
                found.append(Delivery(change, hash_))
                if len(found) >= limit:
                    return found, None
        passed = transaction.entry.next_seq - 1, hash_
        if not found and passed[0] - after >= SCANNED:
            break
    return found, passed


def _tenant_of(change: Change, whose: Callable[[str], str | None]) -> str:
    if change.action == "create":
        return str((change.after or {}).get("tenant", ""))
    return whose(change.id) or ""
