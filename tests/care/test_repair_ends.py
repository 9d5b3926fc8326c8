"""Both ends of the history gone: a backup that leads to the rest names the store; a torn end is named as perhaps lost.

Where an index has the end of the chain, a torn end of the journal is what every crash leaves, and no loss.
"""

from __future__ import annotations

import random
import shutil

import pytest

import holdfast
from holdfast.care.fsck import check_path
from holdfast.errors import NotAStoreError
from holdfast.formats import lines
from holdfast.testing import damage
from holdfast.values.change import Head

TORN = "transactions-torn"


@pytest.fixture
def root(sample, tmp_path):
    return damage.twin(sample, tmp_path / "store")


def lose_the_beginning(root, *, keep):
    """Marker, index and all transactions but the last few; their segment is named after the first that is left."""
    left = damage.transactions(root)[-keep:]
    first = int(left[0].split(b'"first":')[1].split(b",")[0])
    damage.segment(root).unlink()
    (root / "journal" / f"{first:016d}.jsonl").write_bytes(b"".join(left))
    (root / "index.sqlite3").unlink()
    (root / "holdfast.json").unlink()


def assert_like(root, other):
    """A store has the same files of history and contents as another, and is clean."""
    assert check_path(root).exit_code == 0
    with holdfast.open(root) as store, holdfast.open(other, read_only=True) as wanted:
        assert (root / "holdfast.json").read_bytes() == (other / "holdfast.json").read_bytes()
        assert list(store.changes.list()) == list(wanted.changes.list())
        for artifact in wanted.artifacts.list(recursive=True):
            assert store.read(f"id:{artifact.id}") == wanted.read(f"id:{artifact.id}")


# -- the beginning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 4])
def test_a_backup_names_the_store_if_its_chain_leads_to_what_is_left_of_ours(root, backup, keep):
    lose_the_beginning(root, keep=keep)
    foretold = holdfast.repair(root, sources=[backup], dry_run=True)
    assert "restore-marker" in [step.action for step in foretold.steps]
    report = holdfast.repair(root, sources=[backup])
    assert (report.exit_code, report.lost) == (5, ())
    assert_like(root, backup)


def test_an_older_backup_that_ends_where_ours_begins_names_the_store_too(root, backup):
    with holdfast.open(root) as store:
        store.put("later", "only here")
    shutil.copytree(root, root.parent / "whole")
    lose_the_beginning(root, keep=1)
    report = holdfast.repair(root, sources=[backup])
    assert (report.exit_code, report.lost) == (5, ())
    assert_like(root, root.parent / "whole")


def test_a_store_that_has_nothing_of_ours_is_not_believed(root, tmp_path):
    """Also one that is longer than ours: what is left of ours stands in it nowhere."""
    stranger = damage.sample_store(tmp_path / "stranger")
    with holdfast.open(stranger) as store:
        for number in range(4):
            store.put(f"more/{number}", "x")
    lose_the_beginning(root, keep=2)
    before = damage.tree(root / "journal")
    foretold = holdfast.repair(root, sources=[stranger], dry_run=True)
    assert "restore-marker" not in [step.action for step in foretold.steps]
    report = holdfast.repair(root, sources=[stranger])
    assert report.exit_code == 4
    assert any("no id of the store could be proven" in one for one in report.trouble)
    assert damage.tree(root / "journal") == before
    with pytest.raises(NotAStoreError):
        holdfast.open(root)


def test_a_backup_that_ends_before_ours_begins_proves_nothing(root, backup):
    with holdfast.open(root) as store:
        store.put("one later", "1")
        store.put("two later", "2")
    lose_the_beginning(root, keep=1)
    report = holdfast.repair(root, sources=[backup])
    assert report.exit_code == 4
    assert not (root / "holdfast.json").exists()


# -- the end -----------------------------------------------------------------------------------------------------------


def tear(root, keep):
    """Cut the last transaction so that the journal ends with `keep` bytes of it; the seq that it begins with."""
    *whole, last = damage.transactions(root)
    damage.segment(root).write_bytes(b"".join(whole) + last[:keep])
    return int(last.split(b'"first":')[1].split(b",")[0])


