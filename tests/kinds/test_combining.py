"""Small puts that wait for one lock are made together, and each is what it would have been alone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.engine import queueing
from holdfast.engine.queueing import POSTED, Queue
from holdfast.errors import ExpectationError, HandleDeadError, LockedError, NameTakenError, StorageIOError
from holdfast.kinds import combining
from holdfast.values.records import PutResult

Waiting = Callable[..., Future[PutResult]]


@pytest.fixture
def crowd(tmp_path: Any) -> Iterator[tuple[Store, Store, Waiting]]:
    """A store that is written to, the same opened by another, and a way to put that waits for the lock by now."""
    with holdfast.create(tmp_path / "crowded", actor="Ada") as store, holdfast.open(store.path, actor="Bob") as other:
        store.put("f/first", b"first")
        with ThreadPoolExecutor(8) as pool:

            def waiting(path: str, data: bytes, **said: Any) -> Future[PutResult]:
                before = posted(other)
                other._handle.writer.meet()
                found = pool.submit(other.put, path, data, **said)
                until(lambda: posted(other) > before or found.done())
                return found

            yield store, other, waiting


def queue_of(store: Store) -> Queue:
    queue = store._handle.writer.queue.get()
    assert queue is not None
    return queue


def posted(store: Store) -> int:
    with queue_of(store).guarded() as memory:
        return sum(memory[number] == POSTED for number in range(queueing.SEATS))


def until(so: Callable[[], bool]) -> None:
    for _ in range(60_000):
        if so():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to it")


def crowded_put(store: Store, path: str, data: bytes, **said: Any) -> PutResult:
    """A put of one who has met others."""
    store._handle.writer.meet()
    return store.put(path, data, **said)


@pytest.fixture
def held(crowd: tuple[Store, Store, Waiting]) -> Iterator[Callable[[], None]]:
    """Somebody has the lock until this is called."""
    writer = crowd[0]._handle.writer
    writer.acquire("test", wait_s=30)
    given = threading.Event()

    def give() -> None:
        if not given.is_set():
            given.set()
            writer.release()

    yield give
    give()


def test_one_commit_and_one_sync_make_all_that_wait(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, waiting = crowd
    found = [waiting(f"f/{n}", b"content %d" % n) for n in range(6)]
    commits: list[int] = []
    kind = type(store._handle.index)
    commit = kind.commit
    monkeypatch.setattr(kind, "commit", lambda self: (commits.append(1), commit(self))[1])
    held()
    results = [one.result(timeout=60) for one in found]
    assert len(commits) == 1
    assert all(one.created and one.changed for one in results)
    for number, one in enumerate(results):
        assert store.read(f"f/{number}") == b"content %d" % number
        assert store.get(f"f/{number}") == one.artifact
    made = [change for change in store.changes.list() if change.kind == "artifact"][1:]
    assert {change.id for change in made} == {one.artifact.id for one in results}
    assert len({change.tx for change in made}) == 6
    assert {change.actor for change in made} == {"Bob"}
    assert not store.fsck().findings
    assert store.put("f/after", b"after").created
    assert other.put("f/after that", b"after").created


def test_what_is_said_of_a_content_arrives_with_it(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None]
) -> None:
    store, _, waiting = crowd
    said = {"metadata": {"π": [1, 1.0, None, {"a": "é\U0001f600"}], "n": 1 << 80}, "type": "note", "status": "done",
            "tags": ["b", "a"], "owner": "me", "message": "why", "source": "whence", "media_type": "x/y"}  # fmt: skip
    one, plain = waiting("a/b/c", b"1", **said), waiting("top.json", b"{}")
    held()
    assert one.result(60).artifact == store.get("a/b/c")
    assert plain.result(60).artifact == store.get("top.json")
    there = crowded_put(store, "a/b/d", b"2", **said).artifact
    assert (there.tags, there.revision.metadata, there.owner, there.media_type) == (
        ("a", "b"), said["metadata"], "me", "x/y")  # fmt: skip
    alone = one.result().artifact
    assert (alone.tags, alone.revision.metadata, alone.type, alone.status, alone.owner) == (
        there.tags, there.revision.metadata, "note", "done", "me")  # fmt: skip


def test_new_revisions_and_contents_that_are_there_already_come_out_as_alone(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None]
) -> None:
    store, _, waiting = crowd
    found = [waiting("f/first", b"second"), waiting("f/x", b"same"), waiting("f/y", b"same"), waiting("f/z", b"first"),
             waiting("f/first", b"second")]  # fmt: skip
    held()
    revised, x, y, z, again = [one.result(60) for one in found]
    assert (revised.created, revised.changed, revised.artifact.number) == (False, True, 2)
    assert (again.created, again.changed, again.artifact.number) == (False, False, 2)
    assert [store.read(one.artifact.path) for one in (x, y, z)] == [b"same", b"same", b"first"]
    assert store.read("f/first") == b"second"
    assert not store.fsck().findings


def test_what_is_refused_says_so_and_leaves_the_others_alone(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None]
) -> None:
    store, _, waiting = crowd
    store_head = store.changes.head()
    good, bad = waiting("f/good", b"good"), waiting("f/first", b"no", expect=7)
    taken, also = waiting("f", b"a collection has the name"), waiting("f/also", b"also")
    held()
    assert good.result(60).created
    assert also.result(60).created
    with pytest.raises(ExpectationError):
        bad.result(60)
    with pytest.raises(NameTakenError):
        taken.result(60)
    assert store.read("f/first") == b"first"
    assert store.changes.head() != store_head
    assert not store.fsck().findings


def test_one_who_leads_and_is_refused_still_makes_the_others(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _, waiting = crowd
    monkeypatch.setattr(combining, "_LOOK_S", 30.0)  # who waits only looks when it is woken
    found = waiting("f/good", b"good")
    store._handle.writer.release()
    try:
        with pytest.raises(ExpectationError):
            crowded_put(store, "f/first", b"no", expect=7)
    finally:
        store._handle.writer.acquire("test", wait_s=60)
    assert found.result(60).created
    assert store.read("f/good") == b"good"


def test_a_transaction_id_that_was_used_gives_its_first_result(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None]
) -> None:
    store, other, waiting = crowd
    tx = "018f0000-0000-7000-8000-0000000000aa"
    found = [waiting("f/once", b"once", tx=tx), waiting("f/once", b"once", tx=tx)]
    held()
    first, second = [one.result(60).artifact for one in found]
    assert first.id == second.id
    assert first.number == second.number == 1
    assert crowded_put(other, "f/once", b"once", tx=tx).artifact.id == first.id
    assert [one.tx for one in store.changes.list()].count(tx) == 1


def test_who_waits_too_long_is_told_and_its_put_never_comes(tmp_path: Any) -> None:
    with holdfast.create(tmp_path / "s") as store, holdfast.open(store.path, lock_wait_s=0.05) as other:
        store._handle.writer.acquire("test", wait_s=30)
        with pytest.raises(LockedError):
            crowded_put(other, "late", b"late")
        store._handle.writer.release()
        crowded_put(store, "x", b"x")
        assert [one.path for one in store.find()] == ["x"]


def test_a_leader_whose_commit_fails_leaves_the_others_to_do_it_themselves(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, waiting = crowd
    monkeypatch.setattr(combining, "_LOOK_S", 30.0)
    found = waiting("f/good", b"good")
    kind = type(store._handle.index)
    commit = kind.commit

    def failing(self: Any) -> None:
        if self is store._handle.index:
            raise StorageIOError("sync", path="", operation="sync", errno=5)
        commit(self)

    monkeypatch.setattr(kind, "commit", failing)
    store._handle.writer.release()
    with pytest.raises(StorageIOError):
        crowded_put(store, "f/lost", b"lost")
    with pytest.raises(HandleDeadError):
        store.put("f/lost", b"lost")
    assert found.result(60).created
    assert [one.path for one in other.find()] == ["f/first", "f/good"]
    store._handle.writer.acquire("test", wait_s=60)


_LEADS_AND_DIES = """
import os, sys, holdfast
from holdfast.index.sqlite import SqliteIndex
store = holdfast.open(sys.argv[1])
commit = SqliteIndex.commit
def dying(self):
    if sys.argv[2] == "after":
        commit(self)
    os._exit(9)
