"""Small contents that the COMMIT itself makes durable: the index keeps the newest bytes of packs until they are synced.

A put of a small content would need two syncs, one of its pack and one of the index. Instead its COMMIT keeps the bytes
that were appended; the pack is synced later, for many puts at once, and then the index gives them up. Until then the
end of a pack may be lost with the power, and is written again from what the index keeps (docs/design/033).

An index on a server keeps nothing: what stands in the folder must be all that is needed of it without the server.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import field

from holdfast.blobs.contract import BlobStore
from holdfast.blobs.packs import PackedBlobs
from holdfast.blobs.packs.scan import is_sealed
from holdfast.blobs.packs.unsynced import members_of
from holdfast.blobs.packs.writer import locked
from holdfast.disk import Disk
from holdfast.errors import StorageIOError
from holdfast.formats.appending import prepare
from holdfast.index.pending import Kept
from holdfast.index.sql import SqlIndex
from holdfast.values import digest as digests
from holdfast.values.frozen import dataclass


@dataclass(slots=True)
class _Settled:
    """What of the packs is on disk now: up to which byte; and what does not join on to them."""

    ends: dict[str, int] = field(default_factory=dict)
    apart: list[Kept] = field(default_factory=list)


class Keeper:
    """Sees to the newest bytes of packs for one handle. Where an index keeps nothing, none of its methods does much."""

    def __init__(self, blobs: BlobStore, index: SqlIndex, disk: Disk) -> None:
        self._index = index
        self._disk = disk
        self.blobs = blobs if isinstance(blobs, PackedBlobs) and index.keeps_bytes else None

    def commit(self) -> None:
        """COMMIT: what was appended and not synced goes into it, and what has been synced since goes out.

        In the open transaction, under the writer lock. StorageIOError if it can be neither synced nor kept.
        """
        if self.blobs is None:
            self._index.commit()
            return
        writer, rows = self.blobs.writer, self._index.physical.pending
        kept = writer.to_keep()
        if kept is None:
            writer.sync_all()
            kept = writer.to_keep() or []
        given_up = writer.given_up()
        try:
            for name, end in given_up.items():
                rows.forget(name, end)
            for number, one in enumerate(kept):
                rows.keep(*one, number)
            self._index.commit()
        except BaseException:
            writer.take_back(given_up)
            raise
        if kept:
            writer.kept(kept)

    def sync(self) -> None:
        """Make durable in their packs what is kept; the next COMMIT gives it up. StorageIOError."""
        if self.blobs is not None:
            self.blobs.writer.sync_all()

    def sync_if_due(self) -> None:
        """`sync` of packs of which too much waits."""
        if self.blobs is not None:
            self.blobs.writer.sync_if_due()

    def is_settled(self) -> bool:
        """Whether the index keeps nothing."""
        return self.blobs is None or not self._index.physical.pending.packs()

    def give_up(self) -> None:
        """Sync our own packs; the index gives up what it keeps of them. Writer lock held, no transaction open."""
        if self.blobs is not None:
            self.blobs.writer.sync_all()
            self._commit(_Settled(self.blobs.writer.given_up()))

    def settle(self) -> None:
        """See to it that the index keeps nothing any more, but of packs that others append to.

        Writer lock held, no transaction open. What a power loss took off the end of a pack is written again.
        """
        if self.blobs is None or self.is_settled():
            return
        self.blobs.writer.sync_all()
        self.blobs.writer.rest()
        self.blobs.packs.close()
        settled = _Settled()
        with contextlib.ExitStack() as held:
            for name in self._index.physical.pending.packs():
                held.enter_context(self._written_again(name, settled))
            settled.ends = self.blobs.writer.given_up() | settled.ends
            self._commit(settled)

    def _commit(self, settled: _Settled) -> None:
        if not settled.ends and not settled.apart:
            return
        rows = self._index.physical.pending
        self._index.begin()
        try:
            for name, end in settled.ends.items():
                rows.forget(name, end)
            for one in settled.apart:
                self._put_elsewhere(one)
            self._index.commit()
        except BaseException:
            self._index.rollback()
            raise

    @contextlib.contextmanager
    def _written_again(self, name: str, settled: _Settled) -> Iterator[None]:
        """Write what is kept of a pack into it, durably, and let nobody append while the block lasts.

        Whether a sync that failed before has reached the disk, nobody can say by reading: so it is written, whatever
        stands there. A sealed pack is not written to: what it lacks is damage, and goes into another.
        """
        assert self.blobs is not None
        path = self.blobs.packs.path(name)
        first = next(self._index.physical.pending.of(name), None)
        if first is not None and first.start == 0 and self._disk.stat(path) is None:
            folder = os.path.dirname(path)
            if self._disk.mkdir(folder):
                self._disk.fsync_dir(os.path.dirname(folder))
            self._disk.close(self._disk.create(path))
            self._disk.fsync_dir(folder)
        if self._disk.stat(path) is None:
            apart = list(self._index.physical.pending.of(name))
            settled.apart += apart
            settled.ends |= {one.pack: one.end for one in apart}
            yield
            return
        fd = self._disk.open_read(path)
        try:
            if locked(fd):
                self._write(name, fd, settled)
            yield
        finally:
            self._disk.close(fd)

    def _write(self, name: str, fd: int, settled: _Settled) -> None:
        assert self.blobs is not None
        path, size = self.blobs.packs.path(name), self._disk.size(fd)
        sealed = is_sealed(self._disk, fd, path, name)
        for one in self._index.physical.pending.of(name):
            settled.ends[name] = max(settled.ends.get(name, 0), one.end)
            if sealed or one.start > size:
                settled.apart += [] if sealed and self._has(path, fd, one) else [one]
                continue
            self._disk.overwrite(path, one.data, one.start)
            size = max(size, one.end)
        self._disk.fsync(fd, path)

    def _has(self, path: str, fd: int, one: Kept) -> bool:
        """Whether a sealed pack has what is kept of it: all of it was synced before its table was written.

        So it needs no writing over. What a write tears may be more than what it writes, and of what is behind (the
        table, and members that nobody has committed) there is no other copy.
        """
        try:
            return self._disk.pread(fd, len(one.data), one.start, path) == one.data
        except StorageIOError:
            return False

    def _put_elsewhere(self, kept: Kept) -> None:
        """Contents of which the pack ends before where they were, or is damaged: into another one, as rows then say."""
        assert self.blobs is not None
        physical = self._index.physical
        for member, content in members_of(kept.pack, kept.start, kept.data):
            digest = digests.text(member.digest)
            place = physical.place(digest)
            if place is None or place.spot != member.spot(kept.pack):
                continue
            written = self.blobs.writer.append(prepare([(member.digest, content)]))
            self.blobs.writer.sync(written)
            (spot,) = written.spots
            physical.register(digest, spot.stored_bytes, 1, spot=spot)
            self.blobs.writer.done(written)
