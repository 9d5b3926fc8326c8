"""A blob store that somebody else wrote: contents as objects in a bucket, in parts that are checked when they are read.

A bucket here is a folder; anything that puts, gets, lists and deletes objects will do. An object is durable when `put`
returns. `<digest>/00000000`, `<digest>/00000001` … hold the content, `<digest>/list` says its size and the digest of
each part: it is written last, so a content without it is not there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from holdfast.blobs.contract import BlobStat, Staged, WalkEntry
from holdfast.blobs.sources import parts_of
from holdfast.errors import BlobDamagedError, BlobMissingError, InvalidValueError
from holdfast.values import digest as digests

PART = 256 * 1024


class FolderBucket:
    """Objects in a folder. Replace it by a client of your object storage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, data: bytes) -> None:
        """An object, whole and durable when this returns."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        passing = path.with_name(f".{path.name}.{threading.get_ident()}")
        with passing.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def get(self, key: str) -> bytes | None:
        """An object; None if there is none."""
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> bool:
        """Whether there was one."""
        try:
            (self.folder / key).unlink()
        except FileNotFoundError:
            return False
        return True

    def keys(self, ending: str) -> list[str]:
        """Every key that ends so, in order."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(f"*/{ending}"))


class BucketReader:
    """Random access to one content."""

    def __init__(self, store: BucketBlobs, digest: str, listed: dict[str, Any]) -> None:
        self.digest = digest
        self.size: int = listed["size"]
        self._store, self._parts = store, listed["parts"]

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes asked for, as far as there are any; each part that is touched is checked."""
        if offset < 0 or length < 0:
            raise InvalidValueError("a range before the beginning", where="range", reason="negative")
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = offset // PART, (end - 1) // PART
        joined = b"".join(self._store.part(self.digest, n, self._parts[n]) for n in range(first, last + 1))
        return joined[offset - first * PART : end - first * PART]

    def close(self) -> None:
        """Nothing is held open."""


class BucketBlobs:
    """See holdfast/blobs/contract.py: the comments name its sentences."""

    def __init__(self, bucket: FolderBucket) -> None:
        self._bucket = bucket
        self._names = itertools.count()
        self._session = f"staged-{os.getpid()}-{os.urandom(8).hex()}"
        self._staged: dict[int, tuple[list[str], bool]] = {}
        self._guard = threading.Lock()

    def stage(self, source: bytes | memoryview | BinaryIO, *, durable: bool = True) -> Staged:
        """B-2: one part in memory at a time. B-3: under a key that no digest has."""
        number, whole, parts, size = next(self._names), hashlib.sha256(), list[str](), 0
        for data in parts_of(source, PART):
            self._bucket.put(f"{self._session}-{number}/{len(parts):08}", data)
            whole.update(data)
            parts.append(hashlib.sha256(data).hexdigest())
            size += len(data)
        with self._guard:
            self._staged[number] = (parts, durable)
        return Staged(digests.PREFIX + whole.hexdigest(), size, size, durable, number)

    def stage_all(self, contents: Mapping[str, bytes]) -> list[Staged]:
        """One by one."""
        return [self.stage(content, durable=False) for content in contents.values()]

    def stage_batch(self, batch: Any) -> list[Staged]:
        """What others have compressed is taken as it was before."""
        return self.stage_all({digests.text(raw): content for raw, content in batch.contents()})

    def settle(self, staged: Sequence[Staged]) -> None:
        """Everything is durable when it is staged; who asks is kept to the rules all the same."""
        with self._guard:
            for one in staged:
                self._staged[self._number(one)] = (self._staged[self._number(one)][0], True)

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        """B-4: the parts, and then the list."""
        with self._guard:
            known = [self._staged[self._number(one)] for one in staged]
        if not all(durable for _, durable in known):
            raise InvalidValueError("settle before publish", where="staged", reason="not durable")
        for one, (parts, _) in zip(staged, known, strict=True):
            if not self._is_sound(one.digest):
                for n in range(len(parts)):
                    data = self._bucket.get(f"{self._session}-{one.place}/{n:08}")
                    assert data is not None
                    self._bucket.put(f"{_plain(one.digest)}/{n:08}", data)
                listed = json.dumps({"size": one.size, "parts": parts}).encode()
                self._bucket.put(f"{_plain(one.digest)}/list", listed)
        self.discard(staged)
        return [BlobStat(one.digest, one.size, one.size, 1) for one in staged]

    def discard(self, staged: Sequence[Staged]) -> None:
        """B-7: what is staged has keys of its own."""
        for one in staged:
            with self._guard:
                found = self._staged.pop(one.place, None) if isinstance(one.place, int) else None
            for n in range(len(found[0]) if found else 0):
                self._bucket.delete(f"{self._session}-{one.place}/{n:08}")

    def stat(self, digest: str) -> BlobStat | None:
        """From the list alone."""
        listed = self._list(digest)
        return None if listed is None else BlobStat(digest, listed["size"], listed["size"], 1)

    def open(self, digest: str) -> BucketReader:
        """B-5."""
        listed = self._list(digest)
        if listed is None:
            raise BlobMissingError(f"the bucket does not hold {digest}", digest=digest)
        return BucketReader(self, digest, listed)

    def read(self, digest: str, *, spot: object = None) -> bytes:  # noqa: ARG002 - there are no packs in a bucket
        """B-5: every part against its digest, and the whole against its own."""
        reader = self.open(digest)
        data = reader.read_at(0, reader.size)
        if digests.of(data) != digest:
            raise BlobDamagedError(f"{digest} is another content", digest=digest, reason="digest")
        return data

    def read_many(self, wanted: Sequence[tuple[str, Any]]) -> Iterator[tuple[int, bytes]]:
        """B-10."""
        for number, (digest, _) in enumerate(wanted):
            yield number, self.read(digest)

    def verify(self, digest: str) -> BlobStat:
        """One part in memory at a time."""
        reader, whole = self.open(digest), hashlib.sha256()
        for offset in range(0, reader.size, PART):
            whole.update(reader.read_at(offset, PART))
        if digests.PREFIX + whole.hexdigest() != digest:
            raise BlobDamagedError(f"{digest} is another content", digest=digest, reason="digest")
        return BlobStat(digest, reader.size, reader.size, 1)

    def delete(self, digest: str) -> bool:
        """B-6: the list first: without it there is nothing."""
        found = self._bucket.get(f"{_plain(digest)}/list")
        if found is None:
            return False
        self._bucket.delete(f"{_plain(digest)}/list")
        for n in range(len(json.loads(found)["parts"])):
            self._bucket.delete(f"{_plain(digest)}/{n:08}")
        return True

    def walk(self) -> Iterator[WalkEntry]:
        """B-8: by digest."""
        for key in self._bucket.keys("list"):
            digest = digests.PREFIX + key.partition("/")[0]
            stat = self.stat(digest)
            if stat is not None:
                yield WalkEntry(key, digest, stat.stored_bytes, 0)

    def close(self) -> None:
        """Nothing is held open."""

    def abandon(self) -> None:
        """Nothing is held open."""

    # -- how ---------------------------------------------------------------------------------------------------------

    def part(self, digest: str, number: int, wanted: str) -> bytes:
        """A part, checked."""
        data = self._bucket.get(f"{_plain(digest)}/{number:08}")
        if data is None or hashlib.sha256(data).hexdigest() != wanted:
            raise BlobDamagedError(f"part {number} of {digest} is not what was put", digest=digest, reason="part")
        return data

    def _list(self, digest: str) -> dict[str, Any] | None:
        data = self._bucket.get(f"{_plain(digest)}/list")
        try:
            found: dict[str, Any] | None = None if data is None else json.loads(data)
        except ValueError as error:
            raise BlobDamagedError(f"the list of {digest} is damaged", digest=digest, reason="list") from error
        return found

    def _is_sound(self, digest: str) -> bool:
        try:
            self.verify(digest)
        except (BlobMissingError, BlobDamagedError):
            return False
        return True

    def _number(self, one: Staged) -> int:
        if not isinstance(one.place, int) or one.place not in self._staged:
            raise InvalidValueError(f"{one.digest} is no longer staged here", where="staged", reason="spent")
        return one.place


def _plain(digest: str) -> str:
    """64 digits, whatever was given: InvalidDigestError, and no path of somebody's choice."""
    return digests.raw(digest).hex()
