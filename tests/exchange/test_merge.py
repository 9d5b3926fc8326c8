"""`import` into a store with a history: what theirs knows comes in as changes of ours, and nothing is lost."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import FileFacts, Store
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError, ImportRefusedError, InvalidValueError, MergeConflictError
from holdfast.exchange import importing
from holdfast.exchange.merge.report import Wish
from holdfast.values.change import Actor
from holdfast.values.records import Artifact

from .test_tree import KillingDisk, contents_of, fill, in_child, logical

POLICIES = ["skip", "rename", "newest", "theirs", "ours"]


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Store]:
    """The store whose tree comes in."""
    with holdfast.create(tmp_path / "theirs", actor="Ada") as made:
        yield made


@pytest.fixture
def take(theirs: Store, store: Store, tmp_path: Path) -> Callable[..., Any]:
    """Exports theirs and imports it into ours, which has to be sound after it."""

    def taken(**wish: Any) -> Any:
        theirs.export_tree(tmp_path / "tree", force=True)
        report = holdfast.import_store(store.path, tmp_path / "tree", actor="Cy", **wish)
        sound(store)
        return report

    return taken


def sound(store: Store) -> None:
    assert findings(store) == []
    assert store.audit.verify().proven
    assert all(one.proven for one in store.audit.foreign())


def findings(store: Store) -> list[Any]:
    """What fsck found, but for contents in packs that were brought in vain: they wait for gc, as after any put."""
    return [one for one in store.fsck().findings if one.code != "blob-unreferenced"]


def outcomes(report: Any) -> dict[str, str]:
    return {one.path or one.id: str(one.outcome) for one in report.items if one.kind == "artifact"}


def known(found: Artifact) -> tuple[Any, ...]:
    return (found.id, found.path, found.digest, found.metadata, found.tags, found.type, found.status, found.number)


# -- what comes in ---------------------------------------------------------------------------------------------------


def test_everything_comes_in_with_its_ids_and_keeps_what_was_there(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    fill(theirs)
    store.put("docs/mine.md", "mine\n")
    report = take()
    assert report.merged
    assert report.counts["added"] == len([i for i in report.items if i.outcome == "added"])
    for one in theirs.artifacts.list("", recursive=True):
        assert known(store.get(f"id:{one.id}")) == known(one)
        before, after = theirs.artifacts.revisions(one), store.artifacts.revisions(f"id:{one.id}")
        said = ("number", "digest", "size", "media_type", "metadata", "message", "source", "file", "run_id", "state")
        assert [[getattr(r, f) for f in said] for r in after] == [[getattr(r, f) for f in said] for r in before]
    assert contents_of(theirs).items() <= contents_of(store).items()
    (tie,), (copy,) = theirs.relationships.of("docs/a.md"), store.relationships.of("docs/a.md")
    assert (copy.id, copy.type, copy.source, copy.target) == (tie.id, tie.type, tie.source, tie.target)
    assert copy.metadata == tie.metadata
    run = next(iter(theirs.runs.find()))
    manifest, other = theirs.runs.manifest(run), store.runs.manifest(f"id:{run.id}")
    assert (manifest.inputs, manifest.outputs, manifest.steps) == (other.inputs, other.outputs, other.steps)
    assert (run.name, run.status, run.parameters, run.started_at, run.ended_at) == (
        other.run.name, other.run.status, other.run.parameters, other.run.started_at, other.run.ended_at)  # fmt: skip
    assert store.read("docs/mine.md") == b"mine\n"
    assert store.get("gone", deleted=True).deleted_at is not None


def test_rows_follow_from_the_chain_after_a_merge(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    fill(theirs)
    store.put("docs/mine.md", "mine\n")
    take()
    before = logical(store)
    store.close()
    holdfast.rebuild(store.path)
    with holdfast.open(store.path) as again:
        assert logical(again) == before
        sound(again)


def test_each_change_says_which_of_theirs_it_stands_for(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("a.md", "one\n", message="first")
    theirs.put("a.md", "two\n")
    store.put("b.md", "mine\n")
    take()
    made = list(store.changes.list(record=store.get("a.md").id))
    assert [(c.actor, c.origin["actor"]["name"], c.origin["store"]) for c in made if c.origin] == [
        ("Cy", "Ada", theirs.id)
    ] * 2
    assert [c.origin["seq"] for c in made if c.origin] == [
        change.seq for change in theirs.changes.list(record=theirs.get("a.md").id)
    ]


def test_the_foreign_chain_is_kept_and_proven_and_an_edit_in_it_is_found(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    fill(theirs)
    store.put("b.md", "mine\n")
    take()
    (chain,) = store.audit.foreign()
    assert chain.proven
    assert chain.store == theirs.id
    assert chain.merged > 10
    assert chain.head == theirs.audit.head()
    path = f".holdfast/chains/{theirs.id}.jsonl"
    forged = store.read(path).replace(b'"name":"Ada"', b'"name":"Eve"')
    store.put(path, forged)
    (chain,) = store.audit.foreign()
    assert not chain.proven


def test_a_second_import_of_the_same_changes_nothing(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    fill(theirs)
    store.put("docs/mine.md", "mine\n")
    take()
    head = store.changes.head()
    report = take()
    assert store.changes.head() == head
    assert set(report.counts) == {"same"}


def test_later_imports_bring_only_what_is_new_whoever_made_it(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    theirs.put("docs/a.md", "one\n", tags=["x"])
    theirs.put("docs/b.md", "one\n")
    store.put("docs/mine.md", "mine\n")
    take()
    theirs.put("docs/a.md", "two\n", metadata={"n": 1})
    theirs.artifacts.tag("docs/b.md", "new")
    theirs.artifacts.rename("docs/b.md", "c.md")
    theirs.put("later/d.md", "new\n")
    report = take()
    assert outcomes(report) == {"docs/a.md": "changed", "docs/c.md": "changed", "later/d.md": "added"}
    for path in ("docs/a.md", "docs/c.md", "later/d.md"):
        assert known(store.get(path)) == known(theirs.get(path))
    theirs.artifacts.delete("docs/c.md")
    assert outcomes(take()) == {"docs/c.md": "deleted"}
    theirs.artifacts.undelete(f"id:{store.get('docs/c.md', deleted=True).id}")
    take()
    assert store.get("docs/c.md").tags == ("new",)


def test_a_tombstone_deletes_and_absence_does_not(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("docs/a.md", "one\n")
    theirs.put("docs/sub/b.md", "one\n")
    store.put("mine.md", "mine\n")
    take()
    theirs.collections.delete("docs", contents="cascade")
    take()
    assert [one.path for one in store.artifacts.list("", recursive=True) if one.type == "file"] == ["mine.md"]
    found = store.get("docs/a.md", deleted=True)
    store.collections.undelete(f"id:{found.collection_id}")
    assert store.read("docs/sub/b.md") == b"one\n"


def test_what_was_deleted_before_the_first_import_comes_in_deleted(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    theirs.put("docs/a.md", "one\n")
    theirs.put("docs/sub/b.md", "one\n")
    theirs.collections.delete("docs", contents="cascade")
    theirs.put("docs/a.md", "two\n")
    store.put("docs/mine.md", "mine\n")
    take()
    assert store.read("docs/a.md") == b"two\n"
    gone = [
        store.get(f"id:{change.id}", deleted=True) for change in theirs.changes.list(kind="artifact", action="create")
    ]
    assert sorted(one.name for one in gone if one.deleted_at is not None) == ["a.md", "b.md"]


def test_two_stores_go_on_from_one_state_and_come_together(
    theirs: Store, store: Store, take: Callable[..., Any], tmp_path: Path
) -> None:
    theirs.put("docs/a.md", "one\n")
    theirs.put("docs/b.md", "one\n")
    theirs.export_tree(tmp_path / "start")
    holdfast.import_store(tmp_path / "copy", tmp_path / "start")
    with holdfast.open(tmp_path / "copy", actor="Bea") as copy:
        assert copy.id == theirs.id
        copy.put("docs/a.md", "from the copy\n")
        copy.put("new.md", "from the copy\n")
        theirs.put("docs/b.md", "from the first\n")
        copy.export_tree(tmp_path / "back")
        report = holdfast.import_store(theirs.path, tmp_path / "back")
        assert outcomes(report) == {"docs/a.md": "changed", "new.md": "added"}
        sound(theirs)
        theirs.export_tree(tmp_path / "forth")
        report = holdfast.import_store(copy.path, tmp_path / "forth")
        assert outcomes(report)["docs/b.md"] == "changed"
        assert "docs/a.md" not in outcomes(report)
        sound(copy)
        for path in ("docs/a.md", "docs/b.md", "new.md"):
            assert known(copy.get(path)) == known(theirs.get(path))


def grown(theirs: Store, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of a store, and an export of what the store has become since."""
    fill(theirs)
    theirs.export_tree(tmp_path / "start")
    copy = tmp_path / "copy"
    assert not holdfast.import_store(copy, tmp_path / "start").continues
    theirs.put("docs/later.md", "later\n")
    theirs.put("docs/later.md", "later still\n", metadata={"n": 2})
    theirs.put("large", os.urandom(100_000))
    theirs.artifacts.rename("docs/later.md", "renamed.md")
    theirs.put("gone.md", "gone\n")
    theirs.artifacts.delete("gone.md")
    theirs.artifacts.purge("gone.md")
    theirs.export_tree(tmp_path / "later")
    return copy, tmp_path / "later"


