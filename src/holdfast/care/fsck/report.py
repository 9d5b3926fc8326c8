"""Gathers findings while the check goes on, and says at the end what was found and how much was looked at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.care.fsck.findings import KINDS, Finding, Severity

MOST_KEPT = 10_000
"""A report holds no more findings than this; `counts` counts all, and `on_finding` is told each."""

EXIT_FINDINGS = 4

OnFinding = Callable[[Finding], None]
Progress = Callable[[int, int | None, str, str], None]


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What fsck found. `counts`: findings by code, all of them; `findings`: the first MOST_KEPT of them, in full.

    `checked`: how many of what was looked at; `quick`: contents were not read, rows not derived anew.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    checked: Mapping[str, int]
    duration_s: float
    quick: bool

    @property
    def worst(self) -> Severity | None:
        """The highest severity that was found; None if nothing was."""
        return max((KINDS[code].severity for code in self.counts), key=lambda s: s.rank, default=None)

    @property
    def exit_code(self) -> int:
        """4 if there is an error or a warning, that is, something to mend; 0 if there is nothing, or only info."""
        return EXIT_FINDINGS if self.worst in (Severity.ERROR, Severity.WARNING) else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for `--json`."""
        return {
            "findings": [finding.as_dict() for finding in self.findings],
            "counts": dict(self.counts),
            "checked": dict(self.checked),
            "worst": None if self.worst is None else str(self.worst),
            "exit_code": self.exit_code,
            "duration_s": self.duration_s,
            "quick": self.quick,
        }


class Gathered:
    """Findings and amounts while the check goes on. From one thread."""

    def __init__(self, on_finding: OnFinding | None, progress: Progress | None) -> None:
        self._on_finding = on_finding
        self._progress = progress
        self._started = time.monotonic()
        self._kept: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()

    def found(self, code: str, what: str, detail: str = "", **fields: Any) -> None:
        """Take note of a finding and pass it on."""
        finding = Finding(code, what, detail, fields)
        self._counts[code] += 1
        if len(self._kept) < MOST_KEPT:
            self._kept.append(finding)
        if self._on_finding:
            self._on_finding(finding)

    def has(self, *codes: str) -> bool:
        """Whether any of these was found."""
        return any(self._counts[code] for code in codes)

    def step(self, done: int, total: int | None, what: str, unit: str) -> None:
        """Tell whoever watches."""
        if self._progress:
            self._progress(done, total, what, unit)

    @property
    def progress(self) -> Progress | None:
        """For parts that report by themselves."""
        return self._progress

    def report(self, *, quick: bool) -> FsckReport:
        """What was found up to now."""
        took = time.monotonic() - self._started
        return FsckReport(tuple(self._kept), dict(self._counts), dict(self.checked), took, quick)
