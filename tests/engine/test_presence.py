"""A blob that the operating system could not read while rows were made is not forgotten: it may be whole.

Of blobs with a file each; tests/care/test_packs.py has it of packs.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import holdfast
from holdfast.care import rebuild as rebuilding
from holdfast.engine import open as opening
from holdfast.engine import presence
from holdfast.engine.settings import Settings, actor_of
from holdfast.store import Store
from holdfast.testing.faults import FaultyDisk

pytestmark = pytest.mark.usefixtures("loose")


@pytest.fixture
def root(tmp_path: Path, loose: None) -> str:
    with holdfast.create(tmp_path / "store") as store:
        for n in range(5):
            store.put(f"{n}", f"content {n}".encode())
    return str(tmp_path / "store")


def opened(root: str, disk: FaultyDisk) -> Store:
    return Store(opening.open_store(root, Settings(actor_of("me"), disk=disk)))


def lacking(store: Store) -> int:
    """How many contents that are needed have no row saying where they are."""
    return len(list(store._handle.index.physical.missing()))


def test_a_rebuild_keeps_the_rows_of_blobs_that_could_not_be_read_and_says_so(root: str) -> None:
    disk = FaultyDisk()
    disk.fail("open_read", path=".zst", nth=2, times=2)
    report = rebuilding.rebuild(root, Settings(actor_of("me"), disk=disk))
    assert len(report.trouble) == 2
    with holdfast.open(root) as store:
        assert lacking(store) == 0
        assert store._handle.index.meta(presence.UNREAD) is None
        assert store.fsck().findings == ()


def test_without_an_older_row_they_are_looked_at_again_by_the_next_open(root: str) -> None:
    os.unlink(f"{root}/index.sqlite3")
    disk = FaultyDisk()
    disk.fail("open_read", path=".zst", nth=1, times=2)
    with opened(root, disk) as store:
        assert store._handle.opened.rebuilt
        assert store._handle.index.meta(presence.UNREAD) is None, "looked at again within the same open"
        assert lacking(store) == 0


def test_as_long_as_they_cannot_be_read_the_store_opens_and_nothing_is_collected(root: str) -> None:
    os.unlink(f"{root}/index.sqlite3")
    disk = FaultyDisk()
    disk.fail("open_read", path=".zst", nth=1, times=1)
    disk.fail("pread", path=".zst", nth=1, times=1 << 30)
    for _ in range(2):
        with opened(root, disk) as store:
            assert lacking(store) == 5
            assert store.gc(grace_s=0).strays == 0
    with holdfast.open(root) as store:
        assert lacking(store) == 0
        assert store.fsck().findings == ()


def test_a_damaged_blob_is_no_presence_and_is_not_looked_at_again(root: str) -> None:
    os.unlink(f"{root}/index.sqlite3")
    blob = sorted(Path(root, "blobs").rglob("*.zst"))[0]
    blob.write_bytes(b"x")
    with holdfast.open(root) as store:
        assert store._handle.index.meta(presence.UNREAD) is None
        assert lacking(store) == 1


def test_a_replay_that_meets_such_a_blob_opens_the_store_all_the_same(root: str, tmp_path: Path) -> None:
    """The index is older than the journal: its own rows stay, those of later changes are made from files."""
    older = Path(root, "index.sqlite3").read_bytes()
    with holdfast.open(root) as store:
        digest = store.put("later", b"later content").revision.digest.removeprefix("sha256:")
    Path(root, "index.sqlite3").write_bytes(older)
    disk = FaultyDisk()
    disk.fail("open_read", path=digest, times=1 << 30)
    with opened(root, disk) as store:
        assert store._handle.index.meta(presence.UNREAD) is not None
        assert lacking(store) == 1
    with holdfast.open(root) as store:
        assert store.read("later") == b"later content"
        assert store._handle.index.meta(presence.UNREAD) is None
        assert store.fsck().exit_code == 0
