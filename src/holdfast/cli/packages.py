"""export bagit, ro-crate, prov, openlineage; import bag, ro-crate: collections, lineage and runs in others' forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import git, text
from holdfast.cli.exits import Exit
from holdfast.cli.exporting import export
from holdfast.cli.exporting import import_ as tree
from holdfast.cli.invocation import Invocation, command, common_options, write_options
from holdfast.cli.refs import PATH

if TYPE_CHECKING:
    from holdfast.exchange.package_import import TakenReport

GONE = "Interrupted: DEST is as it was. The same command again begins anew."
SAFE = "Interrupted: nothing was taken in."

_AT = click.option(
    "--at", metavar="SEQ|TIME", help="As it was after this change, or at this time (ISO 8601 with a zone)."
)
_ABOUT = [
    click.option("--name", metavar="TEXT", help="What the package is called; else the collection's path."),
    click.option("--description", metavar="TEXT", help="What is in it."),
    click.option("--license", metavar="URI|TEXT", help="Under which license it may be used."),
    click.option("--author", metavar="NAME", help="Who made it."),
    click.option("--affiliation", metavar="NAME", help="Where the author belongs."),
    click.option("--publisher", metavar="NAME", help="Who gives it out."),
    click.option("--url", metavar="URL", help="Where affiliation and publisher are found."),
]


def _package(function: Any) -> Any:
    for option in reversed([_AT, *_ABOUT]):
        function = option(function)
    return click.argument("ref", required=False, default="", type=PATH)(function)


def _packed(inv: Invocation, verb: str, dest: str, ref: str, about: dict[str, Any]) -> int:
    inv.on_interrupt = GONE
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = getattr(store.standards, verb)(dest, ref, progress=progress, **about)
    for problem in report.problems:
        inv.out.message("problem", problem)
        if not inv.json:
            click.echo(f"left out: {text.safe(problem.path)}: {text.safe(problem.reason)}", err=True)
    amounts = ("seq", "files", "folders", "bytes", "runs", "renamed")
    told = {key: getattr(report, key) for key in amounts}
    inv.out.message("summary", {**told, "left_out": len(report.problems)})
    parts = [f"{text.count(report.files, 'file')} ({text.size(report.bytes)})", text.count(report.runs, "run")]
    if report.renamed:
        parts.append(f"{text.number(report.renamed)} under names that all systems can hold")
    inv.out.said(f"{', '.join(parts)}; up to change {report.seq}")
    return Exit.PARTLY if report.problems else Exit.OK


@command("bagit")
@click.argument("dest", type=click.Path())
@_package
def bagit(inv: Invocation, dest: str, ref: str, **about: Any) -> int:
    """Write a collection as a BagIt bag.

    DEST must be new or empty; REF is a collection, without it all of the store goes. The payload is an RO-Crate, as
    `holdfast export ro-crate` writes it. Exit code 3: something could not go along, and is named.
    """
    return _packed(inv, "export_bagit", dest, ref, about)


@command("ro-crate")
@click.argument("dest", type=click.Path())
@_package
def ro_crate(inv: Invocation, dest: str, ref: str, **about: Any) -> int:
    """Write a collection as an RO-Crate.

    DEST must be new or empty; REF is a collection, without it all of the store goes. Newest contents under their names,
    with metadata and tags, and the runs that read or made them, in ro-crate-metadata.json. Exit code 3: something could
    not go along, and is named.
    """
    return _packed(inv, "export_ro_crate", dest, ref, about)


@command("prov")
@click.argument("dest", type=click.Path())
@click.argument("ref", required=False, default="", type=PATH)
@_AT
def prov(inv: Invocation, dest: str, ref: str, at: str | None) -> int:
    """Write lineage as W3C PROV.

    DEST is a new file, in PROV-JSON. REF is an artifact, which goes with all that it came from and all that came of it,
    or a collection; without it, all artifacts go.
    """
    inv.on_interrupt = GONE
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.standards.export_prov(dest, ref, at=at, progress=progress)
    amounts = ("seq", "entities", "activities", "agents", "relations")
    inv.out.message("summary", {key: getattr(report, key) for key in amounts})
    inv.out.said(
        f"{text.number(report.entities)} entities, {text.number(report.activities)} activities, "
        f"{text.number(report.agents)} agents, {text.count(report.relations, 'relation')}"
    )
    return Exit.OK


@command("openlineage")
@click.argument("dest", type=click.Path())
@click.option("--namespace", default="", metavar="TEXT", help="Of jobs and datasets; else the store's id.")
@_AT
def openlineage(inv: Invocation, dest: str, namespace: str, at: str | None) -> int:
    """Write runs as OpenLineage events.

    DEST is a new file, with an event a line. Runs that have not begun have none.
    """
    inv.on_interrupt = GONE
    with inv.open(read_only=True) as store, inv.meter() as progress:
        report = store.standards.export_openlineage(dest, namespace=namespace, at=at, progress=progress)
    inv.out.message("summary", {key: getattr(report, key) for key in ("seq", "runs", "events", "pending")})
    inv.out.said(f"{text.count(report.events, 'event')} of {text.count(report.runs, 'run')}")
    return Exit.OK


for _one in (git.git_out, bagit, ro_crate, prov, openlineage):
    export.add_command(_one)


# -- the way in --------------------------------------------------------------------------------------------------------


class Incoming(click.Group):
    """What is no word of a form is the folder of an exported tree: `holdfast import DIR`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.common = common_options()
        self.params.extend(self.common)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The common options, and the forms."""
        write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The form that the first word names; else an exported tree."""
        if args and args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "exported", self.commands["exported"], args


