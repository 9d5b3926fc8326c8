"""show: all that is known of one record, for people as a page, for programs as a document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, at_option, command
from holdfast.cli.refs import PATH, Labels, path_fields, record
from holdfast.cli.values import FROM_ONE
from holdfast.values import moment
from holdfast.values.records import Artifact, Collection, FileFacts, Record, Relationship, Revision, RevisionState, Run

if TYPE_CHECKING:
    from holdfast import Store

RECENT = 5
"""How many revisions and relationships the page shows before it says how many more there are."""

Facts = list[tuple[str, str]]


@command("show")
@click.argument("ref", type=PATH)
@click.option("-r", "--revision", type=FROM_ONE, metavar="N", help="This revision; else the newest.")
@click.option("--all", "everything", is_flag=True, help="All revisions and relationships, however many.")
@at_option
def show(inv: Invocation, ref: str, revision: int | None, everything: bool) -> None:
    """Show all that is known of one record.

    REF is a path, or `id:UUID` of an artifact, collection, run or relationship; deleted ones too.
    """
    with inv.look() as store:
        found = record(store, ref, deleted=True)
        if isinstance(found, Artifact):
            _show_artifact(inv, store, found, revision, everything=everything)
        elif revision is not None:
            raise click.UsageError(f"{ref!r} is a {found.kind}: only artifacts have revisions")
        elif isinstance(found, Run):
            from holdfast.cli.runs import show_manifest  # noqa: PLC0415

            show_manifest(inv, store, found)
        else:
            _show_other(inv, store, found)


def _show_artifact(inv: Invocation, store: Store, found: Artifact, number: int | None, *, everything: bool) -> None:
    history = store.artifacts.revisions(found)
    wanted = found.revision if number is None else store.artifacts.revision(found, number)
    limit = None if everything or inv.json else RECENT
    related, more = _first(store.relationships.of(found), limit)
    raw = path_fields(found)
    inv.out.document({**_fields(found), **raw, "revision": wanted, "revisions": history, "relationships": related})
    if inv.json:
        return
    rows = [*_of_artifact(found), *_of_revision(inv, wanted)]
    _print(inv, rows)
    _metadata(inv, wanted.metadata)
    if len(history) > 1:
        inv.out.line()
        inv.out.lines(_history(inv, history[:limit]))
        if limit is not None and len(history) > limit:
            inv.out.line(
                inv.out.style(f"… and {text.count(len(history) - limit, 'older revision')}; --all shows them", "weak")
            )
    _relationships(inv, store, related, more=more)


def _of_artifact(found: Artifact) -> Facts:
    rows = [
        ("path", text.safe(found.path)),
        ("id", found.id),
        ("type", f"{text.safe(found.type)}, {text.safe(found.status)}"),
    ]
    if found.tags:
        rows.append(("tags", text.safe(", ".join(found.tags))))
    if found.owner:
        rows.append(("owner", text.safe(found.owner)))
    rows.append(("created", text.time(found.created_at)))
    if found.deleted_at is not None:
        rows.append(("deleted", f"{text.time(found.deleted_at)}; `holdfast undelete id:{found.id}` brings it back"))
    return rows


def _of_revision(inv: Invocation, wanted: Revision) -> Facts:
    rows = [
        ("revision", f"{wanted.number}, {text.time(wanted.created_at)} by {text.safe(wanted.actor)}"),
        ("digest", wanted.digest),
        (
            "size",
            f"{text.size(wanted.size)} ({text.number(wanted.size)} bytes)"
            if wanted.size >= 1024
            else text.size(wanted.size),
        ),
        ("media type", text.safe(wanted.media_type)),
    ]
    if wanted.state is not RevisionState.KEPT:
        rows.append(("content", inv.out.style(str(wanted.state), "bad")))
    rows += [
        (key, text.safe(value)) for key, value in (("message", wanted.message), ("source", wanted.source)) if value
    ]
    rows += _of_file(wanted.file)
    if wanted.run_id:
        rows.append(("made by", f"run id:{wanted.run_id}"))
    return rows


def _of_file(file: FileFacts) -> Facts:
    said = []
    if file.mode is not None:
        said.append(f"mode {file.mode:04o}")
    if file.mtime_ns is not None:
        said.append(f"changed {text.time(moment.to_datetime(file.mtime_ns // 1000))}")
    return [("file", ", ".join(said))] if said else []


def _history(inv: Invocation, history: Iterable[Revision]) -> list[str]:
    rows = [
        (f"r{one.number}", text.time(one.created_at), text.size(one.size), text.digest(one.digest), *_said(one))
        for one in history
    ]
    return [inv.out.style("revisions", "weak"), *("  " + row for row in text.table(rows, right=frozenset({0, 2})))]


def _said(one: Revision) -> tuple[str, str]:
    state = "" if one.state is RevisionState.KEPT else f"({one.state}) "
    return text.safe(one.actor), state + text.safe(one.message)


def _show_other(inv: Invocation, store: Store, found: Record) -> None:
    limit = None if inv.json else RECENT
    related, more = _first(store.relationships.of(found), limit)
    fields = _fields(found)
    if isinstance(found, Collection):
        fields |= {**path_fields(found), "contents": store.collections.contents(found)}
    inv.out.document({**fields, "relationships": related})
    if inv.json:
        return
    labels = Labels(store)
    rows = _of_collection(fields) if isinstance(found, Collection) else _of_relationship(labels, found)
    rows += [("id", found.id), ("created", text.time(found.created_at))]
    if found.tags:
        rows.append(("tags", text.safe(", ".join(found.tags))))
    if found.deleted_at is not None:
        rows.append(("deleted", text.time(found.deleted_at)))
    _print(inv, rows)
    _metadata(inv, found.metadata)
    _relationships(inv, store, related, more=more)


def _of_collection(fields: dict[str, Any]) -> Facts:
    held = f"{text.held(fields['contents'])}, at any depth"
    return [("collection", text.safe(fields["path"]) + "/"), ("holds", held)]


def _of_relationship(labels: Labels, found: Record) -> Facts:
    assert isinstance(found, Relationship)
    source, target = text.safe(labels.of(found.source)), text.safe(labels.of(found.target))
    return [("relationship", f"{source}  {text.safe(found.type)}  {target}")]


def _relationships(inv: Invocation, store: Store, related: list[Relationship], *, more: bool) -> None:
    if not related:
        return
    labels = Labels(store)
    rows = [(labels.of(one.source), one.type, labels.of(one.target), f"id:{one.id}") for one in related]
    inv.out.line()
    inv.out.line(inv.out.style("relationships", "weak"))
    inv.out.lines(["  " + line for line in text.table([[text.safe(cell) for cell in row] for row in rows])])
    if more:
        inv.out.line(inv.out.style("… and more; --all shows them", "weak"))


def _first(source: Iterable[Relationship], limit: int | None) -> tuple[list[Relationship], bool]:
    found = list(islice(source, None if limit is None else limit + 1))
    return (found, False) if limit is None or len(found) <= limit else (found[:limit], True)


def _fields(found: Record) -> dict[str, Any]:
    fields: dict[str, Any] = plain.plain(found)
    return fields


def _print(inv: Invocation, rows: Facts) -> None:
    for key, value in rows:
        inv.out.line(inv.out.style(f"{key:<14}", "weak") + value)


def _metadata(inv: Invocation, metadata: dict[str, Any]) -> None:
    if metadata:
        inv.out.line(inv.out.style("metadata", "weak"))
        shown = json.dumps(plain.plain(metadata), indent=2, ensure_ascii=False, sort_keys=True)
        inv.out.lines(["  " + line for line in text.lines(shown)])
