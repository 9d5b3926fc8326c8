"""What a thread keeps of its reads: it saves statements, is bounded, and never outlives what another process writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast import Store, field
from holdfast.index.select import sight

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
