"""The audit trail (G1, G2): every change of every record, in order, with who, when, before and after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Actor, Store
from holdfast.errors import ChainBrokenError, InvalidValueError, NotFoundError
from holdfast.testing.clock import FixedClock

Opener = Callable[..., Store]


def busy(store: Store) -> None:
    with store.transaction(note="two at once"):
        store.put("c/a", b"1")
        store.put("c/b", b"2")
    store.put("c/a", b"3")
    store.artifacts.update("c/b", status="done")
    store.artifacts.delete("c/b")
    store.relationships.relate("c/a", "supports", store.collections.get("c"))


def test_each_change_says_what_who_when_and_in_which_transaction(opener: Opener, clock: FixedClock) -> None:
    store = opener()
    clock.advance(60)
    busy(store)
    changes = list(store.changes.list())

    assert [(c.kind, c.action) for c in changes] == [
        ("collection", "create"), ("collection", "create"), ("artifact", "create"), ("artifact", "create"),
        ("artifact", "revise"), ("artifact", "update"), ("artifact", "delete"), ("relationship", "create"),
    ]  # fmt: skip
    assert [c.seq for c in changes] == list(range(1, 9))
    assert {(c.actor, c.actor_kind) for c in changes} == {("Ada", "api")}
    assert {c.time for c in changes} == {store.get("c/a").created_at}
    assert [c.note for c in changes] == ["two at once"] * 4 + [""] * 4
    assert len({c.tx for c in changes[:4]}) == 1
    assert len({c.tx for c in changes}) == 5
    assert (changes[5].before, changes[5].after) == ({"status": "active"}, {"status": "done"})
    assert changes[0].before is None
    assert changes[2].after is not None
    assert changes[2].after["name"] == "a"


def test_changes_are_asked_by_record_kind_action_actor_and_place(store: Store, root: str) -> None:
    busy(store)
    with holdfast.open(root, actor=Actor("cron", "schedule")) as other:
        other.put("c/a", b"4")
    record = store.get("c/a").id

    def seqs(**asked: Any) -> list[int]:
        return [change.seq for change in store.changes.list(**asked)]

    assert seqs(record=record) == [3, 5, 9]
    assert seqs(record=record, since_seq=4) == [5, 9]
    assert seqs(kind="collection") == [1, 2]
    assert seqs(action="create", kind="artifact") == [3, 4]
    assert seqs(actor="cron") == [9]
    assert seqs(since_seq=8) == [8, 9]
    assert seqs(since_seq=5) == [5, 6, 7, 8, 9]
    assert seqs(since_seq=4) == [4, 5, 6, 7, 8, 9], "in the middle of a transaction too"
    assert seqs(since_seq=10) == seqs(since_seq=10**6) == []
    assert seqs(limit=3) == [1, 2, 3]
    assert seqs(limit=0) == []
    assert seqs(kind="artifact", limit=2) == [3, 4]
    assert seqs(record=store.collections.get("c").id) == [2]


def test_a_record_that_is_not_there_has_no_changes_to_ask_for(store: Store) -> None:
    with pytest.raises(NotFoundError):
        list(store.changes.list(record="01987654-0000-7000-8000-000000000000"))
    with pytest.raises(InvalidValueError):
        list(store.changes.list(record="c/a"))


def test_the_trail_of_a_record_of_a_large_transaction_is_its_own(store: Store) -> None:
    with store.transaction():
        for n in range(300):
            store.put(f"{n}", b"x")
    for n in (0, 150, 299):
        (change,) = store.artifacts.log(f"{n}")
        assert change.after is not None
        assert change.after["name"] == str(n)


def test_the_head_proves_all_that_came_before_it_from_the_plain_lines(store: Store) -> None:
    busy(store)
    head = store.changes.head()
    (segment,) = Path(store.path, "journal").iterdir()
    previous = hashlib.sha256(b"holdfast chain of " + store.id.encode()).hexdigest()
    for line in segment.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "entry" in entry:
            assert entry["entry"]["prev"] == previous
            text = json.dumps(entry["entry"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert hashlib.sha256(text.encode()).hexdigest() == entry["hash"]
            previous = entry["hash"]
    assert (previous, head.next_seq) == (head.hash.hex(), 9)


def test_a_transaction_that_was_altered_in_the_index_is_not_told_as_true(store: Store) -> None:
    busy(store)
    database = store._handle.index.database
    data = bytearray(database.rows("SELECT data FROM tx WHERE first = 5")[0][0])
    data[len(data) // 2] ^= 1
    database.run("UPDATE tx SET data = ? WHERE first = 5", (bytes(data),))

    with pytest.raises(ChainBrokenError):
        list(store.changes.list())
    with pytest.raises(ChainBrokenError):
        list(store.artifacts.log("c/a"))


def test_reading_goes_on_while_others_write(store: Store) -> None:
    for n in range(5):
        store.put("a", str(n))
    seen = []
    for change in store.changes.list():
        seen.append(change.seq)
        if len(seen) < 10:
            store.put("a", f"again {len(seen)}")

    assert seen == sorted(set(seen))
    assert len(seen) >= 6
