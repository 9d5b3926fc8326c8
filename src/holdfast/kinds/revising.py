"""What a put means: a new artifact, a new revision, or nothing; decided with the writer lock held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.engine.handle import Handle
from holdfast.errors import ContentPurgedError, ExpectationError, InvalidValueError, NameTakenError, NotFoundError
from holdfast.index.select.sight import Folder
from holdfast.kinds import addresses, ambient, checks, collections, labels, media
from holdfast.kinds.addresses import ArtifactRef
from holdfast.values import canon, digest, late, moment, names
from holdfast.values.change import Body
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name
from holdfast.values.records import (
    DEFAULT_STATUS,
    DEFAULT_TYPE,
    Artifact,
    FileFacts,
    PutResult,
    Revision,
    RevisionState,
)

if TYPE_CHECKING:
    from holdfast.engine.content import Incoming
    from holdfast.engine.transaction import Unit


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

    def is_plain(self) -> bool:
        """Whether it says no more than media type, file and source."""
        special = (self.metadata, self.type, self.status, self.tags, self.owner, self.message, self.run)
        return not any(special)

    def checked(self) -> Description:
        """Refuse what cannot be kept, before anything is staged."""
        checks.object_of(self.metadata, "metadata")
        for field in ("media_type", "type", "status"):
            if getattr(self, field) == "":
                raise InvalidValueError(f"{field} is empty", where=field, reason="empty")
        for field in ("media_type", "type", "status", "owner", "message", "source"):
            if getattr(self, field) is not None:
                checks.text_of(getattr(self, field), field)
        if self.file is not None:
            checks.facts_of(self.file)
        return self if self.tags is None else replace(self, tags=labels.checked(self.tags))


_NOTHING = Description()


def describe(said: dict[str, Any]) -> Description:
    """What a caller said as keywords, checked; InvalidValueError for a keyword that put does not know."""
    if not said:
        return _NOTHING
    run = said.get("run")
    if run is not None and not isinstance(run, str):
        said = {**said, "run": run.id}
    elif run is not None:
        said = {**said, "run": run.removeprefix(addresses.ID)}
    try:
        return Description(**said).checked()
    except TypeError as error:
        raise InvalidValueError(
            str(error).replace("Description.__init__() ", "put() "), where="put", reason="argument"
        ) from error


def put_staged(
    unit: Unit, path: ArtifactRef, incoming: Incoming, said: Description, *, expect: int | None = None
) -> PutResult:
    """Decide what a put means, with the writer lock held, and do it."""
    found: Artifact | None
    if isinstance(path, Artifact) or addresses.as_id(path) is not None:
        found = addresses.artifact(unit.handle, path)
        meet(expect, found)
        return revise(unit, found, incoming, said)
    sight = unit.handle.index.sights.now()
    parent, name = unit.handle.index.collections.around(addresses.path_of(path), sight)
    rows = unit.handle.index.artifacts
    found = None if parent is None or rows.is_free(parent, name) else rows.by_place(parent, name, sight)
    meet(expect, found)
    if found is not None:
        return revise(unit, found, incoming, said)
    if parent is None:
        parent = collections.ensure_down(unit, addresses.split(path)[0])
    else:
        collections.refuse_collection(unit, parent, name)
    made = create(unit, parent, name, incoming, said)
    return PutResult(made, created=True, changed=True, left_out=left_out(made, incoming.size))


def foresee(handle: Handle, path: ArtifactRef, content_digest: str) -> None:
    """Name to the index what `put_staged` will ask first: a server answers it together with what is asked next.

    Where the path leads is guessed from what this thread saw last; if that is not so any more, it asks once more.
    """
    index = handle.index
    if not index.is_far:
        return
    index.foresee(lambda: index.physical.content_key(content_digest), having=(digest.raw(content_digest),))
    lately = index.sights.lately()
    if lately is None or isinstance(path, Artifact) or addresses.as_id(path) is not None:
        return
    text = addresses.path_of(path)
    last = text.rpartition("/")[2] if isinstance(text, str) else text.rpartition(b"/")[2]
    parent = lately.ways.get(text[: len(text) - len(last)])
    if parent is not None:
        name = names.parse(last)
        index.foresee(lambda: index.artifacts.is_free(parent, name), having=(parent, name.text, name.stray))


def left_out(found: Artifact, size: int) -> str:
    """Why the text of the newest revision, of so many bytes, will not be searched; "" if it will, or if it is none."""
    from holdfast.search.text import MAX_TEXT_BYTES  # noqa: PLC0415 - start-up time: only puts ask

    if size <= MAX_TEXT_BYTES:
        return ""
    from holdfast.search import text  # noqa: PLC0415
    from holdfast.search.document import LeftOut  # noqa: PLC0415

    reason = text.left_out(found.media_type, found.name, size)
    return str(reason) if reason is LeftOut.TOO_LARGE else ""


def meet(expect: int | None, found: Artifact | None) -> None:
    """Raise ExpectationError (NameTakenError for `expect=0`) unless the newest revision is the expected one."""
    number = 0 if found is None else found.number
    if expect is None or expect == number:
        return
    if expect == 0 and found is not None:
        raise NameTakenError(f"{found.path!r} is taken", name=found.path, holder=found.id, kind="artifact")
    raise ExpectationError(
        f"expected revision {expect}, found {number or 'no artifact'}", expected=expect, found=number
    )


def create(unit: Unit, parent: int, name: Name, incoming: Incoming, said: Description) -> Artifact:
    """A new artifact with its first revision; the caller has seen to it that the name is free."""
    unit.publish([incoming])
    media_type = said.media_type or media.detect(name.text, incoming.head)
    run = run_of(unit, said)
    lookups = unit.handle.index.lookups
    folder = lookups.folder(parent, lookups.sights.now())
    artifact_id = moment.draw_id(unit.now_us)
    body = creation(artifact_id, folder.id, name, incoming, said, media_type, run=run)
    seq = unit.change(body)
    # The unit of work gives the tenant to the body.
    by = Maker(seq, unit.now_us, unit.actor.name, body["new"].get("tenant") or unit.handle.tenant or "")
    return made(by, folder, name, body)


class Maker(NamedTuple):
    """The transaction that has made an artifact, as far as the artifact tells of it."""

    seq: int
    time_us: int
    actor: str
    tenant: str = ""


def made(by: Maker, folder: Folder, name: Name, body: Body) -> Artifact:
    """The artifact that a creation has just made, as reading it again would give it.

    Filled when somebody looks at more than the ids of it and of its collection.
    """
    metadata = body["new"]["revision"].get("metadata")
    known = canon.decode(canon.encode(metadata)) if metadata else {}  # whoever gave it may change it
    waiting: Artifact = late.waiting(Artifact, (_fill, by, folder, name, body, known))
    _SETTERS["id"](waiting, body["id"])
    _SETTERS["collection_id"](waiting, folder.id)
    return waiting


_SETTERS = dict(zip(vars(Artifact)["__slots__"], late.setters(Artifact), strict=True))


def _fill(waiting: Artifact, _: str, known: tuple[Any, ...]) -> None:
    whole = _made(*known[1:])
    for field, put in _SETTERS.items():
        put(waiting, getattr(whole, field))


def _made(by: Maker, folder: Folder, name: Name, body: Body, metadata: dict[str, Any]) -> Artifact:
    new, when = body["new"], moment.to_datetime(by.time_us)
    revision, own = new["revision"], name.raw
    path, raw = (f"{folder.text}/{name.text}", folder.raw + b"/" + own) if folder.names else (name.text, own)
    first = Revision(
        body["id"], 1, revision["digest"], revision["size"], revision["media_type"],
        metadata, when, by.actor, by.seq, None,
        revision.get("message", ""), revision.get("source", ""),
        FileFacts(revision.get("mode"), revision.get("mtime_ns")), body.get("run"),
    )  # fmt: skip
    return Artifact(
        body["id"], path, raw, name.text, own, folder.id, new["type"], new["status"],
        tuple(sorted(new.get("tags", ()))), first, when, when, None, by.tenant, new.get("owner", ""),
    )  # fmt: skip


def creation(
    artifact_id: str, parent_id: str, name: Name, incoming: Incoming, said: Description, media_type: str,
    *, run: str | None,
) -> Body:  # fmt: skip
    """The change that makes an artifact with its first revision."""
    new: dict[str, Any] = {"collection": parent_id, "name": name.text}
    if name.stray:
        new["name_hex"] = name.stray.hex()
    new["type"] = said.type or DEFAULT_TYPE
    new["status"] = said.status or DEFAULT_STATUS
    if said.tags or said.owner:
        new |= labels.given(tags=labels.checked(said.tags or ()), owner=said.owner)
    new["revision"] = _revision_fields(incoming, said, media_type, said.metadata or {})
    body: Body = {"kind": "artifact", "action": "create", "id": artifact_id, "new": new}
    if run:
        body["run"] = run
    return body


def revise(
    unit: Unit, found: Artifact, incoming: Incoming, said: Description, *, media_type: str | None = None
) -> PutResult:
    """A new revision, unless content, media type, metadata and mode are the newest's; then what else was said."""
    newest = found.revision
    media_type = media_type or said.media_type or newest.media_type
    metadata = newest.metadata if said.metadata is None else said.metadata
    mode = newest.file.mode if said.file is None else said.file.mode
    equal = (incoming.digest, media_type, mode) == (newest.digest, newest.media_type, newest.file.mode)
    # Content that was given up is not there any more, however equal it is.
    changed = not equal or newest.state is not RevisionState.KEPT or not labels.same(metadata, newest.metadata)
    if changed:
        unit.publish([incoming])
        run = run_of(unit, said)
        number = unit.handle.index.artifacts.last_number(addresses.key_of(unit.handle, found.id)) + 1
        said = replace(said, file=said.file or _kept_facts(newest, incoming))
        said = replace(said, media_type=media_type, metadata=metadata)
        unit.change(revision(found.id, number, newest.digest, incoming, said, run=run))
    pairs = own_changes(found, said)
    if pairs:
        unit.change({"kind": "artifact", "action": "update", "id": found.id, "set": pairs})
    fresh = again(unit, found) if changed or pairs else found
    return PutResult(fresh, created=False, changed=changed, left_out=left_out(fresh, fresh.size))


