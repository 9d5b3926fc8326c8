"""Artifacts: named things with a history, and every verb that changes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.engine import content
from holdfast.engine.content import Incoming, Source
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit, write
from holdfast.errors import (
    ConflictError,
    ContentPurgedError,
    ExpectationError,
    InvalidValueError,
    NameTakenError,
    NotFoundError,
    TransactionReusedError,
)
from holdfast.kinds import addresses, ambient, collections, labels, media
from holdfast.kinds.addresses import ArtifactRef, CollectionRef
from holdfast.search import text
from holdfast.search.document import LeftOut
from holdfast.values import canon, moment, names
from holdfast.values.change import Body
from holdfast.values.names import Name
from holdfast.values.records import Artifact, FileFacts, PutResult, Revision, RevisionState

DEFAULT_TYPE = "file"
DEFAULT_STATUS = "active"


@dataclass(frozen=True, slots=True)
class Description:
    """All that is said of content when it is put. None: keep what the artifact has (or the default of a new one)."""

    media_type: str | None = None
    metadata: dict[str, Any] | None = None
    type: str | None = None
    status: str | None = None
    tags: Iterable[str] | None = None
    owner: str | None = None
    message: str = ""
    source: str = ""
    file: FileFacts | None = None
    run: str | None = None

    def checked(self) -> Description:
        """Refuse what cannot be kept, before anything is staged."""
        if self.metadata is not None:
            if not isinstance(self.metadata, dict):
                raise InvalidValueError("metadata is no dict", where="metadata", reason="type")
            canon.encode(self.metadata)
        for field in ("media_type", "type", "status"):
            if getattr(self, field) == "":
                raise InvalidValueError(f"{field} is empty", where=field, reason="empty")
        for field in ("media_type", "type", "status", "owner", "message", "source"):
            value = getattr(self, field)
            if value is not None and "\0" in value:
                raise InvalidValueError(f"{field} has a NUL", where=field, reason="NUL")
        if self.tags is not None:
            labels.checked(self.tags)
        return self


class Artifacts:
    """The verbs that change artifacts; those that read are added in readings.py."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def put(
        self, path: ArtifactRef, source: Source, *, expect: int | None = None, tx: str | None = None, **said: Any
    ) -> PutResult:
        """Keep content under a path: a new artifact, a new revision, or nothing if all is as in the newest revision.

        `said` are the fields of Description: media_type, metadata, type, status, tags, owner, message, source, file,
        run. Omitted ones stay as they are; `metadata={}` clears. `expect`: number of the newest revision that you
        know; 0: the name must be free. `tx`: an id for the transaction; repeating it returns the first result.
        Content: bytes, str (UTF-8), a pathlib.Path, or a binary file object, of any size.
        Raises ExpectationError, NameTakenError, InvalidInputError. Durable when it returns.
        """
        described = _describe(said)
        if tx is not None and (done := self._done_before(tx, path)) is not None:
            return done
        with content.staging(self._handle, source) as incoming:
            with write(self._handle, tx=tx, what="put") as unit:
                return put_staged(unit, path, incoming, described, expect=expect)

    def create(self, path: str | bytes, source: Source, *, tx: str | None = None, **said: Any) -> Artifact:
        """Keep content under a name that must be free; NameTakenError names the holder. Else as `put`."""
        described = _describe(said)
        with content.staging(self._handle, source) as incoming:
            with write(self._handle, tx=tx, what="create") as unit:
                folder, name = addresses.split(path)
                parent = collections.ensure_down(unit, folder)
                collections.refuse_taken(unit, parent, name)
                return _create(unit, parent, name, incoming, described)

    def set_metadata(
        self, ref: ArtifactRef, metadata: dict[str, Any], *, expect: int | None = None, message: str = ""
    ) -> PutResult:
        """A new revision with the same content and other metadata (replaced whole; `{}` clears)."""
        described = Description(metadata=metadata, message=message).checked()
        with write(self._handle, what="set metadata") as unit:
            found = addresses.artifact(self._handle, ref)
            _meet(expect, found)
            kept = found.revision
            return revise(unit, found, _same_content(kept), described, media_type=kept.media_type)

    def revert(self, ref: ArtifactRef, revision: int, *, message: str = "") -> PutResult:
        """Make an old revision the newest: a new revision with its content, media type and metadata.

        Raises ContentPurgedError if its bytes were given up, NotFoundError if there is no such revision.
        """
        with write(self._handle, what="revert") as unit:
            found = addresses.artifact(self._handle, ref)
            old = revision_of(self._handle, found, revision)
            refuse_gone(found, old)
            described = Description(
                metadata=old.metadata, message=message or f"revert to revision {revision}", file=old.file
            )
            return revise(unit, found, _same_content(old), described, media_type=old.media_type)

    def update(
        self, ref: ArtifactRef, *, type: str | None = None, status: str | None = None, owner: str | None = None,
        tags: Iterable[str] | None = None, note: str = "",
    ) -> Artifact:  # fmt: skip
        """Change what belongs to the artifact and not to a revision; no change is a no-op."""
        Description(type=type, status=status, owner=owner, tags=tags).checked()
        with write(self._handle, note=note, what="update") as unit:
            found = addresses.artifact(self._handle, ref)
            pairs = _own_changes(found, Description(type=type, status=status, owner=owner, tags=tags))
            return _set(unit, found, pairs)

    def tag(self, ref: ArtifactRef, *tags: str) -> Artifact:
        """Add tags."""
        with write(self._handle, what="tag") as unit:
            found = addresses.artifact(self._handle, ref)
            return _set(unit, found, labels.tag_change(found.tags, add=tags))

    def untag(self, ref: ArtifactRef, *tags: str) -> Artifact:
        """Take tags away; those it has not are no error."""
        with write(self._handle, what="untag") as unit:
            found = addresses.artifact(self._handle, ref)
            return _set(unit, found, labels.tag_change(found.tags, remove=tags))

    def rename(self, ref: ArtifactRef, name: str | bytes) -> Artifact:
        """A new name in the same collection; id and history stay. NameTakenError."""
        return self._place(ref, None, names.parse(name))

    def move(self, ref: ArtifactRef, into: CollectionRef, *, name: str | bytes | None = None) -> Artifact:
        """Into another collection, which must be there; id and history stay. NameTakenError."""
        return self._place(ref, into, None if name is None else names.parse(name))

    def _place(self, ref: ArtifactRef, into: CollectionRef | None, name: Name | None) -> Artifact:
        with write(self._handle, what="move") as unit:
            found = addresses.artifact(self._handle, ref)
            old = names.from_raw(found.name_bytes)
            new = name or old
            if into in ("", b""):
                collections.root(unit)
            target = found.collection_id if into is None else addresses.collection(self._handle, into).id
            if target == found.collection_id and new == old:
                return found
            collections.refuse_taken(unit, addresses.key_of(self._handle, target), new)
            pairs = collections.name_change(old, new) if new != old else {}
            if target != found.collection_id:
                pairs["collection"] = [found.collection_id, target]
            return _set(unit, found, pairs)

    def delete(
        self, ref: ArtifactRef, *, relationships: Literal["cascade", "restrict"] = "cascade", note: str = ""
    ) -> Artifact:
        """A tombstone: the artifact leaves all results, its relationships go with it, its bytes stay until purged.

        With `restrict`, InUseError if a visible relationship touches it. `undelete` brings all of it back.
        """
        with write(self._handle, note=note, what="delete") as unit:
            found = addresses.artifact(self._handle, ref)
            if relationships != "cascade":
                labels.refuse_related(unit, [addresses.key_of(self._handle, found.id)], found.path)
            unit.change({"kind": "artifact", "action": "delete", "id": found.id})
            return _again(unit, found)

    def undelete(self, ref: ArtifactRef, *, name: str | bytes | None = None) -> Artifact:
        """Lift a tombstone; a path names the one deleted last. NameTakenError names who has the name now.

        ConflictError if the collection it lay in is deleted: undelete that one.
        """
        with write(self._handle, what="undelete") as unit:
            found = addresses.artifact(self._handle, ref, deleted=True)
            if found.deleted_at is None:
                return found
            parent = addresses.key_of(self._handle, found.collection_id)
            if unit.handle.index.collections.deleted_seq(parent):
                raise ConflictError(f"the collection that held {found.path!r} is deleted", id=found.id,
                                    remedy="Undelete the collection; what went with it comes back with it.")  # fmt: skip
            old = names.from_raw(found.name_bytes)
            new = old if name is None else names.parse(name)
            collections.refuse_taken(unit, parent, new)
            body: Body = {"kind": "artifact", "action": "undelete", "id": found.id}
            unit.change(body | ({"set": collections.name_change(old, new)} if new != old else {}))
            return _again(unit, found)

    def purge(self, ref: ArtifactRef, *, revisions: Iterable[int] | None = None, note: str = "") -> Artifact:
        """Give up the bytes of revisions for good; the next gc frees those that nothing else needs.

        A deleted artifact is purged whole, or the revisions named; of a live one, revisions other than the newest.
        What was purged, by whom and when stays visible. Raises ConflictError, NotFoundError.
        """
        with write(self._handle, note=note, what="purge") as unit:
            found = addresses.artifact(self._handle, ref, deleted=True)
            history = unit.handle.index.artifacts.history(addresses.key_of(self._handle, found.id), found.id)
            wanted = {r.number for r in history} if revisions is None else set(revisions)
            if found.deleted_at is None and (revisions is None or found.number in wanted):
                raise ConflictError(f"{found.path!r} is live: its newest revision cannot be purged", id=found.id,
                                    remedy="Delete the artifact first, or name older revisions.")  # fmt: skip
            missing = wanted - {r.number for r in history}
            if missing:
                raise NotFoundError(f"{found.path!r} has no revision {min(missing)}", kind="revision", ref=str(min(missing)))
            open_ = sorted(r.number for r in history if r.number in wanted and r.state is RevisionState.KEPT)
            if open_:
                unit.change({"kind": "artifact", "action": "purge", "id": found.id, "revisions": open_})
            return _again(unit, found)

    def _done_before(self, tx: str, path: ArtifactRef) -> PutResult | None:
        """The result of the put that this transaction id was first used for; TransactionReusedError if for another."""
        done = self._handle.index.chain.find(tx)
        if done is None:
            return None
        try:
            found = addresses.artifact(self._handle, path)
        except NotFoundError:
            found = None
        for change in done.changes():
            if found is not None and change.id == found.id and change.action in ("create", "revise"):
                return PutResult(found, created=change.action == "create", changed=True)
        raise TransactionReusedError(f"transaction {tx} did something else", tx=tx)


