"""Repair mends each damage that fsck names, or names what is lost; it deletes nothing and can be killed anywhere.

The damages are those of test_fsck.py, to files of contents; test_packs.py and the crash lab have packs.
"""

from __future__ import annotations

import os
import shutil
import signal

import pytest

import holdfast
from holdfast.care import repair as repairing
from holdfast.care.fsck import check_path
from holdfast.care.repair import Wanted
from holdfast.engine import locks, trust
from holdfast.engine.settings import Settings
from holdfast.errors import (
    BlobMissingError,
    HoldfastError,
    InvalidValueError,
    LockedError,
    NoSpaceError,
    NotAStoreError,
)
from holdfast.stores import repair_store
from holdfast.testing import damage
from holdfast.testing.faults import FaultyDisk
from holdfast.values.change import Actor

from .test_fsck import B3000, DAMAGES, FIRST, SECOND, byte_in, replace_by_file, seal, stranger

pytestmark = pytest.mark.usefixtures("loose")

BIG = bytes(range(256)) * 3000
CONTENTS = {
    ("docs/a.md", 1): FIRST, ("docs/a.md", 2): SECOND, ("docs/deep/b.txt", 1): B3000, ("docs/same.txt", 1): B3000,
    ("big.bin", 1): BIG,
}  # fmt: skip
A2, A1, B, GONE_TXT, BIG_BIN = (
    ["docs/a.md@2"], ["docs/a.md@1"], ["docs/deep/b.txt@1", "docs/same.txt@1"], ["gone.txt@1"], ["big.bin@1"],
)  # fmt: skip
ALL = sorted([*A2, *A1, *B, *GONE_TXT, *BIG_BIN])

LOSSES = {
    "a bit flipped in a blob": A2,
    "a bit flipped in a blob of many frames": BIG_BIN,
    "a blob deleted": A2,
    "a blob cut": B,
    "a blob emptied": B,
    "bytes behind a blob": A2,
    "all blobs deleted": ALL,
    "a file in place of all blobs": ALL,
    "a file in place of a folder of blobs": A2,
    "a folder in place of a blob": A2,
    "the index and a blob deleted": A2,
    "a transaction gone from both": ["change 8"],
    "the index deleted and a bit flipped in the journal": ["change 9"],
    "the index deleted and a bit flipped in the last transaction": ["changes from 12 on"],
    "the index deleted and the journal cut within the last transaction": ["perhaps changes from 12 on"],
    "index and journal deleted": ["every transaction: neither journal nor index has any"],
}
"""What no copy has any more, by damage."""

UNTOUCHED = {"the journal of another store", "a redaction that did not come to its end"}
"""Two histories: nobody can know which is right. And what is to be erased is for whoever redacts to say once more."""

REFUSED = {"the marker of a newer format"}
"""Nothing is looked at: tests/crash/test_side_by_side.py has it."""

MENDED = [name for name in DAMAGES if name not in REFUSED]
"""What repair has to do with."""


@pytest.fixture
def root(sample, tmp_path):
    return damage.twin(sample, tmp_path / "store")


@pytest.fixture
def originals(tmp_path):
    """The files as they were before they were taken in, under other names."""
    folder = tmp_path / "originals"
    (folder / "deep").mkdir(parents=True)
    for n, content in enumerate([FIRST, SECOND, B3000, b"gone\n", BIG, b"never taken in", b"xecond\n"]):
        (folder / "deep" / f"{n}.dat").write_bytes(content)
    (folder / "link").symlink_to("deep")
    return folder


def assert_whole(root):
    """Every content is there byte for byte, and fsck finds nothing to mend."""
    report = check_path(root)
    assert report.exit_code == 0, [f.as_dict() for f in report.findings]
    with holdfast.open(root) as store:
        for (path, number), content in CONTENTS.items():
            assert store.read(path, revision=number) == content
        assert store.artifacts.get("docs/a.md").status == "final"
        assert store.put("works", "still").artifact.name == "works"


def bytes_of(root):
    """Name and content of every file but the locks, whose bytes mean nothing."""
    tree = damage.tree(root).items()
    return {name: facts.split()[-1] for name, facts in tree if facts[0] != "4" and not name.startswith("locks/")}


