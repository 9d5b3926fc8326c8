"""Ours at a tenth, at once and at ten times the work: what one item costs, as a table and as plots.

`bench.py grow FOLDER` measures; `bench.py page RESULTS --grown FOLDER` adds what is made here to the page. An item is a
file, a megabyte, a revision or a question: where its cost is the same at any amount, the line is flat.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FACTORS = (0.1, 1.0, 10.0)
REVISED = 0.25
"""Of a run's scale, for what is put in many revisions: at ten times it would fill a small disk."""

Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Grown:
    """What is followed. `key` of the step's result; `each`: it is of all the work, to be divided by how much that is."""

    mark: str
    step: str
    key: str = "seconds"
    each: bool = True
    why: str = ""


GROWN = (
    Grown("P1 add", "add"), Grown("P1 put_many", "put-many"), Grown("P1s bytes", "kept", "bytes"),
    Grown("P1s repacked", "repacked", "bytes"), Grown("P2 add again", "again"), Grown("P3 one file", "large"),
    Grown("P4 one by one", "read"), Grown("P4 bulk", "bulk"), Grown("P5 read", "large-out"), Grown("P6 fsck", "fsck"),
    Grown("P6 rebuild", "rebuild"), Grown("P7 repack", "history-repack"),
    Grown("P8 growing log", "growing", why="each snapshot is another process, and what they have in common is its start"),
    Grown("P8 checkpoints", "checkpoint", why="the same: the start of a process for each"),
    Grown("P10 by id", "ours-id", "p50_ms", each=False), Grown("P10 by name", "ours-name", "p50_ms", each=False),
    Grown("P10 by digest", "ours-digest", "p50_ms", each=False), Grown("P10 newest 50", "ours-newest", "p50_ms", each=False),
    Grown("P10 metadata", "ours-metadata", "p50_ms", each=False, why="among a million each author has twenty artifacts, among a hundred thousand two"),
    Grown("P10 search", "ours-search", "p50_ms", each=False, why="twice the texts have twice the matches, and each is ranked"),
    Grown("P11 peak memory", "add", "rss_mb", each=False), Grown("P12 show", "many-show", each=False),
)  # fmt: skip

# Those that are measured, and those that must have run before them.
STEPS = frozenset(one.step for one in GROWN) | {"repack", "history-put", "many"}


def file_of(folder: Path, factor: float) -> Path:
    """Where the results of one amount are."""
    return folder / f"grown-{factor:g}" / "results.jsonl"


def read(folder: Path) -> list[tuple[dict[str, Any], Results]]:
    """(about, steps) of each amount, the smallest first."""
    found = []
    for factor in FACTORS:
        lines = [json.loads(line) for line in file_of(folder, factor).read_text(encoding="utf-8").splitlines()]
        found.append((lines[0], {line["step"]: line for line in lines[1:] if "failed" not in line}))
    return found


def costs(grown: list[tuple[dict[str, Any], Results]]) -> Iterator[tuple[Grown, list[float]]]:
    """What an item costs at each amount, 1 where it costs as much as at the middle one; what was not measured is left out."""
    for one in GROWN:
        if all(one.key in steps.get(one.step, {}) for _, steps in grown):
            found = [steps[one.step][one.key] / (about["scale"] if one.each else 1) for about, steps in grown]
            yield one, [cost / found[1] for cost in found]


def table(grown: list[tuple[dict[str, Any], Results]]) -> str:
    """A line for each, and why where ten times as much work costs more than a third more for each item."""
    amounts = ", ".join(f"{about['scale']:g} ({about['artifacts']:,})" for about, _ in grown)
    rows = [
        f"Ours at scales (and artifacts for questions) {amounts}: what an item costs, 1 being its cost at the middle one.\n",
        "| | a tenth | once | ten times | where it is not flat |", "|---|---:|---:|---:|---|",
    ]  # fmt: skip
    for one, (small, _, large) in costs(grown):
        rows.append(f"| {one.mark} | {small:.2f} | 1 | {large:.2f} | {one.why if max(small, large) > 1.33 else ''} |")
    return "\n".join(rows) + "\n"


def plot(grown: list[tuple[dict[str, Any], Results]]) -> str:
    """A small plot for each: the amount to the right, the cost of an item upwards; the dashed line is flat."""
    width, height, across, most = 180, 110, 4, 3.0
    known = list(costs(grown))
    parts = []
    for place, (one, found) in enumerate(known):
        left, top = 20 + place % across * width, 20 + place // across * height
        bottom, flat = top + 85, top + 85 - 60 / most
        points = [(left + 15 + 55 * n, bottom - 60 * min(cost, most) / most) for n, cost in enumerate(found)]
        parts.append(
            f'<text x="{left}" y="{top + 10}" font-weight="bold">{one.mark}</text>'
            f'<line x1="{left}" y1="{bottom}" x2="{left + 145}" y2="{bottom}" stroke="#444"/>'
            f'<line x1="{left}" y1="{flat:.1f}" x2="{left + 145}" y2="{flat:.1f}" stroke="#999" stroke-dasharray="3 3"/>'
            f'<polyline points="{" ".join(f"{x},{y:.1f}" for x, y in points)}" fill="none" stroke="#2f5d7d" stroke-width="2"/>'
        )
        for (x, y), cost in zip(points, found, strict=True):
            parts.append(
                f'<circle cx="{x}" cy="{y:.1f}" r="3" fill="#2f5d7d"/><text x="{x + 5}" y="{y - 5:.1f}">{cost:.2f}</text>'
            )
    rows = -(-len(known) // across)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across * width + 40}" height="{rows * height + 30}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )
