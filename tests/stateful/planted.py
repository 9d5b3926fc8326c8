"""Faults that are planted in the product one at a time, to see whether the state machine finds them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from holdfast.care import gc as collecting
from holdfast.engine import feeding, transaction
from holdfast.exchange import reading
from holdfast.index import apply, physical
from holdfast.index.apply import record
from holdfast.index.chain import ChainRows
from holdfast.index.select import totals
from holdfast.index.select.collections import CollectionRows
from holdfast.index.select.ends import EndRows
from holdfast.index.select.finding import Finder
from holdfast.index.select.relationships import RelationshipRows
from holdfast.index.select.runs import RunRows
from holdfast.kinds import (
    ambient,
    bulk,
    changes,
    collections,
    endpoints,
    executions,
    labels,
    lineage,
    paging,
    repeats,
    revising,
)
from holdfast.values import change, lifecycle, query, redaction
from holdfast.values.records import FileFacts, Page

Plant = Callable[[pytest.MonkeyPatch], None]


def instead(owner: Any, name: str, made: Callable[[Any], Any]) -> Plant:
    """Plant what `made` makes of the original."""
    return lambda patch: patch.setattr(owner, name, made(getattr(owner, name)))


def _untag_one(real: Any) -> Any:
    return lambda old, *, add=(), remove=(): real(old, add=add, remove=sorted(remove)[:1])


@contextlib.contextmanager
def _no_part(self: Any) -> Iterator[None]:
    """A nested transaction that undoes nothing."""
    del self
    yield


def _commits(handle: Any) -> None:
    unit = transaction.current(handle)
    assert unit is not None
    transaction._commit(unit)


@contextlib.contextmanager
def _stays(handle: Any, run_id: str) -> Iterator[None]:
    """A run that a thread goes on working in after the block."""
    ambient._runs.set((*ambient._runs.get(), (id(handle), run_id)))
    yield


def _revise(alter: Callable[[Any, Any], Any]) -> Plant:
    """A put that makes something else of what was said."""

    def made(real: Any) -> Any:
        def revise(unit: Any, found: Any, incoming: Any, said: Any, *, media_type: Any = None) -> Any:
            return real(unit, found, incoming, alter(said, found), media_type=media_type)

        return revise

    return instead(revising, "revise", made)


def _no_order(real: Any) -> Any:
    def page(self: Any, condition: Any, order: Any, **options: Any) -> Any:
        return real(self, condition, replace(order, descending=False), **options)

    return page


def _forgetting(field: str) -> Any:
    def made(real: Any) -> Any:
        def set_fields(unit: Any, found: Any, pairs: dict[str, Any]) -> Any:
            return real(unit, found, {name: pair for name, pair in pairs.items() if name != field})

        return set_fields

    return made


_ONLY_NEWEST = """EXISTS (SELECT 1 FROM artifact JOIN revision ON revision.key = artifact.newest
                  WHERE revision.content = content.key AND revision.state = 0)"""


def _tombstones_count(real: Any) -> Any:
    def records(self: Any) -> Any:
        live, deleted = real(self)
        return {kind: count + deleted[kind] for kind, count in live.items()}, deleted

    return records


FAULTS: dict[str, Plant] = {
    "untag takes one of several tags away": instead(labels, "tag_change", _untag_one),
    "undelete of a collection leaves its contents hidden": instead(
        CollectionRows, "taken_along", lambda _: lambda self, seq: []
    ),
    "a nested transaction that fails undoes nothing": instead(transaction.Unit, "nested", lambda _: _no_part),
    "a transaction that fails commits all the same": instead(transaction, "roll_back", lambda _: _commits),
    "a collection's delete forgets the collections below": instead(
        CollectionRows, "below", lambda _: lambda self, key: []
    ),
    "a new name is forgotten": instead(collections, "name_change", lambda _: lambda old, new: {}),
    "a move forgets the collection": instead(revising, "set_fields", _forgetting("collection")),
    "a name may be taken twice": instead(collections, "refuse_taken", lambda _: lambda unit, parent, name: None),
    "expect= is not looked at": instead(revising, "meet", lambda _: lambda expect, found: None),
    "1, 1.0 and True are the same metadata": instead(labels, "same", lambda _: lambda left, right: left == right),
    "empty metadata clears nothing": _revise(lambda said, _: replace(said, metadata=said.metadata or None)),
    "a revert keeps the newest metadata": _revise(
        lambda said, _: replace(said, metadata=None) if said.message.startswith("revert") else said
    ),
    "a put forgets the message": _revise(lambda said, _: replace(said, message="")),
    "a put forgets the permission bits": instead(
        revising, "_kept_facts", lambda _: lambda newest, incoming: FileFacts()
    ),
    "a put forgets the run it was made in": instead(revising, "run_of", lambda _: lambda unit, said: None),
    "a run goes on after its block": instead(ambient, "working_in", lambda _: _stays),
    "purged bytes are still wanted": lambda patch: patch.setitem(apply.REDUCERS, ("artifact", "purge"), record.touched),
    "gc forgets that old revisions need their content": lambda patch: patch.setattr(
        physical, "REFERENCED", _ONLY_NEWEST
    ),
    "gc knows no grace period": instead(
        collecting.Gc, "_before_us", lambda _: lambda self: self._handle.clock.now_us()
    ),
    "gc removes nothing": instead(collecting.Gc, "sweep", lambda _: lambda self: None),
    "gc does not look at the clock and the chain": instead(collecting.Gc, "prove", lambda _: lambda self: None),
    "steps do not end with their run": instead(executions, "_cancel_steps", lambda _: lambda unit, run: None),
    "any status may follow any other": instead(
        lifecycle, "moves", lambda _: lambda kind, record_id, *, current, wanted: wanted is not current
    ),
    "the reason of a status is lost": instead(
        executions, "set_status", lambda real: lambda *a, **k: real(*a, **{**k, "reason": ""})
    ),
    "diagnostics replace those there are": instead(
        executions, "_added", lambda _: lambda old, more: {"diagnostics": [old, more]} if more else {}
    ),
    "a link is made twice": instead(RunRows, "has_link", lambda _: lambda self, *a, **k: False),
    "a relationship is made twice": instead(RelationshipRows, "equal", lambda _: lambda self, *a: None),
    "provenance does not pin revisions": instead(
        endpoints, "existing", lambda real: lambda handle, thing, *, role, pin=False: real(handle, thing, role=role)
    ),
    "relationships are seen whose end is deleted": instead(
        EndRows, "gone", lambda _: lambda self, ends: {end.id: 0 for end in ends}
    ),
    "no relationship stands in the way of a delete": instead(
        RelationshipRows, "count_touching", lambda _: lambda self, record_id: 0
    ),
    "lineage does not tell revisions apart": instead(lineage, "_concerns", lambda _: lambda end, named: True),
    "lineage forgets what runs read and made": instead(
        lineage._Walk, "_ends_of_run", lambda _: lambda self, run_id: iter(())
    ),
    "a page ends the answer": instead(
        Finder, "page", lambda real: lambda self, *a, **k: Page(real(self, *a, **k).items)
    ),
    "pages of runs and relationships leave one out": instead(
        paging.Answer,
        "_encode",
        lambda real: lambda self, key: real(self, key + (1 if self.order == "created" else -1)),
    ),
    "no order descends": instead(Finder, "page", _no_order),
    "`~` is left out of conditions": instead(
        query.Not, "matches", lambda _: lambda self, read: self.part.matches(read)
    ),
    "full text takes in one artifact at a time": instead(
        feeding, "_changed", lambda real: lambda handle, keys, removed: real(handle, keys[:1], removed)
    ),
    "a transaction id is not remembered": instead(ChainRows, "find", lambda _: lambda self, tx: None),
    "a repeated put gives the newest revision": instead(repeats, "replace", lambda _: lambda found, **fields: found),
    "messages are not redacted": instead(
        redaction, "erase", lambda real: lambda body, fields: real(body, [one for one in fields if one != "message"])
    ),
    "status counts tombstones": instead(totals.Totals, "records", _tombstones_count),
    "the feed of changes begins one too late": instead(
        changes.Changes, "_all", lambda real: lambda self, since: real(self, since + 1)
    ),
    "the audit trail shows after for before": instead(change, "_images", lambda real: lambda body: real(body)[::-1]),
    "add takes a link for a file": instead(
        bulk.Bulk, "_media_type", lambda real: lambda self, item, *a: real(self, replace(item, symlink=False), *a)
    ),
    "add forgets the permission bits": instead(
        reading, "Item", lambda real: lambda into, name, incoming, _mode, *a: real(into, name, incoming, None, *a)
    ),
}
"""By what goes wrong. Each changes what users see; none can be told by looking at one call alone."""