# -- each damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MENDED)
def test_each_damage_is_mended_or_the_loss_is_named(root, name):
    DAMAGES[name][0](root)
    before = damage.tree(root)
    report = holdfast.repair(root)
    assert sorted(report.lost) == LOSSES.get(name, [])
    if name in UNTOUCHED:
        assert damage.tree(root) == before
        assert report.exit_code == 4
    elif name in LOSSES:
        assert report.exit_code == 4
        assert {f.code for f in report.after.findings if f.severity != "info"} <= {
            "blob-missing", "transactions-lost", "index-chain", "not-checked", "index-behind"}  # fmt: skip
    else:
        mended = report.before.exit_code == 4
        assert report.exit_code == (5 if mended else 0)
        assert (damage.tree(root) == before) == (not mended)
        assert_whole(root)


ONE_OF_EACH = [
    "a bit flipped in a blob of many frames", "a file in place of all blobs", "the index cut", "metadata edited",
    "a blob's row deleted", "the journal deleted", "a bit flipped in the middle of the journal", "the marker altered",
    "a segment under another name", "an old temporary file", "a search index that is none",
    "a transaction gone from both", "the index deleted and a bit flipped in the journal", "index and journal deleted",
]  # fmt: skip


@pytest.mark.parametrize("name", [*ONE_OF_EACH, *(pytest.param(n, marks=pytest.mark.soak) for n in MENDED)])
def test_a_dry_run_changes_nothing_and_neither_does_a_second_repair(root, name):
    DAMAGES[name][0](root)
    before = damage.tree(root)
    foretold = holdfast.repair(root, dry_run=True)
    assert damage.tree(root) == before, "a dry run changed the store"
    first = holdfast.repair(root)
    assert {step.action for step in foretold.steps} >= {step.action for step in first.steps} - OUTCOMES
    after = bytes_of(root)
    assert holdfast.repair(root).steps == ()
    assert bytes_of(root) == after, "a second repair changed something"


OUTCOMES = {"add-segment", "register-blob", "quarantine", "make-folder"}
"""Steps that show only while others are taken."""


def test_an_own_loss_of_history_is_filled_from_a_backup_but_nothing_newer_is_taken_without_need(root, backup):
    with holdfast.open(backup) as store:
        store.put("later", "only in the backup")
    damage.flip(damage.blob_of(root, SECOND), -6)
    with damage.sql(root) as connection:
        connection.execute("DELETE FROM tagging")
    assert holdfast.repair(root, sources=[backup]).exit_code == 5
    with holdfast.open(root) as store:
        assert not list(store.find(name="later"))


WITH_BACKUP = [*LOSSES, "the marker deleted", "a digest edited"]


@pytest.mark.parametrize("name", WITH_BACKUP)
def test_with_a_backup_nothing_is_lost(root, backup, name):
    DAMAGES[name][0](root)
    kept = damage.tree(backup)
    report = holdfast.repair(root, sources=[backup])
    assert report.lost == ()
    assert report.exit_code in (0, 5), report.as_dict()
    assert damage.tree(backup) == kept, "the backup was changed"
    assert_whole(root)


@pytest.mark.parametrize("name", [name for name, lost in LOSSES.items() if all("@" in one for one in lost)])
def test_with_a_folder_of_originals_no_content_is_lost(root, originals, name):
    DAMAGES[name][0](root)
    foretold = holdfast.repair(root, sources=[originals], dry_run=True)
    assert {"restore-blob"} <= {step.action for step in foretold.steps}
    report = holdfast.repair(root, sources=[originals])
    assert (report.lost, report.exit_code) == ((), 5)
    assert_whole(root)


def test_what_was_damaged_is_kept_in_quarantine_byte_for_byte(root):
    path = damage.blob_of(root, SECOND)
    damage.flip(path, -6)
    damaged = path.read_bytes()
    holdfast.repair(root)
    (kept,) = (root / "quarantine").iterdir()
    assert kept.read_bytes() == damaged
    assert kept.name.startswith(path.name + ".")


