"""The outbox: named consumers that get every change, in order, at least once, each with a cursor of its own."""

from __future__ import annotations

import builtins
import os
import re
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from holdfast.engine import outbox as engine
from holdfast.engine.handle import Handle
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.outbox import Scope
from holdfast.errors import ConflictError, HoldfastError, InvalidValueError, LockedError, NotFoundError
from holdfast.index.outbox import ConsumerRow, Key, OutboxRows
from holdfast.kinds import checks
from holdfast.values import moment
from holdfast.values.outbox import ATTEMPTS, LEASE_S, LONGEST_S, Consumed, ConsumerState, DeadLetter, Delivery

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_POLL_S = 1.0
_ACK_EVERY_S = 1.0
_LONGEST_PAUSE_S = 30.0
_MAX_LEASE_S = 7 * 24 * 3600.0
_STARTS = ("start", "now")


class Outbox:
    """`store.outbox`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def create(
        self, name: str, *, start: int | str = "start", tenant: str | None = None, attempts: int = ATTEMPTS
    ) -> Consumer:
        """A new consumer; durable when it returns. ConflictError if there is one of that name.

        `start`: "start": from the first change on, "now": only what comes, or the seq up to which all is handled
        already. `tenant`: only changes of its records; None: of all. `attempts`: how often a change is tried before
        it becomes a dead letter.
        """
        self._handle.writable()
        scope = self._scope(tenant)
        if not _NAME.fullmatch(checks.text_of(name, "name")):
            raise InvalidValueError(
                f"{name!r} cannot name a consumer", where="name", reason="name",
                remedy="Use 1 to 100 letters, digits, dots, - and _, beginning with a letter or digit.",
            )  # fmt: skip
        if type(attempts) is not int or not 1 <= attempts <= 1000:
            raise InvalidValueError(f"{attempts!r} attempts", where="attempts", reason="range",
                                    remedy="Give a whole number from 1 to 1000.")  # fmt: skip
        seq = self._seq(start)
        rows = _rows(self._handle)
        if not rows.create((scope.key, name), seq, engine.hash_at(self._handle, seq), attempts=attempts):
            raise ConflictError(f"there is a consumer {name!r}", reason="name",
                                remedy="Use it, choose another name, or drop that one.")  # fmt: skip
        return Consumer(self._handle, rows, (scope.key, name))

    def consumer(self, name: str, *, tenant: str | None = None) -> Consumer:
        """The consumer of a name. NotFoundError: it is never made by the way, for then changes could be missed."""
        self._handle.alive()
        key = self._scope(tenant).key, checks.text_of(name, "name")
        rows = _some_rows(self._handle)
        if rows is None or rows.get(key) is None:
            raise _unknown(name)
        return Consumer(self._handle, rows, key)

    def list(self, *, tenant: str | None = None) -> builtins.list[ConsumerState]:
        """All consumers, by name; with `tenant`, those that get only its changes."""
        self._handle.alive()
        rows = _some_rows(self._handle)
        scope = self._scope(tenant)
        if rows is None:
            return []
        return [_state(self._handle, rows, row) for row in rows.every(None if scope.tenant is None else scope.key)]

    def _scope(self, tenant: str | None) -> Scope:
        own = self._handle.tenant
        if own is not None and tenant not in (None, own):
            raise InvalidValueError("this handle is of one tenant", where="tenant", reason="tenant",
                                    remedy="Leave `tenant` out.")  # fmt: skip
        return Scope(own if own is not None else tenant if tenant is None else checks.text_of(tenant, "tenant"))

    def _seq(self, start: int | str) -> int:
        head = self._handle.index.chain.head() or self._handle.origin
        if start in _STARTS:
            return 0 if start == "start" else head.next_seq - 1
        if type(start) is not int or not 0 <= start < head.next_seq:
            raise InvalidValueError(
                f"a consumer cannot start after {start!r}", where="start", reason="range",
                remedy=f'Give "start", "now" or the seq of a change; the newest is {head.next_seq - 1}.',
            )  # fmt: skip
        return start


class Consumer:
    """A named consumer: its cursor, its lease, its dead letters."""

    def __init__(self, handle: Handle, rows: OutboxRows, key: Key) -> None:
        self._handle = handle
        self._rows = rows
        self._key = key

    @property
    def name(self) -> str:
        """Its name."""
        return self._key[1]

    def state(self) -> ConsumerState:
        """As it stands now. NotFoundError if it was dropped."""
        self._handle.alive()
        row = self._rows.get(self._key)
        if row is None:
            raise _unknown(self.name)
        return _state(self._handle, self._rows, row)

    def take(self, *, lease_s: float = LEASE_S, wait_s: float = 0.0) -> Lease:
        """The lease of this consumer, to read and acknowledge with; use it in a `with`.

        Who does nothing for `lease_s` seconds may lose it to another process. LockedError if another has it for longer
        than `wait_s` seconds, NotFoundError, CursorAstrayError if the store has not the change that it stands at.
        """
        self._handle.writable()
        if not 0.001 <= lease_s <= _MAX_LEASE_S:
            raise InvalidValueError(f"a lease of {lease_s} s", where="lease_s", reason="range",
                                    remedy="Give seconds, up to a week.")  # fmt: skip
        holder, lease_us, until = f"{os.getpid()}-{os.urandom(8).hex()}", int(lease_s * 1e6), time.monotonic() + wait_s
        while True:
            state = self.state()
            engine.demand_on_chain(self._handle, state.seq, bytes.fromhex(state.hash))
            row = self._rows.take(self._key, holder, lease_us)
            if row is not None:
                return Lease(self._handle, engine.Lease(self._handle, self._rows, row, lease_us))
            if time.monotonic() >= until:
                raise LockedError(
                    f"another process has the lease of consumer {self.name!r}", lock="outbox", holder=None,
                    waited_s=wait_s, remedy="Wait: the lease ends when it is given back, or runs out.",
                )  # fmt: skip
            time.sleep(min(0.05, lease_s))

    def run(
        self, handler: Callable[[Delivery], object], *, follow: bool = False, batch: int = 100,
        lease_s: float = LEASE_S, wait_s: float = 0.0, pause_s: float = 1.0, longest_s: float = LONGEST_S,
        stop: Callable[[], bool] = lambda: False,
    ) -> Consumed:  # fmt: skip
        """Call `handler` with each change, in order; what it raises is a failure of that change.

        A failure is tried again after `pause_s` seconds, then twice as long and so on up to 30 s; after `attempts` of
        them the change becomes a dead letter. `follow`: go on with what comes, until `stop()`; else the call ends when
        all is handled. What was handled is acknowledged once a second, and after every batch: after a kill those since
        the last time come again. The lease is renewed while `handler` is at work, for up to `longest_s` seconds a
        call; then it runs out. LeaseLostError, when another process took over.
        """
        handled = failures = dead = 0
        with self.take(lease_s=lease_s, wait_s=wait_s) as lease, lease.heartbeat(longest_s) as beat:
            dead += lease.buried
            while not stop():
                some = lease.read(batch)
                if not some and not (follow and lease.wait(_POLL_S)):
                    if follow:
                        continue
                    break
                done, failed = _hand_over(lease, some, _beating(beat, handler), stop)
                handled += done
                if failed is not None:
                    failures += 1
                    if lease.fail(failed[0], failed[1]):
                        dead += 1
                    else:
                        time.sleep(min(pause_s * 2 ** (failed[0].attempt - 1), _LONGEST_PAUSE_S))
        return Consumed(handled, failures, dead)

    def letters(self) -> Iterator[DeadLetter]:
        """Its dead letters, in order of seq, in short reads."""
        self.state()
        after = 0
        while page := self._rows.letters(self._key, after=after):
            for one in page:
                dead_at = moment.to_datetime(one.dead_us)
                yield DeadLetter(one.seq, one.failures, one.reason, dead_at, bool(one.due))
            after = page[-1].seq

    def retry(self, *seqs: int) -> int:
        """Have dead letters tried again, by the next that reads; without `seqs` all of them. How many there were."""
        self._handle.writable()
        wanted = seqs or tuple(one.seq for one in self.letters())
        return sum(self._each(self._rows.retry, seq) for seq in wanted)

    def discard(self, *seqs: int) -> int:
        """Give dead letters up, by their seqs. How many there were; NotFoundError for one that is none."""
        self._handle.writable()
        return sum(self._each(self._rows.discard, seq) for seq in seqs)

    def _each(self, call: Callable[[Key, int], bool], seq: int) -> int:
        if not call(self._key, seq):
            raise NotFoundError(f"change {seq} is no dead letter of {self.name!r}", kind="dead letter", ref=str(seq))
        return 1

    def rewind(self, to: int | str) -> ConsumerState:
        """Put the cursor elsewhere: all up to the seq `to` counts as handled ("start", "now"). Who holds it loses it.

        Also the way on after the store was restored: CursorAstrayError says so.
        """
        self._handle.writable()
        seq = Outbox(self._handle)._seq(to)  # noqa: SLF001 - the same words
        if not self._rows.place(self._key, seq, engine.hash_at(self._handle, seq)):
            raise _unknown(self.name)
        return self.state()

    def drop(self) -> None:
        """No such consumer any more; its dead letters go too. NotFoundError."""
        self._handle.writable()
        if not self._rows.drop(self._key):
            raise _unknown(self.name)


class Lease:
    """The right to work for a consumer; made by `Consumer.take`. From one thread at a time."""

    def __init__(self, handle: Handle, held: engine.Lease) -> None:
        self._handle = handle
        self._held = held
        self._seen = handle.index.version()

    @property
    def token(self) -> int:
        """The fencing token: larger than of all who had the lease before. Hand it on to where results are written."""
        return self._held.token

    @property
    def buried(self) -> int:
        """Changes that became dead letters because whoever got them ended without a word, each time."""
        return self._held.buried

    def read(self, limit: int = 100) -> list[Delivery]:
        """What comes next, up to `limit`: due dead letters first, then the changes after the cursor, in order.

        Empty: there is nothing new. The lease is renewed. LeaseLostError, CursorAstrayError.
        """
        self._handle.alive()
        if type(limit) is not int or limit < 1:
            raise InvalidValueError(f"{limit!r} changes cannot be read", where="limit", reason="range")
        self._seen = self._handle.index.version()  # before reading: what comes meanwhile is not slept through
        return self._held.read(limit)

    def ack(self, delivery: Delivery) -> None:
        """This change is handled, and all before it. Durable when it returns. LeaseLostError: it is not."""
        self._handle.writable()
        self._held.ack(delivery)

    def fail(self, delivery: Delivery, reason: str = "") -> bool:
        """This change could not be handled; all before it must have been acknowledged. Whether it is a dead letter now.

        If not, it is what `read` gives next. `reason`: 200 characters are kept; a redaction forgets it.
        """
        self._handle.writable()
        return self._held.fail(delivery, reason)

    def renew(self) -> None:
        """Keep the lease for its whole time from now: for work that takes long. LeaseLostError."""
        self._handle.alive()
        self._held.renew()

    def keep(self) -> None:
        """Renew the lease if a third of its time has passed. LeaseLostError."""
        self._held.keep()

    def heartbeat(self, longest_s: float = LONGEST_S) -> Heartbeat:
        """Renews the lease by itself: `with lease.heartbeat() as beat:`, then `with beat.during():` around long work.

        It goes on for `longest_s` seconds at most each time. Nothing is raised there when the lease was lost: the next
        acknowledgement is refused.
        """
        if not 0 <= longest_s <= _MAX_LEASE_S:
            raise InvalidValueError(f"{longest_s} s for one change", where="longest_s", reason="range",
                                    remedy="Give seconds, up to a week.")  # fmt: skip
        return Heartbeat(self._held.renew, lease_s=self._held.lease_s, longest_s=longest_s)

    def wait(self, timeout_s: float) -> bool:
        """Until somebody commits who had not when `read` was called, `timeout_s` seconds at most; whether somebody did.

        The lease is renewed. An index in PostgreSQL tells; with one in a file a counter in memory is looked at.
        """
        self._handle.alive()
        self._held.renew()
        seen, self._seen = self._seen, self._handle.index.wait(self._seen, timeout_s)
        return seen != self._seen

    def release(self) -> None:
        """Give the lease back, so that others need not wait until it runs out."""
        self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _beating(beat: Heartbeat, handler: Callable[[Delivery], object]) -> Callable[[Delivery], object]:
    def handle(delivery: Delivery) -> object:
        with beat.during():
            return handler(delivery)

    return handle


def _hand_over(
    lease: Lease, some: list[Delivery], handler: Callable[[Delivery], object], stop: Callable[[], bool]
) -> tuple[int, tuple[Delivery, str] | None]:
    """How many were handled and acknowledged, and the one that failed, if one did."""
    handled, last, acked_at = 0, None, time.monotonic()
    for one in some:
        lease.keep()
        try:
            handler(one)
        except Exception as error:  # noqa: BLE001 - whatever a consumer raises is a failure of that change
            if last is not None:
                lease.ack(last)
            return handled, (one, _told(error))
        handled, last = handled + 1, one
        if one.again or time.monotonic() - acked_at >= _ACK_EVERY_S:
            lease.ack(one)
            last, acked_at = None, time.monotonic()
        if stop():
            break
    if last is not None:
        lease.ack(last)
    return handled, None


def _told(error: Exception) -> str:
    return error.code if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}"


def _rows(handle: Handle) -> OutboxRows:
    rows = engine.outboxes_of(handle).rows()
    assert rows is not None
    return rows


def _some_rows(handle: Handle) -> OutboxRows | None:
    return engine.outboxes_of(handle).rows(make=False)


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"there is no consumer {name!r}", kind="consumer", ref=name,
        remedy="`holdfast outbox list` names those there are; `holdfast outbox create` makes one.",
    )  # fmt: skip


def _state(handle: Handle, rows: OutboxRows, row: ConsumerRow) -> ConsumerState:
    head = handle.index.chain.head() or handle.origin
    return ConsumerState(
        name=row.name, tenant=Scope.of(row.scope).tenant, seq=row.seq, hash=row.hash.hex(),
        behind=max(0, head.next_seq - 1 - row.seq), attempts=row.attempts, failures=row.failures + row.deaths,
        letters=rows.count_letters((row.scope, row.name)), held=bool(row.holder) and row.until_us > rows.clock(),
        token=row.token, created_at=moment.to_datetime(row.made_us), moved_at=moment.to_datetime(row.moved_us),
    )  # fmt: skip
