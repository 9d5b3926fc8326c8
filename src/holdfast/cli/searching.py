"""search: full text of contents, names and metadata."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, command
from holdfast.cli.values import FROM_ONE


@command("search")
@click.argument("words", nargs=-1, metavar="TEXT...")
@click.option("--limit", type=FROM_ONE, default=20, show_default=True, metavar="N", help="At most so many.")
@click.option("--no-snippets", is_flag=True, help="Paths only, without the passages; faster.")
@click.option("--left-out", is_flag=True, help="List the artifacts whose text is not indexed, and why.")
def search(inv: Invocation, words: tuple[str, ...], limit: int, no_snippets: bool, left_out: bool) -> None:
    """Search the text of contents, names and metadata.

    \b
    All words must occur:          holdfast search wind turbine
    In this order:                 holdfast search '"wind turbine"'
    Beginnings of words:           holdfast search 'turb*'
    One of them, but not another:  holdfast search '(wind OR water) NOT coal'
    """
    if left_out == bool(words):
        raise click.UsageError("give words to search for, or --left-out")
    with inv.open() as store:
        if left_out:
            _list_left_out(inv, store)
            return
        found = store.search(" ".join(words), limit=limit, snippets=not no_snippets)
    inv.out.document(found)
    for hit in found.hits:
        inv.out.line(inv.out.style(text.safe(hit.artifact.path), "strong"))
        if hit.snippet:
            inv.out.line("    " + text.safe(" ".join(hit.snippet.split())))
    _tell(inv, found, limit)


def _tell(inv: Invocation, found: Any, limit: int) -> None:
    more = f" (the best {limit}; --limit shows more)" if len(found.hits) == limit else ""
    inv.out.said(inv.out.style(text.count(len(found.hits), "hit") + more, "weak"))
    if found.indexed_to < found.head:
        inv.out.remark(f"note: indexed up to change {found.indexed_to} of {found.head}; search again in a moment")
    if found.left_out:
        inv.out.remark(
            f"note: {text.count(found.left_out, 'text')} not indexed; `holdfast search --left-out` lists them"
        )


def _list_left_out(inv: Invocation, store: Any) -> None:
    amount = 0
    listed = []
    for artifact, reason in store.search.left_out():
        amount += 1
        if inv.json:
            listed.append({"id": artifact.id, "path": artifact.path, "reason": reason})
        inv.out.line(f"{text.safe(artifact.path)}: {text.safe(reason)}")
    inv.out.document({"left_out": listed})
    inv.out.said(inv.out.style(f"{text.count(amount, 'artifact')} whose text is not indexed", "weak"))
