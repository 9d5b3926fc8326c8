"""tag, untag, meta: what is written on a thing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from holdfast.cli import plain, text, values
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.refs import PATH, label, record
from holdfast.cli.values import FROM_ZERO
from holdfast.values.records import Artifact, Collection, Record, Relationship

if TYPE_CHECKING:
    from holdfast import Store


@command("tag")
@click.argument("ref", type=PATH)
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
def tag(inv: Invocation, ref: str, tags: tuple[str, ...]) -> None:
    """Add tags.

    To any record: an artifact, a collection, a relationship or a run. A tag it has already is no error.
    """
    _retag(inv, ref, tags, "tag")


@command("untag")
@click.argument("ref", type=PATH)
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
def untag(inv: Invocation, ref: str, tags: tuple[str, ...]) -> None:
    """Take tags off.

    Of any record. A tag it has not is no error.
    """
    _retag(inv, ref, tags, "untag")


def _retag(inv: Invocation, ref: str, tags: tuple[str, ...], verb: Literal["tag", "untag"]) -> None:
    with inv.open() as store, store.transaction():
        changed = _tagged(store, record(store, ref), tags, verb)
    inv.out.document(changed)
    inv.out.said(f"{text.safe(label(changed))}: {text.safe(', '.join(changed.tags)) or 'no tags'}")


def _tagged(store: Store, found: Record, tags: tuple[str, ...], verb: Literal["tag", "untag"]) -> Record:
    if isinstance(found, Artifact):
        return getattr(store.artifacts, verb)(found, *tags)  # type: ignore[no-any-return]
    if isinstance(found, Collection):
        return getattr(store.collections, verb)(found, *tags)  # type: ignore[no-any-return]
    wanted = set(found.tags) | set(tags) if verb == "tag" else set(found.tags) - set(tags)
    if isinstance(found, Relationship):
        return store.relationships.update(found, tags=wanted)
    return store.runs.update(found, tags=wanted)


@command("meta")
@click.argument("ref", type=PATH)
@click.argument("pairs", nargs=-1, type=values.PAIR, metavar="[KEY=JSON]...")
@click.option("--unset", multiple=True, metavar="KEY", help="Take this field out (repeatable).")
@click.option(
    "--from", "file", metavar="FILE", type=click.Path(allow_dash=True), help="Fields from a JSON file; - is stdin."
)
@click.option("--replace", is_flag=True, help="Forget the fields that are not given.")
@click.option("--expect", type=FROM_ZERO, metavar="N", help="Only if revision N is the newest.")
@click.option("-m", "--message", default="", help="Why.")
def meta(
    inv: Invocation, ref: str, pairs: tuple[tuple[str, Any], ...], unset: tuple[str, ...], file: str | None,
    replace: bool, **said: Any,
) -> None:  # fmt: skip
    """Show or change metadata.

    With fields to set or unset, those change and the others stay; of an artifact that makes a new revision with the
    same content. A value is JSON if it reads as JSON, else text: `year=2026`, `title=Report`, `'authors=["Ann"]'`.
    """
    given = values.metadata(pairs, file)
    change = given is not None or bool(unset) or replace
    with inv.open(read_only=not change) as store:
        if not change:
            found = record(store, ref)
        else:
            with store.transaction():  # what is read here is what is changed: the lock is held
                found = record(store, ref)
                fields = {**({} if replace else found.metadata), **(given or {})}
                fields = {key: value for key, value in fields.items() if key not in unset}
                found = _set(store, found, fields, **said)
    inv.out.document({"id": found.id, "kind": found.kind, "metadata": found.metadata, **_number(found)})
    if not inv.json:
        shown = json.dumps(plain.plain(found.metadata), indent=2, ensure_ascii=False, sort_keys=True)
        inv.out.lines(text.lines(shown))


def _number(found: Record) -> dict[str, int]:
    return {"revision": found.number} if isinstance(found, Artifact) else {}


def _set(store: Store, found: Record, fields: dict[str, Any], *, expect: int | None, message: str) -> Record:
    if isinstance(found, Artifact):
        return store.artifacts.set_metadata(found, fields, expect=expect, message=message).artifact
    if expect is not None:
        raise click.UsageError("only artifacts have revisions to expect")
    if isinstance(found, Collection):
        return store.collections.update(found, metadata=fields, note=message)
    if isinstance(found, Relationship):
        return store.relationships.update(found, metadata=fields, note=message)
    return store.runs.update(found, metadata=fields, note=message)
