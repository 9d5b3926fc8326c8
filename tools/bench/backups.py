"""Measures a backup against `cp -a` and sync of the same store: CPU seconds (user and system, children too) and bytes.

    python tools/bench/backups.py FOLDER [--artifacts 50000] [--bytes 2000] [--loose] [--runs 5]

FOLDER should be on a local disk. `--loose`: each content in a file of its own, without packs. The first backup copies
and proves everything, the second finds nothing new, the third has 100 new artifacts to take in; the median of the runs
is shown. Wall times are shown too, and say more of the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import holdfast


def cpu_s() -> float:
    """User and system time of this process and of its ended children."""
    return sum(os.times()[:4])


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """(CPU seconds, wall seconds) of a call."""
    before, began = cpu_s(), time.monotonic()
    work()
    return cpu_s() - before, time.monotonic() - began


def make(root: Path, artifacts: int, size: int) -> None:
    """A store of artifacts of about `size` bytes, half of which compress well, added in batches."""
    rnd = random.Random(7)
    words = [rnd.randbytes(4).hex() for _ in range(4000)]
    with holdfast.create(root) as store:
        store.put_many(
            (f"d{number % 97}/{number}", rnd.randbytes(size // 2) + " ".join(rnd.choices(words, k=size // 18)).encode())
            for number in range(artifacts)
        )


def command(*words: str) -> Callable[[], object]:
    """A program, run to its end."""
    return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def rounds(folder: Path, artifacts: int, size: int, runs: int) -> None:
    """Measure and print."""
    store, copy, copies = folder / "store", folder / "copy", folder / "backups"
    make(store, artifacts, size)
    taken: dict[str, list[tuple[float, float]]] = {}
    program = [sys.executable, "-m", "holdfast"]
    own = command(*program, "-C", str(store), "-q", "backup", str(copies))
    inside: list[tuple[float, float]] = []
    for number in range(runs):
        for old in (copy, copies):
            shutil.rmtree(old, ignore_errors=True)
        plain = command("sh", "-c", f"cp -a {store} {copy} && sync -f {copy}")
        taken.setdefault("cp -a and sync", []).append(measured(plain))
        taken.setdefault("backup, the first", []).append(measured(own))
        taken.setdefault("backup, nothing new", []).append(measured(own))
        with holdfast.open(store) as opened:
            opened.put_many((f"more/{number}-{more}", os.urandom(size)) for more in range(100))
        taken.setdefault("backup, 100 new", []).append(measured(own))
        verify = command(*program, "-q", "backup", "verify", str(copies))
        taken.setdefault("backup verify", []).append(measured(verify))
        shutil.rmtree(copies)
        with holdfast.open(store) as opened:
            inside.append(measured(lambda opened=opened: opened.backup(copies)))  # type: ignore[misc]
    taken["backup, the first, without starting Python"] = inside
    start = [measured(command(*program, "version")) for _ in range(runs)]
    taken["starting Python and the command"] = start
    base = statistics.median(cpu for cpu, _ in taken["cp -a and sync"])
    for name, found in taken.items():
        cpu, wall = (statistics.median(one[part] for one in found) for part in (0, 1))
        print(f"{name:45} {cpu:7.2f} s CPU  {cpu / base:5.2f} x  {wall:7.2f} s wall", flush=True)
    size_of = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    print(f"{artifacts} artifacts of about {size} bytes; the store has {size_of} bytes")


def main() -> None:
    """Read the command line, measure, clean up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--artifacts", type=int, default=50_000)
    parser.add_argument("--bytes", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--loose", action="store_true")
    said = parser.parse_args()
    if said.loose:
        os.environ["HOLDFAST_PACK_UP_TO"] = "0"
    said.folder.mkdir(parents=True, exist_ok=True)
    place = said.folder / f"backups-{os.getpid()}"
    place.mkdir()
    try:
        rounds(place, said.artifacts, said.bytes, said.runs)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
