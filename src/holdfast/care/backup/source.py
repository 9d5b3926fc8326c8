"""One file of a store as a backup sees it, and the moment of the store that it belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.disk import Disk
from holdfast.engine.handle import Handle
from holdfast.formats import generation
from holdfast.formats.generation import Entry, Lacking
from holdfast.index.sql import SqlIndex
from holdfast.values.change import Head

_BLOCK = 1 << 20


class MovedError(Exception):
    """What the snapshot speaks of has moved or gone since: a newer snapshot knows where to."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A store at one moment: a copy of its index, and the end of the chain in it. `handle`: the store itself, live."""

    handle: Handle
    index: SqlIndex
    head: Head

    @property
    def disk(self) -> Disk:
        """Of the store."""
        return self.handle.disk

    def place(self, path: str) -> str:
        """A file of the store."""
        return os.path.join(self.handle.root, path)


@dataclass(slots=True)
class Proven:
    """Bytes of a file, and what in them is damaged. `blocks` can be gone through once; None: the file is of no use.

    Of a pack, `lacks` and `seen` are known when all blocks were given: it is proven as it is copied. `erased_seq`:
    the newest change in a segment that redacts or purges something. `path`: where the copy goes, if that is not where
    it was looked for.
    """

    blocks: Iterator[bytes] | None
    lacks: list[Lacking] = field(default_factory=list)
    path: str = ""
    seen: str = generation.UNSEEN
    erased_seq: int = 0


class Source(Protocol):
    """One file of a store."""

    @property
    def path(self) -> str:
        """In the store."""
        ...

    def is_still(self, entry: Entry) -> bool:
        """Whether a copy that was made before, under the same path, is what is wanted now."""
        ...

    def proven(self, earlier: Entry | None = None, /) -> Proven:
        """Its bytes. `earlier`: a copy under the same path that is not what is wanted now.

        MovedError; NoSpaceError and the like are the destination's.
        """
        ...


def read(disk: Disk, path: str, end: int = 1 << 62) -> Iterator[bytes]:
    """The bytes of a file of the store before `end`, in pieces of 1 MiB."""
    fd = disk.open_read(path)
    try:
        offset = 0
        while offset < end and (block := disk.pread(fd, min(_BLOCK, end - offset), offset, path)):
            yield block
            offset += len(block)
    finally:
        disk.close(fd)
