"""Whose index this is: older, foreign and copied files are recognised, and what cannot be known is not made up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.disk import born_ns
from holdfast.engine import gaps
from holdfast.errors import ChainBrokenError, ChainForkedError, HandleDeadError, HoldfastError, IndexDamagedError
from holdfast.index.database import Database
from holdfast.journal import Journal
from holdfast.testing import damage
from holdfast.testing.clock import FixedClock

RowsOf = Callable[[Store], dict[str, list[tuple[Any, ...]]]]
Opener = Callable[..., Store]


def over(data: bytes, path: Path) -> None:
    """`cat old > path`: other bytes, the same inode."""
    inode = path.stat().st_ino
    path.write_bytes(data)
    assert path.stat().st_ino == inode


def killed_after(root: str, code: str) -> None:
    """What a process leaves that did some work on an open `store` and was killed: the log of the index among it."""
    program = (
        f"import os, signal, holdfast\nstore = holdfast.open({root!r})\n{code}\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", program], env=source, check=False).returncode == -9


# -- an older index ----------------------------------------------------------------------------------------------------


def test_an_older_index_written_over_the_newer_one_is_derived_anew(root: str, rows_of: RowsOf) -> None:
    with holdfast.create(root) as store:
        store.put("a", b"1")
    index = Path(root, "index.sqlite3")
    old = index.read_bytes()
    with holdfast.open(root) as store:
        store.put("b", b"2")
        store.artifacts.delete("a")
        store.artifacts.purge("a")
        store.gc(grace_s=0)
        rows = rows_of(store)
    over(old, index)

    for read_only in (True, False):
        with holdfast.open(root, read_only=read_only) as store:
            assert "older than the journal" in store.opened.reason
            assert rows_of(store) == rows
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt
        assert store.put("c", b"1").created
        assert store.read("c") == b"1", "its old row said that the content is there"
    assert holdfast.fsck(root).exit_code == 0


@pytest.mark.parametrize(("between", "reason"), [(200, "older than the journal"), (2, "log beside the index")])
def test_a_newer_log_beside_an_older_index_is_not_laid_over_it(
    root: str, rows_of: RowsOf, between: int, reason: str
) -> None:
    with holdfast.create(root) as store:
        store.put("kept", b"0")
    index = Path(root, "index.sqlite3")
    old = index.read_bytes()
    with holdfast.open(root) as store:
        for number in range(between):
            store.put(f"between {number}", f"{number}")
    killed_after(root, "store.put('last', b'9')")
    with holdfast.open(shutil.copytree(root, root + "-witness")) as store:
        rows = rows_of(store)
    over(old, index)

    for read_only in (True, False):
        with holdfast.open(root, read_only=read_only) as store:
            assert reason in store.opened.reason
            assert rows_of(store) == rows
    assert holdfast.fsck(root).exit_code == 0


def test_the_log_of_a_process_that_was_killed_is_no_other_state(root: str) -> None:
    holdfast.create(root).close()
    for number in range(3):
        killed_after(root, f"store.put('a', b'{number}')")
        with holdfast.open(root, read_only=True) as store:
            assert not store.opened.rebuilt
            assert store.read("a") == f"{number}".encode()
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt


def test_a_log_that_a_reader_kept_from_being_emptied_stays_the_indexs_own(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.index.sqlite.CHECKPOINT_BYTES", 20_000)
    with holdfast.create(root) as store, holdfast.open(root, read_only=True) as reader:
        store.put("0", b"0")
        reading = reader._handle.index.database.run("SELECT key FROM record")
        reading.fetchone()
        for number in range(40):
            store.put(f"{number}", b"x")
        marks = (store._handle.index.meta("log") or "").split()
        assert len(marks) > 2
        bare = Database(store._handle.index.path, read_only=True, without_log=True)
        [(in_the_database,)] = bare.rows("SELECT value FROM meta WHERE key = 'log'")
        bare.close_every()
        assert in_the_database.split()[-1] in marks, "what the log follows is not forgotten"
        assert store._handle.index.log_is_own()
        reading.close()
        for number in range(40):
            store.put(f"{number}", b"y")
        assert store._handle.index.log_is_own()
    killed_after(root, "store.put('last', b'9')")
    with holdfast.open(root) as store:
        assert not store.opened.rebuilt


# -- a copy ------------------------------------------------------------------------------------------------------------


def test_a_copy_that_takes_the_place_and_the_inode_of_a_removed_store_is_recognised(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with holdfast.create(store) as made:
        made.put("a", b"1")
    if not born_ns(str(store)):
        pytest.skip("this file system does not say when a file was made")
    for _ in range(5):
        inode = (store / "index.sqlite3").stat().st_ino
        subprocess.run(["cp", "-a", store, tmp_path / "backup"], check=True)
        shutil.rmtree(store)
        subprocess.run(["cp", "-a", tmp_path / "backup", store], check=True)
        shutil.rmtree(tmp_path / "backup")
        with holdfast.open(store) as opened:
            assert opened.opened.rebuilt
        if (store / "index.sqlite3").stat().st_ino == inode:
            return


def test_a_copy_renamed_back_over_the_original_is_recognised(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "store") as made:
        made.put("a", b"1")
    subprocess.run(["cp", "-a", tmp_path / "store", tmp_path / "copy"], check=True)
    (tmp_path / "store").rename(tmp_path / "old")
    (tmp_path / "copy").rename(tmp_path / "store")
    with holdfast.open(tmp_path / "store") as store:
        assert "copy" in store.opened.reason
        assert store.read("a") == b"1"
    with holdfast.open(tmp_path / "old") as store:
        assert not store.opened.rebuilt


@pytest.mark.usefixtures("without_packs")
def test_a_copy_that_came_without_its_index_is_recognised_all_the_same(tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "store") as store:
        store.put("old", b"0")
        store.put("new", b"1")
        lost = store.get("new").digest.removeprefix("sha256:")
    subprocess.run(["cp", "-a", tmp_path / "store", tmp_path / "copy"], check=True)
    (tmp_path / "copy" / "index.sqlite3").unlink()
    (tmp_path / "copy" / "blobs" / lost[:2] / f"{lost}.zst").unlink()

    report = holdfast.recover(tmp_path / "copy")

    assert len(report.withdrawn) == 1
    assert holdfast.fsck(tmp_path / "copy").exit_code == 0


# -- a journal that was copied while it grew ---------------------------------------------------------------------------


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Journal.__init__.__kwdefaults__, "segment_bytes", 2_000)


def grown_copy(root: str, *, index: str) -> Path:
    """A copy whose first segment is as it was early, the others late, and the index as it was `early` or late."""
    early, copy = Path(root + "-early"), Path(root + "-copy")
    with holdfast.create(root) as store:
        store.put("0", b"0")
        store.put("1", b"1")
    shutil.copytree(root, early)
    with holdfast.open(root) as store:
        for number in range(2, 12):
            store.put(f"{number}", f"{number}")
    assert len(list(Path(root, "journal").iterdir())) >= 3
    shutil.copytree(root, copy)
    segment = f"journal/{1:016d}.jsonl"
    shutil.copyfile(early / segment, copy / segment)
    if index == "early":
        shutil.copyfile(early / "index.sqlite3", copy / "index.sqlite3")
    return copy


@pytest.mark.usefixtures("small_segments")
def test_what_lies_beyond_a_gap_of_a_copied_journal_is_set_aside(root: str) -> None:
    copy = grown_copy(root, index="early")
    kept = sorted(path.read_bytes() for path in (copy / "journal").iterdir())

    holdfast.recover(copy)

    with holdfast.open(copy) as store:
        assert [store.read("0"), store.read("1")] == [b"0", b"1"]
        assert len(list(store.find())) < 12
        assert store.put("more", b"here").created
        assert store.gc(dry_run=True).removed == 0
    assert holdfast.fsck(copy).exit_code == 0
    aside = sorted(path.read_bytes() for path in (copy / "quarantine").iterdir() if ".jsonl." in path.name)
    assert set(aside) <= set(kept)
    assert aside, "nothing that might be data is deleted"


@pytest.mark.usefixtures("small_segments")
def test_a_gap_of_a_copied_journal_is_filled_from_the_index_that_came_later(root: str) -> None:
    copy = grown_copy(root, index="late")

    holdfast.recover(copy)

    with holdfast.open(copy) as store:
        assert len(list(store.find())) == 12
        assert store.put("more", b"here").created
        assert store.gc(dry_run=True).removed == 0
    assert holdfast.fsck(copy).exit_code == 0
    (copy / "index.sqlite3").unlink()
    with holdfast.open(copy) as store:
        assert len(list(store.find())) == 13


@pytest.mark.usefixtures("small_segments")
def test_a_gap_before_what_is_older_than_the_copying_is_damage_and_nothing_is_set_aside(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = grown_copy(root, index="early")
    monkeypatch.setattr(gaps, "MARGIN_S", -3600.0)
    before = {path.name: path.read_bytes() for path in (copy / "journal").iterdir()}

    with pytest.raises(ChainBrokenError) as caught:
        holdfast.open(copy)

    assert "--repair" in caught.value.remedy
    assert {path.name: path.read_bytes() for path in (copy / "journal").iterdir()} == before


# -- what is absent is not empty ---------------------------------------------------------------------------------------


def lose(root: str, *names: str) -> None:
    for name in names:
        path = Path(root, name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("read_only", [True, False])
def test_content_without_any_transaction_is_no_empty_store(root: str, read_only: bool) -> None:
    damage.sample_store(Path(root))
    lose(root, "journal", "index.sqlite3")
    before = damage.tree(Path(root))

    with pytest.raises(ChainBrokenError) as caught:
        holdfast.open(root, read_only=read_only)

    assert "--repair" in caught.value.remedy
    after = {
        name: facts for name, facts in damage.tree(Path(root)).items() if name.split("/")[0] not in ("locks", "tmp")
    }
    assert {n: f for n, f in after.items() if n != "journal"} == {
        n: f for n, f in before.items() if n.split("/")[0] not in ("locks", "tmp")
    }


def test_the_remedy_for_content_without_any_transaction_works(root: str, tmp_path: Path) -> None:
    damage.sample_store(Path(root))
    shutil.copytree(root, tmp_path / "backup")
    lose(root, "journal", "index.sqlite3")
    shutil.copytree(root, tmp_path / "other")

    holdfast.repair(root, sources=[tmp_path / "backup"])
    with holdfast.open(root) as store:
        assert store.read("docs/a.md") == b"second\n"
    holdfast.repair(tmp_path / "other", accept_loss=True, lost_and_found=True)
    with holdfast.open(tmp_path / "other") as store:
        assert {store.read(one) for one in store.find()} >= {b"first\n", b"second\n"}


def test_a_store_that_was_only_just_made_may_lose_its_index(root: str) -> None:
    holdfast.create(root).close()
    lose(root, "index.sqlite3")
    with holdfast.open(root) as store:
        assert store.put("a", b"1").created


@pytest.mark.parametrize("read_only", [True, False])
def test_a_missing_index_and_a_hole_in_the_journal_are_no_fork(root: str, read_only: bool) -> None:
    damage.sample_store(Path(root))
    segment = damage.segment(Path(root))
    whole = damage.transactions(Path(root))
    segment.write_bytes(b"".join(whole[:2] + whole[3:]))
    lose(root, "index.sqlite3")
    before = segment.read_bytes()

    with pytest.raises(ChainBrokenError) as caught:
        holdfast.open(root, read_only=read_only)

    assert caught.value.fields["seq"] > 1
    assert "--from" in caught.value.remedy
    assert segment.read_bytes() == before
    assert not Path(root, "index.sqlite3").exists()


def test_a_hole_in_the_journal_after_a_rebuild_that_accepted_it_is_no_fork_either(root: str) -> None:
    damage.sample_store(Path(root))
    whole = damage.transactions(Path(root))
    damage.segment(Path(root)).write_bytes(b"".join(whole[:2] + whole[3:]))
    lose(root, "index.sqlite3")
    assert holdfast.rebuild(root).unreachable
    with pytest.raises(ChainBrokenError):
        holdfast.open(root)


# -- files of two stores -----------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores that are no copies of each other."""
    return damage.sample_store(tmp_path / "a"), damage.sample_store(tmp_path / "b")


