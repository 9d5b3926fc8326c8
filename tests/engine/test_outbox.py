"""The outbox: every change, in order, at least once, to one holder at a time, whoever dies in between."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import (
    ConflictError,
    CursorAstrayError,
    HandleDeadError,
    IndexDamagedError,
    InvalidValueError,
    LeaseLostError,
    LockedError,
    NotFoundError,
    ReadOnlyError,
)
from holdfast.kinds.outbox import Consumer
from holdfast.testing.clock import FixedClock
from holdfast.values.outbox import Delivery

CONSUMER = """
import os, sys
import holdfast
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def handle(delivery):
    os.write(log, b"%d\\n" % delivery.seq)
    if str(delivery.seq) in sys.argv[4:]:
        os.kill(os.getpid(), 9)
with holdfast.open(sys.argv[1]) as store:
    done = store.outbox.consumer("books").run(handle, lease_s=float(sys.argv[3]), wait_s=30, batch=7)
    print(done.handled, done.dead)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with holdfast.create(tmp_path / "store", actor="tess") as made:
        for number in range(6):
            made.put(f"a{number}", f"content {number}")
        yield made


def seqs(deliveries: list[Delivery]) -> list[int]:
    return [one.seq for one in deliveries]


def consume(consumer: Consumer, **more: Any) -> list[int]:
    """All that comes, handled."""
    found: list[int] = []
    consumer.run(lambda one: found.append(one.seq), **more)
    return found


