"""Breaks every invariant once, in a process where they are checked, and says what came of it: for test_invariants."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import holdfast
from holdfast import Store
from holdfast.blobs.packs.kept import KeptFrames
from holdfast.blobs.packs.unsynced import Unsynced
from holdfast.engine.transaction import Unit
from holdfast.errors import ContractViolationError
from holdfast.formats.pack import Spot
from holdfast.index.select.making import Maker
from holdfast.index.tables import STATE_KEPT
from holdfast.kinds import clauses
from holdfast.values.change import Head
from holdfast.values.records import RunStatus, Step

EARLY = datetime(1999, 1, 1, tzinfo=UTC)


def reopened(store: Store) -> object:
    with holdfast.memory() as other:
        handle = other._handle
    assert other.id
    handle._dead = ""
    return other.id


def goes_back(store: Store) -> object:
    store.put("written", "by this handle")
    assert store.id
    seen = vars(store._handle)["_seen"]["end"]
    seen["at"] += 1000
    try:
        return store.id
    finally:
        seen["at"] -= 1000


def moves(store: Store) -> object:
    with store.at(2) as view:
        assert view.seq == 2
        view._handle.seq = 3
        try:
            return view.seq
        finally:
            view._handle.seq = 2


def ends_before_it_began(store: Store) -> object:
    with store.transaction() as unit:
        assert isinstance(unit, Unit)
        after, unit.after = unit.after, Head(1, b"x" * 32)
        try:
            return unit.next_seq
        finally:
            unit.after = after


def reads_again(store: Store) -> object:
    consumer = store.outbox.create("books")
    with consumer.take() as lease:
        lease.ack(lease.read(2)[-1])
        lease._held._seq = 0
        return lease.read(1)


def keeps_too_much(store: Store) -> object:
    pool = KeptFrames(100)
    pool.put(Spot("a", 0, 10, 1, 5), b"x" * 60)
    pool._bytes = 7
    return pool.get(Spot("a", 0, 10, 1, 5))


def out_of_order(store: Store) -> object:
    waits = Unsynced()
    waits.wrote(0, b"12", keep=True)
    waits.wrote(2, b"34", keep=True)
    waits._parts.reverse()
    return waits.to_keep()


def spoilt_row(store: Store) -> object:
    """As if a row said that a revision has the number 0: found when the record is made of it, in a public call."""
    rows = store._handle.index.artifacts
    history = rows.history

    def spoilt(*args: Any, **named: Any) -> Any:
        assert history(*args, **named)
        lookups = store._handle.index.lookups
        row = (1, 1, 0, 0, 0, None, None, 0, None, None, None, None, STATE_KEPT, 0, 0, b"x" * 32, 5)
        return [Maker(lookups).revision("id", row, None, lookups.written(1))]

    rows.history = spoilt  # type: ignore[method-assign]
    try:
        return store.artifacts.revisions("a")
    finally:
        del rows.history


def with_(record: Any, **said: Any) -> Callable[[Store], object]:
    return lambda store: dataclasses.replace(record(store), **said)


def entry(store: Store) -> Any:
    return transaction(store).entry


def transaction(store: Store) -> Any:
    return store._handle.index.chain.at(1)


BREAKS: dict[str, list[Callable[[Store], object]]] = {
    "V-1": [reopened],
    "V-2": [goes_back],
    "V-3": [moves],
    "V-4": [ends_before_it_began],
    "V-5": [reads_again],
    "V-6": [keeps_too_much],
    "V-7": [out_of_order],
    "V-8": [with_(lambda s: s.get("a").revision, **said)
            for said in ({"number": 0}, {"size": -1}, {"seq": 0}, {"digest": "md5:1"})] + [spoilt_row],
    "V-9": [with_(lambda s: s.get("a"), id="other"), with_(lambda s: s.get("a"), name_bytes=b"b")],
    "V-10": [with_(lambda s: s.collections.get("c"), parent_id=None)],
    "V-11": [with_(record, updated_at=EARLY)
             for record in (lambda s: s.get("a"), lambda s: s.collections.get("c"), lambda s: next(s.runs.find()),
                            lambda s: next(s.relationships.find()))],
    "V-12": [with_(lambda s: next(s.runs.find()), ended_at=0, status=RunStatus.PROCESSING),
             with_(lambda s: next(s.runs.steps(next(s.runs.find()))), ended_at=0)],
    "V-13": [with_(lambda s: next(iter(s.changes.list())), seq=0)],
    "V-14": [with_(entry, first=0), with_(entry, count=0), with_(entry, root=b""), with_(entry, prev=b"")],
    "V-15": [with_(transaction, bodies=()), with_(transaction, salt=b"")],
}  # fmt: skip


def main() -> None:
    with holdfast.memory(actor="Ada") as store:
        one = store.put("a", "1").artifact
        store.put("long", b"x" * 77_777)
        store.collections.create("c")
        store.relationships.relate(one, "supports", "long")
        run = store.runs.create("r")
        assert isinstance(store.runs.add_step(run, "s"), Step)
        for number, breaks in BREAKS.items():
            for one_break in breaks:
                clauses._said.clear()
                before = store.changes.head().next_seq
                try:
                    one_break(store)
                    said: Any = None
                except ContractViolationError as error:
                    said = [error.fields["clause"], error.fields["part"], str(error)]
                notes = [one.note for one in store.changes.list(since_seq=before) if one.note]
                sys.stdout.write(json.dumps([number, said, notes]) + "\n")
        store._handle.read_only = True
        try:
            spoilt_row(store)
        except ContractViolationError as error:
            sys.stdout.write(json.dumps(["read-only", [error.fields["clause"], error.fields["part"], ""], []]) + "\n")


if __name__ == "__main__":
    main()
