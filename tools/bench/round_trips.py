"""Does a git history come out as it went in? `import git` and `export git` of any repository, compared by git alone.

    python tools/bench/round_trips.py REPO FOLDER [--branch NAME] [--legs 4]

FOLDER must not be there. The history goes in and out in `--legs` pieces, each by a command of its own, as if the branch
had grown in between. Then `git rev-list --objects`, `git log` (parents, trees, people, dates, messages), the tags and
`git fsck --strict` of both repositories are compared. Prints JSON lines: CPU seconds (user and system) of each command
with its children, then what differs. Exit code 1 if anything does that the original does not show as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

HOLDFAST = [sys.executable, "-m", "holdfast", "--no-progress", "-q"]
SAID = "%H %P|%T|%an|%ae|%ad|%cn|%ce|%cd|%B"
BRANCH = "round-trip"


def git(repo: Path, *args: str, check: bool = True) -> bytes:
    """What git says, without replaced objects."""
    words = ["git", "--no-replace-objects", "-C", str(repo), *args]
    done = subprocess.run(words, capture_output=True, check=check)
    return done.stdout if check else done.stdout + done.stderr


def timed(what: str, *args: str) -> None:
    """Run a command of ours and print what it cost."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*HOLDFAST, *args], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"work": what, "cpu_s": round(cpu, 2), "exit": done.returncode}), flush=True)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr.decode(errors="replace"))


def told(repo: Path, tip: str) -> dict[str, object]:
    """All that is compared of a repository."""
    complaints = git(repo, "fsck", "--strict", "--no-dangling", "--no-progress", check=False).splitlines()
    tags = git(repo, "for-each-ref", "--merged", tip, "--format=%(objectname) %(refname)", "refs/tags")
    return {
        "objects": set(git(repo, "rev-list", "--objects", "--no-object-names", tip).split()),
        "log": git(repo, "log", "--topo-order", "--date=raw", f"--format={SAID}", tip),
        "tags": set(tags.splitlines()),
        "faults": {line for line in complaints if line.startswith(b"error") and b"reflog" not in line},
    }


def main() -> int:
    """In and out in legs, then compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--branch", default="HEAD")
    parser.add_argument("--legs", type=int, default=4)
    said = parser.parse_args()
    repo, folder = said.repo.absolute(), said.folder.absolute()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[1:])
    folder.mkdir(parents=True)
    work, out, store = folder / "grown.git", folder / "out.git", str(folder / "store")
    subprocess.run(["git", "clone", "-q", "--bare", "--shared", str(repo), str(work)], check=True)
    tip = git(repo, "rev-parse", "--verify", f"{said.branch}^{{commit}}").decode().strip()
    line = git(repo, "rev-list", "--first-parent", "--reverse", tip).decode().split()
    stops = [line[len(line) * leg // said.legs - 1] for leg in range(1, said.legs + 1) if len(line) >= said.legs] or [
        tip
    ]
    timed("init", "-C", store, "init")
    for number, stop in enumerate(stops, 1):
        git(work, "update-ref", f"refs/heads/{BRANCH}", stop)
        timed(f"import git, leg {number}", "-C", store, "import", "git", str(work), "--branch", BRANCH, "--into", "p")
        timed(f"export git, leg {number}", "-C", store, "export", "git", str(out), "--from", "p")
    before, after = told(repo, tip), told(out, BRANCH)
    differs = [key for key in before if before[key] != after[key]]
    commits = int(git(repo, "rev-list", "--count", tip))
    print(json.dumps({"commits": commits, "objects": len(before["objects"]), "differs": differs}))  # type: ignore[arg-type]
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
