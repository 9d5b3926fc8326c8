"""Moves contents into the frames of repacked packs: written, synced, proven from the new file, then their rows move.

All of this happens under the writer lock, and only for contents that still have a row. So nothing that was erased
meanwhile is ever written again, and a row never speaks of what nobody has read back.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from holdfast.blobs.packs import PackedBlobs
from holdfast.blobs.packs.solid import SolidFrame, SolidWriter
from holdfast.engine.handle import Handle
from holdfast.errors import BlobDamagedError
from holdfast.formats import frame, paths
from holdfast.formats.frame import Effort, effort_for
from holdfast.formats.pack import Spot
from holdfast.index.packed import Placed
from holdfast.values import digest as digests

Commit = Callable[[], AbstractContextManager[object]]
"""Opens a block in which rows may be changed, and that commits them at its end."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A frame to be written: its contents' rows in order, their content one after the other, the frame itself."""

    rows: tuple[Placed, ...]
    contents: tuple[bytes, ...]
    stored: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of content."""
        return sum(map(len, self.contents))

    def compressed(self) -> Filled:
        """The same with its frame made. The same contents give the same bytes."""
        content = b"".join(self.contents)
        effort = Effort.DENSE if effort_for(content) is Effort.NORMAL else Effort.RAW
        return replace(self, stored=frame.encode(content, effort))

    def without(self, gone: set[int]) -> Filled:
        """The same without some of its contents, by key."""
        kept = [(row, content) for row, content in zip(self.rows, self.contents, strict=True) if row.key not in gone]
        return Filled(tuple(row for row, _ in kept), tuple(content for _, content in kept)).compressed()


class Mover:
    """Fills repacked packs, batch by batch. `moved`: how many contents; `moved_bytes`: their size.

    `loose`: how many of them had files of their own. `each`: calls a function for every item, perhaps in threads.
    """

    def __init__(self, handle: Handle, blobs: PackedBlobs, *, each: Callable[..., Iterable[None]] = map) -> None:
        self._handle = handle
        self._blobs = blobs
        self._each = each
        self.writer = SolidWriter(handle.root, handle.disk, blobs.packs)
        self.moved = self.moved_bytes = self.loose = 0

    def move(self, filled: Sequence[Filled], commit: Commit) -> None:
        """Write one batch and move its rows, in one transaction. NoSpaceError, StorageIOError, BlobDamagedError."""
        try:
            with commit():
                frames = self._still_wanted(filled)
                if frames:
                    self._place(frames)
        except BaseException:
            self.writer.abandon()
            raise
        self.writer.rest()

    def finish(self) -> None:
        """Close the last pack for good."""
        with self._handle.watching_syncs():
            self.writer.seal()

    def _still_wanted(self, filled: Sequence[Filled]) -> list[Filled]:
        rows = [row for one in filled for row in one.rows]
        gone = {row.key for row in rows} - self._handle.index.physical.packs.movable(rows)
        if not gone:
            return list(filled)
        left = [one.without(gone) if gone & {row.key for row in one.rows} else one for one in filled]
        return [one for one in left if one.rows]

    def _place(self, frames: list[Filled]) -> None:
        members = [
            tuple((digests.raw(r.digest), len(c)) for r, c in zip(f.rows, f.contents, strict=True)) for f in frames
        ]
        with self._handle.watching_syncs():
            spots = self.writer.append([SolidFrame(f.stored, m) for f, m in zip(frames, members, strict=True)])
        rows = [row for one in frames for row in one.rows]
        proven = list(zip(rows, spots, strict=True))
        for _ in self._each(self._prove, [list(g) for _, g in itertools.groupby(proven, lambda one: one[1].offset)]):
            pass
        for row in rows:
            if row.spot is None:
                self._supersede(row.digest)
        self._handle.index.physical.packs.place_all([(row.key, spot) for row, spot in proven])
        self.moved += len(rows)
        self.moved_bytes += sum(spot.size for spot in spots)

    def _prove(self, members: list[tuple[Placed, Spot]]) -> None:
        """Read a frame from the new file and compare the digests of its members. BlobDamagedError."""
        first = members[0][1]
        content = memoryview(self._blobs.packs.frame(first.pack, first.offset, first.stored_bytes))
        for row, spot in members:
            found = hashlib.sha256(content[spot.start : spot.start + spot.size]).digest()
            if digests.text(found) != row.digest:
                raise BlobDamagedError(
                    f"{paths.pack_file(spot.pack)} did not come back as it was written",
                    digest=row.digest, path=paths.pack_file(spot.pack), reason="other bytes were read",
                )  # fmt: skip

    def _supersede(self, digest: str) -> None:
        """A loose file has a successor: gc removes it when the grace period, which begins now, is over."""
        path = os.path.join(self._handle.root, paths.blob_file(digests.raw(digest)))
        if self._handle.disk.stat(path) is not None:
            self._handle.disk.set_time(path, self._handle.clock.now_us())
        self.loose += 1
