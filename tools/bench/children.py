"""Bodies of measured steps that need Python: ours through the public API, and disk-objectstore's. Not run by hand.

Each prints one JSON object: `seconds` by its own clock (no interpreter start), `count`, and what else it saw.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PUT_BYTES = 2_000
PUTS = 1_000
WRITERS = 8


def _say(**facts: Any) -> None:
    print(json.dumps(facts))


def _percentiles(times: list[float]) -> dict[str, float]:
    times = sorted(times)
    return {"p50_ms": times[len(times) // 2] * 1e3, "p99_ms": times[int(len(times) * 0.99)] * 1e3}


# -- ours ------------------------------------------------------------------------------------------------------------


def read_small(root: str) -> None:
    """Every artifact's bytes in random order, one by one, each verified."""
    import holdfast

    with holdfast.open(root, read_only=True) as store:
        found = [artifact.id for artifact in store.artifacts.find(type="file")]
        random.Random(1).shuffle(found)
        began, cpu = time.perf_counter(), time.process_time()
        for one in found:
            store.artifacts.read("id:" + one)
        _say(seconds=time.perf_counter() - began, cpu_s=time.process_time() - cpu, count=len(found))


def read_large(root: str) -> None:
    """The big file whole, verified, a megabyte at a time."""
    import holdfast

    with holdfast.open(root, read_only=True) as store:
        began = time.perf_counter()
        with store.artifacts.open("large.bin") as file:
            count = 0
            while data := file.read(1 << 20):
                count += len(data)
        _say(seconds=time.perf_counter() - began, count=count)


def read_pieces(root: str) -> None:
    """A thousand random reads of 4 KB in the big file, warm."""
    import holdfast

    with holdfast.open(root, read_only=True) as store, store.artifacts.open("large.bin") as file:
        size = file.seek(0, os.SEEK_END)
        rnd = random.Random(2)
        places = [rnd.randrange(size - 4096) for _ in range(1_000)]
        for _ in range(2):  # the first round warms the cache of the system
            began = time.perf_counter()
            for place in places:
                file.seek(place)
                file.read(4096)
            taken = time.perf_counter() - began
        _say(seconds=taken, count=len(places))