def revision(
    artifact_id: str, number: int, previous: str, incoming: Incoming, said: Description, *, run: str | None
) -> Body:
    """The change that makes a revision of an artifact, of whose newest `previous` is the digest. All of it is said."""
    assert said.media_type is not None
    return {
        "kind": "artifact",
        "action": "revise",
        "id": artifact_id,
        "previous": previous,
        "new": {"number": number, "revision": _revision_fields(incoming, said, said.media_type, said.metadata or {})},
        **({"run": run} if run else {}),
    }


def _kept_facts(newest: Revision, incoming: Incoming) -> FileFacts:
    """Permission bits stay where nothing is said of them; the time stays with the content that it belongs to."""
    return newest.file if incoming.digest == newest.digest else FileFacts(mode=newest.file.mode)


def run_of(unit: Unit, said: Description) -> str | None:
    """Id of the run that a revision is made in; NotFoundError if none has the id that was given."""
    if said.run is None:
        return ambient.current_run(unit.handle)
    found = unit.handle.index.runs.by_id(said.run) if moment.is_id(said.run) else None
    if found is None or found.deleted_at is not None:
        raise NotFoundError(f"there is no run {said.run!r}", kind="run", ref=said.run)
    return said.run


def _revision_fields(
    incoming: Incoming, said: Description, media_type: str, metadata: dict[str, Any]
) -> dict[str, Any]:
    fields: dict[str, Any] = {"digest": incoming.digest, "size": incoming.size, "media_type": media_type}
    if metadata:
        fields["metadata"] = metadata
    if said.message:
        fields["message"] = said.message
    add_origin(fields, said.file, said.source)
    return fields


def add_origin(fields: dict[str, Any], file: FileFacts | None, source: str) -> None:
    """Add to the fields of a revision where its content comes from."""
    if source:
        fields["source"] = source
    if file is not None:
        if file.mode is not None:
            fields["mode"] = file.mode
        if file.mtime_ns is not None:
            fields["mtime_ns"] = file.mtime_ns


def own_changes(found: Artifact, said: Description) -> dict[str, list[Any]]:
    """What was said of the artifact itself and is not so yet, as fields of a `set`."""
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


def set_fields(unit: Unit, found: Artifact, pairs: dict[str, list[Any]]) -> Artifact:
    """Make an update, unless there is nothing to change; the artifact as it is then."""
    if not pairs:
        return found
    unit.change({"kind": "artifact", "action": "update", "id": found.id, "set": pairs})
    return again(unit, found)


def again(unit: Unit, found: Artifact) -> Artifact:
    """The artifact as the open transaction sees it now."""
    fresh = unit.handle.index.artifacts.by_id(found.id)
    assert fresh is not None
    return fresh


def same_content(revision: Revision) -> Incoming:
    """Content that a revision has already: publishing it looks at its row only."""
    from holdfast.engine.content import Incoming  # noqa: PLC0415 - start-up time

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
