"""A restore makes the store that was backed up, as of then or as of an earlier change; a drill tries it out."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import BackupDamagedError, InvalidValueError, NotABackupError, StoreExistsError
from holdfast.testing.asking import readable
from holdfast.values import moment

LARGE = bytes(range(256)) * 1500


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def head(store: Store) -> int:
    return store.status().head_seq


def fill(store: Store) -> None:
    for n in range(10):
        store.put(f"a/{n}", f"number {n}\n")
    store.put("large", LARGE, metadata={"kept": True}, tags=["x"])
    store.relationships.relate("a/1", "depends_on", "a/2")


# -- the newest --------------------------------------------------------------------------------------------------------


def test_a_restored_store_is_the_store_and_can_be_written_to(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    report = holdfast.restore(copies, new, verify=True)
    assert (report.exit_code, report.fsck, report.head_seq, report.losses) == (0, 0, head(store), ())
    assert readable(new) == readable(root)
    with holdfast.open(new) as again:
        assert not again.opened.rebuilt
        assert again.id == store.id
        assert again.put("more", "x").artifact.number == 1
        assert again.fsck().exit_code == 0


def test_rows_of_a_restored_store_are_those_of_the_store(
    store: Store, copies: Path, new: Path, rows_of: object
) -> None:
    fill(store)
    store.backup(copies)
    holdfast.restore(copies, new)
    with holdfast.open(new) as again:
        assert rows_of(again) == rows_of(store)  # type: ignore[operator]


def test_a_restored_store_can_be_backed_up_to_the_same_place(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    holdfast.restore(copies, new)
    with holdfast.open(new) as again:
        again.put("goes on", "here")
        assert again.backup(copies).generation == 2
    assert holdfast.verify_backup(copies).findings == ()


def test_an_earlier_generation_can_be_chosen(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    store.put("later", "x")
    store.backup(copies)
    assert holdfast.restore(copies, new, generation=1).generation == 1
    with holdfast.open(new) as again:
        assert [one.name for one in again.find() if one.name == "later"] == []
    with pytest.raises(NotABackupError, match="no generation 7"):
        holdfast.restore(copies, new.with_name("other"), generation=7)


def test_only_a_new_or_empty_folder_is_restored_to(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    new.mkdir()
    holdfast.restore(copies, new)
    before = readable(new)
    with pytest.raises(StoreExistsError, match="there is a store"):
        holdfast.restore(copies, new)
    with pytest.raises(StoreExistsError, match="there is a store"):
        holdfast.restore(copies, root)
    assert readable(new) == before
    other = new.with_name("other")
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"")
    with pytest.raises(StoreExistsError, match="not empty"):
        holdfast.restore(copies, other)
    assert [p.name for p in other.iterdir()] == ["holiday.jpg"]


def test_a_restore_of_something_else_that_was_interrupted_is_not_mixed_with_this_one(
    store: Store, copies: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store.backup(copies)
    mid = head(store)
    store.put("later", "x")
    store.backup(copies)

    class StopError(BaseException):
        pass

    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise StopError

    with pytest.raises(StopError):
        holdfast.restore(copies, new, progress=stop)
    with pytest.raises(StoreExistsError, match="something else"):
        holdfast.restore(copies, new, generation=1)
    with pytest.raises(StoreExistsError, match="something else"):
        holdfast.restore(copies, new, at=mid)
    assert holdfast.restore(copies, new).kept_files > 0


def test_a_plain_copy_of_the_whole_backup_is_a_backup(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    moved = copies.with_name("moved")
    shutil.copytree(copies, moved)
    shutil.rmtree(copies)
    with holdfast.open(moved, read_only=True) as copy:
        assert copy.read("large") == LARGE
    assert holdfast.restore(moved, new, verify=True).exit_code == 0
    assert readable(new) == readable(root)


def test_a_plain_copy_of_a_generation_is_a_store(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    shutil.copytree(copies / "generations" / "000001", new)
    holdfast.recover(new)
    assert readable(new) == readable(root)


# -- a damaged backup --------------------------------------------------------------------------------------------------


def spoil(path: Path, at: int = 300) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def files(copies: Path, folder: str) -> list[Path]:
    return [p for p in (copies / "generations" / "000001" / folder).rglob("*") if p.is_file()]


def test_what_is_damaged_is_named_and_left_out_and_the_rest_comes_back(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    (blob,) = files(copies, "blobs")
    spoil(blob)
    report = holdfast.restore(copies, new, verify=True)
    assert [one.path for one in report.damaged] == [str(blob.relative_to(copies))]
    assert (report.exit_code, dict(report.fsck_counts or {})) == (4, {"blob-missing": 1})
    with holdfast.open(new) as again:
        assert again.read("a/1") == b"number 1\n"


@pytest.mark.parametrize("what", ["index.sqlite3", "journal"])
def test_a_damaged_index_or_journal_comes_back_from_the_other(
    store: Store, root: str, copies: Path, new: Path, what: str
) -> None:
    fill(store)
    store.backup(copies)
    for path in [copies / "generations" / "000001" / what] if "." in what else files(copies, what):
        spoil(path)
    report = holdfast.restore(copies, new)
    assert len(report.damaged) == 1
    assert readable(new) == readable(root)
    assert holdfast.fsck(new).exit_code == 0


def test_without_any_copy_of_the_history_nothing_is_called_a_store(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    for path in [*files(copies, "journal"), copies / "generations" / "000001" / "index.sqlite3"]:
        spoil(path)
    with pytest.raises(BackupDamagedError, match="does not open"):
        holdfast.restore(copies, new)
    assert not (new / "holdfast.json").exists()
    report = holdfast.drill(copies)
    assert [one.what for one in report.tried] == ["it can be restored"]
    assert report.exit_code == 4


# -- as of an earlier change -------------------------------------------------------------------------------------------


def test_at_a_change_the_store_is_as_it_was(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    then, seq = readable(root), head(store)
    store.put("later", "x")
    store.put("a/1", "changed")
    store.artifacts.delete("a/2")
    store.put("large two", LARGE * 2)
    store.backup(copies)
    report = holdfast.restore(copies, new, at=seq, verify=True)
    assert (report.head_seq, report.fsck, report.losses) == (seq, 0, ())
    assert readable(new) == then
    with holdfast.open(new) as again:
        assert head(again) == seq
        assert len(list((new / "blobs").rglob("*.zst"))) == 1
        again.put("another way", "from here")


def test_a_transaction_counts_whole(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    seq = head(store)
    with store.transaction():
        for n in range(5):
            store.put(f"t/{n}", "x")
    store.put("later", "x")
    store.backup(copies)
    assert holdfast.restore(copies, new, at=seq + 2).head_seq == seq + 6  # the collection, and five artifacts
    with holdfast.open(new) as again:
        assert len(list(again.artifacts.list("t"))) == 5


def test_at_a_time_all_that_was_committed_up_to_then_is_there(store: Store, copies: Path, tmp_path: Path) -> None:
    fill(store)
    when = store.put("just then", "x").artifact.created_at
    store.put("later", "x")
    store.backup(copies)
    for number, at in enumerate((when, moment.to_text(moment.from_datetime(when)))):
        report = holdfast.restore(copies, tmp_path / f"new{number}", at=at)
        assert report.as_of == when
        with holdfast.open(tmp_path / f"new{number}") as again:
            assert {one.name for one in again.find()} >= {"just then"}
            assert "later" not in {one.name for one in again.find()}
    with pytest.raises(InvalidValueError, match="there is no change up to"):
        holdfast.restore(copies, tmp_path / "none", at=when - timedelta(days=900))
    with pytest.raises(InvalidValueError):
        holdfast.restore(copies, tmp_path / "none", at=when.replace(tzinfo=None))
    for seq in (0, -3, 10_000):
        with pytest.raises(InvalidValueError, match="there is no change"):
            holdfast.restore(copies, tmp_path / "none", at=seq)
    assert not (tmp_path / "none").exists()


def test_what_was_purged_since_is_listed_and_said_in_the_history(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    store.put("a/3", "second")
    seq = head(store)
    ids = {name: store.get(name).id for name in ("a/3", "large")}
    store.artifacts.purge("a/3", revisions=[1])
    store.artifacts.delete("large")
    store.artifacts.purge("large")
    store.gc(grace_s=0)
    store.backup(copies)
    report = holdfast.restore(copies, new, at=seq, verify=True)
    assert {(one.what, one.id, one.revisions) for one in report.losses} == {
        ("purged", ids["a/3"], (1,)), ("purged", ids["large"], (1,)),
    }  # fmt: skip
    assert (report.exit_code, report.fsck) == (0, 0)
    with holdfast.open(new) as again:
        assert again.get("large").metadata == {"kept": True}
        assert again.read("a/3") == b"second"
        assert again.audit.verify().proven
        assert head(again) == seq + 2


def test_what_was_purged_and_not_collected_comes_back(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    then, seq = readable(root), head(store)
    store.artifacts.delete("a/3")
    store.artifacts.purge("a/3")
    store.backup(copies)
    report = holdfast.restore(copies, new, at=seq)
    assert report.losses == ()
    assert readable(new) == then


def test_what_was_redacted_since_is_listed_and_the_chain_still_verifies(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    made = store.put("hunter2", "the password is hunter2", metadata={"phone": "555-0199"}).artifact
    later = store.put("hunter2", "it is still hunter2").artifact
    seq = head(store)
    store.put("hunter2", "and again hunter2")
    store.redact(made, fields=["metadata"])
    store.redact(made)
    store.backup(copies)
    report = holdfast.restore(copies, new, at=seq, verify=True)
    assert report.fsck == 0
    assert [(one.what, one.id) for one in report.losses] == [("redacted", made.id)] * 2
    assert report.losses[1].revisions == (1, 2)
    with holdfast.open(new) as again:
        assert again.audit.verify().proven
        assert again.get(f"id:{later.id}").name == f"redacted-{later.id}"
        again.put("goes on", "x")
        assert again.fsck().exit_code == 0
    assert not any(b"hunter2" in p.read_bytes() for p in new.rglob("*") if p.is_file())


def test_an_earlier_generation_still_has_what_was_purged_since(store: Store, copies: Path, new: Path) -> None:
    fill(store)
    seq = head(store)
    store.backup(copies)
    store.artifacts.delete("large")
    store.artifacts.purge("large")
    store.gc(grace_s=0)
    store.backup(copies)
    assert holdfast.restore(copies, new, at=seq, generation=1).losses == ()
    with holdfast.open(new) as again:
        assert again.read("large") == LARGE


# -- drill -------------------------------------------------------------------------------------------------------------


def test_a_drill_passes_and_says_how_far_behind_the_backup_is(store: Store, root: str, copies: Path) -> None:
    fill(store)
    store.backup(copies)
    report = holdfast.drill(copies, store=root)
    assert (report.passed, report.exit_code, report.behind) == (True, 0, 0)
    assert report.counts["artifact"] == 11
    store.put("later", "x")
    after = holdfast.drill(copies, store=root)
    assert (after.passed, after.behind) == (True, 1)
    assert "FAIL" not in after.as_text()
    assert after.as_dict()["head_hash"] == report.head_hash


def test_a_drill_fails_where_anything_is_damaged_lacking_or_another_store(
    store: Store, root: str, copies: Path, tmp_path: Path
) -> None:
    fill(store)
    store.backup(copies)
    with holdfast.create(tmp_path / "other"):
        pass
    other = holdfast.drill(copies, store=tmp_path / "other")
    assert [one.what for one in other.tried if not one.passed] == ["it is the same store"]
    gone = holdfast.drill(copies, store=tmp_path / "nowhere")
    assert not gone.passed
    spoil(files(copies, "packs")[0])
    report = holdfast.drill(copies, store=root)
    assert (report.passed, report.exit_code) == (False, 4)
    assert "FAIL" in report.as_text()


def test_a_drill_of_a_history_that_forked_fails(store: Store, root: str, copies: Path, new: Path) -> None:
    fill(store)
    store.backup(copies)
    mid = head(store)
    store.put("one way", "x")
    store.backup(copies)
    holdfast.restore(copies, new, at=mid)
    with holdfast.open(new) as fork:
        fork.put("another way", "x")
    report = holdfast.drill(copies, store=new)
    assert [one.what for one in report.tried if not one.passed] == [
        "the store's history goes through the backup's head"
    ]


def test_a_drill_leaves_nothing_behind(store: Store, copies: Path, tmp_path: Path) -> None:
    fill(store)
    store.backup(copies)
    before = {str(p): p.stat().st_mtime_ns for p in copies.rglob("*")}
    holdfast.drill(copies, scratch=tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert {str(p): p.stat().st_mtime_ns for p in copies.rglob("*")} == before


def test_a_redaction_waits_for_a_backup_and_says_who_has_the_store(store: Store, root: str, copies: Path) -> None:
    """A backup holds the store open; nothing is redacted under its hands."""
    made = store.put("a", "b").artifact

    def redact(*_: object) -> None:
        with holdfast.open(root, lock_wait_s=0.1) as other, pytest.raises(holdfast.errors.LockedError):
            other.redact(made)

    assert store.backup(copies, progress=redact).made
