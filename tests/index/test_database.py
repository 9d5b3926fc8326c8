"""Connections: one for each thread, never those of another store, all closed together; no error of SQLite escapes."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import gc
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import (
    ConflictError,
    HandleDeadError,
    HoldfastError,
    IndexDamagedError,
    InvalidValueError,
    LockedError,
    NoSpaceError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.index import database as databases
from holdfast.index.database import Database, mapped
from holdfast.index.sqlite import SqliteIndex


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteIndex]:
    made = SqliteIndex(str(tmp_path / "index.sqlite3"))
    made.prepare()
    yield made
    made.close()


def test_every_connection_is_set_up_alike(index: SqliteIndex) -> None:
    def settings() -> dict[str, int]:
        names = ("synchronous", "wal_autocheckpoint", "mmap_size", "trusted_schema", "journal_size_limit")
        return {name: index.database.rows(f"PRAGMA {name}")[0][0] for name in names}

    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(settings).result()

    assert settings() == theirs
    assert settings() == {
        "synchronous": 3, "wal_autocheckpoint": 0, "mmap_size": 0, "trusted_schema": 0,
        "journal_size_limit": databases.WAL_KEPT_BYTES,
    }  # fmt: skip


def test_each_thread_has_its_own_connection_and_those_of_dead_threads_are_closed(index: SqliteIndex) -> None:
    seen = []
    for _ in range(20):
        worker = threading.Thread(target=lambda: seen.append(index.database.raw()))
        worker.start()
        worker.join()

    assert len(set(map(id, seen))) > 1
    assert index.database.raw() not in seen
    assert len(index.database._every) <= 2
    with pytest.raises(sqlite3.ProgrammingError):
        seen[0].execute("SELECT 1")


def test_after_closing_every_thread_gets_a_dead_handle(tmp_path: Path) -> None:
    index = SqliteIndex(str(tmp_path / "index.sqlite3"))
    index.prepare()
    ready, gate, outcome = threading.Event(), threading.Event(), []

    def use() -> None:
        index.meta("x")
        ready.set()
        gate.wait(10)
        try:
            index.meta("x")
        except HoldfastError as error:
            outcome.append(type(error))

    worker = threading.Thread(target=use)
    worker.start()
    ready.wait(10)
    index.close()
    index.close()
    gate.set()
    worker.join()

    assert outcome == [HandleDeadError]
    with pytest.raises(HandleDeadError):
        index.meta("x")
    assert not Path(index.path + "-wal").exists()


def test_an_index_in_a_folder_of_any_name_is_found(tmp_path: Path) -> None:
    for name in ("a b", "50%", "a?b", "a#b", "a%20b", "é\n", "a&b=c"):
        folder = tmp_path / name
        folder.mkdir()
        index = SqliteIndex(str(folder / "index.sqlite3"))
        index.prepare()
        index.close()
        assert (folder / "index.sqlite3").stat().st_size > 0


def sqlite_error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), NoSpaceError),
        (sqlite_error(sqlite3.SQLITE_BUSY), LockedError),
        (sqlite_error(sqlite3.SQLITE_BUSY | (2 << 8)), LockedError),
        (sqlite_error(sqlite3.SQLITE_LOCKED), LockedError),
        (sqlite_error(sqlite3.SQLITE_READONLY | (1 << 8)), ReadOnlyError),
        (sqlite_error(sqlite3.SQLITE_IOERR | (4 << 8)), StorageIOError),
        (sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE), NoSpaceError),
        (sqlite_error(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError), IndexDamagedError),
        (sqlite_error(sqlite3.SQLITE_NOTADB, sqlite3.DatabaseError), IndexDamagedError),
        (sqlite_error(sqlite3.SQLITE_CONSTRAINT, sqlite3.IntegrityError), ConflictError),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), HandleDeadError),
        (sqlite3.InterfaceError("Error binding parameter 0"), InvalidValueError),
        (OverflowError("Python int too large"), InvalidValueError),
        (sqlite3.OperationalError("no such table"), IndexDamagedError),
    ],
)
def test_each_error_of_sqlite_has_its_own_of_ours(error: Exception, expected: type[HoldfastError]) -> None:
    assert type(mapped(error, "index.sqlite3")) is expected


@pytest.mark.parametrize("there", [True, False])
def test_an_index_that_permissions_let_be_opened_and_that_is_not_has_trouble_with_its_disk(
    tmp_path: Path, there: bool
) -> None:
    path = tmp_path / "index.sqlite3"
    if there:
        path.touch()

    assert type(mapped(sqlite_error(sqlite3.SQLITE_CANTOPEN), str(path))) is StorageIOError


@pytest.mark.parametrize("refused", ["the folder", "the file", "there is no folder"])
def test_an_index_that_permissions_keep_from_being_opened_is_read_only(
    tmp_path: Path, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("nowhere/index.sqlite3" if refused == "there is no folder" else "index.sqlite3")
    if refused == "the file":
        path.touch()
    forbidden = {"the folder": str(tmp_path), "the file": str(path)}.get(refused)
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != forbidden)

    assert type(mapped(sqlite_error(sqlite3.SQLITE_CANTOPEN), str(path))) is ReadOnlyError


def test_an_error_while_connecting_is_known_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for damage, it had the index derived anew."""

    def failing(_: sqlite3.Connection) -> None:
        raise sqlite_error(sqlite3.SQLITE_IOERR | (4 << 8))

    monkeypatch.setattr(databases.proof, "install", failing)
    database = Database(str(tmp_path / "index.sqlite3"))
    with pytest.raises(StorageIOError):
        database.rows("SELECT 1")
    database.close_every()


