"""Redaction: fields or whole records are erased for good, while the chain still verifies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.engine import erasing
from holdfast.engine.asof import pasts_of
from holdfast.engine.handle import Handle
from holdfast.engine.recover import from_index
from holdfast.engine.transaction import current, write
from holdfast.errors import ConflictError, InvalidValueError, NotFoundError
from holdfast.formats import marker, paths
from holdfast.values import canon, redaction
from holdfast.values.change import Body, Transaction
from holdfast.values.redaction import FIELDS, NOTHING, OF_REVISION, PREVIOUS

_SHORTEST = 4
"""Texts shorter than this are not looked for elsewhere: they would be found everywhere."""

_MOST_TEXTS = 500
_FREE = frozenset({"metadata", "parameters", "environment", "diagnostics"})
_MOST_PLACES = 1_000
_ON_SERVERS = (
    "the write-ahead log and archived segments of it", "base backups and dumps", "replicas that lag",
    "the statistics of dropped columns, until VACUUM of pg_statistic", "the server's log, if it logs statements",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Redaction:
    """What one change of the record loses: its number, and which fields."""

    seq: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RedactReport:
    """What was erased, or (`dry_run`) would be.

    `changes`: what each change of the record loses; `revisions`: whose content goes. `tx`: the transaction that says
    so, "" if there was nothing to erase. `blobs`, `segments`, `quarantined`: files removed or rewritten.
    What still keeps the bytes: `contents_kept`: digests that something else in the store has too; `also_in`: changes of
    other records in which one of the erased texts stands; `temporaries`: files in tmp/ that threads of this process
    stage, or that are not ours; `left_aside`: other files in quarantine/, that nobody can vouch for; `server_keeps`:
    where the server of an index may have them still, that this software has no hand in.
    """

    id: str
    kind: str
    dry_run: bool
    tx: str
    changes: tuple[Redaction, ...]
    revisions: tuple[int, ...]
    blobs: int = 0
    segments: int = 0
    quarantined: int = 0
    contents_kept: tuple[str, ...] = ()
    also_in: tuple[int, ...] = ()
    temporaries: int = 0
    left_aside: int = 0
    server_keeps: tuple[str, ...] = ()


@dataclass(slots=True)
class _Plan:
    kind: str = ""
    erased: list[dict[str, Any]] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)
    also_in: list[int] = field(default_factory=list)

    def body(self, record_id: str) -> Body:
        """The change that announces it."""
        more = {"revisions": self.revisions} if self.revisions else {}
        return {"action": "redact", "erased": self.erased, "id": record_id, "kind": self.kind, **more}


def redact(
    handle: Handle, record_id: str, *, fields: Iterable[str] | None = None, revisions: Iterable[int] | None = None,
    note: str = "", dry_run: bool = False,
) -> RedactReport:  # fmt: skip
    """Erase fields of a record (all of FIELDS if none are named) from every file of the store, for good.

    `revisions`: of an artifact's content, metadata, message and source only those of these numbers. The store must not
    be open anywhere else. First the redaction is committed (who, when, which changes and fields), then the bytes go; if
    that is interrupted, the next call of `redact` finishes it, also one that has nothing new to erase. On return the
    bytes are in no file of the store. Raises NotFoundError, InvalidValueError, ConflictError inside a transaction,
    LockedError, ChainBrokenError if the chain is damaged (nothing is erased then).
    """
    wanted = _fields(fields)
    numbers = None if revisions is None else frozenset(revisions)
    handle.alive()
    if current(handle) is not None:
        raise ConflictError("redaction inside an open transaction", remedy="Redact after the transaction has ended.")
    if dry_run:
        plan = _plan(handle, record_id, wanted, numbers)
        kept = tuple(sorted(d for d in plan.digests if _used_elsewhere(handle, d, plan, record_id)))
        return _report(handle, record_id, plan, kept, dry_run=True)
    handle.writable()
    with erasing.alone(handle):
        with write(handle, what="redact", note=note) as unit:
            plan = _plan(handle, record_id, wanted, numbers)
            erasing.prove(handle, plan.erased)
            if plan.erased:
                unit.change(plan.body(record_id))
            tx = unit.tx if plan.erased else ""
        done = erasing.finish(handle)
        pasts_of(handle).erase()
    report = _report(handle, record_id, plan, tuple(done.kept), dry_run=False)
    return replace(report, tx=tx, blobs=done.blobs, segments=done.segments, quarantined=done.quarantined)


def _fields(fields: Iterable[str] | None) -> list[str]:
    named = list(FIELDS if fields is None else dict.fromkeys([fields] if isinstance(fields, str) else fields))
    unknown = sorted(set(named) - set(FIELDS))
    if unknown or not named:
        raise InvalidValueError(
            f"{', '.join(unknown) or 'nothing'} cannot be redacted", where="fields", reason="unknown",
            remedy=f"Fields are: {', '.join(FIELDS)}.",
        )  # fmt: skip
    return named


def _plan(handle: Handle, record_id: str, fields: list[str], numbers: frozenset[int] | None) -> _Plan:
    plan = _Plan()
    for seq, body in _of_record(handle, record_id):
        plan.kind = body["kind"]
        # A content's digest also stands in the change that came after it.
        previous = [PREVIOUS] if body.get(PREVIOUS) in plan.digests else []
        number = redaction.revision_number(body)
        spared = number is not None and numbers is not None and number not in numbers
        here = [f for f in fields if not (spared and f in OF_REVISION) and redaction.holds(body, f)] + previous
        if not here:
            continue
        if "content" in here and number is not None:
            plan.revisions.append(number)
            plan.digests.add(body["new"]["revision"]["digest"])
        left = redaction.erase(body, here)
        plan.erased.append({"fields": here, "left": hashlib.sha256(canon.encode(left)).hexdigest(), "seq": seq})
        plan.texts |= set(_texts(body)) - set(_texts(left))
    if not plan.kind:
        raise NotFoundError(f"no record has the id {record_id!r}", kind="record", ref=record_id)
    if plan.kind == "metadata-index":
        raise ConflictError(
            "a declared index cannot be redacted: the values in it go with those of the artifacts", id=record_id
        )
    if plan.kind == "relationship-type":
        raise ConflictError("a relationship type cannot be redacted: relationships are of it", id=record_id)
    _look_elsewhere(handle, record_id, plan)
    return plan


def _as_announced(handle: Handle) -> Iterator[Transaction]:
    """The chain as it is to be: an earlier redaction may have been interrupted, and comes first."""
    announced = erasing.Announced()
    for transaction in from_index(handle.index):
        announced.learn(transaction)
    return (announced.applied(transaction) for transaction in from_index(handle.index))


def _of_record(handle: Handle, record_id: str) -> Iterator[tuple[int, Body]]:
    marked = record_id.encode()
    for transaction in _as_announced(handle):
        for seq, encoded in enumerate(transaction.bodies, transaction.entry.first):
            if marked in encoded:
                body = canon.decode(encoded)
                if body["id"] == record_id:
                    yield seq, body


def _look_elsewhere(handle: Handle, record_id: str, plan: _Plan) -> None:
    """Which other changes hold one of the texts; and that nobody else has had the name that will be given."""
    taken = redaction.placeholder(record_id).encode()
    texts = sorted((t for t in plan.texts if len(t) >= _SHORTEST), key=len, reverse=True)[:_MOST_TEXTS]
    for transaction in _as_announced(handle):
        for seq, encoded in enumerate(transaction.bodies, transaction.entry.first):
            if not any(text in encoded for text in texts) and taken not in encoded:
                continue
            body = canon.decode(encoded)
            if body["id"] == record_id:
                continue
            if taken in encoded:
                raise ConflictError(
                    f"change {seq} of another record says {taken.decode()!r}: that name is needed here",
                    id=body["id"], remedy="Redact that record first.",
                )  # fmt: skip
            if len(plan.also_in) < _MOST_PLACES:
                plan.also_in.append(seq)


def _texts(value: Any, *, free: bool = False) -> Iterator[bytes]:
    """Every text of a user in a body, as it stands in canonical JSON; keys too where users choose them (`free`)."""
    if isinstance(value, str):
        yield canon.encode(value)[1:-1]
    elif isinstance(value, dict):
        for key, item in value.items():
            if free:
                yield canon.encode(key)[1:-1]
            if free or key != "media_type":
                yield from _texts(item, free=free or key in _FREE)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, free=free)


def _used_elsewhere(handle: Handle, digest: str, plan: _Plan, record_id: str) -> bool:
    """Whether a kept revision that this plan spares has the same content."""
    if digest == NOTHING:
        return False
    return handle.index.physical.wanted_beside(digest, record_id, plan.revisions)


def _report(handle: Handle, record_id: str, plan: _Plan, kept: tuple[str, ...], *, dry_run: bool) -> RedactReport:
    return RedactReport(
        id=record_id,
        kind=plan.kind,
        dry_run=dry_run,
        tx="",
        changes=tuple(Redaction(item["seq"], tuple(item["fields"])) for item in plan.erased),
        revisions=tuple(plan.revisions),
        contents_kept=kept,
        also_in=tuple(plan.also_in),
        temporaries=len(handle.disk.listdir(os.path.join(handle.root, paths.TMP))),
        left_aside=len(handle.disk.listdir(os.path.join(handle.root, paths.QUARANTINE))),
        server_keeps=_ON_SERVERS if marker.SERVED in handle.marker.features else (),
    )
