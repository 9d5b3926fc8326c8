"""fsck leaves no trace in a store, and says nothing false while others write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import holdfast
from holdfast.care.fsck import check, check_path
from holdfast.testing import damage

WRITER = """
import sys, os, itertools, holdfast
root, name, stop = sys.argv[1:]
with holdfast.open(root) as store:
    for n in itertools.count():
        store.artifacts.put(f"{name}/{n % 7}", f"{name} {n}" * 40, tags=[name])
        if n % 5 == 0:
            store.artifacts.put(f"{name}/big", os.urandom(300_000))
        if n % 11 == 0:
            store.artifacts.delete(f"{name}/{n % 7}")
        if n % 13 == 0:
            old = store.artifacts.get(f"{name}/big").revision.number - 1
            if old:
                store.artifacts.purge(f"{name}/big", revisions=[old])
            store.gc(grace_s=0)
        if os.path.exists(stop):
            break
"""


@pytest.fixture
def root(sample_of_both, tmp_path):
    return damage.twin(sample_of_both, tmp_path / "store")


def start(root, name, stop):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(root), name, str(stop)])


def test_nothing_false_is_found_while_two_processes_write_and_collect(root, tmp_path):
    stop = tmp_path / "stop"
    writers = [start(root, name, stop) for name in ("one", "two")]
    told, rounds = [], 0
    try:
        with holdfast.open(root) as store:
            deadline = time.monotonic() + 6
            while time.monotonic() < deadline:
                reports = [check_path(root), check_path(root, quick=True), check(store._handle)]
                told += [f.as_dict() for r in reports for f in r.findings]
                rounds += 1
    finally:
        stop.write_text("")
        ends = [writer.wait(timeout=60) for writer in writers]
    assert ends == [0, 0]
    assert told == []
    assert rounds > 0
    assert check_path(root).counts == {}


def test_nothing_false_is_found_while_the_store_is_opened_and_closed(root):
    done = threading.Event()
    troubles = []

    def open_and_close():
        while not done.is_set():
            try:
                with holdfast.open(root) as store:
                    store.artifacts.put("docs/a.md", os.urandom(50))
            except Exception as error:
                troubles.append(error)

    thread = threading.Thread(target=open_and_close)
    thread.start()
    try:
        told = [f.as_dict() for _ in range(8) for f in check_path(root).findings]
    finally:
        done.set()
        thread.join()
    assert troubles == []
    assert told == []


@pytest.mark.parametrize("quick", [True, False])
def test_a_closed_store_stays_as_it_is_to_the_last_byte_and_time(root, quick):
    before = damage.tree(root)
    assert check_path(root, quick=quick).findings == ()
    assert damage.tree(root) == before


def test_a_copy_that_is_open_for_reading_only_is_checked_where_it_lies(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    with holdfast.open(tmp_path / "copy", read_only=True) as store:
        before = sorted(damage.tree(tmp_path / "copy"))
        assert check(store._handle).counts == {"index-copied": 1}
        assert sorted(damage.tree(tmp_path / "copy")) == before


def test_no_temporary_folder_is_left(root, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    check_path(root)
    damage.flip(root / "index.sqlite3", 3)
    check_path(root)
    assert os.listdir(tmp_path / "temporary") == []


def test_a_store_that_was_killed_is_read_with_its_log_and_left_with_it(root, tmp_path):
    writer = start(root, "one", tmp_path / "never")
    while not (root / "index.sqlite3-wal").exists() or (root / "index.sqlite3-wal").stat().st_size < 100_000:
        time.sleep(0.02)
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    before = damage.tree(root)
    report = check_path(root)
    assert damage.tree(root) == before
    assert set(report.counts) <= {"journal-behind", "journal-garbage", "blob-unreferenced", "blob-row-stale"}
    assert report.checked["transactions in the index"] > 9
    with holdfast.open(root) as store:
        assert set(check(store._handle).counts) <= {"journal-garbage", "blob-unreferenced", "blob-row-stale"}


def test_a_log_without_its_shared_memory_is_read_too_and_none_is_made(root, tmp_path):
    writer = start(root, "one", tmp_path / "never")
    while not (root / "index.sqlite3-wal").exists() or (root / "index.sqlite3-wal").stat().st_size < 100_000:
        time.sleep(0.02)
    writer.send_signal(signal.SIGSTOP)
    shutil.copytree(root, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm", "locks"))
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    before = damage.tree(tmp_path / "copy")
    report = check_path(tmp_path / "copy")
    assert damage.tree(tmp_path / "copy") == before
    assert report.counts["index-copied"] == 1
    assert report.checked["transactions in the index"] > 9


def test_the_posix_locks_of_a_store_that_this_process_has_open_survive_a_check(root, tmp_path):
    """A plain open and close of the index would drop them: then another process could delete its log."""
    with holdfast.open(root) as store:
        store.artifacts.put("before", "x")
        inode = (root / "index.sqlite3-wal").stat().st_ino
        check_path(root)
        check(store._handle)
        script = "import sys, holdfast; holdfast.open(sys.argv[1]).close()"
        subprocess.run([sys.executable, "-c", script, str(root)], check=True)
        assert (root / "index.sqlite3-wal").stat().st_ino == inode
        store.artifacts.put("after", "y")
        assert check(store._handle).findings == ()
    assert check_path(root).findings == ()


@pytest.mark.parametrize("sample_of_both", ["files"], indirect=True)
def test_what_cannot_be_confirmed_because_of_a_writer_says_so(root, monkeypatch):
    monkeypatch.setattr("holdfast.care.fsck.scene._PATIENCE_S", 0.1)
    damage.blob_of(root, b"second\n").unlink()
    with holdfast.open(root) as store:
        assert "confirmed" not in check_path(root).findings[0].fields
        holder = threading.Event()
        go = threading.Event()

        def hold():
            with store.transaction():
                holder.set()
                go.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        holder.wait(30)
        try:
            report = check_path(root)
        finally:
            go.set()
            thread.join()
    (finding,) = report.findings
    assert finding.code == "blob-missing"
    assert finding.fields["confirmed"] is False


def test_a_folder_that_cannot_be_written_to_is_checked_all_the_same(root):
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        if os.access(root, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert check_path(root).findings == ()
    finally:
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