@pytest.mark.parametrize("read_only", [True, False])
def test_the_marker_of_another_store_is_refused_and_nothing_is_touched(two: tuple[Path, Path], read_only: bool) -> None:
    ours, theirs = two
    shutil.copyfile(theirs / "holdfast.json", ours / "holdfast.json")
    before = {p: p.read_bytes() for p in ours.rglob("*") if p.is_file() and p.parent.name != "locks"}

    with pytest.raises(ChainBrokenError) as caught:
        holdfast.open(ours, read_only=read_only)

    assert caught.value.fields["where"] == "marker"
    assert {p: p.read_bytes() for p in before} == before
    lose(str(ours), "index.sqlite3")
    with pytest.raises(ChainBrokenError) as caught:
        holdfast.open(ours, read_only=read_only)
    assert caught.value.fields["where"] == "marker"


def test_the_index_of_another_store_is_set_aside_and_the_journal_gives_ours(two: tuple[Path, Path]) -> None:
    ours, theirs = two
    with holdfast.open(theirs) as store:
        store.put("theirs", b"theirs alone")
    for place in (lambda: shutil.copyfile(theirs / "index.sqlite3", ours / "index.sqlite3"), lambda: None):
        place()
        with holdfast.open(ours) as store:
            assert "theirs" not in [one.path for one in store.find()]
            assert store.read("docs/a.md") == b"second\n"
    assert holdfast.fsck(ours).exit_code == 0
    kept = [path for path in (ours / "quarantine").iterdir() if path.name.startswith("index.sqlite3.")]
    assert kept, "nothing that might be data is deleted"


