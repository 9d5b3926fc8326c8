"""Artifacts: named things with a history, and every verb that changes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from holdfast.engine.handle import Handle
from holdfast.engine.queueing import MOST_BYTES
from holdfast.errors import (
    ConflictError,
    LockedError,
    NotFoundError,
    TransactionReusedError,
)
from holdfast.kinds import addresses, collections, labels, revising
from holdfast.kinds.addresses import ArtifactRef, CollectionRef
from holdfast.kinds.clauses import upheld
from holdfast.kinds.writing import staging, write
from holdfast.values import names
from holdfast.values.change import Body
from holdfast.values.names import Name
from holdfast.values.records import Artifact, PutResult, RevisionState

# What only some verbs need is imported when these are called: a command must not wait for it.
# ruff: noqa: PLC0415
if TYPE_CHECKING:
    from holdfast.engine.content import Source
    from holdfast.kinds import many


@upheld
class Artifacts:
    """The verbs that change artifacts; those that read are added in readings.py."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def put(
        self, path: ArtifactRef, content: Source, *, expect: int | None = None, tx: str | None = None, **said: Any
    ) -> PutResult:
        """Keep content under a path: a new artifact, a new revision, or nothing if all is as in the newest revision.

        `said` are the fields of Description: media_type, metadata, type, status, tags, owner, message, source, file,
        run. Omitted ones stay as they are; `metadata={}` clears. `expect`: number of the newest revision that you
        know; 0: the name must be free. `tx`: an id for the transaction; repeating it returns the first result.
        Content: bytes, str (UTF-8), a pathlib.Path, or a binary file object, of any size.
        Raises ExpectationError, NameTakenError, InvalidInputError. Durable when it returns.
        """
        described = revising.describe(said)
        writer = self._handle.writer
        if not writer.is_crowded():
            may_leave_it = isinstance(content, (bytes, str)) and len(content) < MOST_BYTES
            try:
                return self._put(path, content, described, expect=expect, tx=tx, wait_s=0.0 if may_leave_it else None)
            except LockedError:
                if not (may_leave_it and writer.is_crowded()):
                    raise
        from holdfast.kinds import combining

        done = combining.put(self._handle, path, content, described, expect=expect, tx=tx)
        if isinstance(done, PutResult):
            return done
        return self._put(path, content, described, expect=expect, tx=done.tx)

    def _put(
        self, path: ArtifactRef, content: Source, described: revising.Description, *, expect: int | None,
        tx: str | None, wait_s: float | None = None,
    ) -> PutResult:  # fmt: skip
        """In a transaction of its own, or in the one that is open. `wait_s`: for the lock, if not as ever."""
        from holdfast.engine.cutting import Grown

        grown = Grown(self._handle, lambda: addresses.newest_digest(self._handle, path))
        with staging(self._handle, content, cutter=grown) as incoming:
            revising.foresee(self._handle, path, incoming.digest)
            try:
                with write(self._handle, tx=tx, what="put", wait_s=wait_s) as unit:
                    return revising.put_staged(unit, path, incoming, described, expect=expect)
            except TransactionReusedError:
                from holdfast.kinds import repeats

                assert tx is not None
                return repeats.put_before(self._handle, tx, path, incoming)

    def put_many(self, contents: Iterable[many.Given], **said: Any) -> many.ManyResult:
        """Keep many contents: (path, content) or (path, content, fields) each, in the order given, as `put` would.

        `said`: the fields of `put` for all of them; `fields`, a dict, for one of them, first. Much faster than as many
        puts: content shares appends and syncs, and up to 4,000 items (or 64 MiB) make one transaction. Each is all or
        nothing and durable at the latest when the next is full; an error undoes the one that it stops, and those
        before stay, so the same call again goes on from there. Inside `transaction()` all of it is one. Holds no more
        than two. Durable on return. Raises NameTakenError where a collection has the name, InvalidInputError,
        SourceError.
        """
        from holdfast.kinds import many

        return many.put_many(self._handle, contents, said)

    def create(self, path: str | bytes, content: Source, *, tx: str | None = None, **said: Any) -> Artifact:
        """Keep content under a name that must be free; NameTakenError names the holder. Else as `put`."""
        described = revising.describe(said)
        folder, name = addresses.split(path)
        with staging(self._handle, content) as incoming:
            try:
                with write(self._handle, tx=tx, what="create") as unit:
                    parent = collections.ensure_down(unit, folder)
                    collections.refuse_taken(unit, parent, name)
                    return revising.create(unit, parent, name, incoming, described)
            except TransactionReusedError:
                from holdfast.kinds import repeats

                assert tx is not None
                return repeats.put_before(self._handle, tx, path, incoming).artifact

    def set_metadata(
        self, ref: ArtifactRef, metadata: dict[str, Any], *, expect: int | None = None, message: str = ""
    ) -> PutResult:
        """A new revision with the same content and other metadata (replaced whole; `{}` clears)."""
        described = revising.Description(metadata=metadata, message=message).checked()
        with write(self._handle, what="set metadata") as unit:
            found = addresses.artifact(self._handle, ref)
            revising.meet(expect, found)
            kept = found.revision
            revising.refuse_gone(found, kept)
            return revising.revise(unit, found, revising.same_content(kept), described, media_type=kept.media_type)

    def revert(self, ref: ArtifactRef, revision: int, *, message: str = "") -> PutResult:
        """Make an old revision the newest: a new revision with its content, media type and metadata.

        Raises ContentPurgedError if its bytes were given up, NotFoundError if there is no such revision.
        """
        with write(self._handle, what="revert") as unit:
            found = addresses.artifact(self._handle, ref)
            old = revising.revision_of(self._handle, found, revision)
            revising.refuse_gone(found, old)
            described = revising.Description(
                metadata=old.metadata, message=message or f"revert to revision {revision}", file=old.file
            )
            return revising.revise(unit, found, revising.same_content(old), described, media_type=old.media_type)

    def update(
        self, ref: ArtifactRef, *, type: str | None = None, status: str | None = None, owner: str | None = None,
        tags: Iterable[str] | None = None, note: str = "",
    ) -> Artifact:  # fmt: skip
        """Change what belongs to the artifact and not to a revision; no change is a no-op."""
        said = revising.Description(type=type, status=status, owner=owner, tags=tags).checked()
        with write(self._handle, note=note, what="update") as unit:
            found = addresses.artifact(self._handle, ref)
            return revising.set_fields(unit, found, revising.own_changes(found, said))

    def tag(self, ref: ArtifactRef, *tags: str) -> Artifact:
        """Add tags."""
        with write(self._handle, what="tag") as unit:
            found = addresses.artifact(self._handle, ref)
            return revising.set_fields(unit, found, labels.tag_change(found.tags, add=tags))

    def untag(self, ref: ArtifactRef, *tags: str) -> Artifact:
        """Take tags away; those it has not are no error."""
        with write(self._handle, what="untag") as unit:
            found = addresses.artifact(self._handle, ref)
            return revising.set_fields(unit, found, labels.tag_change(found.tags, remove=tags))

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
            return revising.set_fields(unit, found, pairs)

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
            return revising.again(unit, found)

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
                                    remedy="Undelete the collection: what went along comes back.")  # fmt: skip
            old = names.from_raw(found.name_bytes)
            new = old if name is None else names.parse(name)
            collections.refuse_taken(unit, parent, new)
            body: Body = {"kind": "artifact", "action": "undelete", "id": found.id}
            unit.change(body | ({"set": collections.name_change(old, new)} if new != old else {}))
            return revising.again(unit, found)

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
                raise NotFoundError(
                    f"{found.path!r} has no revision {min(missing)}", kind="revision", ref=str(min(missing))
                )
            open_ = sorted(r.number for r in history if r.number in wanted and r.state is RevisionState.KEPT)
            if open_:
                unit.change({"kind": "artifact", "action": "purge", "id": found.id, "revisions": open_})
            return revising.again(unit, found)