print("ready", flush=True)
sys.stdin.readline()
SqliteIndex.commit = dying
store._handle.writer.meet()
store.put("f/of the dead", b"dead")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_leader_that_dies_leaves_the_orders_to_those_who_gave_them(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, waiting = crowd
    monkeypatch.setattr(combining, "_LOOK_S", 3600.0)  # who waits leaves the lock to the one that is going to die
    monkeypatch.setattr(combining, "_LOOK_SELDOM_S", 0.02)
    monkeypatch.setattr(queueing.Queue, "call", lambda self: None)
    command = [sys.executable, "-c", _LEADS_AND_DIES, store.path, when]
    leader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert leader.stdin is not None
    assert leader.stdout is not None
    assert leader.stdout.readline() == b"ready\n"
    found = waiting("f/mine", b"mine")
    held()
    leader.stdin.write(b"\n")
    leader.stdin.close()
    assert leader.wait(60) == 9
    leader.stdout.close()
    queue = queue_of(other)
    queue._ring(queueing._head(queue._memory, 0)[3])
    result = found.result(60)
    assert result.created
    assert result.artifact == store.get("f/mine")
    paths = {one.path for one in store.find()}
    assert paths == {"f/first", "f/mine"} | ({"f/of the dead"} if when == "after" else set())
    assert [one.id for one in store.changes.list()].count(result.artifact.id) == 1
    assert {one.code for one in store.fsck().findings} <= {"blob-unreferenced"}  # what the dead one had appended


def test_a_put_that_cannot_be_handed_over_goes_the_ordinary_way(store: Store, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"of a file")
    assert crowded_put(store, "a", b"").created
    assert crowded_put(store, "b", b"x" * queueing.SEAT_BYTES).created
    store._handle.writer.meet()
    assert store.put("c", tmp_path / "file").created
    with store.transaction():
        assert crowded_put(store, "d", b"d").created
    assert {one.path for one in store.find()} == {"a", "b", "c", "d"}


_WRITES = """
import sys, json, holdfast
with holdfast.open(sys.argv[1], actor=sys.argv[2]) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    store._handle.writer.meet()
    made = [store.put(f"{sys.argv[2]}/{n}", f"{sys.argv[2]} {n} ".encode() * 40).artifact for n in range(25)]
    print(json.dumps([[one.id, one.path, one.digest] for one in made]), flush=True)
"""


def test_processes_side_by_side_get_all_their_puts(tmp_path: Any) -> None:
    holdfast.create(tmp_path / "s").close()
    each = [
        subprocess.Popen([sys.executable, "-c", _WRITES, tmp_path / "s", name], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        for name in "ab"
    ]  # fmt: skip
    for one in each:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
    said = []
    for one in each:
        assert one.stdin is not None
        one.stdin.write(b"\n")
        one.stdin.flush()
    for one in each:
        out, _ = one.communicate(timeout=120)
        said += json.loads(out)
    with holdfast.open(tmp_path / "s") as store:
        there = {one.id: [one.id, one.path, one.digest] for one in store.find()}
        assert len(said) == len(there) == 50
        assert all(there[one[0]] == one for one in said)
        assert not store.fsck().findings


def test_who_has_met_nobody_leaves_its_order_when_it_is_first_refused(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None]
) -> None:
    _, other, _ = crowd
    assert not other._handle.writer.is_crowded()
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(other.put, f"f/{n}", b"content") for n in range(2)]
        until(lambda: posted(other) == 2)
        held()
        assert all(one.result(timeout=60).created for one in found)


