"""The three marks for what goes out of a store and comes in again, each beside the plain tool that it is measured by.

    python tools/bench/out.py FOLDER [--scale 1] [--rounds 3]

FOLDER is filled and not removed; the files are those of corpora.py. Backup beside `cp -a` and sync of the store (mark:
1.5 times), `export tree` beside `tar x` of the same files (2), `import git` beside `git fast-export` and an add of the
same contents (2); each for the first time, with nothing new, and with 100 new files. All of a round run one after the
other, so that a change of the machine's mood meets all of them. Prints a JSON line for each run: CPU seconds (user and
system) with all children, wall seconds, and how busy other processes kept the machine (1.0 = one core); then the ratios
of the medians.
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
import corpora
import histories
import measure

HOLDFAST = f"{sys.executable} -m holdfast --no-progress -q"
Taken = dict[str, list[measure.Taken]]
MARKS = {
    "backup": ("cp -a, synced", 1.5),
    "export tree": ("tar x", 2.0),
    "import git": ("fast-export and add", 2.0),
}


def ways(top: Path) -> dict[str, str]:
    """What is run in each round, in order."""
    store, tree = f"{HOLDFAST} -C {top}/store", f"{top}/small"
    more = f"mkdir -p {tree}/more && for n in $(seq 100); do echo $n $RANDOM > {tree}/more/$n; done"
    plus = "git clone -q {0}/history {0}/work 2>/dev/null; cd {0}/work && {1} && git add . && git -c user.name=A"
    plus += " -c user.email=a@b commit -qm more && git push -q"
    edit = "for n in $(seq 100); do echo $n $RANDOM > new$n; done"
    return {
        "cp -a, synced": f"cp -a {top}/store {top}/copy && sync -f {top}/copy",
        "backup": f"{store} backup {top}/backups",
        "backup, nothing new": f"{store} backup {top}/backups",
        "tar x": f"mkdir {top}/out && tar -xf {top}/small.tar -C {top}/out",
        "export tree": f"{store} export tree {top}/exported",
        "export tree, nothing new": f"{store} export tree {top}/exported",
        "(add of 100 files)": f"{more} && {store} add {tree}",
        "backup, 100 new": f"{store} backup {top}/backups",
        "export tree, 100 new": f"{store} export tree {top}/exported",
        "fast-export and add": f"git -C {top}/history fast-export --all > {top}/stream && {HOLDFAST} -C {top}/added init"
        f" && {HOLDFAST} -C {top}/added add {top}/contents",
        "import git": f"{HOLDFAST} -C {top}/taken init && {HOLDFAST} -C {top}/taken import git {top}/history --into p",
        "import git, nothing new": f"{HOLDFAST} -C {top}/taken import git {top}/history --into p",
        "(a commit of 100 files)": plus.format(top, edit),
        "import git, 100 new": f"{HOLDFAST} -C {top}/taken import git {top}/history --into p",
        "starting the program": f"{HOLDFAST} version",
    }


def fresh(top: Path, environment: dict[str, str]) -> None:
    """What a round begins with: the store as it was first, and nothing that the round makes."""
    for made in ("copy", "backups", "out", "exported", "added", "taken", "work", "store", "small/more", "history"):
        shutil.rmtree(top / made, ignore_errors=True)
    shutil.copytree(top / "first", top / "store")
    shutil.copytree(top / "plain", top / "history")
    # A copy derives its index anew when it is opened to be written to: that is no part of what is measured.
    opened = f"import holdfast; holdfast.open({str(top / 'store')!r}).close()"
    subprocess.run([sys.executable, "-c", opened], check=True, env=environment)


def prepare(top: Path, scale: float, environment: dict[str, str]) -> None:
    """The files, an archive of them, a store that has them; a repository and its contents as files."""
    corpora.make(top, scale, ["small", "history"])
    if not (top / "first" / "holdfast.json").exists():
        shutil.rmtree(top / "small" / "more", ignore_errors=True)
        subprocess.run(["tar", "-cf", top / "small.tar", "-C", top, "small"], check=True)
        for command in (["init", top / "first"], ["-C", top / "first", "add", top / "small"]):
            subprocess.run([*HOLDFAST.split(), *command], check=True, env=environment)
        shutil.copytree(top / "history", top / "plain")
        histories.prepare(top / "plain", "HEAD", top / "contents")


def main() -> None:
    """Run all in turn, then say how far each is from its mark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    top: Path = said.folder.absolute()
    top.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    prepare(top, said.scale, environment)
    taken: Taken = {}
    for _ in range(said.rounds):
        fresh(top, environment)
        for way, command in ways(top).items():
            os.sync()
            run = measure.run(command, folder=top, environment=environment, cold=False)
            taken.setdefault(way, []).append(run)
            facts = {"cpu_s": round(run.cpu_s, 2), "wall_s": round(run.wall_s, 2), "rss_mb": round(run.rss_mb)}
            print(json.dumps({"work": way, **facts, "others": round(run.other_cpus, 2)}), flush=True)
    for work, (peer, mark) in MARKS.items():
        cpu = median(run.cpu_s for run in taken[work]) / median(run.cpu_s for run in taken[peer])
        wall = median(run.wall_s for run in taken[work]) / median(run.wall_s for run in taken[peer])
        line = {"work": work, "beside": peer, "mark": mark, "cpu": round(cpu, 2), "wall": round(wall, 2)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
