"""Many processes and threads on one store: writers, readers, gc, fsck, rebuild and migrate status, all at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import holdfast
from holdfast import disk
from holdfast.errors import FormatTooNewError, HandleDeadError, LockedError, ReadOnlyError, SchemaTooNewError
from holdfast.testing import damage

SECONDS = 8.0
SRC = str(Path(holdfast.__file__).parents[1])


def python(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": SRC}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, text=True, stdout=subprocess.PIPE, **options
    )


WRITER = """
import json, sys, time, holdfast
root, name, until = sys.argv[1], sys.argv[2], float(sys.argv[3])
said = []
with holdfast.open(root, actor=name) as store:
    number = 0
    while time.time() < until:
        number += 1
        said.append([f"{name}/{number}", store.put(f"{name}/{number}", f"{name} {number}").revision.digest])
print(json.dumps(said))
"""

CARER = """
import sys, time, holdfast
root, until = sys.argv[1], float(sys.argv[2])
while time.time() < until:
    with holdfast.open(root) as store:
        store.gc(grace_s=0)
        assert all(applied for _, _, applied in store.migrate_status())
    holdfast.rebuild(root)
    report = holdfast.fsck(root, quick=True)
    errors = [f.as_dict() for f in report.findings if str(f.severity) == "error"]
    assert not errors, errors
print("well")
"""

HOLDER = """
import sys, time, holdfast
with holdfast.open(sys.argv[1], actor="holder") as store:
    with store.transaction():
        store.put("held", b"x")
        print("held", flush=True)
        time.sleep(60)
"""


def test_everybody_at_once_and_nothing_is_lost(tmp_path):
    root = str(tmp_path / "store")
    holdfast.create(root).close()
    until = time.time() + SECONDS
    writers = [python(WRITER, root, f"w{n}", str(until)) for n in range(2)]
    carer = python(CARER, root, str(until), stderr=subprocess.PIPE)
    seen_wrong = []

    def read():
        with holdfast.open(root, read_only=True) as store:
            while time.time() < until:
                for artifact in store.artifacts.find(limit=30):
                    expected = artifact.path.replace("/", " ").encode()
                    if store.artifacts.read(artifact) != expected:
                        seen_wrong.append(artifact.path)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [pair for writer in writers for pair in json.loads(writer.communicate(timeout=60)[0])]
    out, err = carer.communicate(timeout=60)
    assert out.strip() == "well", err
    assert seen_wrong == []
    with holdfast.open(root) as store:
        assert said
        assert {path: store.get(path).revision.digest for path, _ in said} == dict(said)
    assert not [f for f in holdfast.fsck(root).findings if str(f.severity) != "info"]


@pytest.fixture
def held(tmp_path):
    """(root, process): a store whose writer lock another process holds."""
    root = str(tmp_path / "store")
    holdfast.create(root).close()
    process = python(HOLDER, root)
    assert process.stdout.readline() == "held\n"
    yield root, process
    process.kill()
    process.communicate()


def test_who_waits_is_told_who_holds_what_and_for_how_long_it_waited(held):
    root, process = held
    with holdfast.open(root, lock_wait_s=0.2) as store, pytest.raises(LockedError) as caught:
        store.put("a", b"a")
    assert caught.value.fields["holder"]["pid"] == process.pid
    assert caught.value.fields["waited_s"] <= 0.2
    assert str(process.pid) in str(caught.value)


def test_readers_do_not_wait_for_the_writer(held):
    root, _ = held
    with holdfast.open(root, read_only=True, lock_wait_s=0.0) as store:
        assert list(store.artifacts.list()) == []


def test_no_lock_outlives_its_process(held):
    root, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    with holdfast.open(root, lock_wait_s=0.0) as store:
        store.put("next", b"in at once")
        assert [one.path for one in store.artifacts.list()] == ["next"]  # the transaction that was open never was


def test_a_forked_child_cannot_use_the_handle_and_does_not_harm_it(tmp_path):
    with holdfast.create(tmp_path / "store") as store:
        store.put("a", b"a")
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(HandleDeadError):
                code = 2
                store.put("b", b"b")
                code = 3
            os._exit(0 if code == 2 else code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.put("c", b"c")
        assert sorted(one.path for one in store.artifacts.list()) == ["a", "c"]


def newer_format(root):
    marker = root / "holdfast.json"
    marker.write_text(marker.read_text().replace('"format":0', '"format":99'))


def newer_schema(root):
    with damage.sql(root) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'later', 'x')")


@pytest.mark.parametrize(
    ("age", "error"), [(newer_format, FormatTooNewError), (newer_schema, SchemaTooNewError)], ids=["format", "schema"]
)
@pytest.mark.parametrize("read_only", [True, False])
def test_what_a_newer_version_wrote_is_refused_and_not_touched(tmp_path, age, error, read_only):
    root = damage.sample_store(tmp_path / "store")
    age(root)
    before = contents(root)
    with pytest.raises(error):
        holdfast.open(root, read_only=read_only)
    assert contents(root) == before


def contents(root):
    """Every file with its bytes; -shm and locks are for whoever is there now."""
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.endswith("-shm") and p.parent.name != "locks")
    return {str(p): p.read_bytes() for p in files if p.stat().st_size}


def test_a_store_on_a_read_only_mount_is_read_and_checked(tmp_path):
    root = damage.sample_store(tmp_path / "store")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    bind = ["mount", "--bind", str(root), str(mounted)]
    if os.geteuid() != 0 or subprocess.run(bind, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount, and not everywhere")
    try:
        again = ["mount", "-o", "remount,ro,bind", str(mounted)]
        if subprocess.run(again, check=False, capture_output=True).returncode:
            pytest.skip("this system does not remount read-only")
        with holdfast.open(mounted, read_only=True) as store:
            assert store.read("docs/a.md") == b"second\n"
        assert not [f for f in holdfast.fsck(mounted).findings if str(f.severity) == "error"]
        with pytest.raises(ReadOnlyError):
            holdfast.open(mounted)
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@pytest.mark.parametrize(("kind", "mode"), [("nfs4", "delete"), ("fuse.sshfs", "delete"), ("ext4", "wal")])
def test_no_write_ahead_log_on_a_network_file_system(tmp_path, monkeypatch, kind, mode):
    monkeypatch.setattr(disk, "mount_of", lambda path: (kind, ["rw"]))
    root = tmp_path / "store"
    with holdfast.create(root) as store:
        store.put("a.txt", b"some words")
        assert [hit.artifact.path for hit in store.search("words").hits] == ["a.txt"]
        assert (root / "index.sqlite3-wal").exists() is (mode == "wal")
    with damage.sql(root) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert not [f for f in holdfast.fsck(root).findings if str(f.severity) != "info"]