def test_reading_what_is_lost_names_the_file_in_quarantine_and_the_cure(root):
    damage.flip(damage.blob_of(root, SECOND), -6)
    holdfast.repair(root)
    with holdfast.open(root) as store:
        with pytest.raises(BlobMissingError, match="quarantine/") as caught:
            store.read("docs/a.md")
        assert os.path.isfile(root / str(caught.value.fields["quarantined"]))
        assert "--from" in caught.value.remedy
        assert store.read("docs/a.md", revision=1) == FIRST
        # What is put again is there again.
        store.put("elsewhere", SECOND)
        assert store.read("docs/a.md") == SECOND


def test_a_file_in_quarantine_that_is_sound_after_all_is_taken_back(root):
    path = damage.blob_of(root, SECOND)
    path.rename(root / "quarantine" / f"{path.name}.0123456789abcdef")
    report = holdfast.repair(root)
    assert [step.action for step in report.steps] == ["restore-blob"]
    assert_whole(root)


# -- the journal -------------------------------------------------------------------------------------------------------


def cut_in_three(root):
    """Three plain segments of three transactions each; their paths."""
    found = damage.transactions(root)
    made = []
    for number in (0, 3, 6):
        first = int(found[number].split(b'"first":')[1].split(b",")[0])
        path = root / "journal" / f"{first:016d}.jsonl"
        path.write_bytes(b"".join(found[number : number + 3]))
        made.append(path)
    assert check_path(root).counts == {}
    return made


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_segment_is_written_again_and_the_others_are_left_alone(root, number):
    made = cut_in_three(root)
    data = made[number].read_bytes()
    made[number].unlink()
    others = {path: (path.stat().st_ino, path.read_bytes()) for path in made if path.exists()}
    report = holdfast.repair(root)
    assert [step.action for step in report.steps] == ["add-segment"]
    assert made[number].read_bytes() == data
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in others} == others
    assert_whole(root)


def test_a_sealed_segment_without_its_origin_is_written_again_sealed(root):
    seal(root)
    damage.segment(root).unlink()
    sealed = root / "journal" / f"{1:016d}.jsonl.zst"
    damage.flip(sealed, 60)
    damaged = sealed.read_bytes()
    assert [step.action for step in holdfast.repair(root).steps] == ["rewrite-segment"]
    assert [path.read_bytes() for path in (root / "quarantine").iterdir()] == [damaged]
    assert_whole(root)


def test_a_segment_is_never_absent_or_half_written_while_it_is_superseded(root):
    byte_in(root, 3, 30)
    path, damaged = damage.segment(root), damage.segment(root).read_bytes()
    disk, seen = FaultyDisk(), set()

    def look(_):
        seen.add(path.read_bytes())

    for operation in ("rename", "link", "unlink", "fsync_dir", "write", "fsync"):
        disk.before(operation, look)
    repair_with(root, disk)
    assert len(seen) == 2
    assert damaged in seen
    assert path.read_bytes() in seen
    assert_whole(root)


def test_a_writer_that_has_the_store_open_goes_on_behind_the_repaired_journal(root):
    with holdfast.open(root) as store:
        store.put("before", "1")
        byte_in(root, 3, 30)
        assert holdfast.repair(root).exit_code == 5
        store.put("after", "2")
    assert "journal-gap" not in check_path(root).counts
    os.remove(root / "index.sqlite3")
    with holdfast.open(root) as store:
        assert (store.read("before"), store.read("after")) == (b"1", b"2")
    assert_whole(root)


def test_two_damages_of_the_chain_at_different_places_mend_each_other(root):
    byte_in(root, 6, 30)
    with damage.sql(root) as connection:
        connection.execute("UPDATE tx SET data = x'00' WHERE first = 4")
    assert holdfast.repair(root).exit_code == 5
    assert_whole(root)


def test_with_accept_loss_the_store_can_be_written_to_again_and_its_content_is_kept(root):
    byte_in(root, 5, 30)
    os.remove(root / "index.sqlite3")
    segment = damage.segment(root).read_bytes()
    assert holdfast.repair(root).exit_code == 4
    report = holdfast.repair(root, accept_loss=True)
    assert report.lost == ("changes from 9 on",)
    assert report.exit_code == 4
    assert check_path(root).exit_code == 0
    assert segment in [path.read_bytes() for path in (root / "quarantine").iterdir() if path.is_file()]
    with holdfast.open(root) as store:
        kept = {store.read(f"id:{artifact.id}") for artifact in store.artifacts.list("lost+found")}
        store.put("new", "x")
        store.gc(grace_s=0)
        assert BIG in kept
        assert {store.read(f"id:{artifact.id}") for artifact in store.artifacts.list("lost+found")} == kept


