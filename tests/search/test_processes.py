"""Several processes on one index: feeding at once, dying in the middle, starting at the same moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from holdfast.search import START, Document, SearchIndex

FEEDER = """
import sys
from holdfast.search import Document, SearchIndex
path, number, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with SearchIndex(path) as index:
    done = 0
    while done < count:
        at = index.position()
        seq = at[0] + 1
        batch = [Document(seq * 10 + i, 1, f"by{number}", {"seq": seq}, f"word s{seq}") for i in range(10)]
        done += index.feed(batch, expected=at, upto=(seq, b"%d" % seq))
        print(seq, flush=True)
"""


def start(path: str, number: int, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", FEEDER, path, str(number), str(count)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def test_processes_that_start_and_feed_at_once_take_in_every_change_exactly_once(path: str) -> None:
    processes = [start(path, number, 25) for number in range(3)]
    for process in processes:
        finish(process)
    with SearchIndex(path) as index:
        assert index.position() == (75, b"75")
        assert index.counts().live == 750
        assert index.counts().dead == 0
        assert {hit.key for hit in index.query("word", limit=1_000)} == {
            s * 10 + i for s in range(1, 76) for i in range(10)
        }
        assert sum(len(index.query(f"name:by{n}", limit=1_000)) for n in range(3)) == 750
        assert index.check() == []


@pytest.mark.parametrize("after", [1, 9, 30])
def test_after_kill_9_while_feeding_rows_and_cursor_agree_and_feeding_goes_on(path: str, after: int) -> None:
    process = start(path, 0, 10_000)
    assert process.stdout is not None
    for _ in range(after):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with SearchIndex(path) as index:
        seq, chain = index.position()
        assert seq >= after
        assert chain == b"%d" % seq
        assert index.counts().live == seq * 10
        assert len(index.query("word", limit=10**6)) == seq * 10
        assert index.query(f"s{seq}", limit=100)[0].key // 10 == seq
        assert index.query(f"s{seq + 1}", limit=100) == []
        assert index.check() == []
        assert index.feed([Document(1, 1, "next", None, "next")], expected=(seq, chain), upto=(seq + 1, b"n"))


def test_a_reset_by_another_process_is_seen_at_once(path: str) -> None:
    with SearchIndex(path) as mine, SearchIndex(path) as theirs:
        assert mine.feed([Document(1, 1, "n", None, "old")], expected=START, upto=(1, b"a"))
        assert theirs.query("old", limit=1)
        assert mine.query("old", limit=1)
        theirs.reset()
        assert mine.position() == START
        assert mine.query("old", limit=1) == []
        assert not mine.feed([Document(2, 1, "n", None, "late")], expected=(1, b"a"), upto=(2, b"b"))
        assert theirs.feed([Document(3, 1, "n", None, "new")], expected=START, upto=(1, b"c"))
        assert [hit.key for hit in mine.query("new", limit=5)] == [3]


def test_asking_goes_on_while_another_process_feeds(path: str) -> None:
    process = start(path, 0, 60)
    with SearchIndex(path) as index:
        seen = 0
        deadline = time.monotonic() + 120
        while seen < 600 and time.monotonic() < deadline:
            now = len(index.query("word", limit=10_000))
            assert now >= seen
            assert now % 10 == 0
            seen = now
    finish(process)
    assert seen == 600
