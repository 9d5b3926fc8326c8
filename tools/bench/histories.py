"""What does a history cost on the way in and out? `import git` beside `git fast-export` and an `add` of the same contents.

    python tools/bench/histories.py REPO FOLDER [--branch HEAD] [--rounds 3]

FOLDER is filled and not removed. The contents are all that the branch ever had, a file for each, in folders of a
hundred. Prints one JSON line for each run: CPU seconds (user and system) with all children, wall seconds, which mean
little beside load, and how busy other processes kept the machine; then `import git` as times fast-export plus add.
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

HOLDFAST = f"{sys.executable} -m holdfast --no-progress -q"


def prepare(repo: Path, branch: str, folder: Path) -> int:
    """Every content of a branch as a file; how many."""
    if folder.exists():
        shutil.rmtree(folder)
    listed = subprocess.run(["git", "-C", repo, "rev-list", "--objects", branch], capture_output=True, check=True)
    names = b"".join(line.split(b" ")[0] + b"\n" for line in listed.stdout.splitlines())
    with subprocess.Popen(
        ["git", "-C", repo, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as git:
        assert git.stdin is not None
        assert git.stdout is not None
        count = 0
        for name in names.splitlines():
            git.stdin.write(name + b"\n")
            git.stdin.flush()
            _, kind, size = git.stdout.readline().split()
            data = git.stdout.read(int(size) + 1)[:-1]
            if kind == b"blob":
                place = folder / str(count // 100)
                place.mkdir(parents=True, exist_ok=True)
                (place / name.decode()).write_bytes(data)
                count += 1
    return count


def main() -> None:
    """Run all in turn, so that a change of the machine's mood meets all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--branch", default="HEAD")
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    folder, repo = said.folder.absolute(), said.repo.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[1:])}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    count = prepare(repo, said.branch, folder / "contents")
    commits = int(subprocess.check_output(["git", "-C", repo, "rev-list", "--count", said.branch]))
    print(json.dumps({"commits": commits, "contents": count}), flush=True)
    branch = f"--branch {said.branch}" if said.branch != "HEAD" else ""
    ways = {
        "fast-export": f"git -C {repo} fast-export {said.branch} > {folder}/stream",
        "add": f"{HOLDFAST} -C {folder}/a init && {HOLDFAST} -C {folder}/a add {folder}/contents",
        "import git": f"{HOLDFAST} -C {folder}/b init && {HOLDFAST} -C {folder}/b import git {repo} --into p {branch}",
        "export git": f"{HOLDFAST} -C {folder}/b export git {folder}/out.git --from p",
        "fast-import": f"git init -q --bare {folder}/peer.git && git -C {folder}/peer.git fast-import --quiet < {folder}/stream",
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(said.rounds):
        for made in ("a", "b", "out.git", "peer.git"):
            shutil.rmtree(folder / made, ignore_errors=True)
        for way, command in ways.items():
            os.sync()
            run = measure.run(command, folder=folder, environment=environment, cold=False)
            taken[way].append(run.cpu_s)
            facts = {"cpu_s": round(run.cpu_s, 2), "wall_s": round(run.wall_s, 2), "rss_mb": round(run.rss_mb)}
            print(json.dumps({"work": way, **facts, "others": round(run.other_cpus, 2)}), flush=True)
    base = median(taken["fast-export"]) + median(taken["add"])
    print(json.dumps({"import git, times fast-export and add": round(median(taken["import git"]) / base, 2)}))


if __name__ == "__main__":
    main()