# -- what nothing refers to --------------------------------------------------------------------------------------------


def test_strangers_stay_for_gc_unless_they_are_asked_for(root):
    stranger(root)
    before = damage.tree(root)
    assert holdfast.repair(root).steps == ()
    assert damage.tree(root) == before
    report = holdfast.repair(root, lost_and_found=True)
    assert [step.action for step in report.steps] == ["keep-in-lost-found"]
    with holdfast.open(root) as store:
        (found,) = store.artifacts.list("lost+found")
        assert found.name == found.revision.digest.removeprefix("sha256:")
        assert found.tags == ("lost+found",)
        assert store.read(f"id:{found.id}") == b"nobody knows me"
        assert store.collections.get("lost+found").metadata == {"holdfast": "lost and found"}
    assert_whole(root)


def test_a_damaged_stranger_goes_to_quarantine_and_gets_no_name(root):
    stranger(root)
    damage.flip(damage.blob_of(root, b"nobody knows me"), -1)
    holdfast.repair(root, lost_and_found=True)
    with holdfast.open(root) as store:
        assert "lost+found" not in [collection.name for collection in store.collections.list()]
    assert len(list((root / "quarantine").iterdir())) == 1


# -- interrupted, refused ----------------------------------------------------------------------------------------------


def repair_with(root, disk, **wanted):
    return repairing.repair(str(root), Settings(Actor("Ada"), wait_s=5.0, disk=disk), Wanted(**wanted))


def killed_at(root, operation, number, sources):
    """Repair in a child that is killed at the nth of an operation; whether it came that far."""
    child = os.fork()
    if child == 0:
        calls = iter(range(1, 1000))
        disk = FaultyDisk()

        def kill(_):
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        disk.before(operation, kill)
        try:
            repair_with(root, disk, sources=sources)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def everything(root):
    """One damage for each thing that repair does."""
    seal(root)
    damage.flip(damage.segment(root), 60)
    damage.flip(root / "holdfast.json", 3)
    damage.flip(damage.blob_of(root, SECOND), -6)
    damage.blob_of(root, B3000).unlink()
    with damage.sql(root) as connection:
        connection.execute("DELETE FROM tagging")
    replace_by_file(root / "packs")


def kill_each(sample, originals, folder, operation, *, every):
    """Kill a repair at each nth of an operation, and let another end its work; how many were killed."""
    for killed, number in enumerate(range(1, 80, every)):
        root = damage.twin(sample, folder / f"{operation}-{number}")
        everything(root)
        if not killed_at(root, operation, number, [originals]):
            return killed
        report = holdfast.repair(root, sources=[originals])
        assert report.exit_code in (0, 5), (number, report.as_dict())
        assert_whole(root)
        shutil.rmtree(root)
    raise AssertionError("a repair of so little takes fewer steps")


@pytest.mark.parametrize(("operation", "every"), [("rename", 2), ("link", 3), ("unlink", 2), ("fsync_dir", 11)])
def test_killed_at_a_step_the_next_repair_ends_the_work(sample, originals, tmp_path, operation, every):
    assert kill_each(sample, originals, tmp_path, operation, every=every) > 0


@pytest.mark.soak
@pytest.mark.parametrize("operation", ["rename", "link", "fsync_dir", "fsync", "unlink", "create", "write", "mkdir"])
def test_killed_at_any_step_the_next_repair_ends_the_work(sample, originals, tmp_path, operation):
    assert kill_each(sample, originals, tmp_path, operation, every=1) >= 0


def test_a_sound_store_is_not_changed_in_any_byte_or_time(root):
    before = damage.tree(root)
    report = holdfast.repair(root, lost_and_found=True, accept_loss=True)
    assert (report.exit_code, report.steps, report.lost) == (0, (), ())
    assert damage.tree(root) == before


def test_a_source_that_is_not_there_is_refused_before_anything_is_done(root, tmp_path):
    damage.blob_of(root, SECOND).unlink()
    before = damage.tree(root)
    for source in (tmp_path / "absent", root):
        with pytest.raises(InvalidValueError):
            holdfast.repair(root, sources=[source])
    with pytest.raises(NotAStoreError):
        holdfast.repair(tmp_path / "absent")
    assert damage.tree(root) == before