@pytest.mark.parametrize("keep", [1, 2, 46, -300, -40, -2])
def test_without_an_index_a_transaction_that_was_cut_is_named_as_perhaps_lost(root, keep):
    first = tear(root, keep)
    (root / "index.sqlite3").unlink()
    assert check_path(root).counts[TORN] == 1
    report = holdfast.repair(root)
    assert report.lost == (f"perhaps changes from {first} on",)
    assert report.exit_code == 4
    assert check_path(root).exit_code == 0
    assert holdfast.repair(root).steps == ()
    with holdfast.open(root) as store:
        assert store.changes.head().next_seq == first


def test_a_transaction_that_lacks_only_its_last_newline_is_there(root, backup):
    tear(root, -1)
    (root / "index.sqlite3").unlink()
    report = holdfast.repair(root)
    assert (report.exit_code, report.lost) == (5, ())
    holdfast.open(root).close()
    assert_like(root, backup)


def test_what_was_cut_comes_from_a_backup_and_is_not_lost_then(root, backup):
    tear(root, 46)
    (root / "index.sqlite3").unlink()
    report = holdfast.repair(root, sources=[backup])
    assert (report.exit_code, report.lost) == (5, ())
    assert_like(root, backup)


def test_a_last_segment_without_any_transaction_is_named_too(root):
    first = tear(root, 0)
    (root / "index.sqlite3").unlink()
    (root / "journal" / f"{first:016d}.jsonl").write_bytes(b"")
    report = holdfast.repair(root)
    assert report.lost == (f"perhaps changes from {first} on",)
    with holdfast.open(root) as store:
        store.put("goes on", "x")
    assert check_path(root).exit_code == 0


def test_bytes_that_nobody_here_wrote_are_no_loss(root):
    rng = random.Random(7)
    data = damage.segment(root).read_bytes()
    for size in (1, 40, 300, 5000):
        damage.segment(root).write_bytes(data + b"\x05" + rng.randbytes(size))
        (root / "index.sqlite3").unlink(missing_ok=True)
        counts = check_path(root).counts
        assert TORN not in counts
        assert counts["journal-garbage"] == 1
        report = holdfast.repair(root)
        assert (report.exit_code, report.lost) == (5, ())


@pytest.mark.parametrize("keep", [46, -40])
def test_with_its_index_a_torn_end_is_what_a_crash_leaves_and_no_loss(root, keep):
    """The transaction was never committed: the index does not have it, and neither opening nor fsck makes a fuss."""
    with holdfast.open(root) as store:
        store.put("another", "x")
    *_, last = damage.transactions(root)
    fresh = damage.sample_store(root.parent / "fresh")
    with damage.segment(fresh).open("ab") as file:
        file.write(last[:keep])
    report = check_path(fresh)
    assert (report.exit_code, dict(report.counts)) == (0, {"journal-garbage": 1})
    with holdfast.open(fresh) as store:
        assert store.put("goes on", "x").artifact.name == "goes on"
    assert holdfast.repair(fresh).steps == ()


def test_every_beginning_of_a_transaction_may_be_one_and_that_of_another_place_may_not(root):
    *before, last = damage.transactions(root)
    head = lines.decode(before[-1], "before").head
    for length in range(1, len(last)):
        assert lines.may_begin(last[:length], head), last[:length]
    elsewhere = Head(head.next_seq, b"\1" * 32)
    entry = last[last.index(b'{"entry"') :]
    assert not lines.may_begin(entry[:-2], elsewhere)
    assert not lines.may_begin(entry[:-2], Head(head.next_seq + 1, head.hash))
    assert lines.may_begin(bytes(30), head)
    for other in (b"", b"stray", b"{}", b'{"entry":'):
        assert lines.may_begin(other, head) == (other == b'{"entry":')


@pytest.mark.parametrize("at", [0, 50, -3])
def test_a_journal_whose_only_transaction_is_damaged_is_written_anew_and_not_behind_the_damage(tmp_path, at):
    with holdfast.create(tmp_path / "store") as store, store.transaction():
        store.put("a", b"x")
        store.put("b", b"y")
    path = damage.segment(tmp_path / "store")
    sound = path.read_bytes()
    damaged = bytearray(sound)
    damaged[at] ^= 1
    path.write_bytes(damaged)
    assert holdfast.repair(tmp_path / "store", actor="Ada").lost == ()
    assert path.read_bytes() == sound
    with holdfast.open(tmp_path / "store") as store:
        assert store.audit.verify().proven
