"""revert, purge: old revisions made new again, and contents given up."""

from __future__ import annotations

import sys

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.putting import tell
from holdfast.cli.refs import PATH, artifact
from holdfast.cli.values import FROM_ONE
from holdfast.errors import ConflictError
from holdfast.values.records import Artifact, Revision, RevisionState


@command("revert")
@click.argument("ref", type=PATH)
@click.argument("revision", type=FROM_ONE)
@click.option("-m", "--message", default="", help="Why.")
def revert(inv: Invocation, ref: str, revision: int, message: str) -> None:
    """Make an old revision the newest again.

    A new revision with the content, media type and metadata of revision REVISION; nothing is lost.
    """
    with inv.open() as store:
        result = store.artifacts.revert(artifact(store, ref), revision, message=message)
    tell(inv, result)


@command("purge")
@click.argument("ref", type=PATH)
@click.option(
    "-r",
    "--revision",
    "numbers",
    multiple=True,
    type=FROM_ONE,
    metavar="N",
    help="This revision (repeatable).",
)
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the log.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be given up; change nothing.")
def purge(inv: Invocation, ref: str, numbers: tuple[int, ...], note: str, yes: bool, dry_run: bool) -> None:
    """Give up contents for good.

    Of a deleted artifact all revisions, or those given by -r; of a live one those given, other than the newest. Who
    purged what and when stays visible; the space is freed by `holdfast gc`, unless something else has the same content.
    """
    if not yes and not dry_run and (inv.json or not sys.stdin.isatty()):
        raise click.UsageError("purging cannot be undone: say --yes, or --dry-run to see what it would do")
    with inv.open(read_only=dry_run) as store:
        found = artifact(store, ref, deleted=True)
        wanted = _wanted(found, store.artifacts.revisions(found), numbers)
        if not dry_run:
            if not yes:
                click.confirm(f"Give up {_amount(wanted)} of {text.safe(found.path)} for good?", abort=True, err=True)
            found = store.artifacts.purge(found, revisions=numbers or None, note=note)
    inv.out.document({"dry_run": dry_run, "artifact": found, "purged": wanted})
    inv.out.said(f"{'would give up' if dry_run else 'gave up'} {_amount(wanted)} of {text.safe(found.path)}")
    if wanted and not dry_run:
        inv.out.said("next: `holdfast gc` frees the space, after the grace period")


def _wanted(found: Artifact, history: list[Revision], numbers: tuple[int, ...]) -> list[Revision]:
    if found.deleted_at is None and not numbers:
        raise ConflictError(
            f"{found.path!r} is live",
            id=found.id,
            remedy="Delete it first (`holdfast rm`), or name old revisions with -r.",
        )
    return [one for one in history if (not numbers or one.number in numbers) and one.state is RevisionState.KEPT]


def _amount(wanted: list[Revision]) -> str:
    return f"{text.count(len(wanted), 'revision')} ({text.size(sum(one.size for one in wanted))})"