def test_the_journal_of_another_store_is_refused(two: tuple[Path, Path]) -> None:
    ours, theirs = two
    shutil.copyfile(damage.segment(theirs), damage.segment(ours))
    before = damage.segment(ours).read_bytes()
    with pytest.raises(ChainForkedError):
        holdfast.open(ours)
    assert damage.segment(ours).read_bytes() == before


# -- rebuilding under the eyes of others -------------------------------------------------------------------------------


def test_an_index_that_alone_holds_a_damaged_transaction_is_not_written_over(root: str, tmp_path: Path) -> None:
    with holdfast.create(root) as store:
        for number in range(5):
            store.put(f"{number}", f"{number}")
        with damage.sql(Path(root)) as connection:
            connection.execute("UPDATE tx SET data = x'00' WHERE first = 4")
        whole = damage.transactions(Path(root))
        damage.segment(Path(root)).write_bytes(b"".join(whole[:2]))
        before = list(store._handle.index.chain.read_whole())

        with pytest.raises(IndexDamagedError) as caught:
            holdfast.rebuild(root)

        assert "Close the store" in caught.value.remedy
        assert list(store._handle.index.chain.read_whole()) == before
        assert [p for p in Path(root, "tmp").iterdir() if p.suffix == ".tmp"] == []


# -- places and clocks -------------------------------------------------------------------------------------------------


