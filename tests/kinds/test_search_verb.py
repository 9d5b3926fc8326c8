"""`store.search`: what was committed before the call is found, what is gone is not."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import InvalidQueryError


def found(store: Store, words: str, **options: Any) -> list[str]:
    return sorted(hit.artifact.path for hit in store.search(words, **options).hits)


def test_names_metadata_and_text_of_the_newest_revision_are_found_at_once(store: Store) -> None:
    store.put("notes/harbour.md", "ships lie at anchor")
    store.put("b.txt", b"nothing", metadata={"place": ["harbour", {"deep": "anchor"}]})

    assert found(store, "harbour") == ["b.txt", "notes/harbour.md"]
    assert found(store, "anchor") == ["b.txt", "notes/harbour.md"]
    assert found(store, '"lie at"') == ["notes/harbour.md"]
    assert found(store, "anch*") == ["b.txt", "notes/harbour.md"]
    assert found(store, "anchor NOT ships") == ["b.txt"]
    store.put("notes/harbour.md", "boats now")
    assert found(store, "ships") == []
    assert found(store, "boats") == ["notes/harbour.md"]


def test_a_hit_is_the_artifact_as_it_is_now_with_a_snippet(store: Store) -> None:
    store.put("a.txt", "one two three anchor five", tags=["t"])
    store.artifacts.rename("a.txt", "b.txt")
    (hit,) = store.search("anchor").hits

    assert hit.artifact == store.get("b.txt")
    assert "anchor" in hit.snippet
    assert store.search("anchor", snippets=False).hits[0].snippet == ""


def test_what_is_deleted_renamed_or_undone_is_found_accordingly(store: Store) -> None:
    store.put("c/first.txt", "anchor")
    store.search("anchor")
    store.artifacts.rename("c/first.txt", "second.txt")
    assert (found(store, "first"), found(store, "second")) == ([], ["c/second.txt"])
    store.collections.delete("c", contents="cascade")
    assert found(store, "anchor") == []
    store.collections.undelete("c")
    assert found(store, "anchor") == ["c/second.txt"]
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put("never", "anchor")
        raise ZeroDivisionError
    assert found(store, "anchor") == ["c/second.txt"]


def test_an_answer_says_up_to_where_it_searched_and_what_was_left_out(store: Store) -> None:
    store.put("text", "anchor")
    result = store.put("long.txt", b"anchor " * 3_000_000)
    store.put("bytes", os.urandom(100) + b"\0")
    answer = store.search("anchor")

    assert answer.indexed_to == answer.head == store.changes.head().next_seq - 1
    assert [hit.artifact.path for hit in answer.hits] == ["text"]
    assert result.left_out
    assert answer.left_out == 1, "bytes are no text that could have been searched"
    assert {artifact.path: reason for artifact, reason in store.search.left_out()} == {
        "long.txt": "too-large",
        "bytes": "not-text",
    }
    assert found(store, "long") == ["long.txt"], "its name is found all the same"


def test_a_limit_and_an_offset_page_through_the_ranking(store: Store) -> None:
    for n in range(7):
        store.put(f"{n}.txt", "anchor " * (n + 1) + "other " * 5)
    whole = [hit.artifact.path for hit in store.search("anchor", limit=100).hits]
    parts = [hit.artifact.path for n in (0, 3, 6) for hit in store.search("anchor", limit=3, offset=n).hits]

    assert len(whole) == 7
    assert parts == whole


def test_a_lost_search_file_is_made_anew_and_a_reader_does_without(store: Store, root: str) -> None:
    store.put("a", "anchor")
    assert found(store, "anchor") == ["a"]
    store.close()
    for name in ("search.sqlite3", "search.sqlite3-wal", "search.sqlite3-shm"):
        Path(root, name).unlink(missing_ok=True)

    with holdfast.open(root, read_only=True) as reader:
        answer = reader.search("anchor")
        assert answer.hits == ()
        assert answer.indexed_to < answer.head
    with holdfast.open(root) as again:
        assert found(again, "anchor") == ["a"]


@pytest.mark.parametrize("bad", ['"open', "AND", "(", ""])
def test_a_search_that_makes_no_sense_is_refused(store: Store, bad: str) -> None:
    with pytest.raises(InvalidQueryError):
        store.search(bad)
