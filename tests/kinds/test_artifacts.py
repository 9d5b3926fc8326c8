"""Artifacts: what each verb means (DESIGN, section 5), each sentence with its test."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import FileFacts, Store
from holdfast.errors import (
    ConflictError,
    ContentPurgedError,
    ExpectationError,
    HoldfastError,
    InUseError,
    InvalidInputError,
    InvalidNameError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
)
from holdfast.values import canon, digest

NOWHERE = "01987654-0000-7000-8000-000000000000"


def paths(store: Store, **options: Any) -> list[str]:
    return [one.path for one in store.find(order="name", **options)]


# -- put ---------------------------------------------------------------------------------------------------------------


def test_a_put_keeps_content_and_says_all_there_is_to_say_of_it(store: Store) -> None:
    before = datetime.now(UTC)
    result = store.put(
        "docs/a.md",
        "hé\n",
        metadata={"n": 1},
        type="note",
        tags=["x", "b"],
        status="draft",
        owner="Grace",
        message="first",
        source="https://example.org/a",
        file=FileFacts(0o640, 1_234_567_890_123_456_789),
    )
    made = result.artifact

    assert (result.created, result.changed) == (True, True)
    assert (made.path, made.name, made.name_bytes) == ("docs/a.md", "a.md", b"a.md")
    assert (made.type, made.status, made.tags, made.owner, made.tenant) == ("note", "draft", ("b", "x"), "Grace", "")
    assert (made.number, made.size, made.digest) == (1, 4, digest.of("hé\n".encode()))
    assert (made.media_type, made.metadata) == ("text/markdown", {"n": 1})
    revision = made.revision
    assert (revision.actor, revision.message, revision.source) == ("Ada", "first", "https://example.org/a")
    assert revision.file == FileFacts(0o640, 1_234_567_890_123_456_789)
    assert (revision.previous_digest, revision.run_id, revision.artifact_id) == (None, None, made.id)
    assert before <= made.created_at == made.updated_at == revision.created_at <= datetime.now(UTC)
    assert store.read("docs/a.md") == "hé\n".encode()
    assert store.get("docs/a.md") == store.get(f"id:{made.id}") == store.get(made) == store.get(b"docs/a.md") == made


@pytest.mark.usefixtures("without_packs")
@pytest.mark.parametrize("size", [0, 1, 5_000, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_content_comes_in_as_bytes_text_file_or_stream_and_out_in_three_ways(
    store: Store, tmp_path: Path, size: int
) -> None:
    content = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    file = tmp_path / "file"
    file.write_bytes(content)
    for name, source in {
        "bytes": content,
        "bytearray": bytearray(content),
        "view": memoryview(content),
        "str": content.decode(),
        "path": file,
        "stream": io.BytesIO(content),
    }.items():
        made = store.put(name, source).artifact
        assert (made.digest, made.size) == (digest.of(content), size)
        assert store.read(name) == content
        target = io.BytesIO()
        assert store.artifacts.copy_to(name, target) == size
        assert target.getvalue() == content
        with store.artifacts.open(name) as reader:
            reader.seek(size // 2)
            assert reader.read() == content[size // 2 :]
    assert len(list(Path(store.path, "blobs").rglob("*.zst"))) == 1


def test_new_content_makes_the_next_revision_that_records_old_and_new_digest(store: Store) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2")

    assert (second.created, second.changed, second.artifact.id) == (False, True, first.artifact.id)
    assert (second.revision.number, second.revision.previous_digest) == (2, first.revision.digest)
    (change,) = list(store.changes.list(action="revise"))
    assert change.after is not None
    assert change.after["previous"] == first.revision.digest
    assert change.after["revision"]["digest"] == second.revision.digest
    assert [one.number for one in store.artifacts.revisions("a")] == [2, 1]
    assert store.artifacts.revision("a", 1) == first.revision
    assert (store.read("a", revision=1), store.read("a")) == (b"1", b"2")


def test_equal_content_media_type_and_metadata_is_a_no_op_that_says_so(store: Store) -> None:
    store.put("a.txt", b"1", metadata={"x": 1}, message="first")
    head = store.changes.head()

    for again in (
        store.put("a.txt", b"1"),
        store.put("a.txt", b"1", metadata={"x": 1}, media_type="text/plain", message="second", source="elsewhere"),
        store.put("a.txt", b"1", type="file", status="active", tags=[]),
    ):
        assert (again.created, again.changed, again.revision.number) == (False, False, 1)
        assert again.revision.message == "first"
    assert store.changes.head() == head


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {"x": 1.0}},
        {"metadata": {"x": True}},
        {"metadata": {}},
        {"media_type": "text/x-other"},
        {"metadata": {"x": 1, "y": None}},
    ],
)
def test_other_metadata_or_another_media_type_makes_a_revision_of_the_same_content(
    store: Store, changed: dict[str, Any]
) -> None:
    first = store.put("a.txt", b"1", metadata={"x": 1})
    again = store.put("a.txt", b"1", **changed)

    assert (again.changed, again.revision.number, again.revision.digest) == (True, 2, first.revision.digest)
    if "metadata" in changed:
        assert canon.encode(again.artifact.metadata) == canon.encode(changed["metadata"])


def test_what_is_not_said_is_kept_and_an_empty_object_clears(store: Store) -> None:
    store.put(
        "a", b"1", metadata={"x": 1}, media_type="text/x-mine", tags=["t"], type="note", status="draft", owner="Grace"
    )
    kept = store.put("a", b"2").artifact
    assert (kept.metadata, kept.media_type) == ({"x": 1}, "text/x-mine")
    assert (kept.tags, kept.type, kept.status, kept.owner) == (("t",), "note", "draft", "Grace")

    cleared = store.put("a", b"3", metadata={}, tags=[]).artifact
    assert (cleared.metadata, cleared.tags, cleared.type) == ({}, (), "note")


def test_tags_and_the_like_belong_to_the_artifact_and_make_no_revision(store: Store) -> None:
    store.put("a", b"1")
    result = store.put("a", b"1", tags=["t"], type="note")

    assert (result.changed, result.artifact.number, result.artifact.tags, result.artifact.type) == (
        False,
        1,
        ("t",),
        "note",
    )
    (change,) = list(store.changes.list(action="update"))
    assert (change.before, change.after) == ({"type": "file", "tags": []}, {"type": "note", "tags": ["t"]})


def test_tags_from_a_generator_are_all_kept(store: Store) -> None:
    assert store.put("a", b"1", tags=(f"t{n}" for n in range(3))).artifact.tags == ("t0", "t1", "t2")
    assert store.artifacts.update("a", tags=(f"u{n}" for n in range(2))).tags == ("u0", "u1")


@pytest.mark.parametrize("expect", [0, 2, 7, -1])
def test_an_expectation_is_checked_first_also_when_nothing_would_change(store: Store, expect: int) -> None:
    store.put("a", b"1")
    head = store.changes.head()

    for content in (b"1", b"2"):
        with pytest.raises((ExpectationError, NameTakenError)) as caught:
            store.put("a", content, expect=expect)
        if expect:
            assert caught.value.fields == {"expected": expect, "found": 1}
        else:
            assert caught.value.fields["holder"] == store.get("a").id
    assert store.changes.head() == head


def test_an_expectation_that_is_met_lets_the_put_through(store: Store) -> None:
    assert store.put("a", b"1", expect=0).created
    assert store.put("a", b"2", expect=1).revision.number == 2
    assert not store.put("a", b"2", expect=2).changed
    with pytest.raises(ExpectationError) as caught:
        store.put("b", b"1", expect=1)
    assert caught.value.fields == {"expected": 1, "found": 0}
    assert not list(store.find(name="b"))


def test_after_a_delete_the_name_is_absent_and_taken_by_a_new_artifact(store: Store) -> None:
    old = store.put("a", b"1").artifact
    store.artifacts.delete("a")
    new = store.put("a", b"2", expect=0)

    assert new.created
    assert new.artifact.id != old.id
    assert new.revision.number == 1
    assert store.read(f"id:{old.id}", revision=1) == b"1"


def test_a_put_by_id_or_record_revises_that_artifact_wherever_it_is(store: Store) -> None:
    made = store.put("a", b"1").artifact
    store.artifacts.rename("a", "b")

    assert store.put(f"id:{made.id}", b"2").revision.number == 2
    assert store.put(made, b"3").artifact.path == "b"
    for gone in (f"id:{NOWHERE}",):
        with pytest.raises(NotFoundError):
            store.put(gone, b"1")


METADATA = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        | st.integers(200, 2_000).map(lambda n: 7**n),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text('ab\x00é"\\', max_size=3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@given(st.lists(METADATA, min_size=1, max_size=5))
@settings(max_examples=15)
def test_metadata_comes_back_as_given_types_included_also_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, given_data: list[dict[str, Any]]
) -> None:
    root = tmp_path_factory.mktemp("metadata") / "s"
    with holdfast.create(root) as store:
        for n, metadata in enumerate(given_data):
            assert canon.encode(store.put(f"{n}", b"x", metadata=metadata).artifact.metadata) == canon.encode(metadata)
        store.search("nothing")
    with holdfast.open(root) as store:
        for n, metadata in enumerate(given_data):
            assert canon.encode(store.get(f"{n}").metadata) == canon.encode(metadata)


@pytest.mark.parametrize(
    "bad",
    [
        {"metadata": {"x": float("nan")}},
        {"metadata": {"x": float("-inf")}},
        {"metadata": {"x": "\ud800"}},
        {"metadata": {"x": (1,)}},
        {"metadata": {1: 2}},
        {"metadata": [1]},
        {"metadata": "text"},
        {"tags": "text"},
        {"tags": [""]},
        {"tags": ["x" * 256]},
        {"tags": ["a\0"]},
        {"tags": [5]},
        {"tags": ["\udcff"]},
        {"tags": 5},
        {"type": ""},
        {"type": "a\0"},
        {"media_type": ""},
        {"media_type": "\ud800"},
        {"status": ""},
        {"owner": "a\0b"},
        {"message": "\ud800"},
        {"source": "a\0"},
        {"unheard_of": 1},
        {"file": FileFacts(mtime_ns=2**63)},
        {"file": FileFacts(mode=0.5)},
        {"type": 5},  # type: ignore[arg-type]
    ],
)
def test_what_could_not_be_kept_as_given_is_refused_before_anything_is_written(
    store: Store, bad: dict[str, Any]
) -> None:
    for call in (lambda: store.put("a/b", b"1", **bad), lambda: store.create("a/b", b"1", **bad)):
        with pytest.raises(InvalidInputError):
            call()

    assert store.changes.head().next_seq == 1
    assert os.listdir(Path(store.path, "tmp")) == []
    assert os.listdir(Path(store.path, "blobs")) == []


@pytest.mark.parametrize("bad", [5, None, ["x"], io.StringIO("text"), "\ud800"])
def test_what_is_no_content_is_refused(store: Store, bad: Any) -> None:
    with pytest.raises(InvalidValueError):
        store.put("a", bad)
    assert store.changes.head().next_seq == 1


@pytest.mark.parametrize("bad", ["", "a/", "/a", "a//b", "a/../b", ".", "a\0", "x" * 256, b"a/", "\ud800"])
def test_a_name_that_no_file_system_could_hold_is_refused(store: Store, bad: Any) -> None:
    for call in (lambda: store.put(bad, b"1"), lambda: store.create(bad, b"1"), lambda: store.get(bad)):
        with pytest.raises(InvalidNameError):
            call()
    assert store.changes.head().next_seq == 1


@pytest.mark.parametrize("bad", [5, None, Path("a"), ["a"]])
def test_what_names_no_record_is_an_invalid_value(store: Store, bad: Any) -> None:
    for call in (
        lambda: store.get(bad),
        lambda: store.read(bad),
        lambda: store.artifacts.delete(bad),
        lambda: store.collections.get(bad),
    ):
        with pytest.raises(InvalidValueError):
            call()


def test_a_run_that_is_not_there_is_not_found(store: Store) -> None:
    for run in (NOWHERE, "x", f"id:{NOWHERE}"):
        with pytest.raises(NotFoundError):
            store.put("a", b"1", run=run)
    assert store.changes.head().next_seq == 1


# -- names -------------------------------------------------------------------------------------------------------------


def test_create_of_a_taken_name_names_the_holder(store: Store) -> None:
    made = store.create("c/a", b"1")
    folder = store.collections.get("c")

    with pytest.raises(NameTakenError) as caught:
        store.create("c/a", b"1")
    assert caught.value.fields == {"name": "c/a", "holder": made.id, "kind": "artifact"}
    for call in (lambda: store.create("c", b"1"), lambda: store.put("c", b"1")):
        with pytest.raises(NameTakenError) as caught:
            call()
        assert caught.value.fields == {"name": "c", "holder": folder.id, "kind": "collection"}
    with pytest.raises(NameTakenError) as caught:
        store.put("c/a/b", b"1")
    assert caught.value.fields["holder"] == made.id


def test_names_that_look_alike_are_different_names(store: Store) -> None:
    names = [
        b"\xff",
        b"\\xff",
        "é".encode(),
        "e\u0301".encode(),
        b"A",
        b"a",
        b" a",
        b"a ",
        "\U0001f600".encode(),
        b"\n",
    ]
    for n, name in enumerate(names):
        assert store.put(name, str(n)).created

    for n, name in enumerate(names):
        assert store.read(name) == str(n).encode()
        assert store.get(os.fsdecode(name)).name_bytes == name
    assert len({one.id for one in store.find()}) == len(names)


def test_rename_and_move_keep_id_history_and_content(store: Store) -> None:
    made = store.put("a/x", b"1", tags=["t"]).artifact
    store.put("a/x", b"2")
    store.collections.create("b")

    renamed = store.artifacts.rename("a/x", b"\xff")
    assert (renamed.id, renamed.path, renamed.name_bytes, renamed.number) == (made.id, "a/\\xff", b"\xff", 2)
    moved = store.artifacts.move(renamed, "b", name="y")
    assert (moved.id, moved.path, moved.tags, moved.collection_id) == (
        made.id,
        "b/y",
        ("t",),
        store.collections.get("b").id,
    )
    assert store.artifacts.move("b/y", "").path == "y"
    assert [one.number for one in store.artifacts.revisions("y")] == [2, 1]
    assert [change.action for change in store.artifacts.log("y")] == ["create", "revise", "update", "update", "update"]
    assert paths(store) == ["y"]
    for gone in (b"a/x", b"a/\xff", b"b/y"):
        with pytest.raises(NotFoundError):
            store.get(gone)


def test_rename_and_move_to_where_it_is_are_no_ops_and_to_a_taken_name_are_refused(store: Store) -> None:
    one, two = store.put("c/a", b"1").artifact, store.put("c/b", b"2").artifact
    store.collections.create("c/sub")
    head = store.changes.head()

    assert store.artifacts.rename("c/a", "a") == one
    assert store.artifacts.move("c/a", "c") == one
    for call, holder in (
        (lambda: store.artifacts.rename("c/a", "b"), two.id),
        (lambda: store.artifacts.move("c/a", "c", name="b"), two.id),
        (lambda: store.artifacts.rename("c/a", "sub"), store.collections.get("c/sub").id),
    ):
        with pytest.raises(NameTakenError) as caught:
            call()
        assert caught.value.fields["holder"] == holder
    with pytest.raises(NotFoundError):
        store.artifacts.move("c/a", "nowhere")
    with pytest.raises(InvalidNameError):
        store.artifacts.rename("c/a", "x/y")
    assert store.changes.head() == head


def test_the_media_type_is_found_from_name_and_content_and_stays_when_the_content_changes(store: Store) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
    found = {
        name: store.put(name, content).artifact.media_type
        for name, content in {
            "a.md": b"x",
            "b.JSON": b"{}",
            "c": png,
            "d": b"text",
            "e": b"\0\1",
            "f.tar.gz": b"x",
            "g.png": b"no png",
            "h": b"",
            ".hidden": b"x",
            "i.unheardof": "é".encode()[:1] * 0 + b"text",
        }.items()
    }

    assert found == {
        "a.md": "text/markdown",
        "b.JSON": "application/json",
        "c": "image/png",
        "d": "text/plain",
        "e": "application/octet-stream",
        "f.tar.gz": "application/gzip",
        "g.png": "image/png",
        "h": "text/plain",
        ".hidden": "text/plain",
        "i.unheardof": "text/plain",
    }
    assert store.put("d", png).artifact.media_type == "text/plain"


# -- labels ------------------------------------------------------------------------------------------------------------


def test_tags_are_added_and_taken_away_and_nothing_happens_twice(store: Store) -> None:
    store.put("a", b"1")
    assert store.artifacts.tag("a", "z", "b", "b").tags == ("b", "z")
    head = store.changes.head()
    assert store.artifacts.tag("a", "b").tags == ("b", "z")
    assert store.artifacts.untag("a", "unheard of").tags == ("b", "z")
    assert store.changes.head() == head
    assert store.artifacts.untag("a", "z").tags == ("b",)
    assert store.get("a").number == 1
    with pytest.raises(InvalidValueError):
        store.artifacts.tag("a", "")


def test_update_changes_what_is_said_and_nothing_else(store: Store) -> None:
    store.put("a", b"1", tags=["t"], owner="Grace")
    changed = store.artifacts.update("a", type="model", status="done", note="because")

    assert (changed.type, changed.status, changed.tags, changed.owner, changed.number) == (
        "model",
        "done",
        ("t",),
        "Grace",
        1,
    )
    (change,) = list(store.changes.list(action="update"))
    assert (change.before, change.after, change.note) == (
        {"type": "file", "status": "active"},
        {"type": "model", "status": "done"},
        "because",
    )
    assert store.artifacts.update("a", type="model") == changed
    assert store.artifacts.update("a", owner="").owner == ""


def test_metadata_alone_is_set_by_a_revision_of_the_same_content(store: Store) -> None:
    first = store.put("a", b"1", metadata={"x": 1, "y": 2})
    result = store.artifacts.set_metadata("a", {"x": 3}, message="new", expect=1)

    assert (result.changed, result.revision.number, result.revision.digest) == (True, 2, first.revision.digest)
    assert (result.artifact.metadata, result.revision.message) == ({"x": 3}, "new")
    assert not store.artifacts.set_metadata("a", {"x": 3}).changed
    with pytest.raises(ExpectationError):
        store.artifacts.set_metadata("a", {}, expect=1)
    assert store.artifacts.set_metadata("a", {}).artifact.metadata == {}
    assert store.artifacts.revision("a", 1).metadata == {"x": 1, "y": 2}


# -- delete, undelete --------------------------------------------------------------------------------------------------


def test_a_delete_is_a_tombstone_that_leaves_results_but_not_history(store: Store) -> None:
    made = store.put("c/a", b"1", tags=["t"]).artifact
    gone = store.artifacts.delete("c/a", note="not needed")

    assert (gone.id, gone.path, gone.tags) == (made.id, "c/a", ("t",))
    assert gone.deleted_at is not None
    assert list(store.find()) == list(store.artifacts.list("c")) == list(store.find(tag="t")) == []
    assert store.search("a").hits == ()
    assert store.collections.contents("")["artifacts"] == 0
    assert paths(store, deleted=True) == ["c/a"]
    for call in (
        lambda: store.get("c/a"),
        lambda: store.get(made),
        lambda: store.read("c/a"),
        lambda: store.artifacts.delete("c/a"),
        lambda: store.artifacts.tag("c/a", "x"),
        lambda: store.artifacts.revert("c/a", 1),
    ):
        with pytest.raises(NotFoundError):
            call()
    assert store.get("c/a", deleted=True) == gone
    assert store.read("c/a", revision=1) == b"1"
    assert [(c.action, c.note) for c in store.artifacts.log("c/a")] == [("create", ""), ("delete", "not needed")]


def test_undelete_brings_back_exactly_what_was_there(store: Store) -> None:
    made = store.put("c/a", b"1", metadata={"x": 1}, tags=["t"]).artifact
    store.artifacts.delete("c/a")
    back = store.artifacts.undelete("c/a")

    assert (back.id, back.revision, back.tags, back.deleted_at) == (made.id, made.revision, ("t",), None)
    assert (back.created_at, back.path) == (made.created_at, "c/a")
    assert store.artifacts.undelete("c/a") == back, "what is live stays as it is"
    assert [hit.artifact.id for hit in store.search("a").hits] == [made.id]


def test_undelete_by_path_means_the_one_deleted_last(store: Store) -> None:
    ids = []
    for n in range(3):
        ids.append(store.put("a", str(n)).artifact.id)
        store.artifacts.delete("a")

    assert store.artifacts.undelete("a").id == ids[2]
    assert store.artifacts.undelete(f"id:{ids[0]}", name="first").path == "first"
    assert store.get("a", deleted=True).id == ids[2]
    with pytest.raises(NotFoundError):
        store.artifacts.undelete("never was")


def test_undelete_into_a_taken_name_names_the_holder_or_takes_another_name(store: Store) -> None:
    old = store.put("c/a", b"1").artifact
    store.artifacts.delete(old)
    new = store.put("c/a", b"2").artifact

    with pytest.raises(NameTakenError) as caught:
        store.artifacts.undelete(f"id:{old.id}")
    assert caught.value.fields["holder"] == new.id
    back = store.artifacts.undelete(f"id:{old.id}", name=b"\xff")
    assert (back.id, back.path, back.name_bytes) == (old.id, "c/\\xff", b"\xff")
    assert store.read(b"c/\xff") == b"1"
    assert store.read("c/a") == b"2"


def test_undelete_says_when_the_collection_stands_in_the_way(store: Store) -> None:
    made = store.put("c/a", b"1").artifact
    store.artifacts.delete(made)
    store.collections.delete("c")

    with pytest.raises(ConflictError, match="collection"):
        store.artifacts.undelete(f"id:{made.id}")
    store.collections.undelete("c")
    assert store.artifacts.undelete(f"id:{made.id}").path == "c/a"


def test_relationships_go_with_a_delete_and_come_back_with_an_undelete_unless_told_to_stand_in_the_way(
    store: Store,
) -> None:
    one, two, three = (store.put(name, name).artifact for name in ("one", "two", "three"))
    kept = store.relationships.relate(one, "supports", two)
    own = store.relationships.relate(two, "supports", three)
    store.relationships.delete(own)
    before = store.changes.head()

    with pytest.raises(InUseError) as caught:
        store.artifacts.delete("two", relationships="restrict")
    assert caught.value.fields["counts"] == {"relationships": 1}
    assert store.changes.head() == before
    store.artifacts.delete("two")
    assert list(store.relationships.of(one)) == []
    store.artifacts.undelete("two")
    assert [relationship.id for relationship in store.relationships.of(two)] == [kept.id], "its own tombstone stays"
    assert store.artifacts.delete("three", relationships="restrict").deleted_at is not None


# -- purge, revert -----------------------------------------------------------------------------------------------------


def test_a_live_artifact_gives_up_old_revisions_only_and_says_who_did_it(store: Store) -> None:
    for n in range(1, 4):
        store.put("a", f"content {n}")
    head = store.changes.head()
    for bad in (None, [3], [1, 3]):
        with pytest.raises(ConflictError):
            store.artifacts.purge("a", revisions=bad)
    with pytest.raises(NotFoundError):
        store.artifacts.purge("a", revisions=[1, 9])
    assert store.changes.head() == head

    store.artifacts.purge("a", revisions=[1], note="private")
    assert [str(one.state) for one in store.artifacts.revisions("a")] == ["kept", "kept", "purged"]
    assert (store.read("a"), store.read("a", revision=2)) == (b"content 3", b"content 2")
    for call in (
        lambda: store.read("a", revision=1),
        lambda: store.artifacts.open("a", revision=1),
        lambda: store.artifacts.copy_to("a", io.BytesIO(), revision=1),
        lambda: list(store.artifacts.diff("a", 1, 2)),
        lambda: store.artifacts.revert("a", 1),
    ):
        with pytest.raises(ContentPurgedError) as caught:
            call()
        assert (caught.value.fields["revision"], caught.value.fields["id"]) == (1, store.get("a").id)
    last = list(store.artifacts.log("a"))[-1]
    assert (last.action, last.after, last.note, last.actor) == ("purge", {"revisions": [1]}, "private", "Ada")
    assert store.artifacts.purge("a", revisions=[1]).number == 3, "again nothing happens"
    assert store.changes.head().next_seq == last.seq + 1


@pytest.mark.usefixtures("without_packs")
def test_a_deleted_artifact_is_purged_whole_and_its_bytes_are_freed_by_gc_unless_others_need_them(store: Store) -> None:
    store.put("a", b"only here")
    store.put("a", b"shared")
    store.put("b", b"shared")
    store.artifacts.delete("a")
    store.artifacts.purge("a")

    assert store.gc(grace_s=0).removed == 1
    assert store.read("b") == b"shared"
    for revision in (1, 2):
        with pytest.raises(ContentPurgedError):
            store.read("a", revision=revision)
    assert len(list(Path(store.path, "blobs").rglob("*.zst"))) == 1


def test_a_transaction_id_that_is_repeated_gives_the_first_result_though_it_is_deleted(
    store: Store,
) -> None:
    tx = "01890000-0000-7000-8000-00000000aaaa"
    first = store.put("a", "once", tx=tx)
    store.artifacts.delete("a")

    again = store.put("a", "once", tx=tx)  # E-1: checked in the tests, and it must not call this a broken promise

    assert again.artifact.id == first.artifact.id
    assert list(store.artifacts.find()) == []


@pytest.mark.parametrize("collected", [True, False])
def test_content_that_was_given_up_can_be_put_again_and_is_no_no_op(
    store: Store, collected: bool, tmp_path: Path
) -> None:
    for name in ("a", "tree/f"):
        store.put(name, b"given up")
        store.artifacts.delete(name)
        store.artifacts.purge(name)
        store.artifacts.undelete(name)
        with pytest.raises(ContentPurgedError):
            store.read(name)
    if collected:
        store.gc(grace_s=0)

    with pytest.raises(ContentPurgedError):
        store.artifacts.set_metadata("a", {"x": 1})
    again = store.put("a", b"given up")
    assert (again.changed, again.revision.number) == (True, 2)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").write_bytes(b"given up")
    assert store.add(str(tmp_path / "tree")).revised == 1
    store.gc(grace_s=0)
    for name in ("a", "tree/f"):
        assert store.read(name) == b"given up"
        with pytest.raises(ContentPurgedError):
            store.read(name, revision=1)


def test_revert_makes_an_old_revision_the_newest_without_taking_anything_away(store: Store) -> None:
    store.put("a.txt", b"1", metadata={"x": 1}, file=FileFacts(0o600, 5))
    store.put("a.txt", b"2", metadata={"x": 2}, media_type="text/x-two", file=FileFacts(0o644, 6))
    result = store.artifacts.revert("a.txt", 1)

    assert (result.changed, result.revision.number, result.revision.message) == (True, 3, "revert to revision 1")
    assert store.read("a.txt") == b"1"
    assert (result.artifact.metadata, result.artifact.media_type, result.revision.file) == (
        {"x": 1},
        "text/plain",
        FileFacts(0o600, 5),
    )
    assert [one.number for one in store.artifacts.revisions("a.txt")] == [3, 2, 1]
    assert not store.artifacts.revert("a.txt", 3).changed
    assert not store.artifacts.revert("a.txt", 1).changed, "it is what it already was"
    with pytest.raises(NotFoundError):
        store.artifacts.revert("a.txt", 9)


def test_revision_numbers_are_never_given_twice(store: Store) -> None:
    store.put("a", b"1")
    store.put("a", b"2")
    store.artifacts.purge("a", revisions=[1])
    store.artifacts.revert("a", 2)
    store.artifacts.delete("a")
    store.artifacts.purge("a")
    store.artifacts.undelete("a")

    assert store.put("a", b"3").revision.number == 3
    assert [one.number for one in store.artifacts.revisions("a")] == [3, 2, 1]


# -- reading history ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 9, 10**30])
def test_a_revision_that_is_not_there_is_not_found(store: Store, number: int) -> None:
    store.put("a", b"1")
    for call in (lambda: store.artifacts.revision("a", number), lambda: store.read("a", revision=number)):
        with pytest.raises((NotFoundError, InvalidValueError)):
            call()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", ["@@ -1,3 +1,3 @@", " a", "-b", "+B", " c"]),
        ("a\n", "a", ["@@ -1 +1 @@", "-a", "+a", "\\ No newline at end of file"]),
        ("a\r\n", "a\n", ["@@ -1 +1 @@", "-a\r", "+a"]),
        ("", "x\n", ["@@ -0,0 +1 @@", "+x"]),
        ("a\x0cb\n", "a\u2028b\n", ["@@ -1 +1 @@", "-a\x0cb", "+a\u2028b"]),
        ("same\n", "same\n", []),
    ],
)
def test_a_diff_shows_every_difference_of_two_revisions_as_a_unified_one(
    store: Store, old: str, new: str, expected: list[str]
) -> None:
    store.put("c/a", old)
    store.put("c/a", new, metadata={"n": 1})
    lines = list(store.artifacts.diff("c/a", 1, 2))

    assert lines[2:] == expected
    assert lines[:2] == (["--- c/a@1", "+++ c/a@2"] if expected else [])


def test_a_diff_of_what_is_no_text_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"\xff\xfe")
    store.put("a", b"text")
    with pytest.raises(InvalidValueError, match="UTF-8"):
        list(store.artifacts.diff("a", 1, 2))
    monkeypatch.setattr("holdfast.kinds.readings.MAX_DIFF_BYTES", 2)
    with pytest.raises(InvalidValueError, match="too many"):
        list(store.artifacts.diff("a", 2, 2))


def test_the_log_tells_every_change_of_one_artifact_in_order(store: Store) -> None:
    store.put("other", b"0")
    store.put("c/a", b"1", tags=["t"])
    store.put("other", b"1")
    store.put("c/a", b"2")
    store.artifacts.update("c/a", status="done")
    store.artifacts.rename("c/a", "b")
    store.artifacts.delete("c/b")
    store.artifacts.undelete("c/b")
    store.artifacts.purge("c/b", revisions=[1])

    log = list(store.artifacts.log("c/b"))
    assert [change.action for change in log] == ["create", "revise", "update", "update", "delete", "undelete", "purge"]
    assert [change.seq for change in log] == sorted(change.seq for change in log)
    assert {change.id for change in log} == {store.get("c/b").id}
    assert (log[3].before, log[3].after) == ({"name": "a"}, {"name": "b"})


def test_a_listing_is_in_order_of_names_and_goes_down_when_told_to(store: Store) -> None:
    for path in ("b", "a", "c/2", "c/10", "c/d/e", "B", "é"):
        store.put(path, b"x")

    assert [one.path for one in store.artifacts.list()] == ["B", "a", "b", "é"]
    assert [one.path for one in store.artifacts.list("c")] == ["c/10", "c/2"]
    assert [one.path for one in store.artifacts.list("", recursive=True)] == [
        "B",
        "a",
        "b",
        "é",
        "c/10",
        "c/2",
        "c/d/e",
    ]
    with pytest.raises(NotFoundError):
        list(store.artifacts.list("nowhere"))


def test_no_verb_lets_a_low_level_error_through(store: Store) -> None:
    """A sweep over odd arguments: whatever is raised is ours."""
    store.put("a", b"1")
    odd: list[Any] = ["a", "", "id:x", "\udcff", "a\0", 2**70, -1, None, b"\xff", {"x": 1}, ["a"], "x" * 300]
    calls: list[Callable[[Any], Any]] = [
        lambda v: store.put(v, b"1"),
        lambda v: store.put("a", v),
        lambda v: store.put("a", b"2", metadata=v),
        lambda v: store.put("a", b"2", tags=v),
        lambda v: store.put("a", b"2", expect=v),
        lambda v: store.artifacts.rename("a", v),
        lambda v: store.artifacts.move("a", v),
        lambda v: store.artifacts.update("a", type=v),
        lambda v: store.artifacts.tag("a", v),
        lambda v: store.artifacts.revision("a", v),
        lambda v: list(store.find(name=v)),
        lambda v: list(store.find(under=v)),
        lambda v: list(store.find(holdfast.field("metadata.x") == v)),
        lambda v: list(store.find(holdfast.field("size") > v)),
        lambda v: list(store.find(type=v)),
        lambda v: list(store.find(tag=v)),
        lambda v: store.artifacts.page(token=v),
        lambda v: list(store.changes.list(record=v)),
        store.collections.create,
        store.collections.get,
    ]
    for call in calls:
        for value in odd:
            try:
                call(value)
            except (HoldfastError, TypeError, AttributeError):
                continue


def test_permission_bits_stay_when_nothing_is_said_of_them(store: Store) -> None:
    made = store.put("run.sh", b"echo 1", file=FileFacts(mode=0o755, mtime_ns=7)).artifact
    described = store.artifacts.set_metadata(made, {"k": 1})
    assert described.changed
    assert described.revision.file == FileFacts(mode=0o755, mtime_ns=7)
    # The time belongs to the content; the bits to the artifact.
    assert store.put("run.sh", b"echo 2").revision.file == FileFacts(mode=0o755)
    assert store.put("run.sh", b"echo 3", file=FileFacts(mode=0o644)).revision.file.mode == 0o644
    assert store.artifacts.revert("run.sh", 1).revision.file.mode == 0o755
