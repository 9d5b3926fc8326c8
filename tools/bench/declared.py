"""What does a declared index on metadata save, and what does it cost? Prints the table of docs/queries.md:

    python tools/bench/declared.py [ARTIFACTS]

Rows are counted, not timed: how many rows of metadata and index SQLite visits is what its virtual machine says in steps
(a progress handler called every 100 instructions); records are those that Python judges. CPU seconds are of the process.
"""

from __future__ import annotations

import random
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdfast
from holdfast import Store, field

STEP = 100
FIELDS = ("metadata.author", "metadata.score")


def fill(store: Store, count: int) -> None:
    """Artifacts with an author of 2,000, a score between 0 and 1, and one of five states."""
    luck = random.Random(4)
    store.put_many(
        (f"c{n // 1000}/{n}", f"{n}", {"metadata": {
            "author": f"user{luck.randrange(2000)}", "score": luck.random(), "state": luck.choice("abcde"),
        }}) for n in range(count)
    )  # fmt: skip


class Meter:
    """Counts what one call does: instructions of SQLite, statements, CPU seconds."""

    def __init__(self, store: Store) -> None:
        self._connection = store._handle.index.database.raw()  # noqa: SLF001

    def of(self, call: Callable[[], Any]) -> tuple[int, int, float, Any]:
        """(instructions, statements, CPU seconds, result)."""
        counts = [0, 0]

        def step() -> int:
            counts[0] += STEP
            return 0

        def statement(_: str) -> None:
            counts[1] += 1

        self._connection.set_progress_handler(step, STEP)
        self._connection.set_trace_callback(statement)
        began = _cpu()
        found = call()
        took = _cpu() - began
        self._connection.set_progress_handler(None, 0)
        self._connection.set_trace_callback(None)
        return counts[0], counts[1], took, found


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def questions(store: Store) -> dict[str, Callable[[], int]]:
    """What is asked, by how it is written."""
    author, score = field("metadata.author"), field("metadata.score")
    asked: dict[str, tuple[Any, dict[str, Any]]] = {
        '`author == "user7"`': (author == "user7", {}),
        '`author == "user7"`, newest 10': (author == "user7", {"order": "-created", "limit": 10}),
        "`(score >= 0) & (score < 0.001)`, by name": ((score < 0.001) & (score >= 0), {"order": "name"}),
        "`(score >= 0.5) & (score < 0.501)`": ((score >= 0.5) & (score < 0.501), {}),
        "`score > 0.1`, first 50": (score > 0.1, {"limit": 50}),
        '`author == "nobody"`': (author == "nobody", {}),
    }
    return {said: lambda w=where, m=more: len(list(store.find(w, **m))) for said, (where, more) in asked.items()}  # type: ignore[misc]


def main(count: int) -> None:
    """Fill, ask, declare, ask again, put."""
    folder = tempfile.mkdtemp(prefix="holdfast-declared-")
    try:
        with holdfast.create(Path(folder, "store")) as store:
            fill(store, count)
            store._handle.index.checkpoint(force=True)  # noqa: SLF001
            size = Path(folder, "store", "index.sqlite3").stat().st_size
            before = _asked(store)
            puts = _puts(store, "before")
            made = [Meter(store).of(lambda one=one: store.indexes.declare(one)) for one in FIELDS]  # type: ignore[misc]
            store._handle.index.checkpoint(force=True)  # noqa: SLF001
            larger = Path(folder, "store", "index.sqlite3").stat().st_size - size
            after = _asked(store)
            puts_after = _puts(store, "after")
        print(f"{count:,} artifacts, each with an author of 2,000 and a score; both fields indexed.\n")
        print("| asked | found | SQLite instructions without | with | CPU ms without | with |")
        print("|---|---|---|---|---|---|")
        for said, (steps, _, took, found) in before.items():
            steps_after, _, took_after, found_after = after[said]
            assert found == found_after
            print(f"| {said} | {found:,} | {steps:,} | {steps_after:,} | {took * 1e3:.1f} | {took_after * 1e3:.1f} |")
        print(
            f"\nDeclaring took {sum(one[2] for one in made) / len(made):.2f} s of CPU for each index, and {larger / count / len(made):.0f} bytes for each artifact. ",
            end="",
        )
        print(f"A put of a new artifact takes {puts[0]:.1f} statements without and {puts_after[0]:.1f} with both.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _asked(store: Store) -> dict[str, tuple[int, int, float, Any]]:
    found = {}
    for said, call in questions(store).items():
        call()
        store.put("elsewhere/touched", random.randbytes(8))  # what is remembered of an answer does not count
        found[said] = Meter(store).of(call)
    return found


def _puts(store: Store, where: str) -> tuple[float, float]:
    def put() -> None:
        for n in range(200):
            store.put(f"{where}/{n}", f"{where} {n}", metadata={"author": f"late{n}", "score": -1 - n})

    _, statements, took, _ = Meter(store).of(put)
    return statements / 200, took / 200


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
