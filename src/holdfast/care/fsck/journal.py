"""Checks the journal: each transaction in itself, that they follow from each other, and that the index has the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.care.fsck.copies import Copies
from holdfast.care.fsck.scene import Held, Range, Scene, both, without, words
from holdfast.errors import FormatTooNewError, HoldfastError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Garbage, Located
from holdfast.values.change import Head, Transaction

_BLOCK = 1 << 20
_TORN = lines.NO_ENTRY


@dataclass(slots=True)
class _Place:
    """Up to where the journal was read: the segment, and the byte behind its last whole transaction."""

    first: int = -1
    offset: int = 0


@dataclass(slots=True)
class _Reading:
    """The journal as far as it was read. `rest`: garbage behind the last whole transaction, not judged yet."""

    held: Held
    place: _Place = field(default_factory=_Place)
    rest: list[tuple[str, Garbage]] = field(default_factory=list)
    near: dict[Range, str] = field(default_factory=dict)
    forked: bool = False


def check_journal(scene: Scene) -> None:
    """All of the above; what looks wrong at the end, where writers work, is looked at again while nobody writes."""
    reading = _Reading(Held(scene.origin or Head(1, b"")))
    _read(scene, reading)
    confirmed = True
    if reading.rest or reading.held.head.next_seq != _index_end(scene):
        with scene.look_again() as confirmed:
            _update_index(scene)
            reading.rest.clear()
            _read(scene, reading)
    _judge(scene, reading, {} if confirmed else {"confirmed": False})


def is_as_the_index(scene: Scene, copies: Copies) -> bool:
    """Whether it holds what the index does, to the same end; if so, what else is wrong with it was told.

    False says nothing of it: writers may be at work, and `check_journal` looks again. `copies` has seen the index.
    """
    reading = _Reading(Held(scene.origin or Head(1, b"")))
    if scene.index is not None and copies.are_alike():
        reading.held = scene.index
        scene.out.checked.update({"segments": copies.segments, "transactions in the journal": copies.transactions})
    else:
        _read(scene, reading)
    if reading.rest or reading.forked or reading.held.head.next_seq != _index_end(scene):
        return False
    _judge(scene, reading, {})
    return True


def _index_end(scene: Scene) -> int:
    return scene.index.head.next_seq if scene.index else 1


def _update_index(scene: Scene) -> None:
    """What was committed since the index was looked at; each transaction proves itself when the journal has it too."""
    if scene.index is None or scene.needs is None or not scene.has_places:
        return
    now = scene.needs.index.chain.head(proven=False)
    if now is not None and now.next_seq > scene.index.head.next_seq:
        scene.index.head = now


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(scene: Scene, reading: _Reading) -> None:
    """Go on from where the reading stopped to the end of the journal."""
    try:
        segments = scene.journal.segments()
    except HoldfastError as error:
        if not scene.out.has("wrong-type", "unreadable"):
            scene.out.found("unreadable", paths.JOURNAL + "/", error.message)
        return
    firsts = sorted({first for first, _, _ in segments if first >= reading.place.first})
    for first in firsts:
        if first > reading.place.first:
            reading.place = _Place(first)
            path = _choose(scene, [path for number, _, path in segments if number == first])
        else:
            path = next(path for number, sealed, path in reversed(segments) if number == first)
        _read_segment(scene, reading, path)


def _choose(scene: Scene, candidates: list[str]) -> str:
    """The segment that readers use: the sealed one if it is whole. Where both are there, they must be equal."""
    scene.out.checked["segments"] += 1
    if len(candidates) == 1:
        return candidates[0]
    sealed, plain = candidates
    whole = _is_whole(scene, sealed)
    if not whole or _digest(scene, sealed) != _digest(scene, plain):
        bad = sealed if not whole or _is_whole(scene, plain) else plain
        scene.out.found("segment-differs", _relative(scene, bad), "it is the damaged or shorter one of the two")
    return sealed if whole else plain


def _is_whole(scene: Scene, path: str) -> bool:
    return all(isinstance(item, Located) for item in _items(scene, path, 0))


def _digest(scene: Scene, path: str) -> str:
    total = hashlib.sha256()
    try:
        for block in scene.journal.blocks(path):
            total.update(block)
    except (HoldfastError, FileNotFoundError):
        return ""
    return total.hexdigest()


def _items(scene: Scene, path: str, offset: int) -> Iterator[Located | Garbage]:
    """What a segment holds from a byte on; where it cannot be read on, the rest counts as garbage."""
    at = offset
    try:
        for item in lines.scan(_blocks(scene, path, offset)):
            at = offset + item.offset + item.length
            yield item if not offset else _moved(item, offset)
    except FileNotFoundError:
        return  # removed meanwhile: its sealed successor was read, or what is missing shows as a gap
    except FormatTooNewError:
        raise
    except HoldfastError as error:
        yield Garbage(at, 0, error.message)


def _moved(item: Located | Garbage, by: int) -> Located | Garbage:
    if isinstance(item, Located):
        return Located(item.transaction, item.offset + by, item.length)
    return Garbage(item.offset + by, item.length, item.reason)


def _blocks(scene: Scene, path: str, offset: int) -> Iterator[bytes]:
    if path.endswith(".zst"):
        yield from scene.journal.blocks(path)
        return
    fd = scene.disk.open_read(path)
    try:
        while block := scene.disk.pread(fd, _BLOCK, offset, path):
            yield block
            offset += len(block)
    finally:
        scene.disk.close(fd)


def _read_segment(scene: Scene, reading: _Reading, path: str) -> None:
    resumed = reading.place.offset
    named = resumed > 0
    for item in _items(scene, path, 0 if path.endswith(".zst") else resumed):
        if item.offset < resumed:
            continue
        if isinstance(item, Garbage):
            reading.rest.append((_relative(scene, path), item))
            continue
        transaction = item.transaction
        if not named:
            named = True
            _check_name(scene, path, reading.place.first, transaction.entry.first)
        _take(scene, reading, path, transaction)
        reading.place.offset = item.offset + item.length
        scene.out.checked["transactions in the journal"] += 1
        scene.out.step(
            reading.held.head.next_seq - 1, max(_index_end(scene) - 1, 0) or None, "checking the journal", "changes"
        )


def _check_name(scene: Scene, path: str, claimed: int, first: int) -> None:
    if claimed != first and claimed > 0:
        right = paths.segment_file(first, sealed=path.endswith(".zst"))
        scene.out.found(
            "segment-name", _relative(scene, path), f"its first change is {first}: it should be {right}", name=right
        )


# -- one transaction ---------------------------------------------------------------------------------------------------


def _take(scene: Scene, reading: _Reading, path: str, transaction: Transaction) -> None:
    head, entry = reading.held.head, transaction.entry
    where = _relative(scene, path)
    garbage, reading.rest = reading.rest, []
    span = (entry.first, entry.next_seq)
    if entry.first < head.next_seq:
        reading.held.lacking = without(reading.held.lacking, [span])
        scene.out.found("journal-order", where, f"transaction {entry.first} stands behind change {head.next_seq - 1}")
        _tell_garbage(scene, garbage)
        return
    if entry.first > head.next_seq:
        gap = (head.next_seq, entry.first)
        reading.held.lacking.append(gap)
        reading.near[gap] = _at(garbage) or where
    else:
        _tell_garbage(scene, garbage)
    if not reading.forked and _contradicts(scene, head, transaction):
        reading.forked = True
        scene.out.found("chain-fork", where, f"from change {entry.first} on", first=entry.first)
    reading.held.redactions.take(transaction)
    reading.held.head = transaction.head


def _contradicts(scene: Scene, head: Head, transaction: Transaction) -> bool:
    """Whether a transaction is not the one that the index has, or does not follow from the one before it."""
    entry = transaction.entry
    if head.hash and entry.first == head.next_seq and entry.prev != head.hash:
        return True
    if scene.needs is None or scene.index is None or entry.first in scene.flagged:
        return False
    in_index = scene.needs.hash_at(entry.first)
    if in_index is not None:
        return in_index != entry.hash()
    # A transaction that the index lacks is no contradiction where it has a gap, or beyond its end.
    span = [(entry.first, entry.next_seq)]
    return not both(span, scene.index.missing())


def _tell_garbage(scene: Scene, garbage: list[tuple[str, Garbage]]) -> None:
    if garbage:
        reasons = "; ".join(dict.fromkeys(item.reason for _, item in garbage))
        size = sum(item.length for _, item in garbage)
        where, first = garbage[0]
        scene.out.found(
            "journal-garbage", where, f"{size} bytes at {first.offset}: {reasons}", offset=first.offset, bytes=size
        )


def _at(garbage: list[tuple[str, Garbage]]) -> str:
    return "; ".join(f"{where} at byte {item.offset}: {item.reason}" for where, item in garbage[:3])


# -- the two copies of the chain against each other ------------------------------------------------------------------


def _judge(scene: Scene, reading: _Reading, doubt: dict[str, bool]) -> None:
    in_index = scene.index or Held(scene.origin or Head(1, b""))
    in_journal = reading.held
    end = max(in_index.head.next_seq, in_journal.head.next_seq)
    lost = [r for r in both(in_journal.missing(), in_index.missing()) if r[0] < end]
    altered = [item for _, item in reading.rest if item.reason != _TORN]
    for span in lost:
        detail = reading.near.get(span, "")
        scene.out.found("transactions-lost", words(span), detail, first=span[0], end=span[1], **doubt)
    if altered and end == in_journal.head.next_seq and scene.index is None:
        span = (end, in_journal.missing()[-1][1])
        scene.out.found("transactions-lost", words(span), _at(reading.rest), first=end, **doubt)
        reading.rest.clear()
    for gap in in_journal.lacking:
        for span in without([gap], lost):
            detail = reading.near.get(gap, "")
            scene.out.found("journal-gap", words(span), detail, first=span[0], end=span[1], **doubt)
    if not altered and scene.index is None and _is_begun(scene, reading):
        span = (end, in_journal.missing()[-1][1])
        scene.out.found("transactions-torn", f"perhaps {words(span)}", _at(reading.rest), first=end, **doubt)
    _tell_garbage(scene, reading.rest)
    _tell_ends(scene, in_journal, in_index, lost=lost, doubt=doubt)
    if lost or reading.forked:
        scene.knows_all = False
    _tell_redactions(scene, in_journal, in_index, doubt)


def _is_begun(scene: Scene, reading: _Reading) -> bool:
    """Whether the end of the journal looks as if there had been more: a crash leaves that, or a loss.

    A last segment without any transaction is named after one. A last line that lacks its newline alone lacks nothing:
    the next open ends it.
    """
    place, head = reading.place, reading.held.head
    if not place.offset and place.first >= head.next_seq:
        return True
    path, garbage = reading.rest[0] if reading.rest else ("", Garbage(0, 0, ""))
    if not garbage.length or path.endswith(".zst"):
        return False
    with contextlib.suppress(HoldfastError, FileNotFoundError):
        fd = scene.disk.open_read(os.path.join(scene.root, path))
        try:
            data = scene.disk.pread(fd, min(garbage.length, _BLOCK), garbage.offset, path)
        finally:
            scene.disk.close(fd)
        whole = any(isinstance(item, Located) for item in lines.scan([data, b"\n"]))
        return lines.may_begin(data, head) and not whole
    return False


def _tell_ends(scene: Scene, in_journal: Held, in_index: Held, *, lost: list[Range], doubt: dict[str, bool]) -> None:
    """Who of the two lacks what the other has at its end."""
    ours, theirs = in_index.head.next_seq, in_journal.head.next_seq
    code, span = ("journal-behind", (theirs, ours)) if ours > theirs else ("index-behind", (ours, theirs))
    if scene.index is None or span[0] == span[1]:
        return
    for first, end in without([span], lost):
        scene.out.found(code, words((first, end)), "", first=first, end=end, **doubt)
    if code == "index-behind":
        scene.knows_all = False  # content that only the journal speaks of is not without use


def _tell_redactions(scene: Scene, in_journal: Held, in_index: Held, doubt: dict[str, bool]) -> None:
    """What either copy announces must be erased in both, as far as they reach."""
    announced = in_index.redactions.announced.by_seq() | in_journal.redactions.announced.by_seq()
    for where, copy in ((paths.JOURNAL + "/", in_journal), (paths.INDEX, in_index)):
        left = [(seq, seq + 1) for seq in copy.redactions.unfinished(announced)]
        for span in without(left, copy.missing()) if left else ():
            scene.out.found("redaction-unfinished", where, words(span), first=span[0], end=span[1], **doubt)


def _relative(scene: Scene, path: str) -> str:
    return os.path.relpath(path, scene.root)
