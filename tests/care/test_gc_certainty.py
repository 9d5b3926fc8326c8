"""gc removes nothing while anything it relies on is in doubt, and a dry run says the same (no wrong comfort)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.care import certainty
from holdfast.care.gc import Gc
from holdfast.errors import ChainBrokenError, ConflictError, HoldfastError, IndexDamagedError, StorageIOError
from holdfast.index import soundness
from holdfast.testing import damage
from holdfast.testing.faults import FaultyDisk

Opener = Callable[..., Store]
DAY = 24 * 3600
PLANTED = {
    "the only revision of an artifact gone": "DELETE FROM revision WHERE key = {kept}",
    "an artifact gone with all its rows": (
        "DELETE FROM revision WHERE key = {kept}; DELETE FROM artifact WHERE key = {kept}; "
        "DELETE FROM record WHERE key = {kept}"
    ),
    "a revision in the middle gone": "DELETE FROM revision WHERE number = 2",
    "the newest revision gone": "DELETE FROM revision WHERE number = 3",
    "a revision that seems purged": "UPDATE revision SET state = 1 WHERE key = {kept}",
    "a revision that names another content": "UPDATE revision SET content = {other} WHERE key = {kept}",
    "a content gone": "DELETE FROM content WHERE key = {kept}",
    "a content with another digest": "UPDATE content SET digest = substr(digest, 2) WHERE key = {kept}",
    "a blob's row that belongs to nothing": "UPDATE blob SET content = 999999 WHERE content = {kept}",
    "a row of changes gone": "DELETE FROM change WHERE seq = (SELECT max(seq) FROM change)",
    "the last transaction gone": "DELETE FROM tx WHERE first = (SELECT max(first) FROM tx)",
}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A closed store in which everything may be collected but what the artifacts `kept` and `history` hold."""
    root = tmp_path / "sample"
    with holdfast.create(root) as store:
        store.put("kept", b"kept")
        for n in range(3):
            store.put("history", f"revision {n}")
        gone = store.put("gone", b"gone").artifact
        store.artifacts.delete(gone)
        store.artifacts.purge(f"id:{gone.id}")
        store.put("last", b"last")
        store.artifacts.tag("last", "x")
    return root


def files(root: Path) -> list[Path]:
    return sorted((root / "blobs").rglob("*.zst"))


def refuses(store: Store, *errors: type[HoldfastError]) -> str:
    root = store.path
    before = files(root), sorted(os.listdir(root / "tmp"))
    said = ""
    for dry_run in (True, False):
        with pytest.raises(errors) as raised:
            store.gc(grace_s=0, dry_run=dry_run)
        said = str(raised.value)
    assert (files(root), sorted(os.listdir(root / "tmp"))) == before
    return said


def test_a_sound_store_raises_no_doubts_and_is_collected(sample: Path) -> None:
    with holdfast.open(sample) as store:
        assert soundness.doubts(store._handle.index) == []
        assert store.gc(grace_s=0).removed == 1
        assert soundness.doubts(store._handle.index) == []


@pytest.mark.parametrize("name", PLANTED)
def test_rows_that_are_missing_or_altered_stop_gc(sample: Path, name: str) -> None:
    with holdfast.open(sample) as store:  # open beforehand: the rows suffer while it is in use
        connection = store._handle.index.database.raw()
        (kept,) = connection.execute("SELECT key FROM artifact WHERE name = 'kept'").fetchone()
        (other,) = connection.execute("SELECT key FROM artifact WHERE name = 'last'").fetchone()
        for statement in PLANTED[name].format(kept=kept, other=other).split(";"):
            assert connection.execute(statement).rowcount == 1
        assert refuses(store, IndexDamagedError, ChainBrokenError)


def test_a_damaged_page_of_the_index_stops_gc(sample: Path) -> None:
    with sqlite3.connect(sample / "index.sqlite3") as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'revision_content'").fetchone()
    connection.close()
    with holdfast.open(sample) as store:
        with open(sample / "index.sqlite3", "r+b") as file:
            file.seek((page - 1) * size + 3)
            file.write(b"\xff\xff")
        assert refuses(store, IndexDamagedError)


def test_an_index_behind_the_journal_stops_gc(sample: Path, tmp_path: Path) -> None:
    """As a reader of a read-only copy sees it; a writer brings both level when it opens the store."""
    shutil.copytree(sample, tmp_path / "older")
    with holdfast.open(sample) as store:
        store.put("newer", b"only the journal speaks of it")
    for name in ("journal", "blobs", "packs"):
        shutil.rmtree(tmp_path / "older" / name)
        shutil.copytree(sample / name, tmp_path / "older" / name)
    with holdfast.open(tmp_path / "older", read_only=True) as reader:
        handle = reader._handle
        with sqlite3.connect(handle.index.path) as connection:  # its own copy: cut back to what the older index had
            connection.execute("DELETE FROM tx WHERE first = (SELECT max(first) FROM tx)")
        connection.close()
        with pytest.raises(ChainBrokenError, match="behind the journal"):
            reader.gc(dry_run=True, grace_s=0)
    with holdfast.open(tmp_path / "older") as store:
        store.gc(grace_s=0)
        assert store.read("newer") == b"only the journal speaks of it"


def test_a_transaction_that_only_a_damaged_end_of_the_journal_held_stops_gc(sample: Path) -> None:
    whole = damage.transactions(sample)
    with holdfast.open(sample) as store:
        handle = store._handle
        with sqlite3.connect(handle.index.path) as connection:
            connection.execute("DELETE FROM tx WHERE first = (SELECT max(first) FROM tx)")
        connection.close()
        damage.flip(damage.segment(sample), -len(whole[-1]) // 2)
        with pytest.raises(ChainBrokenError, match="may have been a transaction"):
            Gc(handle).preview()


@pytest.mark.parametrize("operation", ["listdir", "pread"])
def test_whatever_cannot_be_read_stops_gc_before_anything_is_removed(
    opener: Opener, disk: FaultyDisk, operation: str
) -> None:
    store = opener()
    gone = store.put("gone", b"gone").artifact
    store.artifacts.delete(gone)
    store.artifacts.purge(f"id:{gone.id}")
    places = {"listdir": ("store/blobs", "store/tmp", "store/journal"), "pread": ("store/journal",)}
    for place in places[operation]:
        disk.fail(operation, path=place, times=99)
        refuses(store, StorageIOError)
        disk.heal()
    assert store.gc(grace_s=0).removed == 1


@pytest.mark.parametrize("hours", [-2, 2, 24 * 365])
def test_a_clock_that_jumped_either_way_since_the_last_collection_stops_gc(
    sample: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    with holdfast.open(sample) as store:
        store.gc()
        real = certainty.time.time
        monkeypatch.setattr(certainty.time, "time", lambda: real() + hours * 3600)
        refuses(store, ConflictError)
        monkeypatch.setattr(certainty.time, "time", real)
        assert store.gc(grace_s=0).removed == 1


def test_what_a_killed_rebuild_or_gc_left_is_taken_away_by_the_next(sample: Path) -> None:
    tmp = sample / "tmp"
    for name in ("derive-0.tmp", "seal-1-2.tmp", "young.tmp"):
        (tmp / name).write_bytes(b"x")
    with holdfast.open(sample) as store:
        assert store.gc(dry_run=True).leftovers == 2
        assert store.gc().leftovers == 2
    assert os.listdir(tmp) == ["young.tmp"]
    (tmp / "derive-3.tmp").write_bytes(b"x")
    holdfast.rebuild(sample)
    assert os.listdir(tmp) == ["young.tmp"]
