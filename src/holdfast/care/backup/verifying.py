"""Reads every file of every generation and compares it with what was written: nothing else is trusted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.care.backup import generations
from holdfast.care.backup.destination import Destination
from holdfast.care.backup.report import Finding, VerifyReport
from holdfast.engine.recover import Progress
from holdfast.errors import BackupDamagedError, NotABackupError, StorageIOError
from holdfast.formats import generation
from holdfast.formats.generation import Entry, Generation

MOST_FINDINGS = 10_000


@dataclass(slots=True)
class _Check:
    """A check under way. `wrong`: names of files that were found damaged, and how, up to MOST_FINDINGS."""

    destination: Destination
    progress: Progress | None
    total: int = 0
    files: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)

    def found(self, number: int, path: str, reason: str, digest: str = "") -> None:
        """Note it, up to MOST_FINDINGS."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(number, path, reason, digest))
            self.wrong[path] = reason


def verify(destination: Destination, *, only: int | None = None, progress: Progress | None = None) -> VerifyReport:
    """Check a backup; changes nothing. `only`: one generation. See `holdfast.verify_backup`."""
    began_s = time.monotonic()
    generations.store_id(destination)
    numbers = generations.numbers(destination) if only is None else [only]
    if not numbers:
        raise NotABackupError(
            f"no backup to {destination.where} was ever finished", path=destination.where,
            remedy="Run `holdfast backup` again: it goes on where it stopped.",
        )  # fmt: skip
    check = _Check(destination, progress)
    records = [one for number in reversed(numbers) if (one := _record(check, number, only)) is not None]
    check.total = sum(one.files for one in records)
    newer: Generation | None = None
    for one in records:
        newer = one if _check_generation(check, one, newer) else None
    return VerifyReport(
        destination.where, tuple(numbers), check.files, check.bytes, time.monotonic() - began_s, tuple(check.findings)
    )


def _record(check: _Check, number: int, only: int | None) -> Generation | None:
    try:
        return generations.read(check.destination, number)
    except NotABackupError:
        if only is not None:
            raise
        check.found(number, generation.record_of(number), "missing")
    except BackupDamagedError as error:
        check.found(number, generation.record_of(number), error.message)
    return None


def _check_generation(check: _Check, one: Generation, newer: Generation | None) -> bool:
    """Whether its list is sound. What a generation shares with the next newer one was read with that."""
    for lost in one.lacks:
        check.found(one.number, f"{generation.folder_of(one.number)}/{lost.path}",
                    f"it was damaged in the store: {lost.reason}", lost.digest)  # fmt: skip
    try:
        if _digest(check.destination, generation.list_of(one.number))[0] != one.list_digest:
            raise BackupDamagedError("it is not what was written", path=generation.list_of(one.number), reason="digest")
        for entry, same in _with_newer(check.destination, one, newer):
            _check_file(check, one.number, entry, None if newer is None or not same else newer.number)
        for name in generations.unlisted(check.destination, one.number):
            check.found(one.number, name, "it does not belong here: no list has it")
    except (BackupDamagedError, StorageIOError) as error:
        check.found(one.number, generation.list_of(one.number), error.message)
        return False
    return True


def _with_newer(destination: Destination, one: Generation, newer: Generation | None) -> Iterator[tuple[Entry, bool]]:
    """Entries in order, with whether the newer generation lists the same."""
    others = iter(()) if newer is None else generations.entries(destination, newer.number)
    other = next(others, None)
    for entry in generations.entries(destination, one.number):
        while other is not None and other.order < entry.order:
            other = next(others, None)
        yield entry, other is not None and (other.path, other.digest) == (entry.path, entry.digest)


def _check_file(check: _Check, number: int, entry: Entry, shared_with: int | None) -> None:
    name = f"{generation.folder_of(number)}/{entry.path}"
    other = None if shared_with is None else f"{generation.folder_of(shared_with)}/{entry.path}"
    if other is not None and check.destination.same(name, other):
        check.total -= 1
        if other in check.wrong:
            check.found(number, name, check.wrong[other])
        return
    check.files += 1
    try:
        digest, size = _digest(check.destination, name)
        check.bytes += size
        if (digest, size) != (entry.digest, entry.size):
            check.found(number, name, "it is not what was written" if size == entry.size else
                        f"it has {size} bytes, and {entry.size} were written")  # fmt: skip
    except BackupDamagedError as error:
        check.found(number, name, str(error.fields["reason"]))
    except StorageIOError as error:
        check.found(number, name, error.message)
    if check.progress:
        check.progress(check.files, max(check.files, check.total), "verifying", "files")


def _digest(destination: Destination, name: str) -> tuple[str, int]:
    found, size = hashlib.sha256(), 0
    for block in destination.blocks(name):
        found.update(block)
        size += len(block)
    return found.hexdigest(), size
