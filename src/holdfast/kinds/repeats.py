"""A write that is repeated with its transaction id gives its first result instead of being done twice."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.errors import NotFoundError, TransactionReusedError
from holdfast.kinds import addresses
from holdfast.kinds.addresses import ArtifactRef
from holdfast.values.records import Artifact, Change, PutResult


def made_before(handle: Handle, tx: str | None, kind: str) -> str | None:
    """Id of the record of a kind that transaction `tx` made first; None if there was no such transaction.

    Raises TransactionReusedError if it did something else.
    """
    handle.alive()
    done = None if tx is None else handle.index.chain.find(tx)
    if done is None:
        return None
    for change in done.changes():
        if change.kind == kind and change.action == "create":
            return change.id
    raise TransactionReusedError(f"transaction {tx} made no {kind}", tx=tx)


def put_before(handle: Handle, tx: str, path: ArtifactRef, incoming: Incoming) -> PutResult:
    """What the put that transaction `tx` was first used for gave: the revision it made, however many came after it.

    Raises TransactionReusedError if it put something else, or elsewhere.
    """
    done = handle.index.chain.find(tx)
    for change in done.changes() if done is not None else ():
        if change.kind == "artifact" and change.action in ("create", "revise", "update"):
            result = _as_it_was(handle, change, path)
            if result is not None and result.revision.digest == incoming.digest:
                return result
    raise TransactionReusedError(f"transaction {tx} did something else", tx=tx)


def _as_it_was(handle: Handle, change: Change, path: ArtifactRef) -> PutResult | None:
    try:
        found: Artifact = addresses.artifact(handle, path, deleted=True)
    except NotFoundError:
        return None
    if found.id != change.id:
        return None
    if change.action == "update":
        return PutResult(found, created=False, changed=False)
    history = handle.index.artifacts.history(addresses.key_of(handle, found.id), found.id)
    revision = next(one for one in history if one.seq == change.seq)
    return PutResult(replace(found, revision=revision), created=change.action == "create", changed=True)
