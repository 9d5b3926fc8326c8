"""rm, undelete: tombstones set and lifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH, label, place, record
from holdfast.errors import InUseError
from holdfast.values.records import Artifact, Collection, Record, Relationship

if TYPE_CHECKING:
    from holdfast import Store


@command("rm")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-r", "--recursive", is_flag=True, help="Collections with all that lies in them.")
@click.option("--restrict", is_flag=True, help="Refuse if a relationship touches one of them; else these go along.")
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the log.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be deleted; delete nothing.")
def rm(inv: Invocation, paths: tuple[str, ...], recursive: bool, restrict: bool, note: str, dry_run: bool) -> None:
    """Delete; `undelete` brings back.

    All of PATHS or, if one cannot be deleted, none. Contents stay until they are purged.
    """
    with inv.open(read_only=dry_run) as store:
        found = [place(store, path) for path in paths]
        counts = [_counts(store, one, recursive=recursive) for one in found]
        if not dry_run:
            with store.transaction(note=note):
                for one in found:
                    _delete(store, one, restrict=restrict, recursive=recursive, note=note)
    total = sum(counts)
    inv.out.document({"dry_run": dry_run, "artifacts": total, "deleted": found})
    word = "would delete" if dry_run else "deleted"
    for one, amount in zip(found, counts, strict=True):
        held = f" with {text.count(amount, 'artifact')}" if isinstance(one, Collection) else ""
        inv.out.said(f"{word} {text.safe(label(one))}{held}")
    if not dry_run:
        inv.out.said(
            "next: `holdfast undelete PATH` brings it back"
            if len(found) == 1
            else "next: `holdfast undelete PATH` brings each back"
        )


def _counts(store: Store, found: Artifact | Collection, *, recursive: bool) -> int:
    if isinstance(found, Artifact):
        return 1
    counts = store.collections.contents(found)
    if not recursive and any(counts.values()):
        raise InUseError(
            f"{found.path!r} holds {text.held(counts)}",
            id=found.id, counts=counts, remedy="Say -r to delete all of it; -n shows how much that is.",
        )  # fmt: skip
    return counts["artifacts"]


def _delete(store: Store, found: Artifact | Collection, *, restrict: bool, recursive: bool, note: str) -> None:
    rule: Literal["restrict", "cascade"] = "restrict" if restrict else "cascade"
    if isinstance(found, Artifact):
        store.artifacts.delete(found, relationships=rule, note=note)
    else:
        store.collections.delete(found, contents="cascade" if recursive else "restrict", relationships=rule, note=note)


@command("undelete")
@click.argument("ref", type=PATH)
@click.option("--name", type=PATH, metavar="NAME", help="Come back under this name, if the old one is taken.")
def undelete(inv: Invocation, ref: str, name: str | None) -> None:
    """Bring back what was deleted.

    REF is the old path (the one deleted last if several had it), or `id:UUID` of any record. With a collection comes
    back what went with it.
    """
    with inv.open() as store:
        found = record(store, ref, deleted=True)
        back = _undelete(store, found, name)
    inv.out.document(back)
    live = found.deleted_at is None
    inv.out.said(f"{text.safe(label(back))}: {'was not deleted' if live else 'is back'}")


def _undelete(store: Store, found: Record, name: str | None) -> Record:
    if isinstance(found, Artifact):
        return store.artifacts.undelete(found, name=name)
    if isinstance(found, Collection):
        return store.collections.undelete(found, name=name)
    if name is not None:
        raise click.UsageError(f"a {found.kind} has no name to change")
    if isinstance(found, Relationship):
        return store.relationships.undelete(found.id)
    return store.runs.undelete(found.id)
