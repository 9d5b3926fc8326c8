"""What a backup, a check of one, a restore and a drill have to say."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from holdfast.formats.generation import Lacking
from holdfast.values.frozen import dataclass
from holdfast.values.loss import Loss

EXIT_FINDINGS = 4


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup did. `generation`: the one that is newest now; `made`: False if nothing had changed since it.

    `copied_*`: read from the store and proven; `shared_*`: as in the generation before, or in what a backup that was
    killed or had to begin again left (`resumed`). Sizes in bytes. `lacks`: contents that the store itself has not
    whole, and that no earlier generation had under the same file. `erased_in`: earlier generations that still have what
    was redacted or purged since. `removed`: generations that went by `keep`; none do while something is lacking.
    `left_out`: files in the store's quarantine/, which are not part of a backup.
    `again`: how often it was begun again, since contents had moved meanwhile.
    """

    destination: str
    generation: int
    made: bool
    head_seq: int
    head_hash: str
    copied_files: int
    copied_bytes: int
    shared_files: int
    shared_bytes: int
    resumed: bool
    again: int
    duration_s: float
    lacks: tuple[Lacking, ...] = ()
    erased_in: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    left_out: int = 0

    @property
    def exit_code(self) -> int:
        """4 if the store is damaged, so that something is lacking; 0 if not."""
        return EXIT_FINDINGS if self.lacks else 0

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return {**asdict(self), "exit_code": self.exit_code}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in a backup. `path`: in the destination; `reason`: what; `digest`: of a content, "" for files."""

    generation: int
    path: str
    reason: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check of a backup found. `files`, `bytes`: read; a file that generations share is read once."""

    destination: str
    generations: tuple[int, ...]
    files: int
    bytes: int
    duration_s: float
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: every byte is what was written; 4: there are findings."""
        return EXIT_FINDINGS if self.findings else 0

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return {**asdict(self), "exit_code": self.exit_code}


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore made. `head_seq`: the newest change in it; `as_of`: when that was committed (None: empty).

    `damaged`: files that the backup has not whole, and that are not in the store either; `lacks`: what was lacking when
    the backup was made. `losses`: with `at`, what was purged or redacted since then. `fsck`: exit code of a full check
    (None: not asked for), with its findings counted by code.
    """

    source: str
    path: str
    generation: int
    head_seq: int
    head_hash: str
    as_of: datetime | None
    files: int
    bytes: int
    kept_files: int
    duration_s: float
    damaged: tuple[Finding, ...] = ()
    lacks: tuple[Lacking, ...] = ()
    losses: tuple[Loss, ...] = ()
    fsck: int | None = None
    fsck_counts: dict[str, int] | None = None

    @property
    def exit_code(self) -> int:
        """0: whole; 4: something is damaged or lacking, or the check has findings. `losses` are none."""
        return EXIT_FINDINGS if self.damaged or self.lacks or self.fsck else 0

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        found = {**asdict(self), "exit_code": self.exit_code}
        found["as_of"] = None if self.as_of is None else self.as_of.isoformat()
        return found
