"""import git, export git: histories of git repositories, in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli import text
from holdfast.cli.exits import Exit
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH

if TYPE_CHECKING:
    from holdfast.exchange.folder import Problem

TAKEN = "Interrupted: the commits that were taken stay. The same command again goes on."
NAMED = 10
WRITTEN = "Interrupted: no branch was moved. The same command again goes on."


@command("git")
@click.argument("repo", type=click.Path())
@click.option("--into", type=PATH, metavar="COLLECTION", help="Where it goes [default: the repository's name].")
@click.option(
    "--branch", "branches", multiple=True, metavar="NAME", help="A branch, tag or commit [default: what HEAD is]."
)
@click.option("--path", "paths", multiple=True, type=click.Path(), help="Only what touches this path; repeatable.")
@click.option("--range", "range_", default="", metavar="OLD..NEW", help="Only what came after OLD, up to NEW.")
def git_in(
    inv: Invocation, repo: str, into: str | None, branches: tuple[str, ...], paths: tuple[str, ...], range_: str
) -> int:
    """Take the history of a git repository into the store.

    The files of the branch become artifacts in a collection, and what each commit did to them revisions, with its
    author, message and mode. Each commit becomes a run, which has its dates. Beside the collection lies another one
    whose name ends with `.git`: the record from which `holdfast export git` makes the same commits again. The same
    command takes what is new since. Nothing in REPO is changed. See docs/git.md.
    """
    inv.on_interrupt = TAKEN
    if len(branches) > 1:
        raise click.UsageError(
            "one branch at a time: each goes into a collection of its own (`--branch A --into repo/A`, then "
            "`--branch B --into repo/B`); what they have in common is kept once."
        )
    with inv.open() as store, inv.meter() as progress:
        report = store.import_git(
            repo, into=into, branch=branches[0] if branches else "", paths=paths, range=range_, progress=progress
        )
    _tell(inv, report.problems)
    inv.out.message("summary", _plainly(report))
    parts = [f"{text.count(report.commits, 'commit')} of {text.safe(report.branch or report.tip)}"]
    for amount, words in (
        (report.created, "new"), (report.revised, "revised"), (report.moved, "moved"), (report.deleted, "deleted"),
    ):  # fmt: skip
        if amount:
            parts.append(f"{text.number(amount)} {words}")
    inv.out.said(f"{', '.join(parts)}; {text.size(report.bytes)} read")
    for amount, words in (
        (report.odd, "with signatures or headers of their own, kept as they are"),
        (report.cut, "without parents that were left out: their ids will be others when they are exported"),
    ):
        if amount:
            inv.out.remark(f"note: {text.count(amount, 'commit')} {words}")
    if report.tags_left:
        named = ", ".join(text.safe(name) for name in report.left[:NAMED])
        more = f" and {report.tags_left - NAMED} more" if report.tags_left > NAMED else ""
        inv.out.remark(
            f"note: {text.count(report.tags_left, 'tag')} not on commits of this history left out: {named}{more}"
        )
    return Exit.OK


@command("git")
@click.argument("repo", type=click.Path())
@click.option("--from", "ref", default="", type=PATH, metavar="COLLECTION", help="What to export [default: all].")
@click.option("--branch", default="", metavar="NAME", help="The branch [default: the one that was taken in, or main].")
@click.option("--bare", is_flag=True, help="Make a new repository without a work tree.")
def git_out(inv: Invocation, repo: str, ref: str, branch: str, bare: bool) -> int:
    """Write the history of the store as commits of a git repository.

    Each transaction that touched files becomes a commit: its author is who wrote, its message what was noted. Commits
    that came from git become what they were, with the same ids. REPO is made if it is not there. The same command adds
    what is new since; a branch that has gone another way is not moved. See docs/git.md.
    """
    inv.on_interrupt = WRITTEN
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.export_git(repo, ref=ref, branch=branch, bare=bare, progress=progress)
    _tell(inv, report.problems)
    inv.out.message("summary", _plainly(report))
    where = f"{text.safe(report.branch)} is {report.tip[:12] or 'empty'}"
    inv.out.said(
        f"{text.count(report.commits, 'commit')} written; {where}; {text.size(report.bytes)}; "
        f"up to change {text.number(report.seq)}"
    )
    if report.altered:
        inv.out.remark(f"note: {text.count(report.altered, 'commit')} from git could not be what it was")
    if report.absent:
        inv.out.remark(f"note: {text.count(report.absent, 'content')} given up in the store, and left out here")
    return Exit.OK


def _tell(inv: Invocation, problems: list[Problem]) -> None:
    for problem in problems:
        inv.out.message("problem", problem)
        if not inv.json:
            click.echo(f"note: {text.safe(problem.path)}: {text.safe(problem.reason)}", err=True)


def _plainly(report: object) -> dict[str, object]:
    import dataclasses  # noqa: PLC0415

    found = dataclasses.asdict(report)  # type: ignore[call-overload]
    found["problems"] = len(found["problems"])
    return dict(found)
