"""Folders that are fetched ahead: only where somebody waits for a disk, each told once, and no process stays behind."""

from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import holdfast
from holdfast.exchange import hand, prefetching
from holdfast.exchange.prefetching import Prefetching

IN_PROC = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="processes are looked at in /proc")

BEGIN = """
import os, signal, sys, time
from holdfast.exchange import hand, prefetching
from holdfast.exchange.prefetching import Prefetching, waits
"""
SERVING = """
prefetching.WAITS = 0
hand.serve(sys.stdin.buffer, sys.stdout.buffer)
"""
NOTING = """
notes, real = sys.argv[1], os.lstat
def lstat(path):
    with open(notes, "ab", buffering=0) as file:
        file.write(b"%d %s\\n" % (os.getpid(), path))
    return real(path)
os.lstat = lstat
"""


def run(program: str, *given: str) -> str:
    """In a process of its own, which has one thread."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program, *given],
        env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_who_does_not_wait_has_nothing_fetched() -> None:
    said = run(
        """
ahead = Prefetching()
since = waits()
for _ in range(1_000):
    os.lstat(".")
ahead.waited(since)
ahead.tell([b"."])
print(len(ahead.children))
since = waits()
for _ in range(prefetching.WAITS):
    time.sleep(0.001)
ahead.waited(since)
ahead.tell([b"."])
print(len(ahead.children))
ahead.close()
print(len(ahead.children))
"""
    )
    assert said.split() == ["0", str(prefetching.CHILDREN), "0"]


def test_every_folder_is_looked_at_by_one_child_and_what_is_not_there_hurts_nobody(tmp_path: Path) -> None:
    paths = [os.fsencode(tmp_path / f"d{n}") for n in range(20)] + [b"", b"not there", b"\xff" * 300, b"x" * 5_000]
    for path in paths[:15]:
        os.mkdir(path)
    run(
        NOTING
        + f"""
ahead = Prefetching()
ahead._waited = prefetching.WAITS
for start in range(0, {len(paths)}, 6):
    ahead.tell({paths!r}[start : start + 6])
while open(notes, "rb").read().count(b"\\n") < {len(paths)} if os.path.exists(notes) else True:
    time.sleep(0.01)
ahead.close()
""",
        str(tmp_path / "notes"),
    )
    noted = [line.split(b" ", 1) for line in (tmp_path / "notes").read_bytes().splitlines()]
    assert sorted(path for _, path in noted) == sorted(path + b"/\1" for path in paths)
    assert len({pid for pid, _ in noted}) == prefetching.CHILDREN


def test_who_tells_never_waits_and_ends_children_that_do_not_answer() -> None:
    run(
        """
ahead = Prefetching()
ahead._waited = prefetching.WAITS
ahead.tell([b"."])
for child in ahead.children:
    os.kill(child, signal.SIGSTOP)
signal.alarm(100)
for _ in range(1_000):
    ahead.tell([b"p" * 200] * 100)
os.kill(ahead.children[0], signal.SIGKILL)
ahead.tell([b"."] * 4)
pipes = list(ahead._pipes)
ahead.close()
for pipe in pipes:
    try:
        os.fstat(pipe)
    except OSError:
        continue
    raise AssertionError("an open pipe stays behind")
try:
    os.wait()
except ChildProcessError:
    pass
else:
    raise AssertionError("a child stays behind")
"""
    )


@pytest.mark.parametrize("missing", ["os.fork", "os.pipe"])
def test_where_no_process_can_be_made_nothing_is_fetched(missing: str) -> None:
    said = run(
        f"""
def refuse():
    raise BlockingIOError(11, "no more of these")
{missing} = refuse
ahead = Prefetching()
ahead._waited = prefetching.WAITS
ahead.tell([b"."])
ahead.tell([b"."])
print(ahead.children)
ahead.close()
print(len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 4)
"""
    )
    assert said.split() == ["[]", "4"]


class Told(Prefetching):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[bytes] = []

    def tell(self, paths: Sequence[bytes]) -> None:
        """As the real one."""
        self.paths += paths


def test_what_is_found_is_the_same_and_each_folder_is_told_once_before_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        for m in range(n):
            (tmp_path / f"d{n}" / f"e{m}" / "deep").mkdir(parents=True)
    top = os.fsencode(tmp_path)
    paths = [os.path.join(top, name) for name in sorted(os.listdir(top))]
    ahead = Told()
    late: list[bytes] = []
    look = hand.look

    def looked(path: bytes, names: Sequence[bytes] | None = None, most: int = 1 << 62) -> object:
        late.append(path) if path not in ahead.paths else None
        return look(path, names, most)

    alone = hand.look_all(paths, 1_000, 1_000, (0, 0))
    monkeypatch.setattr(hand, "look", looked)
    assert hand.look_all(paths, 1_000, 1_000, (0, 0), ahead) == alone
    assert len(ahead.paths) == len(set(ahead.paths))
    # Nobody is told of what is looked at in the same moment: the first of all, and the first in each folder.
    assert late == [paths[0], *(path for path, _ in alone[0] if path.endswith((b"/e0", b"/deep")))]


def _asked(child: subprocess.Popen[bytes], paths: list[bytes]) -> list[bytes]:
    assert child.stdin is not None
    assert child.stdout is not None
    question = marshal.dumps(("look", (paths, 1_000, 1_000, (0, 0))))
    child.stdin.write(hand.LENGTH.pack(len(question)) + question)
    child.stdin.flush()
    (length,) = hand.LENGTH.unpack(child.stdout.read(hand.LENGTH.size))
    return [path for path, _ in marshal.loads(child.stdout.read(length))[0]]


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@IN_PROC
@pytest.mark.parametrize("how", ["its input ends", "it is killed"])
def test_children_end_with_the_process_they_fetch_for_and_keep_no_pipe_of_it_open(tmp_path: Path, how: str) -> None:
    paths = [os.fsencode(tmp_path / f"d{n}") for n in range(9)]
    for path in paths:
        os.mkdir(path)
    command = [sys.executable, "-c", BEGIN + SERVING]
    with subprocess.Popen(command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert _asked(child, paths) == paths
        grown = _children(child.pid)
        assert len(grown) == prefetching.CHILDREN
        assert _asked(child, paths[:2]) == paths[:2]
        assert _children(child.pid) == grown
        assert child.stdin is not None
        assert child.stdout is not None
        if how == "it is killed":
            child.send_signal(signal.SIGKILL)
        else:
            child.stdin.close()
        assert child.stdout.read() == b""
        assert child.wait() == (-signal.SIGKILL if how == "it is killed" else 0)
        wait_until(lambda: not any(map(_is_alive, grown)))
