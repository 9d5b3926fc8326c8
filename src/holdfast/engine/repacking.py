"""Writes the members of a pack that have a row into another pack, so that the old one can go.

The old file is never replaced: rows move in a transaction after the new bytes are durable, and the file stays until
the grace period is over (or is removed at once, where the bytes must go). Killed anywhere, both or one of them hold
every member, and the rows say which.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from holdfast.blobs.contract import Staged
from holdfast.blobs.packs import PackedBlobs, PackFolder
from holdfast.blobs.packs.writer import locked
from holdfast.disk import fstat
from holdfast.engine.handle import Handle
from holdfast.engine.solid import Commit, Filled, Mover
from holdfast.errors import DamageError, HoldfastError
from holdfast.formats import frame, paths
from holdfast.formats.pack import Header
from holdfast.index.packed import PackedRow
from holdfast.index.physical import PhysicalRows
from holdfast.values import digest as digests

_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_MEMBERS = 4_096


@dataclass(frozen=True, slots=True)
class Held:
    """A pack that nobody appends to while this is held. `content`: bytes of content that its headers list.

    `damaged`: some of its headers are lost; `torn`: it has or had a torn end.
    """

    name: str
    fd: int
    file_bytes: int
    modified_us: int
    content: int
    damaged: bool
    torn: bool


def packed(handle: Handle) -> PackedBlobs | None:
    """The blob store if it has packs."""
    return handle.blobs if isinstance(handle.blobs, PackedBlobs) else None


@contextlib.contextmanager
def holding(handle: Handle, names: list[str]) -> Iterator[list[Held]]:
    """Lock packs for the block, those that nobody has locked; a pack of our own is let go of first."""
    blobs = packed(handle)
    held: list[Held] = []
    try:
        if blobs is not None:
            blobs.writer.rest()
            for name in names:
                with contextlib.suppress(FileNotFoundError, HoldfastError):
                    held += _held(handle, blobs.packs, name)
        yield held
    finally:
        for one in held:
            handle.disk.close(one.fd)


def _held(handle: Handle, folder: PackFolder, name: str) -> list[Held]:
    fd = handle.disk.open_read(folder.path(name))
    keep = False
    try:
        if not locked(fd):
            return []
        content = 0
        with folder.scan(name) as scan:
            for part in scan.parts():
                content += part.content if isinstance(part, Header) else 0
        keep = True
        facts = fstat(fd)
        torn = scan.covered > 0 or scan.tail < scan.size
        modified_us = facts.st_mtime_ns // 1000
        return [Held(name, fd, facts.st_size, modified_us, content, damaged=scan.holes > 0, torn=torn)]
    finally:
        if not keep:
            handle.disk.close(fd)


def holds_any(folder: PackFolder, name: str, wanted: set[bytes]) -> bool:
    """Whether a pack lists one of some contents, with a row or without; or has bytes that nobody can vouch for."""
    with folder.scan(name) as scan:
        for part in scan.parts():
            if not isinstance(part, Header) or any(raw in wanted for raw, _ in part.members):
                return True
    return scan.covered > 0


def holds_garbage(handle: Handle, folder: PackFolder, name: str) -> bool:
    """Whether a pack lists anything that has no row there."""
    row = handle.index.physical.packs.one(name)
    listed = 0
    with folder.scan(name) as scan:
        for part in scan.parts():
            listed += len(part.members) if isinstance(part, Header) else 0
    return listed > (0 if row is None else row.members)


def lacks(handle: Handle) -> bool:
    """Whether there is a content that a kept revision needs and that has no place. Looks at every row.

    Or a chunk that a needed recipe lists, of those that were read when chunks were marked.
    """
    physical = handle.index.physical
    return next(physical.missing(), None) is not None or physical.chunks.lacks()


def may_hold_missing(handle: Handle, name: str) -> bool:
    """Whether a pack lists, or may list in a header that is lost, a content that is needed and has no place.

    Its row may be what is missing: made anew while the disk did not give the pack back. Where nothing `lacks`: no.
    """
    blobs = packed(handle)
    assert blobs is not None
    physical = handle.index.physical
    with blobs.packs.scan(name) as scan:
        for part in scan.parts():
            listed = [digests.text(raw) for raw, _ in part.members] if isinstance(part, Header) else None
            if listed is None or any(_is_missing(physical, one) for one in listed):
                return True
    return False


def _is_missing(physical: PhysicalRows, digest: str) -> bool:
    raw = digests.raw(digest)
    if physical.chunks.is_lacking(raw) and physical.chunks.place(digest) is None:
        return True
    return physical.place(digest) is None and physical.wanted(digest)


def rewrite(handle: Handle, name: str, commit: Commit) -> int:
    """Write a held pack's members again, in their order, and move their rows; how many could not be read and stay.

    What is written is durable before a row speaks of it. A pack of repack becomes another one: frames that are needed
    whole are copied as they are, the others compressed anew without their garbage. Raises NoSpaceError, StorageIOError.
    """
    blobs = packed(handle)
    assert blobs is not None
    members = handle.index.physical.packs.members
    if not paths.is_repacked(name):
        return _rewrite_each(handle, blobs, members(name), commit)
    left = _rewrite_solid(handle, blobs, (row for row in members(name) if not row.chunk), commit)
    # Repack takes no chunks; but one may be the same bytes as a content, and have been found here.
    return left + _rewrite_each(handle, blobs, (row for row in members(name) if row.chunk), commit)


def _rewrite_each(handle: Handle, blobs: PackedBlobs, rows: Iterator[PackedRow], commit: Commit) -> int:
    left = 0
    batch: list[tuple[PackedRow, Staged]] = []
    size = 0
    try:
        for row in rows:
            try:
                content = blobs.packs.read(row.digest, row.spot)
            except DamageError:
                left += 1
                continue
            batch.append((row, blobs.stage_chunk(content) if row.chunk else blobs.stage(content, durable=False)))
            size += len(content)
            if size >= _BATCH_BYTES:
                _move(handle, blobs, batch, commit)
                batch, size = [], 0
        _move(handle, blobs, batch, commit)
        batch = []
    finally:
        blobs.discard([staged for _, staged in batch])
    return left


def _rewrite_solid(handle: Handle, blobs: PackedBlobs, members: Iterator[PackedRow], commit: Commit) -> int:
    mover = Mover(handle, blobs)
    batch: list[Filled] = []
    left = size = many = 0
    try:
        for rows in _by_frame(members):
            filled, lost = _read_frame(blobs.packs, rows)
            left += lost
            if not filled.rows:
                continue
            batch.append(filled)
            size += filled.size
            many += len(filled.rows)
            if size >= _BATCH_BYTES or many >= _BATCH_MEMBERS:
                mover.move(batch, commit)
                batch, size, many = [], 0, 0
        if batch:
            mover.move(batch, commit)
    finally:
        mover.finish()
    return left


def _by_frame(rows: Iterator[PackedRow]) -> Iterator[list[PackedRow]]:
    for _, of_frame in itertools.groupby(rows, key=lambda row: row.spot.offset):
        yield list(of_frame)


def _read_frame(folder: PackFolder, rows: list[PackedRow]) -> tuple[Filled, int]:
    """What rows say is in a frame, ready to be written again; how many could not be read."""
    spot, stored, whole = rows[0].spot, b"", None
    with contextlib.suppress(DamageError):
        stored = folder.stored(spot.pack, spot.offset, spot.stored_bytes)
        whole = frame.decode(stored)
    found: list[tuple[PackedRow, bytes]] = []
    for row in rows:
        with contextlib.suppress(DamageError):
            found.append((row, _member(folder, row, whole)))
    filled = Filled(tuple(row for row, _ in found), tuple(content for _, content in found))
    lost = len(rows) - len(found)
    if not found:
        return filled, lost
    return replace(filled, stored=stored) if whole == b"".join(filled.contents) else filled.compressed(), lost


def _member(folder: PackFolder, row: PackedRow, whole: bytes | None) -> bytes:
    """A member, checked against its digest. `whole`: the content of its frame; None: it is damaged somewhere."""
    if whole is not None:
        content = whole[row.spot.start : row.spot.start + row.spot.size]
        if digests.text(hashlib.sha256(content).digest()) == row.digest:
            return content
    return folder.read(row.digest, row.spot)


def _move(handle: Handle, blobs: PackedBlobs, batch: list[tuple[PackedRow, Staged]], commit: Commit) -> None:
    if not batch:
        return
    staged = [one for _, one in batch]
    try:
        with handle.watching_syncs():
            blobs.settle(staged)
        with commit():
            for (row, _), stat in zip(batch, blobs.publish(staged), strict=True):
                if stat.spot is not None:
                    handle.index.physical.packs.move(row, stat.spot)
                else:  # packs are not wanted any more
                    handle.index.physical.register(stat.digest, stat.stored_bytes, stat.frames)
    finally:
        blobs.discard(staged)


def remove(handle: Handle, held: Held) -> None:
    """Remove a held pack that no row speaks of; inside a transaction, which forgets it."""
    with contextlib.suppress(FileNotFoundError):
        handle.disk.unlink(os.path.join(handle.root, paths.pack_file(held.name)))
    handle.index.physical.packs.forget(held.name)
