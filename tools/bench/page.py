"""Turns measured results into docs/performance.md: each mark with its ratio, each step with what it took."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import growth
from marks import MARKS, OURS, Mark, stored, stored_after_gc

DOCS = Path(__file__).resolve().parents[2] / "docs"
Results = dict[str, dict[str, Any]]

HEAD = """\
# Performance

<!-- Written by tools/bench/bench.py from one run (`make bench`); do not edit. -->

Ours and the peers on the same files, one after the other, in one run. *Cold*: the system's cache was dropped before the
step. Ours is durable when it returns, keeps a revision, metadata, a change record and the hash chain for every file, and
verifies digests on every whole read; what peers leave out of that stands beside their names. Times of Python bodies are
by their own clock, without the interpreter's start.
"""

AGAIN = (
    " Steps with several runs below were measured again after the whole run, ours and their peers side by side, because "
    "its disk had stalled or the code had changed since; the middle run counts."
)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    model = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
         if line.startswith("model name")), platform.processor(),
    )  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {
        "cpu": model, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "kernel": platform.release(),
        "sha_instructions": " sha_ni" in flags, "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }  # fmt: skip


def write(results: Path, grown: Path | None, to: Path, again: Sequence[Path] = ()) -> None:
    """Write page and plots into a folder, from a file of results and from a folder of those at other amounts.

    `again`: results of steps that were measured again, with their peers, and take the place of what was before.
    """
    about, steps = _read(results)
    for one in again:
        steps |= {name: line for name, line in _read(one)[1].items() if "failed" not in line}
        about["note"] = AGAIN
    parts = [HEAD, _about(about), "## The marks\n", _marks(steps), "![The marks](performance.svg)\n",
             "## Every step\n", _steps(steps)]  # fmt: skip
    if grown is not None:
        same = [about[name] for name in growth.AMOUNTS]
        amounts = [
            (said, steps if [said[name] for name in growth.AMOUNTS] == same else found)
            for said, found in growth.read(grown)
        ]
        parts += ["## As they grow\n", growth.table(amounts), "![As they grow](growth.svg)\n"]
        (to / "growth.svg").write_text(growth.plot(amounts), encoding="utf-8")
    (to / "performance.md").write_text("\n".join(parts), encoding="utf-8")
    (to / "performance.svg").write_text(_plot(steps), encoding="utf-8")


def _read(results: Path) -> tuple[dict[str, Any], Results]:
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return lines[0], {line["step"]: line for line in lines[1:]}


def _about(about: dict[str, Any]) -> str:
    found = about["machine"]
    sha = "with" if found["sha_instructions"] else "without"
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{found['date']}: {found['cores']} cores ({found['cpu']}, {sha} SHA instructions), {found['memory_gib']} GiB, "
        f"Linux {found['kernel']}; {versions}. Scale {about['scale']} (1: 50,000 small files, one of 2 GiB, a history of some 8,000 revisions); P8 at "
        f"scale {about['revised']}; questions to {about['artifacts']:,} artifacts.{about.get('note', '')}\n"
    )


def _value(mark: Mark, name: str, steps: Results) -> float | None:
    """A step's value, or the sum of several (`add+text`); None if one failed or was left out."""
    found = [steps.get(part) for part in name.split("+")]
    if any(one is None or "failed" in one for one in found):
        return None
    try:
        return sum(mark.of(one) for one in found if one is not None)
    except KeyError:
        return None


def _judged(mark: Mark, steps: Results) -> tuple[float, float | None, str, float] | None:
    """(ours, theirs, whose, share of the limit: at most 1 is met); None if it was not measured."""
    ours = _value(mark, mark.ours, steps) if mark.ours else None
    if ours is None:
        return None
    if not mark.theirs:
        return ours, None, "", mark.limit / ours if mark.rising else ours / mark.limit
    known = [(value, steps[name]["who"]) for name in mark.theirs if (value := _value(mark, name, steps)) is not None]
    if not known:
        return None
    theirs, whose = max(known) if mark.rising else min(known)
    ratio = ours / theirs
    return ours, theirs, whose, mark.limit / ratio if mark.rising else ratio / mark.limit


