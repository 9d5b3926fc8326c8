"""Helping processes: what goes in does not depend on them; one that is lost is done without; none stays behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.blobs.packs import PackFolder
from holdfast.disk import Disk
from holdfast.exchange import folder, hand, hands, looking, reading
from holdfast.exchange.folder import AddReport
from holdfast.exchange.hands import Hands
from holdfast.formats.looks import encode

from . import mortal_hand

FILES = 90


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of all sizes and kinds, some alike, in folders beside and below each other; one cannot be a file."""
    made = tmp_path / "tree"
    for n in range(FILES):
        place = made / f"d{n % 7}" / ("deep" if n % 3 else ".")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{n}.{'json' if n % 2 else 'txt'}").write_bytes(b"%d " % (n // 2) * (n * n % 900))
    os.close(os.open(os.fsencode(made) + b"/d1/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    (made / "d2" / "large").write_bytes(os.urandom(300_000))
    (made / "d3" / "link").symlink_to("../d2/large")
    os.mkfifo(made / "d4" / "pipe")
    return made


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are started at once, and are given little at a time."""
    monkeypatch.setattr(reading, "ALONE_GROUPS", 0)
    monkeypatch.setattr(reading, "TOGETHER_BYTES", 8_000)
    monkeypatch.setattr(looking, "ALONE_FOLDERS", 0)
    monkeypatch.setattr(looking, "AHEAD_FOLDERS", 2)


def what_is_in(store: Store) -> tuple[Any, ...]:
    """All that was taken in, and how it lies in the packs."""
    artifacts = [
        (one.path_bytes, one.media_type, one.digest, one.revision.file, store.artifacts.read(one))
        for one in store.artifacts.list("", recursive=True)
    ]
    folder = PackFolder(str(store.path), Disk())
    members = [(m.digest, m.offset, m.stored, m.start, m.size) for _, m in folder.members([])]
    folder.close()
    return artifacts, members, [one.path for one in store.collections.list("", recursive=True)]


def open_pipes() -> int:
    """Of this process; the descriptor that lists them is gone by the time it is asked about."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(one) and os.readlink(one).startswith("pipe:") for one in links)


def added(root: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> tuple[Any, ...]:
    monkeypatch.setenv("HOLDFAST_HANDS", str(count))
    with holdfast.create(root) as store:
        report = store.add(tree)
        assert [(os.path.basename(one.path), one.code) for one in report.problems] == [("pipe", "special")]
        assert store.fsck().findings == ()
        return what_is_in(store)


@pytest.mark.usefixtures("eager")
def test_what_goes_in_and_how_it_lies_does_not_depend_on_how_many_help(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = added(tmp_path / "alone", tree, monkeypatch, 0)
    assert len(alone[0]) == FILES + 3
    assert len(alone[1]) > 20
    for count in (1, 3):
        assert added(tmp_path / str(count), tree, monkeypatch, count) == alone


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("last_words", ["", "print('no answer')", "import os; os.write(1, b'\\xff' * 100)"])
def test_a_process_that_dies_or_talks_nonsense_is_done_without(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, last_words: str
) -> None:
    alone = added(tmp_path / "alone", tree, monkeypatch, 0)
    started: list[int] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(1)
        command = [sys.executable, "-S", "-c", last_words]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    monkeypatch.setattr(hands, "_started", start)
    assert added(tmp_path / "lost", tree, monkeypatch, 2) == alone
    assert started


@pytest.mark.usefixtures("eager")
def test_a_process_that_is_killed_at_any_step_of_its_work_is_done_without(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = added(tmp_path / "alone", tree, monkeypatch, 0)
    monkeypatch.setenv("REAL_HAND", hand.__file__)
    monkeypatch.setattr(hand, "__file__", mortal_hand.__file__)
    made: list[subprocess.Popen[bytes]] = []
    real: Callable[[], subprocess.Popen[bytes]] = hands._started
    monkeypatch.setattr(hands, "_started", lambda: made.append(real()) or made[-1])
    before = open_pipes()
    for turn, step in enumerate(mortal_hand.STEPS):
        nth = turn % 2 + 1
        monkeypatch.setenv("MORTAL", f"{step} {nth}")
        made.clear()
        assert added(tmp_path / step, tree, monkeypatch, 2) == alone, step
        # One that was never asked a second time ended when its input did.
        assert -signal.SIGKILL in [child.returncode for child in made], step
        assert {child.returncode for child in made} <= {-signal.SIGKILL, 0}, step
        assert open_pipes() == before, step
        assert os.listdir(tmp_path / step / "tmp") == [], step


BUSY = """
import signal, sys, holdfast
signal.signal(signal.SIGINT, signal.default_int_handler)  # else it is ignored where the tests run in the background
from holdfast.exchange import hand, hands, looking, reading
reading.ALONE_GROUPS = looking.ALONE_FOLDERS = 0
reading.TOGETHER_BYTES, looking.AHEAD_FOLDERS = 8_000, 2
hand.__file__ = sys.argv[3]
with holdfast.open(sys.argv[1]) as store:
    store.put("acknowledged", b"before")
    store.add(sys.argv[2])
"""


def is_alive(pid: int) -> bool:
    """Not so if it has ended and nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked at in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_they_helped_however_that_ended(
    root: str, tmp_path: Path, tree: Path, how: signal.Signals
) -> None:
    holdfast.create(root).close()
    marks = tmp_path / "marks"
    marks.mkdir()
    source = str(Path(holdfast.__file__).parents[1])
    said = {"PYTHONPATH": source, "REAL_HAND": hand.__file__, "MORTAL": f"wait {marks}", "HOLDFAST_HANDS": "2"}
    command = [sys.executable, "-c", BUSY, root, str(tree), mortal_hand.__file__]
    with subprocess.Popen(command, env={**os.environ, **said}, stderr=subprocess.DEVNULL) as busy:
        wait_until(lambda: any(marks.iterdir()))
        at_work = [int(mark.name) for mark in marks.iterdir()]
        busy.send_signal(how)
        if how != signal.SIGINT:  # which is waited out: the pieces of work that are begun are small
            busy.wait()
            assert all(map(is_alive, at_work))
        (marks / "go").touch()
    assert busy.returncode == -how
    wait_until(lambda: not any(map(is_alive, [int(m.name) for m in marks.iterdir() if m.name != "go"])))
    with holdfast.open(root) as store:
        assert store.read("acknowledged") == b"before"
        assert store.fsck().exit_code == 0
        assert store.add(tree).added == FILES + 3


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.usefixtures("eager")
def test_a_program_that_cannot_be_started_is_done_without(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = added(tmp_path / "alone", tree, monkeypatch, 0)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert added(tmp_path / "lost", tree, monkeypatch, 2) == alone


@pytest.mark.usefixtures("eager")
def test_what_the_store_has_already_is_not_written_again_whoever_compressed_it(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_HANDS", "2")
    store.add(tree)
    before = what_is_in(store)[1]
    (tree / "d5" / "deep" / "f5.json").write_bytes(b"fresh")
    report = store.add(tree, into="again")
    assert (report.added, report.revised) == (FILES + 3, 0)
    assert [one for one in what_is_in(store)[1] if one not in before] == what_is_in(store)[1][len(before) :]
    assert len(what_is_in(store)[1]) == len(before) + 1
    assert store.read("again/tree/d5/deep/f5.json") == b"fresh"


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("ends", ["well", "by a key"])
def test_no_process_and_no_open_pipe_stays_behind(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setenv("HOLDFAST_HANDS", "2")
    made: list[subprocess.Popen[bytes]] = []
    real: Callable[[], subprocess.Popen[bytes]] = hands._started
    monkeypatch.setattr(hands, "_started", lambda: made.append(real()) or made[-1])
    store.put("first", b"opens what a store keeps open")
    before = open_pipes()

    def progress(*_: Any) -> None:
        if ends != "well":
            raise KeyboardInterrupt

    if ends == "well":
        store.add(tree, progress=progress)
    else:
        with pytest.raises(KeyboardInterrupt):
            store.add(tree, progress=progress)
    assert made
    assert all(child.returncode is not None for child in made)
    assert open_pipes() == before


def test_few_files_start_no_process(store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "_started", lambda: pytest.fail("a process was started"))
    monkeypatch.setenv("HOLDFAST_HANDS", "2")
    report: AddReport = store.add(tree)
    assert report.added == FILES + 3


def test_a_file_that_looks_otherwise_by_now_is_not_taken_for_the_one_that_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    raw, look = os.fsencode(path), encode(path.stat()) or b""
    assert hand.read_all([raw, b"given"], [look, b""]) == [b"before", b"given"]
    path.write_bytes(b"after!")
    assert hand.read_all([raw], [look]) == [None]
    path.unlink()
    found, first, _ = hand.take_in([raw, b"given", b"other"], [look, b"", b""], b"\1\1\0", 3)
    assert found == [None, *(hashlib.sha256(one).digest() for one in (b"given", b"other"))]
    assert first == {1: b"giv"}


def test_a_process_answers_as_the_function_does(tmp_path: Path) -> None:
    for name in ("b", "a", "c\n"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "folder").mkdir()
    helpers = Hands(1)
    try:
        paths = [os.fsencode(tmp_path), os.fsencode(tmp_path / "folder"), b"/not there"]
        found, left = helpers.ask("look", paths, 3, 100, (0, 0)).result()
        assert (found, left) == hand.look_all(paths, 3, 100, (0, 0))
        assert ([one for one, _ in found], left) == (paths, [])
        assert (found[0][1][0][1], found[0][1][1]) == ([b"a", b"b", b"c\n"], [b"folder"])
        assert found[2][1][0][0] == "No such file or directory"
    finally:
        helpers.close()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("batch", [3, 4_000])
def test_the_same_content_under_names_of_other_kinds_goes_in(
    count: int, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a group are put in order of their endings, and become artifacts in the order of their names."""
    monkeypatch.setenv("HOLDFAST_HANDS", str(count))
    monkeypatch.setattr(folder, "BATCH_ITEMS", batch)
    tree = tmp_path / "tree"
    tree.mkdir()
    for n in range(40):
        (tree / f"{n:02}.{'zip' if n % 2 else 'css'}").write_bytes(b"%d " % ((n + 1) // 2) * 400)
    with holdfast.create(tmp_path / "store") as store:
        report = store.add(tree)
        assert (report.added, report.problems) == (40, [])
        for path in tree.iterdir():
            assert store.read(f"tree/{path.name}") == path.read_bytes()
        assert store.fsck().findings == ()
