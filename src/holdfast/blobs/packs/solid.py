"""Writes the packs of repack: new files whose frames hold many similar contents, closed for good when done.

Nobody takes such a pack up again after the process that writes it: what a killed one left open is repacked by the next
repack. The lock is held from the append to the commit of its rows, not between appends: redaction, which waits for the
writer lock, must be able to rewrite every pack that there is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.blobs.packs.folder import PackFolder
from holdfast.blobs.packs.writer import locked, pack_bytes
from holdfast.disk import Disk
from holdfast.errors import HoldfastError
from holdfast.formats import pack, paths
from holdfast.formats.pack import Contents, Header, Spot


@dataclass(frozen=True, slots=True)
class SolidFrame:
    """A frame as it is to stand in the file, with its members: (raw digest, bytes of content) in order."""

    stored: bytes
    members: tuple[tuple[bytes, int], ...]

    @property
    def content(self) -> int:
        """Bytes of content."""
        return sum(size for _, size in self.members)


@dataclass(slots=True)
class _Written:
    """A pack so far. `fd`: open and locked; below 0 between appends."""

    name: str
    path: str
    fd: int
    end: int = 0
    content: int = 0
    members: int = 0


class SolidWriter:
    """Appends to one new pack after the other. For one thread at a time, under the writer lock."""

    def __init__(self, root: str, disk: Disk, folder: PackFolder) -> None:
        self._root = os.path.abspath(root)
        self._disk = disk
        self._folder = folder
        self._now: _Written | None = None
        self._positions: list[int] = []
        self._proofs = hashlib.sha256()
        self.packs = 0
        self.stored_bytes = 0

    def append(self, frames: Sequence[SolidFrame]) -> list[Spot]:
        """One append, durable on return; where each member went. NoSpaceError, StorageIOError.

        The pack stays locked until `rest`. After an error nothing more is appended to it.
        """
        now = self._taken() or self._made()
        listed = tuple((len(one.stored), one.content) for one in frames)
        members = tuple(member for one in frames for member in one.members)
        assert len(members) <= pack.MAX_PARTS, "no reader would take such a header"
        header = Header(bytes.fromhex(now.name), now.end, now.content, listed, members)
        data = pack.encode_header(header)
        is_new = not now.end
        try:
            self._disk.write(now.fd, b"".join([data, *(one.stored for one in frames)]), now.path)
            self._disk.fsync(now.fd, now.path)
            if is_new:
                self._disk.fsync_dir(os.path.dirname(now.path))
        except BaseException:
            self.abandon()
            if is_new:
                with contextlib.suppress(HoldfastError, FileNotFoundError):
                    self._disk.unlink(now.path)  # made just now, for what did not come
            raise
        self._positions.append(header.position)
        self._proofs.update(data[-32:])
        now.end, now.content, now.members = header.end, now.content + header.content, now.members + len(members)
        self.stored_bytes += header.end - header.position
        return [one.spot(now.name) for one in header.each()]

    def rest(self) -> None:
        """The rows of the append are committed: let go of the lock; close the pack for good if it is full."""
        if self._now is not None and self._now.end >= pack_bytes():
            self.seal()
        elif self._now is not None:
            self._let_go(self._now)

    def seal(self) -> None:
        """Close the pack for good: all that it holds has been synced. Its rows must be committed."""
        now = self._taken()
        if now is None:
            return
        table = Contents(
            bytes.fromhex(now.name), now.end, now.content, now.members, tuple(self._positions), self._proofs.digest()
        )
        try:
            self._disk.write(now.fd, pack.encode_contents(table), now.path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Append nothing more to this pack, and let go of it."""
        now, self._now = self._now, None
        if now is not None:
            self._let_go(now)

    def _let_go(self, now: _Written) -> None:
        fd, now.fd = now.fd, -1
        if fd >= 0:
            self._disk.close(fd)

    def _taken(self) -> _Written | None:
        """The pack of the last append, locked again; None if somebody else has it, or has rewritten or removed it."""
        now = self._now
        if now is None or now.fd >= 0:
            return now
        try:
            if self._disk.stat(now.path) is not None:
                now.fd = self._disk.open_append(now.path)
        except HoldfastError:
            pass
        if now.fd >= 0 and locked(now.fd) and self._disk.stat(now.path) and self._disk.size(now.fd) == now.end:
            return now
        self.abandon()
        return None

    def _made(self) -> _Written:
        folder = os.path.join(self._root, paths.PACKS)
        if self._disk.mkdir(folder):
            self._disk.fsync_dir(self._root)
        while True:
            name = paths.repacked_name(os.urandom(3), int(time.time()))
            path = self._folder.path(name)
            with contextlib.suppress(FileExistsError):
                fd = self._disk.create(path)
                break
        locked(fd)
        self._positions, self._proofs = [], hashlib.sha256()
        self._now = _Written(name, path, fd)
        self.packs += 1
        return self._now
