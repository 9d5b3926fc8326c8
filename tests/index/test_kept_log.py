"""The write-ahead log keeps its length: what is in it is written over, and all processes see when it is full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import StorageIOError
from holdfast.index import sqlite
from holdfast.index.database import Database
from holdfast.index.sqlite import SqliteIndex

KEPT = 256 << 10


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_BYTES", KEPT)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], SqliteIndex]]:
    """Handles on one index."""
    made: list[SqliteIndex] = []

    def another() -> SqliteIndex:
        made.append(SqliteIndex(str(tmp_path / "index.sqlite3")))
        return made[-1]

    first = another()
    first.prepare()
    first.database.run("CREATE TABLE filler (key INTEGER PRIMARY KEY, value TEXT)")
    yield another
    for one in made:
        one.close()


def log_of(index: SqliteIndex) -> int:
    return os.stat(index.path + "-wal").st_size


def commit(index: SqliteIndex, number: int, size: int = 9_000) -> None:
    index.begin()
    index.database.run("INSERT OR REPLACE INTO filler VALUES (?, ?)", (number % 7, f"{number} " + "x" * size))
    index.commit()


def fill(index: SqliteIndex, start: int = 0) -> int:
    """Commits until a checkpoint is due; the number of the next."""
    number = start
    while not index.checkpoint_due():
        commit(index, number)
        number += 1
    return number


def marks(index: SqliteIndex) -> list[str]:
    return (index.meta(sqlite.LOG) or "").split()


def in_the_file(index: SqliteIndex) -> list[str]:
    bare = Database(index.path, read_only=True, without_log=True)
    try:
        found = bare.rows("SELECT value FROM meta WHERE key = 'log'")
        return str(found[0][0]).split() if found else ["0"]
    finally:
        bare.close_every()


def test_the_file_does_not_grow_again_until_it_is_full(opened: Callable[[], SqliteIndex]) -> None:
    index = opened()
    number = fill(index)
    for _ in range(3):
        index.checkpoint()
        assert log_of(index) == KEPT, "cut to what is kept"
        assert not index.checkpoint_due()
        sizes = []
        for _ in range(10):
            commit(index, number)
            sizes.append(log_of(index))
            number += 1
        assert set(sizes) == {KEPT}
        [(found,)] = index.database.rows("SELECT value FROM filler WHERE key = ?", ((number - 1) % 7,))
        assert found.startswith(f"{number - 1} ")
        number = fill(index, number)
        assert KEPT < log_of(index) < KEPT + 40_000


def test_all_handles_see_by_the_files_length_that_it_is_full(opened: Callable[[], SqliteIndex]) -> None:
    first, second = opened(), opened()
    number = fill(first)
    first.checkpoint()
    while not first.checkpoint_due():
        assert not second.checkpoint_due()
        commit(first if number % 2 else second, number)
        number += 1
    assert second.checkpoint_due()
    second.checkpoint()
    assert not first.checkpoint_due()


def test_a_forced_checkpoint_leaves_no_byte_of_what_was_in_it(opened: Callable[[], SqliteIndex]) -> None:
    index = opened()
    commit(index, 0)
    fill(index, 1)
    index.checkpoint()
    commit(index, 2)
    index.checkpoint(force=True)
    assert log_of(index) == 0
    commit(index, 3)
    assert log_of(index) < KEPT, "and it begins short again"


def test_what_begins_the_log_anew_says_what_it_follows(opened: Callable[[], SqliteIndex]) -> None:
    index = opened()
    number = 0
    for _ in range(4):
        number = fill(index, number)
        index.checkpoint()
        assert marks(index)[0] == in_the_file(index)[-1]
        assert len(marks(index)) == 2
        assert index.log_is_own()


def test_who_comes_after_one_that_died_before_it_signed_signs(
    opened: Callable[[], SqliteIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, other = opened(), opened()
    number = fill(index)
    index.checkpoint()
    number = fill(index, number)

    def dies(self: SqliteIndex, *, kept: int) -> None:
        raise StorageIOError("as if it had been killed here")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteIndex, "_sign_log", dies)
        with pytest.raises(StorageIOError):
            index.checkpoint()
    before = marks(other)
    assert in_the_file(other)[-1] == before[-1], "all is in the database"
    commit(other, number)
    after = marks(other)
    assert after[:-1] == before
    assert after[-1] not in before
    other.checkpoint()
    assert log_of(other) == KEPT
    assert other.log_is_own()


def test_a_log_that_a_reader_holds_is_signed_once_by_each_who_finds_it(opened: Callable[[], SqliteIndex]) -> None:
    index, other, reader = opened(), opened(), opened()
    number = fill(index)
    reader.database.run("BEGIN")
    reader.meta("log")
    commit(index, number)
    index.checkpoint()
    held = marks(index)
    for more in range(20):
        commit(index, number + more)
    assert marks(index) == held, "it is known that it cannot begin anew"
    for more in range(20):
        commit(other, number + more)
        if other.checkpoint_due():
            other.checkpoint()
    assert len(marks(other)) <= len(held) + 3
    reader.database.run("ROLLBACK")
    assert other.log_is_own()
    index.checkpoint(force=True)
    other.checkpoint(force=True)
    assert log_of(index) == 0


def test_one_who_knew_of_a_reader_signs_when_another_has_moved_the_pages_and_died(
    opened: Callable[[], SqliteIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, other, reader = opened(), opened(), opened()
    number = fill(index)
    reader.database.run("BEGIN")
    reader.meta("log")
    commit(index, number)
    index.checkpoint()
    reader.database.run("ROLLBACK")
    with monkeypatch.context() as patch:
        patch.setattr(SqliteIndex, "_sign_log", lambda *_, **__: None)
        other.checkpoint()
    before = marks(index)
    assert in_the_file(index)[-1] == before[-1]
    commit(index, number + 1)
    assert marks(index)[-1] not in before


def test_a_log_of_another_turn_is_not_laid_over_the_database(opened: Callable[[], SqliteIndex], tmp_path: Path) -> None:
    """The files of two moments, each of them whole: what a copy or a restore of single files leaves."""
    index, number = opened(), 0
    for turn in range(3):
        number = fill(index, number)
        index.checkpoint()
        commit(index, number)
        for suffix in ("", "-wal"):  # by another process: no code of this one may open them
            subprocess.run(["cp", index.path + suffix, str(tmp_path / f"turn {turn}{suffix}")], check=True)
    for database in range(3):
        for log in range(3):
            mixed = tmp_path / f"mixed {database}{log}"
            shutil.copy(tmp_path / f"turn {database}", mixed)
            shutil.copy(tmp_path / f"turn {log}-wal", f"{mixed}-wal")
            found = SqliteIndex(str(mixed))
            if database != log + 1:  # else all that the log had is in the database, and more: it did belong to it
                assert found.log_is_own() == (database == log), (database, log)
            found.close()
