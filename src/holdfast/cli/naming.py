"""mkdir, mv: collections, and the names and places of things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH, place
from holdfast.errors import NotFoundError
from holdfast.values.records import Artifact, Collection

if TYPE_CHECKING:
    from holdfast import Store


@command("mkdir")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@click.option("-p", "--parents", is_flag=True, help="Make missing collections above; one that is there is no error.")
def mkdir(inv: Invocation, paths: tuple[str, ...], parents: bool) -> None:
    """Make collections.

    All of them or, if one cannot be made, none. (`put` and `add` make the collections they need by themselves.)
    """
    with inv.open() as store, store.transaction():
        made = [store.collections.ensure(path) if parents else store.collections.create(path) for path in paths]
    inv.out.document(made)
    for one in made:
        inv.out.said(f"{text.safe(one.path)}/")


@command("mv")
@click.argument("source", type=PATH)
@click.argument("target", type=PATH)
def mv(inv: Invocation, source: str, target: str) -> None:
    """Move or rename an artifact or a collection.

    Into TARGET if that is a collection, else to the path TARGET. Id, history and relationships stay.
    """
    with inv.open() as store, store.transaction():
        found = place(store, source)
        moved = _move(store, found, target)
    inv.out.document(moved)
    ends = "/" if isinstance(moved, Collection) else ""
    inv.out.said(f"{text.safe(found.path)}{ends} → {text.safe(moved.path)}{ends}")


def _move(store: Store, found: Artifact | Collection, target: str) -> Artifact | Collection:
    folder, name = (target, None) if not target or _is_collection(store, target) else _split(target)
    if isinstance(found, Artifact):
        return store.artifacts.move(found, folder, name=name)
    return store.collections.move(found, folder, name=name)


def _is_collection(store: Store, path: str) -> bool:
    try:
        store.collections.get(path)
    except NotFoundError:
        return False
    return True


def _split(path: str) -> tuple[str, str | None]:
    folder, _slash, name = path.rpartition("/")
    return folder, name
