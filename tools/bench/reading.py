"""How fast is reading back? Bodies of steps, each in a process of its own, run by bench.py:

    python tools/bench/reading.py one STORE | bulk STORE | paths STORE | records STORE | large STORE

Refs are gathered before the clock starts, as a peer is given its object ids; every content is checked against its
digest. `bulk` gives revisions, `paths` paths: the second includes finding what lies at a path now. The last line is a
JSON object: seconds, count, and SQL statements for each thing read.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdfast
from holdfast import Store
from holdfast.values.records import Artifact


def timed(store: Store, work: Callable[[], int]) -> None:
    """Run and say what it took. The statements are counted in a second run: counting costs time."""
    began, cpu = time.perf_counter(), time.process_time()
    count = work()
    took = {"seconds": time.perf_counter() - began, "cpu_s": time.process_time() - cpu, "count": count}
    asked: list[str] = []
    store._handle.index.database.raw().set_trace_callback(asked.append)  # noqa: SLF001 - there is no other way to see
    work()
    print(json.dumps({**took, "statements_each": round(len(asked) / max(count, 1), 3)}))


def shuffled(store: Store) -> list[Artifact]:
    """Every artifact, in an order that has nothing to do with where it lies."""
    found = list(store.artifacts.find(type="file"))
    random.Random(1).shuffle(found)
    return found


def one(store: Store) -> None:
    """Contents by path, one by one."""
    paths = [artifact.path_bytes for artifact in shuffled(store)]
    timed(store, lambda: sum(store.read(path) is not None for path in paths))


def bulk(store: Store) -> None:
    """Contents of revisions, in the order that the store likes."""
    revisions = [artifact.revision for artifact in shuffled(store)]
    timed(store, lambda: sum(1 for _ in store.artifacts.read_many(revisions)))


def paths(store: Store) -> None:
    """The same by path."""
    named = [artifact.path_bytes for artifact in shuffled(store)]
    timed(store, lambda: sum(1 for _ in store.artifacts.read_many(named)))


def records(store: Store) -> None:
    """Records by path, in order."""
    named = [artifact.path_bytes for artifact in shuffled(store)]
    timed(store, lambda: sum(1 for _ in store.artifacts.get_many(named)))


def large(store: Store) -> None:
    """The big file whole, verified, in bounded memory."""
    with Path("/dev/null").open("wb") as nowhere:
        timed(store, lambda: store.artifacts.copy_to("large.bin", nowhere))


def main() -> None:
    """The command line."""
    body: Any = globals()[sys.argv[1]]
    with holdfast.open(sys.argv[2], read_only=True) as store:
        body(store)


if __name__ == "__main__":
    main()
