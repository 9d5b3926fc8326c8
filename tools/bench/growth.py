"""Ours at a tenth, at once and at ten times the work: what one item costs, as a table and as plots.

`bench.py grow FOLDER` measures; `bench.py page RESULTS --grown FOLDER` adds what is made here to the page. An item is a
file, a megabyte, a revision or a question: where its cost is the same at any amount, the line is flat.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marks import slowest

FACTORS = (0.1, 1.0, 10.0)
AMOUNTS = ("scale", "revised", "artifacts")
REVISED = 0.25
"""Of a run's scale, for what is put in many revisions: at ten times it would fill a small disk."""

STEEP = 1.33
"""From here on the table says why."""

Results = dict[str, dict[str, Any]]
Amounts = list[tuple[dict[str, Any], Results]]


def seconds(taken: dict[str, Any]) -> float:
    """All of a step."""
    return float(taken["seconds"])


def middle(taken: dict[str, Any]) -> float:
    """One of many calls."""
    return float(taken["p50_ms"])


def stored(taken: dict[str, Any]) -> float:
    """Bytes on disk; where there are two, those that are left when what is superseded has gone."""
    return float(taken.get("bytes_after_gc", taken["bytes"]))


def memory(taken: dict[str, Any]) -> float:
    """The peak."""
    return float(taken["rss_mb"])


@dataclass(frozen=True)
class Grown:
    """What is followed. `of`: what of the step's result; `by`: which amount it is divided by, "" where it is of one item.

    `beside`: a step that does the same on a bare table. `why`: what makes it rise, or fall.
    """

    mark: str
    step: str
    of: Callable[[dict[str, Any]], float] = seconds
    by: str = "scale"
    why: str = ""
    beside: str = ""


_MATCHES = "ten times the texts have ten times the matches, and each is ranked, in a bare table too"
_WRITTEN = "the disk has more to write back meanwhile; of CPU an item costs 1.0 to 1.2 times as much"
_LARGER = "does not fit into memory, so all of it comes from the disk or goes there meanwhile; of CPU a byte costs 1.2 to 1.4 times as much"
_KEPT = "48 MiB of opened frames are kept: all of what a tenth has, a third of what is there once, a thirtieth of the largest"

GROWN = (
    Grown("P1", "add", why=_WRITTEN), Grown("P1 warm", "add-warm", why=_WRITTEN), Grown("P1 many", "put-many", why=_WRITTEN),
    Grown("P1 text", "add-text"),
    Grown("P1s", "kept", stored), Grown("P1s repack", "repacked", stored),
    Grown("P2", "again"), Grown("P3", "large", why=_LARGER), Grown("P4", "read", why=_KEPT), Grown("P4 bulk", "bulk"),
    Grown("P4 packed", "repacked-read", why=_KEPT), Grown("P4 packed bulk", "repacked-bulk"),
    Grown("P5", "large-out", why=_LARGER),
    Grown("P5 pieces", "pieces", by="", why="larger than memory, where each read waits for the disk; the smallest fits into the processor's"),
    Grown("P6", "fsck"), Grown("P6 large", "large-fsck", why=_LARGER), Grown("P6 rebuild", "rebuild"),
    Grown("P7", "history-gc", stored), Grown("P7 time", "history-repack"),
    Grown("P7 read", "history-read", slowest, by="", why="frames fill up to their cap only where there is enough that is similar"),
    Grown("P8 growing", "growing", by="revised"), Grown("P8 checkpoint", "checkpoint", by="revised"),
    Grown("P8s growing", "growing", stored, by="revised"), Grown("P8s checkpoint", "checkpoint", stored, by="revised"),
    Grown("P9 among many", "many-put", middle, by=""),
    Grown("P10 id", "ours-id", middle, by="", beside="raw-id", why=(_DEEPER := "deeper trees, of which less is in the caches")),
    Grown("P10 name", "ours-name", middle, by="", beside="raw-name", why=_DEEPER),
    Grown("P10 digest", "ours-digest", middle, by="", beside="raw-digest", why=_DEEPER),
    Grown("P10 newest", "ours-newest", middle, by="", beside="raw-newest",
          why="ten collections among ten thousand artifacts, a thousand among a million: few are asked twice, and caches miss"),
    Grown("P10 metadata", "ours-metadata", middle, by="", beside="raw-metadata",
          why="an author has one artifact among fifty thousand or fewer, two among a hundred thousand, twenty among a million"),
    Grown("P10 search", "ours-search", middle, by="", beside="raw-search", why=_MATCHES),
    Grown("P11", "add", memory, by="", why="caches and buffers that have a bound are full only at the largest"), Grown("P11 large", "large", memory, by=""),
    Grown("P11 fsck", "many-fsck", memory, by=""), Grown("P11 gc", "many-gc", memory, by=""),
    Grown("P12 show", "many-show", by=""), Grown("P12 status", "show", by="", why="status counts rows"),
)  # fmt: skip

# Those that are measured, and those that must have run before them.
STEPS = {one.step for one in GROWN} | {one.beside for one in GROWN if one.beside} | {"repack", "history-put", "many"}


def file_of(folder: Path, factor: float) -> Path:
    """Where the results of one amount are, once all of it is measured."""
    return folder / f"grown-{factor:g}.jsonl"


def about(results: Path) -> dict[str, Any]:
    """What a run was made with: its first line."""
    with results.open(encoding="utf-8") as lines:
        return dict(json.loads(lines.readline()))


