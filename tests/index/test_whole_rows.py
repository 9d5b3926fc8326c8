"""Rows of artifacts: handed over whole by SQLite, and proven together where they say the same."""

from __future__ import annotations

import itertools
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import IndexDamagedError
from holdfast.index.database import Database
from holdfast.index.select import proving
from holdfast.index.select.artifacts import COLUMNS, OF_KEYS, OTHERS

EVERY = f"FROM artifact t1 {OTHERS} ORDER BY t1.key"
CELLS = len(COLUMNS.split(","))
AT = {"name": 2, "type": 4, "status": 5, "owner": 13, "metadata": 23, "message": 24, "source_name": 26, "mode": 27,
      "mtime": 28, "digest": 33, "size": 34}  # fmt: skip


def filled(store: Store, folder: Path) -> list[tuple[Any, ...]]:
    """Rows of every sort: alike, files with times of their own, words of who wrote them, deleted, tagged, several."""
    (folder / "files").mkdir()
    for number in range(6):
        (folder / "files" / f"f{number}.txt").write_text(f"file {number}")
        store.put(f"alike/{number}.txt", f"alike {number}", metadata={"n": number, "said": "100 % 'sure' \\ é"})
        store.put(f"said/{number}.txt", f"said {number}", message=f"for reason {number} %d", owner=f"o{number % 2}")
    store.add(folder / "files", into="files")
    store.put("alike/1.txt", "again", type="other", tags=["t"])
    store.artifacts.delete("alike/2.txt")
    index = store._handle.index
    return index.database.rows(f"SELECT {COLUMNS} {EVERY}")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    folder = tmp_path_factory.mktemp("rows")
    with holdfast.create(folder / "store", actor="Ada") as made:
        return filled(made, folder)


def test_rows_that_are_handed_over_are_those_that_are_fetched(store: Store, tmp_path: Path) -> None:
    rows = filled(store, tmp_path)
    database = store._handle.index.database

    found = database.whole(COLUMNS, f"FROM (SELECT key FROM artifact) k {OF_KEYS}")

    assert sorted(found) == sorted(rows)
    assert all(len(row) == CELLS for row in found)
    assert database.whole("t1.key", "FROM artifact t1 WHERE t1.key = ?", (-1,)) == []


def test_each_thing_that_a_cell_can_be_comes_as_it_is(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "one.sqlite3"))
    given = (0, -(2**63), 2**63 - 1, 1.5, "", "é\0ü", b"", b"\0\xff", None)
    database.run("CREATE TABLE t (n INTEGER, v)")
    for number, value in enumerate(given):
        database.run("INSERT INTO t VALUES (?, ?)", (number, value))

    found = [value for _, value in sorted(database.whole("n, v", "FROM t"))]

    assert found == list(given)
    assert [type(one) for one in found] == [type(one) for one in given]
    database.close_every()


def test_a_statement_that_fails_leaves_nothing_to_the_next_one(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "one.sqlite3"))
    database.run("CREATE TABLE t (v)")
    database.run("INSERT INTO t VALUES (1), (CAST(x'ff' AS TEXT))")

    with pytest.raises(IndexDamagedError):
        database.whole("v", "FROM t")
    assert database.whole("v", "FROM t WHERE v = 1") == [(1,)]
    database.close_every()


def test_a_signal_while_rows_are_handed_over_is_no_damage(tmp_path: Path) -> None:
    """SQLite asks a function of Python's for each row, and says of whatever it raises only that it did."""

    class Pressed(list[Any]):
        def append(self, _: object) -> None:
            raise KeyboardInterrupt

    database = Database(str(tmp_path / "one.sqlite3"))
    database.run("CREATE TABLE t (v)")
    database.run("INSERT INTO t VALUES (1)")
    pressed = Pressed()
    database.raw().create_function("taken", -1, lambda *cells: pressed.append(cells))
    database._own.taken = pressed

    with pytest.raises(KeyboardInterrupt):
        database.whole("v", "FROM t")
    database.close_every()


def test_sound_rows_of_every_sort_are_proven_together_in_any_order(rows: list[tuple[Any, ...]]) -> None:
    for seed in range(20):
        rows = random.Random(seed).sample(rows, len(rows))
        proving.prove_all(rows)
    assert any(forms is not None for forms in proving._known.values())


@pytest.mark.parametrize("cell", range(CELLS))
def test_whatever_changes_in_a_row_among_its_like_is_damage(rows: list[tuple[Any, ...]], cell: int) -> None:
    proving.prove_all(rows * 2)  # what they have alike is known
    for place, row in enumerate(rows):
        for other in (1, 7_000_000_000, 1.5, "x", b"x", None, "%d"):
            if row[cell] == other or (other == 1.5 and isinstance(row[cell], int)):
                continue  # a whole number in these columns is written as one
            wrong = [*rows[:place], (*row[:cell], other, *row[cell + 1 :]), *rows[place + 1 :]]
            with pytest.raises(IndexDamagedError):
                proving.prove_all(wrong)


@pytest.mark.parametrize("column", AT)
def test_a_cell_that_moved_to_another_row_is_damage(rows: list[tuple[Any, ...]], column: str) -> None:
    at = AT[column]
    proving.prove_all(rows * 2)
    for one, other in itertools.pairwise(rows):
        if one[at] != other[at]:
            with pytest.raises(IndexDamagedError):
                proving.prove_all([(*one[:at], other[at], *one[at + 1 :]), other])


def test_what_is_known_of_likes_is_bounded_and_forgotten(rows: list[tuple[Any, ...]], monkeypatch: Any) -> None:
    monkeypatch.setattr(proving, "_known", {})
    monkeypatch.setattr(proving, "_MOST", 2)
    proving.prove_all(rows * 3)
    assert 0 < len(proving._known) <= 2


def test_pages_in_every_order_are_what_they_were(root: str, tmp_path: Path) -> None:
    with holdfast.create(root, actor="Ada") as store:
        filled(store, tmp_path)
        every = list(store.find())
        keys: dict[str, Any] = {
            "created": lambda one: one.created_at, "updated": lambda one: one.updated_at,
            "name": lambda one: one.name, "size": lambda one: one.size,
        }  # fmt: skip
        for field, key in keys.items():
            for sign in ("", "-"):
                whole = list(store.find(order=f"{sign}{field}"))
                assert sorted(one.id for one in whole) == sorted(one.id for one in every)
                values = [key(one) for one in whole]
                assert values == sorted(values, reverse=bool(sign))
                pages, token = [], None
                while True:
                    page = store.artifacts.page(order=f"{sign}{field}", limit=2, token=token)
                    pages += page.items
                    token = page.token
                    if token is None:
                        break
                assert pages == whole


def test_a_damaged_row_in_the_midst_of_a_page_is_refused(root: str, tmp_path: Path) -> None:
    with holdfast.create(root, actor="Ada") as store:
        filled(store, tmp_path)
        list(store.find(under="alike"))
    with sqlite3.connect(f"{root}/index.sqlite3") as index:
        index.execute("UPDATE artifact SET name = 'other.txt' WHERE name = '3.txt'")
    index.close()
    with holdfast.open(root, read_only=True) as store, pytest.raises(IndexDamagedError):
        list(store.find(under="alike", order="-created"))
