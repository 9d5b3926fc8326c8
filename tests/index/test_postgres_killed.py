"""A server that is killed, again and again, while processes write: what was acknowledged is there, and whole.

So is whatever anybody has seen: a reader notes the end of the chain all the while, and nothing of it is taken back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.engine.recover import from_index
from holdfast.testing import postgres as servers

pytestmark = [pytest.mark.postgres, pytest.mark.soak]
ROUNDS, PAUSE_S = 8, 3.0

WRITER = """
import sys, time, holdfast
from holdfast.errors import HoldfastError
url, folder, name, acknowledged, until = *sys.argv[1:5], float(sys.argv[5])
n = 0
with open(acknowledged, "a") as out:
    while time.time() < until:
        try:
            with holdfast.open(url, blobs=folder, actor=name) as store:
                while time.time() < until:
                    n += 1
                    store._handle.writer.meet()  # as one who has met others: puts that wait are made together
                    store.put(f"{name}/{n}", f"{name} {n}", metadata={"n": n})
                    print(f"{name}/{n}", file=out, flush=True)
        except HoldfastError:
            time.sleep(0.2)
"""


READER = """
import sys, time, holdfast
from holdfast.errors import HoldfastError
url, folder, seen, until = *sys.argv[1:4], float(sys.argv[4])
with open(seen, "a") as out:
    while time.time() < until:
        try:
            with holdfast.open(url, blobs=folder, read_only=True) as store:
                while time.time() < until:
                    head = store._handle.index.chain.head()
                    if head is not None:
                        print(head.next_seq, head.hash.hex(), file=out, flush=True)
                    time.sleep(0.005)
        except HoldfastError:
            time.sleep(0.1)
"""
NAMES = ("ann", "bob", "cid", "dot")


def test_a_server_that_is_killed_loses_nothing_that_was_acknowledged(
    tmp_path: Path, tally: Callable[..., None]
) -> None:
    source, folder = str(Path(holdfast.__file__).parents[1]), tmp_path / "store"
    with contextlib.ExitStack() as held:
        try:
            served = held.enter_context(servers.running(durable=True))
        except servers.NoServerError as error:
            pytest.skip(f"no PostgreSQL server: {error}")
        url = f"{served.url}{'&' if '?' in served.url else '?'}schema=killed"
        holdfast.create(url, blobs=folder).close()
        until = time.time() + (PAUSE_S + 0.5) * ROUNDS
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, url, folder, name, tmp_path / name, str(until)],
                env={**os.environ, "PYTHONPATH": source},
            )
            for name in NAMES
        ]
        reader = [sys.executable, "-c", READER, url, folder, tmp_path / "seen", str(until)]
        writers.append(subprocess.Popen(reader, env={**os.environ, "PYTHONPATH": source}))
        for _ in range(ROUNDS):
            time.sleep(PAUSE_S)
            served.kill(signal.SIGKILL)
            served.start()
        assert [one.wait(timeout=120) for one in writers] == [0] * len(writers)
        acknowledged = [path for name in NAMES for path in (tmp_path / name).read_text().split()]
        with holdfast.open(url, blobs=folder) as store:
            there = {one.path for one in store.find()}
            found = store.fsck()
            proven = store.audit.verify().proven
            ends, next_seq = set(), 1
            for transaction in from_index(store._handle.index):
                assert transaction.entry.first == next_seq  # no gap
                next_seq = transaction.head.next_seq
                ends.add(f"{next_seq} {transaction.head.hash.hex()}")
    seen = [line for line in (tmp_path / "seen").read_text().splitlines() if line.count(" ") == 1]
    lost = sorted(set(acknowledged) - there)
    tally("a killed PostgreSQL server", tried=ROUNDS, of="kills", lost=len(lost), note=f"{len(acknowledged)} puts")

    assert lost == []
    assert set(seen) <= ends
    assert seen
    assert {one.code for one in found.findings} <= {"blob-unreferenced"}  # the rest of an interrupted put
    assert proven
    assert len(acknowledged) > ROUNDS