def uses(store: Store) -> list[Callable[[], Any]]:
    return [
        lambda: store.put("b", b"2"),
        lambda: store.read("a"),
        lambda: list(store.find()),
        lambda: store.collections.create("c"),
        store.gc,
        store.status,
        lambda: store.search("a"),
        store.fsck,
    ]


def test_a_store_that_was_moved_while_it_is_open_says_so_and_is_whole_in_its_new_place(tmp_path: Path) -> None:
    store = holdfast.create(tmp_path / "here")
    store.put("a", b"1")
    (tmp_path / "here").rename(tmp_path / "there")
    for use in uses(store):
        with pytest.raises(HandleDeadError, match="moved"):
            use()
    with holdfast.open(tmp_path / "there") as moved:
        assert moved.read("a") == b"1"
        moved.put("a", b"2")
    store.close()
    with holdfast.open(tmp_path / "there") as moved:
        assert not moved.opened.rebuilt
        assert moved.read("a") == b"2"


def test_a_store_that_another_was_put_in_the_place_of_leaves_that_one_alone(tmp_path: Path) -> None:
    store = holdfast.create(tmp_path / "here")
    store.put("a", b"1")
    subprocess.run(["cp", "-a", tmp_path / "here", tmp_path / "copy"], check=True)
    (tmp_path / "here").rename(tmp_path / "there")
    (tmp_path / "copy").rename(tmp_path / "here")
    other = holdfast.open(tmp_path / "here")
    other.put("b", b"other")
    with pytest.raises(HandleDeadError):
        store.put("b", b"2")
    store.close()
    assert other.put("c", b"3").created
    assert Path(tmp_path / "here" / "index.sqlite3-wal").exists(), "closing the one must not take the other's log"
    other.close()
    for place, wanted in (("here", ["a", "b", "c"]), ("there", ["a"])):
        with holdfast.open(tmp_path / place) as opened:
            assert sorted(one.path for one in opened.find()) == wanted
        assert holdfast.fsck(tmp_path / place).exit_code == 0


