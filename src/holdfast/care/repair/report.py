"""What a repair says of itself: its steps, what it found before and after, and what is lost for ever."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import Any

from holdfast.care.fsck import FsckReport, Severity
from holdfast.care.fsck.report import EXIT_FINDINGS
from holdfast.disk import Disk
from holdfast.formats import paths

EXIT_REPAIRED = 5
LOST = ("blob-missing", "blob-damaged", "transactions-lost", "size-wrong")
"""Findings that name something which no copy within reach has."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that repair did, or (`dry_run`) would do. `action` is stable; `object`: what it was done to.

    `action`: restore-marker, make-folder, quarantine, rewrite-segment, add-segment, rebuild-index, level, restore-blob,
    register-blob, give-up-blob, rewrite-pack, keep-in-lost-found.
    """

    action: str
    object: str
    detail: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The step as plain values."""
        return {"action": self.action, "object": self.object, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did. `before`, `after`: what fsck found (`after` is `before` where nothing was changed).

    `trouble`: what kept a step from being taken, in words; `gone`: what the chain has lost, where fsck can't see it.
    """

    dry_run: bool
    steps: tuple[Step, ...]
    before: FsckReport
    after: FsckReport
    trouble: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """What is left that no copy within reach has: `path@revision` of artifacts, or changes of the chain."""
        found: list[str] = [*self.gone]
        for finding in self.after.findings:
            if finding.code in LOST:
                found += finding.fields.get("revisions") or [finding.object]
        return tuple(dict.fromkeys(found))

    @property
    def exit_code(self) -> int:
        """0: there was nothing to mend; 5: there was, and all of it is mended; 4: something is left."""
        if _sound(self.before):
            return self.before.exit_code
        return EXIT_REPAIRED if _sound(self.after) and not self.lost else EXIT_FINDINGS

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for `--json`."""
        return {
            "dry_run": self.dry_run,
            "steps": [step.as_dict() for step in self.steps],
            "before": dict(self.before.counts),
            "after": dict(self.after.counts),
            "left": [finding.as_dict() for finding in self.after.findings],
            "lost": list(self.lost),
            "trouble": list(self.trouble),
            "exit_code": self.exit_code,
        }


def _sound(report: FsckReport) -> bool:
    return report.worst not in (Severity.ERROR, Severity.WARNING)


class Bench:
    """Where repair works: the store's folder, its disk, and the list of steps taken so far."""

    def __init__(self, root: str, disk: Disk) -> None:
        self.root = root
        self.disk = disk
        self.steps: list[Step] = []
        self.trouble: list[str] = []
        self.gone: list[str] = []

    def path(self, relative: str) -> str:
        """The absolute path of something in the store."""
        return os.path.join(self.root, relative)

    def did(self, action: str, what: str, detail: str = "") -> None:
        """Take note of a step."""
        self.steps.append(Step(action, what, detail))

    def temporary(self, suffix: str = ".tmp") -> str:
        """A fresh name in `tmp/`, absolute."""
        return self.path(f"{paths.TMP}/{secrets.token_hex(16)}{suffix}")

    def quarantine(self, relative: str, why: str) -> str:
        """Move something to quarantine, whatever it is; where it is now, relative to the store. Durable on return."""
        source = relative
        if relative == paths.QUARANTINE:  # what is no folder makes room for one first
            source = f"{paths.TMP}/{relative}.{secrets.token_hex(8)}"
            self.disk.rename(self.path(relative), self.path(source))
        place = self._place(relative)
        self.disk.rename(self.path(source), self.path(place))
        self.disk.fsync_dir(self.path(paths.QUARANTINE))
        self.disk.fsync_dir(os.path.dirname(self.path(relative)))
        self.did("quarantine", relative, f"{why}; now {place}")
        return place

    def quarantine_too(self, relative: str) -> str:
        """A second name in quarantine for a file that is about to be superseded under its own. Durable on return."""
        place = self._place(relative)
        self.disk.link(self.path(relative), self.path(place))
        self.disk.fsync_dir(self.path(paths.QUARANTINE))
        return place

    def _place(self, relative: str) -> str:
        if self.disk.mkdir(self.path(paths.QUARANTINE)):
            self.disk.fsync_dir(self.root)
        return f"{paths.QUARANTINE}/{os.path.basename(relative)}.{secrets.token_hex(8)}"
