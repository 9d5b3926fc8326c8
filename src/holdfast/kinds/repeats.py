"""A write that is repeated with its transaction id gives its first result instead of being done twice."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.errors import NotFoundError, TransactionReusedError
from holdfast.kinds import addresses
from holdfast.kinds.addresses import ArtifactRef
from holdfast.kinds.changes import Changes
from holdfast.values import names
from holdfast.values.change import Transaction
from holdfast.values.records import Artifact, Change, PutResult


def made_before(handle: Handle, tx: str | None, kind: str) -> str | None:
    """Id of the record of a kind that transaction `tx` made first; None if there was no such transaction.

    Raises TransactionReusedError if it did something else.
    """
    handle.alive()
    done = None if tx is None else handle.index.chain.find(tx)
    if done is None:
        return None
    for change in _own(handle, done):
        if change.kind == kind and change.action == "create":
            return change.id
    raise TransactionReusedError(f"transaction {tx} made no {kind}", tx=tx)


def _own(handle: Handle, done: Transaction) -> list[Change]:
    """The changes of a transaction that this handle may know of."""
    changes = done.changes()
    if handle.tenant is None:
        return changes
    tenants = handle.index.tenancy.of_ids(one.id for one in changes)
    return [one for one in changes if tenants.get(one.id) == handle.tenant]


def put_before(handle: Handle, tx: str, path: ArtifactRef, incoming: Incoming) -> PutResult:
    """What the put that transaction `tx` was first used for gave: the revision it made, however many came after it.

    The artifact is found by its id and shown where it is now: it may have been moved, renamed or deleted since.
    Raises TransactionReusedError if it put something else, or elsewhere.
    """
    done = handle.index.chain.find(tx)
    changes = [one for one in _own(handle, done) if one.kind == "artifact"] if done is not None else []
    for change in sorted(changes, key=lambda one: one.action == "update"):  # a revision says more
        if change.action in ("create", "revise", "update") and _meant(handle, change, path):
            result = _as_it_was(handle, change)
            if result.revision.digest == incoming.digest:
                return result
    raise TransactionReusedError(f"transaction {tx} did something else", tx=tx)


def _as_it_was(handle: Handle, change: Change) -> PutResult:
    found = addresses.artifact(handle, f"{addresses.ID}{change.id}", deleted=True)
    history = handle.index.artifacts.history(addresses.key_of(handle, found.id), found.id)
    revision = max((one for one in history if one.seq <= change.seq), key=lambda one: one.number)
    created, changed = change.action == "create", change.action != "update"
    return PutResult(replace(found, revision=revision), created=created, changed=changed)


def _meant(handle: Handle, change: Change, path: ArtifactRef) -> bool:
    """Whether `path` names the artifact of a change now, or named it when the change was made."""
    with suppress(NotFoundError):
        if addresses.artifact(handle, path, deleted=True).id == change.id:
            return True
    if isinstance(path, Artifact) or addresses.as_id(path) is not None:
        return False
    place = _place_then(handle, change)
    return place is not None and tuple(name.raw for name in names.parse_path(path)) == place


def _place_then(handle: Handle, change: Change) -> tuple[bytes, ...] | None:
    """The names on the way to a record as it lay when a change was made; None if one of them was redacted."""
    way: list[bytes] = []
    record, above = change.id, "collection"
    while True:
        fields = _fields_then(handle, record, change.seq)
        if "name" not in fields:
            return None
        if above not in fields:
            return tuple(reversed(way))  # the root has a name of no length, and nothing above it
        way.append(bytes.fromhex(fields.get("name_hex") or "") or fields["name"].encode())
        record, above = fields[above], "parent"


def _fields_then(handle: Handle, record_id: str, seq: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for change in Changes(handle).list(record=record_id):
        if change.seq > seq:
            break
        fields |= change.after or {}
    return fields
