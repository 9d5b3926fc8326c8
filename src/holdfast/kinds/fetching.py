"""Many artifacts or contents at once: rows asked for in batches, bytes read in the order in which they lie."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from holdfast.engine.handle import Handle
from holdfast.kinds import addresses, revising
from holdfast.kinds.addresses import ArtifactRef
from holdfast.values.names import Name
from holdfast.values.records import Artifact, Revision

if TYPE_CHECKING:
    from holdfast.formats.pack import Spot
    from holdfast.index.select.contents import Held

ContentRef = ArtifactRef | Revision
R = TypeVar("R", bound=ContentRef)
T = TypeVar("T")
K = TypeVar("K")

BATCH = 500
"""So many rows are asked for with one query."""

WINDOW = 32_000
"""So many contents are put in order of their places at a time; a few hundred bytes are held for each."""

_TOGETHER = 2_000
"""So many revisions are asked for with one query."""


def records(handle: Handle, refs: Iterable[ArtifactRef]) -> Iterator[Artifact]:
    """Artifacts as they are now, in the order of `refs`. NotFoundError for the first that is not there."""
    rows = handle.index.artifacts
    waiting = iter(refs)
    while batch := list(islice(waiting, BATCH)):
        found = _resolved(handle, batch, rows.many_at, rows.many_of)
        for number, ref in enumerate(batch):
            yield found[number] if number in found else addresses.artifact(handle, ref)


def content(handle: Handle, ref: ArtifactRef) -> bytes:
    """The newest content of an artifact, checked against its digest."""
    held = _held(handle, ref)
    if held is None:
        found = addresses.artifact(handle, ref)
        revising.refuse_gone(found, found.revision)
        return handle.blobs.read(found.digest)
    return handle.blobs.read(held.digest, spot=held.spot)


def _held(handle: Handle, ref: ArtifactRef) -> Held | None:
    handle.alive()
    record_id = ref.id if isinstance(ref, Artifact) else addresses.as_id(ref)
    if record_id is not None:
        return handle.index.contents.of(record_id)
    parent, name = handle.index.collections.around(addresses.path_of(ref), handle.index.sights.now())
    return None if parent is None else handle.index.contents.at(parent, name)


def contents(handle: Handle, refs: Iterable[R]) -> Iterator[tuple[R, bytes]]:
    """(ref, content) for each of `refs`, in the order that reads them quickest, each checked against its digest."""
    waiting = iter(refs)
    while window := list(islice(waiting, WINDOW)):
        for number, data in handle.blobs.read_many(_places(handle, window)):
            yield window[number], data


def files(handle: Handle, refs: Iterable[R]) -> Iterator[tuple[R, io.BufferedReader]]:
    """(ref, open file) for each of `refs`, in their order; each is closed when the next one is asked for."""
    from holdfast.blobs import buffered  # noqa: PLC0415 - start-up time: not every command reads contents

    waiting = iter(refs)
    while batch := list(islice(waiting, BATCH)):
        for ref, (digest, _) in zip(batch, _places(handle, batch), strict=True):
            with buffered(handle.blobs.open(digest)) as file:
                yield ref, file


def _places(handle: Handle, refs: Sequence[ContentRef]) -> list[tuple[str, Spot | None]]:
    """(digest, spot) of each; what cannot be read raises, and says why."""
    handle.alive()
    rows = handle.index.contents
    # In the order of their rows: pages of the index are read once, and neighbours together.
    pinned = sorted((ref.seq, number) for number, ref in enumerate(refs) if isinstance(ref, Revision))
    found: list[Held | None] = [None] * len(refs)
    for start in range(0, len(pinned), _TOGETHER):
        numbers = [number for _, number in pinned[start : start + _TOGETHER]]
        asked = [ref for ref in map(refs.__getitem__, numbers) if isinstance(ref, Revision)]
        for number, held in rows.many_revisions(asked).items():
            found[numbers[number]] = held
    if len(pinned) < len(refs):
        # Ids and paths in order too: what was made together, or lies together, stands together in the index.
        others = sorted((_named(ref), number) for number, ref in enumerate(refs) if not isinstance(ref, Revision))
        for start in range(0, len(others), _TOGETHER):
            numbers = [number for _, number in others[start : start + _TOGETHER]]
            more = _resolved(handle, [refs[number] for number in numbers], rows.many_at, rows.many_of)
            for number, held in more.items():
                found[numbers[number]] = held
    return [
        (_long_way(handle, ref), None) if one is None else (one.digest, one.spot)
        for one, ref in zip(found, refs, strict=True)
    ]


def _named(ref: ContentRef) -> str:
    """What a ref is put in order by: any text will do, for what is no ref is refused later."""
    if isinstance(ref, str):
        return ref
    return ref.decode("utf-8", "replace") if isinstance(ref, bytes) else f"{addresses.ID}{getattr(ref, 'id', '')}"


def _long_way(handle: Handle, ref: ContentRef) -> str:
    """The digest of a content that is kept, by the way that gives every error its reason."""
    if isinstance(ref, Revision):
        artifact = addresses.artifact(handle, f"{addresses.ID}{ref.artifact_id}", deleted=True)
        revision = revising.revision_of(handle, artifact, ref.number)
    else:
        artifact = addresses.artifact(handle, ref)
        revision = artifact.revision
    revising.refuse_gone(artifact, revision)
    return revision.digest


def _resolved(
    handle: Handle, batch: Sequence[ContentRef], at: Callable[[list[tuple[int, Name]]], dict[int, T]],
    of: Callable[[list[str]], dict[int, T]],
) -> dict[int, T]:  # fmt: skip
    """What two queries, by place and by id, give for a batch, by its numbers."""
    handle.alive()
    sight = handle.index.sights.now()
    places: list[tuple[int, tuple[int, Name]]] = []
    ids: list[tuple[int, str]] = []
    for number, ref in enumerate(batch):
        record_id = ref.id if isinstance(ref, Artifact) else addresses.as_id(ref)
        if record_id is not None:
            ids.append((number, record_id))
        else:
            parent, name = handle.index.collections.around(addresses.path_of(ref), sight)
            if parent is not None:
                places.append((number, (parent, name)))
    return _numbered(places, at) | _numbered(ids, of)


def _numbered(asked: list[tuple[int, K]], ask: Callable[[list[K]], dict[int, T]]) -> dict[int, T]:
    if not asked:
        return {}
    return {asked[number][0]: one for number, one in ask([one for _, one in asked]).items()}
