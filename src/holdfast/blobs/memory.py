"""The blob contract in a dict: what the other stores are compared with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

from holdfast.blobs.compress import as_bytes_view, read_full
from holdfast.blobs.contract import BlobStat, Staged, WalkEntry
from holdfast.blobs.files import ContentReader
from holdfast.errors import BlobMissingError, InvalidValueError
from holdfast.formats.appending import Batch
from holdfast.formats.pack import Spot
from holdfast.values import digest as digests


class MemoryBlobs:
    """Blobs for as long as the object lives. Keeps the rules of the contract, also those about order of calls."""

    def __init__(self) -> None:
        self._published: dict[str, bytes] = {}
        self._staged: dict[int, bytes] = {}
        self._durable: set[int] = set()
        self._drawn = 0
        self._lock = threading.Lock()

    def stage(self, source: bytes | memoryview | BinaryIO, *, durable: bool = True) -> Staged:
        """Take bytes in."""
        content = bytes(as_bytes_view(source)) if isinstance(source, bytes | bytearray | memoryview) else _drain(source)
        with self._lock:
            self._drawn += 1
            place = self._drawn
            self._staged[place] = content
            if durable:
                self._durable.add(place)
        return Staged(digests.of(content), len(content), len(content), durable, place)

    def stage_all(self, contents: Mapping[str, bytes]) -> list[Staged]:
        """Take many in."""
        return [self.stage(content, durable=False) for content in contents.values()]

    def stage_batch(self, batch: Batch) -> list[Staged]:
        """As `stage_all` of its members."""
        return self.stage_all({digests.text(raw): content for raw, content in batch.contents()})

    def settle(self, staged: Sequence[Staged]) -> None:
        """Note that these may be published."""
        with self._lock:
            self._durable.update(self._place(item) for item in staged)

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        """Give staged bytes their names."""
        with self._lock:
            places = [self._place(item) for item in staged]
            if not self._durable.issuperset(places):
                raise InvalidValueError("settle before publish", where="staged", reason="not durable")
            for item, place in zip(staged, places, strict=True):
                self._published.setdefault(item.digest, self._staged[place])
            self._forget(places)
        return [BlobStat(item.digest, item.size, item.size, 1) for item in staged]

    def discard(self, staged: Sequence[Staged]) -> None:
        """Forget staged bytes."""
        with self._lock:
            self._forget([item.place for item in staged])

    def stat(self, digest: str) -> BlobStat | None:
        """What is known of a blob."""
        content = self._published.get(_name(digest))
        return None if content is None else BlobStat(_name(digest), len(content), len(content), 1)

    def open(self, digest: str) -> ContentReader:
        """Random access to a blob."""
        content = self.read(digest)
        return ContentReader(_name(digest), content, len(content))

    def read(self, digest: str, *, spot: Spot | None = None) -> bytes:  # noqa: ARG002 - there are no packs here
        """A whole blob."""
        try:
            return self._published[_name(digest)]
        except KeyError:
            raise BlobMissingError(f"nothing holds {digest}", digest=digest) from None

    def read_many(self, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes]]:
        """One after the other."""
        for number, (digest, spot) in enumerate(wanted):
            yield number, self.read(digest, spot=spot)

    def verify(self, digest: str) -> BlobStat:
        """Look for a blob; memory is trusted."""
        content = self.read(digest)
        return BlobStat(_name(digest), len(content), len(content), 1)

    def delete(self, digest: str) -> bool:
        """Remove a blob."""
        return self._published.pop(_name(digest), None) is not None

    def walk(self) -> Iterator[WalkEntry]:
        """Every published blob, by digest."""
        for digest, content in sorted(self._published.items()):
            yield WalkEntry(digest, digest, len(content), 0)

    def close(self) -> None:
        """Nothing is held open."""

    def abandon(self) -> None:
        """Nothing is held open."""

    def _place(self, item: Staged) -> int:
        place = item.place
        if not isinstance(place, int) or place not in self._staged:
            raise InvalidValueError(f"{item.digest} is no longer staged here", where="staged", reason="spent")
        return place

    def _forget(self, places: Sequence[object]) -> None:
        for place in places:
            if isinstance(place, int):
                self._staged.pop(place, None)
                self._durable.discard(place)


def _name(digest: str) -> str:
    return digests.text(digests.raw(digest))


def _drain(source: BinaryIO) -> bytes:
    parts = []
    while piece := read_full(source, 1024 * 1024):
        parts.append(piece)
    return b"".join(parts)
