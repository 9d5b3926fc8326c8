"""What a put does not ask again still holds only while nobody else writes: two handles on one store, turn by turn."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

import holdfast
from holdfast import Store
from holdfast.engine import content
from holdfast.errors import NameTakenError
from holdfast.values.records import FileFacts


@pytest.fixture
def other(store: Store) -> Iterator[Store]:
    with holdfast.open(store.path) as opened:
        yield opened


def test_a_collection_that_another_handle_made_takes_its_name(store: Store, other: Store) -> None:
    store.put("f/a", b"1")
    store.put("f/b", b"2")  # from here on it is known that no collection lies in f
    other.collections.create("f/x")
    with pytest.raises(NameTakenError):
        store.put("f/x", b"3")


def test_a_collection_of_the_same_transaction_takes_its_name_and_gives_it_back(store: Store) -> None:
    store.put("f/a", b"1")
    store.put("f/b", b"2")
    with contextlib.suppress(LookupError), store.transaction():
        store.collections.create("f/x")
        with pytest.raises(NameTakenError):
            store.put("f/x", b"3")
        raise LookupError
    assert store.put("f/x", b"3").created


def test_a_folder_that_another_handle_moved_is_found_where_it_is_now(store: Store, other: Store) -> None:
    first = store.put("f/a", b"1").artifact
    store.put("f/b", b"2")
    other.collections.move("f", "", name="g")
    made = store.put("f/c", b"3").artifact
    assert made.collection_id != first.collection_id
    assert store.put("g/c", b"4").artifact.collection_id == first.collection_id
    assert {one.path for one in store.find()} == {"g/a", "g/b", "g/c", "f/c"}


def test_a_folder_that_moved_in_a_transaction_taken_back_stays_where_it_was(store: Store) -> None:
    store.put("f/a", b"1")
    with contextlib.suppress(LookupError), store.transaction():
        store.collections.move("f", "", name="g")
        assert store.put("g/b", b"2").artifact.path == "g/b"
        raise LookupError
    assert store.put("f/c", b"3").artifact.path == "f/c"
    assert {one.path for one in store.find()} == {"f/a", "f/c"}


def statements(store: Store, path: str) -> list[str]:
    """What a put of a new name asks the index."""
    said: list[str] = []
    connection = store._handle.index.database.raw()
    connection.set_trace_callback(said.append)
    try:
        store.put(path, path)
    finally:
        connection.set_trace_callback(None)
    return said


def test_puts_of_another_handle_cost_no_look_at_collections(store: Store, other: Store) -> None:
    for n in range(4):
        (store, other)[n % 2].put(f"f/{n}", f"{n}")
    asked = [one for one in statements(store, "f/more") if "FROM collection" in one]
    assert asked == []
    other.collections.create("g")
    asked = [one for one in statements(store, "f/again") if "FROM collection" in one]
    assert asked != []


@pytest.mark.parametrize("way", ["delete", "rename", "root", "nested"])
def test_what_another_handle_does_to_collections_is_seen_behind_its_puts(store: Store, other: Store, way: str) -> None:
    first = store.put("f/a", b"1").artifact
    store.put("f/b", b"2")
    other.put("f/c", b"3")
    if way == "delete":
        other.collections.delete("f", contents="cascade")
    elif way == "rename":
        other.collections.rename("f", "g")
    elif way == "root":
        with holdfast.open(store.path, tenant="theirs") as theirs:
            theirs.put("f/a", b"4")
    else:
        other.collections.create("f/x")
    other.put("elsewhere", b"5")
    if way == "nested":
        with pytest.raises(NameTakenError):
            store.put("f/x", b"6")
        return
    made = store.put("f/d", b"6").artifact
    assert (made.collection_id == first.collection_id) == (way == "root")
    assert made == other.get("f/d")
    assert made.tenant == ""


def test_a_folder_made_in_a_transaction_taken_back_is_not_carried_over(store: Store, other: Store) -> None:
    store.put("f/a", b"1")
    with contextlib.suppress(LookupError), store.transaction():
        store.put("new/b", b"2")
        raise LookupError
    other.put("f/c", b"3")
    assert store.put("new/d", b"4").artifact.path == "new/d"
    assert {one.path for one in other.find()} == {"f/a", "f/c", "new/d"}


def test_content_that_another_handle_puts_between_staging_and_commit_is_kept_once(store: Store, other: Store) -> None:
    with content.staging(store._handle, b"the same") as incoming:
        assert incoming.staged is None
        other.put("theirs", b"the same")
        before = store._handle.index.physical.spot(incoming.digest)
        store.put("ours", b"the same")
        assert store._handle.index.physical.spot(incoming.digest) == before
    assert store.read("ours") == store.read("theirs") == b"the same"


def test_the_chain_goes_on_from_what_another_handle_wrote(store: Store, other: Store) -> None:
    for n in range(6):
        (store, other)[n % 2].put(f"{n}", f"{n}")
    assert [one.seq for one in store.changes.list()] == list(range(1, store.changes.head().next_seq))


def test_what_a_put_returns_is_what_reading_it_gives(store: Store) -> None:
    for path, said in (
        ("plain", {}),
        ("in/some/folder", {"tags": ["z", "a", "z"], "owner": "o", "type": "t", "status": "s"}),
        (b"in/\xff", {"message": "m", "source": "/x/y.txt", "media_type": "text/x"}),
        ("in/described", {"metadata": {"b": [1.0, {"c": None}], "a": 2**70}, "file": FileFacts(0o640, 123_456_789)}),
    ):
        made = store.put(path, b"content", **said).artifact
        assert made == store.get(path)
    with store.transaction():
        first = store.put("new/first", b"1").artifact
        assert first == store.get("new/first")
    assert first == store.get("new/first")