def hash_large(file: str) -> None:
    """The floor under every verified read of a big file: its digest alone, the bytes in memory already."""
    piece = 1 << 20
    with open(file, "rb", buffering=0) as source:
        some = [source.read(piece) for _ in range(64)]
        size = os.fstat(source.fileno()).st_size
    total = hashlib.sha256()
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(-(-size // piece)):
        total.update(some[number % len(some)])
    _say(seconds=time.perf_counter() - began, cpu_s=time.process_time() - cpu, count=size)


def hash_small(tree: str) -> None:
    """The floor under reading many small ones, each verified: the digests alone, contents in memory already."""
    contents = [path.read_bytes() for path in Path(tree).rglob("*") if path.is_file()]
    began, cpu = time.perf_counter(), time.process_time()
    for content in contents:
        hashlib.sha256(content).hexdigest()
    _say(seconds=time.perf_counter() - began, cpu_s=time.process_time() - cpu, count=len(contents))


def kept(root: str) -> None:
    """What a store has on disk, with its journal as small as it will be once sealed; without what is only a cache."""
    from repacking import sizes

    _say(bytes=sizes(Path(root))["blobs, packs, index and sealed journal"])


def put(root: str, names: str = "a", start: Callable[[], object] = int) -> None:
    """Durable puts of 2 KB, one after the other, each with its revision, rows, chain and journal."""
    import holdfast

    rnd = random.Random(names)
    with holdfast.open(root) as store:
        times = []
        start()
        for number in range(PUTS):
            content = rnd.randbytes(PUT_BYTES // 2).hex().encode()
            began = time.perf_counter()
            store.artifacts.put(f"{names}/{number}", content)
            times.append(time.perf_counter() - began)
        _say(seconds=sum(times), count=PUTS, **_percentiles(times))


def put_many(root: str, tree: str) -> None:
    """All files of a tree, read by the caller, through `put_many`."""
    import holdfast

    files = sorted(path for path in Path(tree).rglob("*") if path.is_file())
    with holdfast.open(root) as store:
        began = time.perf_counter()
        store.put_many((str(path.relative_to(tree)), path.read_bytes()) for path in files)
        _say(seconds=time.perf_counter() - began, count=len(files))


def put_eight(root: str) -> None:
    """The same by eight processes at once; `count` is all of theirs."""
    eight(_quiet_put, root)


def eight(body: Callable[..., object], where: str) -> None:
    """`body(where, number, start)` in eight processes. Time runs from when all have called `start`, as it does for one
    alone: none has Python to begin, or the store to open."""
    ready = multiprocessing.Barrier(WRITERS + 1)
    workers = [multiprocessing.Process(target=body, args=(where, n, ready.wait)) for n in range(WRITERS)]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    _say(seconds=time.perf_counter() - began, count=WRITERS * PUTS)


def _quiet_put(root: str, number: int, start: Callable[[], object]) -> None:
    sys.stdout = open(os.devnull, "w", encoding="ascii")  # noqa: SIM115 — for the life of this process
    put(root, f"w{number}", start)


def put_floor(folder: str) -> None:
    """What no durable put with a row can do without: 2 KB appended to a file, and a row committed by SQLite, synced."""
    from puts import floor

    Path(folder).mkdir()
    append, rnd, times = floor(Path(folder)), random.Random("a"), list[float]()
    for number in range(PUTS):
        content = rnd.randbytes(PUT_BYTES // 2).hex().encode()
        began = time.perf_counter()
        append(number, content)
        times.append(time.perf_counter() - began)
    _say(seconds=sum(times), count=PUTS, **_percentiles(times))


def make_store(root: str) -> None:
    """An empty store."""
    import holdfast

    holdfast.create(root).close()


# -- peers -----------------------------------------------------------------------------------------------------------


def git_read(repository: str) -> None:
    """Every blob of HEAD in random order through `git cat-file --batch`."""
    listed = subprocess.run(
        ["git", "--git-dir", repository, "ls-tree", "-r", "HEAD"], capture_output=True, text=True, check=True
    )
    names = [line.split()[2] for line in listed.stdout.splitlines()]
    random.Random(1).shuffle(names)
    began = time.perf_counter()
    batch = subprocess.Popen(
        ["git", "--git-dir", repository, "cat-file", "--batch", "--buffer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert batch.stdin is not None
    assert batch.stdout is not None
    ask, answers = batch.stdin, batch.stdout

    def feed() -> None:
        ask.write(("\n".join(names) + "\n").encode())
        ask.close()

    threading.Thread(target=feed).start()
    for _ in names:
        length = int(answers.readline().split()[2])
        answers.read(length + 1)
    batch.wait()
    _say(seconds=time.perf_counter() - began, count=len(names))


def objects_add(container: str, tree: str) -> None:
    """disk-objectstore: all files into its packs, uncompressed (its fastest way)."""
    from disk_objectstore import Container

    store = Container(container)
    store.init_container(clear=True)
    files = sorted(path for path in Path(tree).rglob("*") if path.is_file())
    began = time.perf_counter()
    for start in range(0, len(files), 10_000):
        store.add_objects_to_pack([path.read_bytes() for path in files[start : start + 10_000]], compress=False)
    _say(seconds=time.perf_counter() - began, count=len(files))


def objects_read(container: str, *, bulk: bool = False) -> None:
    """disk-objectstore: all objects in random order."""
    from disk_objectstore import Container

    store = Container(container)
    keys = list(store.list_all_objects())
    random.Random(1).shuffle(keys)
    began = time.perf_counter()
    if bulk:
        for start in range(0, len(keys), 10_000):
            store.get_objects_content(keys[start : start + 10_000])
    else:
        for key in keys:
            store.get_object_content(key)
    _say(seconds=time.perf_counter() - began, count=len(keys))


def objects_read_bulk(container: str) -> None:
    """disk-objectstore: all objects in random order, ten thousand a call."""
    objects_read(container, bulk=True)


def objects_put(container: str) -> None:
    """disk-objectstore: `add_object` of 2 KB (bytes alone: no revision, no metadata)."""
    from disk_objectstore import Container

    store = Container(container)
    store.init_container(clear=True)
    rnd = random.Random("a")
    times = []
    for _ in range(PUTS):
        content = rnd.randbytes(PUT_BYTES // 2).hex().encode()
        began = time.perf_counter()
        store.add_object(content)
        times.append(time.perf_counter() - began)
    _say(seconds=sum(times), count=PUTS, **_percentiles(times))


if __name__ == "__main__":
    body: Callable[..., None] = globals()[sys.argv[1]]
    body(*sys.argv[2:])