def test_what_cannot_be_left_waits_for_as_long_as_ever(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None]
) -> None:
    _, other, _ = crowd
    with ThreadPoolExecutor(2) as pool:
        large = pool.submit(other.put, "f/large", bytes(queueing.MOST_BYTES))
        by_id = pool.submit(other.put, other.get("f/first"), b"second")
        assert not large.done()
        until(other._handle.writer.is_crowded)
        held()
        assert large.result(timeout=60).created
        assert by_id.result(timeout=60).revision.number == 2


_ALWAYS = """
import itertools, sys, holdfast
with holdfast.open(sys.argv[1]) as store:
    for n in itertools.count():
        store.put(f"{sys.argv[2]}/{n}", b"always")
"""
_SELDOM = """
import json, sys, time, holdfast
from holdfast.engine import queueing
from holdfast.engine.locks import WriterLock
looks, left = [], []
look, post = WriterLock._now, queueing.Seat.post
def looked(self, what):
    looks.append(look(self, what))
    return looks[-1]
WriterLock._now, queueing.Seat.post = looked, lambda self, data: (left.append(1), post(self, data))[1]
with holdfast.open(sys.argv[1]) as store:
    for number in range(4):
        time.sleep(1.1)
        assert not store._handle.writer.is_crowded()
        looks.clear()
        left.clear()
        store.put(f"seldom/{number}", f"seldom {number}")
        print(json.dumps([looks[0], len(left)]), flush=True)
"""


