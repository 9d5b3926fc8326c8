"""A drill: a backup is worth what comes back of it, so it is restored, checked whole, and compared with its store."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, field
from typing import Any

from holdfast import disk
from holdfast.care.backup import generations
from holdfast.care.backup.destination import Destination
from holdfast.care.backup.report import EXIT_FINDINGS
from holdfast.care.backup.restoring import Wanted, chosen, restore
from holdfast.care.fsck import check_path
from holdfast.engine.open import open_store
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.engine.settings import Settings
from holdfast.errors import BackupDamagedError, HoldfastError
from holdfast.formats.generation import Generation
from holdfast.index.stored import StoredFiles
from holdfast.values import moment
from holdfast.values.change import Actor
from holdfast.values.frozen import dataclass
from holdfast.version import __version__


@dataclass(frozen=True, slots=True)
class Tried:
    """One question of a drill. `answer`: what was seen, in words."""

    what: str
    passed: bool
    answer: str


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What a drill saw. `at`: when it began; `made`: when the generation was; `age_s`: how old that was then.

    `behind`: how many changes the store has that the backup has not (None: the store was not looked at).
    """

    source: str
    store: str | None
    store_id: str
    generation: int
    at: str
    made: str
    age_s: float
    head_seq: int
    head_hash: str
    behind: int | None
    files: int
    bytes: int
    counts: dict[str, int]
    fsck_counts: dict[str, int]
    tried: tuple[Tried, ...]
    restore_s: float
    duration_s: float
    version: str = __version__

    @property
    def passed(self) -> bool:
        """Whether every question was answered well."""
        return all(one.passed for one in self.tried)

    @property
    def exit_code(self) -> int:
        """0: passed; 4: not."""
        return 0 if self.passed else EXIT_FINDINGS

    def as_dict(self) -> dict[str, Any]:
        """As plain values, to be kept."""
        return {**asdict(self), "passed": self.passed, "exit_code": self.exit_code}

    def as_text(self) -> str:
        """The same as a page for people."""
        lines = [
            f"Restore drill: {'passed' if self.passed else 'FAILED'}",
            f"begun at {self.at}, took {self.duration_s:.1f} s, of that {self.restore_s:.1f} s to restore",
            f"backup: {self.source}, generation {self.generation}, made {self.made} ({_age(self.age_s)} before)",
            f"store: {self.store_id}" + (f" at {self.store}" if self.store else ", which was not looked at"),
            f"head: change {self.head_seq}, {self.head_hash}",
            f"restored: {self.files:,} files, {self.bytes:,} bytes; {_words(self.counts)}",
            *(f"{'ok  ' if one.passed else 'FAIL'}  {one.what}: {one.answer}" for one in self.tried),
            f"holdfast {self.version}",
        ]
        return "\n".join(lines) + "\n"


def drill(
    source: Destination, *, store: str | None = None, scratch: str | None = None, progress: Progress | None = None
) -> DrillReport:
    """Restore the newest generation to a scratch place, check and compare. See `holdfast.drill`."""
    began_s, at_us = time.monotonic(), time.time_ns() // 1000
    store_id, one = generations.store_id(source), chosen(source, None)
    with _place(scratch) as folder:
        seen = _tried_out(source, one, os.path.join(folder, "restored"), progress)
    took_s, tried = time.monotonic() - began_s, seen.tried
    behind: int | None = None
    if store is not None:
        compared, behind = _same_as_store(store, store_id, one)
        tried += compared
    return DrillReport(
        source.where, store, store_id, one.number, moment.to_text(at_us), moment.to_text(one.made_us),
        (at_us - one.made_us) / 1e6, one.head.next_seq - 1, one.head.hash.hex(), behind, seen.files, seen.bytes,
        one.counts, seen.fsck_counts, tuple(tried), seen.restore_s, took_s,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of the restore."""

    tried: list[Tried]
    restore_s: float
    files: int = 0
    bytes: int = 0
    fsck_counts: dict[str, int] = field(default_factory=dict)


def _tried_out(source: Destination, one: Generation, root: str, progress: Progress | None) -> _Seen:
    began_s = time.monotonic()
    try:
        restored = restore(source, root, Wanted(one.number), Settings(Actor("drill", "schedule")), progress)
    except BackupDamagedError as error:
        return _Seen([Tried("it can be restored", passed=False, answer=error.message)], time.monotonic() - began_s)
    restore_s = time.monotonic() - began_s
    checked = check_path(root, progress=progress)
    found = ", ".join(f"{count} {code}" for code, count in sorted(checked.counts.items())) or "all is well"
    tried = [
        Tried("every file is what was written", not restored.damaged, _damage(len(restored.damaged), restored.files)),
        Tried("nothing was lacking when it was made", not one.lacks, f"{len(one.lacks)} contents or files lacking"),
        Tried("fsck finds nothing", checked.exit_code == 0, found),
        _same_inside(root, one),
    ]
    return _Seen(tried, restore_s, restored.files, restored.bytes, dict(checked.counts))


@contextlib.contextmanager
def _place(scratch: str | None) -> Iterator[str]:
    if scratch is None:
        with scratch_folder() as folder:
            yield folder
        return
    with disk.typed("make a folder in", scratch):
        os.makedirs(scratch, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="holdfast-drill-", dir=scratch)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _damage(damaged: int, files: int) -> str:
    return f"{files} files" if not damaged else f"{damaged} of {files} files are damaged"


def _same_inside(root: str, one: Generation) -> Tried:
    """The restored store says of itself what was written down when it was backed up."""
    handle = open_store(root, Settings(Actor("drill", "schedule"), read_only=True))
    try:
        head = handle.index.chain.head() or handle.origin
        counts = StoredFiles(handle.index.database).counts()
    finally:
        handle.close()
    same = head.hash == one.head.hash and counts == one.counts
    return Tried("head and counts are those of the backup", same, f"change {head.next_seq - 1}, {_words(counts)}")


def _same_as_store(store: str, store_id: str, one: Generation) -> tuple[list[Tried], int | None]:
    """The store of today goes on from the backup; if nothing came since, it has the same counts."""
    try:
        handle = open_store(store, Settings(Actor("drill", "schedule"), read_only=True))
    except HoldfastError as error:
        return [Tried("the store can be compared", passed=False, answer=error.message)], None
    try:
        if handle.marker.store_id != store_id:
            return [Tried("it is the same store", passed=False, answer=f"{store} is {handle.marker.store_id}")], None
        chain = handle.index.chain
        head = chain.head() or handle.origin
        leads_on = one.head.next_seq == 1 or chain.passed(one.head.next_seq, one.head.hash)
        behind = head.next_seq - one.head.next_seq
        tried = [Tried("the store's history goes through the backup's head", leads_on,
                       f"the store ends at change {head.next_seq - 1}, {behind} further on")]  # fmt: skip
        if leads_on and not behind:
            counts = StoredFiles(handle.index.database).counts()
            tried.append(Tried("counts are those of the store", counts == one.counts, _words(counts)))
    finally:
        handle.close()
    return tried, behind


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{amount:,} {kind}{'s' * (amount != 1)}" for kind, amount in sorted(counts.items())) or "nothing"


def _age(seconds: float) -> str:
    """For people: the largest unit of which there are two or more."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
