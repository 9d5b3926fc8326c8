"""The index's pages after a repack: filled, with the same rows, whoever reads, writes, copies or dies meanwhile."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.care import compacting
from holdfast.errors import NoSpaceError
from holdfast.formats import paths
from holdfast.index.sqlite import SqliteIndex
from holdfast.stores import recover_store

MANY = 1_500
KILLED = """
import os, signal, sys, holdfast
from holdfast.index.sqlite import SqliteIndex
from holdfast.stores import recover_store
def kill(index, *, force=False):
    os.kill(os.getpid(), signal.SIGKILL)
handle = holdfast.open(sys.argv[1])
real = SqliteIndex.compact
def compact(index, **options):
    SqliteIndex.checkpoint = kill
    real(index, **options)
SqliteIndex.compact = compact
handle.repack()
"""


@pytest.fixture
def root(tmp_path):
    """A store of many small contents."""
    where = tmp_path / "store"
    with holdfast.create(where) as store:
        store.put_many((f"docs/{n:05}.txt", b"%d is what is in it" % n) for n in range(MANY))
    return where


def index_bytes(root):
    return Path(root, paths.INDEX).stat().st_size


def filled_bytes(root, tmp_path):
    """What SQLite makes of a copy."""
    copy = tmp_path / "copy.sqlite3"
    shutil.copy(Path(root, paths.INDEX), copy)
    connection = sqlite3.connect(copy)
    connection.execute("VACUUM")
    connection.close()
    return copy.stat().st_size


def is_well(root):
    report = holdfast.fsck(root)
    assert report.counts == {}, report.findings


def contents(store):
    return {artifact.path: store.read(artifact) for artifact in store.find()}


def test_after_a_repack_of_everything_nothing_lies_empty_between_the_rows(root, tmp_path):
    with holdfast.open(root) as store:
        before = contents(store)
        store.repack()
        assert contents(store) == before
    assert index_bytes(root) <= filled_bytes(root, tmp_path) + 2 * 4096
    is_well(root)
    with holdfast.open(root) as store:
        store.put("docs/one more", b"x")
        assert len(contents(store)) == MANY + 1
    is_well(root)


def test_only_work_that_moved_half_of_all_contents_pays_for_it(root, monkeypatch):
    asked = []
    monkeypatch.setattr(SqliteIndex, "compact", lambda *_, **options: asked.append(options))
    with holdfast.open(root) as store:
        store.repack()
        assert asked == [{"up_to_bytes": compacting.UP_TO_BYTES}]
        store.put_many((f"more/{n}", b"more %d" % n) for n in range(MANY // 2))
        store.repack()
        store.repack()
    assert len(asked) == 1


def test_a_large_index_stays_as_it_is(root, monkeypatch):
    ran = []
    real = SqliteIndex.compact

    def compact(index, *, up_to_bytes):
        pages = index.database.one("SELECT page_count FROM pragma_page_count")[0]
        real(index, up_to_bytes=pages * 4096 - 1)
        ran.append(index.database.one("SELECT page_count FROM pragma_page_count")[0] - pages)

    monkeypatch.setattr(SqliteIndex, "compact", compact)
    with holdfast.open(root) as store:
        store.repack()
    assert ran == [0]


def test_others_read_what_they_saw_and_write_after_it(root):
    with holdfast.open(root) as other, holdfast.open(root, read_only=True) as reader:
        before = contents(reader)
        connection = reader._handle.index.database.raw()
        connection.execute("BEGIN")
        rows = connection.execute("SELECT * FROM blob ORDER BY content").fetchall()
        with holdfast.open(root) as store:
            store.repack()
        assert connection.execute("SELECT * FROM blob ORDER BY content").fetchall() == rows
        connection.execute("ROLLBACK")
        assert contents(reader) == before
        other.put("docs/later", b"later")
        assert contents(reader) == {**before, "docs/later": b"later"}
    is_well(root)


def test_a_kill_before_the_log_is_emptied_leaves_the_same_rows(root):
    with holdfast.open(root) as store:
        before = contents(store)
    ended = subprocess.run([sys.executable, "-c", KILLED, root], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert Path(f"{root / paths.INDEX}-wal").stat().st_size > index_bytes(root) // 2
    with holdfast.open(root) as store:
        assert contents(store) == before
    is_well(root)


def test_a_log_of_later_is_not_laid_over_pages_of_before(root, tmp_path):
    """As a plain copy brings them together that takes the database before a repack, and all else after it."""
    copy = tmp_path / "copy"
    with holdfast.open(root) as store:
        store._handle.index.checkpoint(force=True)
        shutil.copy(root / paths.INDEX, tmp_path / "before")
        store.repack()
        store.put("docs/later", b"later")
        expected = contents(store)
        shutil.copytree(root, copy)
    assert (copy / f"{paths.INDEX}-wal").stat().st_size > 0
    shutil.copy(tmp_path / "before", copy / paths.INDEX)
    recover_store(copy)
    with holdfast.open(copy) as store:
        assert contents(store) == expected
    assert holdfast.fsck(copy).counts.keys() <= {"quarantined"}  # the index as it was, set aside


def test_without_room_everything_is_as_before(root, monkeypatch):
    def full(_index, *, up_to_bytes):
        raise NoSpaceError("no room", path="index")

    monkeypatch.setattr(SqliteIndex, "compact", full)
    with holdfast.open(root) as store:
        before = contents(store)
        assert store.repack().contents == MANY
        assert contents(store) == before
        store.put("docs/later", b"later")
    is_well(root)
