"""Makes a plain copy of a live store whole: what the copy did not get the bytes of is withdrawn, by name.

A copy that was taken while others wrote can lack the blobs of the transactions that were committed meanwhile. Nothing
acknowledged before the copy began lacks its bytes in it, unless the original lacked them too. So only transactions
about as young as the oldest file of the copy are withdrawn (MARGIN_S: that file tells when its copying ended, not when
it began); what is missing and older is damage, and fsck's business. Withdrawing adds to the chain; it never cuts it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from holdfast.engine import derive, recover, undo
from holdfast.engine.gaps import MARGIN_S
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.transaction import Unit, write
from holdfast.errors import ConflictError, HoldfastError
from holdfast.values.change import Body, Transaction

log = logging.getLogger("holdfast.care")


@dataclass(frozen=True, slots=True)
class RecoverReport:
    """What recovering did. `withdrawn`: transaction ids, oldest first; `records`: how many records they had touched.

    `missing`: digests of content that kept revisions still refer to and no file has: fsck names what loses by it.
    """

    rebuilt: bool
    reason: str
    transactions: int
    withdrawn: tuple[str, ...]
    records: int
    missing: tuple[str, ...]


def recover_store(handle: Handle, progress: Progress | None = None) -> RecoverReport:
    """Withdraw what a copy lacks. On a store that is no copy, or is whole, nothing is written. Durable on return."""
    withdrawn: list[Transaction] = []
    with write(handle, what="recover", note="withdrawn: this copy of the store lacks its content") as unit:
        missing = {digest for digest, _ in handle.index.physical.missing()}
        span = derive.copied_span(handle.index)
        if missing and span is not None:
            withdrawn = _to_withdraw(handle, missing, span, progress)
            for transaction in reversed(withdrawn):
                _take_back(unit, transaction)
        if span is not None:
            derive.forget_copy(handle.index)
    still = tuple(digest for digest, _ in handle.index.physical.missing())
    return RecoverReport(
        rebuilt=handle.opened.rebuilt,
        reason=handle.opened.reason,
        transactions=handle.opened.transactions,
        withdrawn=tuple(t.entry.tx for t in withdrawn),
        records=len(set().union(*(undo.touched(t) for t in withdrawn))) if withdrawn else 0,
        missing=still,
    )


def _to_withdraw(
    handle: Handle, missing: set[str], span: derive.CopiedSpan, progress: Progress | None
) -> list[Transaction]:
    """The transactions that lack content, and those that build on them, oldest first."""
    chosen: list[Transaction] = []
    touched: set[str] = set()
    created: set[str] = set()
    began_us = span.began_us - int(MARGIN_S * 1e6)
    for transaction in recover.from_index(handle.index, handle.index.chain.seq_at(began_us)):
        if progress:
            progress(transaction.entry.first, span.next_seq, "looking for what the copy lacks", "changes")
        lacks = undo.contents(transaction) & missing
        builds = undo.touched(transaction) & touched or undo.mentioned(transaction) & created
        if not lacks and not builds:
            continue
        if transaction.entry.first >= span.next_seq:
            raise ConflictError(
                f"change {transaction.entry.first} was written into this copy and builds on what it lacks",
                seq=transaction.entry.first,
                remedy="Fetch the missing blobs from the original (see `holdfast fsck`), or start from a fresh copy.",
            )
        chosen.append(transaction)
        touched |= undo.touched(transaction)
        created |= undo.created(transaction)
    return chosen


def _take_back(unit: Unit, transaction: Transaction) -> None:
    for body in undo.inverses(transaction):
        try:
            with unit.nested():
                _change(unit, body)
        except HoldfastError as error:
            # A name that was freed and taken by somebody else: the tombstone stays, and the log says so.
            log.warning("not-taken-back", extra={"holdfast": {"kind": body["kind"], "code": error.code}})


def _change(unit: Unit, body: Body) -> None:
    if body["action"] == "withdraw" and "newest" in body:
        rows = unit.handle.index.artifacts
        key = rows.key_of(body["id"])
        assert key is not None
        newest = rows.newest_kept(key, without=body["revisions"])
        body = {name: value for name, value in body.items() if name != "newest"}
        if newest is not None:
            body["newest"] = newest
    unit.change(body)