def is_measured(folder: Path, factor: float, amounts: dict[str, float]) -> bool:
    """Whether results of these very amounts are there."""
    results = file_of(folder, factor)
    return results.exists() and all(about(results)[name] == amount for name, amount in amounts.items())


def read(folder: Path) -> Amounts:
    """(about, steps) of each amount, the smallest first."""
    found = []
    for factor in FACTORS:
        lines = [json.loads(line) for line in file_of(folder, factor).read_text(encoding="utf-8").splitlines()]
        found.append((lines[0], {line["step"]: line for line in lines[1:] if "failed" not in line}))
    return found


def costs(grown: Amounts) -> Iterator[tuple[Grown, list[float] | None, list[float] | None]]:
    """What an item costs at each amount, 1 where it costs as much as at the middle one; ours, and the bare table's.

    None: it was not measured at each.
    """
    for one in GROWN:
        yield one, _relative(grown, one.step, one), _relative(grown, one.beside, one)


def _relative(grown: Amounts, step: str, one: Grown) -> list[float] | None:
    if not all(step in steps for _, steps in grown):
        return None
    found = [one.of(steps[step]) / (amounts[one.by] if one.by else 1) for amounts, steps in grown]
    return [cost / found[1] for cost in found]


def table(grown: Amounts) -> str:
    """A line for each, and why where an item costs a third more at one of the ends than in the middle."""
    amounts = "; ".join(f"{found['scale']:g} ({found['artifacts']:,}; {found['revised']:g})" for found, _ in grown)
    rows = [
        _HEAD.format(amounts=amounts),
        "| mark | a tenth | once | ten times | bare table | where it is not flat |", "|---|---:|---:|---:|---:|---|",
    ]  # fmt: skip
    missing = []
    for one, found, bare in costs(grown):
        if found is None:
            missing.append(one.mark)
            continue
        shown = f"{bare[2]:.2f}" if bare else ""
        rows.append(f"| {one.mark} | {found[0]:.2f} | 1 | {found[2]:.2f} | {shown} | {'; '.join(_why(one, found))} |")
    said = f"\nNot measured at each amount: {', '.join(missing)}.\n" if missing else ""
    return "\n".join(rows) + "\n" + said


def _why(one: Grown, found: list[float]) -> Iterator[str]:
    if found[0] > STEEP and one.by:
        yield "start"
    if found[2] > STEEP:
        yield one.why or "not known"


_HEAD = """\
Ours at scale (artifacts for questions; scale of P8) {amounts}: what an item costs, 1 being its cost at the middle one. *Bare table*:
of questions, how the bare table of SQLite grows from the middle to the largest. *Start*: what a process needs before it begins, and a store
that is empty, is the same for any amount; at the smallest it is much of it.
"""

_WIDTH, _HEIGHT, _ACROSS = 190, 130, 4
_MOST = 8.0
"""The plots are logarithmic, from this many times to as small a part; what is beyond lies on the edge."""
_OURS, _BARE, _GREY = "#2f5d7d", "#b58a2a", "#999"


def plot(grown: Amounts) -> str:
    """A small plot for each: the amount to the right, the cost of an item upwards; the dashed line is flat."""
    known = [(one, found, bare) for one, found, bare in costs(grown) if found is not None]
    head = (
        '<text x="20" y="18">What an item costs at a tenth of the work, at once and at ten times; dashed: as at once, dotted: twice '
        "that, and half. Logarithmic.</text>"
        f'<text x="20" y="34" fill="{_OURS}">blue: holdfast</text><text x="120" y="34" fill="{_BARE}">yellow: a bare table of SQLite</text>'
    )
    places = [(20 + n % _ACROSS * _WIDTH, 50 + n // _ACROSS * _HEIGHT) for n in range(len(known))]
    parts = [_small(one.mark, found, bare, place) for (one, found, bare), place in zip(known, places, strict=True)]
    rows = -(-len(known) // _ACROSS)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_ACROSS * _WIDTH + 20}" height="{rows * _HEIGHT + 60}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{head}{"".join(parts)}</svg>\n'
    )


def _small(title: str, found: list[float], bare: list[float] | None, place: tuple[int, int]) -> str:
    left, top = place
    rules = ((1.0, "4 3"), (2.0, "1 4"), (0.5, "1 4"))
    parts = [f'<text x="{left}" y="{top + 10}" font-weight="bold">{title}</text>']
    for cost, dashes in rules:
        y = _height(cost, top)
        parts.append(f'<path d="M{left},{y:.1f} h160" stroke="{_GREY}" stroke-dasharray="{dashes}"/>')
    parts += [_line(bare, place, _BARE)] if bare else []
    parts.append(_line(found, place, _OURS))
    for n, cost in enumerate(found):
        # The number stands on the side of the point where the other line is not, and inside the plot.
        above = (not bare or cost >= bare[n]) and cost < _MOST / 1.5
        y = _height(cost, top) + (-6 if above else 14)
        parts.append(f'<text x="{_across(n, left)}" y="{y:.1f}" text-anchor="middle">{cost:.2f}</text>')
    return "".join(parts)


def _across(place: int, left: int) -> int:
    return left + 20 + 60 * place


def _height(cost: float, top: int) -> float:
    share = math.log(min(max(cost, 1 / _MOST), _MOST), _MOST)
    return top + 64 - 44 * share


def _line(costs: list[float], place: tuple[int, int], colour: str) -> str:
    points = [(_across(n, place[0]), _height(cost, place[1])) for n, cost in enumerate(costs)]
    line = " ".join(f"{x},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
    return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'
