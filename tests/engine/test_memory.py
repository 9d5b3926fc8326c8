"""A store in memory: the same calls, nothing on disk, nothing left when it is closed, and a way to keep it."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store, disk, ram
from holdfast.errors import HandleDeadError, HoldfastError, LockedError, NotAStoreError
from holdfast.index.sqlite import SqliteIndex
from holdfast.testing.conformance.calls import CALLS, fill, names_of

Rows = dict[str, list[tuple[Any, ...]]]
_watched: list[list[str]] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook stays for ever, so it listens only while somebody wants to know."""
    if not _watched:
        return
    writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    opens = event == "sqlite3.connect" and args[0] != ":memory:"
    if writes or opens or event in ("os.mkdir", "os.link", "os.rename", "os.truncate", "tempfile.mkdtemp"):
        _watched[-1].append(f"{event}{args}")


sys.addaudithook(_hear)


@pytest.fixture
def store() -> Iterator[Store]:
    with holdfast.memory(actor="Ada") as made:
        yield made


def in_thread(work: Callable[[], Any]) -> Any:
    """What `work` gives in a thread of its own, or raises there."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def test_every_public_call_is_known_here(store: Store) -> None:
    assert sorted(names_of(store)) == sorted(CALLS)


def test_every_public_call_works(tmp_path: Path) -> None:
    """On one store for as long as those before have left what the next needs; then on a new one, where it must."""
    store = filled()
    for number, call in enumerate(CALLS.values()):
        try:
            call(store, new_folder(tmp_path / str(number)))
        except (HoldfastError, StopIteration):
            sound(store)
            store.close()
            store = filled()
            call(store, new_folder(tmp_path / f"{number}-again"))
    sound(store)
    store.close()


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


def filled() -> Store:
    store = holdfast.memory()
    fill(store)
    return store


def sound(store: Store) -> None:
    with contextlib.suppress(HandleDeadError):
        assert [one.code for one in store.fsck().findings if one.severity != "info"] == []


def test_a_call_gives_the_same_as_on_a_store_in_a_folder(tmp_path: Path, store: Store) -> None:
    with holdfast.create(tmp_path / "store", actor="Ada") as other:
        for one in (store, other):
            fill(one)
            one.put_many([(f"many/{n}", b"%d" % n) for n in range(50)])
            one.artifacts.purge("docs/a.md", revisions=[1])

        def seen(one: Store) -> Any:
            found = [(a.path, a.digest, a.metadata, a.tags, a.revision.number) for a in one.find(order="name")]
            return found, one.status().counts, [c.action for c in one.changes.list()], one.search("text").hits[0].score

        assert seen(store) == seen(other)


def test_nothing_is_written_anywhere(store: Store) -> None:
    fill(store)  # what is imported on first use is compiled now
    store.at(3).close()
    store.fsck()
    heard: list[str] = []
    _watched.append(heard)
    try:
        fill_more(store)
    finally:
        _watched.clear()
    assert [one for one in heard if ".pyc" not in one] == []


def fill_more(store: Store) -> None:
    store.put("big", os.urandom(3 << 20))
    store.put_many([(f"many/{n}", b"%d" % n) for n in range(300)])
    assert store.search("text").hits
    with store.at(3) as view:
        assert [one.path for one in view.artifacts.find()]
    store.gc(grace_s=0)
    store.repack()
    store.fsck()
    assert store.audit.verify().proven
    store.redact(store.get("b.txt"))


def test_closing_gives_all_memory_back() -> None:
    before = set(disk.VIRTUAL)
    store = holdfast.memory()
    fill(store)
    store.search("text")
    store.at(3).close()
    held = [weakref.ref(store._handle.disk), weakref.ref(store._handle.index.database)]
    place = str(store.path)
    store.close()
    store.close()
    with pytest.raises(HandleDeadError):
        store.get("docs/a.md")
    del store
    gc.collect()
    assert [one() for one in held] == [None, None]
    assert ram.database(f"{place}/index.sqlite3") is None
    assert set(disk.VIRTUAL) <= before


def test_stores_do_not_mix(store: Store) -> None:
    with holdfast.memory() as other:
        store.put("a", "of one")
        other.put("a", "of the other")
        assert (store.read("a"), other.read("a")) == (b"of one", b"of the other")
        assert store.id != other.id
        assert store.path != other.path
    assert store.read("a") == b"of one"


def test_a_copy_on_disk_is_the_same_store(tmp_path: Path, store: Store, rows_of: Callable[[Store], Rows]) -> None:
    fill(store)
    store.put("big", os.urandom(2 << 20))
    report = store.copy(tmp_path / "kept")
    with holdfast.open(tmp_path / "kept") as kept:
        assert kept.audit.head() == store.audit.head() == report.head
        assert (kept.id, kept.fsck().findings) == (store.id, ())
        assert rows_of(kept) == rows_of(store)
        assert all(kept.read(one) == store.read(one) for one in store.find())
        kept.put("more", "1")
    assert holdfast.fsck(tmp_path / "kept").findings == ()


def test_readers_wait_for_no_writer_and_see_only_what_is_committed(store: Store) -> None:
    store.put("a", "old")
    with store.transaction():
        store.put("a", "new")
        store.put("b", "1")
        assert in_thread(lambda: (store.read("a"), [one.path for one in store.find()])) == (b"old", ["a"])
        assert store.read("a") == b"new"
    assert in_thread(lambda: (store.read("a"), [one.path for one in store.find()])) == (b"new", ["a", "b"])


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    store.put("a", "1")
    before = store.audit.head()

    def fail() -> None:
        with store.transaction():
            store.put("b", "2")
            store.artifacts.delete("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ([one.path for one in store.find()], store.audit.head()) == (["a"], before)
    assert in_thread(lambda: [one.path for one in store.find()]) == ["a"]


def test_who_looks_at_one_state_keeps_it_while_others_write(store: Store) -> None:
    store.put("a", "1")
    path = os.path.join(str(store.path), "index.sqlite3")
    looking = SqliteIndex(path, read_only=True)
    looking.database.run("BEGIN")
    before = looking.database.rows("SELECT count(*) FROM revision")
    in_thread(lambda: store.put("b", "2"))
    store.put("c", "3")
    assert looking.database.rows("SELECT count(*) FROM revision") == before
    looking.database.run("ROLLBACK")
    assert looking.database.rows("SELECT count(*) FROM revision") == [(3,)]
    looking.close()
    assert [one.path for one in store.find()] == ["a", "b", "c"]


def test_eight_threads_write_and_read_at_once(store: Store) -> None:
    def work(name: int) -> None:
        for n in range(12):
            store.put(f"{name}/{n}", f"{name} {n}")
            assert store.read(f"{name}/{n}") == f"{name} {n}".encode()
            assert sum(1 for _ in store.find()) >= n

    failures: list[BaseException] = []

    def guarded(name: int) -> None:
        try:
            work(name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.status().counts["artifact"] == 96
    assert [one.seq for one in store.changes.list()] == list(range(1, 1 + 96 + 8 + 1))
    assert store.fsck().findings == ()


def test_another_thread_that_writes_waits_and_is_told_who_does(store: Store) -> None:
    store._handle.wait_s = 0.05
    with store.transaction():
        store.put("a", "1")
        with pytest.raises(LockedError) as caught:
            in_thread(lambda: store.put("b", "2"))
    assert caught.value.fields["waited_s"] == 0.05


def test_a_forked_child_has_no_store(store: Store) -> None:
    store.put("a", "1")
    if (child := os.fork()) == 0:
        try:
            store.get("a")
        except HandleDeadError:
            os._exit(7)
        except BaseException:
            os._exit(8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert store.read("a") == b"1"


def test_another_handle_of_the_same_process_works_on_the_same_store(store: Store) -> None:
    store.put("a", "1")
    second = holdfast.open(store.path, actor="Eve")
    second.put("a", "2")
    assert store.read("a") == b"2"
    with store.for_tenant("acme") as theirs:
        theirs.put("a", "theirs")
        assert (theirs.read("a"), store.read("a")) == (b"theirs", b"2")
    place = store.path
    store.close()
    assert second.read("a") == b"2"
    assert second.fsck().findings == ()
    second.close()
    with pytest.raises(NotAStoreError):
        holdfast.open(place)


def test_a_consumer_of_changes_goes_on_where_it_was(store: Store) -> None:
    consumer = store.outbox.create("mine")
    store.put("a", "1")
    seen = []
    with holdfast.open(store.path) as second:
        assert [one.name for one in second.outbox.list()] == ["mine"]
        seen = [one.behind for one in second.outbox.list()]
    assert seen == [store.changes.head().next_seq - 1]
    assert consumer is not None


def test_calls_that_go_by_path_say_that_there_is_nothing(store: Store, tmp_path: Path) -> None:
    for call in (holdfast.fsck, holdfast.rebuild, holdfast.repair):
        with pytest.raises(HoldfastError):
            call(store.path)
    with pytest.raises(HoldfastError):
        holdfast.restore(store.path, tmp_path / "restored")
