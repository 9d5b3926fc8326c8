"""copy: a store moves house."""

from __future__ import annotations

import click

from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.urls import URL


@command("copy")
@click.argument("dest", type=click.Path())
@click.option(
    "--index", "url", type=URL, metavar="URL", help="Keep the copy's index in a PostgreSQL database: postgresql://…"
)
def copy(inv: Invocation, dest: str, url: str | None) -> None:
    """Make the store again elsewhere, with its index in a file or in PostgreSQL.

    DEST is a new folder. Without --index the copy's index is a file of it, wherever that of the source is (-C, and
    HOLDFAST_INDEX for one on a server). Nobody writes to the source meanwhile. What was interrupted goes on with the
    same call. Both are the same store: give one of them up.
    """
    inv.on_interrupt = "The folder is no store yet: the same command goes on with it."
    with inv.open() as store, inv.meter() as meter:
        found = store.copy(dest, index=url, progress=meter)
    inv.out.document(plain.plain(found))
    inv.out.said(f"copied {text.count(found.files, 'file')} to {text.safe(found.path)}")
    inv.out.said(f"both end with {found.head or 'nothing'}")
