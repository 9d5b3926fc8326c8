"""Many processes and threads on one store: writers, readers, gc, fsck, rebuild and migrate status, all at once."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import holdfast
from holdfast import disk
from holdfast.engine.handle import Handle, _left_by_fork
from holdfast.errors import FormatTooNewError, HandleDeadError, LockedError, ReadOnlyError, SchemaTooNewError
from holdfast.formats import lines
from holdfast.index.sqlite import SqliteIndex
from holdfast.testing import damage
from holdfast.values.change import LINE_VERSION

SECONDS = float(os.environ.get("HOLDFAST_SIDE_SECONDS", "6"))
LONG_SECONDS = float(os.environ.get("HOLDFAST_SIDE_LONG_SECONDS", "150"))
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
    while time.time() < until or number < 5:
        number += 1
        said.append([f"{name}/{number}", store.put(f"{name}/{number}", f"{name} {number}").revision.digest])
print(json.dumps(said))
"""

THREADS = """
import json, sys, threading, time, holdfast
root, name, until = sys.argv[1], sys.argv[2], float(sys.argv[3])
said, failed = [], []
shared = holdfast.open(root, actor=name)

def work(store, name):
    try:
        number = 0
        while time.time() < until or number < 5:
            number += 1
            path = f"{name}/{number}"
            said.append([path, store.put(path, path.replace("/", " ")).revision.digest])
            assert store.read(path) == path.replace("/", " ").encode()
    except BaseException as error:
        failed.append(repr(error))

def alone(name):
    with holdfast.open(root, actor=name) as own:
        work(own, name)

threads = [threading.Thread(target=work, args=(shared, f"{name}s{n}")) for n in range(3)]
threads += [threading.Thread(target=alone, args=(f"{name}o{n}",)) for n in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
shared.close()
assert not failed, failed
print(json.dumps(said))
"""

CARER = """
import sys, time, holdfast
from holdfast.errors import LockedError
root, until = sys.argv[1], float(sys.argv[2])
rounds = 0
while time.time() < until or not rounds:
    rounds += 1
    with holdfast.open(root) as store:
        store.gc(grace_s=0)
        store.search("w0", limit=3)
        assert all(applied for _, _, applied in store.migrate_status())
    holdfast.rebuild(root)
    holdfast.recover(root)
    report = holdfast.fsck(root, quick=rounds % 3 > 0)
    errors = [f.as_dict() for f in report.findings if str(f.severity) == "error"]
    assert not errors, errors
print("well", rounds)
"""

HOLDER = """
import sys, time, holdfast
with holdfast.open(sys.argv[1], actor="holder") as store:
    with store.transaction():
        store.put("held", b"x")
        print("held", flush=True)
        time.sleep(600)
"""


def everybody(root, seconds):
    """Writers in processes and threads, readers, a carer; what was said, and how many rounds of care there were."""
    holdfast.create(root).close()
    until = time.time() + seconds
    writers = [python(WRITER, root, f"w{n}", str(until), stderr=subprocess.PIPE) for n in range(2)]
    writers.append(python(THREADS, root, "t", str(until), stderr=subprocess.PIPE))
    carer = python(CARER, root, str(until), stderr=subprocess.PIPE)
    seen_wrong, failed = [], []

    def read():
        try:
            with holdfast.open(root, read_only=True) as store:
                while time.time() < until:
                    for artifact in store.artifacts.find(limit=30):
                        expected = artifact.path.replace("/", " ").encode()
                        if store.artifacts.read(artifact) != expected:
                            seen_wrong.append(artifact.path)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [(*writer.communicate(timeout=120), writer.returncode) for writer in [*writers, carer]]
    assert [code for *_, code in answers] == [0] * len(answers), [err for _, err, _ in answers]
    assert (seen_wrong, failed) == ([], [])
    return [pair for out, *_ in answers[:-1] for pair in json.loads(out)], int(answers[-1][0].split()[1])