def test_a_process_that_comes_seldom_is_not_left_behind_by_those_that_combine(tmp_path: Any) -> None:
    """Each that finds the lock taken leaves its order at once: nobody polls while others get their turn."""
    with holdfast.create(tmp_path / "store") as store:
        crowd = [subprocess.Popen([sys.executable, "-c", _ALWAYS, store.path, str(n)]) for n in range(3)]
        try:
            until(lambda: len(list(store.changes.list(limit=20))) > 10)
            done = subprocess.run(
                [sys.executable, "-c", _SELDOM, store.path], check=True, capture_output=True, timeout=300
            )
        finally:
            for one in crowd:
                one.kill()
                one.wait()
        each = [json.loads(line) for line in done.stdout.splitlines()]
        assert all(at_once or left for at_once, left in each), "one was refused, and waited for the lock to be free"
        assert len(each) == 4
        assert [store.read(f"seldom/{number}") for number in range(4)] == [b"seldom %d" % n for n in range(4)]
        store.put("last", "after a kill between COMMIT and journal the next write brings the journal level")
    assert not holdfast.fsck(store.path).findings


def test_an_order_that_is_not_whole_or_for_another_store_is_not_made(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None], tmp_path: Any
) -> None:
    store, other, _ = crowd
    queue = queue_of(other)
    whole = combining.order(other._handle, "f/torn", b"content that is torn")
    assert whole is not None
    with holdfast.create(tmp_path / "another") as another:
        foreign = combining.order(another._handle, "f/foreign", b"of another store")
    assert foreign is not None
    seats = [seat for _ in range(4) if (seat := queue.seat()) is not None]
    for seat, data in zip(seats, (whole[:-4] + b"TORN", whole[:9], b"", foreign), strict=True):
        seat.post(data)
    held()
    assert crowded_put(store, "f/own", b"own").created
    assert [seat.answer() for seat in seats] == [b""] * 4
    assert {one.path for one in store.find()} == {"f/first", "f/own"}
    for seat in seats:
        queue.leave(seat)


@pytest.mark.parametrize("answer", [b"not JSON", b"[]", b'{"tx": "of another", "folder": "x"}'])
def test_an_answer_that_is_not_for_it_is_not_believed(
    crowd: tuple[Store, Store, Waiting], held: Callable[[], None], answer: bytes
) -> None:
    store, _, waiting = crowd
    found = waiting("f/x", b"x")
    (order,) = queue_of(store).take(1)
    queue_of(store).answer([(order.seat, answer)])
    held()
    assert found.result(60).artifact == store.get("f/x")


def test_what_is_made_in_a_run_is_linked_to_it(crowd: tuple[Store, Store, Waiting]) -> None:
    store, other, _ = crowd
    begun, may_put = threading.Event(), threading.Event()

    def put_in_a_run() -> tuple[PutResult, str]:
        with other.runs.start("train") as run:
            begun.set()
            assert may_put.wait(60)
            return crowded_put(other, "f/in a run", b"1"), run.id

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(put_in_a_run)
        assert begun.wait(60)
        store._handle.writer.acquire("test", wait_s=60)
        may_put.set()
        until(lambda: posted(other) == 1)
        store._handle.writer.release()
        result, run = found.result(60)
    assert store.get("f/in a run").revision.run_id == run
    assert result.artifact == store.get("f/in a run")
