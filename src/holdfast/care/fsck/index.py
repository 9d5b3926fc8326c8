"""Checks the index by itself: the file as SQLite sees it, its schema, and its copy of the chain."""

from __future__ import annotations

import os

from holdfast import ram
from holdfast.care.fsck.copies import Copies
from holdfast.care.fsck.matched import Matched
from holdfast.care.fsck.scene import Held, Scene, words
from holdfast.engine import derive, elsewhere, served
from holdfast.errors import FormatTooNewError, HoldfastError, IndexDamagedError, SchemaOutdatedError, StoreError
from holdfast.formats import lines, paths
from holdfast.index.audit import Audit, ChainRow, quick_look
from holdfast.index.sqlite import file_identity
from holdfast.values import moment
from holdfast.values.change import Head, Transaction


def check_file(scene: Scene) -> None:
    """Open the index and ask SQLite; if it can be used, `scene.needs` is set to it."""
    path = os.path.join(scene.root, paths.INDEX)
    if served.place_of(scene.root, scene.disk) is not None or elsewhere.has_index(scene.root, scene.disk):
        path = ""
    elif ram.holds(path):
        pass
    elif not os.path.lexists(path):
        scene.out.found("index-missing", paths.INDEX)
        return
    elif not os.path.isfile(path):
        return  # reported with the names
    try:
        check_opened(scene, scene.view.open())
    except FileNotFoundError:
        scene.out.found("index-missing", paths.INDEX)
    except IndexDamagedError as error:
        scene.out.found("index-damaged", paths.INDEX, error.message)
    except UnicodeError:  # SQLite quotes names of damaged objects in its messages
        scene.out.found("index-damaged", paths.INDEX, "names in its schema are not text")
    except HoldfastError as error:
        scene.out.found("unreadable", paths.INDEX, error.message)


def check_opened(scene: Scene, audit: Audit, *, pages: bool = True) -> None:
    """Ask SQLite about an index that is open; if it can be used, `scene.needs` is set to it.

    Not `pages`: somebody else asks for them.
    """
    if (not pages or are_pages_whole(scene, audit)) and _is_schema_usable(scene, audit):
        scene.needs, scene.has_places = audit, True
        _check_identity(scene, audit, os.path.join(scene.root, paths.INDEX))


def are_pages_whole(scene: Scene, audit: Audit) -> bool:
    """Whether SQLite finds nothing wrong with its file."""
    scene.out.step(0, None, "checking the index", "pages")
    with audit.snapshot():
        trouble = audit.pages(quick=scene.quick)
    if trouble:
        scene.out.found("index-damaged", paths.INDEX, "; ".join(trouble[:3]), lines=trouble)
    return not trouble


def _is_schema_usable(scene: Scene, audit: Audit) -> bool:
    with audit.snapshot():
        try:
            different = audit.schema()
        except (StoreError, SchemaOutdatedError) as error:
            different = [error.message]
        if different:
            scene.out.found("index-schema", paths.INDEX, "; ".join(different[:3]), lines=different)
        return audit.selectable()


def _check_identity(scene: Scene, audit: Audit, path: str) -> None:
    try:
        here = file_identity(path) if path and not ram.holds(path) else audit.index.identity()
    except OSError:
        return
    try:
        known = audit.index.meta(derive.IDENTITY)
    except HoldfastError as error:
        scene.out.found("index-damaged", paths.INDEX, f"what it says of itself: {error.message}")
        return
    if known != here:
        scene.out.found("index-copied", paths.INDEX, "it stands in another file than the one it was made in")