def nothing_lost(root, said):
    with holdfast.open(root, lock_wait_s=0.0) as store:
        assert said
        assert {path: store.get(path).revision.digest for path, _ in said} == dict(said)
        assert store.status().counts["artifact"] == len(said)
    assert not [f for f in holdfast.fsck(root).findings if str(f.severity) != "info"]


def test_everybody_at_once_and_nothing_is_lost(tmp_path, tally):
    root = str(tmp_path / "store")
    said, rounds = everybody(root, SECONDS)
    nothing_lost(root, said)
    tally(
        "side by side", tried=len(said), of="acknowledged puts of 8 writers", note=f"{rounds} rounds of care meanwhile"
    )


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_everybody_at_once_for_minutes(tmp_path, tally):
    root = str(tmp_path / "store")
    said, rounds = everybody(root, LONG_SECONDS)
    nothing_lost(root, said)
    tally(
        "side by side", tried=len(said), of="acknowledged puts of 8 writers", note=f"{rounds} rounds of care meanwhile"
    )


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


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_pool_open_the_store_for_themselves(tmp_path, method):
    root = str(tmp_path / "store")
    with holdfast.create(root) as store:
        store.put("a", b"a")
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            done = list(pool.map(works_alone, [root] * 6, range(6)))
            if method == "fork":
                assert pool.submit(uses_what_it_inherited).result() == "handle-dead"
        assert sorted(done) == [f"p{n}" for n in range(6)]
        store.put("b", b"b")
        assert sorted(one.path for one in store.find()) == ["a", "b", *sorted(done)]
    assert not [f for f in holdfast.fsck(root).findings if str(f.severity) != "info"]


def works_alone(root, number):
    with holdfast.open(root, actor=f"p{number}") as own:
        return own.put(f"p{number}", f"{number}").artifact.path


def uses_what_it_inherited():
    (handle,) = [one for one in _left_by_fork if isinstance(one, Handle)]
    try:
        handle.alive()
    except HandleDeadError as error:
        return error.code
    return ""


# -- who waits ---------------------------------------------------------------------------------------------------------


