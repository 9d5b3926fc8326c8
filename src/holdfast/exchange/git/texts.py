"""Contents out of a repository, staged for the commits that bring them: each is read once, while it is remembered."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO, cast

from holdfast.blobs.packs import PACK_UP_TO
from holdfast.engine import content
from holdfast.engine.content import Incoming
from holdfast.engine.cutting import Grown
from holdfast.engine.handle import Handle
from holdfast.exchange.git.objects import Objects
from holdfast.exchange.git.shelf import Place
from holdfast.kinds import addresses, media
from holdfast.values import names

REMEMBERED = 500_000
_TOGETHER_BYTES = 1 << 20


class Texts:
    """Contents on their way from one repository to one store."""

    def __init__(self, handle: Handle, objects: Objects) -> None:
        self._handle = handle
        self._objects = objects
        self._known: dict[bytes, tuple[str, int, str]] = {}
        self._older: dict[bytes, tuple[str, int, str]] = {}
        self._batch: dict[bytes, tuple[Incoming, str]] = {}
        self._together: list[Incoming] = []
        self._together_bytes = 0
        self._under_way: set[str] = set()
        self._coming: Iterator[tuple[bytes, int]] = iter(())
        self.bytes = self.batch_bytes = self.held_bytes = 0

    def expect(self, ids: Iterable[bytes]) -> None:
        """These will be asked for, in this order of their first use: git may begin to read them."""
        wanted = [one for one in dict.fromkeys(ids) if not self._knows(one) and one not in self._batch]
        self._coming = self._objects.each(wanted)

    def get(self, object_id: bytes, place: Place) -> tuple[Incoming, str]:
        """A content, and what its first bytes say of its media type. It must have been announced."""
        found = self._batch.get(object_id)
        if found is not None:
            return found
        known = self._known.get(object_id) or self._older.get(object_id)
        if known is not None:
            return Incoming(known[0], known[1], b""), known[2]
        coming, size = next(self._coming)
        assert coming == object_id
        incoming = self._read(size, place)
        found = self._batch[object_id] = (incoming, media.detect("", incoming.head))
        self.bytes += size
        self.batch_bytes += size
        self.held_bytes += size if size <= PACK_UP_TO else 0
        return found

    def _knows(self, object_id: bytes) -> bool:
        return object_id in self._known or object_id in self._older

    def _read(self, size: int, place: Place) -> Incoming:
        if size <= content.IN_MEMORY_BYTES:
            incoming = content.held(self._objects.take(size))
            self._together.append(incoming)
            self._together_bytes += size
            if self._together_bytes >= _TOGETHER_BYTES:
                self._stage()
            return incoming
        newest = functools.partial(addresses.newest_digest, self._handle, names.join_raw((*place[0], place[1])))
        stream = cast("BinaryIO", io.BufferedReader(_Pipe(self._objects, size), 1 << 20))
        incoming = content.stage(self._handle, stream, durable=False, cutter=Grown(self._handle, newest))
        self._objects.end()
        return incoming

    def _stage(self) -> None:
        waiting, self._together, self._together_bytes = self._together, [], 0
        if waiting:
            content.stage_all(self._handle, waiting, self._under_way)

    def settle(self) -> None:
        """Everything that was got is on disk: one sync for all of it."""
        self._stage()
        staged = [one.staged for one, _ in self._batch.values() if one.staged is not None]
        with self._handle.watching_syncs():
            self._handle.blobs.settle(staged)

    def landed(self) -> None:
        """A batch is committed: what was got is in the store, or nobody wanted it."""
        for object_id, (incoming, kind) in self._batch.items():
            if len(self._known) >= REMEMBERED:
                self._older, self._known = self._known, {}
            self._known[object_id] = (incoming.digest, incoming.size, kind)
        self.drop()

    def drop(self) -> None:
        """Forget what was staged and not committed."""
        content.discard(self._handle, [one for one, _ in self._batch.values()])
        self._batch, self._together = {}, []
        self._together_bytes = self.batch_bytes = self.held_bytes = 0
        self._under_way.clear()


class _Pipe(io.RawIOBase):
    """An object as git sends it."""

    def __init__(self, objects: Objects, size: int) -> None:
        self._objects = objects
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._left)
        if wanted:
            memoryview(buffer)[:wanted] = self._objects.piece(wanted)
            self._left -= wanted
        return wanted
