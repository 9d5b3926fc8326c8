"""Small puts that wait for the same lock are made together: whoever gets it makes those of all, with one COMMIT.

Each is a transaction of its own, by its own actor, and decided in turn, as if they had come one after the other; an
order that cannot be carried out leaves nothing, and whoever left it is told to go the ordinary way, which says why.
All of them are durable before any call returns. Who finds the lock free goes the ordinary way, and meets none of this.

The algorithm: flat combining (engine/queueing.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.engine import content, together
from holdfast.engine.content import Incoming, Source
from holdfast.engine.handle import Handle
from holdfast.engine.queueing import ANSWERED, MOST_BYTES, POSTED, Order, Queue, Seat
from holdfast.engine.together import Series
from holdfast.engine.transaction import current
from holdfast.errors import HoldfastError, LockedError
from holdfast.index.select.sight import Folder
from holdfast.kinds import addresses, ambient, media, repeats, revising
from holdfast.kinds.addresses import ArtifactRef
from holdfast.kinds.revising import Description, Maker
from holdfast.values import moment, names
from holdfast.values.change import Actor
from holdfast.values.moment import SystemClock
from holdfast.values.records import PutResult

if TYPE_CHECKING:
    from holdfast.engine.transaction import Unit

MOST_TOGETHER = 24
"""Puts that one COMMIT makes durable, at most: the first of them waits for the last."""

_LOOK_S, _LOOK_SELDOM_S, _LONG_S = 0.004, 0.02, 2.0
"""So often one who waits looks whether the lock is free, and so seldom once somebody makes its put, or after so long:
it is woken as soon as there is something to see, unless that one has died."""

_LENGTH_BYTES = 4


@dataclass(slots=True)
class Wanted:
    """A put as it was asked for. `run`: that it is made in; `is_new`: nobody can have tried its transaction before."""

    path: str | bytes
    said: Description
    expect: int | None
    actor: Actor
    tx: str
    incoming: Incoming
    run: str | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Undone:
    """The ordinary way is to be gone, with this transaction id: it may be one that was committed."""

    tx: str | None


def put(
    handle: Handle, path: ArtifactRef, source: Source, said: Description, *, expect: int | None, tx: str | None
) -> PutResult | Undone:  # fmt: skip
    """Make a put together with others, if it is one that can be, and others write just now; else it is undone.

    Raises what the put raises, LockedError if nobody took it in time. Durable when it returns.
    """
    queue = _queue(handle)
    wanted = None if queue is None else _wanted(handle, path, source, said, expect, tx)
    order = None if wanted is None else _encoded(wanted, handle.marker.store_id)
    if queue is None or wanted is None or order is None:
        return Undone(tx)
    if handle.writer.acquire_now("put"):
        return _lead(handle, queue, wanted)
    seat = queue.seat()
    if seat is None:
        return Undone(tx)
    try:
        return _wait(handle, queue, seat, wanted, order)
    finally:
        seat.withdraw()
        queue.leave(seat)


def _queue(handle: Handle) -> Queue | None:
    if handle.keeper.blobs is None and not handle.index.is_far:
        return None
    if handle.tenant is not None or type(handle.clock) is not SystemClock:
        return None
    return None if current(handle) is not None else handle.writer.queue.get()


def _wanted(
    handle: Handle, path: ArtifactRef, source: Source, said: Description, expect: int | None, tx: str | None
) -> Wanted | None:  # fmt: skip
    if isinstance(source, str) and len(source) < MOST_BYTES:
        source = content.utf8(source)
    if not isinstance(source, bytes) or not 0 < len(source) < MOST_BYTES or said.file is not None:
        return None
    if not isinstance(path, (str, bytes)) or addresses.as_id(path) is not None:
        return None
    if tx is not None and handle.index.chain.find(tx) is not None:
        return None
    handle.writable()
    drawn, run = tx or moment.draw_id(handle.clock.now_us()), said.run or ambient.current_run(handle)
    return Wanted(path, said, expect, handle.actor, drawn, content.held(source), run, is_new=tx is None)


# -- one who waits -----------------------------------------------------------------------------------------------------


def _wait(handle: Handle, queue: Queue, seat: Seat, wanted: Wanted, order: bytes) -> PutResult | Undone:
    seat.post(order)
    began = time.monotonic()
    while True:
        is_soon = seat.state() == POSTED and time.monotonic() - began < _LONG_S
        seat.wait(_LOOK_S if is_soon else _LOOK_SELDOM_S)
        if seat.state() == ANSWERED:
            return _done(handle, wanted, seat.answer())
        if handle.writer.acquire_now("put"):
            if seat.withdraw():
                return _lead(handle, queue, wanted)
            handle.writer.release()
            if seat.state() == ANSWERED:
                return _done(handle, wanted, seat.answer())
            seat.give_up()  # whoever had taken it has died, or could not say
            return Undone(wanted.tx)
        if time.monotonic() - began > handle.wait_s and seat.withdraw():
            try:
                handle.writer.acquire("put", wait_s=0.0)
            except LockedError as error:
                error.fields["waited_s"] = handle.wait_s
                raise
            return _lead(handle, queue, wanted)


def _done(handle: Handle, wanted: Wanted, answer: bytes) -> PutResult | Undone:
    """The result of a put that somebody else has made: of a new artifact all is known, others are read."""
    handle.writer.meet()
    found = _read(answer)
    if found.get("tx") != wanted.tx:
        return Undone(wanted.tx)  # refused; or whoever shares this memory took the seat for one of the dead
    if not found["folder"]:
        return repeats.put_before(handle, wanted.tx, wanted.path, wanted.incoming)
    above, name = addresses.split(wanted.path)
    folder = Folder(above, names.join(above), names.join_raw(above), found["folder"])
    incoming, said = wanted.incoming, wanted.said
    media_type = said.media_type or media.detect(name.text, incoming.head)
    body = revising.creation(found["id"], folder.id, name, incoming, said, media_type, run=wanted.run)
    artifact = revising.made(Maker(found["seq"], found["time"], wanted.actor.name), folder, name, body)
    return PutResult(artifact, created=True, changed=True, left_out=revising.left_out(artifact, incoming.size))


def _read(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# -- one who has the lock ----------------------------------------------------------------------------------------------


def _lead(handle: Handle, queue: Queue, own: Wanted) -> PutResult | Undone:
    """Make one's own put and those of all who wait. The lock is given back."""
    taken: list[Order] = []
    answers: dict[int, bytes] = {}
    mine: list[PutResult | HoldfastError | None] = []
    try:
        with together.at_once(handle) as series:
            more = queue.take(MOST_TOGETHER - 1)
            taken += more
            _make(handle, series, [(own, lambda result, _: mine.append(result)), *_asked(handle, more, answers)])
            while len(taken) < MOST_TOGETHER and (more := queue.take(MOST_TOGETHER - len(taken))):
                taken += more
                _make(handle, series, _asked(handle, more, answers))
    except BaseException:
        answers.clear()
        raise
    finally:
        try:
            if taken:
                handle.writer.meet()
                queue.answer([(order.seat, answers.get(order.seat, b"")) for order in taken])
        finally:
            handle.writer.release()
            queue.call()
    (result,) = mine
    if isinstance(result, HoldfastError):
        raise result
    return Undone(own.tx) if result is None else result


