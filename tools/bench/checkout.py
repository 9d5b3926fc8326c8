"""What does it cost to write a tree out? `holdfast checkout`, `export tree` and `import` beside `tar x` of the same files.

    python tools/bench/checkout.py FOLDER [--files 50000] [--rounds 3]

FOLDER is filled and not removed. All read what was read just before (nothing is cold), and write to the same file
system. tar syncs nothing, so both its time and that with a `sync -f` behind it are shown. Prints one JSON line for each
run: CPU seconds (user and system) of the process, wall seconds, which mean little beside load, and how busy other
processes kept the machine (1.0 = one core); then the ratios of the medians of CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent))
import measure
import packs

HOLDFAST = f"{sys.executable} -m holdfast --no-progress -q"


def prepare(folder: Path, files: int, environment: dict[str, str]) -> None:
    """The tree, an archive of it, and a store that has it."""
    tree, store = folder / "tree", folder / "store"
    tree.mkdir(parents=True, exist_ok=True)
    packs.corpus(tree, files)
    if not (folder / "tree.tar").exists():
        subprocess.run(["tar", "-cf", folder / "tree.tar", "-C", tree, "."], check=True)
    if not (store / "holdfast.json").exists():
        for command in (["init", store], ["-C", store, "add", tree]):
            subprocess.run([*HOLDFAST.split(), *command], check=True, env=environment)


def main() -> None:
    """Run all in turn, so that a change of the machine's mood meets all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    folder: Path = said.folder.absolute()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    prepare(folder, said.files, environment)
    out = folder / "out"
    ways = {
        "tar x": f"mkdir {out} && tar -xf {folder}/tree.tar -C {out}",
        "tar x, synced": f"mkdir {out} && tar -xf {folder}/tree.tar -C {out} && sync -f {out}",
        "checkout": f"{HOLDFAST} -C {folder}/store checkout tree {out}",
        "checkout again": f"{HOLDFAST} -C {folder}/store checkout tree {folder}/kept",
        "export tree": f"{HOLDFAST} -C {folder}/store export tree {out}",
        "export tree again": f"{HOLDFAST} -C {folder}/store export tree {folder}/exported",
        "import": f"{HOLDFAST} -C {out} import {folder}/exported",
    }
    subprocess.run(
        f"{HOLDFAST} -C {folder}/store export tree {folder}/exported", shell=True, check=True, env=environment
    )
    subprocess.run(f"{HOLDFAST} -C {folder}/store checkout tree {folder}/kept", shell=True, check=True, env=environment)
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(said.rounds):
        for way, command in ways.items():
            shutil.rmtree(out, ignore_errors=True)
            os.sync()
            run = measure.run(command, folder=folder, environment=environment, cold=False)
            taken[way].append(run.cpu_s)
            line = {
                "work": way,
                "cpu_s": round(run.cpu_s, 2),
                "wall_s": round(run.wall_s, 2),
                "rss_mb": round(run.rss_mb),
            }
            print(json.dumps({**line, "others": round(run.other_cpus, 2)}), flush=True)
    base = median(taken["tar x"])
    print(json.dumps({"cpu, times that of tar x": {way: round(median(all_) / base, 2) for way, all_ in taken.items()}}))


if __name__ == "__main__":
    main()
