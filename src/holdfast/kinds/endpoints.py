"""The ends of relationships and the inputs and outputs of runs: from what a caller hands in to an end that is there."""

from __future__ import annotations

from typing import Any, Protocol

from holdfast.engine.handle import Handle
from holdfast.errors import InvalidValueError, NotFoundError
from holdfast.index.select.ends import EXTERNAL_KIND, EndState
from holdfast.kinds import addresses
from holdfast.values import canon, moment
from holdfast.values.records import Artifact, Endpoint, PutResult

RECORD_KINDS = ("artifact", "collection", "relationship", "run")
COMING_KINDS = ("chunk", "document", "entity", "memory", "session")
MAX_EXTERNAL_BYTES = 4096


class HasEndpoint(Protocol):
    """A record that can be an end: Artifact, Revision, Collection, Relationship, Run, or a run under way."""

    @property
    def endpoint(self) -> Endpoint:
        """The record as an end."""
        ...


Linkable = HasEndpoint | Endpoint | PutResult | str | bytes
"""What can be named as an end. Text is the path, or `id:UUID`, of an artifact; a PutResult stands for its artifact."""


def end_json(end: Endpoint) -> dict[str, Any]:
    """An end as it stands in a change body."""
    found: dict[str, Any] = {"kind": end.kind, "id": end.id}
    return found if end.revision is None else {**found, "revision": end.revision}


def existing(handle: Handle, thing: Linkable, *, role: str, pin: bool = False) -> Endpoint:
    """The end that `thing` names, which must be live; `role` is what messages call it ("source", "input" …).

    `pin`: an artifact without a revision is pinned: a record to the revision that it was read with, else to the newest.
    Raises NotFoundError (with the field `end`) and InvalidValueError. To be asked with the writer lock held.
    """
    end = named(handle, thing, role=role, pin=pin)
    if end.kind == EXTERNAL_KIND:
        return end
    state = handle.index.ends.states([end.id]).get(end.id)
    if state is None or state.kind != end.kind or handle.index.ends.gone([end])[end.id]:
        raise _missing(end, state, role)
    if end.revision is not None and not handle.index.ends.has_revision(state.key, end.revision):
        raise NotFoundError(f"the {role} is not there: artifact {end.id} has no revision {end.revision}",
                            kind="revision", ref=str(end), end=role)  # fmt: skip
    if pin and end.kind == "artifact" and end.revision is None:
        return Endpoint(end.kind, end.id, addresses.artifact(handle, f"id:{end.id}").number)
    return end


def named(handle: Handle, thing: Linkable, *, role: str, pin: bool = False) -> Endpoint:
    """The end that `thing` names, well formed; whether the record is there is asked of paths only."""
    if isinstance(thing, PutResult):
        thing = thing.artifact
    if isinstance(thing, Artifact) and pin:
        return thing.revision.endpoint
    if isinstance(thing, (str, bytes)):
        return _at_path(handle, thing, role)
    end = thing if isinstance(thing, Endpoint) else getattr(thing, "endpoint", None)
    if not isinstance(end, Endpoint):
        raise InvalidValueError(
            f"the {role} is a {type(thing).__name__}", where=role, reason="type",
            remedy="Give a record, a Revision, an Endpoint, or the path of an artifact.",
        )  # fmt: skip
    _check(end, role)
    return end


def _at_path(handle: Handle, ref: str | bytes, role: str) -> Endpoint:
    try:
        return addresses.artifact(handle, ref).endpoint
    except NotFoundError as error:
        message = f"the {role} is not there: {error.message}"
        raise NotFoundError(message, remedy=error.remedy, **{**error.fields, "end": role}) from error


def _check(end: Endpoint, role: str) -> None:
    if end.kind in COMING_KINDS:
        raise InvalidValueError(
            f"this version keeps no {end.kind} records, so none can be the {role}", where=role, reason="kind to come",
            remedy='Refer to it as Endpoint("external", ...) until then.',
        )  # fmt: skip
    if end.kind not in (*RECORD_KINDS, EXTERNAL_KIND):
        raise InvalidValueError(
            f"{end.kind!r} is no kind of record, so it cannot be the {role}", where=role, reason="kind",
            remedy=f"Kinds: {', '.join((*RECORD_KINDS, EXTERNAL_KIND))}.",
        )  # fmt: skip
    if end.revision is not None and (end.kind != "artifact" or type(end.revision) is not int):
        raise InvalidValueError(
            f"the {role} names revision {end.revision!r} of a {end.kind}", where=role, reason="revision",
            remedy="Only artifacts have revisions; they are whole numbers from 1 on.",
        )  # fmt: skip
    if end.kind != EXTERNAL_KIND:
        moment.id_bytes(end.id)
    elif not end.id or "\0" in end.id or len(canon.encode(end.id)) > MAX_EXTERNAL_BYTES:
        raise InvalidValueError(
            f"the {role} has an external id that is empty, too long or has a NUL", where=role, reason="external id",
            remedy=f"Give a text of 1 to {MAX_EXTERNAL_BYTES} bytes, such as a URI.",
        )  # fmt: skip


def _missing(end: Endpoint, state: EndState | None, role: str) -> NotFoundError:
    if state is None:
        trouble = f"there is no {end.kind} {end.id}"
    elif state.kind != end.kind:
        trouble = f"{end.id} is a {state.kind}, not a {end.kind}"
    else:
        trouble = f"{end.kind} {end.id} is deleted"
    return NotFoundError(f"the {role} is not there: {trouble}", kind=end.kind, ref=str(end), end=role)