def _describe(said: dict[str, Any]) -> Description:
    run = said.get("run")
    if run is not None and not isinstance(run, str):
        said = {**said, "run": run.id}
    try:
        return Description(**said).checked()
    except TypeError as error:
        raise InvalidValueError(str(error).replace("Description.__init__() ", "put() "), where="put", reason="argument") from error


def put_staged(
    unit: Unit, path: ArtifactRef, incoming: Incoming, said: Description, *, expect: int | None = None
) -> PutResult:
    """Decide what a put means, with the writer lock held, and do it."""
    found: Artifact | None
    if isinstance(path, Artifact) or addresses.as_id(path) is not None:
        found = addresses.artifact(unit.handle, path)
        _meet(expect, found)
        return revise(unit, found, incoming, said)
    folder, name = addresses.split(path)
    parent = unit.handle.index.collections.down(folder)
    found = None if parent is None else unit.handle.index.artifacts.by_place(parent, name)
    _meet(expect, found)
    if found is not None:
        return revise(unit, found, incoming, said)
    parent = collections.ensure_down(unit, folder)
    collections.refuse_taken(unit, parent, name)
    made = _create(unit, parent, name, incoming, said)
    return PutResult(made, created=True, changed=True, left_out=left_out(made))


def left_out(found: Artifact) -> str:
    """Why the text of the newest revision will not be searched; "" if it will, or if it is no text at all."""
    reason = text.left_out(found.media_type, found.name, found.size)
    return str(reason) if reason is LeftOut.TOO_LARGE else ""


