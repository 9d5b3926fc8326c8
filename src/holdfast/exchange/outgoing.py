"""What of a store goes out: what a reference names in some state, what lies below, whose content is still there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.engine.handle import Handle
from holdfast.errors import NotFoundError
from holdfast.exchange.ground import Steps, shown
from holdfast.index.select.contents import Held, Listed
from holdfast.index.sql import SqlIndex
from holdfast.kinds import addresses
from holdfast.kinds.addresses import ArtifactRef, CollectionRef
from holdfast.values import digest as digests
from holdfast.values import names
from holdfast.values.names import Name
from holdfast.values.records import Artifact, Collection, FileFacts, RevisionState
from holdfast.values.redaction import NOTHING

PAGE = 500


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to be: where, and the revision that it is made of."""

    steps: Steps
    name: bytes
    revision: Listed

    @property
    def shown(self) -> str:
        """Where it is to be, as text."""
        return shown((*self.steps, self.name))


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to be. `file`: mode and time, where they are known."""

    steps: Steps
    file: FileFacts

    @property
    def shown(self) -> str:
        """Where it is to be, as text."""
        return shown(self.steps)


def find(index: SqlIndex, ref: ArtifactRef | CollectionRef) -> Artifact | Collection | None:
    """What a path, `id:UUID` or record names in the state of an index; None: the root of one that is empty.

    Raises NotFoundError, InvalidNameError.
    """
    found: Artifact | Collection | None = None
    record_id = ref.id if isinstance(ref, (Artifact, Collection)) else addresses.as_id(ref)
    if record_id is not None:
        found = index.artifacts.by_id(record_id) or index.collections.by_id(record_id)
    else:
        parts = names.parse_path(addresses.path_of(ref))
        parent = index.collections.down(parts[:-1])
        if not parts:
            return None if parent is None else index.collections.by_key(parent)
        found = None if parent is None else index.artifacts.by_place(parent, parts[-1])
        key = None if parent is None or found is not None else index.collections.child(parent, parts[-1])
        found = found if key is None else index.collections.by_key(key)
    if found is None or found.deleted_at is not None:
        text = ref.decode("utf-8", "backslashreplace") if isinstance(ref, bytes) else str(getattr(ref, "path", ref))
        text = text.encode("utf-8", "backslashreplace").decode()
        raise NotFoundError(f"there is nothing at {text!r}", kind="record", ref=text)
    return found


def revision(index: SqlIndex, found: Artifact, number: int | None) -> Listed:
    """A revision of an artifact, the newest if none is named. NotFoundError."""
    key = addresses.key_in(index, found.id)
    old = found.revision if number in (None, found.number) else index.artifacts.revision(key, found.id, number or 0)
    if old is None:
        raise NotFoundError(f"{found.path!r} has no revision {number}", kind="revision", ref=f"{found.path}@{number}")
    return Listed(key, old.number, old.seq, old.digest, old.size, old.media_type, old.file)


def below(index: SqlIndex, found: Collection | None, *, placed: bool) -> Iterator[Entry | Place]:
    """What lies below a collection, each folder before what lies in it, in short reads. `placed`: as for `listed`."""
    key = None if found is None else index.key_of(found.id)
    if key is None:
        return
    yield from _entries(index, key, (), placed=placed)
    waiting: list[tuple[Steps, Iterator[tuple[int, Collection]]]] = [((), index.collections.children(key))]
    while waiting:
        steps, children = waiting[-1]
        child = next(children, None)
        if child is None:
            waiting.pop()
            continue
        inner: Steps = (*steps, child[1].name_bytes)
        yield Place(inner, child[1].file)
        yield from _entries(index, child[0], inner, placed=placed)
        waiting.append((inner, index.collections.children(child[0])))


def folders(index: SqlIndex, found: Collection | None) -> Iterator[Place]:
    """The collection's own folder and those below, each after those that lie in it."""
    key = None if found is None else index.key_of(found.id)
    if found is None or key is None:
        return
    waiting = [(Place((), found.file), index.collections.children(key))]
    while waiting:
        place, children = waiting[-1]
        child = next(children, None)
        if child is None:
            yield waiting.pop()[0]
        else:
            inner = Place((*place.steps, child[1].name_bytes), child[1].file)
            waiting.append((inner, index.collections.children(child[0])))


def count(index: SqlIndex, found: Collection | None) -> int:
    """How many files there will be."""
    key = None if found is None else index.key_of(found.id)
    return 0 if key is None else index.collections.count_artifacts([key, *index.collections.below(key)])


def _entries(index: SqlIndex, key: int, steps: Steps, *, placed: bool) -> Iterator[Entry]:
    return (Entry(steps, name.raw, one) for name, one in newest(index, key, placed=placed))


def newest(index: SqlIndex, key: int, *, placed: bool = True) -> Iterator[tuple[Name, Listed]]:
    """Names and newest revisions of the live artifacts right in a collection, by name. `placed`: as for `listed`."""
    after = Name("")
    while page := index.contents.listed(key, after, PAGE, placed=placed):
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


def artifacts(index: SqlIndex, key: int) -> Iterator[Artifact]:
    """The live artifacts right in a collection, by name."""
    after = None
    while page := index.finder.in_collection(key, after=after, limit=PAGE):
        yield from page
        if len(page) < PAGE:
            return
        after = names.from_raw(page[-1].name_bytes)


def held(handle: Handle, entries: Sequence[Entry]) -> dict[int, Held]:
    """Of each entry whose content is kept: what it is, and where; by number. By the rows of now, of whatever state."""
    found = {number: one for number, entry in enumerate(entries) if (one := entry.revision.held) is not None}
    asked = [number for number in range(len(entries)) if number not in found]
    for start in range(0, len(asked), PAGE):
        part = asked[start : start + PAGE]
        listed = [entries[number].revision for number in part]
        pins = [*zip([one.seq for one in listed], digests.raws([one.digest for one in listed]), strict=True)]
        rows = handle.index.contents.many_revisions(pins)
        found |= {number: one for number, one in zip(part, rows, strict=True) if one is not None}
    return found


def why_gone(handle: Handle, wanted: Listed) -> str:
    """Why the content of a revision is not kept any more: purged, withdrawn or redacted."""
    artifact_id = handle.index.lookups.ids([wanted.artifact])[wanted.artifact]
    now = handle.index.artifacts.revision(wanted.artifact, artifact_id, wanted.number)
    if now is not None and NOTHING in (now.digest, wanted.digest):
        return "redacted"
    return str(now.state if now is not None and now.state is not RevisionState.KEPT else RevisionState.WITHDRAWN)