def test_a_damaged_index_that_others_have_open_is_not_taken_from_under_them(root):
    with holdfast.open(root) as store:
        with damage.sql(root) as connection:
            connection.execute("UPDATE tx SET data = x'00' WHERE first = 4")
        with pytest.raises(LockedError):
            holdfast.repair(root, lock_wait_s=0.2)
        assert store.read("docs/a.md") == SECOND
    assert holdfast.repair(root).exit_code == 5
    assert_whole(root)


def test_a_source_with_wrong_bytes_is_not_believed(root, backup):
    damage.flip(damage.blob_of(backup, SECOND), -6)
    damage.blob_of(root, SECOND).unlink()
    report = holdfast.repair(root, sources=[backup])
    assert (list(report.lost), report.exit_code) == (A2, 4)
    assert not damage.blob_of(root, SECOND).exists()


# -- what the fuzz found -----------------------------------------------------------------------------------------------


def test_contents_under_each_others_names_are_given_their_own_again(root):
    one, other = damage.blob_of(root, FIRST), damage.blob_of(root, SECOND)
    data = one.read_bytes(), other.read_bytes()
    one.write_bytes(data[1])
    other.write_bytes(data[0])
    report = holdfast.repair(root)
    assert (report.exit_code, report.lost) == (5, ())
    assert (one.read_bytes(), other.read_bytes()) == data
    assert_whole(root)


@pytest.mark.parametrize("offset", [-1, -6, -20])
def test_a_blob_whose_frame_table_alone_is_damaged_is_made_anew_from_its_frames(root, offset):
    path = damage.blob_of(root, BIG)
    damage.flip(path, offset)
    damaged = path.read_bytes()
    report = holdfast.repair(root)
    assert (report.exit_code, report.lost) == (5, ())
    assert [one.read_bytes() for one in (root / "quarantine").iterdir()] == [damaged]
    assert_whole(root)


def test_a_journal_whose_segments_have_each_others_names_is_read_by_what_they_hold(root):
    made = cut_in_three(root)
    data = [path.read_bytes() for path in made]
    made[1].write_bytes(data[2])
    made[2].write_bytes(data[1])
    os.remove(root / "index.sqlite3")
    assert holdfast.repair(root).lost == ()
    assert_whole(root)


def test_the_sound_part_of_a_damaged_sealed_segment_and_all_behind_it_is_used(root):
    seal(root)
    damage.segment(root).unlink()
    sealed = root / "journal" / f"{1:016d}.jsonl.zst"
    damage.flip(sealed, -8)
    with damage.sql(root) as connection:
        connection.execute("UPDATE tx SET data = x'00' WHERE first > 8")
    report = holdfast.repair(root)
    assert (report.exit_code, report.lost) == (5, ())
    assert_whole(root)


def test_a_full_disk_at_opening_is_said_to_be_full_and_no_reason_to_derive_anything(root, monkeypatch):
    def full(*_, **__):
        raise NoSpaceError("no space left on the device", path=str(root))

    before = bytes_of(root)
    monkeypatch.setattr(trust, "SqliteIndex", full)
    with pytest.raises(NoSpaceError):
        holdfast.open(root)
    assert bytes_of(root) == before


@pytest.mark.parametrize("lose_index", [False, True])
def test_a_segment_that_is_a_link_to_nowhere_is_an_error_of_ours_and_mended(root, lose_index):
    made = cut_in_three(root)
    data = made[1].read_bytes()
    made[1].unlink()
    made[1].symlink_to("nowhere")
    if lose_index:
        os.remove(root / "index.sqlite3")
        with pytest.raises(HoldfastError):
            holdfast.open(root)
        report = holdfast.repair(root)
        assert (report.exit_code, bool(report.lost)) == (4, True)
        return
    assert check_path(root).exit_code == 4
    assert holdfast.repair(root).exit_code == 5
    assert made[1].read_bytes() == data
    assert_whole(root)


