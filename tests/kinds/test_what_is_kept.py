"""What a thread keeps of its reads: it saves statements, is bounded, and never outlives what another process writes."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store, field
from holdfast.errors import IndexDamagedError
from holdfast.index.select import sight, usual
from holdfast.values import canon
from holdfast.values.records import Artifact

_ANOTHER = """
import sys, holdfast
with holdfast.open(sys.argv[1]) as store:
    store.artifacts.set_metadata("a/one", {"n": 2})
    store.collections.rename("b", "c")
    store.artifacts.delete("a/two")
"""


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    with holdfast.create(root) as made:
        made.put_many((path, path, {"metadata": {"n": 1}}) for path in ("a/one", "a/two", "b/three"))
        made.indexes.declare("metadata.n")
    return root


def _statements(store: Store, path: str) -> int:
    said: list[str] = []
    connection = store._handle.index.database.raw()
    connection.set_trace_callback(said.append)
    store.get(path)
    connection.set_trace_callback(None)
    return len(said)


def test_a_record_asked_for_again_costs_one_question_whether_anybody_wrote(filled: Path) -> None:
    with holdfast.open(filled) as store:
        store.get("a/one")
        assert _statements(store, "a/one") == 1


def test_what_another_process_wrote_is_seen_by_the_next_call_and_never_by_a_record_in_hand(filled: Path) -> None:
    with holdfast.open(filled) as store:
        one, three = store.get("a/one"), store.get("b/three")
        assert [len(list(store.find(**said))) for said in ({"under": "a"}, {"digest": one.digest})] == [2, 1]
        assert len(list(store.find(field("metadata.n") == 1))) == 3

        subprocess.run([sys.executable, "-c", _ANOTHER, str(filled)], check=True, timeout=300)

        assert store.get("a/one").metadata == {"n": 2}
        assert store.get(f"id:{three.id}").path == "c/three"
        assert [found.path for found in store.find(under="a")] == ["a/one"]
        assert [found.number for found in store.find(digest=one.digest)] == [2]
        assert [found.path for found in store.find(field("metadata.n") == 1)] == ["c/three"]
        # Looked at for the first time now, they say what was true when they were read.
        assert (one.metadata, one.number, three.path) == ({"n": 1}, 1, "b/three")


def test_no_more_is_kept_than_its_bound(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "MAX_ROWS", 4)
    with holdfast.open(filled) as store:
        store.put_many((f"d/{n}", str(n)) for n in range(9))
        for n in range(9):
            assert store.get(f"d/{n}").size == 1
            assert len(store._handle.index.sights.now().pages) <= 4


def test_the_oldest_answers_go_first(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "MAX_ANSWERED", 12)
    with holdfast.open(filled) as store:
        store.put_many((f"{folder}/{n}", str(n)) for folder in "defg" for n in range(3))
        for folder in "defg":
            assert len(list(store.find(under=folder))) == 3
        kept = store._handle.index.sights.now().answers
        assert [{row[2] for row in rows} for rows in kept.values()] == [{"0", "1", "2"}] * 3
        assert len(list(store.find(under="d"))) == 3


def _asking(store: Store, ask: Callable[[], object]) -> list[str]:
    """The statements of a question, one line each."""
    said: list[str] = []
    connection = store._handle.index.database.raw()
    connection.set_trace_callback(lambda sql: said.append(" ".join(sql.split())))
    ask()
    connection.set_trace_callback(None)
    return said


def test_what_came_by_one_put_each_is_not_a_statement_for_each(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "s") as made:
        for n in range(20):
            made.put(f"d/{n}", str(n))
        made.artifacts.set_metadata("d/3", {"n": 1})
        made.artifacts.tag("d/5", "one")
    with holdfast.open(tmp_path / "s", read_only=True) as store:
        said = _asking(store, lambda: list(store.find(under="d")))
        assert len([one for one in said if "FROM tx x" in one or "JOIN tx x" in one]) <= 3
    with holdfast.open(tmp_path / "s", read_only=True) as one_by_one:
        assert list(_times(one_by_one, (f"d/{n}" for n in range(20)))) == [
            (a.created_at, a.updated_at, a.revision.created_at, a.revision.actor) for a in _found(tmp_path / "s")
        ]


def _times(store: Store, paths: Iterable[str]) -> Iterator[tuple[object, ...]]:
    """What the transactions of some artifacts say of them, asked for one by one."""
    for path in paths:
        found = store.get(path)
        yield found.created_at, found.updated_at, found.revision.created_at, found.revision.actor


def _found(root: Path) -> list[Artifact]:
    with holdfast.open(root, read_only=True) as store:
        return list(store.find(under="d"))


def test_a_transaction_that_is_not_what_was_written_is_found_out_in_a_list(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "s") as made:
        for n in range(5):
            made.put(f"d/{n}", str(n))
    index = sqlite3.connect(tmp_path / "s" / "index.sqlite3")
    index.execute("UPDATE tx SET time_us = time_us + 1 WHERE first = (SELECT first FROM tx ORDER BY first LIMIT 1, 1)")
    index.commit()
    index.close()
    with holdfast.open(tmp_path / "s", read_only=True) as store, pytest.raises(IndexDamagedError):
        list(store.find(under="d"))


def test_the_newest_of_a_collection_that_was_not_asked_before_are_five_statements(filled: Path) -> None:
    with holdfast.open(filled, read_only=True) as store:
        list(store.find(under="b", order="-created", limit=2))
        said = _asking(store, lambda: list(store.find(under="a", order="-created", limit=2)))
        assert len(said) <= 5, said


def test_a_collection_below_that_comes_later_is_gone_into(filled: Path) -> None:
    with holdfast.open(filled) as store, holdfast.open(filled) as other:
        assert [one.path for one in store.find(under="b")] == ["b/three"]
        other.put("b/below/four", "4")
        assert [one.path for one in store.find(under="b")] == ["b/three", "b/below/four"]
        other.collections.delete("b/below", contents="cascade")
        assert [one.path for one in store.find(under="b")] == ["b/three"]
        store.put("b/below/five", "5")
        assert [one.path for one in store.find(under="b")] == ["b/three", "b/below/five"]


def test_a_folder_that_was_made_in_a_transaction_that_is_undone_is_not_remembered(filled: Path) -> None:
    with holdfast.open(filled) as store:
        with contextlib.suppress(RuntimeError), store.transaction():
            store.put("new/six", "6")
            assert [one.path for one in store.find(under="new")] == ["new/six"]
            raise RuntimeError
        assert list(store.find(under="new")) == []
        store.put("other/seven", "7")
        assert [one.path for one in store.find(under="other")] == ["other/seven"]
        assert list(store.find(under="new")) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"author": "v"}, {"a": 1, "author": "v"}, {"author": "w"}, {"author": ["v"]}, {"author": 1}, {},
        {"a": {"author": "v"}}, {"a": {"author": "v"}, "author": "w"}, {"a": 'x,"author":"v"'}, {"a": ',"author":"v"'},
        {"a,": 1, "author": "v"}, {"a": ",", "author": "v"}, {"a": "{", "author": "v"}, {"a": "\\", "author": "v"},
    ],
)  # fmt: skip
def test_a_member_is_seen_without_parsing_only_where_parsing_would_find_it(metadata: dict[str, Any]) -> None:
    said, text = usual.member(("author",), "v"), canon.dumps(metadata)
    assert said == '"author":"v"'
    if usual.says(text, said):
        assert metadata["author"] == "v"
    assert usual.says(text, said) or metadata.get("author") != "v" or "{" in text[1:]


@pytest.mark.parametrize("steps", [(":1,",), (0,), ("a", "b"), ("a b",), ('"',)])
def test_what_only_parsing_can_tell_is_parsed(steps: tuple[str | int, ...]) -> None:
    assert usual.member(steps, ":") == ""
    assert not usual.says('{"a,":1,":":"v"}', "")
