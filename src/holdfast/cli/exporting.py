"""export, import: all that a store knows, out in another shape and in again."""

from __future__ import annotations

import click

from holdfast.cli import git, text
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.values import FROM_ZERO

AGAIN = "Interrupted: the export is not whole, and import refuses it so. The same command again goes on."
EMPTY = "Interrupted: the store is empty, or has all of it. The same command again begins anew."


@click.group("export")
def export() -> None:
    """Write the store in another shape.

    `tree`: readable files for git, from which `holdfast import` makes an equal store. `git`: the history as commits.
    """


@command("tree")
@click.argument("dest", type=click.Path())
@click.option("--large-from", type=FROM_ZERO, metavar="BYTES", help="Larger contents stand as pointers [10485760].")
@click.option("--large", type=click.Choice(["beside", "leave-out"]), help="Where larger contents go: beside the tree.")
@click.option("-f", "--force", is_flag=True, help="Overwrite what was edited in DEST since the last export.")
def tree(inv: Invocation, dest: str, large_from: int | None, large: str | None, force: bool) -> int:
    """Write all of the store as readable files.

    Newest contents stand in DEST under their names, records and changes as lines of JSON. Nothing in it depends on when
    or where it was made: an unchanged store gives the same bytes, and what is the same already is not written
    again. Edits in DEST are not overwritten without --force. See docs/export-format.md.
    """
    inv.on_interrupt = AGAIN
    beside = None if large is None else large == "beside"
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.export_tree(dest, large_from=large_from, large_beside=beside, force=force, progress=progress)
    for path in report.overwritten:
        inv.out.message("overwritten", {"path": path})
    amounts = ("seq", "root", "written", "same", "removed", "bytes")
    inv.out.message("summary", {key: getattr(report, key) for key in amounts})
    parts = [f"{text.count(report.written, 'file')} written", f"{text.number(report.same)} as they were"]
    if report.removed:
        parts.append(f"{text.number(report.removed)} removed")
    inv.out.said(f"{', '.join(parts)}; {text.size(report.bytes)}; up to change {report.seq}")
    return Exit.OK


@command("import")
@click.argument("source", type=click.Path())
@click.option("-n", "--dry-run", is_flag=True, help="Check it all; write nothing.")
def import_(inv: Invocation, source: str, dry_run: bool) -> int:
    """Make a new store of an exported one.

    SOURCE is a folder that `holdfast export tree` wrote. The store that -C names must be new or empty; it becomes
    equal to the one that was exported, with the same ids and the same history. Everything is checked before anything
    is written. `holdfast import git REPO` takes the history of a git repository in.
    """
    import holdfast  # noqa: PLC0415

    inv.on_interrupt = EMPTY
    with inv.meter() as progress:
        report = holdfast.import_store(
            inv.path(), source, dry_run=dry_run, lock_wait_s=inv.lock_wait_s, progress=progress
        )
    amounts = ("store", "head", "transactions", "changes", "contents", "bytes")
    inv.out.message("summary", {"dry_run": dry_run, **{key: getattr(report, key) for key in amounts}})
    if dry_run:
        inv.out.said(f"sound: {text.count(report.changes, 'change')}; it can be imported")
    else:
        inv.out.said(
            f"{text.count(report.changes, 'change')}, {text.count(report.contents, 'content')} "
            f"({text.size(report.bytes)}) imported"
        )
    return Exit.OK


export.add_command(tree)
export.add_command(git.git_out)
import_ = git.Importing(import_)