def start(root: Path, log: Path, *, lease_s: float = 0.2, deadly: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CONSUMER, str(root), str(log), str(lease_s), *map(str, deadly)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def logged(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()]


# -- order and acknowledgement -----------------------------------------------------------------------------------------


def test_a_consumer_gets_every_change_in_order_and_each_only_once_if_nothing_fails(store: Store) -> None:
    books = store.outbox.create("books")
    head = store.changes.head().next_seq - 1

    assert consume(books, batch=2) == list(range(1, head + 1))
    assert consume(books) == []

    store.artifacts.delete("a1")
    assert consume(books) == [head + 1]
    state = books.state()
    assert (state.seq, state.behind, state.failures, state.letters, state.held) == (head + 1, 0, 0, 0, False)
    assert state.hash == store.changes.head().hash.hex()


def test_reading_moves_no_cursor_and_an_acknowledgement_takes_in_all_before_it(store: Store) -> None:
    books = store.outbox.create("books")
    with books.take() as lease:
        first = lease.read(3)
        assert seqs(lease.read(3)) == seqs(first) == [1, 2, 3]
        lease.ack(first[1])
        assert seqs(lease.read(3)) == [3, 4, 5]
        lease.ack(first[0])
        assert books.state().seq == 2, "never back"


def test_a_cursor_may_stand_inside_of_a_transaction(store: Store) -> None:
    books = store.outbox.create("books", start="now")
    with store.transaction():
        for number in range(5):
            store.put(f"b{number}", "x")
    with books.take() as lease:
        some = lease.read(10)
        lease.ack(some[1])
    with books.take() as lease:
        assert seqs(lease.read(10)) == seqs(some)[2:]


def test_consumers_do_not_know_of_one_another(store: Store) -> None:
    one, two = store.outbox.create("one"), store.outbox.create("two", start="now")
    assert consume(one)
    store.put("late", "x")
    assert consume(two) == consume(one) != []
    assert [state.name for state in store.outbox.list()] == ["one", "two"]


def test_a_cursor_survives_closing(store: Store, tmp_path: Path) -> None:
    books = store.outbox.create("books", attempts=3)
    with books.take() as lease:
        lease.ack(lease.read(4)[-1])
        lease.fail(lease.read(1)[0], "no")
    before = books.state()
    store.close()
    with pytest.raises(HandleDeadError):
        books.state()
    with holdfast.open(tmp_path / "store") as again:
        assert again.outbox.consumer("books").state() == before


# -- leases and fencing ------------------------------------------------------------------------------------------------


def test_one_holder_at_a_time_and_who_gives_it_back_need_not_be_waited_for(store: Store) -> None:
    books = store.outbox.create("books")
    with books.take() as lease:
        with pytest.raises(LockedError):
            books.take()
        first = lease.token
    with books.take() as lease:
        assert lease.token > first


def test_a_stalled_holders_late_acknowledgement_is_refused(store: Store) -> None:
    books = store.outbox.create("books")
    stalled = books.take(lease_s=0.001)
    late = stalled.read(3)
    fresh = books.take(wait_s=30)
    calls: list[Callable[[], object]] = [
        lambda: stalled.ack(late[0]), lambda: stalled.fail(late[0]), lambda: stalled.read(1), stalled.renew,
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(LeaseLostError):
            call()
    stalled.release()
    assert (books.state().seq, books.state().held) == (0, True), "nothing the stalled one says counts"
    fresh.ack(fresh.read(1)[0])
    assert books.state().seq == 1


def test_who_comes_late_but_was_not_replaced_may_still_acknowledge(store: Store) -> None:
    books = store.outbox.create("books")
    lease = books.take(lease_s=0.001)
    lease.ack(lease.read(2)[1])
    assert books.state().seq == 2


def slow(books: Consumer, clock: FixedClock, *, told: list[object]) -> Callable[[Delivery], None]:
    """A handler that takes five times its lease of 30 ms by the store's clock, and asks for the lease each time.

    The clock goes on only when the lease was renewed, so nothing depends on how fast this machine is.
    """

    def until() -> int:
        row = books._rows.get(books._key)
        assert row is not None
        return row.until_us

    def handle(delivery: Delivery) -> None:
        if delivery.seq != 2:
            return
        for _ in range(8):
            clock.advance(0.02)
            deadline = time.monotonic() + 60
            while until() != clock.now_us() + 30_000:
                assert time.monotonic() < deadline, "the lease was not renewed"
                time.sleep(0.002)
            with pytest.raises(LockedError):
                books.take()
            told.append(until())

    return handle


def test_a_handler_that_takes_longer_than_its_lease_keeps_it(opener: Callable[..., Store], clock: FixedClock) -> None:
    store = opener()
    store.put("a", "1")
    books, told = store.outbox.create("books"), []
    done = books.run(slow(books, clock, told=told), lease_s=0.03)
    assert (done.handled, done.failures, len(told)) == (2, 0, 8)
    assert not [one for one in threading.enumerate() if one.name == "holdfast-lease"]


def test_a_handler_that_takes_longer_than_it_may_is_overtaken_and_refused(
    opener: Callable[..., Store], clock: FixedClock
) -> None:
    store = opener()
    store.put("a", "1")
    books = store.outbox.create("books")
    fresh: list[Any] = []

    def hang(delivery: Delivery) -> None:
        if not fresh:
            clock.advance(1.0)
            fresh.append(books.take())

    with pytest.raises(LeaseLostError):
        books.run(hang, lease_s=0.03, longest_s=0)
    assert books.state().seq == 0
    fresh[0].ack(fresh[0].read(1)[0])
    for bad in (-1, float("nan"), 1e9):
        with pytest.raises(InvalidValueError):
            fresh[0].heartbeat(bad)


def test_tokens_grow_though_the_consumer_is_dropped_and_made_again(store: Store) -> None:
    stalled = store.outbox.create("books").take()
    late = stalled.read(1)
    store.outbox.consumer("books").drop()
    fresh = store.outbox.create("books").take()
    assert fresh.token > stalled.token
    with pytest.raises(LeaseLostError):
        stalled.ack(late[0])


def test_a_rewind_takes_the_lease_from_who_holds_it(store: Store) -> None:
    books = store.outbox.create("books")
    lease = books.take()
    late = lease.read(5)
    assert books.rewind(3).seq == 3
    with pytest.raises(LeaseLostError):
        lease.ack(late[4])
    assert consume(books)[0] == 4
    assert books.rewind("start").behind == store.changes.head().next_seq - 1
    assert books.rewind("now").behind == 0


# -- failures ----------------------------------------------------------------------------------------------------------


def test_what_fails_is_tried_again_before_all_after_it_and_put_aside_in_the_end(store: Store) -> None:
    books = store.outbox.create("books", attempts=3)
    tried: list[tuple[int, int]] = []

    def handle(one: Delivery) -> None:
        tried.append((one.seq, one.attempt))
        if one.seq == 3:
            raise ValueError("no such shelf")

    done = books.run(handle, pause_s=0)

    assert (done.failures, done.dead, books.state().behind) == (3, 1, 0)
    assert tried[:6] == [(1, 1), (2, 1), (3, 1), (3, 2), (3, 3), (4, 1)]
    (letter,) = books.letters()
    assert (letter.seq, letter.failures, letter.reason, letter.due) == (3, 3, "ValueError: no such shelf", False)


def test_dead_letters_are_retried_and_discarded_by_their_seq(store: Store) -> None:
    books = store.outbox.create("books", attempts=1)
    books.run(_fails)
    assert len(list(books.letters())) == books.state().letters == store.changes.head().next_seq - 1

    assert books.retry(2, 4) == 2
    again: list[tuple[int, bool, int]] = []
    books.run(lambda one: again.append((one.seq, one.again, one.attempt)))
    assert again == [(2, True, 2), (4, True, 2)]
    assert 2 not in [one.seq for one in books.letters()]

    books.retry(5)
    assert books.run(_fails, pause_s=0).dead == 1
    assert [one.failures for one in books.letters() if one.seq == 5] == [2]
    assert books.discard(5, 6) == 2
    with pytest.raises(NotFoundError):
        books.discard(5)
    books.retry()
    assert consume(books) == [1, 3, 7]
    assert list(books.letters()) == []


def _fails(_: Delivery) -> None:
    raise RuntimeError


def test_two_runs_side_by_side_in_threads_do_the_work_once(store: Store) -> None:
    books = store.outbox.create("books")
    with books.take(lease_s=30), pytest.raises(LockedError):
        books.run(_fails)
    assert len(consume(books)) == store.changes.head().next_seq - 1


def test_following_goes_on_with_what_comes(store: Store) -> None:
    books = store.outbox.create("books", start="now")
    found: list[int] = []

    def handle(one: Delivery) -> None:
        found.append(one.seq)
        if len(found) < 4:
            store.put(f"more{len(found)}", "x")

    store.put("first", "x")
    books.run(handle, follow=True, stop=lambda: len(found) >= 4)
    assert len(found) == 4
    assert books.state().behind == 0


def test_waiting_ends_when_another_process_commits(store: Store) -> None:
    books = store.outbox.create("books", start="now")
    with books.take() as lease:
        assert not lease.wait(0)
        code = f"import holdfast; holdfast.open({str(store.path)!r}).put('other', 'x')"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert lease.wait(30)
        assert len(lease.read(10)) == 1


def test_a_store_in_memory_hands_its_changes_on_too() -> None:
    with holdfast.memory() as store:
        store.put("a", "x")
        books = store.outbox.create("books", start="start")
        with books.take() as lease:
            assert [one.seq for one in lease.read(10)] == [1, 2]
            assert not lease.wait(0)
            store.put("b", "x")
            assert lease.wait(0)


# -- processes that die ------------------------------------------------------------------------------------------------


def test_after_kill_9_nothing_is_missed_and_the_order_stays(store: Store, tmp_path: Path) -> None:
    """Three processes share a consumer; the first two are killed at a change each, and the third comes to the end."""
    for number in range(20):
        store.put(f"b{number}", "x")
    store.outbox.create("books")
    log = tmp_path / "log"
    head = store.changes.head().next_seq - 1
    for deadly in ((5,), (17,)):
        child = start(store.path, log, deadly=deadly)
        child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL
    last = start(store.path, log)
    out, _ = last.communicate(timeout=120)

    assert out.split()[1] == "0"
    got = logged(log)
    firsts = list(dict.fromkeys(got))
    assert firsts == list(range(1, head + 1)), "each came, and came first in order"
    assert store.outbox.consumer("books").state().behind == 0


def test_a_change_that_kills_whoever_gets_it_becomes_a_dead_letter(store: Store, tmp_path: Path) -> None:
    store.outbox.create("books", attempts=2)
    log = tmp_path / "log"
    for _ in range(3):  # in a batch, then alone, then alone again
        child = start(store.path, log, deadly=(4,))
        child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL
    books = store.outbox.consumer("books")
    found = consume(books, wait_s=30)

    (letter,) = books.letters()
    assert (letter.seq, found[0]) == (4, 5)
    assert books.state().behind == 0


def test_two_processes_at_once_share_the_work_without_crossing(store: Store, tmp_path: Path) -> None:
    store.outbox.create("books")
    log = tmp_path / "log"
    children = [start(store.path, log, lease_s=60) for _ in range(2)]
    handled = sum(int(child.communicate(timeout=120)[0].split()[0]) for child in children)
    head = store.changes.head().next_seq - 1
    assert logged(log) == list(range(1, head + 1))
    assert handled == head


# -- another history ---------------------------------------------------------------------------------------------------


def test_a_cursor_ahead_of_the_chain_after_a_restore_is_found_and_named(store: Store, tmp_path: Path) -> None:
    books = store.outbox.create("books")
    copies, root = tmp_path / "copies", tmp_path / "store"
    store.backup(copies)
    store.put("later", "x")
    consume(books)
    store.close()
    holdfast.restore(copies, tmp_path / "again")
    shutil.copy(root / "outbox.sqlite3", tmp_path / "again")

    with holdfast.open(tmp_path / "again") as restored:
        books = restored.outbox.consumer("books")
        with pytest.raises(CursorAstrayError) as caught:
            consume(books)
        head = restored.changes.head().next_seq - 1
        assert caught.value.fields == {"seq": head + 1, "head_seq": head, "reason": "ahead"}
        assert "rewind" in caught.value.remedy

        restored.put("another", "y")  # as many changes as before, but not these
        with pytest.raises(CursorAstrayError) as caught:
            books.take()
        assert caught.value.fields["reason"] == "fork"
        assert books.state().seq == head + 1, "nothing moves by itself"
        books.rewind(head)
        assert consume(books) == [head + 1]


def test_redacted_changes_are_handed_out_as_what_is_left_of_them(store: Store) -> None:
    books = store.outbox.create("books", attempts=1)
    store.put("secret", "x", metadata={"who": "Marie Example"})

    def handle(one: Delivery) -> None:
        raise ValueError((one.change.after or {}).get("revision", {}).get("metadata"))

    books.run(handle)
    assert "Marie" in "".join(one.reason for one in books.letters())
    before = books.state()
    store.redact(store.get("secret"))

    assert {one.reason for one in books.letters()} == {""}, "reasons may quote what was redacted"
    assert books.state() == before.__class__(**{**_fields(before), "behind": 1})
    books.retry()
    got: list[Any] = []
    books.run(lambda one: got.append(one.change))
    assert "Marie" not in str(got)
    assert [one.action for one in got][-1] == "redact"
    store.close()
    assert b"Marie" not in (store.path / "outbox.sqlite3").read_bytes()


def _fields(state: Any) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__slots__}


def test_what_was_withdrawn_comes_as_a_change_of_its_own(store: Store, tmp_path: Path) -> None:
    books = store.outbox.create("books")
    last = store.put("lost", os.urandom(200_000)).artifact.digest.removeprefix("sha256:")
    consume(books)
    store.close()
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    (tmp_path / "copy/blobs" / last[:2] / f"{last}.zst").unlink()
    holdfast.recover(tmp_path / "copy")
    with holdfast.open(tmp_path / "copy") as copy:
        got: list[str] = []
        copy.outbox.consumer("books").run(lambda one: got.append(one.change.action))
        assert got == ["withdraw", "delete"]


def test_a_transaction_that_failed_is_never_delivered(store: Store) -> None:
    books = store.outbox.create("books", start="now")
    with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012
        store.put("never", "x")
        assert consume(books) == [], "nor while it is open"
        raise RuntimeError
    assert consume(books) == []


# -- tenants -----------------------------------------------------------------------------------------------------------


def test_a_consumer_of_one_tenant_gets_its_changes_alone_and_passes_the_others(store: Store) -> None:
    mine = store.outbox.create("books", tenant="a")
    assert consume(mine) == []
    assert mine.state().behind == 0, "what is not wanted is not looked at again"
    ours = store.outbox.create("books", tenant="")
    assert len(consume(ours)) == store.changes.head().next_seq - 1
    assert [(one.name, one.tenant) for one in store.outbox.list()] == [("books", ""), ("books", "a")]
    assert [one.tenant for one in store.outbox.list(tenant="a")] == ["a"]


# -- refusals and damage -----------------------------------------------------------------------------------------------


def test_a_consumer_is_never_made_by_the_way(store: Store) -> None:
    for call in (lambda: store.outbox.consumer("books"), lambda: store.outbox.consumer("b\0")):
        with pytest.raises((NotFoundError, InvalidValueError)):
            call()
    assert not (store.path / "outbox.sqlite3").exists(), "looking makes no file"
    assert store.outbox.list() == []
    store.outbox.create("books")
    with pytest.raises(ConflictError):
        store.outbox.create("books", start="now")
    assert store.outbox.consumer("books").state().seq == 0


@pytest.mark.parametrize(
    ("name", "more"),
    [("", {}), ("../x", {}), ("a b", {}), ("x" * 101, {}), ("ok", {"start": 10**9}), ("ok", {"start": -1}),
     ("ok", {"start": "soon"}), ("ok", {"start": True}), ("ok", {"attempts": 0}), ("ok", {"attempts": True})],
)  # fmt: skip
def test_bad_values_are_refused_before_anything_is_written(store: Store, name: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        store.outbox.create(name, **more)
    assert store.outbox.list() == []


def test_a_store_open_for_reading_shows_consumers_and_moves_none(store: Store, tmp_path: Path) -> None:
    store.outbox.create("books", attempts=1).run(_fails)
    with holdfast.open(tmp_path / "store", read_only=True) as reader:
        books = reader.outbox.consumer("books")
        assert books.state().letters == len(list(books.letters())) > 0
        calls: list[Callable[[], object]] = [
            books.take, books.retry, books.drop, lambda: books.rewind("start"), lambda: reader.outbox.create("x"),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(ReadOnlyError):
                call()


def test_a_damaged_file_is_refused_by_name_and_the_store_works_on(store: Store, tmp_path: Path) -> None:
    store.outbox.create("books")
    store.close()
    path = tmp_path / "store/outbox.sqlite3"
    path.write_bytes(b"x" * 8192)
    with holdfast.open(tmp_path / "store") as again:
        with pytest.raises(IndexDamagedError) as caught:
            again.outbox.list()
        assert "Move the file away" in caught.value.remedy
        again.put("a", "still")
        assert path.read_bytes() == b"x" * 8192, "it is nobody's to throw away"


def test_a_cursor_whose_row_was_altered_is_not_believed(store: Store, tmp_path: Path) -> None:
    consume(store.outbox.create("books"))
    store.close()
    with sqlite3.connect(tmp_path / "store/outbox.sqlite3") as raw:
        raw.execute("UPDATE outbox_consumer SET seq = 2")
    raw.close()
    with holdfast.open(tmp_path / "store") as again, pytest.raises(CursorAstrayError):
        again.outbox.consumer("books").take()
