"""Gathers findings while the check goes on, and says at the end what was found and how much was looked at."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from holdfast.care.fsck.findings import KINDS, Finding, Severity
from holdfast.care.fsck.portion import Portion

MOST_KEPT = 10_000
"""A report holds no more findings than this; `counts` counts all, and `on_finding` is told each."""

EXIT_PARTLY = 3
EXIT_FINDINGS = 4
EXIT_TOO_NEW = 12
TOO_NEW = "marker-too-new"

OnFinding = Callable[[Finding], None]
Progress = Callable[[int, int | None, str, str], None]


@dataclass(frozen=True, slots=True)
class PassReport:
    """A reading of all contents in several runs, as it stands after one of them.

    `kept`: whether another run can go on from here; `note`: why not, or why it was begun anew. `began`: when the pass
    began; `runs`: how many there were; `position`: digest up to which every content was read; `covered`,
    `covered_bytes`: files read up to there. `changed`: contents that came or changed after their turn, and were read
    again at the end; `gone`: contents that were removed after their turn. `noted`: contents that runs of this pass had
    something to say of; they are looked at again, and told, at its end.
    """

    finished: bool
    kept: bool
    note: str
    began: str
    runs: int
    position: str
    covered: int
    covered_bytes: int
    changed: int
    gone: int
    noted: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What fsck found. `counts`: findings by code, all of them; `findings`: the first MOST_KEPT of them, in full.

    `checked`: how many of what was looked at; `quick`: contents were not read, rows not derived anew. `read`,
    `read_bytes`: contents read whole, and the bytes of their files; `portion`: which of them were to be (None: all).
    `full_pass`: if the portion was a span of time, the pass that it belongs to.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    checked: Mapping[str, int]
    duration_s: float
    quick: bool
    read: int = 0
    read_bytes: int = 0
    portion: Portion | None = None
    full_pass: PassReport | None = None

    @property
    def worst(self) -> Severity | None:
        """The highest severity that was found; None if nothing was."""
        return max((KINDS[code].severity for code in self.counts), key=lambda s: s.rank, default=None)

    @property
    def exit_code(self) -> int:
        """4 if there is an error or a warning, that is, something to mend; 0 if there is nothing, or only info.

        3 if there is nothing, but the pass over all contents is not finished; 12 if the format is too new to judge.
        """
        if TOO_NEW in self.counts:
            return EXIT_TOO_NEW
        if self.worst in (Severity.ERROR, Severity.WARNING) or (self.full_pass and self.full_pass.noted):
            return EXIT_FINDINGS
        return EXIT_PARTLY if self.full_pass and not self.full_pass.finished else 0

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
            "read": self.read,
            "read_bytes": self.read_bytes,
            "portion": None if self.portion is None else self.portion.as_dict(),
            "full_pass": None if self.full_pass is None else asdict(self.full_pass),
        }


class Gathered:
    """Findings and amounts while the check goes on. From one thread."""

    def __init__(
        self, on_finding: OnFinding | None, progress: Progress | None, *, before: Gathered | None = None
    ) -> None:
        """`before`: what was found already, by whoever will `absorb` this."""
        self._before = before
        self._on_finding = on_finding
        self._progress = progress
        self._started = time.monotonic()
        self._kept: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.read = 0
        self.read_bytes = 0

    def found(self, code: str, what: str, detail: str = "", **fields: Any) -> None:
        """Take note of a finding and pass it on."""
        finding = Finding(code, what, detail, fields)
        self._counts[code] += 1
        if len(self._kept) < MOST_KEPT:
            self._kept.append(finding)
        if self._on_finding:
            self._on_finding(finding)

    def absorb(self, other: Gathered) -> None:
        """Take over all that was gathered apart, as if it came now."""
        for finding in other._kept:
            self.found(finding.code, finding.object, finding.detail, **finding.fields)
        for code, count in other._counts.items():
            self._counts[code] += count - sum(finding.code == code for finding in other._kept)
        self.checked.update(other.checked)
        self.read += other.read
        self.read_bytes += other.read_bytes

    def has(self, *codes: str) -> bool:
        """Whether any of these was found."""
        return any(self._counts[code] for code in codes) or (self._before is not None and self._before.has(*codes))

    def step(self, done: int, total: int | None, what: str, unit: str) -> None:
        """Tell whoever watches."""
        if self._progress:
            self._progress(done, total, what, unit)

    @property
    def progress(self) -> Progress | None:
        """For parts that report by themselves."""
        return self._progress

    def report(self, *, quick: bool, portion: Portion | None = None, full_pass: PassReport | None = None) -> FsckReport:
        """What was found up to now."""
        return FsckReport(
            tuple(self._kept), dict(self._counts), dict(self.checked), time.monotonic() - self._started, quick,
            self.read, self.read_bytes, portion, full_pass,
        )  # fmt: skip