def test_a_store_that_was_removed_while_it_is_open_is_a_typed_error(tmp_path: Path) -> None:
    store = holdfast.create(tmp_path / "here")
    store.put("a", b"1")
    shutil.rmtree(tmp_path / "here")
    for use in uses(store):
        with pytest.raises(HandleDeadError):
            use()
    store.close()
    assert not (tmp_path / "here").exists()


def test_clocks_of_writers_that_disagree_change_neither_order_nor_chain(opener: Opener, clock: FixedClock) -> None:
    ahead, behind = FixedClock(clock.now_us()), FixedClock(clock.now_us())
    ahead.advance(3600 * 24 * 400)
    behind.set_back(3600 * 24 * 400)
    stores = [opener(clock=one) for one in (clock, ahead, behind)]
    for number in range(9):
        stores[number % 3].put("a", f"{number}")
    times = [change.time for change in stores[0].changes.list()]
    assert times == sorted(times)
    assert [stores[2].artifacts.read("a", revision=n) for n in range(1, 10)] == [f"{n}".encode() for n in range(9)]
    for store in stores:
        store.close()
    again = opener(clock=behind)
    assert not again.opened.rebuilt
    assert again.put("b", b"1").created
    assert again.fsck().exit_code == 0


@pytest.mark.parametrize("gone", ["tmp", "blobs", "journal", "locks"])
def test_no_use_of_a_store_that_is_half_removed_is_an_untyped_error(root: str, gone: str) -> None:
    store = holdfast.create(root)
    store.put("a", b"1")
    shutil.rmtree(Path(root, gone))
    for use in [*uses(store), store.close, lambda: holdfast.open(root).close()]:
        with suppress(HoldfastError):
            use()


def with_a_leftover(root):
    """A store to which nothing was ever committed, and a file that a put left which failed."""
    holdfast.create(root).close()
    left = root / "blobs" / "ab" / f"{'ab' * 32}.zst"
    left.parent.mkdir()
    left.write_bytes(b"left by a put that failed")
    return root


def test_a_copy_of_a_store_without_any_commit_opens_with_the_leftovers_of_what_failed(tmp_path):
    """A sound copied index and a journal without a byte agree: nothing had been acknowledged."""
    copy = shutil.copytree(with_a_leftover(tmp_path / "store"), tmp_path / "copy")
    with holdfast.open(copy) as store:
        store.put("b", b"goes on")
        assert store.read("b") == b"goes on"


@pytest.mark.parametrize("journal", ["absent", "with a byte"])
def test_but_not_where_the_journal_does_not_say_the_same(tmp_path, journal):
    copy = shutil.copytree(with_a_leftover(tmp_path / "store"), tmp_path / "copy")
    shutil.rmtree(copy / "journal")
    if journal == "with a byte":
        (copy / "journal").mkdir()
        (copy / "journal" / f"{1:016d}.jsonl").write_bytes(b"x")
    with pytest.raises(ChainBrokenError):
        holdfast.open(copy)
