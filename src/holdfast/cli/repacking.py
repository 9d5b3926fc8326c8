"""repack: similar content put together."""

from __future__ import annotations

import click

from holdfast.care.repack import RepackReport
from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, command


@command("repack")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be taken in; change nothing.")
def repack(inv: Invocation, dry_run: bool) -> None:
    """Put similar contents together, so that they take less space.

    Revisions of one artifact share a compressed frame of a pack, and so do small contents of like type and name. What
    was repacked before stays as it is. The old files go with a `holdfast gc` after its grace period; until then the
    store takes more space, not less. gc repacks by itself when much has been added.
    """
    inv.on_interrupt = "Interrupted: nothing is lost; the next `holdfast repack` goes on."
    with inv.open(read_only=dry_run) as store, inv.meter() as progress:
        report = store.repack(dry_run=dry_run, progress=progress)
    inv.out.message("summary", plain.plain(report))
    if not inv.json:
        _tell(inv, report)


def _tell(inv: Invocation, report: RepackReport) -> None:
    if not report.contents:
        inv.out.said("nothing to repack")
    else:
        would = "would be " if report.dry_run else ""
        old = f"{text.count(report.packs_superseded, 'pack')}, {text.count(report.loose_superseded, 'file')}"
        rows = [
            (f"{would}repacked", f"{text.count(report.contents, 'content')}, {text.size(report.content_bytes)}"),
            ("stored before", text.size(report.stored_before)),
            *([] if report.dry_run else [("stored now", text.size(report.stored_after))]),
            (f"{would}superseded", old),
        ]
        inv.out.lines(text.table(rows))
        if not report.dry_run:
            inv.out.said("next: a `holdfast gc` after its grace period removes the old files")
    if report.unreadable:
        inv.out.remark(f"{text.count(report.unreadable, 'content')} could not be read; `holdfast fsck` names them")
