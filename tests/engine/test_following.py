"""`add(searchable=True)`: what was added is in the full text on return; what else is committed is found as ever."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.engine import feeding, following
from holdfast.errors import LockedError
from holdfast.exchange import folder
from holdfast.search.document import Document
from holdfast.search.index import SearchIndex


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir()
    for number in range(120):
        (made / f"{number:03d}.txt").write_text(f"anchor number{number}")
    return made


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 10)
    monkeypatch.setattr(feeding, "BATCH", 7)
    monkeypatch.setattr(feeding, "BATCH_BYTES", 100)


def seen_by_a_reader(root: Path, words: str) -> tuple[int, bool]:
    """How many a handle finds that takes nothing in itself; whether all that is committed was searched."""
    with holdfast.open(root, read_only=True) as reader:
        answer = reader.search(words, limit=1_000, snippets=False)
        return len(answer.hits), answer.indexed_to == answer.head


@pytest.mark.usefixtures("small_batches")
def test_all_that_was_added_is_in_the_full_text_on_return(tmp_path: Path, tree: Path) -> None:
    with holdfast.create(tmp_path / "s") as store:
        store.put("before.txt", "anchor")
        report = store.add(tree, searchable=True)
        assert report.added == 120
        assert seen_by_a_reader(tmp_path / "s", "anchor") == (121, True)
        (tree / "000.txt").write_text("other words than before")
        assert store.add(tree, searchable=True).revised == 1
        assert seen_by_a_reader(tmp_path / "s", "anchor") == (120, True)
    assert not [one for one in threading.enumerate() if one.name == "holdfast-following"]


@pytest.mark.usefixtures("small_batches")
def test_the_words_are_the_same_as_if_the_first_search_had_taken_them_in(tmp_path: Path, tree: Path) -> None:
    answers = []
    for name, searchable in (("a", True), ("b", False)):
        with holdfast.create(tmp_path / name) as store:
            store.add(tree, searchable=searchable)
            asked = ("anchor", "number7", "number1*", "name: 055", '"anchor number99"')
            answers.append(
                [sorted(hit.artifact.path for hit in store.search(words, limit=200).hits) for words in asked]
            )
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("small_batches")
def test_changes_of_all_sorts_are_taken_in_however_they_lie_among_batches(store: Store) -> None:
    store.search("nothing")  # from here on changes are followed, not all artifacts looked at
    for number in range(40):
        store.put(f"c/{number:02d}.txt", f"anchor old{number}", tags=["t"])
    store.search("anchor")
    store.put_many((f"d/{number:02d}.txt", "anchor many", {}) for number in range(40))
    store.put("c/01.txt", "boats")
    store.artifacts.delete("c/02.txt")
    store.artifacts.rename("c/03.txt", "harbour.txt")
    store.artifacts.delete("c/04.txt")
    store.artifacts.undelete("c/04.txt")
    store.put("c/05.txt", "anchor old5", metadata={"place": "quay"})

    def found(words: str) -> set[str]:
        return {hit.artifact.path for hit in store.search(words, limit=500, snippets=False).hits}

    everything = {one.path for one in store.find()}
    assert found("anchor") == everything - {"c/01.txt"}
    assert found("boats") == {"c/01.txt"}
    assert found("harbour") == {"c/harbour.txt"}
    assert found("quay") == {"c/05.txt"}


def test_within_a_transaction_nothing_is_taken_in_before_it_is_committed(store: Store, tree: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add(tree, searchable=True)
        raise ZeroDivisionError
    assert store.search("anchor").hits == ()
    with store.transaction():
        store.add(tree, searchable=True)
    assert len(store.search("anchor", limit=200).hits) == 120


@pytest.mark.usefixtures("small_batches")
def test_what_the_thread_could_not_take_in_is_taken_in_at_the_end(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain = feeding.drain

    def only_here(*given: Any) -> int:
        if threading.current_thread().name == "holdfast-following":
            raise LockedError("busy", lock="search", waited_s=0.0)
        return drain(*given)

    monkeypatch.setattr(following.feeding, "drain", only_here)
    with holdfast.create(tmp_path / "s") as store:
        store.add(tree, searchable=True)
        assert seen_by_a_reader(tmp_path / "s", "anchor") == (120, True)


@pytest.mark.usefixtures("small_batches")
def test_an_add_that_is_stopped_ends_its_thread_and_loses_nothing(tmp_path: Path, tree: Path) -> None:
    def stop(done: int, *_: object) -> None:
        if done >= 50:
            raise KeyboardInterrupt

    with holdfast.create(tmp_path / "s") as store:
        with pytest.raises(KeyboardInterrupt):
            store.add(tree, searchable=True, progress=stop)
        assert not [one for one in threading.enumerate() if one.name == "holdfast-following"]
        assert len(store.search("anchor", limit=200).hits) == len(list(store.find())) >= 50
        store.add(tree, searchable=True)
        assert seen_by_a_reader(tmp_path / "s", "anchor") == (120, True)


_KILLED = """
import os, signal, sys
import holdfast
from holdfast.engine import feeding
from holdfast.exchange import folder
from holdfast.search.document import Document
from holdfast.search.index import SearchIndex
folder.BATCH_ITEMS, feeding.BATCH, feeding.BATCH_BYTES = 10, 7, 100
def stop(done, *_):
    if done >= 60:
        os.kill(os.getpid(), signal.SIGKILL)
with holdfast.create(sys.argv[1]) as store:
    store.search("nothing")
    store.add(sys.argv[2], searchable=True, progress=stop)
"""


def test_after_a_kill_the_next_search_goes_on(tmp_path: Path, tree: Path) -> None:
    root = tmp_path / "s"
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(root), str(tree)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with holdfast.open(root) as store:
        there = {one.path for one in store.find()}
        assert len(there) >= 50
        assert {hit.artifact.path for hit in store.search("anchor", limit=200).hits} == there
    assert holdfast.fsck(root).exit_code == 0


@pytest.mark.usefixtures("small_batches")
def test_what_is_committed_while_an_index_is_filled_is_taken_in_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer who goes on all the time would else have each text taken in twice, and the file twice as large."""
    for number in range(60):
        store.put(f"a/{number:02d}.txt", "anchor")
    feed = SearchIndex.feed
    waiting = [f"b/{number:02d}.txt" for number in range(40)]

    fed: list[int] = []

    def feed_beside_a_writer(index: SearchIndex, documents: list[Document], **named: Any) -> bool:
        fed.extend(document.key for document in documents)
        for name in waiting[:8]:
            store.put(name, "anchor")
        del waiting[:8]
        return feed(index, documents, **named)

    monkeypatch.setattr(SearchIndex, "feed", feed_beside_a_writer)
    while waiting:
        assert len(store.search("anchor", limit=200).hits) >= 60
    assert len(store.search("anchor", limit=200).hits) == 100
    assert len(fed) == len(set(fed)) == 100