OPENER = """
import sys, time, holdfast
with holdfast.open(sys.argv[1], actor="opener", read_only=len(sys.argv) > 2) as store:
    print("open", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def opened(tmp_path):
    """(root, processes): a store that two other processes have open, one of them for reading only."""
    root = str(damage.sample_store(tmp_path / "store"))
    processes = [python(OPENER, root), python(OPENER, root, "for reading")]
    for process in processes:
        assert process.stdout.readline() == "open\n"
    yield root, processes
    for process in processes:
        process.kill()
        process.communicate()


def test_who_needs_the_store_alone_is_told_who_has_it_open_and_since_when(opened):
    root, processes = opened
    with holdfast.open(root, lock_wait_s=0.1) as store, pytest.raises(LockedError) as caught:
        store.redact(store.get("docs/a.md"))
    holders = caught.value.fields["holders"]
    assert {one["pid"] for one in holders} == {process.pid for process in processes}
    named = next(one for one in holders if one["pid"] == processes[0].pid)
    assert named["since"]
    assert all(str(process.pid) in str(caught.value) for process in processes)


def test_names_of_handles_end_with_their_processes(opened):
    root, processes = opened
    processes[0].kill()
    processes[0].wait()
    with holdfast.open(root, lock_wait_s=0.1) as store, pytest.raises(LockedError) as caught:
        store.redact(store.get("docs/a.md"))
    assert [one["pid"] for one in caught.value.fields["holders"]] == [processes[1].pid]
    processes[1].kill()
    processes[1].wait()
    with holdfast.open(root, lock_wait_s=0.0) as store:
        assert store.redact(store.get("docs/a.md")).changes


def command(*words, **environment):
    program = [sys.executable, "-m", "holdfast", *words]
    said = {**os.environ, "PYTHONPATH": SRC, "HOLDFAST_ACTOR": "cli", **environment}
    return subprocess.run(program, env=said, input="x", text=True, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("words", "environment", "waited"),
    [
        (["--lock-wait", "0"], {}, 0.0),
        (["--lock-wait", "0.3"], {"HOLDFAST_LOCK_WAIT": "50"}, 0.3),
        ([], {"HOLDFAST_LOCK_WAIT": "0.2"}, 0.2),
    ],
    ids=["at once", "a while", "environment"],
)
def test_a_command_waits_as_long_as_it_is_told_and_says_who_holds_the_lock(held, words, environment, waited):
    root, process = held
    answer = command("-C", root, "--json", *words, "put", "new", **environment)
    assert answer.returncode == 11
    error = json.loads(answer.stderr.splitlines()[-1])
    assert (error["code"], error["fields"]["waited_s"]) == ("locked", waited)
    assert error["fields"]["holder"]["pid"] == process.pid


def test_a_command_that_is_not_told_how_long_waits_until_the_lock_is_free(held):
    root, process = held
    timer = threading.Timer(1.0, process.kill)
    timer.start()
    assert command("-C", root, "put", "new").returncode == 0
    timer.join()


# -- older and newer software ------------------------------------------------------------------------------------------


def newer_format(root):
    marker = root / "holdfast.json"
    marker.write_text(marker.read_text().replace('"format":0', '"format":99'))


def newer_feature(root):
    marker = root / "holdfast.json"
    marker.write_text(marker.read_text().replace('"requires":[]', '"requires":["later"]'))


def newer_schema(root):
    with damage.sql(root) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'later', 'x')")


def newer_line(root):
    """The last transaction as a newer version would write it, in the journal and in the index."""
    data = damage.transactions(root)[-1]
    old = lines.decode(data, "the last")
    new = replace(old, entry=replace(old.entry, version=LINE_VERSION + 1))
    segment = damage.segment(root)
    segment.write_bytes(segment.read_bytes().removesuffix(data) + lines.encode(new))
    index = SqliteIndex(str(root / "index.sqlite3"))
    index.begin()
    index.database.run("DELETE FROM tx WHERE first = ?", (old.entry.first,))
    index.chain.append(new, lines.encode(new))
    index.commit()
    index.close()


def newer_line_and_no_index(root):
    newer_line(root)
    (root / "index.sqlite3").unlink()


AGES = [
    (newer_format, FormatTooNewError), (newer_feature, FormatTooNewError), (newer_schema, SchemaTooNewError),
    (newer_line, FormatTooNewError), (newer_line_and_no_index, FormatTooNewError),
]  # fmt: skip


@pytest.mark.parametrize(("age", "error"), AGES, ids=[age.__name__ for age, _ in AGES])
def test_what_a_newer_version_wrote_is_refused_and_not_touched(tmp_path, age, error):
    root = damage.sample_store(tmp_path / "store")
    age(root)
    before = contents(root)
    calls = [
        lambda: holdfast.open(root), lambda: holdfast.open(root, read_only=True), lambda: holdfast.recover(root),
    ]  # fmt: skip
    if error is FormatTooNewError:  # rows of a newer schema can be made anew with this one
        calls += [lambda: holdfast.rebuild(root), lambda: holdfast.repair(root)]
        assert command("-C", str(root), "fsck").returncode == 12
    for call in calls:
        with pytest.raises(error) as caught:
            call()
        assert caught.value.exit_code == 12
    assert command("-C", str(root), "ls").returncode == 12
    assert command("-C", str(root), "put", "new").returncode == 12
    assert contents(root) == before


def contents(root):
    """Every file with its bytes; -shm and locks are for whoever is there now."""
    files = (p for p in root.rglob("*") if p.is_file() and not p.name.endswith("-shm") and p.parent.name != "locks")
    return {str(p): p.read_bytes() for p in files if p.stat().st_size}


KILLED = """
import os, signal, sys, holdfast
holdfast.open(sys.argv[1]).put("in the log", b"the last")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_store_on_a_read_only_mount_is_read_and_checked(tmp_path):
    root = damage.sample_store(tmp_path / "store")
    killed = python(KILLED, str(root))
    assert killed.wait() == -signal.SIGKILL
    killed.stdout.close()
    assert (root / "index.sqlite3-wal").stat().st_size
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
            assert store.read("in the log") == b"the last"
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
