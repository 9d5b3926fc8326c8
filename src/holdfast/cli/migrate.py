"""migrate: the schema of the index, which is not the format of the store."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, command


@click.group("migrate")
def migrate() -> None:
    """Show or change the schema of the index.

    The index can be made anew from journal and blobs at any time (`holdfast rebuild`); the format of the store itself
    is not touched here.
    """


@command("status")
def status(inv: Invocation) -> None:
    """Show which migrations there are and which are applied."""
    with inv.open(read_only=True) as store:
        found = store.migrate_status()
    fields: list[dict[str, Any]] = [
        {"version": version, "name": name, "applied": applied} for version, name, applied in found
    ]
    inv.out.document({"migrations": fields})
    if not inv.json:
        rows: list[tuple[Any, ...]] = [
            (str(one["version"]), text.safe(one["name"]), _applied(one["applied"])) for one in fields
        ]
        inv.out.lines(text.table([("version", "name", "applied"), *rows], right=frozenset({0})))


def _applied(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else text.safe(str(value))


migrate.add_command(status)
