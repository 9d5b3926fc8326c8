"""Writes the members of a pack that have a row into another pack, so that the old one can go.

The old file is never replaced: rows move in a transaction after the new bytes are durable, and the file stays until
the grace period is over (or is removed at once, where the bytes must go). Killed anywhere, both or one of them hold
every member, and the rows say which.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from holdfast.blobs.contract import Staged
from holdfast.blobs.packs import PackedBlobs, PackFolder
from holdfast.blobs.packs.writer import locked
from holdfast.engine.handle import Handle
from holdfast.errors import DamageError, HoldfastError
from holdfast.formats import paths
from holdfast.formats.pack import Header
from holdfast.index.packed import PackedRow

_BATCH_BYTES = 4 * 1024 * 1024

Commit = Callable[[], AbstractContextManager[object]]
"""Opens a block in which rows may be changed, and that commits them at its end."""


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
        facts = os.fstat(fd)
        torn = scan.covered > 0 or scan.tail < scan.size
        modified_us = facts.st_mtime_ns // 1000
        return [Held(name, fd, facts.st_size, modified_us, content, damaged=scan.holes > 0, torn=torn)]
    finally:
        if not keep:
            handle.disk.close(fd)


def holds_any(folder: PackFolder, name: str, digests: set[bytes]) -> bool:
    """Whether a pack lists one of some contents, with a row or without; or has bytes that nobody can vouch for."""
    with folder.scan(name) as scan:
        for part in scan.parts():
            if not isinstance(part, Header) or any(raw in digests for raw, _ in part.members):
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


def rewrite(handle: Handle, name: str, commit: Commit) -> int:
    """Write a held pack's members again, in their order, and move their rows; how many could not be read and stay.

    What is written is durable before a row speaks of it. Raises NoSpaceError, StorageIOError.
    """
    left = 0
    batch: list[tuple[PackedRow, Staged]] = []
    size = 0
    blobs = packed(handle)
    assert blobs is not None
    try:
        for row in handle.index.physical.packs.members(name):
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
