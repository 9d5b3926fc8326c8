"""What do packs bring? The same work with packs and with a file for each content, in turn, in processes of their own.

    python tools/bench/packs.py FOLDER [--files 50000] [--puts 1000] [--up-to 0 4096 65536]

Work: add a tree of small files (log-normal, median 2 KB) to a new store, put single contents of 2 KB one after the
other, read everything back in random order, run fsck, derive the index anew. FOLDER must lie on the disk in question;
it is filled and not removed. Prints one JSON line for each run: wall and CPU seconds, bytes in files by kind, peak
memory in MiB, and how busy other processes kept the machine (1.0 = one core), because times beside load mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import quantiles

WORDS = 4_000
SEED = 20261121


def corpus(folder: Path, files: int) -> None:
    """The same tree for the same number of files, whoever makes it."""
    if (folder / "made").exists():
        return
    rnd = random.Random(SEED)
    words = ["".join(rnd.choices("aeinorstlu", k=rnd.randint(2, 9))) for _ in range(WORDS)]
    weights = [1 / (n + 2) for n in range(WORDS)]
    for number in range(files):
        size = int(min(max(rnd.lognormvariate(7.6, 0.9), 60), 200_000))
        text = " ".join(rnd.choices(words, weights, k=size // 6))
        content = json.dumps({"id": number, "at": rnd.random(), "text": text, "tags": rnd.choices(words, k=3)})
        path = folder / f"{number % 61:02d}" / f"{number // 61 % 37:02d}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "made").touch()


def child(work: Path, tree: Path, puts: int) -> None:
    """One run, in this process."""
    import holdfast

    shutil.rmtree(work, ignore_errors=True)
    found: dict[str, object] = {"up_to": os.environ["HOLDFAST_PACK_UP_TO"]}
    with holdfast.create(work) as store:
        found["add"] = timed(lambda: store.add(tree))
        every = [artifact.digest for artifact in store.find()]
        random.Random(1).shuffle(every)
        blobs = store._handle.blobs  # noqa: SLF001 - what is measured is the blob store alone
        found["read"] = timed(lambda: [blobs.read(digest) for digest in every])
        rnd, took = random.Random(2), []
        for number in range(puts):
            content = rnd.randbytes(1000).hex()
            start = time.perf_counter()
            store.put(f"puts/{number % 100}/{number}", content)
            took.append(1000 * (time.perf_counter() - start))
    cuts = quantiles(took, n=100)
    found["put_ms"] = {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}
    found["bytes"] = {kind: size_of(work / kind) for kind in ("blobs", "packs", "index.sqlite3", "journal")}
    found["files"] = sum(1 for path in work.rglob("*") if path.is_file())
    found["fsck"] = timed(lambda: holdfast.fsck(work))
    found["rebuild"] = timed(lambda: holdfast.rebuild(work))
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(found))


def timed(work: object) -> dict[str, float]:
    wall, cpu, others = time.perf_counter(), time.process_time(), busy()
    work()  # type: ignore[operator]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"s": round(wall, 2), "cpu_s": round(cpu, 2), "others": round((busy() - others - cpu) / wall, 2)}


def busy() -> float:
    """Seconds that all cores of the machine have worked."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return (sum(map(int, fields[:8])) - int(fields[3]) - int(fields[4])) / os.sysconf("SC_CLK_TCK")


def size_of(path: Path) -> int:
    """Bytes in a file, or in the files of a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--puts", type=int, default=1_000)
    parser.add_argument("--up-to", type=int, nargs="*", default=[0, 65536])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--child", action="store_true")
    chosen = parser.parse_args()
    tree = chosen.folder / f"tree-{chosen.files}"
    if chosen.child:
        child(chosen.folder / "store", tree, chosen.puts)
        return
    tree.mkdir(parents=True, exist_ok=True)
    corpus(tree, chosen.files)
    for _ in range(chosen.rounds):
        for up_to in chosen.up_to:
            command = [sys.executable, __file__, str(chosen.folder), "--child", "--files", str(chosen.files)]
            command += ["--puts", str(chosen.puts)]
            subprocess.run(command, check=True, env={**os.environ, "HOLDFAST_PACK_UP_TO": str(up_to)})


if __name__ == "__main__":
    main()