@pytest.mark.parametrize("bad", [2**63, "\udcff", ["a list"], object()])
def test_a_value_that_no_row_can_hold_is_an_invalid_value_not_damage(index: SqliteIndex, bad: object) -> None:
    for call in (index.database.run, index.database.rows, index.database.one):
        with pytest.raises(InvalidValueError):
            call("SELECT ?", (bad,))


def test_a_file_that_is_no_database_is_a_damaged_index(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    path.write_bytes(b"not a database, and long enough to be read as one" * 100)
    index = SqliteIndex(str(path))

    for call in (index.check, index.migrate, lambda: index.meta("x"), lambda: list(index.dump("tx")), index.chain.head):
        with pytest.raises(IndexDamagedError):
            call()
    assert index.trouble() != []
    index.close()


def test_an_empty_file_has_no_tables_of_an_index(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite3").touch()
    index = SqliteIndex(str(tmp_path / "index.sqlite3"))

    with pytest.raises(IndexDamagedError):
        index.check()
    index.close()


def test_a_read_only_index_writes_nothing(index: SqliteIndex) -> None:
    reader = SqliteIndex(index.path, read_only=True)

    assert reader.meta("x") is None
    with pytest.raises(ReadOnlyError):
        reader.set_meta("x", "y")
    reader.close()


def test_a_savepoint_undoes_its_part_alone(index: SqliteIndex) -> None:
    index.begin()
    index.set_meta("a", "1")
    index.savepoint(1)
    index.set_meta("b", "1")
    index.savepoint(2)
    index.set_meta("c", "1")
    index.release(2)
    index.rollback_to(1)
    index.set_meta("d", "1")
    index.commit()

    assert [index.meta(key) for key in "abcd"] == ["1", None, None, "1"]


def test_many_open_stores_in_many_threads_never_mix(tmp_path: Path) -> None:
    """Model classes that are shared and bound in turns put rows of one store into another."""
    stores = [holdfast.create(tmp_path / str(n), actor=f"actor {n}") for n in range(4)]

    def work(job: tuple[int, int]) -> None:
        number, turn = job
        store = stores[number]
        store.put(f"own/{turn}", f"{number}:{turn}", tags=[f"t{number}"], metadata={"n": number})
        assert all(one.metadata == {"n": number} for one in store.find(tag=f"t{number}"))
        assert next(store.find(name="no such"), None) is None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [(number, turn) for turn in range(12) for number in range(4)]))

    for number, store in enumerate(stores):
        assert {one.metadata["n"] for one in store.find()} == {number}
        assert sorted(store.read(one.path).decode() for one in store.find()) == sorted(
            f"{number}:{turn}" for turn in range(12)
        )
        assert {change.actor for change in store.changes.list()} == {f"actor {number}"}
        store.close()


def test_a_transaction_in_one_store_is_none_of_another_in_the_same_thread(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "one") as one, holdfast.create(tmp_path / "two") as two:
        with pytest.raises(ZeroDivisionError), one.transaction():
            one.put("a", b"1")
            two.put("b", b"2")
            raise ZeroDivisionError

        assert (list(one.find()), [a.path for a in two.find()]) == ([], ["b"])
        with one.transaction(), two.transaction():
            one.put("c", b"1")
            two.put("d", b"2")
        assert ([a.path for a in one.find()], [a.path for a in two.find()]) == (["c"], ["b", "d"])


def test_closed_stores_leave_no_descriptors_behind(tmp_path: Path, open_files: Callable[[], int]) -> None:
    def use(store: Store) -> None:
        with store:
            store.put("a", b"x")
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda _: store.get("a"), range(6)))
            list(store.search("a").hits)

    use(holdfast.create(tmp_path / "s"))
    gc.collect()
    before = open_files()
    for _ in range(5):
        use(holdfast.open(tmp_path / "s"))
    gc.collect()

    assert open_files() <= before


@pytest.fixture
def open_files() -> Callable[[], int]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc to count open files")
    return lambda: len(list(folder.iterdir()))


def test_the_database_class_knows_when_it_was_closed_before_it_was_used(tmp_path: Path) -> None:
    made = Database(str(tmp_path / "x"))
    made.close_every()

    with pytest.raises(HandleDeadError):
        made.raw()
