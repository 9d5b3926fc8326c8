"""From what a caller names a record by (a path, `id:UUID`, a record) to the record."""

from __future__ import annotations

from holdfast.engine.handle import Handle
from holdfast.errors import InvalidNameError, InvalidValueError, NotFoundError
from holdfast.index.sql import SqlIndex
from holdfast.values import moment, names
from holdfast.values.names import Name
from holdfast.values.records import Artifact, Collection

ArtifactRef = str | bytes | Artifact
CollectionRef = str | bytes | Collection
ID = "id:"


def as_id(ref: object) -> str | None:
    """The id in `id:UUID`; None for any other text."""
    return ref[len(ID) :] if isinstance(ref, str) and ref.startswith(ID) and moment.is_id(ref[len(ID) :]) else None


def split(path: str | bytes) -> tuple[tuple[Name, ...], Name]:
    """A path as (collection, name); InvalidNameError for the root, which is no artifact."""
    parts = names.parse_path(path)
    if not parts:
        raise InvalidNameError("an artifact needs a name", name="", reason="empty")
    return parts[:-1], parts[-1]


def artifact(handle: Handle, ref: ArtifactRef, *, deleted: bool = False) -> Artifact:
    """The artifact that `ref` names; with `deleted`, a path also finds the one deleted last. NotFoundError."""
    handle.alive()
    rows = handle.index.artifacts
    record_id = ref.id if isinstance(ref, Artifact) else as_id(ref)
    sight = handle.index.sights.now()
    if record_id is not None:
        found = rows.by_id(record_id, sight)
    else:
        path = path_of(ref)
        parent, name = handle.index.collections.around(path, sight)
        found = None if parent is None else rows.by_place(parent, name, sight)
        if found is None and deleted:
            found = _buried_artifact(handle, *split(path))
    if found is None or (found.deleted_at is not None and not deleted):
        raise _missing("artifact", ref)
    return found


def newest_digest(handle: Handle, ref: ArtifactRef) -> str:
    """The digest of the newest revision of the live artifact that `ref` names; "" if there is none."""
    try:
        return artifact(handle, ref).digest
    except NotFoundError:
        return ""


def path_of(ref: object) -> str | bytes:
    """A ref that must be a path; InvalidValueError."""
    if not isinstance(ref, (str, bytes)):
        raise InvalidValueError(
            f"a {type(ref).__name__} names no record", where="ref", reason="type",
            remedy="Give a path as str or bytes, `id:UUID`, or a record.",
        )  # fmt: skip
    return ref


def _buried_artifact(handle: Handle, folder: tuple[Name, ...], name: Name) -> Artifact | None:
    """The artifact deleted last at a path whose collections may be deleted too."""
    parent = _buried_collection(handle, folder)
    if parent is None:
        return None
    key = handle.index.artifacts.newest_deleted(parent, name)
    return None if key is None else handle.index.artifacts.by_key(key)


def _buried_collection(handle: Handle, path: tuple[Name, ...]) -> int | None:
    rows = handle.index.collections
    key = rows.root()
    for name in path:
        if key is None:
            return None
        key = rows.child(key, name) or rows.newest_deleted(key, name)
    return key


def collection(handle: Handle, ref: CollectionRef, *, deleted: bool = False) -> Collection:
    """The collection that `ref` names ("" is the root); with `deleted`, also the one deleted last. NotFoundError."""
    handle.alive()
    rows = handle.index.collections
    record_id = ref.id if isinstance(ref, Collection) else as_id(ref)
    if record_id is not None:
        found = rows.by_id(record_id)
    else:
        path = names.parse_path(path_of(ref))
        key = rows.down(path)
        if key is None and deleted:
            key = _buried_collection(handle, path)
        found = None if key is None else rows.by_key(key)
    if found is None or (found.deleted_at is not None and not deleted):
        raise _missing("collection", ref)
    return found


def key_of(handle: Handle, record_id: str) -> int:
    """The key of a record that is known to be there."""
    return key_in(handle.index, record_id)


def key_in(index: SqlIndex, record_id: str) -> int:
    """The same, of any index."""
    key = index.key_of(record_id)
    if key is None:
        raise _missing("record", record_id)
    return key


def _missing(kind: str, ref: object) -> NotFoundError:
    shown = ref.decode("utf-8", "backslashreplace") if isinstance(ref, bytes) else str(getattr(ref, "path", ref))
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return NotFoundError(f"there is no {kind} {shown!r}", kind=kind, ref=shown)
