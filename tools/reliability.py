"""Write the table of docs/reliability.md from what a soak counted (`make soak` runs both).

Run as `python tools/reliability.py TALLY.jsonl`: each line is what one test counted (the fixture
`tally` of tests/conftest.py).
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reliability.md"
_NOTES_AT_MOST = 6
BEGIN, END = "<!-- counted: begin -->", "<!-- counted: end -->"


def table(lines: Iterable[dict[str, Any]]) -> str:
    """One row for each lab and thing counted; lines of several tests are added up."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        row = rows.setdefault(
            (line["lab"], line["of"]),
            {"tried": 0, "lost": 0, "seconds": 0.0, "notes": [], "tests": [], "date": line["date"]},
        )
        row["tried"] += line["tried"]
        row["lost"] += line["lost"]
        row["seconds"] += line["seconds"]
        row["date"] = max(row["date"], line["date"])
        for key, value in (("notes", line["note"]), ("tests", f"`{line['test']}`")):
            if value and value not in row[key]:
                row[key].append(value)
    head = "| what was put to the test | tried | lost or wrong | took | run on | script |\n|---|---:|---:|---:|---|---|"
    body = [
        f"| {lab}{_notes(row['notes'])} | {row['tried']:,} {of} | {row['lost']:,} | {_took(row['seconds'])} "
        f"| {row['date']} | {', '.join(row['tests'])} |"
        for (lab, of), row in sorted(rows.items())
    ]
    machine = f"Machine: {os.cpu_count()} cores, {platform.system()} {platform.release()}, {platform.machine()}, "
    return "\n".join(
        [head, *body, "", machine + f"Python {platform.python_version()}. Seconds are those of tests side by side."]
    )


def _notes(notes: list[str]) -> str:
    """What the tests said; of a lab with many parts only how many they were: the tally has each with its seed."""
    if len(notes) > _NOTES_AT_MOST:
        return f" ({len(notes)} runs, each with a seed of its own)"
    return f" ({'; '.join(notes)})" if notes else ""


def _took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def main() -> int:
    """Put the table between its markers; the rest of the page is left alone."""
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(lines)}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
