"""add: files and whole trees into the store."""

from __future__ import annotations

import click

from holdfast.cli import text
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH
from holdfast.exchange.folder import AddReport

AGAIN = (
    "Interrupted: all batches reported so far are in the store. The same command again goes on where this one stopped."
)


@command("add")
@click.argument("paths", nargs=-1, required=True, type=click.Path())
@click.option(
    "--into", type=PATH, default="", metavar="COLLECTION", help="Where in the store to put them; made if absent."
)
@click.option(
    "--checksum", is_flag=True, help="Read every file, also those that look as they did when they were added."
)
@click.option("--searchable", is_flag=True, help="Take in the text for search meanwhile; else the first search does.")
def add(inv: Invocation, paths: tuple[str, ...], into: str, checksum: bool, searchable: bool) -> int:
    """Take in files and whole trees.

    Each of PATHS goes in under its own name: `holdfast add src` makes the collection src. Unchanged files make no new
    revision, so the same command again takes in what changed: it reads only files whose size, times, inode, device or
    mode are not what they were. Symbolic links are kept as links. What cannot be read is
    reported, and the rest goes in (exit code 3).
    """
    inv.on_interrupt = AGAIN
    with inv.open() as store, inv.meter() as progress:
        report = store.add(*paths, into=into, checksum=checksum, searchable=searchable, progress=progress)
    _tell(inv, report)
    if not report.problems:
        return Exit.OK
    return Exit.PARTLY if report.seen > len(report.problems) else Exit.FAILED


def _tell(inv: Invocation, report: AddReport) -> None:
    for problem in report.problems:
        inv.out.message("problem", problem)
        if not inv.json:
            click.echo(f"left out: {text.safe(str(problem.path))}: {text.safe(problem.reason)}", err=True)
    amounts = {key: getattr(report, key) for key in ("added", "revised", "unchanged", "collections", "bytes")}
    inv.out.message("summary", {**amounts, "left_out": len(report.problems)})
    parts = [
        f"{text.count(report.added, 'new artifact')}",
        f"{text.number(report.revised)} revised",
        f"{text.number(report.unchanged)} unchanged",
    ]
    if report.problems:
        parts.append(inv.out.style(f"{text.number(len(report.problems))} left out", "warn"))
    inv.out.said(f"{', '.join(parts)}; {text.size(report.bytes)} read")
    if report.problems:
        inv.out.said("next: mend what is named above and give the same command again")
