"""How records are named on the command line: paths, and `id:UUID`; from these to records and back to bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from holdfast.errors import InvalidValueError, NotFoundError
from holdfast.values import moment
from holdfast.values.records import Artifact, Collection, Endpoint, Record, Relationship, Run

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from holdfast import Store

ID = "id:"


class StorePath(click.ParamType):  # type: ignore[type-arg]
    """A path in the store. The bytes are those the shell gave, whatever the locale; `/` at either end is dropped."""

    name = "path"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> str:
        """The path as the API takes it: UTF-8, with surrogate escapes for stray bytes."""
        given = os.fsencode(value).decode("utf-8", "surrogateescape")
        return given.removeprefix("./").strip("/") if given != "." else ""

    def shell_complete(self, ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names in the store that begin as the word does."""
        from holdfast.cli import completing  # noqa: PLC0415

        return completing.paths(ctx, incomplete)


PATH = StorePath()


def artifact(store: Store, ref: str, *, deleted: bool = False) -> Artifact:
    """The artifact of a path or id; a collection in its place is told apart. NotFoundError."""
    try:
        return store.artifacts.get(ref, deleted=deleted)
    except NotFoundError as error:
        held = _try(lambda: store.collections.get(ref))
        if held is None:
            raise
        raise NotFoundError(
            f"{held.path or '/'!r} is a collection, not an artifact", kind="artifact", ref=held.path,
            remedy="List what is in it with `holdfast ls`.",
        ) from error  # fmt: skip


def place(store: Store, ref: str, *, deleted: bool = False) -> Artifact | Collection:
    """What a path or id leads to: an artifact or a collection. NotFoundError."""
    found: Artifact | Collection | None = None
    if ref:
        found = _try(lambda: store.artifacts.get(ref, deleted=deleted))
    if found is None:
        found = _try(lambda: store.collections.get(ref, deleted=deleted))
    if found is None:
        shown = ref.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if not ref:
            raise NotFoundError("the store is empty", kind="record", ref="", remedy="Put something in: `holdfast add`.")
        raise NotFoundError(f"there is nothing at {shown!r}", kind="record", ref=shown)
    return found


def record(store: Store, ref: str, *, deleted: bool = False) -> Record:
    """Any record: at a path, or of any kind by `id:UUID`. NotFoundError."""
    plain_id = ref.removeprefix(ID)
    if not moment.is_id(plain_id):
        return place(store, ref, deleted=deleted)
    tries: tuple[Callable[[], Record], ...] = (
        lambda: store.artifacts.get(ID + plain_id, deleted=deleted),
        lambda: store.collections.get(ID + plain_id, deleted=deleted),
        lambda: store.runs.get(plain_id, deleted=deleted),
        lambda: store.relationships.get(plain_id, deleted=deleted),
    )
    for attempt in tries:
        found: Record | None = _try(attempt)
        if found is not None:
            return found
    raise NotFoundError(f"no record has the id {plain_id!r}", kind="record", ref=plain_id)


def endpoint(store: Store, ref: str, revision: int | None = None) -> Endpoint:
    """A record as an end of a relationship, or as input or output of a run; `revision` pins an artifact's."""
    found = record(store, ref)
    if revision is None:
        return found.endpoint
    if not isinstance(found, Artifact):
        raise InvalidValueError(
            f"{ref!r} is a {found.kind}: only artifacts have revisions", where="revision", reason="kind",
            remedy="Leave the revision out.",
        )  # fmt: skip
    return store.artifacts.revision(found, revision).endpoint


def _try(attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except NotFoundError:
        return None


class Labels:
    """Names for ids, for people: paths of artifacts and collections, names of runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def of(self, end: Endpoint) -> str:
        """`docs/a.md`, `docs/a.md@3`, `docs/`, `run train (0190…)`; the id itself of what cannot be found."""
        label = self._known.get(end.id)
        if label is None:
            label = self._known[end.id] = self._look_up(end)
        return label + (f"@{end.revision}" if end.revision is not None else "")

    def _look_up(self, end: Endpoint) -> str:
        found = _try(lambda: record(self._store, ID + end.id, deleted=True))
        return f"{end.kind}:{end.id}" if found is None else label(found)


def label(found: Record) -> str:
    """One record by a name for people."""
    if isinstance(found, Artifact):
        return found.path
    if isinstance(found, Collection):
        return f"{found.path}/"
    if isinstance(found, Run):
        return f"run {found.name} (id:{found.id})"
    assert isinstance(found, Relationship)
    return f"relationship {found.type} (id:{found.id})"


def path_fields(found: Artifact | Collection) -> dict[str, str]:
    """`path_hex` if the path's bytes are not UTF-8: what a script needs to name the record again."""
    try:
        found.path_bytes.decode("utf-8")
    except UnicodeDecodeError:
        return {"path_hex": found.path_bytes.hex()}
    return {}