Told = Callable[[PutResult | HoldfastError | None, "Unit | None"], None]
"""Gets what became of an order: the result, the error, or None for a transaction that was there before; and in what."""


def _telling(answers: dict[int, bytes], seat: int, tx: str) -> Told:
    """Writes the answer for somebody else."""

    def tell(result: PutResult | HoldfastError | None, unit: Unit | None) -> None:
        if unit is not None and isinstance(result, PutResult) and result.changed:
            answers[seat] = _answer(tx, result, unit)

    return tell


def _answer(tx: str, result: PutResult, unit: Unit) -> bytes:
    """Of a new artifact all is said that only the transaction knows, in which it is the last change."""
    made = result.artifact
    said = {"tx": tx, "id": made.id, "seq": unit.next_seq - 1, "time": unit.now_us}
    return json.dumps(said | {"folder": made.collection_id if result.created else ""}).encode()


def _asked(handle: Handle, orders: Sequence[Order], answers: dict[int, bytes]) -> list[tuple[Wanted, Told]]:
    found: list[tuple[Wanted, Told]] = []
    for order in orders:
        try:
            wanted = _decoded(order.data, handle.marker.store_id)
        except (ValueError, TypeError, KeyError):
            continue  # not to be read, or not for this store: who left it goes the ordinary way
        found.append((wanted, _telling(answers, order.seat, wanted.tx)))
    return found