def test_a_later_state_of_this_very_store_makes_it_go_on_to_the_same_head(theirs: Store, tmp_path: Path) -> None:
    copy, later = grown(theirs, tmp_path)
    with holdfast.open(copy) as found:
        before = found.changes.head()
    tried = holdfast.import_store(copy, later, dry_run=True)
    assert (tried.continues, tried.merged) == (True, False)
    with holdfast.open(copy) as found:
        assert found.changes.head() == before
    report = holdfast.import_store(copy, later)
    assert (report.continues, report.merged, report.changes) == (True, False, tried.changes)
    assert holdfast.import_store(copy, later).counts == {}
    assert not holdfast.import_store(theirs.path, tmp_path / "start").continues
    with holdfast.open(copy) as found:
        assert found.changes.head() == theirs.changes.head()
        assert contents_of(found) == contents_of(theirs)
        assert found.audit.foreign() == []
        sound(found)
        found.export_tree(tmp_path / "again")
    assert filecmp.dircmp(later, tmp_path / "again").diff_files == []
    assert (tmp_path / "again" / "FORMAT").read_bytes() == (later / "FORMAT").read_bytes()


def test_more_than_memory_is_to_hold_goes_on_through_the_index(
    theirs: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.together._IN_MEMORY_BYTES", 500)
    copy, later = grown(theirs, tmp_path)
    assert holdfast.import_store(copy, later).continues
    with holdfast.open(copy) as found:
        assert found.changes.head() == theirs.changes.head()
        sound(found)


@pytest.mark.parametrize("why", ["edited", "redacted"])
def test_what_was_edited_or_redacted_since_is_merged_and_the_report_says_that_the_chains_part(
    theirs: Store, tmp_path: Path, why: str
) -> None:
    copy, later = grown(theirs, tmp_path)
    if why == "edited":
        (later / "files" / "docs" / "new.md").write_text("new\n")
    else:
        theirs.close()
        with holdfast.open(theirs.path) as again:
            again.redact(again.get("docs/renamed.md"), note="a secret")
            again.export_tree(later, force=True)
    report = holdfast.import_store(copy, later)
    assert (report.continues, report.merged) == (True, True)
    with holdfast.open(copy) as found:
        assert found.artifacts.list("docs")
        sound(found)


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
def test_going_on_that_is_killed_at_any_operation_leaves_old_or_new_and_can_be_done_again(
    theirs: Store, tmp_path: Path, step: int
) -> None:
    copy, later = grown(theirs, tmp_path)
    with holdfast.open(copy) as found:
        old = found.changes.head()
    wanted, target = theirs.changes.head(), tmp_path / "target"
    number, killed = 0, True
    seen = set()
    while killed:
        number += step
        shutil.copytree(copy, target)

        def work() -> None:
            said = Settings(Actor("Cy"), disk=KillingDisk(number))  # noqa: B023
            importing.import_path(str(target), later, said, wish=Wish())

        killed = in_child(work)
        with holdfast.open(target) as found:
            assert findings(found) == [], number
            seen.add(found.changes.head())
            assert found.changes.head() in (old, wanted)
        assert holdfast.import_store(target, later).merged == (wanted in seen)
        with holdfast.open(target) as found:
            assert found.changes.head() == wanted
            sound(found)
        shutil.rmtree(target)
    assert seen == {old, wanted}


# -- conflicts -------------------------------------------------------------------------------------------------------


def diverged(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    """One artifact that both changed, and one name that both gave."""
    theirs.put("both.md", "start\n")
    store.put("mine.md", "mine\n")
    take()
    store.put("both.md", "ours\n", metadata={"by": "us"})
    theirs.put("both.md", "theirs\n", metadata={"by": "them"})
    theirs.put("both.md", "theirs again\n")
    store.put("named.md", "our file\n")
    theirs.put("named.md", "their file\n", tags=["t"])
    theirs.relationships.relate("named.md", "derived_from", "both.md")


def test_a_conflict_stops_all_of_it_and_names_each(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    diverged(theirs, store, take)
    theirs.put("harmless.md", "new\n")
    head = store.changes.head()
    with pytest.raises(MergeConflictError) as caught:
        take()
    assert caught.value.fields["count"] == 2
    rehearsed = holdfast.import_store(store.path, _tree(theirs, store), dry_run=True)
    assert {(one.path, str(one.outcome)) for one in rehearsed.items} >= {
        ("both.md", "conflict"), ("named.md", "conflict"), ("harmless.md", "added"),
    }  # fmt: skip
    assert {text.split(":")[0] for text in caught.value.fields["conflicts"]} == {
        "artifact both.md",
        "artifact named.md",
    }
    assert store.changes.head() == head
    assert store.artifacts.find("harmless.md") is not None
    sound(store)


WANTED = {
    "skip": {"both.md": "ours\n", "named.md": "our file\n"},
    "ours": {"both.md": "ours\n", "named.md": "our file\n"},
    "theirs": {"both.md": "theirs again\n", "named.md": "their file\n"},
    "newest": {"both.md": "theirs again\n", "named.md": "their file\n"},
    "rename": {
        "both.md": "ours\n", "named.md": "our file\n", "both (2).md": "theirs again\n", "named (2).md": "their file\n",
    },
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_decides_and_no_revision_is_lost(
    theirs: Store, store: Store, take: Callable[..., Any], policy: str
) -> None:
    diverged(theirs, store, take)
    theirs_has = {data for (path, _), data in contents_of(theirs).items()}
    ours_had = contents_of(store)
    rehearsed = holdfast.import_store(store.path, _tree(theirs, store), on_conflict=policy, dry_run=True)
    report = take(on_conflict=policy)
    assert [(i.path, i.outcome) for i in rehearsed.items] == [(i.path, i.outcome) for i in report.items]
    found = {one.path: store.read(one).decode() for one in store.artifacts.list("") if one.type == "file"}
    assert found == {"mine.md": "mine\n", **WANTED[policy]}
    assert ours_had.items() <= contents_of(store).items()
    if policy != "skip":
        assert theirs_has <= set(contents_of(store).values())
        ties = [one for path in found for one in store.relationships.of(path, direction="out")]
        assert len({one.id for one in ties}) == 1
    after = store.changes.head()
    if policy in ("theirs", "newest"):
        assert set(take(on_conflict="fail").counts) == {"same"}
        assert store.changes.head() == after


def _tree(theirs: Store, store: Store) -> Path:
    tree = store.path.parent / "rehearsal"
    theirs.export_tree(tree, force=True)
    return tree


def test_newest_goes_by_the_time_of_the_first_maker(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("a.md", "start\n")
    store.put("mine.md", "mine\n")
    take()
    theirs.put("a.md", "theirs, earlier\n")
    store.put("a.md", "ours, later\n")
    take(on_conflict="newest")
    assert store.read("a.md") == b"ours, later\n"
    assert [store.read("a.md", revision=n) for n in (1, 2, 3, 4)] == [
        b"start\n", b"ours, later\n", b"theirs, earlier\n", b"ours, later\n"]  # fmt: skip


def test_equal_files_of_two_stores_are_one(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("docs/a.md", "the same\n")
    store.put("docs/a.md", "the same\n")
    theirs.put("docs/b.md", "new\n")
    theirs.relationships.relate("docs/b.md", "derived_from", theirs.get("docs/a.md").revision)
    report = take()
    assert outcomes(report) == {"docs/a.md": "united", "docs/b.md": "added"}
    (tie,) = store.relationships.of("docs/b.md")
    assert tie.target == store.get("docs/a.md").revision.endpoint


def test_a_delete_of_theirs_meets_a_change_of_ours(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("docs/a.md", "one\n")
    store.put("mine.md", "mine\n")
    take()
    theirs.collections.delete("docs", contents="cascade")
    store.put("docs/a.md", "two\n")
    store.put("docs/more.md", "ours\n")
    with pytest.raises(MergeConflictError):
        take()
    take(on_conflict="ours")
    assert store.read("docs/a.md") == b"two\n"
    assert store.read("docs/more.md") == b"ours\n"


def test_theirs_can_take_a_whole_folder_away(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("docs/a.md", "one\n")
    store.put("mine.md", "mine\n")
    take()
    theirs.collections.delete("docs", contents="cascade")
    store.put("docs/sub/more.md", "ours\n")
    take(on_conflict="theirs")
    assert [one.path for one in store.artifacts.list("", recursive=True) if one.type == "file"] == ["mine.md"]
    assert store.get("docs/sub/more.md", deleted=True).deleted_at is not None


def test_what_lies_in_a_folder_that_ours_deleted_is_a_conflict(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    theirs.put("docs/a.md", "one\n")
    store.put("mine.md", "mine\n")
    take()
    store.collections.delete("docs", contents="cascade")
    theirs.put("docs/b.md", "new\n")
    with pytest.raises(MergeConflictError):
        take()
    take(on_conflict="skip")
    assert [one.path for one in store.artifacts.list("", recursive=True) if one.type == "file"] == ["mine.md"]
    take(on_conflict="theirs")
    assert store.read("docs/b.md") == b"new\n"


def test_a_mirror_deletes_what_theirs_has_not_but_no_chain(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    theirs.put("docs/a.md", "one\n")
    store.put("mine/deep/b.md", "mine\n")
    store.put("docs/c.md", "mine\n")
    report = take(mirror=True)
    assert [one.path for one in store.artifacts.list("", recursive=True) if one.type == "file"] == ["docs/a.md"]
    assert sorted(one.path for one in store.collections.list("", recursive=True)) == [
        ".holdfast", ".holdfast/chains", "docs"]  # fmt: skip
    assert {i.path for i in report.items if i.outcome == "deleted"} >= {"docs/c.md"}
    assert store.get("docs/c.md", deleted=True).deleted_at is not None
    theirs.put("docs/d.md", "one\n")
    take(mirror=True)
    assert len(store.audit.foreign()) == 1


def test_an_unknown_policy_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="no way to decide"):
        holdfast.import_store(store.path, tmp_path, on_conflict="best")


# -- all or nothing --------------------------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing_at_all(theirs: Store, store: Store, tmp_path: Path) -> None:
    fill(theirs)
    store.put("mine.md", "mine\n")
    theirs.export_tree(tmp_path / "tree")
    store.close()
    before = {p: p.stat().st_size for top in ("blobs", "packs") for p in (store.path / top).rglob("*")}
    head = _head(store)
    report = holdfast.import_store(store.path, tmp_path / "tree", dry_run=True)
    assert report.counts["added"] > 10
    assert _head(store) == head
    after = {p: p.stat().st_size for top in ("blobs", "packs") for p in (store.path / top).rglob("*")}
    assert after == before


def _head(store: Store) -> Any:
    with holdfast.open(store.path, read_only=True) as found:
        return found.changes.head()


def test_a_tree_that_was_harmed_changes_nothing(theirs: Store, store: Store, tmp_path: Path) -> None:
    fill(theirs)
    store.put("mine.md", "mine\n")
    head = store.changes.head()
    theirs.export_tree(tmp_path / "tree")
    changes = tmp_path / "tree" / "changes" / "0000000000000001.jsonl"
    changes.write_bytes(changes.read_bytes().replace(b"Ada", b"Eve", 1))
    with pytest.raises(ImportRefusedError):
        holdfast.import_store(store.path, tmp_path / "tree", on_conflict="theirs")
    assert store.changes.head() == head


def test_a_content_that_is_missing_is_named_and_nothing_comes_in(theirs: Store, store: Store, tmp_path: Path) -> None:
    theirs.put("a.md", "one\n")
    store.put("mine.md", "mine\n")
    head = store.changes.head()
    theirs.export_tree(tmp_path / "tree")
    (tmp_path / "tree" / "files" / "a.md").unlink()
    with pytest.raises(ImportRefusedError, match="neither in the export nor in the store"):
        holdfast.import_store(store.path, tmp_path / "tree")
    assert store.changes.head() == head


def test_large_contents_that_were_left_out_are_named_until_they_are_put_in_place(
    theirs: Store, store: Store, tmp_path: Path
) -> None:
    theirs.put("large", b"x" * 3_000)
    store.put("mine.md", "mine\n")
    head = store.changes.head()
    theirs.export_tree(tmp_path / "tree", large_from=1_000, large_beside=False)
    with pytest.raises(ImportRefusedError, match=r"neither in the export nor in the store .*lfs pull"):
        holdfast.import_store(store.path, tmp_path / "tree")
    assert store.changes.head() == head
    (tmp_path / "tree" / "files" / "large").write_bytes(b"x" * 3_000)
    holdfast.import_store(store.path, tmp_path / "tree")
    assert store.read("large") == b"x" * 3_000
    sound(store)


@pytest.mark.parametrize(
    ("form", "step"),
    [
        ("tree", 13),
        ("snapshot", 13),
        pytest.param("tree", 1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
        pytest.param("snapshot", 1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)
def test_a_merge_that_is_killed_at_any_operation_leaves_old_or_new_and_can_be_done_again(
    theirs: Store, store: Store, tmp_path: Path, form: str, step: int
) -> None:
    theirs.put("a", "first")
    theirs.put("docs/b", "second")
    theirs.put("large", os.urandom(100_000))
    source = tmp_path / "source"
    theirs.export_tree(source) if form == "tree" else theirs.snapshot(source)
    store.put("a mine", "mine")
    store.close()
    ours, target = Path(store.path), tmp_path / "target"
    number = olds = news = 0
    killed = True
    while killed:
        number += step
        shutil.copytree(ours, target)

        def work() -> None:
            said = Settings(Actor("Cy"), disk=KillingDisk(number))  # noqa: B023
            importing.import_path(str(target), source, said, wish=Wish())

        killed = in_child(work)
        with holdfast.open(target) as found:
            assert findings(found) == [], number
            paths = {one.path for one in found.artifacts.list("", recursive=True) if one.type == "file"}
            assert paths in ({"a mine"}, {"a mine", "a", "docs/b", "large"}), number
            olds, news = olds + (len(paths) == 1), news + (len(paths) == 4)
        holdfast.import_store(target, source)
        with holdfast.open(target) as found:
            assert contents_of(theirs).items() <= contents_of(found).items()
            sound(found)
        shutil.rmtree(target)
    assert olds > 1
    assert news >= 1


# -- any two stores --------------------------------------------------------------------------------------------------

_NAME = st.sampled_from(["a", "b", "c", "d/a", "d/b", "d/e/a", "d"])
_STEP = st.tuples(
    st.sampled_from(["put", "put", "put", "delete", "rename", "tag", "rmdir", "undelete", "relate", "run"]),
    _NAME,
    st.sampled_from([b"1", b"2", b"3"]),
)
_STEPS = st.lists(_STEP, max_size=8)


def _do(store: Store, verb: str, path: str, data: bytes) -> None:
    if verb == "put":
        store.put(path, data)
    elif verb == "delete":
        store.artifacts.delete(path)
    elif verb == "rename":
        store.artifacts.rename(path, data.decode())
    elif verb == "tag":
        store.artifacts.tag(path, data.decode())
    elif verb == "rmdir":
        store.collections.delete(path.rpartition("/")[0] or path, contents="cascade")
    elif verb == "undelete":
        store.artifacts.undelete(path)
    elif verb == "relate":
        store.relationships.relate(path, "derived_from", "a")
    elif verb == "run":
        with store.runs.start("work") as run:
            run.input(store.get(path).revision)
            store.put(f"made{data.decode()}", data)


def _play(store: Store, steps: list[tuple[str, str, bytes]]) -> None:
    for step in steps:
        try:
            _do(store, *step)
        except HoldfastError:
            continue


def _check(examples: tuple[Any, ...], top: Path) -> None:
    before, ours, theirs, later, policy = examples
    with holdfast.create(top / "one", actor="Ada") as one:
        one.put("a", b"0")
        _play(one, before)
        one.export_tree(top / "start")
    with holdfast.create(top / "two", actor="Bea") as two:
        two.put("b", b"0")
    holdfast.import_store(top / "two", top / "start", on_conflict=policy)
    with holdfast.open(top / "two", actor="Bea") as two, holdfast.open(top / "one", actor="Ada") as one:
        for steps in (theirs, later):
            _play(two, ours)
            _play(one, steps)
            had = set(contents_of(two).values())
            one.export_tree(top / "tree")
            holdfast.import_store(top / "two", top / "tree", on_conflict=policy)
            sound(two)
            assert had <= set(contents_of(two).values()) | _deleted(two)
        rows = {table: list(two._handle.index.dump(table)) for table in ("artifact", "revision", "record")}
    holdfast.rebuild(top / "two")
    with holdfast.open(top / "two") as two:
        assert {table: list(two._handle.index.dump(table)) for table in rows} == rows
        two.export_tree(top / "out")
    holdfast.import_store(top / "three", top / "out")


def _deleted(store: Store) -> set[bytes]:
    found = set()
    for change in store.changes.list(kind="artifact", action="delete"):
        gone = store.get(f"id:{change.id}", deleted=True)
        found |= {store.read(gone, revision=one.number) for one in store.artifacts.revisions(gone)}
    return found


_EXAMPLES = st.tuples(_STEPS, _STEPS, _STEPS, _STEPS, st.sampled_from(POLICIES))


@settings(max_examples=4)
@given(examples=_EXAMPLES)
def test_any_two_histories_come_together_soundly(examples: tuple[Any, ...], tmp_path_factory: Any) -> None:
    _check(examples, tmp_path_factory.mktemp("merge"))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=500)
@given(examples=_EXAMPLES)
def test_very_many_histories_come_together_soundly(examples: tuple[Any, ...], tmp_path_factory: Any) -> None:
    _check(examples, tmp_path_factory.mktemp("merge"))


def test_declared_indexes_come_along_and_what_was_dropped_stays_so(
    theirs: Store, store: Store, take: Callable[..., Any]
) -> None:
    theirs.put("a.md", "one\n", metadata={"n": 1, "m": 2})
    store.put("b.md", "two\n", metadata={"n": 1})
    theirs.indexes.declare("metadata.n")
    theirs.indexes.declare("metadata.m")
    mine = store.indexes.declare("metadata.m")
    report = take()
    outcome = {one.path: str(one.outcome) for one in report.items if one.kind == "metadata-index"}
    assert outcome == {"metadata.n": "added"}
    assert {one.field: one.id for one in store.indexes.list()} == {
        "metadata.m": mine.id,
        "metadata.n": theirs.indexes.list()[0].id,
    }
    assert {one.path for one in store.find(holdfast.field("metadata.n") == 1)} == {"a.md", "b.md"}
    store.indexes.drop("metadata.n")
    theirs.put("c.md", "three\n")
    take()
    assert [one.field for one in store.indexes.list()] == ["metadata.m"]


def test_file_facts_come_along(theirs: Store, store: Store, take: Callable[..., Any]) -> None:
    theirs.put("a", b"1", file=FileFacts(0o755, 5))
    store.put("b", b"2")
    take()
    assert store.get("a").revision.file == FileFacts(0o755, 5)
