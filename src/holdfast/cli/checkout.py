"""checkout: a collection out of the store as a working tree, or an artifact as a file."""

from __future__ import annotations

import click

from holdfast.cli import text
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH
from holdfast.cli.values import FROM_ONE
from holdfast.exchange.delivery import CheckoutReport

AGAIN = "Interrupted: all files that have their names are whole. The same command again goes on where this one stopped."


@command("checkout")
@click.argument("ref", type=PATH)
@click.argument("dest", type=click.Path())
@click.option("--at", metavar="SEQ|TIME", help="As it was after this change, or at this time (ISO 8601 with a zone).")
@click.option("-r", "--revision", type=FROM_ONE, metavar="N", help="This revision of an artifact; else the newest.")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there and differ.")
@click.option("--keep", is_flag=True, help="Leave files that are there and differ, and write the others.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be written; write nothing.")
def checkout(
    inv: Invocation, ref: str, dest: str, at: str | None, revision: int | None, force: bool, keep: bool, dry_run: bool
) -> int:
    """Write a collection out as a working tree.

    What is in the collection REF comes into the folder DEST, made if absent, byte for byte, with links, modes and
    times; "." is everything. An artifact comes as the file DEST, or into the folder DEST. `holdfast add` of the
    result changes nothing. If a file is there and differs, nothing is written, unless --keep or --force is said. What
    was purged, redacted or damaged is named, and the rest is written (exit code 3).
    """
    if force and keep:
        raise click.UsageError("--force and --keep exclude each other")
    inv.on_interrupt = AGAIN
    existing = "replace" if force else "keep" if keep else "refuse"
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.checkout(
            ref, dest, at=at, revision=revision, existing=existing, dry_run=dry_run, progress=progress
        )
    _tell(inv, report, dry_run)
    if report.conflicts:
        return Exit.FAILED
    return Exit.PARTLY if report.problems else Exit.OK


def _tell(inv: Invocation, report: CheckoutReport, dry_run: bool) -> None:
    for problem in report.problems:
        inv.out.message("problem", problem)
        if not inv.json:
            click.echo(f"left out: {text.safe(problem.path)}: {text.safe(problem.reason)}", err=True)
    for path in report.conflicts:
        inv.out.message("conflict", {"path": path})
        if not inv.json:
            click.echo(f"in the way: {text.safe(path)}", err=True)
    amounts = ("seq", "written", "same", "kept", "replaced", "folders", "bytes", "moved_on")
    told = {key: getattr(report, key) for key in amounts}
    inv.out.message("summary", {"dry_run": dry_run, **told, "left_out": len(report.problems)})
    parts = [f"{text.count(report.written, 'file')} {'would be written' if dry_run else 'written'}"]
    for amount, words in (
        (report.same, "there already"), (report.kept, "kept as they are"), (report.replaced, "of them replaced"),
        (len(report.problems), "left out"),
    ):  # fmt: skip
        if amount:
            parts.append(f"{text.number(amount)} {words}")
    inv.out.said(f"{', '.join(parts)}; {text.size(report.bytes)}")
    if report.moved_on:
        inv.out.remark(f"note: somebody wrote to the store meanwhile; --at {report.seq} gives the state of one moment")
