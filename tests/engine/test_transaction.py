"""All or nothing, in index and journal alike (law 3); nested parts; repeated transaction ids; many threads at once."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import (
    ConflictError,
    ExpectationError,
    HandleDeadError,
    InvalidInputError,
    InvalidNameError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
    ReadOnlyError,
    TransactionReusedError,
)
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.testing.clock import FixedClock
from holdfast.values import moment

Opener = Callable[..., Store]
RowsOf = Callable[[Store], dict[str, list[tuple[Any, ...]]]]


def journal(store: Store) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(Path(store.path, "journal").glob("*.jsonl")))


def in_journal(store: Store) -> list[str]:
    return [item.transaction.entry.tx for _, item in store._handle.journal.scan() if isinstance(item, Located)]


def in_index(store: Store) -> list[str]:
    return [lines.decode(data, "index").entry.tx for data in store._handle.index.chain.read()]


class OopsError(Exception):
    """What the tests interrupt transactions with."""


def test_a_transaction_is_one_entry_of_the_chain_in_index_and_journal_to_the_byte(store: Store) -> None:
    with store.transaction(note="why"):
        store.put("a", b"1")
        store.put("b", b"2")
        store.artifacts.delete("a")
    store.put("c", b"3")

    assert len(in_journal(store)) == 2
    assert b"".join(store._handle.index.chain.read()) == journal(store)
    changes = list(store.changes.list())
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    assert len({change.tx for change in changes[:-1]}) == 1
    assert {change.note for change in changes[:-1]} == {"why"}
    assert store.changes.head().next_seq == len(changes) + 1


@pytest.mark.parametrize("interruption", [OopsError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_leaves_no_change_in_index_or_journal(
    store: Store, rows_of: RowsOf, interruption: type[BaseException]
) -> None:
    store.put("kept", b"0", metadata={"n": 1}, tags=["t"])
    rows, written = rows_of(store), journal(store)

    with pytest.raises(interruption), store.transaction():
        store.put("kept", b"1", tags=["u"], type="model")
        store.put("deep/er/new", b"2")
        store.artifacts.rename("kept", "renamed")
        store.artifacts.delete("renamed")
        raise interruption

    assert rows_of(store) == rows
    assert journal(store) == written
    assert store.read("kept") == b"0"
    assert os.listdir(Path(store.path, "tmp")) == []
    assert store.put("deep/er/new", b"2").created


def test_what_a_transaction_has_done_is_seen_inside_it_and_by_nobody_else(store: Store) -> None:
    def outside() -> list[str]:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: [one.path for one in store.find(order="name")]).result()

    with store.transaction():
        store.put("b/new", b"1", tags=["t"], metadata={"n": 7})
        store.artifacts.rename("b/new", "newer")
        made = store.get("b/newer")
        assert (made.tags, made.metadata, made.revision.actor) == (("t",), {"n": 7}, "Ada")
        assert store.read("b/newer") == b"1"
        assert [one.path for one in store.find(holdfast.field("created") >= made.created_at)] == ["b/newer"]
        assert [one.path for one in store.find(holdfast.field("updated") <= made.updated_at)] == ["b/newer"]
        assert [one.path for one in store.find(holdfast.field("metadata.n") == 7, tag="t")] == ["b/newer"]
        assert list(store.artifacts.log("b/newer")) == [], "it is in no chain yet"
        assert outside() == []

    assert outside() == ["b/newer"]
    assert [change.action for change in store.artifacts.log("b/newer")] == ["create", "update"]


def test_a_nested_part_that_fails_is_undone_alone(store: Store, rows_of: RowsOf) -> None:
    with store.transaction():
        store.put("a", b"1")
        with pytest.raises(OopsError), store.transaction():
            store.put("b", b"2", type="new type")
            store.put("a", b"1, changed")
            with store.transaction():
                store.put("c", b"3")
            raise OopsError
        store.put("d", b"4", type="new type")
        with store.transaction():
            store.put("e", b"5")
            with pytest.raises(NameTakenError):
                store.create("a", b"6")
    paths = [one.path for one in store.find(order="name")]

    assert paths == ["a", "d", "e"]
    assert [store.read(path) for path in paths] == [b"1", b"4", b"5"]
    assert len(in_journal(store)) == 1
    rows = rows_of(store)
    assert [key for key, *_ in rows["record"]] == [1, 2, 3, 4], "numbers of what was undone are given again"
    root = store.path
    store.close()
    os.unlink(root / "index.sqlite3")
    with holdfast.open(root) as again:
        assert rows_of(again) == rows


def test_content_that_a_failed_part_brought_can_be_put_by_the_next(store: Store) -> None:
    with store.transaction():
        for _ in range(2):
            with pytest.raises(OopsError), store.transaction():
                store.put("x", b"the same")
                raise OopsError
        store.put("y", b"the same")

    assert store.read("y") == b"the same"
    assert store._handle.index.physical.place(store.get("y").digest) is not None


def test_a_call_that_fails_inside_a_transaction_does_not_spoil_what_was_done_before_it(store: Store) -> None:
    with store.transaction():
        store.put("a", b"1")
        for bad in (
            lambda: store.put("a", b"2", expect=7),
            lambda: store.create("a", b"2"),
            lambda: store.put("a", b"2", run="no such run"),
            lambda: store.put("new/a", b"2", metadata={"x": float("nan")}),
            lambda: store.artifacts.move("a", "nowhere"),
        ):
            with pytest.raises((ConflictError, InvalidInputError, NotFoundError)):
                bad()

    assert [(one.path, one.number) for one in store.find()] == [("a", 1)]
    assert [c.path for c in store.collections.list("", recursive=True)] == []


def test_a_transaction_without_changes_leaves_no_trace(store: Store) -> None:
    store.put("a", b"1")
    before = journal(store), store.changes.head()

    with store.transaction():
        assert not store.put("a", b"1").changed

    assert (journal(store), store.changes.head()) == before


# -- repeated ids ------------------------------------------------------------------------------------------------------


def test_a_put_that_is_repeated_with_its_transaction_id_gives_its_first_result(store: Store) -> None:
    tx = moment.draw_id(1)
    first = store.put("a", b"1", tx=tx)
    store.put("a", b"2")
    again = store.put("a", b"1", tx=tx)

    assert (again.created, again.changed) == (first.created, first.changed)
    assert again.revision == first.revision
    assert store.get("a").number == 2, "nothing was done"

    second = moment.draw_id(1)
    revised = store.put("a", b"3", expect=2, tx=second)
    assert store.put("a", b"3", expect=2, tx=second) == revised, "the expectation was met then"
    made = store.create("new", b"4", tx=(third := moment.draw_id(1)))
    assert store.create("new", b"4", tx=third) == made
    assert len(in_journal(store)) == 4


def test_a_repeated_put_gives_its_result_after_a_restart_and_a_rebuild(root: str) -> None:
    tx = moment.draw_id(1)
    with holdfast.create(root) as store:
        first = store.put("a", b"1", tx=tx)
    os.unlink(Path(root, "index.sqlite3"))

    with holdfast.open(root) as store:
        assert store.put("a", b"1", tx=tx).revision == first.revision


def test_a_repeated_put_gives_its_result_wherever_the_artifact_has_gone_since(store: Store) -> None:
    store.create("c/elsewhere", b"")
    ids = [moment.draw_id(number) for number in (1, 2, 3)]
    name = b"d/e/\xff"
    first, second = store.put(name, b"1", tx=ids[0]), store.put(name, b"2", tx=ids[1])
    third = store.put(name, b"2", tags=["x"], tx=ids[2])
    record = f"id:{first.artifact.id}"
    head_before = store.changes.head()

    def repeated() -> list[tuple[str, int, bool, bool]]:
        results = [store.put(name, content, tx=tx) for content, tx in zip((b"1", b"2", b"2"), ids, strict=True)]
        return [(one.artifact.id, one.revision.number, one.created, one.changed) for one in results]

    wanted = [(one.artifact.id, one.revision.number, one.created, one.changed) for one in (first, second, third)]
    for go_on in (
        lambda: store.put(name, b"3"),
        lambda: store.artifacts.rename(record, "z"),
        lambda: store.artifacts.move(record, "c"),
        lambda: store.collections.rename("d", "other"),
        lambda: store.put(name, b"another at the old place"),
        lambda: store.artifacts.delete(record),
        lambda: store.artifacts.purge(record),
    ):
        go_on()
        head = store.changes.head()
        assert repeated() == wanted
        assert store.put(record, b"1", tx=ids[0]).revision.number == 1
        assert store.changes.head() == head != head_before
    for path in ("d/e/other", "c/elsewhere", "e", ""):
        with pytest.raises((TransactionReusedError, InvalidNameError)):
            store.put(path, b"1", tx=ids[0])


def test_a_transaction_id_that_was_used_for_other_work_is_refused(store: Store) -> None:
    tx = moment.draw_id(1)
    store.put("a", b"1", tx=tx)
    head = store.changes.head()

    for other in (
        lambda: store.put("a", b"2", tx=tx),
        lambda: store.put("b", b"1", tx=tx),
        lambda: store.create("b", b"1", tx=tx),
    ):
        with pytest.raises(TransactionReusedError) as caught:
            other()
        assert caught.value.fields["tx"] == tx
    entered = False
    with pytest.raises(TransactionReusedError), store.transaction(id=tx):
        entered = True
    assert not entered
    assert store.changes.head() == head
    assert os.listdir(Path(store.path, "tmp")) == []


def test_two_threads_that_repeat_one_put_do_it_once(store: Store) -> None:
    tx = moment.draw_id(1)
    barrier = threading.Barrier(4)

    def put() -> Any:
        barrier.wait()
        return store.put("a", b"1", tx=tx).revision

    with ThreadPoolExecutor(4) as pool:
        found = [one.result() for one in [pool.submit(put) for _ in range(4)]]

    assert len(set(map(repr, found))) == 1
    assert in_journal(store) == [tx]


@pytest.mark.parametrize("bad", ["", "x", "A" * 36])
def test_what_is_no_transaction_id_is_refused_and_nothing_written(store: Store, bad: str) -> None:
    with pytest.raises(InvalidValueError):
        store.put("a", b"1", tx=bad)
    with pytest.raises(InvalidValueError), store.transaction(id=bad):
        pass

    assert in_journal(store) == []


def test_the_id_of_an_outer_transaction_holds_for_what_is_in_it(store: Store) -> None:
    tx, other = moment.draw_id(1), moment.draw_id(1)
    with store.transaction(id=tx):
        store.put("a", b"1", tx=tx)
        with pytest.raises(ConflictError):
            store.put("b", b"1", tx=other)

    assert in_journal(store) == [tx]


# -- many at once ------------------------------------------------------------------------------------------------------


def test_eight_threads_put_at_once_and_nothing_is_lost(store: Store) -> None:
    def work(number: int) -> None:
        for turn in range(8):
            store.put(f"t{number}/{turn}", f"{number} {turn}")
            store.put("shared", f"{number} {turn}")
            with store.transaction():
                store.put(f"t{number}/{turn}", "second")
                store.artifacts.tag("shared", f"t{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert len(list(store.find())) == 65
    assert store.get("shared").tags == tuple(f"t{n}" for n in range(8))
    numbers = [revision.number for revision in store.artifacts.revisions("shared")]
    assert numbers == list(range(numbers[0], 0, -1))
    assert in_journal(store) == in_index(store)
    assert b"".join(store._handle.index.chain.read()) == journal(store)


def test_of_several_writers_that_expect_one_revision_exactly_one_gets_through(store: Store) -> None:
    store.put("a", b"0")
    barrier = threading.Barrier(6)

    def put(number: int) -> bool:
        barrier.wait()
        try:
            return store.put("a", f"mine {number}", expect=1).changed
        except ExpectationError as error:
            return error.fields != {"expected": 1, "found": 2}

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(put, range(6))) == [False] * 5 + [True]
    assert store.get("a").number == 2


# -- time --------------------------------------------------------------------------------------------------------------


def test_time_never_runs_backwards_along_the_chain(opener: Opener, clock: FixedClock) -> None:
    store = opener()
    first = store.put("a", b"1").revision.created_at
    clock.set_back(3600)
    second = store.put("a", b"2").revision.created_at
    clock.advance(7200)
    third = store.put("a", b"3").revision.created_at

    assert second == first
    assert third == first + timedelta(seconds=3600)
    assert [one.number for one in store.artifacts.revisions("a")] == [3, 2, 1]


def test_all_of_a_transaction_happens_at_one_time(opener: Opener, clock: FixedClock) -> None:
    store = opener()
    with store.transaction():
        first = store.put("a", b"1").artifact
        clock.advance(5)
        second = store.put("b", b"1").artifact

    assert first.created_at == second.created_at == store.get("b").created_at


# -- handles -----------------------------------------------------------------------------------------------------------


def test_a_closed_store_says_so_to_every_call(store: Store) -> None:
    store.put("a", b"1")
    store.close()
    store.close()

    for call in (
        lambda: store.put("a", b"2"),
        lambda: store.get("a"),
        lambda: store.read("a"),
        lambda: list(store.find()),
        lambda: store.collections.create("c"),
        lambda: store.collections.get(""),
        lambda: list(store.changes.list()),
        store.changes.head,
        lambda: store.search("a"),
        store.gc,
        lambda: store.add("."),
        lambda: store.transaction().__enter__(),
    ):
        with pytest.raises(HandleDeadError) as caught:
            call()
        assert "closed" in str(caught.value)


def test_closing_while_others_write_loses_nothing_that_was_acknowledged(root: str) -> None:
    store = holdfast.create(root)
    acknowledged: list[int] = []
    started = threading.Event()

    def work(number: int) -> None:
        for turn in range(1000):
            try:
                store.put(f"{number}/{turn}", b"x")
            except (HandleDeadError, ConflictError):
                return
            acknowledged.append(number)
            started.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    started.wait(10)
    store.close()
    for one in threads:
        one.join()

    with holdfast.open(root) as again:
        found = [one.path for one in again.find()]
        assert len(found) >= len(acknowledged)
        assert in_journal(again) == in_index(again)


def test_a_store_opened_for_reading_refuses_every_write_and_changes_no_byte(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        store.put("a", b"1")
        store.collections.create("c")

    def state() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(Path(root).rglob("*")) if p.is_file() and "locks" not in p.parts}

    before = state()
    with holdfast.open(root, read_only=True) as reader:
        assert reader.read("a") == b"1"
        assert [one.path for one in reader.find()] == ["a"]
        for call in (
            lambda: reader.put("a", b"2"),
            lambda: reader.artifacts.delete("a"),
            lambda: reader.collections.create("d"),
            lambda: reader.add(str(tmp_path)),
            reader.gc,
            lambda: reader.transaction().__enter__(),
        ):
            with pytest.raises(ReadOnlyError):
                call()
    assert {name: data for name, data in state().items() if not name.endswith(("-wal", "-shm"))} == before