def check_chain(scene: Scene, copies: Copies | None = None) -> None:
    """Verify each transaction of the index in itself and that it follows from the one before; sets `scene.index`.

    `copies` is given the bytes of each.
    """
    assert scene.needs is not None
    head = scene.origin or Head(1, b"")
    held = Held(head)
    total = scene.needs.index.chain.head(proven=False)
    matched = None if scene.quick else Matched(scene.needs)
    try:
        with scene.needs.snapshot():
            for row in scene.needs.chain():
                head = _check_link(scene, held, row, head, matched)
                if copies is not None:
                    copies.take(row.first, row.data)
                scene.out.checked["transactions in the index"] += 1
                scene.out.step(
                    head.next_seq - 1, total.next_seq - 1 if total else None, "checking the index", "changes"
                )
            scene.rows = matched.finish() if matched else None
    except FormatTooNewError:
        raise
    except HoldfastError as error:
        scene.out.found("index-damaged", paths.INDEX, error.message)
        scene.needs, scene.has_places = None, False
    held.head = head
    scene.index = held if scene.needs is not None else None


def _check_link(scene: Scene, held: Held, row: ChainRow, head: Head, matched: Matched | None) -> Head:
    transaction = verified(row)
    if matched and (transaction is None or not lines.follows(transaction, head)):
        matched.end()
    if transaction is None:
        scene.out.found("index-transaction", f"transaction {row.first}", "its bytes do not verify", first=row.first)
        return _step_over(scene, held, row, head)
    held.redactions.take(transaction)
    wrong = _wrong_columns(row, transaction)
    entry = transaction.entry
    if wrong:
        detail = f"its row differs from its bytes in {', '.join(wrong)}"
        scene.out.found("index-transaction", f"transaction {entry.first}", detail, first=entry.first, columns=wrong)
        scene.flagged.add(row.first)
    if entry.first > head.next_seq:
        gap = (head.next_seq, entry.first)
        held.lacking.append(gap)
        scene.out.found("index-chain", words(gap), "the index lacks them", first=gap[0], end=gap[1])
    elif not lines.follows(transaction, head) and head.hash:
        detail = f"it does not follow from what stands before change {head.next_seq}"
        scene.out.found("index-chain", f"transaction {entry.first}", detail, first=entry.first)
    if matched:
        matched.take(transaction)
    return transaction.head


def verified(row: ChainRow) -> Transaction | None:
    """The transaction of a row, proven by its own hashes; None if it cannot be."""
    try:
        return None if row.data is None else lines.decode(row.data, f"transaction {row.first}")
    except FormatTooNewError:
        raise
    except HoldfastError:
        return None


def _step_over(scene: Scene, held: Held, row: ChainRow, head: Head) -> Head:
    """Go on behind a damaged transaction as far as its row can be believed: the next one proves it or not."""
    scene.flagged.add(row.first)
    cells: tuple[object, ...] = (row.count, row.hash)  # a damaged row can hold anything
    if [type(cell) for cell in cells] != [int, bytes] or row.first < head.next_seq or row.count < 1:
        return head
    held.lacking.append((head.next_seq, row.first + row.count))
    return Head(row.first + row.count, row.hash)


def _wrong_columns(row: ChainRow, transaction: Transaction) -> list[str]:
    entry = transaction.entry
    wanted = {
        "first": entry.first,
        "tx": moment.id_bytes(entry.tx),
        "count": entry.count,
        "time_us": entry.time_us,
        "actor": f"{entry.actor.kind}:{entry.actor.name}",
        "hash": entry.hash(),
    }
    return [column for column, value in wanted.items() if getattr(row, column) != value]


_OTHERS = {paths.SEARCH: "search-damaged", paths.STATE: "state-damaged", paths.OUTBOX: "outbox-damaged"}


def check_others(scene: Scene) -> None:
    """The databases beside the index that hold nothing of their own."""
    for name, code in _OTHERS.items():
        path = os.path.join(scene.root, name)
        if not os.path.isfile(path) or _in_use(path):
            continue  # whoever uses it finds damage by itself, and what is being written cannot be judged from outside
        trouble = quick_look(path)
        if trouble:
            scene.out.found(code, name, "; ".join(trouble[:3]), lines=trouble)
        scene.out.checked["databases"] += 1


def _in_use(path: str) -> bool:
    return any(os.path.exists(path + companion) for companion in ("-wal", "-journal"))
