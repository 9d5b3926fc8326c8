"""A write that is repeated with its transaction id gives its first result instead of being done twice."""

from __future__ import annotations

from holdfast.engine.handle import Handle
from holdfast.errors import TransactionReusedError


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
