"""index: which fields of metadata are indexed."""

from __future__ import annotations

import click

from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, command


@click.group("index")
def index() -> None:
    """Say which fields of metadata are indexed.

    `holdfast find --where` answers the same with an index and without; with one it does not go through all artifacts.
    An index is part of the store's history: a rebuilt or copied store has it too.
    """


@command("declare")
@click.argument("field", metavar="FIELD")
@click.option("-m", "--message", default="", help="Why.")
def declare(inv: Invocation, field: str, message: str) -> None:
    """Index a field of artifacts' metadata, such as metadata.author.name.

    What is in the store already is indexed too; nobody else can write meanwhile. A field that is indexed is no error.
    """
    with inv.open() as store:
        found = store.indexes.declare(field, note=message)
    inv.out.document(plain.plain(found))
    inv.out.said(f"{text.safe(found.field)}: {text.count(found.artifacts, 'artifact')}")


@command("drop")
@click.argument("field", metavar="FIELD")
@click.option("-m", "--message", default="", help="Why.")
def drop(inv: Invocation, field: str, message: str) -> None:
    """Index a field no longer.

    Metadata stay as they are; finding by the field goes through all artifacts again.
    """
    with inv.open() as store:
        found = store.indexes.drop(field, note=message)
    inv.out.document(plain.plain(found))
    inv.out.said(f"{text.safe(found.field)} is not indexed any more")


@command("list")
def list_(inv: Invocation) -> None:
    """List the fields that are indexed, and how many artifacts have each."""
    with inv.open(read_only=True) as store:
        found = store.indexes.list()
    inv.out.document({"indexes": [plain.plain(one) for one in found]})
    if not inv.json:
        rows = [(text.safe(one.field), text.number(one.artifacts), text.time(one.created_at)) for one in found]
        shown = text.table([("field", "artifacts", "declared"), *rows], right=frozenset({1}))
        inv.out.lines(shown if rows else ["no field is indexed"])


for _one in (declare, drop, list_):
    index.add_command(_one)
