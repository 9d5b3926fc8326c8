"""Files with contents, proven against their digests as they are copied."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.files import open_file
from holdfast.blobs.packs.scan import PackScan
from holdfast.blobs.reader import verify
from holdfast.care.backup.source import MovedError, Proven, Snapshot, read
from holdfast.disk import Disk
from holdfast.errors import BlobMissingError, DamageError, StorageIOError
from holdfast.formats import frame, generation, paths
from holdfast.formats.generation import Entry, Lacking
from holdfast.formats.pack import Header
from holdfast.index.stored import StoredFiles
from holdfast.values import digest as digests
from holdfast.values.frozen import dataclass

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Loose:
    """A content that has a file of its own: the name says what is in it."""

    snapshot: Snapshot
    raw: bytes

    @property
    def path(self) -> str:
        """By its digest."""
        return paths.blob_file(self.raw)

    def is_still(self, entry: Entry) -> bool:
        """Always: nothing else can have the name."""
        return entry.path == self.path

    def proven(self, _: Entry | None = None, /) -> Proven:
        """Compared with its digest before the first byte is given."""
        digest, path = digests.text(self.raw), self.snapshot.place(self.path)
        try:
            data = _small(self.snapshot.disk, path)
            if data is not None:
                if hashlib.sha256(frame.decode(data)).digest() != self.raw:
                    raise frame.damage("the content has another digest")
                return Proven(iter((data,)))
        except FileNotFoundError:
            return self._gone(digest)
        except (DamageError, StorageIOError):
            pass  # perhaps of many small frames; if not, what follows says what is wrong
        try:
            reader = open_file(self.snapshot.disk, path, digest)
            try:
                verify(reader)
            finally:
                reader.close()
        except BlobMissingError:
            return self._gone(digest)
        except (DamageError, StorageIOError) as error:
            return Proven(None, [Lacking(self.path, digest, error.message)])
        return Proven(read(self.snapshot.disk, path))

    def _gone(self, digest: str) -> Proven:
        """gc or repack was here; or it is lost."""
        place = self.snapshot.handle.index.physical.place(digest)
        if place is None or place.spot is not None:
            raise MovedError(self.path)
        return Proven(None, [Lacking(self.path, digest, "the file is missing")])


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack. It only grows: what stands before `reach`, the end of what the snapshot speaks of, never changes."""

    snapshot: Snapshot
    name: str
    reach: int

    @property
    def path(self) -> str:
        """By its name."""
        return paths.pack_file(self.name)

    def is_still(self, entry: Entry) -> bool:
        """Whether the copy reaches far enough."""
        return entry.path == self.path and entry.size >= self.reach and entry.seen != generation.SUSPECT

    def proven(self, earlier: Entry | None = None, /) -> Proven:
        """Headers by their digests, frames by their checksums, as they are given. What fails is looked at by member.

        A sealed pack comes whole, an open one up to what is needed. What is byte for byte what an earlier copy has was
        proven when that was made. Each member's digest is compared by fsck: docs/design/044.
        """
        disk, path = self.snapshot.disk, self.snapshot.place(self.path)
        try:
            fd = disk.open_read(path)
        except FileNotFoundError:
            return self._gone()
        except StorageIOError as error:
            return Proven(None, [Lacking(self.path, "", error.message)])
        try:
            held = _Bytes(disk, fd, path)
            is_longer = earlier is not None and earlier.path == self.path and earlier.seen != generation.SUSPECT
            known = earlier.size if earlier and is_longer and held.begins_with(earlier) else 0
            if held.size < self.reach:
                disk.close(fd)
                return Proven(read(held.disk, held.path), [Lacking(self.path, "", "the pack was cut")])
            found = Proven(None)
            found.blocks = self._proving(held, known, found)
        except StorageIOError as error:
            disk.close(fd)
            return Proven(None, [Lacking(self.path, "", error.message)])
        return found

    def _proving(self, held: _Bytes, known: int, found: Proven) -> Iterator[bytes]:
        """`known`: so many bytes, from the first, need no more proof. Closes the file."""
        scan = PackScan(held.disk, held.fd, path=held.path, name=self.name)
        damaged: list[bytes] = []
        at = end = 0
        try:
            for part in scan.parts():
                if isinstance(part, Header):
                    if part.position >= self.reach:
                        end = end or part.position
                        continue
                    data = held.disk.pread(held.fd, part.end - at, at, held.path)
                    if known < part.end:
                        damaged += _damaged(part, memoryview(data)[part.position + part.length - at :])
                    yield data
                    at = part.end
                elif part.offset < self.reach:
                    where = f"bytes {part.offset} to {part.offset + part.length}"
                    found.lacks.append(Lacking(self.path, "", f"{where}: {part.reason}"))
            end = scan.size if scan.sealed else end or min(scan.tail, scan.size)
            while at < max(end, self.reach):
                yield (data := held.disk.pread(held.fd, min(_BLOCK, max(end, self.reach) - at), at, held.path))
                at += len(data)
        finally:
            held.disk.close(held.fd)
        why = "the content has another digest"
        found.lacks += [Lacking(self.path, digests.text(raw), why) for raw in damaged if self._needs(raw)]
        if damaged:
            found.seen = generation.SUSPECT  # what nobody needs now may be needed again

    def _needs(self, raw: bytes) -> bool:
        """Whether the snapshot says that it is here. What no row speaks of is garbage, damaged or not."""
        return StoredFiles(self.snapshot.index.database).is_member(raw, self.name)

    def _gone(self) -> Proven:
        if self.snapshot.handle.index.physical.packs.one(self.name) is None:
            raise MovedError(self.path)
        return Proven(None, [Lacking(self.path, "", "the pack is missing")])


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a large content is made of. Its name is the digest of that: two recipes can have one name."""

    snapshot: Snapshot
    raw: bytes

    @property
    def path(self) -> str:
        """By the digest of the content."""
        return paths.recipe_file(self.raw)

    def is_still(self, entry: Entry) -> bool:
        """By what the store's file looks like."""
        return entry.path == self.path and entry.seen == self._seen() != generation.UNSEEN

    def proven(self, _: Entry | None = None, /) -> Proven:
        """By its own digest; its chunks are proven with their packs."""
        digest, seen = digests.text(self.raw), self._seen()
        try:
            RecipeFolder(self.snapshot.handle.root, self.snapshot.disk).read(digest)
        except BlobMissingError as error:
            place = self.snapshot.handle.index.physical.place(digest)
            if place is None or not place.cut:
                raise MovedError(self.path) from error
            return Proven(None, [Lacking(self.path, digest, "the recipe is missing")])
        except (DamageError, StorageIOError) as error:
            return Proven(None, [Lacking(self.path, digest, error.message)])
        return Proven(read(self.snapshot.disk, self.snapshot.place(self.path)), seen=seen)

    def _seen(self) -> str:
        facts = self.snapshot.disk.stat(self.snapshot.place(self.path))
        if facts is None:
            return generation.UNSEEN
        return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}"


