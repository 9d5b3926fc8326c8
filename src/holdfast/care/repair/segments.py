"""Mends the journal from the index: a segment that is not what the chain gives is superseded under its own name.

The successor is written to `tmp/`, synced and read back; the damaged file gets a second name in quarantine; then one
rename puts the successor in its place. So there is no moment in which a segment's name is absent or half written, and
a plain copy that is being made takes either the one or the other (law 8); the chain in the index, which the copy has
too, covers what the damaged one lacks.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import zstandard

from holdfast.care.repair.report import Bench
from holdfast.errors import ChainBrokenError, HoldfastError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Garbage
from holdfast.index.sql import SqlIndex
from holdfast.journal import SEGMENT_BYTES, Journal
from holdfast.values.change import Head, Transaction

_END = 1 << 62


class Beyond(enum.Enum):
    """STOP: leave the journal as it is. ASIDE: the segment goes to quarantine, and the part that is led to is kept."""

    STOP = enum.auto()
    ASIDE = enum.auto()


Link = tuple[int, bytes]
"""A transaction as its first seq and its hash."""


@dataclass(slots=True)
class _Span:
    """The changes from `first` on and before `end`, the files that should hold them, and what the chain gives."""

    first: int
    end: int
    files: list[str] = field(default_factory=list)
    wanted: list[Link] = field(default_factory=list)


def mend_journal(bench: Bench, index: SqlIndex, origin: Head, *, beyond: Beyond = Beyond.STOP) -> None:
    """Supersede what is damaged, add what is missing. Under the writer lock; durable on return.

    Nothing is done if the chain in the index is not whole: there is nothing to mend from then. `beyond`: what becomes
    of a segment with whole transactions that the chain in the index does not lead to.
    """
    journal = Journal(bench.root, bench.disk)
    try:
        for span in _spans(journal, index, origin):
            _mend(bench, journal, index, span, beyond)
    except ChainBrokenError as error:
        bench.trouble.append(f"the journal was left as it is: {error.message}")


def _spans(journal: Journal, index: SqlIndex, origin: Head) -> Iterator[_Span]:
    segments = journal.segments()
    firsts = sorted({first for first, _, _ in segments})
    if not firsts:
        return  # bringing it level writes all of it
    spans = [_Span(0, firsts[0])]
    for first, end in zip(firsts, [*firsts[1:], _END], strict=True):
        spans.append(_Span(first, end, [path for number, _, path in segments if number == first]))
    head, waiting = origin, iter(spans)
    span = next(waiting)
    for transaction in _chain(index):
        if not lines.follows(transaction, head):
            raise ChainBrokenError(f"the index lacks change {head.next_seq}", seq=head.next_seq, where="index")
        while transaction.entry.first >= span.end:
            yield span
            span = next(waiting)
        span.wanted.append((transaction.entry.first, transaction.entry.hash()))
        head = transaction.head
    yield span
    yield from waiting


def _chain(index: SqlIndex, first: int = 1) -> Iterator[Transaction]:
    for data in index.chain.read(first):
        yield lines.decode(data, "a transaction of the index")


def _mend(bench: Bench, journal: Journal, index: SqlIndex, span: _Span, beyond: Beyond) -> None:
    held = {path: _held(journal, path) for path in span.files}
    known = set(span.wanted)
    strange = any(link not in known and not index.chain.at(link[0]) for found, _ in held.values() for link in found)
    if strange and beyond is Beyond.STOP:
        raise ChainBrokenError(f"segment {span.first} holds what the index lacks", seq=span.first, where="journal")
    path, (found, whole) = next(iter(held.items()), ("", ([], False)))
    begun = len(found) if _is_beginning(found, span) and (whole or not path.endswith(".zst")) else 0
    if len(held) == 1 and begun and not strange and span.wanted[0][0] == span.first:
        if begun < len(span.wanted) and span.end < _END:
            _write(bench, index, _Span(span.wanted[begun][0], span.end, [], span.wanted[begun:]))
        return
    bad = [path for path, (found, whole) in held.items() if found != span.wanted or not whole]
    if not bad and len(held) > 1 and span.wanted:
        # The same transactions, and yet other bytes: the index has them as they were written.
        exact = _digest(itertools.islice(index.chain.read(span.wanted[0][0]), len(span.wanted)))
        bad = [path for path in held if _digest(journal.blocks(path)) != exact]
    if not span.files and span.wanted:
        _write(bench, index, span)
    elif span.wanted and span.wanted[0][0] != span.first:
        _write(bench, index, span)
        for path in span.files:
            bench.quarantine(os.path.relpath(path, bench.root), "not named after its first change")
    elif span.wanted:
        for path in bad:
            _write(bench, index, span, over=path)
    elif any(found or not whole for found, whole in held.values()):
        for path in bad:
            bench.quarantine(os.path.relpath(path, bench.root), "it holds nothing of the chain")


def _digest(blocks: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.digest()


def _is_beginning(found: list[Link], span: _Span) -> bool:
    """Whether a file holds the beginning of its span: garbage behind that is what a torn append leaves."""
    return bool(found) and found == span.wanted[: len(found)]


def _held(journal: Journal, path: str) -> tuple[list[Link], bool]:
    """The transactions that a segment file holds, and whether it holds nothing else and can be read to its end."""
    found: list[Link] = []
    whole = True
    try:
        for item in lines.scan(journal.blocks(path)):
            if isinstance(item, Garbage):
                whole = False
            else:
                found.append((item.transaction.entry.first, item.transaction.entry.hash()))
    except HoldfastError:
        whole = False
    return found, whole


# -- writing -----------------------------------------------------------------------------------------------------------


def _write(bench: Bench, index: SqlIndex, span: _Span, *, over: str = "") -> None:
    """Write the span, in as many segments as it takes; the first one takes the place of the file `over`."""
    for number, (piece, size) in enumerate(_pieces(index, span)):
        target = over if over and number == 0 else bench.path(paths.segment_file(piece.first))
        sealed = target.endswith(".zst")
        temporary = bench.temporary(".tmp.zst" if sealed else ".tmp")
        _write_one(bench, index, piece, temporary, sealed=sealed)
        name = os.path.relpath(target, bench.root)
        if _held(Journal(bench.root, bench.disk), temporary) != (piece.wanted, True):
            raise ChainBrokenError(f"{temporary} did not come back as written", seq=piece.first, where="journal")
        if bench.disk.stat(target) is None:
            bench.disk.link(temporary, target)
            bench.disk.fsync_dir(os.path.dirname(target))
            bench.disk.unlink(temporary)
            bench.did("add-segment", name, f"{size} bytes from the index")
        else:
            place = bench.quarantine_too(name)
            bench.disk.rename(temporary, target)
            bench.disk.fsync_dir(os.path.dirname(target))
            bench.did("rewrite-segment", name, f"{size} bytes from the index; the damaged one is now {place}")


def _pieces(index: SqlIndex, span: _Span) -> Iterator[tuple[_Span, int]]:
    """The span cut where a segment is full, and the bytes in each piece."""
    piece, size, links = _Span(span.first, span.end), 0, iter(span.wanted)
    for data in index.chain.read(span.wanted[0][0]):
        link = next(links, None)
        if link is None:
            break
        if size >= SEGMENT_BYTES:
            yield piece, size
            piece, size = _Span(link[0], span.end), 0
        if not piece.wanted:
            piece.first = link[0]
        piece.wanted.append(link)
        size += len(data)
    yield piece, size


def _write_one(bench: Bench, index: SqlIndex, piece: _Span, temporary: str, *, sealed: bool) -> None:
    compressor = zstandard.ZstdCompressor(level=9, write_checksum=True).compressobj() if sealed else None
    fd = bench.disk.create(temporary)
    try:
        for number, data in enumerate(index.chain.read(piece.first)):
            if number == len(piece.wanted):
                break
            bench.disk.write(fd, data if compressor is None else compressor.compress(data), temporary)
        if compressor is not None:
            bench.disk.write(fd, compressor.flush(), temporary)
        bench.disk.fsync(fd, temporary)
    finally:
        bench.disk.close(fd)
