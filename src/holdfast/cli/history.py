"""log, diff: what changed, when and by whom."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import text
from holdfast.cli.invocation import Invocation, at_option, command
from holdfast.cli.refs import PATH, artifact, record
from holdfast.cli.values import FROM_ONE, FROM_ZERO
from holdfast.errors import InvalidValueError
from holdfast.values import moment
from holdfast.values.records import Change, Revision

if TYPE_CHECKING:
    from holdfast import Store

ON_TERMINAL = 50
"""So many changes a terminal gets unless told otherwise."""

FIRST_WINDOW = 256
WIDEST_WINDOW = 8192
"""How many changes are read at a time on the way back from the newest."""


@command("log")
@click.argument("ref", required=False, type=PATH)
@click.option(
    "--limit",
    type=FROM_ZERO,
    metavar="N",
    help=f"At most so many; 0: all [default: all; {ON_TERMINAL} on a terminal].",
)
@click.option("--since", "since_seq", type=FROM_ONE, default=1, metavar="SEQ", help="From this change on.")
@click.option(
    "--kind", metavar="KIND", help="Of artifacts, collections … only (artifact, collection, relationship, run)."
)
@click.option("--action", metavar="ACTION", help="Of this sort only (create, revise, update, delete …).")
@click.option("--actor", metavar="NAME", help="By this actor only.")
@click.option("--reverse", is_flag=True, help="Oldest first.")
@at_option
def log(inv: Invocation, ref: str | None, limit: int | None, since_seq: int, reverse: bool, **wanted: Any) -> None:
    """Show who changed what, newest first.

    REF is a path or `id:UUID`, also of a deleted record; without it, all changes of the store. Columns: number, time
    (UTC), actor, action, kind and what changed; of a change that came with a merge also who made it first, and when.
    """
    if limit is None and sys.stdout.isatty() and not inv.json:
        limit = ON_TERMINAL
    asked = {key: value for key, value in wanted.items() if value is not None}
    with inv.look() as store:
        of = record(store, ref, deleted=True).id if ref else None
        count = 0
        source = store.changes.list(since_seq=since_seq, record=of) if reverse else _newest_first(store, since_seq, of)
        fitting = (one for one in source if all(getattr(one, key) == value for key, value in asked.items()))
        for change in islice(fitting, limit or None):
            count += 1
            inv.out.message("change", change)
            if not inv.json:
                inv.out.line(_row(inv, change))
        inv.out.message("summary", {"changes": count})
    if limit and count == limit and not inv.json:
        inv.out.said(inv.out.style(f"{text.count(count, 'change')}; there may be more: --limit 0 shows all", "weak"))


def _newest_first(store: Store, since_seq: int, of: str | None) -> Iterator[Change]:
    """Changes from the newest back to `since_seq`, read in windows: memory does not grow with the log."""
    high = store.changes.head().next_seq
    width = FIRST_WINDOW
    while high > since_seq:
        low = max(since_seq, high - width)
        yield from reversed(list(_window(store, low, high, of)))
        high, width = low, min(width * 2, WIDEST_WINDOW)


def _window(store: Store, low: int, high: int, of: str | None) -> Iterator[Change]:
    return takewhile(lambda one: one.seq < high, store.changes.list(since_seq=low, record=of))


def _row(inv: Invocation, change: Change) -> str:
    actor = text.safe(change.actor)
    what = f"{change.action} {change.kind}"
    when = inv.out.style(text.time(change.time), "weak")
    return f"{change.seq:>7}  {when}  {actor:<12}  {what:<20}  {_told(change)}{_first(change)}".rstrip()


def _first(change: Change) -> str:
    """Of a change that a merge brought: by whom and when it was made in the other store."""
    if change.origin is None:
        return ""
    made = moment.to_datetime(moment.from_text(change.origin["time"]))
    return text.safe(f"  (first by {change.origin['actor']['name']}, {text.time(made)})")


def _told(change: Change) -> str:
    """The change in a few words: a name or the fields it set; else the id."""
    after = change.after or {}
    if change.before:
        return text.safe(
            ", ".join(f"{key}: {_brief(change.before.get(key))} → {_brief(after.get(key))}" for key in after)
        )
    revision = after.get("revision")
    inner: dict[str, Any] = revision if isinstance(revision, dict) else {}
    parts = [str(after[key]) for key in ("name", "type", "status") if key in after][:1]
    if "number" in after:
        parts.append(f"r{after['number']}")
    if "digest" in inner:
        parts.append(text.digest(str(inner["digest"])))
    parts += [f"“{said}”" for said in (inner.get("message"), change.note) if said]
    return text.safe("  ".join(parts)) or f"id:{change.id}"


def _brief(value: Any) -> str:
    shown = str(value)
    return shown if len(shown) <= 40 else shown[:39] + "…"


@command("diff")
@click.argument("ref", type=PATH)
@click.argument("old", required=False, type=FROM_ONE)
@click.argument("new", required=False, type=FROM_ONE)
@click.option(
    "-U",
    "--context",
    type=FROM_ZERO,
    default=3,
    show_default=True,
    metavar="N",
    help="Lines around a change.",
)
@at_option
def diff(inv: Invocation, ref: str, old: int | None, new: int | None, context: int) -> None:
    """Show what changed between two revisions.

    OLD and NEW are revision numbers; without them the newest and the one before, with OLD alone that one and the
    newest. Of content that is not text, sizes and digests are compared.
    """
    with inv.look() as store:
        found = artifact(store, ref, deleted=True)
        after = store.artifacts.revision(found, new or found.number)
        before = store.artifacts.revision(found, old or _before(store, found, after.number))
        binary, lines = _compared(store, found, before, after, context)
        if inv.json:
            ends = {"old": before, "new": after, "binary": binary, "lines": list(lines)}
            inv.out.document({"id": found.id, "path": found.path, **ends})
            return
        if binary:
            inv.out.lines(_sizes(found.path, before, after))
        for line in lines:
            inv.out.line(_coloured(inv, line))
        if before.metadata != after.metadata:
            inv.out.remark("note: the metadata differs too; `holdfast show -r N` shows it")


def _before(store: Store, found: Any, number: int) -> int:
    older = [one.number for one in store.artifacts.revisions(found) if one.number < number]
    if not older:
        raise InvalidValueError(
            f"{found.path!r} has one revision only, so there is nothing to compare", where="revision", reason="single",
            remedy="Put a new revision first.",
        )  # fmt: skip
    return older[0]


def _compared(store: Store, found: Any, old: Revision, new: Revision, context: int) -> tuple[bool, Iterable[str]]:
    try:
        return False, store.artifacts.diff(found, old.number, new.number, context=context)
    except InvalidValueError:
        return True, ()


def _sizes(path: str, old: Revision, new: Revision) -> list[str]:
    if old.digest == new.digest:
        return []
    name = text.safe(path)
    return [
        f"{sign} {name}@{one.number}  {text.size(one.size):>10}  {one.digest}" for sign, one in (("-", old), ("+", new))
    ]


def _coloured(inv: Invocation, line: str) -> str:
    if not sys.stdout.isatty():
        return line  # a patch must keep its bytes
    shown = text.safe(line.expandtabs(8))
    role = {"+": "good", "-": "bad", "@": "place"}.get(line[:1])
    return inv.out.style(shown, role) if role else shown
