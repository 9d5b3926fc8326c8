"""What does one durable put of 2 KB cost, beside disk-objectstore's, and what do eight writers get done together?

    python tools/bench/puts.py FOLDER [--puts 1000] [--writers 8] [--rounds 3]

One put of ours, one `add_object` of disk-objectstore (bytes only, no metadata, no history), in turn in one process, so
that whatever else the machine does meets both alike; and the floor: an append to a file and a COMMIT of one row. FOLDER
must lie on the disk in question; what is made in it is removed. Prints one JSON line a measurement: p10, p50, p90, p99
and the most of wall and CPU time of the calling thread in ms; how many statements SQLite ran for a put, how many bytes
its log grew by, and how many syncs of files were asked for. Then, in rounds, puts a second, CPU ms a put, looks at
the lock and COMMITs (each one sync) a put by one writer and by several at once, each in a process of its own, and the
middle of their ratios.
Without disk-objectstore only ours is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdfast
from holdfast import Store
from holdfast.disk import Disk
from holdfast.engine.locks import FileLock
from holdfast.index.sqlite import SqliteIndex

WARM = 100
Put = Callable[[int, bytes], object]


def taken(put: Put, number: int, content: bytes) -> tuple[float, float]:
    """(wall, CPU) seconds of one put."""
    cpu, wall = time.thread_time(), time.perf_counter()
    put(number, content)
    return time.perf_counter() - wall, time.thread_time() - cpu


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    found = {}
    for place, name in enumerate(("wall", "cpu")):
        one = sorted(time[place] for time in times)
        found |= {f"{name}_p{part}_ms": one[len(one) * part // 100] * 1e3 for part in (10, 50, 90, 99)}
        found[f"{name}_max_ms"] = one[-1] * 1e3
    return {key: round(value, 3) for key, value in found.items()}


def peer(folder: Path) -> Put | None:
    """disk-objectstore's bare `add_object`."""
    if importlib.util.find_spec("disk_objectstore") is None:
        return None
    from disk_objectstore import Container

    container = Container(folder)
    container.init_container(clear=True)
    return lambda _, content: container.add_object(content)


def floor(folder: Path) -> Put:
    """Bytes appended to a file, and a row that says where, committed durably: the pack need not be synced by itself."""
    connection = sqlite3.connect(folder / "floor.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE kept (n INTEGER PRIMARY KEY, bytes BLOB)")
    file = (folder / "floor.bin").open("ab", buffering=0)

    def append(number: int, content: bytes) -> None:
        file.write(content)
        connection.execute("INSERT INTO kept VALUES (?, ?)", (number, content))

    return append


def in_turn(folder: Path, puts: int) -> None:
    rnd = random.Random(1)
    theirs = peer(folder / "objects")
    with holdfast.create(folder / "store") as store:
        sides: dict[str, Put] = {"holdfast": lambda n, content: store.put(f"puts/{n}", content)}
        sides |= {"disk-objectstore": theirs} if theirs else {}
        sides["append + COMMIT"] = floor(folder)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for number in range(WARM + puts):
            content = rnd.randbytes(1_000).hex().encode()
            for name, put in sides.items():
                one = taken(put, number, content)
                times[name] += [one] if number >= WARM else []
        for name in sides:
            print(
                json.dumps({"side": name, **summary(times[name]), **(asked(store, rnd) if name == "holdfast" else {})})
            )


def asked(store: Store, rnd: random.Random) -> dict[str, int]:
    """What one more put asks of SQLite and of the disk."""
    said: list[str] = []
    synced: list[str] = []
    log = Path(store.path, "index.sqlite3-wal")
    fsync = Disk.fsync
    connection = store._handle.index.database.raw()  # noqa: SLF001 - what is measured is what it runs
    before = log.stat().st_size
    connection.set_trace_callback(said.append)
    Disk.fsync = lambda self, fd, path: (synced.append(path), fsync(self, fd, path))[1]  # type: ignore[method-assign]
    try:
        store.put("one/more", rnd.randbytes(1_000).hex())
        store.put("one/and another", rnd.randbytes(1_000).hex())
        said.clear()
        synced.clear()
        before = log.stat().st_size
        store.put("one/that counts", rnd.randbytes(1_000).hex())
    finally:
        Disk.fsync = fsync  # type: ignore[method-assign]
        connection.set_trace_callback(None)
    return {
        "statements": len(said),
        "log_bytes": log.stat().st_size - before,
        "syncs": len(synced) + sum(one.startswith("COMMIT") for one in said),
    }


def writer(root: Path, number: int, puts: int, done: Any, start: Any) -> None:
    rnd, looks, look = random.Random(number), [0], FileLock.acquire_now

    def counted(self: FileLock, *, shared: bool) -> bool:
        looks[0] += self.path.endswith("writer")
        return look(self, shared=shared)

    FileLock.acquire_now = counted  # type: ignore[method-assign]
    commits, commit = [0], SqliteIndex.commit

    def committed(self: SqliteIndex) -> None:
        commits[0] += 1
        commit(self)

    SqliteIndex.commit = committed  # type: ignore[method-assign]
    with holdfast.open(root) as store:
        store.put(f"{number}/first", b"")
        start.wait()
        looks[0] = commits[0] = 0
        cpu, wall = time.process_time(), time.perf_counter()
        for n in range(puts):
            store.put(f"{number}/{n}", rnd.randbytes(1_000).hex())
        done.put((time.perf_counter() - wall, time.process_time() - cpu, looks[0], commits[0]))


def together(folder: Path, writers: int, puts: int) -> float:
    """Puts a second."""
    root, done, start = folder / f"by-{writers}", multiprocessing.Queue(), multiprocessing.Barrier(writers)
    holdfast.create(root).close()
    each = [
        multiprocessing.Process(target=writer, args=(root, n, puts // writers, done, start)) for n in range(writers)
    ]
    for one in each:
        one.start()
    found = [done.get() for _ in each]
    for one in each:
        one.join()
    shutil.rmtree(root)
    many = puts // writers * writers
    rate, cpu = many / max(one[0] for one in found), sum(one[1] for one in found) / many
    looks, commits = (sum(one[place] for one in found) / many for place in (2, 3))
    said = {
        "writers": writers,
        "puts_per_s": round(rate),
        "cpu_ms_a_put": round(cpu * 1e3, 3),
        "looks": round(looks, 1),
        "commits_a_put": round(commits, 2),
    }
    print(json.dumps(said))
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--puts", type=int, default=1_000)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    work = chosen.folder / "puts"
    work.mkdir(parents=True)
    try:
        in_turn(work, chosen.puts)
        ratios = []
        for _ in range(chosen.rounds):
            alone = together(work, 1, chosen.puts)
            ratios.append(together(work, chosen.writers, chosen.puts) / alone)
        print(json.dumps({"writers together": chosen.writers, "times one": round(sorted(ratios)[len(ratios) // 2], 2)}))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