def _meet(expect: int | None, found: Artifact | None) -> None:
    number = 0 if found is None else found.number
    if expect is None or expect == number:
        return
    if expect == 0 and found is not None:
        raise NameTakenError(f"{found.path!r} is taken", name=found.path, holder=found.id, kind="artifact")
    raise ExpectationError(f"expected revision {expect}, found {number or 'no artifact'}", expected=expect, found=number)


def _create(unit: Unit, parent: int, name: Name, incoming: Incoming, said: Description) -> Artifact:
    unit.publish([incoming])
    media_type = said.media_type or media.detect(name.text, incoming.head)
    run = said.run or ambient.current_run(unit.handle)
    parent_id = unit.handle.index.lookups.ids([parent])[parent]
    artifact_id = moment.draw_id(unit.now_us)
    key = unit.change(creation(artifact_id, parent_id, name, incoming, said, media_type, run=run))
    found = unit.handle.index.artifacts.by_key(key)
    assert found is not None
    return found


def creation(
    artifact_id: str, parent_id: str, name: Name, incoming: Incoming, said: Description, media_type: str,
    *, run: str | None,
) -> Body:  # fmt: skip
    """The change that makes an artifact with its first revision."""
    return {
        "kind": "artifact",
        "action": "create",
        "id": artifact_id,
        "new": {
            "collection": parent_id,
            **collections.name_fields(name),
            "type": said.type or DEFAULT_TYPE,
            "status": said.status or DEFAULT_STATUS,
            **labels.given(tags=labels.checked(said.tags or ()), owner=said.owner),
            "revision": _revision_fields(incoming, said, media_type, said.metadata or {}),
        },
        **({"run": run} if run else {}),
    }