def _make(handle: Handle, series: Series, orders: Sequence[tuple[Wanted, Told]]) -> None:
    for wanted, _ in orders:
        revising.foresee(handle, wanted.path, wanted.incoming.digest)
    fresh = content.stage_together(handle, [wanted.incoming for wanted, _ in orders])
    try:
        for wanted, told in orders:
            if not wanted.is_new and handle.index.chain.find(wanted.tx) is not None:
                told(None, None)
                continue
            try:
                with series.transaction(wanted.actor, tx=wanted.tx) as unit, unit.nested():
                    if wanted.incoming.staged is not None:
                        unit.fresh = fresh
                    made = revising.put_staged(unit, wanted.path, wanted.incoming, wanted.said, expect=wanted.expect)
            except HoldfastError as error:
                told(error, None)
            else:
                told(made, unit)
    finally:
        content.discard(handle, [wanted.incoming for wanted, _ in orders])


# -- as bytes ----------------------------------------------------------------------------------------------------------


def order(handle: Handle, path: str, content: bytes, *, expect: int | None = None) -> bytes | None:
    """What a put of content leaves for others; None if it cannot be left. For labs, which look at it step by step."""
    wanted = _wanted(handle, path, content, revising.describe({}), expect, None)
    return None if wanted is None else _encoded(wanted, handle.marker.store_id)


def _encoded(wanted: Wanted, store: str) -> bytes | None:
    said = {key: getattr(wanted.said, key) for key in _SAID} | {"run": wanted.run}
    if said["tags"] is not None:
        said["tags"] = list(said["tags"])
    head = {
        "path": wanted.path if isinstance(wanted.path, str) else None,
        "raw": wanted.path.hex() if isinstance(wanted.path, bytes) else "",
        "said": {key: value for key, value in said.items() if value is not None},
        "expect": wanted.expect, "actor": [wanted.actor.name, wanted.actor.kind], "tx": wanted.tx,
        "digest": wanted.incoming.digest, "new": wanted.is_new, "store": store,
    }  # fmt: skip
    text = json.dumps(head).encode()
    whole = len(text).to_bytes(_LENGTH_BYTES, "big") + text + (wanted.incoming.data or b"")
    return whole if len(whole) <= MOST_BYTES else None


_SAID = ("media_type", "metadata", "type", "status", "tags", "owner", "message", "source")


def _decoded(data: bytes, store: str) -> Wanted:
    """An order, looked at as what comes from elsewhere is: nothing is stored under a digest that it does not have."""
    start = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
    head, body = json.loads(data[_LENGTH_BYTES:start]), data[start:]
    path = bytes.fromhex(head["raw"]) if head["path"] is None else head["path"]
    incoming = content.held(body)
    if (incoming.digest, store) != (head["digest"], head["store"]):
        raise ValueError("an order of somebody else")
    return Wanted(
        path, Description(**head["said"]), head["expect"], Actor(*head["actor"]), head["tx"], incoming,
        is_new=head["new"],
    )  # fmt: skip
