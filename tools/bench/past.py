"""What does it cost to look back? `store.at` of a store of many artifacts, near its end and far from it.

    python tools/bench/past.py FOLDER [--artifacts 50000] [--rounds 3]

FOLDER is filled and not removed. The store takes batches of 5,000 artifacts with metadata and tags; then 1 in 50 of
them is changed. Prints one JSON line for each state: how many changes ago it was, CPU seconds of taking the rows of now
back, and of applying all changes up to then anew (medians of the rounds), and the bytes of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
import holdfast
from holdfast import Store
from holdfast.engine import past

BATCH = 5_000


def fill(path: Path, artifacts: int) -> None:
    """A store with a history."""
    with holdfast.create(path, actor="bench") as store:
        for batch in range(artifacts // BATCH):
            store.put_many(
                (f"c{batch}/d{n % 20}/{n}.txt", b"content %d %d" % (batch, n),
                 {"metadata": {"n": n, "by": {"name": f"a{n % 7}"}}, "tags": ["x"] if n % 3 else []})
                for n in range(BATCH)
            )  # fmt: skip
        found = [one.path for number, one in enumerate(store.find()) if number % 50 == 0]
        for path_of in found:
            store.put(path_of, "changed " + path_of)


def measured(store: Store, seq: int, path: str, *, rewinds: bool) -> tuple[float, int] | None:
    """CPU seconds of one way to the rows after change `seq`, and how many bytes they take."""
    began = time.process_time()
    handle = store._handle  # noqa: SLF001
    index = past.rewound_at(handle, seq, path, most=1 << 62) if rewinds else past.replayed_at(handle, seq, path)
    if index is None:
        return None
    took = time.process_time() - began
    index.close()
    size = os.path.getsize(path)
    os.unlink(path)
    return took, size


def main() -> None:
    """Both ways, in turn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--artifacts", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    store_path = said.folder / "store"
    if not store_path.exists():
        said.folder.mkdir(parents=True, exist_ok=True)
        fill(store_path, said.artifacts)
    with holdfast.open(store_path, read_only=True) as store, tempfile.TemporaryDirectory(dir=said.folder) as place:
        head = store.changes.head().next_seq - 1
        for ago in (0, 100, 1_000, head // 4, head // 2, head * 9 // 10):
            seq = past.seq_of(store._handle, head - ago)  # noqa: SLF001
            found: dict[bool, list[tuple[float, int]]] = {True: [], False: []}
            for _ in range(said.rounds):
                for way, results in found.items():
                    result = measured(store, seq, os.path.join(place, "rows"), rewinds=way)
                    if result is not None:
                        results.append(result)
            told = {"changes": head, "ago": head - seq}
            for way, name in ((True, "taken back"), (False, "applied anew")):
                told[f"{name}, CPU s"] = round(median(took for took, _ in found[way]), 3) if found[way] else None
            told["bytes"] = found[False][0][1]
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
