"""Derives every logical row anew from the chain, beside the store, and compares: a row that was altered is found so."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from holdfast.care.fsck.index import verified
from holdfast.care.fsck.matched import MALFORMED
from holdfast.care.fsck.scene import Scene
from holdfast.engine import recover
from holdfast.engine.recover import Derived
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import ChainForkedError, HoldfastError
from holdfast.formats import paths
from holdfast.index.audit import Audit
from holdfast.index.matching import COMPARED
from holdfast.index.sqlite import SqliteIndex
from holdfast.values.change import Head, Transaction

_RANK = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}


@contextlib.contextmanager
def derived(scene: Scene, sources: list[Iterator[Transaction]]) -> Iterator[tuple[Audit, Derived]]:
    """An index outside the store, filled from the chain; its rows vanish with the block."""
    with scratch_folder(root=scene.root) as folder, contextlib.ExitStack() as stack:
        index = SqliteIndex(os.path.join(folder, paths.INDEX))
        stack.callback(index.close)
        index.database.run("PRAGMA journal_mode = OFF")
        index.database.run("PRAGMA synchronous = OFF")
        index.migrate()
        result = recover.derive(index, scene.origin or Head(1, b""), sources, scene.out.progress)
        yield Audit(index), result


def from_audit(audit: Audit) -> Iterator[Transaction]:
    """The transactions of an index that verify, up to the first that does not."""
    for row in audit.chain():
        transaction = verified(row)
        if transaction is None:
            return
        yield transaction


def check_rows(scene: Scene) -> bool:
    """Compare every logical row of the index with what the chain gives; whether no difference was found."""
    audit = scene.needs
    assert audit is not None
    assert scene.index is not None
    if scene.rows is not None:  # while the chain was verified
        scene.out.checked["rows"] += sum(scene.rows.values())
        return True
    with audit.snapshot():
        head = audit.index.chain.head(proven=False)
        sources = [from_audit(audit)]
        if scene.index.lacking and head is not None:
            sources.append(_journal_up_to(scene, head.next_seq))
        try:
            with derived(scene, sources) as (fresh, result):
                if head is not None and fresh.index.chain.head(proven=False) != head:
                    reason = f"the chain can be followed only up to change {1 + result.changes}"
                    scene.out.found("not-checked", "rows of the index", reason)
                    return True
                return _compare(scene, audit, fresh)
        except ChainForkedError as error:
            scene.out.found("not-checked", "rows of the index", error.message)
        except MALFORMED as error:
            scene.out.found("chain-not-applicable", "chain", str(error))
    return True


def _journal_up_to(scene: Scene, end: int) -> Iterator[Transaction]:
    for transaction in recover.from_journal(scene.journal):
        if transaction.entry.first >= end:
            return
        yield transaction


def _compare(scene: Scene, audit: Audit, fresh: Audit) -> bool:
    equal = True
    for table in COMPARED:
        try:
            for difference in _differences(audit, fresh, table):
                _tell(scene, audit, fresh, table, *difference)
                equal = False
        except HoldfastError as error:
            scene.out.found("index-damaged", paths.INDEX, f"table {table}: {error.message}")
            equal = False
        scene.out.checked["rows"] += fresh.count(table)
        scene.out.step(COMPARED.index(table) + 1, len(COMPARED), "comparing rows", "tables")
    return equal


Row = tuple[Any, ...]


def _differences(audit: Audit, fresh: Audit, table: str) -> Iterator[tuple[Row | None, Row | None]]:
    """(row of the index, row of the chain) wherever they differ, one being None; both sorted by primary key."""
    width = len(audit.keys(table))
    found, wanted = audit.rows(table), fresh.rows(table)
    left, right = next(found, None), next(wanted, None)
    while left is not None or right is not None:
        if left == right and _types(left) == _types(right):
            left, right = next(found, None), next(wanted, None)
        elif right is None or (left is not None and _order(left[:width]) < _order(right[:width])):
            yield left, None
            left = next(found, None)
        elif left is None or _order(right[:width]) < _order(left[:width]):
            yield None, right
            right = next(wanted, None)
        else:
            yield left, right
            left, right = next(found, None), next(wanted, None)


def _order(key: Row) -> tuple[tuple[int, Any], ...]:
    """SQLite's order of values: numbers before text before blobs."""
    return tuple(
        (_RANK[type(cell)], cell.encode("utf-8", "surrogateescape") if isinstance(cell, str) else cell) for cell in key
    )


def _types(row: Row | None) -> list[type]:
    return [] if row is None else [type(cell) for cell in row]


def _tell(scene: Scene, audit: Audit, fresh: Audit, table: str, found: Row | None, wanted: Row | None) -> None:
    one = found or wanted
    assert one is not None
    names = audit.columns(table)
    key = [*one[: len(audit.keys(table))]]
    what = (fresh if wanted else audit).describe(table, key[0])
    facts = {"table": table, "key": key[0] if len(key) == 1 else key}
    if found is None:
        scene.out.found("row-missing", what, f"table {table}", **facts)
    elif wanted is None:
        scene.out.found("row-extra", what, f"table {table}", **facts)
    else:
        columns = [n for n, a, b in zip(names, found, wanted, strict=True) if a != b or type(a) is not type(b)]
        scene.out.found("row-differs", what, f"table {table}, in {', '.join(columns)}", columns=columns, **facts)


def check_rules(scene: Scene, *, matched: bool = False) -> None:
    """Ask for every rule that rows must keep.

    `matched`: each row is compared with the chain, checksum and all, so its checksum need not be made once more.
    """
    audit = scene.needs
    assert audit is not None
    compared = {f"{table}-checksum" for table in COMPARED} if matched else set()
    with audit.snapshot():
        for invariant in audit.invariants():
            if invariant.name in compared:
                scene.out.checked["rules"] += 1
                continue
            try:
                for key in audit.broken(invariant):
                    what = audit.describe(invariant.table, key)
                    facts = {"rule": invariant.name, "table": invariant.table, "key": key}
                    scene.out.found("rule-broken", what, f"not so: {invariant.rule}", **facts)
            except HoldfastError as error:
                scene.out.found("not-checked", f"rule {invariant.name}", error.message)
            scene.out.checked["rules"] += 1