def _marks(steps: Results) -> str:
    rows = [
        "| mark | work | ours | best of theirs | ratio | mark asks | | floor |",
        "|---|---|---:|---|---:|---:|---|---|",
    ]
    for mark in MARKS:
        judged = _judged(mark, steps)
        sign = "≥" if mark.rising else "≤"
        if judged is None:
            rows.append(f"| {mark.id} | {mark.work} | | | | | {mark.missing or 'not measured in this run'} | |")
            continue
        ours, theirs, whose, share = judged
        peer = "" if theirs is None else f"{_shown(theirs, mark)} ({whose})"
        ratio = "" if theirs is None else f"{ours / theirs:.2f}"
        asked = f"{sign} {mark.limit:,g}" + (f" {mark.unit}" if theirs is None else " times")
        rows.append(
            f"| {mark.id} | {mark.work} | {_shown(ours, mark)} | {peer} | {ratio} | {asked} | "
            f"{'met' if share <= 1 else '**not met**'} | {_floor(mark, steps)} |"
        )
    return "\n".join(rows) + "\n\n" + _FLOORS


_FLOORS = (
    "Floor: what no program can leave out that keeps the mark's promise, done alone on this machine beside the rest.\n"
)


def _floor(mark: Mark, steps: Results) -> str:
    if mark.bare:
        many, few = (_value(mark, name, steps) for name in mark.bare)
        return f"a bare table of SQLite grows {many / few:.2f} times" if many and few else ""
    found = _value(mark, mark.floor, steps) if mark.floor else None
    return "" if found is None else f"{_shown(found, mark)} ({mark.floor_work})"


def _shown(value: float, mark: Mark) -> str:
    if mark.of in (stored, stored_after_gc):
        return f"{value / 1e6:.1f} MB"
    return f"{value:,.0f} {mark.unit}" if value >= 100 else f"{value:.2f} {mark.unit}"


def _steps(steps: Results) -> str:
    rows = [
        "| step | who | s (fastest to slowest) | runs | CPU s | peak MB | on disk | others' load |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in steps.items():
        if "failed" in one:
            rows.append(f"| {name} | {one['who']} | failed | | | | | |")
            continue
        kept = f"{one['bytes'] / 1e6:.1f} MB" if "bytes" in one else ""
        cold = "" if one["cold"] else " (warm)"
        rows.append(
            f"| {name}{cold} | {one['who']} | {one['seconds']:.2f} ({one['fastest']:.2f} to {one['slowest']:.2f}) | "
            f"{one['runs']} | {one['cpu_s']:.1f} | {one['rss_mb']:.0f} | {kept} | {one['other_cpus']:.2f} |"
        )
    return (
        "\n".join(rows)
        + "\n\nOthers' load: cores busy with something else meanwhile, the system's write-back included.\n"
    )


def _plot(steps: Results) -> str:
    """Bars: how much of each mark's limit we use; up to the line is met."""
    known = [(mark, judged[3]) for mark in MARKS if (judged := _judged(mark, steps)) is not None]
    height, left, unit = 22, 330, 160
    rows = []
    for place, (mark, share) in enumerate(known):
        top = 30 + place * height
        width = min(share, 3.0) * unit
        colour = "#2f7d4f" if share <= 1 else "#b5532a"
        rows.append(
            f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{mark.id}: {mark.work}</text>'
            f'<rect x="{left}" y="{top}" width="{width:.1f}" height="{height - 6}" fill="{colour}"/>'
            f'<text x="{left + width + 5:.1f}" y="{top + 12}">{share:.2f}</text>'
        )
    bottom = 30 + len(known) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + 3 * unit + 60}" height="{bottom + 20}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{left + unit}" y="18" text-anchor="middle">the mark: shorter is better ({OURS})</text>'
        f'<line x1="{left + unit}" y1="24" x2="{left + unit}" y2="{bottom}" stroke="#444" stroke-dasharray="3 3"/>'
        + "".join(rows).replace("&", "&amp;")
        + "</svg>\n"
    )
