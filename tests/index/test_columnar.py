"""Rows that go in by columns are the rows that go in one by one, with the same checksums."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.index import columnar, proof
from holdfast.index.rows import Alike
from holdfast.index.sqlite import SqliteIndex

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SMALL = st.integers(-2, 2) | st.integers(-(1 << 63), (1 << 63) - 1)
CELL = st.none() | SMALL | TEXT
"""Few values: so that columns are alike, or the key again, now and then."""


@st.composite
def revisions(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Rows of `revision` with keys of their own, some of whose columns are the same in all, or the key."""
    count = draw(st.integers(1, 40))
    keys = range(1, count + 1)
    columns: list[list[Any]] = [list(keys)]
    for column in proof.COLUMNS["revision"][1:]:
        cells = TEXT | st.none() if column in ("metadata", "message", "source_name") else SMALL
        how = draw(st.sampled_from(["alike", "key", "own"]))
        if how == "alike":
            columns.append([draw(cells)] * count)
        elif how == "key" and column not in ("metadata", "message", "source_name"):
            columns.append(list(keys))
        else:
            columns.append(draw(st.lists(cells, min_size=count, max_size=count)))
    for number, name in enumerate(proof.COLUMNS["revision"]):
        if name in ("artifact", "number", "content", "media_type", "state"):
            columns[number] = [0 if cell is None else cell for cell in columns[number]]
    columns[2] = list(keys)  # (artifact, number) is unique
    return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SqliteIndex:
    """An empty one."""
    made = SqliteIndex(str(tmp_path_factory.mktemp("columnar") / "index.sqlite3"))
    made.migrate()
    return made


@settings(max_examples=40)
@given(rows=revisions())
def test_every_row_stands_as_it_was_given_and_proves_itself(index: SqliteIndex, rows: list[tuple[Any, ...]]) -> None:
    connection = index.database.raw()
    connection.execute("BEGIN")
    try:
        columnar.write(connection, "revision", list(rows))
        found = connection.execute(f"SELECT {', '.join(proof.COLUMNS['revision'])}, crc FROM revision ORDER BY key")
        assert [tuple(row) for row in found] == [(*row, proof.checksum("revision", *row)) for row in rows]
    finally:
        connection.execute("ROLLBACK")


@settings(max_examples=40)
@given(rows=revisions())
def test_what_is_said_to_be_alike_stands_as_what_is_found_to_be(
    index: SqliteIndex, rows: list[tuple[Any, ...]]
) -> None:
    keys, *others = [[*column] for column in zip(*rows, strict=True)]
    said = [Alike(one[0]) if one == one[:1] * len(rows) else keys if one == keys else one for one in others]
    connection = index.database.raw()
    connection.execute("BEGIN")
    try:
        columnar.write_columns(connection, "revision", [keys, *said])
        found = connection.execute(f"SELECT {', '.join(proof.COLUMNS['revision'])}, crc FROM revision ORDER BY key")
        assert [tuple(row) for row in found] == [(*row, proof.checksum("revision", *row)) for row in rows]
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize(
    "mixed", [[1, True], [1, 1.0], ["%d", "%d"], [b"%", b"%"], [None, None], ["\x1f'\"", "é\U0001f600"]]
)
def test_what_is_equal_and_is_not_written_alike_keeps_its_own_checksum(index: SqliteIndex, mixed: list[Any]) -> None:
    rows = [(number, "k", str(number), cell) for number, cell in enumerate(mixed * 5)]
    kept = [(*row, proof.checksum("container", *row)) for row in rows]
    connection = index.database.raw()
    connection.execute("BEGIN")
    try:
        connection.execute("DELETE FROM container")
        columnar.write(connection, "container", list(rows))
        found = dict(connection.execute("SELECT key, crc FROM container").fetchall())
        assert found == {row[0]: row[-1] for row in kept}
    finally:
        connection.execute("ROLLBACK")


def changed(row: tuple[Any, ...], at: int, cell: Any) -> tuple[Any, ...]:
    return (*row[:at], cell, *row[at + 1 :])


@settings(max_examples=60)
@given(rows=revisions(), data=st.data())
def test_rows_are_those_of_columns_only_if_each_cell_and_its_type_is(rows: list[tuple[Any, ...]], data: Any) -> None:
    columns = [[*cells] for cells in zip(*rows, strict=True)]
    alike = [Alike(c[0]) if n and len({*map(repr, c)}) == 1 else c for n, c in enumerate(columns)]
    found = [(*row, proof.checksum("revision", *row)) for row in rows]
    assert columnar.are_rows("revision", columns, found)
    assert columnar.are_rows("revision", alike, found)
    row, at = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, len(found[0]) - 1))
    cell = found[row][at]
    others = [b"", "x", None, *([cell + 1, float(cell), str(cell)] if type(cell) is int else [])]
    other = data.draw(st.sampled_from([one for one in others if type(one) is not type(cell) or one != cell]))
    found[row] = changed(found[row], at, other)
    assert not columnar.are_rows("revision", columns, found)
    assert not columnar.are_rows("revision", alike, found)


def test_rows_are_not_those_of_columns_if_there_are_more_or_fewer() -> None:
    rows = [(key, bytes([key]) * 32, 5) for key in range(1, 30)]
    found = [(*row, proof.checksum("content", *row)) for row in rows]
    columns = [[*cells] for cells in zip(*rows, strict=True)]
    assert columnar.are_rows("content", columns, found)
    assert not columnar.are_rows("content", columns, found[1:])
    assert not columnar.are_rows("content", columns, [*found, found[0]])
    assert not columnar.are_rows("content", [[], [], []], found)
    assert columnar.are_rows("content", [[], [], []], [])
