"""A server that is killed, again and again, while two processes write: what was acknowledged is there, and whole."""

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
from holdfast.testing import postgres as servers

pytestmark = [pytest.mark.postgres, pytest.mark.soak]
ROUNDS = 8

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
                    store.put(f"{name}/{n}", f"{name} {n}", metadata={"n": n})
                    print(f"{name}/{n}", file=out, flush=True)
        except HoldfastError:
            time.sleep(0.2)
"""


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
        until = time.time() + 2.0 * ROUNDS
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, url, folder, name, tmp_path / name, str(until)],
                env={**os.environ, "PYTHONPATH": source},
            )
            for name in ("ann", "bob")
        ]
        for _ in range(ROUNDS):
            time.sleep(1.5)
            served.kill(signal.SIGKILL)
            served.start()
        assert [one.wait(timeout=120) for one in writers] == [0, 0]
        acknowledged = [path for name in ("ann", "bob") for path in (tmp_path / name).read_text().split()]
        with holdfast.open(url, blobs=folder) as store:
            there = {one.path for one in store.find()}
            found = store.fsck()
            proven = store.audit.verify().proven
    lost = sorted(set(acknowledged) - there)
    tally("a killed PostgreSQL server", tried=ROUNDS, of="kills", lost=len(lost), note=f"{len(acknowledged)} puts")

    assert lost == []
    assert {one.code for one in found.findings} <= {"blob-unreferenced"}  # the rest of an interrupted put
    assert proven
    assert len(acknowledged) > ROUNDS
