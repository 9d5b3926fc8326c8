"""relate, unrelate, lineage: how records hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click

from holdfast.cli import text, values
from holdfast.cli.invocation import Invocation, at_option, command
from holdfast.cli.refs import PATH, Labels, endpoint, record
from holdfast.cli.values import FROM_ONE
from holdfast.errors import NotFoundError
from holdfast.values.lineage import Lineage, LineageEdge
from holdfast.values.records import Endpoint, Relationship

if TYPE_CHECKING:
    from holdfast import Store

Way = Literal["up", "down", "both"]
_PIN = "Pin the {} to this revision; else it is the artifact, whatever its newest revision."


@command("relate")
@click.argument("source", required=False, type=PATH)
@click.argument("type_", metavar="TYPE", required=False)
@click.argument("target", required=False, type=PATH)
@click.option("--source-revision", type=FROM_ONE, metavar="N", help=_PIN.format("source"))
@click.option("--target-revision", type=FROM_ONE, metavar="N", help=_PIN.format("target"))
@click.option(
    "--meta", "pairs", multiple=True, type=values.PAIR, metavar="KEY=JSON", help="A metadata field (repeatable)."
)
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the log.")
@click.option("--types", is_flag=True, help="List the types that there are.")
def relate(
    inv: Invocation, source: str | None, type_: str | None, target: str | None, types: bool, **said: Any
) -> None:
    """Relate two records.

    Reads as a sentence: `holdfast relate report.pdf derived_from data.csv`. SOURCE and TARGET are paths, or `id:UUID`
    of any record.
    """
    if types:
        _list_types(inv)
        return
    if source is None or type_ is None or target is None:
        raise click.UsageError("give SOURCE TYPE TARGET, or --types to list the types")
    with inv.open() as store:
        ends = endpoint(store, source, said["source_revision"]), endpoint(store, target, said["target_revision"])
        made = store.relationships.relate(
            ends[0], type_, ends[1], metadata=dict(said["pairs"]) or None, note=said["note"]
        )
        shown = _sentence(Labels(store), made)
    inv.out.document(made)
    inv.out.said(f"{shown}  (id:{made.id})")


def _sentence(labels: Labels, one: Relationship) -> str:
    return text.safe(f"{labels.of(one.source)}  {one.type}  {labels.of(one.target)}")


def _list_types(inv: Invocation) -> None:
    with inv.open(read_only=True) as store:
        found = store.relationships.types()
    inv.out.document(found)
    rows = [[text.safe(cell or "") for cell in (one.name, one.family, one.inverse, one.description)] for one in found]
    if not inv.json:
        inv.out.lines(text.table([["type", "family", "read backwards", "meaning"], *rows]))


@command("unrelate")
@click.argument("ends", nargs=-1, required=True, type=PATH, metavar="ID | SOURCE TYPE TARGET")
@click.option("--note", default="", metavar="TEXT", help="Why; kept in the log.")
def unrelate(inv: Invocation, ends: tuple[str, ...], note: str) -> None:
    """Delete a relationship.

    By its id, or by what it says: `holdfast unrelate report.pdf derived_from data.csv`. `undelete` brings it back.
    """
    if len(ends) not in (1, 3):
        raise click.UsageError("give the relationship's ID, or SOURCE TYPE TARGET")
    with inv.open() as store:
        found = store.relationships.get(ends[0].removeprefix("id:")) if len(ends) == 1 else _stated(store, *ends)
        gone = store.relationships.delete(found.id, note=note)
        shown = _sentence(Labels(store), found)
    inv.out.document(gone)
    inv.out.said(f"deleted: {shown}")
    inv.out.said(f"next: `holdfast undelete id:{found.id}` brings it back")


def _stated(store: Store, source: str, type_: str, target: str) -> Relationship:
    first, second = record(store, source), record(store, target)
    for one in store.relationships.of(first, direction="out", type=type_):
        if one.target.id == second.id:
            return one
    shown = text.safe(f"{source} {type_} {target}")
    raise NotFoundError(f"there is no relationship {shown}", kind="relationship", ref=shown,
                        remedy="See what there is with `holdfast show`.")  # fmt: skip


@command("lineage")
@click.argument("ref", type=PATH)
@click.option("--up", "direction", flag_value="up", default="up", help="What it came from (default).")
@click.option("--down", "direction", flag_value="down", help="What came of it.")
@click.option("--both", "direction", flag_value="both", help="Both ways.")
@click.option("-r", "--revision", type=FROM_ONE, metavar="N", help="Of this revision alone.")
@click.option("--depth", type=FROM_ONE, metavar="N", help="At most so many steps.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Along relationships of this type (repeatable).")
@at_option
def lineage(
    inv: Invocation,
    ref: str,
    direction: Literal["up", "down", "both"],
    revision: int | None,
    depth: int | None,
    types: tuple[str, ...],
) -> None:
    """Show what something came from, or what came of it.

    Follows relationships, and runs by what they read and made. With --json: nodes and edges.
    """
    with inv.look() as store:
        start = endpoint(store, ref, revision)
        found = store.relationships.lineage(start, direction=direction, depth=depth, types=types or None)
        inv.out.document(found)
        if inv.json:
            return
        inv.out.line(inv.out.style(text.safe(Labels(store).of(start)), "strong"))
    for way in ("up", "down") if direction == "both" else (direction,):
        inv.out.lines(_tree(start, found, way=way))
    _remarks(inv, found, direction)


def _remarks(inv: Invocation, found: Lineage, direction: str) -> None:
    if not found.edges:
        words = {"up": "it came from nothing that is known", "down": "nothing that is known came of it"}
        inv.out.said(inv.out.style(words.get(direction, "nothing is related to it"), "weak"))
    if found.truncated:
        inv.out.remark("note: there is more than one answer can hold; --depth and --type narrow it")


def _tree(start: Endpoint, found: Lineage, *, way: str) -> list[str]:
    """Edges as an indented tree; what was shown before is named, not unfolded again. No recursion: graphs are deep."""
    labels = {node.endpoint: node.label for node in found.nodes}
    onward: dict[Endpoint, list[tuple[LineageEdge, Endpoint]]] = {}
    for edge in found.edges:
        here, there = (edge.source, edge.target) if way == "up" else (edge.target, edge.source)
        onward.setdefault(here, []).append((edge, there))
    arrow = "←" if way == "up" else "→"
    shown, seen = [], {start}
    waiting = [(1, edge, there) for edge, there in reversed(onward.get(start, []))]
    while waiting:
        level, edge, end = waiting.pop()
        again = end in seen
        pin = f"@{end.revision}" if end.revision is not None else ""
        more = " (shown above)" if again and end in onward else ""
        shown.append("  " * level + text.safe(f"{arrow} {edge.type}  {labels.get(end, str(end))}{pin}{more}"))
        if not again:
            seen.add(end)
            waiting += [(level + 1, one, there) for one, there in reversed(onward.get(end, []))]
    return shown
