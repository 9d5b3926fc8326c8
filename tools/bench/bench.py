"""Run ours and the peers side by side on the same work, and write docs/performance.md from what was seen.

    python tools/bench/bench.py run FOLDER [--scale 1.0] [--revised 1.0] [--artifacts 1000000] [--runs 3] [--only add,restic-add]
    python tools/bench/bench.py grow FOLDER [--scale 0.1 [--revised R] [--artifacts N] | --largest RESULTS.jsonl]
                                                                                      ours alone, at three amounts
    python tools/bench/bench.py page RESULTS.jsonl [--grown FOLDER] [--again RESULTS.jsonl …] [--to docs]

`make bench` does all three, after tools/bench/install_peers.sh. FOLDER needs room for five times the corpora (10 GB at
scale 1) and should be on a local disk; dropping caches before cold steps needs root (else the page says "warm").
`grow` measures a tenth, once and ten times a scale; the largest may be a run that was made before, of which it then
measures a tenth and a hundredth. Cut off, it goes on with the amounts that are not whole. Steps that something disturbed
are measured again by `--only`, with their peers; `page --again` takes these instead.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
import growth
import measure
import page
from marks import STEPS, Step

HERE = Path(__file__).resolve().parent
LONG_S = 20.0
"""Steps that take longer run once."""


@dataclass(frozen=True)
class Work:
    """How much is done. `scale` of the files, `revised` of what is put in many revisions; `runs` of short steps."""

    scale: float
    revised: float
    artifacts: int
    runs: int
    only: list[str]


def run(folder: Path, work: Work) -> Path:
    """Measure every step; the file of results, one JSON object a line, the machine first."""
    folder.mkdir(parents=True, exist_ok=True)
    corpora.make(folder, work.scale, ["small", "large", "history"])
    results = folder / "results.jsonl"
    with results.open("w", encoding="utf-8") as out:
        for line in _lines(folder, work):
            out.write(json.dumps(line) + "\n")
            out.flush()
            print(json.dumps(line), flush=True)
    return results


def grow(folder: Path, full: dict[str, Any], largest: Path | None) -> None:
    """Measure ours at three amounts, each step once; what is measured already, or was by a run before, is not again.

    `full`: the largest amounts. At scale 1 (`--scale 0.1`) an hour and 10 GB, most of it for the largest; ten minutes and
    1 GB where that is at hand. At scale 10 a hundred GB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if largest is not None:
        full = {name: growth.about(largest)[name] for name in growth.AMOUNTS}
        shutil.copyfile(largest, growth.file_of(folder, growth.FACTORS[-1]))
    for factor in growth.FACTORS:
        share = growth.FACTORS[-1] / factor
        amounts = {name: type(amount)(amount / share) for name, amount in full.items()}
        if growth.is_measured(folder, factor, amounts):
            print(f"{amounts}: measured already", file=sys.stderr, flush=True)
            continue
        print(f"{amounts}: {len(growth.STEPS)} steps", file=sys.stderr, flush=True)
        place = folder / "work"
        shutil.rmtree(place, ignore_errors=True)  # of one that was cut off
        results = run(place, Work(**amounts, runs=1, only=sorted(growth.STEPS)))
        results.replace(growth.file_of(folder, factor))
        shutil.rmtree(place)  # the next one needs the room


def _amounts(scale: float) -> dict[str, Any]:
    return {"scale": scale, "revised": scale * growth.REVISED, "artifacts": int(1_000_000 * scale)}


def _lines(folder: Path, work: Work) -> Iterator[dict[str, Any]]:
    amounts = {"scale": work.scale, "revised": work.revised, "artifacts": work.artifacts}
    yield {"machine": page.machine(), "versions": _versions(), **amounts}
    words = _words(folder) | {"artifacts": str(work.artifacts), "scale": str(work.revised)}
    steps = [step for step in STEPS if not work.only or step.name in work.only]
    for number, step in enumerate(steps, 1):
        print(f"{number} of {len(steps)}: {step.name}", file=sys.stderr, flush=True)
        try:
            yield _step(step, folder, words, work.runs)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            yield {"step": step.name, "who": step.who, "failed": str(error)[-400:]}


