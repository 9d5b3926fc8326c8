"""backup, restore, drill: the store in a second place, and back again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

import holdfast
from holdfast.cli import text, values
from holdfast.cli.invocation import MARKER, Invocation, actor, command
from holdfast.cli.urls import URL
from holdfast.errors import NotAStoreError

if TYPE_CHECKING:
    from holdfast.care.backup import BackupReport, DrillReport, RestoreReport, VerifyReport

_VERIFY = "verify"
_SHOWN = 20


@command("backup")
@click.argument("words", metavar="[verify] DEST", nargs=-1, required=True, type=click.Path())
@click.option("--keep", type=values.FROM_ONE, metavar="N", help="Keep the N newest generations; remove older ones.")
@click.option("--whole", is_flag=True, help="Copy every file anew; share none with earlier generations.")
@click.option("--generation", type=values.FROM_ONE, metavar="N", help="With verify: check only this generation.")
def backup(inv: Invocation, words: tuple[str, ...], keep: int | None, whole: bool, generation: int | None) -> int:
    """Back up the store, or check a backup.

    DEST is a folder; others may write to the store meanwhile. Each backup is a generation: a store that opens
    read-only. Files that are as they were are shared with the generation before, others are copied and compared
    with their digests. `holdfast -C DEST ls` looks into the newest. Interrupted, DEST has what it had, and the next
    backup goes on.

    `holdfast backup verify DEST` reads every file of every generation, and changes nothing. (A folder that is itself
    called verify: ./verify.)

    Exit code 0: all is whole; 4: something is damaged, in the store or in the backup, and named.
    """
    if words[0] == _VERIFY and len(words) > 1:
        if keep is not None or whole:
            raise click.UsageError("--keep and --whole are for a backup; verify changes nothing.")
        return _verify(inv, _one(words[1:]), generation)
    if generation is not None:
        raise click.UsageError("--generation is for `holdfast backup verify`.")
    destination = _one(words)
    inv.on_interrupt = "Interrupted: the generations that were there are whole; the next backup goes on from here."
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.backup(destination, keep=keep, whole=whole, progress=progress)
    inv.out.message("summary", report.as_dict())
    if not inv.json:
        _tell_backup(inv, report)
    return report.exit_code


def _one(words: Sequence[str]) -> str:
    if len(words) != 1:
        raise click.UsageError("One destination, please.")
    return words[0]


def _tell_backup(inv: Invocation, report: BackupReport) -> None:
    for lost in report.lacks:
        what = f"{text.safe(lost.digest)} in {text.safe(lost.path)}" if lost.digest else text.safe(lost.path)
        inv.out.line(inv.out.style(f"damaged in the store: {what}: {text.safe(lost.reason)}", "bad"))
    if not report.made:
        inv.out.said(f"nothing has changed since generation {report.generation}")
    else:
        copied = f"{text.count(report.copied_files, 'file')} copied, {text.size(report.copied_bytes)}"
        shared = f"{text.number(report.shared_files)} as before, {text.size(report.shared_bytes)}"
        inv.out.said(f"generation {report.generation}, up to change {report.head_seq}: {copied}; {shared}")
    if report.removed:
        inv.out.said(f"removed {_numbers(report.removed)}")
    if report.erased_in:
        inv.out.remark(f"note: {_numbers(report.erased_in)} still have what was purged or redacted since")
    if report.left_out:
        inv.out.remark(f"note: {text.count(report.left_out, 'file')} in quarantine/ of the store are in no backup")
    if report.lacks:
        inv.out.remark("next: `holdfast fsck` names what needs it; `holdfast fsck --repair --from BACKUP` mends it")


def _numbers(found: Sequence[int]) -> str:
    several = ", ".join(map(str, found[:_SHOWN])) + (" …" if len(found) > _SHOWN else "")
    return f"generation{'s' if len(found) > 1 else ''} {several}"


def _verify(inv: Invocation, destination: str, generation: int | None) -> int:
    inv.on_interrupt = "Interrupted: nothing was changed."
    with inv.meter() as progress:
        report = holdfast.verify_backup(destination, generation=generation, progress=progress)
    inv.out.message("summary", report.as_dict())
    if not inv.json:
        _tell_verified(inv, report)
    return report.exit_code


def _tell_verified(inv: Invocation, report: VerifyReport) -> None:
    for finding in report.findings:
        shown = f"{text.safe(finding.path)}: {text.safe(finding.reason)}"
        inv.out.line(inv.out.style(shown, "bad") + (f"  {text.safe(finding.digest)}" if finding.digest else ""))
    read = f"{text.count(report.files, 'file')}, {text.size(report.bytes)}"
    inv.out.said(f"{_numbers(report.generations)}: read {read} in {text.duration(report.duration_s)}")
    if report.findings:
        inv.out.said(inv.out.style(text.count(len(report.findings), "finding"), "bad"))
    else:
        inv.out.said(inv.out.style("every byte is what was written", "good"))


@command("restore")
@click.argument("source", metavar="SRC", type=click.Path())
@click.argument("destination", metavar="DEST", type=click.Path())
@click.option("--generation", type=values.FROM_ONE, metavar="N", help="This generation, not the newest.")
@click.option("--at", metavar="SEQ|TIME", help="As it was at a change, or at a time (ISO 8601 with a zone).")
@click.option("--verify", is_flag=True, help="Check every byte of the restored store, as fsck does.")
@click.option("--index", "url", type=URL, metavar="URL", help="Keep the index in a PostgreSQL database: postgresql://…")
def restore(
    inv: Invocation,
    source: str,
    destination: str,
    generation: int | None,
    at: str | None,
    verify: bool,
    url: str | None,
) -> int:
    """Make a store of a backup, as of now or of an earlier change.

    SRC is the folder that was backed up to, DEST a new or empty one. Every file is compared with what was written.
    With --at the store is as it was when that change was committed; what
    was purged or redacted since cannot come back, and is named here and in the history of the restored store.

    Interrupted, DEST is no store yet, and the same command goes on. Exit code 0: whole; 4: something is damaged.
    """
    inv.on_interrupt = "Interrupted: there is no store at the destination yet; the same command goes on from here."
    point: Any = int(at) if at is not None and at.isdecimal() else at
    with inv.meter() as progress:
        report = holdfast.restore(
            source, destination, generation=generation, at=point, verify=verify, actor=actor(), index=url,
            progress=progress,
        )  # fmt: skip
    inv.out.message("summary", report.as_dict())
    if not inv.json:
        _tell_restored(inv, report)
    return report.exit_code


def _tell_restored(inv: Invocation, report: RestoreReport) -> None:
    for finding in report.damaged:
        inv.out.line(inv.out.style(f"damaged: {text.safe(finding.path)}: {text.safe(finding.reason)}", "bad"))
    for lost in report.lacks:
        what = text.safe(lost.digest or lost.path)
        inv.out.line(inv.out.style(f"was damaged when it was backed up: {what}: {text.safe(lost.reason)}", "bad"))
    for loss in report.losses:
        which = f", revision {', '.join(map(str, loss.revisions))}" if loss.revisions else ""
        fields = f": {', '.join(loss.fields)}" if loss.fields else ""
        since = f"{loss.what} at change {loss.seq}" if loss.seq else loss.what
        inv.out.line(f"{since}: id:{loss.id}{which}{fields}")
    as_of = "" if report.as_of is None else f", committed {report.as_of:%Y-%m-%d %H:%M:%S}Z"
    amount = f"{text.count(report.files, 'file')}, {text.size(report.bytes)}"
    inv.out.said(f"restored generation {report.generation} up to change {report.head_seq}{as_of}: {amount}")
    if report.fsck is not None:
        found = ", ".join(f"{count} {code}" for code, count in sorted((report.fsck_counts or {}).items()))
        well = inv.out.style("all is well", "good")
        inv.out.said(f"fsck: {well}" if not report.fsck else inv.out.style(f"fsck: {found}", "bad"))
    if report.exit_code:
        inv.out.remark("next: `holdfast backup verify`, or restore another generation with --generation")


@command("drill")
@click.argument("source", metavar="BACKUP", type=click.Path())
@click.option("--scratch", metavar="DIR", type=click.Path(), help="Where to restore for a while [default: TMPDIR].")
@click.option("--report", "kept", metavar="FILE", type=click.Path(), help="Write the report to FILE.json and FILE.txt.")
def drill(inv: Invocation, source: str, scratch: str | None, kept: str | None) -> int:
    """Try a backup out: restore it, check it, compare it, report.

    The newest generation is restored to a scratch folder; every byte is checked, as fsck does. The restored store is
    removed again. The store (-C, HOLDFAST_STORE) is only read; without one, head and counts are
    compared with what was written down when the backup was made. Exit code 0: passed; 4: not.
    """
    inv.on_interrupt = "Interrupted: neither the backup nor the store was changed."
    store = _store(inv)
    with inv.meter() as progress:
        report = holdfast.drill(source, store=store, scratch=scratch, progress=progress)
    if kept is not None:
        _keep(report, kept, inv)
    inv.out.message("summary", report.as_dict())
    if not inv.json:
        inv.out.lines(text.lines(report.as_text().rstrip("\n")))
    return report.exit_code


def _store(inv: Invocation) -> str | None:
    """The store that was named, or that we stand in; None if there is none: perhaps it is lost."""
    path = inv.path()
    if os.path.lexists(os.path.join(path, MARKER)):
        return path
    if inv.store:
        raise NotAStoreError(f"{path} is not a store: it has no {MARKER}", path=path)
    return None


def _keep(report: DrillReport, path: str, inv: Invocation) -> None:
    from holdfast.cli import plain  # noqa: PLC0415

    stem = path.removesuffix(".json").removesuffix(".txt")
    with open(f"{stem}.json", "w", encoding="utf-8") as file:
        file.write(plain.text_of(report.as_dict()) + "\n")
    with open(f"{stem}.txt", "w", encoding="utf-8") as file:
        file.write(report.as_text())
    inv.out.remark(f"report: {text.safe(stem)}.json and {text.safe(stem)}.txt")
