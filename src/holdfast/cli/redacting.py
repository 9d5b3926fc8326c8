"""redact: fields of a record, or all of it, erased for good."""

from __future__ import annotations

import sys

import click

from holdfast.care.redact import RedactReport
from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH, label, record
from holdfast.cli.values import FROM_ONE
from holdfast.values.redaction import FIELDS


@command("redact")
@click.argument("ref", type=PATH)
@click.option(
    "-f", "--field", "fields", multiple=True, type=click.Choice(FIELDS), metavar="FIELD",
    help=f"Only this one (repeatable): {', '.join(FIELDS)}.",
)  # fmt: skip
@click.option(
    "-r", "--revision", "numbers", multiple=True, type=FROM_ONE, metavar="N",
    help="Content, metadata, message and source of this revision only (repeatable).",
)  # fmt: skip
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the log.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be erased; change nothing.")
def redact(
    inv: Invocation, ref: str, fields: tuple[str, ...], numbers: tuple[int, ...], note: str, yes: bool, dry_run: bool
) -> None:
    """Erase fields of a record, or all of it, for good.

    From journal, index, contents, search and quarantine, in all of its history; the chain still verifies, and who
    erased what and when stays visible. REF is a path or `id:UUID`, also of a deleted record. The store must not be in
    use. If it was interrupted, the same command again finishes it.
    """
    inv.on_interrupt = "Interrupted: what was announced is not all erased yet; the same command again finishes it."
    if not yes and not dry_run and (inv.json or not sys.stdin.isatty()):
        raise click.UsageError("redacting cannot be undone: say --yes, or --dry-run to see what it would erase")
    with inv.open(read_only=dry_run) as store:
        found = record(store, ref, deleted=True)
        shown = label(found)
        if not dry_run and not yes:
            would = store.redact(found, fields=fields or None, revisions=numbers or None, dry_run=True)
            _tell(inv, would, shown)
            click.confirm("Erase this for good?", abort=True, err=True)
        report = store.redact(
            found, fields=fields or None, revisions=numbers or None, note=note, dry_run=dry_run
        )  # fmt: skip
    inv.out.document(plain.plain(report))
    _tell(inv, report, shown)


def _tell(inv: Invocation, report: RedactReport, shown: str) -> None:
    word = "would erase" if report.dry_run else "erased"
    if not report.changes:
        inv.out.said(f"nothing of {text.safe(shown)} is left to erase")
    else:
        fields = sorted({field for change in report.changes for field in change.fields})
        changes = text.count(len(report.changes), "change")
        inv.out.said(f"{word} {', '.join(fields)} of {text.safe(shown)} in {changes}")
    if report.revisions:
        inv.out.said(f"{word} the content of revision {', '.join(map(str, report.revisions))}")
    for line in _kept(report):
        inv.out.said(f"still there: {line}")
    if not report.dry_run:
        inv.out.said("next: backups, copies and exports made earlier still hold it; heads written down stay valid")


def _kept(report: RedactReport) -> list[str]:
    said = [f"the content {digest}, which something else has too" for digest in report.contents_kept]
    if report.also_in:
        seqs = ", ".join(map(str, report.also_in[:10])) + (" …" if len(report.also_in) > 10 else "")
        said.append(f"a text that was erased here stands in other records: change {seqs} (`holdfast log --since SEQ`)")
    if report.temporaries:
        said.append(f"{text.count(report.temporaries, 'file')} in tmp/ may hold anything; gc removes what is a day old")
    if report.server_keeps:
        said.append(f"the index's server may keep it in {', '.join(report.server_keeps)}: see docs/postgresql.md")
    if report.left_aside:
        said.append(f"{text.count(report.left_aside, 'other file')} in quarantine/ may hold anything: look at them")
    return said