def _step(step: Step, folder: Path, words: dict[str, str], runs: int) -> dict[str, Any]:
    taken: list[measure.Taken] = []
    while len(taken) < (1 if step.once else runs):
        if step.prepare:
            subprocess.run(
                ["bash", "-c", step.prepare.format(**words)], check=True, env=_environment(folder), cwd=folder,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        command = step.command.format(**words)
        taken.append(measure.run(command, folder=folder, environment=_environment(folder), cold=step.cold))
        if taken[-1].wall_s > LONG_S:
            break
    taken.sort(key=lambda one: one.seconds)
    middle = taken[len(taken) // 2]
    kept = {"bytes": measure.bytes_under(Path(step.keeps.format(**words)))} if step.keeps else {}
    spread = {
        key: statistics.median(one.said[key] for one in taken) for key in ("p50_ms", "p99_ms") if key in middle.said
    }
    return {
        "step": step.name, "who": step.who, "runs": len(taken), "cold": middle.cold,
        **middle.said, **spread, **kept,
        "seconds": middle.seconds, "fastest": taken[0].seconds, "slowest": taken[-1].seconds,
        "cpu_s": middle.said.get("cpu_s", middle.cpu_s), "rss_mb": max(one.said.get("rss_mb", one.rss_mb) for one in taken), "other_cpus": middle.other_cpus,
    }  # fmt: skip


def _words(folder: Path) -> dict[str, str]:
    python = sys.executable
    return {
        "small": str(folder / "small"), "large": str(folder / "large"), "store": str(folder / "store"),
        "peer": str(folder / "peer"), "child": f"{python} {HERE / 'children.py'}", "holdfast": f"{python} -m holdfast",
        "reading": f"{python} {HERE / 'reading.py'}", "queries": f"{python} {HERE / 'queries.py'}",
        "chunking": f"{python} {HERE / 'chunking.py'} {folder / 'revised'}",
        "history": str(folder / "history"), "past_folder": str(folder / "past"), "past": f"{python} {HERE / 'repacking.py'} {folder / 'past'}",
        "raw": str(folder / "raw.sqlite3"), "million": str(folder / "million"), "few": str(folder / "few"),
        "served": f"{python} {HERE / 'served.py'} {folder / 'served'}",
    }  # fmt: skip


def _environment(folder: Path) -> dict[str, str]:
    # An installed program has its code compiled: one that may not keep it compiles all of it at each start.
    others = ("GIT_", "RESTIC_", "BORG_", "HOLDFAST_", "PYTHONDONTWRITEBYTECODE")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    who = {"GIT_AUTHOR_NAME": "b", "GIT_AUTHOR_EMAIL": "b@b", "GIT_COMMITTER_NAME": "b", "GIT_COMMITTER_EMAIL": "b@b"}
    return inherited | who | {
        "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "RESTIC_PASSWORD": "x",
        "RESTIC_CACHE_DIR": str(folder / "peer-cache"), "BORG_BASE_DIR": str(folder / "peer-base"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
        "HOLDFAST_ACTOR": "bench", "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
    }  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"Python": sys.version.split()[0]}
    asked = {
        "git": ["git", "--version"],
        "restic": ["restic", "version"],
        "borg": ["borg", "--version"],
        "zstd": ["zstd", "--version"],
    }
    for name, command in asked.items():
        if shutil.which(command[0]):
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            found[name] = next(
                (word.strip("v,") for word in said.split() if "." in word and any(c.isdigit() for c in word)), said
            )
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("folder", type=Path)
    running.add_argument("--scale", type=float, default=1.0)
    running.add_argument("--revised", type=float)
    running.add_argument("--artifacts", type=int)
    running.add_argument("--runs", type=int, default=3)
    running.add_argument("--only", default="")
    paging = commands.add_parser("page")
    paging.add_argument("results", type=Path)
    paging.add_argument("--grown", type=Path)
    paging.add_argument("--again", type=Path, action="append", default=[])
    paging.add_argument("--to", type=Path, default=page.DOCS)
    growing = commands.add_parser("grow")
    growing.add_argument("folder", type=Path)
    growing.add_argument("--revised", type=float, help="at the largest amount; else a share of its scale")
    growing.add_argument("--artifacts", type=int, help="at the largest amount; else 1,000,000 times its scale")
    amount = growing.add_mutually_exclusive_group()
    amount.add_argument("--scale", type=float, default=0.1)
    amount.add_argument("--largest", type=Path)
    given = parser.parse_args()
    if given.command == "run":
        only = [name for name in given.only.split(",") if name]
        artifacts = given.artifacts or int(1_000_000 * given.scale)
        work = Work(given.scale, given.revised or given.scale, artifacts, given.runs, only)
        print(run(given.folder.absolute(), work))
    elif given.command == "grow":
        full = _amounts(given.scale * growth.FACTORS[-1])
        full["revised"] = given.revised or full["revised"]
        full["artifacts"] = given.artifacts or full["artifacts"]
        grow(given.folder.absolute(), full, given.largest)
    else:
        page.write(given.results, given.grown, given.to, given.again)
    return 0


if __name__ == "__main__":
    sys.exit(main())
