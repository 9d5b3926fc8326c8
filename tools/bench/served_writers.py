"""How much faster several processes write to one store together than one does alone, with its index on a server.

    python tools/bench/served_writers.py FOLDER [--puts 400] [--writers 1 2 8] [--runs 3] [--delay 0]

A server of its own is started, with `fsync` on. `one folder`: all write to one store, whose head row they queue for;
`a folder each`: each to a store of its own on the same server, which is what the server could do. `--delay`: the
server's `commit_delay` in microseconds. Printed: puts a second of all together, the best of the runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg

import holdfast
from holdfast.testing import postgres

PUTTER = """
import sys, holdfast
url, folder, name, puts = *sys.argv[1:4], int(sys.argv[4])
with holdfast.open(url, blobs=folder, actor=name, lock_wait_s=600) as store:
    store.put(f"{name}/first", name)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(puts):
        store.put(f"{name}/{n}", f"{name} {n}", metadata={"n": n})
"""


def rate(url: str, folder: Path, writers: int, puts: int, *, apart: bool) -> float:
    """Puts a second of so many processes together, each with its share of them."""
    shutil.rmtree(folder, ignore_errors=True)
    places = []
    for n in range(writers if apart else 1):
        place = f"{url}&schema=bench_{n}", str(folder / str(n))
        with psycopg.connect(url, autocommit=True) as link:
            link.execute(f"DROP SCHEMA IF EXISTS bench_{n} CASCADE".encode())
        holdfast.create(place[0], blobs=place[1]).close()
        places.append(place)
    share = puts // writers
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PUTTER, *places[n % len(places)], f"w{n}", str(share)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ},
        )
        for n in range(writers)
    ]  # fmt: skip
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    began = time.monotonic()
    for one in started:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert all(one.wait() == 0 for one in started)
    return share * writers / (time.monotonic() - began)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--puts", type=int, default=400)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--delay", type=int, default=0)
    given = parser.parse_args()
    with postgres.running(durable=True) as server:
        url = server.url
        with psycopg.connect(url, autocommit=True) as link:
            link.execute(f"ALTER SYSTEM SET commit_delay = {given.delay}".encode())
            link.execute("SELECT pg_reload_conf()")
        print("| writers | one folder | a folder each |\n|---:|---:|---:|")
        for writers in given.writers:
            runs = [
                [rate(url, given.folder / "bench", writers, given.puts, apart=apart) for apart in (False, True)]
                for _ in range(given.runs)
            ]
            print(f"| {writers} | {max(one[0] for one in runs):.0f} | {max(one[1] for one in runs):.0f} |", flush=True)
    shutil.rmtree(given.folder / "bench", ignore_errors=True)


if __name__ == "__main__":
    main()
