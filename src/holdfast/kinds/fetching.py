"""Many artifacts or contents at once: rows asked for in batches, bytes read in the order in which they lie."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from holdfast.engine.handle import Handle
from holdfast.kinds import addresses, revising
from holdfast.kinds.addresses import ArtifactRef
from holdfast.kinds.collecting import uncollected
from holdfast.values.names import Name
from holdfast.values.records import Artifact, Revision

if TYPE_CHECKING:
    from holdfast.index.select.contents import Held
    from holdfast.index.select.making import Pin

ContentRef = ArtifactRef | Revision
R = TypeVar("R", bound=ContentRef)
T = TypeVar("T")
K = TypeVar("K")

BATCH = 500
"""So many rows are asked for with one query."""

WINDOW = 64_000
"""The places of so many contents are known at a time; some 400 bytes are held for each. What comes one by one, at
random, has its frames opened once for each window: with half of it 50,000 contents cost a fifth more CPU. A list is put
in order as a whole before, by what its refs say of themselves, in some 50 bytes for each."""

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
    for window in _windows(refs):
        with uncollected():
            order, places = _in_order(handle, window)
        for number, data in handle.blobs.read_many(places):
            yield window[order[number]], data


def _windows(refs: Iterable[R]) -> Iterator[Sequence[R]]:
    """Parts of `refs`; of a list those that lie near each other, however it is in order, as it is now."""
    if not isinstance(refs, list | tuple) or len(refs) <= WINDOW:
        waiting = iter(refs)
        while window := list(islice(waiting, WINDOW)):
            yield window
        return
    known = tuple(refs)
    with uncollected():
        order = _near_each_other(known)
    for start in range(0, len(order), WINDOW):
        yield [known[number] for number in order[start : start + WINDOW]]


def _near_each_other(refs: Sequence[ContentRef]) -> list[int]:
    """Numbers of refs: revisions by the order in which they were made, then all else by what names it."""
    seqs: list[int] = []  # and behind each the number, in 32 bits
    others: list[int] = []
    for start in range(0, len(refs), _TOGETHER):
        part = range(start, min(start + _TOGETHER, len(refs)))
        numbers, named = _by_row([refs[number] for number in part])
        seqs += [seq << 32 | part[number] for number, (seq, _) in zip(numbers, named, strict=True)]
        others += [number for number in part if not isinstance(refs[number], Revision)]
    seqs.sort()
    others.sort(key=lambda number: _named(refs[number]))
    return [one & 0xFFFF_FFFF for one in seqs] + others


def files(handle: Handle, refs: Iterable[R]) -> Iterator[tuple[R, io.BufferedReader]]:
    """(ref, open file) for each of `refs`, in their order; each is closed when the next one is asked for."""
    from holdfast.blobs import buffered  # noqa: PLC0415 - start-up time: not every command reads contents

    waiting = iter(refs)
    while batch := list(islice(waiting, BATCH)):
        for number, (digest, _) in sorted(zip(*_in_order(handle, batch), strict=True)):
            with buffered(handle.blobs.open(digest)) as file:
                yield batch[number], file


def _in_order(handle: Handle, refs: Sequence[ContentRef]) -> tuple[list[int], list[Held]]:
    """The number and the place of each, in two columns, by the order of their rows; what is gone raises.

    What was made together stands together in the index, and lies about so in packs: in this order pages of both are
    used while they are at hand, and what is made for one content is next to what is made for its neighbour.
    """
    handle.alive()
    rows = handle.index.contents
    order, wanted = _by_row(refs)
    places: list[Held | None] = []
    for start in range(0, len(wanted), _TOGETHER):
        places += rows.many_revisions(wanted[start : start + _TOGETHER])
    if len(order) < len(refs):
        named = [
            number for _, number in sorted((_named(r), n) for n, r in enumerate(refs) if not isinstance(r, Revision))
        ]
        for part in _parts(named):
            found = _resolved(handle, [refs[number] for number in part], rows.many_at, rows.many_of)
            places += map(found.get, range(len(part)))
        order += named
    missing = sorted(n for n, one in zip(order, places, strict=True) if one is None)
    if not missing:
        return order, cast("list[Held]", places)
    from holdfast.index.select.contents import Held  # noqa: PLC0415 - start-up time of those who only look

    long_way = {n: Held(_long_way(handle, refs[n]), None) for n in missing}
    return order, [long_way[n] if one is None else one for n, one in zip(order, places, strict=True)]


def _by_row(refs: Sequence[ContentRef]) -> tuple[list[int], list[Pin]]:
    """The number of each revision, and what names its content, by the order of their rows."""
    from holdfast.index.select.making import pins  # noqa: PLC0415 - start-up time of those who only look

    numbers: list[int] = []
    revisions: list[Revision] = []
    for number, ref in enumerate(refs):
        if isinstance(ref, Revision):
            numbers.append(number)
            revisions.append(ref)
    named = pins(revisions)
    order = sorted(range(len(named)), key=[seq for seq, _ in named].__getitem__)
    return [numbers[at] for at in order], [named[at] for at in order]


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + _TOGETHER] for start in range(0, len(numbers), _TOGETHER))


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
