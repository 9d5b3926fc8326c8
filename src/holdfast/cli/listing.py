"""ls, find: artifacts and collections as lists, read and printed page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from holdfast.cli import plain, text
from holdfast.cli.invocation import Invocation, at_option, command
from holdfast.cli.refs import PATH, path_fields, place
from holdfast.cli.values import FROM_ONE
from holdfast.values import query
from holdfast.values.records import SYMLINK_MEDIA_TYPE, Artifact, Collection

ORDERS = ("created", "updated", "name", "size")
_FORMS = [
    click.option("-1", "--names", is_flag=True, help="Paths only, one a line."),
    click.option("-z", "--null", is_flag=True, help="Paths only, true bytes, each ended by a NUL, for `xargs -0`."),
]


def _forms(function: Any) -> Any:
    for option in reversed(_FORMS):
        function = option(function)
    return function


class Rows:
    """Prints one record after the other, and at the end how many there were."""

    def __init__(self, inv: Invocation, *, names: bool, null: bool) -> None:
        self._inv, self._names, self._null = inv, names or null, null
        self.artifacts = self.collections = self.bytes = 0

    def show(self, found: Artifact | Collection) -> None:
        """Print one."""
        if isinstance(found, Artifact):
            self.artifacts += 1
            self.bytes += found.size
        else:
            self.collections += 1
        if self._inv.json:
            self._inv.out.message(found.kind, {**_fields(found), **path_fields(found)})
        elif self._null:
            self._inv.out.raw(found.path_bytes + b"\0")
        elif self._names:
            self._inv.out.line(text.safe(found.path) + ("" if isinstance(found, Artifact) else "/"))
        else:
            self._inv.out.line(_row(self._inv, found))

    def end(self) -> None:
        """How many there were."""
        self._inv.out.message(
            "summary", {"artifacts": self.artifacts, "collections": self.collections, "bytes": self.bytes}
        )
        if self._names:
            return
        parts = [text.count(self.artifacts, "artifact"), text.size(self.bytes)]
        if self.collections:
            parts.insert(0, text.count(self.collections, "collection"))
        self._inv.out.said(self._inv.out.style(", ".join(parts), "weak"))


def _fields(found: Artifact | Collection) -> dict[str, Any]:
    fields: dict[str, Any] = plain.plain(found)
    return fields


def _row(inv: Invocation, found: Artifact | Collection) -> str:
    gone = inv.out.style("  (deleted)", "bad") if found.deleted_at is not None else ""
    changed = text.time(found.updated_at)
    if isinstance(found, Collection):
        return f"{'-':>10}  {changed}  {'-':>4}  {inv.out.style(text.safe(found.path) + '/', 'place')}{gone}"
    name = inv.out.style(
        text.safe(found.path), "strong" if found.revision.file.mode and found.revision.file.mode & 0o111 else "plain"
    )
    link = " (link)" if found.media_type == SYMLINK_MEDIA_TYPE else ""
    tags = inv.out.style(f"  [{text.safe(', '.join(found.tags))}]", "weak") if found.tags else ""
    return f"{text.size(found.size):>10}  {changed}  {'r' + str(found.number):>4}  {name}{link}{tags}{gone}"


@command("ls")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH]...")
@click.option("-R", "--recursive", is_flag=True, help="All that lies below, too.")
@click.option("--deleted", is_flag=True, help="Deleted artifacts below instead of what is live.")
@_forms
@at_option
def ls(inv: Invocation, paths: tuple[str, ...], recursive: bool, deleted: bool, names: bool, null: bool) -> None:
    """List artifacts and collections.

    Without PATH the root. Columns: size, time of the last change (UTC), revision, path; collections end in `/`.
    """
    with inv.look() as store:
        rows = Rows(inv, names=names, null=null)
        for path in paths or ("",):
            for found in _below(store, path, recursive=recursive, deleted=deleted):
                rows.show(found)
        rows.end()


def _below(store: Any, path: str, *, recursive: bool, deleted: bool) -> Iterable[Artifact | Collection]:
    if path:
        found = place(store, path, deleted=deleted)
        if isinstance(found, Artifact):
            yield found
            return
    if not deleted:
        yield from store.collections.list(path, recursive=recursive)
        yield from store.artifacts.list(path, recursive=recursive)
    else:
        yield from store.artifacts.find(under=path or None, deleted=True, order="updated")


@command("find")
@click.argument("under", required=False, type=PATH)
@click.option("--name", metavar="GLOB", help="Names that fit a pattern of *, ? and […].")
@click.option("--type", "type_", metavar="TYPE", help="Of this type.")
@click.option("--status", metavar="WORD", help="Of this status.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="With this tag (repeatable: with all).")
@click.option("--media-type", metavar="TYPE", help="Of this media type.")
@click.option("--digest", metavar="DIGEST", help="With this content.")
@click.option(
    "--where", multiple=True, metavar="CONDITION", help="E.g. 'metadata.score >= 0.5' (repeatable: all hold)."
)
@click.option(
    "--order",
    default="created",
    metavar="FIELD",
    help=f"{', '.join(ORDERS)}; `-size` descends.",
    show_default=True,
)
@click.option("--limit", type=FROM_ONE, metavar="N", help="At most so many.")
@click.option("--deleted", is_flag=True, help="Deleted artifacts instead of live ones.")
@_forms
@at_option
def find(inv: Invocation, under: str | None, names: bool, null: bool, **wanted: Any) -> None:
    """Find artifacts by name, tag, size, metadata and more.

    UNDER is a collection to look in, at any depth. All that is asked for must hold.
    """
    wanted["type"] = wanted.pop("type_")
    conditions = [query.parse(one) for one in wanted.pop("where")]
    where = query.All(tuple(conditions)) if conditions else None
    with inv.look() as store:
        rows = Rows(inv, names=names, null=null)
        for found in store.artifacts.find(where, under=under or None, **wanted):
            rows.show(found)
        rows.end()
        if not rows.artifacts:
            inv.out.remark("nothing fits")
