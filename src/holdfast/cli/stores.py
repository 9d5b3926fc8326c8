"""init, status, doctor, version: the store as a whole, and the program itself."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

import holdfast
from holdfast.care.status import Status
from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, actor, command
from holdfast.cli.urls import URL
from holdfast.version import __version__

NOUNS = ("collection", "artifact", "relationship", "run")


@command("init")
@click.argument("folder", required=False, type=click.Path())
@click.option(
    "--index",
    type=URL,
    metavar="URL",
    help="Keep the index elsewhere, such as in a PostgreSQL database: postgresql://…",
)
@click.option("--blobs", type=URL, metavar="URL", help="Keep contents elsewhere: where an installed package says so.")
def init(inv: Invocation, folder: str | None, index: str | None, blobs: str | None) -> None:
    """Make a new, empty store.

    FOLDER is the folder to make it in: made if absent, else it must be empty. Without it -C, HOLDFAST_STORE or the
    current folder is taken.

    With --index or --blobs the folder has the journal and what is not kept elsewhere. URLs are not kept: name them in
    HOLDFAST_INDEX and HOLDFAST_BLOBS from then on. A password belongs to ~/.pgpass or PGPASSFILE, or the whole URL to
    a file: @FILE in place of a URL takes the one that is in it. A command line can be read by all users.
    """
    where = folder or inv.store or os.environ.get("HOLDFAST_STORE") or "."
    with holdfast.create(where, actor=actor(), blobs=blobs, index=index) as store:
        inv.out.document({"path": str(store.path), "id": store.id})
        inv.out.said(f"made a store in {text.safe(str(store.path))}")
        inv.out.said("next: holdfast add FILE…   takes in files and trees")


@command("status")
def status(inv: Invocation) -> None:
    """Show what is in the store and how it is.

    Counts what the index holds. It is `holdfast fsck` that checks every byte.
    """
    with inv.open(read_only=True) as store:
        found = store.status()
        inv.out.document({"path": str(store.path), "id": store.id, "opened": store.opened, **plain.plain(found)})
        if not inv.json:
            inv.out.lines(_page(inv, str(store.path), store.id, found))


def _page(inv: Invocation, path: str, store_id: str, found: Status) -> list[str]:
    rows = [
        ("store", text.safe(path)),
        ("", f"{store_id}, format {found.format_version}, schema {found.schema_version}"),
    ]
    for noun in NOUNS:
        gone = found.deleted.get(noun, 0)
        rows.append(
            (f"{noun}s", text.number(found.counts.get(noun, 0)) + (f"  ({text.number(gone)} deleted)" if gone else ""))
        )
    rows += [
        ("revisions", f"{text.number(found.revisions)}, together {text.size(found.logical_bytes)}"),
        ("contents", f"{text.number(found.blobs)}, each once {text.size(found.content_bytes)}"),
        ("on disk", _on_disk(found)),
        ("last change", f"{found.head_seq}, {text.time(found.last_transaction_at)}" if found.head_seq else "none yet"),
        ("search", _search(found)),
        ("writer", "nobody writes now" if found.writer is None else text.safe(_words(found.writer))),
    ]  # fmt: skip
    return [inv.out.style(f"{key:<15}", "weak") + value for key, value in rows] + _next(found)


def _on_disk(found: Status) -> str:
    parts = {key: getattr(found, f"{key}_bytes") for key in ("stored", "index", "journal", "search")}
    parts = {"contents": parts.pop("stored"), **parts}
    return f"{text.size(sum(parts.values()))}: " + ", ".join(
        f"{key} {text.size(value)}" for key, value in parts.items()
    )


def _search(found: Status) -> str:
    if found.search_seq is None:
        return "not indexed yet; the first `holdfast search` does it"
    behind = found.head_seq - found.search_seq
    return f"{text.count(behind, 'change')} behind; the next search takes them in" if behind > 0 else "up to date"


def _words(writer: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in writer.items() if value not in (None, ""))


def _next(found: Status) -> list[str]:
    """What to do next, if there is something to do."""
    said = []
    if not found.head_seq:
        said.append("The store is empty. `holdfast add FILE…` takes in files and trees.")
    if found.condemned:
        amount = f"{text.count(found.condemned, 'content')} ({text.size(found.condemned_bytes)})"
        said.append(f"{amount} that nothing refers to: `holdfast gc` frees them after the grace period.")
    if found.quarantined:
        files = text.count(found.quarantined, "damaged or stray file")
        said.append(
            f"{files} in quarantine/, kept for you to look at; `holdfast fsck` says whether something is missing."
        )
    return ["", *said] if said else []


@command("doctor")
def doctor(inv: Invocation) -> None:
    """Show versions, file system and settings, for a report.

    Works without a store, and on one that does not open. Shows no names and no content.
    """
    path = inv.path()
    found = holdfast.doctor(path if inv.store or os.path.lexists(os.path.join(path, "holdfast.json")) else None)
    inv.out.document(found)
    if not inv.json:
        inv.out.lines(_tree(found))


def _tree(found: dict[str, Any], indent: str = "") -> list[str]:
    shown = []
    for key, value in found.items():
        if isinstance(value, dict):
            shown += [f"{indent}{text.safe(key)}", *_tree(value, indent + "  ")]
        else:
            shown.append(f"{indent}{text.safe(key):<{24 - len(indent)}} {text.safe(str(value))}")
    return shown


@command("version")
def version(inv: Invocation) -> None:
    """Print the version."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    inv.out.document({"holdfast": __version__, "python": python})
    inv.out.line(f"holdfast {__version__}")
