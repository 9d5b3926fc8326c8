"""Opening: what a crash left is put right, a fork is reported and nothing touched, other folders are no stores."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Actor, Store
from holdfast.disk import Disk
from holdfast.errors import (
    ChainForkedError,
    FormatTooNewError,
    HandleDeadError,
    InvalidValueError,
    LockedError,
    NotAStoreError,
    SchemaTooNewError,
    StoreExistsError,
)
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.index.database import Database
from holdfast.index.tables import LOGICAL

RowsOf = Callable[[Store], dict[str, list[tuple[Any, ...]]]]


def in_journal(store: Store) -> list[str]:
    return [item.transaction.entry.tx for _, item in store._handle.journal.scan() if isinstance(item, Located)]


def in_index(store: Store) -> list[str]:
    return [lines.decode(data, "index").entry.tx for data in store._handle.index.chain.read()]


def journal_file(root: str) -> Path:
    (path,) = Path(root, "journal").iterdir()
    return path


def put_index(root: str, data: bytes) -> None:
    """Other bytes in the same index file, as a power loss could leave it."""
    Path(root, "index.sqlite3").write_bytes(data)
    for suffix in ("-wal", "-shm"):
        Path(root, "index.sqlite3" + suffix).unlink(missing_ok=True)


# -- making ------------------------------------------------------------------------------------------------------------


def test_a_store_is_made_in_a_new_or_empty_folder_only(tmp_path: Path) -> None:
    made = holdfast.create(tmp_path / "a" / "b")
    made.close()
    (tmp_path / "empty").mkdir()
    holdfast.create(tmp_path / "empty").close()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").touch()
    (tmp_path / "file").touch()

    for path in ("a/b", "full", "file"):
        with pytest.raises(StoreExistsError):
            holdfast.create(tmp_path / path)
    assert os.listdir(tmp_path / "full") == ["notes"]


def test_a_creation_that_was_interrupted_can_be_repeated(tmp_path: Path) -> None:
    for folder in ("blobs", "tmp"):
        (tmp_path / "s" / folder).mkdir(parents=True)

    with pytest.raises(NotAStoreError):
        holdfast.open(tmp_path / "s")
    holdfast.create(tmp_path / "s").close()
    holdfast.open(tmp_path / "s").close()


def test_open_makes_a_store_only_when_told_to(tmp_path: Path) -> None:
    with pytest.raises(NotAStoreError) as caught:
        holdfast.open(tmp_path / "s")
    assert caught.value.exit_code == 10
    assert not (tmp_path / "s").exists()

    with holdfast.open(tmp_path / "s", create=True) as store:
        store.put("a", b"1")
    with holdfast.open(tmp_path / "s", create=True) as store:
        assert store.read("a") == b"1"


def test_a_fresh_store_answers_every_question(store: Store) -> None:
    assert list(store.find()) == []
    assert list(store.artifacts.list("", recursive=True)) == []
    assert list(store.collections.list("")) == []
    assert store.collections.contents("") == {"collections": 0, "artifacts": 0}
    assert list(store.changes.list()) == []
    assert store.changes.head().next_seq == 1
    assert store.search("anything").hits == ()
    assert store.gc().removed == 0


def test_two_stores_have_two_ids_and_chains(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "a") as one, holdfast.create(tmp_path / "b") as two:
        assert one.id != two.id
        assert one.changes.head() != two.changes.head()


# -- refusing ----------------------------------------------------------------------------------------------------------


def test_a_store_of_a_newer_format_is_refused_and_not_touched(root: str) -> None:
    holdfast.create(root).close()
    path = Path(root, "holdfast.json")
    path.write_bytes(path.read_bytes().replace(b'"format":0', b'"format":7'))
    before = {p: p.stat().st_mtime_ns for p in Path(root).rglob("*")}

    with pytest.raises(FormatTooNewError) as caught:
        holdfast.open(root)

    assert (caught.value.exit_code, caught.value.fields["found"]) == (12, 7)
    assert {p: p.stat().st_mtime_ns for p in Path(root).rglob("*")} == before


def test_an_index_of_a_newer_schema_is_refused_not_rebuilt(root: str) -> None:
    holdfast.create(root).close()
    database = Database(str(Path(root, "index.sqlite3")))
    database.run("INSERT INTO schema_version VALUES (99, 'later', 'x')")
    database.close_every()

    with pytest.raises(SchemaTooNewError) as caught:
        holdfast.open(root)
    assert caught.value.exit_code == 12


@pytest.mark.parametrize("actor", [Actor("Ada", "robot"), Actor(""), Actor("A\0"), Actor("\udcff"), "\udcff"])
def test_an_actor_that_could_not_be_written_down_is_refused_at_once(root: str, actor: Any) -> None:
    holdfast.create(root).close()

    with pytest.raises(InvalidValueError):
        holdfast.open(root, actor=actor)


def test_the_actor_is_the_one_named_or_of_the_environment(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_ACTOR", "Grace: a name")
    with holdfast.create(root) as store:
        store.put("a", b"1")
    with holdfast.open(root, actor=Actor("cron", "schedule")) as store:
        store.put("a", b"2")
        changes = [(c.actor, c.actor_kind) for c in store.artifacts.log("a")]

    assert changes == [("Grace: a name", "api"), ("cron", "schedule")]


# -- putting right -----------------------------------------------------------------------------------------------------


def test_everything_survives_closing_and_opening_byte_for_byte(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root) as store:
        store.put("c/a", b"\x00\xff" * 1000, metadata={"n": -0.0, "big": 10**30}, tags=["t"])
        store.put("c/a", "é", message="second")
        rows = rows_of(store)
        artifact, history = store.get("c/a"), store.artifacts.revisions("c/a")
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt
        assert rows_of(store) == rows
        assert (store.get("c/a"), store.artifacts.revisions("c/a")) == (artifact, history)
        assert store.read("c/a", revision=1) == b"\x00\xff" * 1000


@pytest.mark.parametrize("loss", ["missing", "empty", "garbage", "cut"])
def test_an_index_that_is_lost_or_damaged_is_derived_anew(root: str, rows_of: RowsOf, loss: str) -> None:
    with holdfast.create(root) as store:
        for n in range(30):
            store.put(f"{n % 3}/{n}", f"content {n}", metadata={"n": n})
        rows = rows_of(store)
    path = Path(root, "index.sqlite3")
    if loss == "missing":
        path.unlink()
    else:
        data = path.read_bytes()
        put_index(root, {"empty": b"", "garbage": b"x" * 5000, "cut": data[:4096]}[loss])

    with holdfast.open(root) as store:
        assert store.opened.rebuilt
        assert store.opened.transactions == 30
        assert store.opened.reason
        assert rows_of(store) == rows
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", ["derive-whole", "index.sqlite3"])
def test_killed_while_the_index_is_replaced_what_only_the_old_one_had_is_not_lost(
    root: str, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch, name: str, read_only: bool
) -> None:
    with holdfast.create(root) as store:
        for number in range(5):
            store.put(f"a/{number}", f"text {number}")
        before = rows_of(store)
    journal_file(root).write_bytes(journal_file(root).read_bytes().replace(b"a", b"b", 1))  # its first line is damaged
    index = Path(root, "index.sqlite3")
    shutil.copyfile(index, index.with_suffix(".copy"))
    os.replace(index.with_suffix(".copy"), index)
    real = Disk.rename

    def killed_before(self: Disk, source: str, target: str) -> None:
        if os.path.basename(target).startswith(name):
            raise KeyboardInterrupt
        real(self, source, target)

    monkeypatch.setattr(Disk, "rename", killed_before)
    with pytest.raises(KeyboardInterrupt):
        holdfast.open(root)
    monkeypatch.undo()
    assert index.exists() == (name == "derive-whole")
    if read_only:
        with holdfast.open(root, read_only=True) as store:
            assert {table: rows_of(store)[table] for table in LOGICAL} == {table: before[table] for table in LOGICAL}
    with holdfast.open(root) as store:
        assert store.opened.rebuilt
        assert {table: rows_of(store)[table] for table in LOGICAL} == {table: before[table] for table in LOGICAL}
        assert os.listdir(Path(root, "tmp")) == []


def test_an_index_that_is_behind_the_journal_is_an_older_one_and_is_derived_anew(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root) as store:
        store.put("a", b"1")
    old = Path(root, "index.sqlite3").read_bytes()
    with holdfast.open(root) as store:
        with store.transaction():
            store.put("b/c", b"2")
            store.artifacts.delete("a")
        store.put("d", b"3")
        logical = rows_of(store)
    put_index(root, old)

    with holdfast.open(root) as store:
        assert "older than the journal" in store.opened.reason
        assert rows_of(store) == logical
        assert in_journal(store) == in_index(store)
        assert store.put("e", b"4").created


@pytest.mark.parametrize("lost", ["all", "the last", "half of the last", "the folder"])
def test_a_journal_that_is_behind_the_index_catches_up(root: str, lost: str) -> None:
    with holdfast.create(root) as store:
        for n in range(3):
            store.put(f"a{n}", b"1")
    path = journal_file(root)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, whole.rindex(b'{"entry"') - 2) + 1
    if lost == "the folder":
        shutil.rmtree(path.parent)
    elif lost == "all":
        path.unlink()
    else:
        path.write_bytes(whole[: last if lost == "the last" else last + 30])

    with holdfast.open(root) as store:
        assert in_journal(store) == in_index(store)
        assert len(in_journal(store)) == 3
        store.put("b", b"2")
        assert in_journal(store) == in_index(store)
    if lost != "half of the last":
        assert journal_file(root).read_bytes().startswith(whole)


def forked(root: str, tmp_path: Path, *, index: list[int], journal: list[int]) -> None:
    """A store whose index and journal went apart after a common start: sizes of the transactions that followed."""

    def go_on(path: Path | str, sizes: list[int]) -> None:
        with holdfast.open(path) as store:
            for size in sizes:
                with store.transaction():
                    for n in range(size):
                        store.put(f"{size}-{n}", os.urandom(8))

    with holdfast.create(root) as store:
        store.put("common", b"1")
    other = tmp_path / "other"
    shutil.copytree(root, other)
    go_on(root, index)
    go_on(other, journal)
    journal_file(root).write_bytes(journal_file(str(other)).read_bytes())


@pytest.mark.parametrize(
    ("index", "journal"),
    [([1], [1]), ([1], [1, 1]), ([1, 1], [1]), ([3], [1]), ([1], [3]), ([3], [1, 1]), ([2, 2], [1]), ([1, 1], [2])],
)
def test_two_histories_that_contradict_each_other_are_a_fork_and_nothing_is_touched(
    root: str, tmp_path: Path, index: list[int], journal: list[int], rows_of: RowsOf
) -> None:
    forked(root, tmp_path, index=index, journal=journal)
    before = journal_file(root).read_bytes()
    with holdfast.open(root, read_only=True) as store:
        rows = rows_of(store)

    for _ in range(2):
        with pytest.raises(ChainForkedError) as caught:
            holdfast.open(root)
        assert caught.value.fields["seq"] >= 3

    assert journal_file(root).read_bytes() == before
    with holdfast.open(root, read_only=True) as store:
        assert rows_of(store) == rows


def test_a_fork_under_an_open_handle_stops_its_next_write(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        store.put("common", b"1")
        path = journal_file(root)
        path.write_bytes(path.read_bytes().replace(b"common", b"uncomm"))
        with pytest.raises(ChainForkedError):
            path.write_bytes(path.read_bytes() + b"")
            other = tmp_path / "other"
            with holdfast.create(other) as foreign:
                foreign.put("x", b"1")
                foreign.put("y", b"1")
            path.write_bytes(journal_file(str(other)).read_bytes())
            store.put("a", b"2")
        assert store.get("common").number == 1


# -- with others -------------------------------------------------------------------------------------------------------


def test_a_writer_that_waits_too_long_is_told_who_writes(root: str) -> None:
    with holdfast.create(root) as one, holdfast.open(root, lock_wait_s=0.05) as two:
        with one.transaction():
            one.put("a", b"1")
            with pytest.raises(LockedError) as caught:
                two.put("b", b"2")
        assert caught.value.exit_code == 11
        holder = caught.value.fields["holder"]
        assert isinstance(holder, dict)
        assert holder["pid"] == os.getpid()
        assert str(os.getpid()) in str(caught.value)
        assert holder["doing"] == "transaction"
        assert two.put("b", b"2").created


def test_readers_and_openers_do_not_wait_for_a_writer(root: str) -> None:
    with holdfast.create(root) as one:
        with one.transaction():
            one.put("a", b"1")
            with holdfast.open(root, lock_wait_s=0.0) as two:
                assert list(two.find()) == []
        with one.transaction():
            one.put("a", b"2")
            with holdfast.open(root, lock_wait_s=0.0) as two:
                assert two.read("a") == b"1"


def test_the_lock_of_a_process_that_was_killed_is_free(root: str) -> None:
    holdfast.create(root).close()
    program = (
        "import holdfast, sys\n"
        f"store = holdfast.open({root!r})\n"
        "with store.transaction():\n"
        "    store.put('never', b'1')\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()

    with holdfast.open(root, lock_wait_s=5.0) as store:
        assert list(store.find()) == []
        assert store.put("a", b"1").created


def test_two_handles_see_what_the_other_has_committed(root: str) -> None:
    with holdfast.create(root) as one, holdfast.open(root) as two:
        for n in range(5):
            one.put("a", f"one {n}")
            assert two.read("a") == f"one {n}".encode()
            two.put("a", f"two {n}", type=f"type {n}")
            assert (one.read("a"), one.get("a").type) == (f"two {n}".encode(), f"type {n}")
        assert in_journal(one) == in_index(two)


# -- forks of the process ----------------------------------------------------------------------------------------------


def in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` says yes in a forked child."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def dead(call: Callable[[], Any]) -> bool:
    try:
        call()
    except HandleDeadError:
        return True
    return False


pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def test_a_handle_is_dead_in_a_forked_child_and_alive_in_the_parent(store: Store) -> None:
    store.put("a", b"1")

    assert in_child(
        lambda: all(
            dead(call)
            for call in (
                lambda: store.get("a"),
                lambda: store.put("b", b"2"),
                lambda: list(store.find()),
                lambda: store.search("a"),
            )
        )
    )
    assert in_child(lambda: store.close() is None)
    assert store.put("b", b"2").created
    assert store.read("a") == b"1"


def test_a_child_that_dies_takes_neither_the_lock_nor_the_changes_of_its_parent(store: Store, root: str) -> None:
    def work() -> bool:
        def nested() -> None:
            with store.transaction():
                store.put("child", b"2")

        return dead(nested) and dead(lambda: store.put("child", b"2"))

    with store.transaction():
        store.put("a", b"1")
        assert in_child(work)
        with holdfast.open(root, lock_wait_s=0.0) as other, pytest.raises(LockedError) as caught:
            other.put("b", b"2")
        assert str(caught.value.fields["lock"]).endswith("locks/writer"), "not only SQLite stood in the way"
    assert [one.path for one in store.find()] == ["a"]


def test_a_child_opens_the_store_for_itself(store: Store, root: str) -> None:
    store.put("a", b"1")

    def work() -> bool:
        with holdfast.open(root) as own:
            own.put("b", b"2")
            return own.read("a") == b"1"

    assert in_child(work)
    assert store.read("b") == b"2"
    assert store.put("c", b"3").created
    assert in_journal(store) == in_index(store)


def test_a_fork_while_another_thread_writes_leaves_that_thread_alone(store: Store) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with store.transaction():
            store.put("a", b"1")
            inside.set()
            go_on.wait(10)
            store.put("b", b"2")

    worker = threading.Thread(target=write)
    worker.start()
    inside.wait(10)
    assert in_child(lambda: dead(lambda: store.get("a")))
    go_on.set()
    worker.join()

    assert [one.path for one in store.find(order="name")] == ["a", "b"]
