"""A person edits an exported tree: `import` takes that as new revisions, and overwrites nothing that came meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import ImportRefusedError, MergeConflictError

from .test_merge import findings


@pytest.fixture
def tree(store: Store, tmp_path: Path) -> Path:
    """An export of a small store."""
    store.put("docs/a.md", "one\n", metadata={"score": 1.5}, tags=["draft"])
    store.put("docs/b.md", "two\n")
    store.put("docs/link", "a.md", media_type="inode/symlink")
    store.put("50% <new>.md", "escaped\n")
    store.export_tree(tmp_path / "tree")
    return tmp_path / "tree"


@pytest.fixture
def take(store: Store, tree: Path) -> Callable[..., Any]:
    """Imports the tree into the store that it came from."""

    def taken(**wish: Any) -> Any:
        report = holdfast.import_store(store.path, tree, actor="Cy", **wish)
        assert findings(store) == []
        return report

    return taken


def edit_line(path: Path, wanted: Callable[[dict[str, Any]], bool], change: Callable[[dict[str, Any]], object]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for row in lines:
        if wanted(row):
            change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))


def records(tree: Path, kind: str) -> Path:
    return tree / "records" / kind / "0000000000000001.jsonl"


def test_text_a_new_file_and_a_new_folder_come_in_as_revisions(
    store: Store, tree: Path, take: Callable[..., Any]
) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    (tree / "files/docs/new.md").write_text("new\n")
    (tree / "files/more/deep").mkdir(parents=True)
    (tree / "files/more/deep/what%3F.md").write_text("escaped\n")
    (tree / "files/docs/link").write_text("b.md")
    before = store.get("docs/a.md")
    report = take()
    assert store.read("docs/a.md") == b"edited\n"
    assert (store.get("docs/a.md").number, store.get("docs/a.md").id) == (2, before.id)
    assert (store.get("docs/a.md").metadata, store.get("docs/a.md").tags) == ({"score": 1.5}, ("draft",))
    assert store.get("docs/a.md").revision.actor == "Cy"
    assert store.read("docs/new.md") == b"new\n"
    assert store.read("more/deep/what?.md") == b"escaped\n"
    assert (store.read("docs/link"), store.get("docs/link").media_type) == (b"b.md", "inode/symlink")
    assert sorted((i.path, str(i.outcome)) for i in report.items) == [
        ("docs/a.md", "changed"), ("docs/link", "changed"), ("docs/new.md", "added"), ("more/deep/what?.md", "added"),
    ]  # fmt: skip


def test_metadata_tags_and_type_come_in_from_the_records(store: Store, tree: Path, take: Callable[..., Any]) -> None:
    found = store.get("docs/a.md")
    edit_line(records(tree, "revisions"), lambda r: r["artifact"] == found.id, lambda r: r.update(metadata={"n": 2}))
    edit_line(records(tree, "artifacts"), lambda r: r["id"] == found.id, lambda r: r.update(tags=["final"], type="x"))
    edit_line(
        records(tree, "collections"), lambda r: r.get("name") == "docs", lambda r: r.update(metadata={"why": "y"})
    )
    (tree / "files/docs/a.md").write_text("edited\n")
    take()
    after = store.get("docs/a.md")
    assert (after.metadata, after.tags, after.type, after.number) == ({"n": 2}, ("final",), "x", 2)
    assert store.read("docs/a.md") == b"edited\n"
    assert store.collections.get("docs").metadata == {"why": "y"}


def test_the_same_edits_again_change_nothing(store: Store, tree: Path, take: Callable[..., Any]) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    (tree / "files/docs/new.md").write_text("new\n")
    take()
    head = store.changes.head()
    assert set(take().counts) == {"same"}
    assert store.changes.head() == head


def test_an_export_after_the_import_is_the_edited_tree_and_more(
    store: Store, tree: Path, take: Callable[..., Any], tmp_path: Path
) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    take()
    store.export_tree(tree)
    assert (tree / "files/docs/a.md").read_text() == "edited\n"
    assert holdfast.import_store(tmp_path / "equal", tree).head == store.changes.head().hash.hex()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("skip", {"docs/a.md": "ours\n"}),
        ("ours", {"docs/a.md": "ours\n"}),
        ("theirs", {"docs/a.md": "edited\n"}),
        ("rename", {"docs/a.md": "ours\n", "docs/a (2).md": "edited\n"}),
    ],
)
def test_an_edit_that_meets_a_newer_revision_is_a_conflict(
    store: Store, tree: Path, take: Callable[..., Any], policy: str, expected: dict[str, str]
) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    (tree / "files/docs/new.md").write_text("fine\n")
    store.put("docs/a.md", "ours\n")
    head = store.changes.head()
    with pytest.raises(MergeConflictError, match=r"docs/a\.md"):
        take()
    assert store.changes.head() == head
    take(on_conflict=policy)
    found = {one.path: store.read(one).decode() for one in store.artifacts.list("docs") if "a" in one.name}
    assert found == expected
    assert store.read("docs/a.md", revision=2) == b"ours\n"
    assert store.read("docs/new.md") == b"fine\n"


def test_a_new_file_where_the_store_has_another_by_now_is_a_conflict(
    store: Store, tree: Path, take: Callable[..., Any]
) -> None:
    (tree / "files/docs/new.md").write_text("from the tree\n")
    store.put("docs/new.md", "from the store\n")
    with pytest.raises(MergeConflictError, match=r"docs/new\.md"):
        take()
    take(on_conflict="rename")
    assert (store.read("docs/new.md"), store.read("docs/new (2).md")) == (b"from the store\n", b"from the tree\n")


def test_a_file_that_is_gone_is_no_delete_but_in_a_mirror(store: Store, tree: Path, take: Callable[..., Any]) -> None:
    (tree / "files/docs/b.md").unlink()
    head = store.changes.head()
    take()
    assert store.changes.head() == head
    report = take(mirror=True)
    assert [(i.path, str(i.outcome)) for i in report.items] == [("docs/b.md", "deleted")]
    assert store.read(store.artifacts.undelete("docs/b.md")) == b"two\n"


def test_a_dry_run_says_what_would_come_in(store: Store, tree: Path, take: Callable[..., Any]) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    (tree / "files/docs/new.md").write_text("new\n")
    head = store.changes.head()
    report = take(dry_run=True)
    assert [(i.path, str(i.outcome)) for i in report.items] == [("docs/a.md", "changed"), ("docs/new.md", "added")]
    assert store.changes.head() == head


def test_another_store_takes_the_tree_with_its_edits_if_it_has_what_was_edited(
    store: Store, tree: Path, tmp_path: Path
) -> None:
    with holdfast.create(tmp_path / "other", actor="Bea") as other:
        other.put("mine.md", "mine\n")
        holdfast.import_store(other.path, tree)
        (tree / "files/docs/a.md").write_text("edited\n")
        (tree / "files/docs/new.md").write_text("new\n")
        holdfast.import_store(other.path, tree)
        assert (other.read("docs/a.md"), other.read("docs/new.md")) == (b"edited\n", b"new\n")
        assert other.fsck().findings == ()
    with holdfast.create(tmp_path / "third", actor="Bea") as third:
        third.put("mine.md", "mine\n")
        with pytest.raises(ImportRefusedError, match="neither in the export nor in the store"):
            holdfast.import_store(third.path, tree)
        assert third.changes.head().next_seq == 3


def _link(tree: Path) -> None:
    (tree / "files/docs/a.md").unlink()
    (tree / "files/docs/a.md").symlink_to("/etc/passwd")


def _planted(tree: Path) -> None:
    (tree / "files/docs/in").symlink_to("/etc")


WRONG: dict[str, Callable[[Path], object]] = {
    "a link in a file's place": _link,
    "a planted link": _planted,
    "an id that was edited": lambda tree: edit_line(
        records(tree, "artifacts"), lambda r: True, lambda r: r.update(id="01a1fe8a-8757-76f2-886f-24cf8abe925c")
    ),
    "a name that was edited": lambda tree: edit_line(
        records(tree, "artifacts"), lambda r: r["name"] == "a.md", lambda r: r.update(name="../x")
    ),
    "a digest that was edited": lambda tree: edit_line(
        records(tree, "revisions"), lambda r: True, lambda r: r.update(digest="sha256:" + "1" * 64)
    ),
    "a line that was removed": lambda tree: records(tree, "artifacts").write_text(""),
    "a record of another kind": lambda tree: (
        (tree / "records/runs").mkdir() or (tree / "records/runs/0000000000000001.jsonl").write_text("{}\n")
    ),
    "a name that leads up": lambda tree: (tree / "files/docs/%2E%2E").write_text("x"),
    "a name with a slash": lambda tree: (tree / "files/docs/a%2Fb").write_text("x"),
    "metadata that is no object": lambda tree: edit_line(
        records(tree, "revisions"), lambda r: "metadata" in r, lambda r: r.update(metadata=[1])
    ),
    "a history that was edited": lambda tree: (tree / "changes/0000000000000001.jsonl").write_text("{}\n"),
    "a stray blob": lambda tree: (tree / "blobs/aa").mkdir(parents=True) or (tree / "blobs/aa/x").write_text("x"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_an_edit_is_refused_and_nothing_is_changed(
    store: Store, tree: Path, what: str, tmp_path: Path
) -> None:
    (tree / "files/docs/b.md").write_text("a harmless edit\n")
    WRONG[what](tree)
    head = store.changes.head()
    with pytest.raises(holdfast.errors.HoldfastError) as caught:
        holdfast.import_store(store.path, tree, on_conflict="theirs")
    assert caught.value.code in ("import-refused", "invalid-value", "invalid-name")
    assert store.changes.head() == head
    assert store.fsck().findings == ()


def test_exact_refuses_every_edit(store: Store, tree: Path) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    with pytest.raises(ImportRefusedError, match="changed"):
        holdfast.import_store(store.path, tree, edits=False)


def test_a_new_store_takes_the_edits_after_the_state_of_the_export_if_it_is_asked_to(
    store: Store, tree: Path, tmp_path: Path
) -> None:
    (tree / "files/docs/a.md").write_text("edited\n")
    (tree / "files/docs/new.md").write_text("new\n")
    found = store.get("docs/b.md")
    edit_line(records(tree, "artifacts"), lambda r: r["id"] == found.id, lambda r: r.update(tags=["final"]))
    target = tmp_path / "other"
    with pytest.raises(ImportRefusedError) as refused:
        holdfast.import_store(target, tree)
    assert "--edits" in refused.value.remedy
    assert not target.exists()
    assert holdfast.import_store(target, tree, edits=True, dry_run=True).counts == {"changed": 3, "added": 1}
    assert not target.exists()
    report = holdfast.import_store(target, tree, edits=True, actor="Cy")
    assert [one.path for one in report.items if "withdrawn" in one.detail] == ["docs/a.md"]
    with holdfast.open(target) as other:
        assert other.id == store.id
        assert findings(other) == []
        assert (other.read("docs/a.md"), other.read("docs/new.md")) == (b"edited\n", b"new\n")
        assert other.read("docs/b.md") == b"two\n"
        assert other.get("docs/b.md").tags == ("final",)
        assert other.get("docs/a.md").id == store.get("docs/a.md").id
        assert other.get("docs/a.md").metadata == {"score": 1.5}
        states = [(one.number, str(one.state)) for one in other.artifacts.revisions("docs/a.md")]
        assert sorted(states) == [(1, "withdrawn"), (2, "kept")]
        assert other.status().head_hash == report.head
        other.export_tree(tmp_path / "again")
    assert (tmp_path / "again/files/docs/a.md").read_text() == "edited\n"
    assert holdfast.import_store(store.path, tmp_path / "again").continues


def test_what_an_edit_replaced_and_stands_elsewhere_is_not_lost(store: Store, tree: Path, tmp_path: Path) -> None:
    one, two = tree / "files/docs/a.md", tree / "files/docs/b.md"
    one.write_text("two\n")
    two.write_text("one\n")
    report = holdfast.import_store(tmp_path / "other", tree, edits=True)
    assert not [item for item in report.items if "withdrawn" in item.detail]
    with holdfast.open(tmp_path / "other") as other:
        assert findings(other) == []
        assert other.read("docs/a.md", revision=1) == b"one\n"


def test_a_file_that_is_gone_stops_a_new_store_unless_it_is_a_mirror(store: Store, tree: Path, tmp_path: Path) -> None:
    (tree / "files/docs/a.md").unlink()
    with pytest.raises(ImportRefusedError, match="gone, and its content with it"):
        holdfast.import_store(tmp_path / "other", tree, edits=True)
    assert not (tmp_path / "other").exists()
    holdfast.import_store(tmp_path / "other", tree, edits=True, mirror=True)
    with holdfast.open(tmp_path / "other") as other:
        assert findings(other) == []
        assert [one.path for one in other.find()] == [one.path for one in store.find() if one.name != "a.md"]
