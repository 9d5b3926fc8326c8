"""Collections: nested places; a delete says first what they hold, an undelete brings back exactly what went along."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import FileFacts, Store
from holdfast.errors import (
    ConflictError,
    InUseError,
    InvalidInputError,
    InvalidNameError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
)


def live(store: Store) -> set[str]:
    return {one.path for one in store.find()} | {one.path + "/" for one in store.collections.list("", recursive=True)}


def test_collections_nest_and_say_what_they_are(store: Store) -> None:
    made = store.collections.create(
        "a/b", parents=True, metadata={"n": 1.0}, tags=["t"], owner="Grace", file=FileFacts(0o755, 7)
    )

    assert (made.path, made.name, made.name_bytes, made.metadata) == ("a/b", "b", b"b", {"n": 1.0})
    assert (made.tags, made.owner, made.file, made.deleted_at) == (("t",), "Grace", FileFacts(0o755, 7), None)
    assert made.parent_id == store.collections.get("a").id
    assert store.collections.get("a").parent_id == store.collections.get("").id
    assert store.collections.get("").parent_id is None
    assert (
        store.collections.get(f"id:{made.id}") == store.collections.get(made) == store.collections.get(b"a/b") == made
    )


def test_a_collection_without_its_parents_is_refused_unless_they_are_wanted(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.collections.create("a/b")
    assert caught.value.fields["ref"] == "a"
    assert store.changes.head().next_seq == 1
    assert store.collections.create("a").path == "a"
    assert store.collections.create("a/b").path == "a/b"


def test_ensure_makes_what_is_missing_and_changes_nothing_else(store: Store) -> None:
    made = store.collections.ensure("a/b/c")
    head = store.changes.head()

    assert store.collections.ensure("a/b/c") == made
    assert store.collections.ensure("").path == ""
    assert store.changes.head() == head
    assert [one.path for one in store.collections.list("", recursive=True)] == ["a", "a/b", "a/b/c"]


def test_names_are_unique_among_artifacts_and_collections_alike(store: Store) -> None:
    folder = store.collections.create("c")
    artifact = store.put("a", b"1").artifact

    for call, holder, kind in (
        (lambda: store.collections.create("c"), folder.id, "collection"),
        (lambda: store.collections.create("a"), artifact.id, "artifact"),
        (lambda: store.collections.ensure("a"), artifact.id, "artifact"),
        (lambda: store.collections.create("a/b", parents=True), artifact.id, "artifact"),
        (lambda: store.collections.rename("c", "a"), artifact.id, "artifact"),
    ):
        with pytest.raises(NameTakenError) as caught:
            call()
        assert (caught.value.fields["holder"], caught.value.fields["kind"]) == (holder, kind)
    assert live(store) == {"a", "c/"}


@pytest.mark.parametrize("bad", ["", "/", "a//b", "..", "x" * 256, b"\0"])
def test_bad_names_are_refused(store: Store, bad: Any) -> None:
    with pytest.raises(InvalidNameError):
        store.collections.create(bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"metadata": [1]},
        {"metadata": "x"},
        {"metadata": {"x": float("nan")}},
        {"tags": "x"},
        {"tags": [""]},
        {"owner": "\0"},
        {"file": FileFacts(mtime_ns=2**70)},
    ],
)
def test_what_could_not_be_kept_is_refused_before_anything_is_written(store: Store, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        store.collections.create("c", **bad)
    assert store.changes.head().next_seq == 1
    store.collections.create("c")
    head = store.changes.head()
    if "tags" not in bad:
        with pytest.raises(InvalidInputError):
            store.collections.update("c", **bad)
    assert store.changes.head() == head


def test_update_replaces_metadata_whole_and_no_change_is_a_no_op(store: Store) -> None:
    store.collections.create("c", metadata={"a": 1, "b": 2}, owner="Grace")
    changed = store.collections.update("c", metadata={"a": 1.0}, note="why")

    assert (changed.metadata, changed.owner) == ({"a": 1.0}, "Grace")
    (change,) = list(store.changes.list(action="update"))
    assert (change.before, change.after, change.note) == (
        {"metadata": {"a": 1, "b": 2}},
        {"metadata": {"a": 1.0}},
        "why",
    )
    assert store.collections.update("c", metadata={"a": 1.0}, owner="Grace") == changed
    assert store.collections.update("c", metadata={}).metadata == {}
    assert store.collections.update("c", file=FileFacts(0o700)).file == FileFacts(0o700)
    assert store.collections.tag("c", "x").tags == ("x",)
    assert store.collections.untag("c", "x", "y").tags == ()


def test_rename_and_move_keep_id_and_contents(store: Store) -> None:
    made = store.collections.ensure("a/b")
    store.put("a/b/c/x", b"1")
    store.collections.create("other")

    assert store.collections.rename("a/b", b"\xff").id == made.id
    assert store.read(b"a/\xff/c/x") == b"1"
    moved = store.collections.move(b"a/\xff", "other", name="n")
    assert (moved.id, moved.path) == (made.id, "other/n")
    assert store.collections.move("other/n", "").path == "n"
    assert live(store) == {"a/", "other/", "n/", "n/c/", "n/c/x"}
    assert store.collections.move("n", "") == store.collections.get("n")


def test_a_collection_cannot_be_moved_into_itself_nor_the_root_anywhere(store: Store) -> None:
    store.collections.ensure("a/b/c")
    before = live(store)

    for target in ("a", "a/b", "a/b/c"):
        with pytest.raises((ConflictError, NameTakenError)):
            store.collections.move("a", target)
    for call in (lambda: store.collections.move("", "a"), lambda: store.collections.rename("", "x")):
        with pytest.raises(InvalidNameError):
            call()
    with pytest.raises(InvalidValueError):
        store.collections.delete("", contents="cascade")
    assert live(store) == before


def test_a_listing_is_by_name_and_a_recursive_one_goes_down_at_once(store: Store) -> None:
    for path in ("b", "a/z", "a/B", "c", "é"):
        store.collections.ensure(path)

    assert [one.path for one in store.collections.list()] == ["a", "b", "c", "é"]
    assert [one.path for one in store.collections.list("", recursive=True)] == ["a", "a/B", "a/z", "b", "c", "é"]
    assert [one.path for one in store.collections.list("a")] == ["a/B", "a/z"]
    with pytest.raises(NotFoundError):
        list(store.collections.list("nowhere"))


def test_a_delete_says_first_what_it_would_take_and_refuses(store: Store) -> None:
    store.put("c/x", b"1")
    store.put("c/d/y", b"2")
    head = store.changes.head()

    with pytest.raises(InUseError) as caught:
        store.collections.delete("c")
    assert caught.value.fields["counts"] == {"collections": 1, "artifacts": 2} == store.collections.contents("c")
    assert store.changes.head() == head
    store.collections.create("empty")
    assert store.collections.delete("empty").deleted_at is not None


def test_a_cascade_takes_all_along_each_with_its_own_change_in_one_transaction(store: Store) -> None:
    made = [store.put(path, b"1").artifact.id for path in ("c/x", "c/d/y")]
    made += [store.collections.get(path).id for path in ("c", "c/d")]
    store.put("kept", b"1")

    store.collections.delete("c", contents="cascade", note="clean up")

    deletes = list(store.changes.list(action="delete"))
    assert sorted(change.id for change in deletes) == sorted(made)
    assert len({change.tx for change in deletes}) == 1
    assert live(store) == {"kept"}
    assert store.search("x").hits == ()
    for call in (lambda: store.get("c/x"), lambda: store.collections.get("c"), lambda: store.collections.get("c/d")):
        with pytest.raises(NotFoundError):
            call()
    assert store.get("c/d/y", deleted=True).id == made[1]
    assert store.collections.get("c/d", deleted=True).id == made[3]


def test_undelete_brings_back_what_went_along_and_not_what_was_deleted_before(store: Store) -> None:
    for path in ("c/x", "c/gone", "c/d/y", "c/e/z", "later"):
        store.put(path, path)
    store.artifacts.delete("c/gone")
    store.collections.delete("c/e", contents="cascade")
    before = live(store) - {"later"}
    ids = {one.path: one.id for one in store.find(under="c")}
    store.collections.delete("c", contents="cascade")
    store.artifacts.delete("later")

    store.collections.undelete("c")

    assert live(store) == before == {"c/", "c/x", "c/d/", "c/d/y"}
    assert {one.path: one.id for one in store.find()} == ids
    store.collections.undelete("c/e")
    assert store.artifacts.undelete("c/gone").path == "c/gone"
    assert live(store) == {"c/", "c/x", "c/gone", "c/d/", "c/d/y", "c/e/", "c/e/z"}
    assert store.read("c/e/z") == b"c/e/z"


def test_undelete_into_a_taken_name_or_a_deleted_place_says_what_stands_in_the_way(store: Store) -> None:
    old = store.collections.ensure("p/c")
    store.put("p/c/x", b"old")
    store.collections.delete("p/c", contents="cascade")
    new = store.put("p/c", b"an artifact now").artifact

    with pytest.raises(NameTakenError) as caught:
        store.collections.undelete(f"id:{old.id}")
    assert caught.value.fields["holder"] == new.id
    assert store.collections.undelete(f"id:{old.id}", name="c2").path == "p/c2"
    assert store.read("p/c2/x") == b"old"
    store.collections.delete("p/c2", contents="cascade")
    store.collections.delete("p", contents="cascade")
    with pytest.raises(ConflictError):
        store.collections.undelete(f"id:{old.id}")
    store.collections.undelete("p")
    assert live(store) == {"p/", "p/c"}
    assert store.collections.undelete("p") == store.collections.get("p")


def test_relationships_that_touch_anything_inside_stand_in_the_way_when_asked_to(store: Store) -> None:
    inside, outside = store.put("c/d/x", b"1").artifact, store.put("o", b"2").artifact
    relation = store.relationships.relate(inside, "supports", outside)

    with pytest.raises(InUseError) as caught:
        store.collections.delete("c", contents="cascade", relationships="restrict")
    assert caught.value.fields["counts"] == {"relationships": 1}
    store.collections.delete("c", contents="cascade")
    assert list(store.relationships.of(outside)) == []
    store.collections.undelete("c")
    assert [one.id for one in store.relationships.of(outside)] == [relation.id]


def test_a_collection_that_was_deleted_leaves_its_name_to_others(store: Store) -> None:
    first = store.collections.create("c")
    store.collections.delete("c")
    second = store.collections.create("c")

    assert first.id != second.id
    assert store.collections.get("c", deleted=True).id == second.id
    store.collections.delete("c")
    assert store.collections.get("c", deleted=True).id == second.id, "the one deleted last"


def test_a_deep_tree_is_walked_and_deleted_whole(store: Store) -> None:
    path = "/".join(["d"] * 60)
    store.put(f"{path}/x", b"1")

    assert store.collections.contents("") == {"collections": 60, "artifacts": 1}
    assert store.get(f"{path}/x").path == f"{path}/x"
    store.collections.delete("d", contents="cascade")
    assert live(store) == set()
    store.collections.undelete("d")
    assert store.read(f"{path}/x") == b"1"


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "mkdir", "delete", "undelete", "rmdir", "back", "move", "mvdir"]), PATHS, PATHS),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=25)
def test_whatever_is_done_every_live_thing_has_a_live_parent_and_a_name_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    with holdfast.create(tmp_path_factory.mktemp("tree") / "s") as store:
        verbs: dict[str, Any] = {
            "put": lambda path, _: store.put(path, path),
            "mkdir": lambda path, _: store.collections.ensure(path),
            "delete": lambda path, _: store.artifacts.delete(path),
            "undelete": lambda path, _: store.artifacts.undelete(path),
            "rmdir": lambda path, _: store.collections.delete(path, contents="cascade"),
            "back": lambda path, _: store.collections.undelete(path),
            "move": store.artifacts.move,
            "mvdir": store.collections.move,
        }
        for verb, path, to in steps:
            try:
                verbs[verb](path, to)
            except (ConflictError, NotFoundError):
                continue
            folders = {one.path: one for one in store.collections.list("", recursive=True)}
            artifacts = [one.path for one in store.find()]
            listed = [one.path for one in store.artifacts.list("", recursive=True)]
            assert sorted(artifacts) == sorted(listed)
            everything = [*folders, *artifacts]
            assert len(set(everything)) == len(everything)
            assert all(path.rpartition("/")[0] in {"", *folders} for path in everything)
            assert store.collections.contents("") == {"collections": len(folders), "artifacts": len(artifacts)}
