"""export, import: all that a store knows, out in another shape and in again."""

from __future__ import annotations

import click

from holdfast.cli import text
from holdfast.cli.exits import Exit
from holdfast.cli.groups import Exports
from holdfast.cli.invocation import Invocation, actor, command
from holdfast.cli.values import FROM_ZERO

AGAIN = "Interrupted: the export is not whole, and import refuses it so. The same command again goes on."
EMPTY = "Interrupted: the store is as it was, or has all of it. The same command again begins anew."
PARTED = (
    "It is this very store, at a later change, but it was edited or redacted there. So what is new was merged, as "
    "changes of this one's own, and the two are no longer the same to the last hash."
)
WAYS = ["fail", "skip", "rename", "newest", "theirs", "ours"]


@click.group("export", cls=Exports)
def export() -> None:
    """Write the store in another shape.

    `tree`: readable files for git, from which `holdfast import` makes an equal store. `git`: the history as commits.
    The others are forms that the field has agreed on; see docs/standards.md.
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
@click.option("--on-conflict", type=click.Choice(WAYS), default="fail", help="Whose counts if both changed the same.")
@click.option("--mirror", is_flag=True, help="Delete what is not in SOURCE.")
@click.option("--edits/--exact", default=None, help="Edits in SOURCE: take them into a new store too; or refuse all.")
@click.option("--max-bytes", type=FROM_ZERO, metavar="BYTES", help="Take a snapshot that claims to hold up to so much.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would become of each item; write nothing.")
def import_(
    inv: Invocation, source: str, on_conflict: str, mirror: bool, edits: bool | None, max_bytes: int | None,
    dry_run: bool,
) -> int:  # fmt: skip
    """Take in an exported store, or merge it.

    SOURCE is a folder that `holdfast export tree` wrote, or a file that `holdfast snapshot take` wrote. If the store
    that -C names is new or empty, it becomes equal to the exported one, with the same ids and the same history. If
    not, what is new in SOURCE comes in as changes of its own, and edits that were made in the folder as new revisions.
    What both changed is decided by --on-conflict. Everything is checked before anything is written, and nothing is
    done by half.
    """
    import holdfast  # noqa: PLC0415

    inv.on_interrupt = EMPTY
    with inv.meter() as progress:
        report = holdfast.import_store(
            inv.path(), source, on_conflict=on_conflict, mirror=mirror, edits=edits, dry_run=dry_run,
            max_bytes=max_bytes, actor=actor(), lock_wait_s=inv.lock_wait_s, progress=progress,
        )  # fmt: skip
    amounts = ("store", "head", "transactions", "changes", "contents", "bytes", "merged", "continues", "counts")
    for item in report.items:
        inv.out.message("item", {key: getattr(item, key) for key in ("kind", "id", "path", "outcome", "detail")})
        if not inv.json:
            detail = f" ({item.detail})" if item.detail else ""
            click.echo(f"{item.outcome:>8}  {item.kind} {text.safe(item.path or item.id)}{text.safe(detail)}")
    inv.out.message("summary", {"dry_run": dry_run, **{key: getattr(report, key) for key in amounts}})
    if report.merged:
        told = ", ".join(f"{text.number(number)} {word}" for word, number in sorted(report.counts.items()))
        stopped = report.counts.get("conflict", 0)
        if stopped:
            inv.out.said(f"nothing would be merged, as there is a conflict: {told}")
            inv.out.said("hint: say --on-conflict skip, rename, newest, theirs or ours, here too, to see what it does")
            return Exit.FAILED
        inv.out.said(f"{'would be merged' if dry_run else 'merged'}: {told or 'nothing new'}")
        if report.continues:
            inv.out.said(PARTED)
    elif report.continues:
        inv.out.said(
            f"{text.count(report.changes, 'change')} {'would follow' if dry_run else 'follow'} on those that are here "
            f"already: it is this very store, gone on"
        )
    elif dry_run:
        inv.out.said(f"sound: {text.count(report.changes, 'change')}; it can be imported")
    else:
        inv.out.said(
            f"{text.count(report.changes, 'change')}, {text.count(report.contents, 'content')} "
            f"({text.size(report.bytes)}) imported"
        )
    return Exit.OK


export.add_command(tree)