def revise(unit: Unit, found: Artifact, incoming: Incoming, said: Description, *, media_type: str | None = None) -> PutResult:
    """A new revision, unless content, media type, metadata and mode are those of the newest; then what else was said."""
    newest = found.revision
    media_type = media_type or said.media_type or newest.media_type
    metadata = newest.metadata if said.metadata is None else said.metadata
    mode = newest.file.mode if said.file is None else said.file.mode
    equal = (incoming.digest, media_type, mode) == (newest.digest, newest.media_type, newest.file.mode)
    changed = not equal or not labels.same(metadata, newest.metadata)
    if changed:
        unit.publish([incoming])
        run = said.run or ambient.current_run(unit.handle)
        number = unit.handle.index.artifacts.last_number(addresses.key_of(unit.handle, found.id)) + 1
        unit.change(
            {
                "kind": "artifact",
                "action": "revise",
                "id": found.id,
                "previous": newest.digest,
                "new": {"number": number, "revision": _revision_fields(incoming, said, media_type, metadata)},
                **({"run": run} if run else {}),
            }
        )
    pairs = _own_changes(found, said)
    if pairs:
        unit.change({"kind": "artifact", "action": "update", "id": found.id, "set": pairs})
    fresh = _again(unit, found) if changed or pairs else found
    return PutResult(fresh, created=False, changed=changed, left_out=left_out(fresh))


def _revision_fields(incoming: Incoming, said: Description, media_type: str, metadata: dict[str, Any]) -> dict[str, Any]:
    facts = said.file or FileFacts()
    fields = labels.given(
        metadata=metadata, message=said.message, source=said.source, mode=facts.mode, mtime_ns=facts.mtime_ns
    )
    return {"digest": incoming.digest, "size": incoming.size, "media_type": media_type, **fields}


def _own_changes(found: Artifact, said: Description) -> dict[str, list[Any]]:
    pairs: dict[str, list[Any]] = {}
    for field in ("type", "status", "owner"):
        value = getattr(said, field)
        if value is not None and value != getattr(found, field):
            pairs[field] = [getattr(found, field), value]
    if said.tags is not None:
        tags = labels.checked(said.tags)
        if tags != sorted(found.tags):
            pairs["tags"] = [sorted(found.tags), tags]
    return pairs


def _set(unit: Unit, found: Artifact, pairs: dict[str, list[Any]]) -> Artifact:
    if not pairs:
        return found
    unit.change({"kind": "artifact", "action": "update", "id": found.id, "set": pairs})
    return _again(unit, found)


def _again(unit: Unit, found: Artifact) -> Artifact:
    fresh = unit.handle.index.artifacts.by_id(found.id)
    assert fresh is not None
    return fresh


def _same_content(revision: Revision) -> Incoming:
    """Content that a revision has already: publishing it looks at its row only."""
    return Incoming(revision.digest, revision.size, b"")


def revision_of(handle: Handle, found: Artifact, number: int) -> Revision:
    """A revision of an artifact by number; NotFoundError."""
    if number == found.number:
        return found.revision
    key = addresses.key_of(handle, found.id)
    revision = handle.index.artifacts.revision(key, found.id, number)
    if revision is None:
        raise NotFoundError(f"{found.path!r} has no revision {number}", kind="revision", ref=f"{found.path}@{number}")
    return revision


def refuse_gone(found: Artifact, revision: Revision) -> None:
    """ContentPurgedError if the bytes of a revision were given up."""
    if revision.state is not RevisionState.KEPT:
        raise ContentPurgedError(
            f"revision {revision.number} of {found.path!r} was {revision.state}",
            id=found.id, revision=revision.number, digest=revision.digest,
        )  # fmt: skip
