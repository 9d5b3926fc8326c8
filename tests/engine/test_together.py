"""A series: transactions with actors of their own that one COMMIT makes durable; all of them, or none."""

from __future__ import annotations

import pytest

import holdfast
from holdfast import Store
from holdfast.engine.together import together
from holdfast.errors import ConflictError
from holdfast.values.change import Actor


def put(store: Store, *names: str, fail: bool = False) -> None:
    with together(store._handle, what="test") as series:
        for name in names:
            with series.transaction(Actor(f"by {name}", "human"), note=f"note of {name}"):
                store.put(name, name)
        if fail:
            raise RuntimeError("on the way")


def test_each_is_a_transaction_of_its_own_actor(store: Store) -> None:
    put(store, "a", "b", "c")
    made = [one for one in store.changes.list() if one.kind == "artifact"]
    assert [(one.actor, one.actor_kind, one.note) for one in made] == [
        (f"by {name}", "human", f"note of {name}") for name in "abc"
    ]
    assert len({one.tx for one in made}) == 3
    assert [store.get(name).revision.actor for name in "abc"] == ["by a", "by b", "by c"]
    assert not store.fsck().findings
    store.put("d", "d")
    assert store.get("d").revision.actor == "Ada"


def test_nothing_of_it_is_there_if_it_fails(store: Store) -> None:
    store.put("before", "x")
    head = store.changes.head()
    with pytest.raises(RuntimeError):
        put(store, "a", "b", fail=True)
    assert store.changes.head() == head
    assert [one.path for one in store.artifacts.list()] == ["before"]
    put(store, "a")
    assert store.get("a").revision.actor == "by a"
    assert not store.fsck().findings


def test_one_that_changes_nothing_leaves_nothing(store: Store) -> None:
    put(store, "a")
    head = store.changes.head()
    with together(store._handle, what="test") as series, series.transaction():
        store.put("a", "a")
    assert store.changes.head() == head


def test_it_is_refused_inside_a_transaction(store: Store) -> None:
    with store.transaction(), pytest.raises(ConflictError):
        put(store, "a")


def test_a_journal_that_did_not_get_them_catches_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("before", "x")
    with monkeypatch.context() as patch:
        patch.setattr(store._handle.journal, "append", lambda _: None)
        put(store, "a", "b", "c")
    root = store.path
    store.close()
    with holdfast.open(root) as again:
        again.put("after", "x")
        assert [one.path for one in again.artifacts.list()] == ["a", "after", "b", "before", "c"]
        assert not again.fsck().findings


def test_readers_see_all_of_it_at_once(store: Store) -> None:
    store.put("before", "x")
    with holdfast.open(store.path, read_only=True) as reader:
        with together(store._handle, what="test") as series:
            for name in "ab":
                with series.transaction(Actor(name)):
                    store.put(name, name)
                assert [one.path for one in reader.artifacts.list()] == ["before"]
        assert [one.path for one in reader.artifacts.list()] == ["a", "b", "before"]
