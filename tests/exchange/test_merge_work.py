"""What a merge asks of the indexes: as much for each artifact of a large store as for each of a small one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.index.database import Database

_FEW, _MANY = 40, 200
_STEPS_EACH = 100
_ROOM = 1.1
"""A look that goes through every row makes each of the many cost up to twice as much and more."""


class Work:
    """Counts what all connections to indexes do: statements, and steps of SQLite's machine in hundreds."""

    def __init__(self) -> None:
        self.statements = self.steps = 0

    def watch(self, connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(self._statement)
        connection.set_progress_handler(self._step, _STEPS_EACH)

    def _statement(self, _: str) -> None:
        self.statements += 1

    def _step(self) -> int:
        self.steps += 1
        return 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Everything that the process's indexes do while the test runs."""
    counted, connect = Work(), Database._connect

    def connected(self: Database) -> sqlite3.Connection:
        connection = connect(self)
        counted.watch(connection)
        return connection

    monkeypatch.setattr(Database, "_connect", connected)
    return counted


def put(store: Store, count: int, word: str) -> None:
    """As many artifacts, each with a content of its own."""
    store.artifacts.put_many((f"docs/{n}", f"{word} {n}") for n in range(count))


def measured(work: Work, top: Path, case: str, count: int) -> tuple[float, float]:
    """Statements and steps for each artifact, of the merge of so many into a store with a history."""
    top = top / str(count)
    top.mkdir()
    ours, tree = top / "ours", top / "tree"
    with holdfast.create(top / "theirs") as theirs, holdfast.create(ours) as store:
        put(theirs, count, "first")
        store.put("mine", "mine")
        if case in ("equal", "other"):
            put(store, count, "first" if case == "equal" else "ours")
        theirs.export_tree(tree)
        if case == "grown":
            store.close()
            holdfast.import_store(ours, tree)
            put(theirs, count, "second")
            theirs.export_tree(tree, force=True)
    before = work.statements, work.steps
    report = holdfast.import_store(ours, tree, on_conflict="theirs")
    outcome = {"new": "added", "equal": "united", "other": "united", "grown": "changed"}[case]
    assert report.counts[outcome] >= count
    return (work.statements - before[0]) / count, (work.steps - before[1]) / count


@pytest.mark.parametrize(
    "case",
    ["new", "other", pytest.param("equal", marks=pytest.mark.soak), pytest.param("grown", marks=pytest.mark.soak)],
)
def test_each_artifact_of_many_costs_as_much_as_each_of_few(work: Work, tmp_path: Path, case: str) -> None:
    few, many = (measured(work, tmp_path, case, count) for count in (_FEW, _MANY))
    assert many[0] <= few[0] * _ROOM
    assert many[1] <= few[1] * _ROOM