def _damaged(header: Header, stored: memoryview) -> list[bytes]:
    """The members of an append that are not what they should be. `stored`: its frames."""
    frames, at = [], 0
    for length, _ in header.frames:
        frames.append(stored[at : at + length])
        at += length
    if frame.are_whole(frames, [size for _, size in header.frames]):
        return []
    contents = iter(frame.decode_many([bytes(one) for one in frames]))
    found, content, start = [], next(contents), 0
    sizes = iter(size for _, size in header.frames)
    left = next(sizes)
    for raw, size in header.members:
        if start == left:
            content, left, start = next(contents), next(sizes), 0
        piece = b"" if content is None else content[start : start + size]
        if hashlib.sha256(piece).digest() != raw:
            found.append(raw)
        start += size
    return found


class _Bytes:
    """An open pack."""

    def __init__(self, disk: Disk, fd: int, path: str) -> None:
        self.disk, self.fd, self.path = disk, fd, path
        self.size = disk.size(fd)

    def begins_with(self, earlier: Entry) -> bool:
        """Whether the first bytes are those of a copy that was made before."""
        if not 0 < earlier.size <= self.size:
            return False
        digest, at = hashlib.sha256(), 0
        while at < earlier.size:
            data = self.disk.pread(self.fd, min(_BLOCK, earlier.size - at), at, self.path)
            if not data:
                return False
            digest.update(data)
            at += len(data)
        return digest.hexdigest() == earlier.digest


def _small(disk: Disk, path: str) -> bytes | None:
    """A file that can be one frame, whole; None if it is larger. FileNotFoundError, StorageIOError."""
    fd = disk.open_read(path)
    try:
        size = disk.size(fd)
        return disk.pread(fd, size, 0, path) if size <= frame.ONE_FRAME_FILE_MAX else None
    finally:
        disk.close(fd)