def test_nothing_is_written_behind_a_plain_segment_whose_sealed_successor_is_there(root):
    seal(root)
    last = max((root / "journal").glob("*.jsonl"))
    os.rename(last, root / "journal" / f"{10**6:016d}.gone")
    with holdfast.open(root) as store:
        sealed_and_plain = damage.segment(root).read_bytes()
        store.put("after", "1")
    assert damage.segment(root).read_bytes() == sealed_and_plain
    os.remove(root / "index.sqlite3")
    with holdfast.open(root) as store:
        assert store.read("after") == b"1"


def test_the_damaged_file_of_a_purged_content_goes_aside_and_is_no_loss(root):
    with holdfast.open(root) as store:
        made = store.put("secret.txt", "purged and not yet collected").artifact
        store.artifacts.delete("secret.txt")
        store.artifacts.purge(f"id:{made.id}")
    path = damage.blob_of(root, b"purged and not yet collected")
    os.truncate(path, path.stat().st_size // 2)
    (root / "index.sqlite3").unlink()
    report = holdfast.repair(root)
    assert report.lost == ()
    assert report.exit_code == 5
    assert [step.action for step in report.steps if step.object == str(path.relative_to(root))] == ["quarantine"]
    assert_whole(root)


def test_the_index_names_the_store_also_while_the_search_index_is_mended(root, monkeypatch):
    """Both need a lock; repair does not wait for itself, and looks into the index that alone has the first change."""
    waited = []
    monkeypatch.setattr(locks.time, "sleep", waited.append)
    (root / "holdfast.json").unlink()
    shutil.rmtree(root / "journal")
    (root / "search.sqlite3").write_bytes(b"none")
    report = holdfast.repair(root)
    assert (report.lost, report.exit_code) == ((), 5)
    assert not any(waited)
    assert_whole(root)


def test_a_flipped_bit_in_the_last_transaction_of_the_journal_is_made_good_from_the_index(tmp_path):
    """Its last line, which opening looks at, is as it was."""
    root = tmp_path / "own"
    with holdfast.create(root) as store:
        store.put("a", b"first")
        store.put("b", b"second")
    (segment,) = (root / "journal").iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(b"create", data.index(b"entry"))] ^= 1
    segment.write_bytes(data)
    report = repair_store(root)
    assert (report.exit_code, report.lost) == (5, ())
    (root / "index.sqlite3").unlink()
    with holdfast.open(root) as store:
        assert (store.read("a"), store.read("b")) == (b"first", b"second")


def test_a_file_in_place_of_the_quarantine_is_put_into_a_new_one(root):
    shutil.rmtree(root / "quarantine")
    (root / "quarantine").write_bytes(b"not a folder")
    report = holdfast.repair(root)
    assert (report.exit_code, report.trouble) == (5, ())
    assert [path.read_bytes() for path in (root / "quarantine").iterdir()] == [b"not a folder"]
    assert_whole(root)


def test_a_damaged_index_without_a_journal_names_every_transaction_as_lost(root):
    shutil.rmtree(root / "journal")
    index = root / "index.sqlite3"
    index.write_bytes(b"\xff" * index.stat().st_size)
    report = holdfast.repair(root)
    assert (report.exit_code, report.lost) == (4, ("every transaction: neither journal nor index has any",))


@pytest.mark.parametrize("index", ["gone", "a folder"])
def test_without_an_index_what_the_journal_has_torn_at_its_end_comes_from_the_backup(root, backup, index):
    segment = damage.segment(root)
    data = segment.read_bytes()
    last = data.rindex(b"\n", 0, len(data) - 1) + 1
    segment.write_bytes(data[:last] + bytes(len(data) - last))
    (root / "index.sqlite3").unlink()
    if index == "a folder":
        (root / "index.sqlite3").mkdir()
    report = holdfast.repair(root, sources=[backup])
    assert (report.exit_code, report.lost) == (5, ())
    assert_whole(root)


def test_two_copies_of_a_segment_are_made_equal_again_after_a_redaction_too(root):
    with holdfast.open(root) as store:
        store.redact(f"id:{store.get('docs/a.md').id}", fields={"metadata"})
    seal(root)
    plain = damage.segment(root)
    data = plain.read_bytes()
    damage.flip(plain, data.index(b'"left"') + 1)
    report = holdfast.repair(root)
    assert (report.exit_code, report.lost, report.after.exit_code) == (5, (), 0)
    assert plain.read_bytes() == data