@click.group("import", cls=Incoming, context_settings={"ignore_unknown_options": True})
def import_() -> None:
    """Take in what was exported, or merge it.

    `holdfast import SOURCE` takes in an exported tree or a snapshot, as `holdfast import exported SOURCE` does. A
    folder that is itself called as one of these: ./bag.
    """


def _taken(inv: Invocation, report: TakenReport) -> int:
    for problem in report.problems:
        inv.out.message("problem", problem)
        if not inv.json:
            click.echo(f"left out: {text.safe(problem.path)}: {text.safe(problem.reason)}", err=True)
    amounts = ("added", "unchanged", "collections", "bytes", "dry_run")
    inv.out.message("summary", {**{key: getattr(report, key) for key in amounts}, "left_out": len(report.problems)})
    inv.out.said(
        f"{text.count(report.added, 'artifact')} {'would be added' if report.dry_run else 'added'}, "
        f"{text.number(report.unchanged)} there already; {text.size(report.bytes)}"
    )
    return Exit.PARTLY if report.problems else Exit.OK


_INTO = click.option(
    "--into", default="", type=PATH, metavar="PATH", help="The collection to put it in; else the root."
)
_DRY = click.option("-n", "--dry-run", is_flag=True, help="Check it all; write nothing.")


@command("bag")
@click.argument("source", type=click.Path())
@_INTO
@_DRY
def bag(inv: Invocation, source: str, into: str, dry_run: bool) -> int:
    """Take in a BagIt bag.

    Every file is checked against the manifests before anything is written, and all comes in together or not at all. If
    the payload is an RO-Crate, what that says of files and folders becomes their metadata.
    """
    inv.on_interrupt = SAFE
    with inv.open(read_only=dry_run) as store, inv.meter() as progress:
        report = store.standards.import_bag(source, into, dry_run=dry_run, progress=progress)
    return _taken(inv, report)


@command("ro-crate")
@click.argument("source", type=click.Path())
@_INTO
@_DRY
def crate(inv: Invocation, source: str, into: str, dry_run: bool) -> int:
    """Take in the files of an RO-Crate.

    What the crate says of files and folders becomes their metadata. Everything is checked before anything is written,
    and all comes in together or not at all. Exit code 3: it lists data that lies elsewhere, which is named.
    """
    inv.on_interrupt = SAFE
    with inv.open(read_only=dry_run) as store, inv.meter() as progress:
        report = store.standards.import_ro_crate(source, into, dry_run=dry_run, progress=progress)
    return _taken(inv, report)


import_.add_command(tree, "exported")
import_.add_command(git.git_in)
import_.add_command(bag)
import_.add_command(crate)
