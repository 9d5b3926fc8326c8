"""All packs of a store, read: their names, their members in order, one member by its place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat as stat_flags
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from weakref import WeakSet

from holdfast.blobs.contract import WalkEntry
from holdfast.blobs.files import damaged
from holdfast.blobs.packs.kept import KeptFrames
from holdfast.blobs.packs.scan import PackScan
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError, StoreError
from holdfast.formats import frame, paths
from holdfast.formats.pack import Header, Member, Spot
from holdfast.values import digest as digests

_OPEN_FILES = 32
_OFTEN = 32
"""When so many single reads were made of an open pack, the system is asked to read all of it ahead: the next ones find
it in memory, instead of waiting for the disk one by one."""
_of_all_stores = WeakSet[KeptFrames]()
LARGEST_FRAME = frame.MAX_CONTENT + frame.MAX_CONTENT // 256 + 64
"""Bytes of a frame in a file, at most."""


class PackFolder:
    """Reads `packs/`. For many threads at once; keeps a few files open, and gives them back with `close`."""

    def __init__(
        self, root: str, disk: Disk, *, kept_bytes: int = 0,
        elsewhere: Callable[[str, int, int], bytes | None] | None = None,
    ) -> None:  # fmt: skip
        """`kept_bytes`: so much content of frames that hold several members is kept for those read next, by all
        folders of a process together.

        `elsewhere`: gives bytes of a pack, from a place on, that are acknowledged and that a power loss may have taken.
        """
        self._elsewhere = elsewhere
        self._root = os.path.abspath(root)
        self._disk = disk
        self._guard = threading.Lock()
        self._open: OrderedDict[str, _Shared] = OrderedDict()
        self._kept = KeptFrames(kept_bytes, _of_all_stores)

    def path(self, name: str) -> str:
        """Where a pack's file is or should be."""
        return f"{self._root}/{paths.pack_file(name)}"

    def names(self) -> list[str]:
        """The packs that have a file, in order."""
        found = (paths.parse_pack(file) for file in self._disk.listdir(os.path.join(self._root, paths.PACKS)))
        return [name for name in found if name is not None]

    def walk(self) -> Iterator[WalkEntry]:
        """Everything in `packs/` in order of path. `digest` is None: a pack has none."""
        for file in self._disk.listdir(os.path.join(self._root, paths.PACKS)):
            there = self._disk.stat(os.path.join(self._root, paths.PACKS, file))
            if there is not None:
                yield WalkEntry(f"{paths.PACKS}/{file}", None, there.st_size, there.st_mtime_ns // 1000)

    @contextlib.contextmanager
    def scan(self, name: str) -> Iterator[PackScan]:
        """A pass over one pack, while the block lasts. FileNotFoundError, StorageIOError."""
        path = self.path(name)
        fd = self._disk.open_read(path)
        try:
            yield PackScan(self._disk, fd, path=path, name=name)
        finally:
            self._disk.close(fd)

    def members(self, unread: list[str] | None = None, holed: set[str] | None = None) -> Iterator[tuple[str, Member]]:
        """Every member of every pack that a sound header lists: (pack, member), by name and place. Content unread.

        `unread`: takes what kept a pack from being read, in words; without it the error passes. `holed`: takes the
        names of packs that have lost headers, each when its last member was given.
        """
        for name in self.names():
            try:
                with self.scan(name) as scan:
                    for part in scan.parts():
                        if isinstance(part, Header):
                            for member in part.each():
                                yield name, member
                    if holed is not None and scan.holes:
                        holed.add(name)
            except FileNotFoundError:
                continue
            except StoreError as error:
                if unread is None:
                    raise
                unread.append(error.message)

    def read(self, digest: str, spot: Spot) -> bytes:
        """A member, checked against its digest. BlobMissingError if there is no such file, BlobDamagedError."""
        try:
            return self._in_file(digest, spot)
        except (BlobDamagedError, BlobMissingError):
            content = self._in_index(digest, spot)
            if content is None:
                raise
            return content

    def _in_file(self, digest: str, spot: Spot) -> bytes:
        pack, offset, stored_bytes, start, size = spot
        end = start + size
        if start < 0 or end < start:
            raise damaged(digest, paths.pack_file(pack), "a place that cannot be")
        content, opened = self._kept.get(spot), None
        if content is None:
            try:
                opened = frame.decode_part(self.stored(pack, offset, stored_bytes, digest), end)
            except BlobDamagedError as error:
                reason = str(error.fields.get("reason") or error.message)
                raise damaged(digest, paths.pack_file(pack), reason) from error
            content = opened[start:end]
        found = digests.PREFIX + hashlib.sha256(content).hexdigest()
        if found != digest:
            raise damaged(digest, paths.pack_file(pack), f"the content at byte {offset} is that of {found}")
        if opened is not None:
            self._kept.put(spot, opened)
        return content

    def _in_index(self, digest: str, spot: Spot) -> bytes | None:
        """A member out of what is kept of its pack, which may have lost it with the power; None if it is not there."""
        stored = self._elsewhere and self._elsewhere(spot.pack, spot.offset, spot.stored_bytes)
        if not stored:
            return None
        try:
            content = frame.decode(stored)[spot.start : spot.start + spot.size]
        except BlobDamagedError:
            return None
        return content if hashlib.sha256(content).digest() == digests.raw(digest) else None

    def span(self, name: str, offset: int, length: int, digest: str = "") -> bytes:
        """Bytes of a pack's file as they stand there, fewer at its end; `digest` is for errors only."""
        with self._file(digest, name) as fd:
            return self._disk.pread(fd, length, offset, paths.pack_file(name))

    def frame(
        self, name: str, offset: int, stored_bytes: int, digest: str = "", *, end: int = frame.MAX_CONTENT
    ) -> bytes:
        """The content of one frame of a pack, at least up to `end`, which its checksum then need not prove.

        `digest` is for errors only. BlobMissingError, BlobDamagedError.
        """
        return frame.decode_part(self.stored(name, offset, stored_bytes, digest), end)

    def stored(self, name: str, offset: int, stored_bytes: int, digest: str = "") -> bytes:
        """The bytes of one frame as they stand in the file. BlobMissingError, BlobDamagedError."""
        if offset < 0 or not 0 < stored_bytes <= LARGEST_FRAME:
            raise frame.damage("a place that cannot be")
        shared = self._borrow(digest, name)
        try:
            shared.reads += 1
            if shared.reads == _OFTEN:
                self._disk.begin_reading(shared.fd, 0, 0)
            return self._disk.pread(shared.fd, stored_bytes, offset, f"{paths.PACKS}/{name}")
        finally:
            self._give_back(shared)

    def expect(self, name: str, offset: int, length: int) -> None:
        """Bytes of a pack will be read soon: the system may fetch them meanwhile. Never fails."""
        with contextlib.suppress(HoldfastError), self._file("", name) as fd:
            self._disk.begin_reading(fd, offset, length)

    def check(self, digest: str, spot: Spot) -> None:
        """Whether the file is there and long enough; BlobMissingError, BlobDamagedError if not."""
        with self._file(digest, spot.pack) as fd:
            is_short = self._disk.size(fd) < spot.offset + spot.stored_bytes
            if is_short and self._in_index(digest, spot) is None:
                raise damaged(digest, paths.pack_file(spot.pack), "the pack was cut")

    def close(self) -> None:
        """Give all files back; they are opened again when they are asked for."""
        with self._guard:
            kept, self._open = list(self._open.values()), OrderedDict()
            for shared in kept:
                self._leave(shared)
        self._kept.clear()

    def abandon(self) -> None:
        """In a forked child: another thread may have held the guard for ever."""
        self._guard = threading.Lock()
        self._open = OrderedDict()
        self._kept = KeptFrames(0)

    @contextlib.contextmanager
    def _file(self, digest: str, name: str) -> Iterator[int]:
        """An open file that nobody closes while the block lasts that it is used in."""
        shared = self._borrow(digest, name)
        try:
            yield shared.fd
        finally:
            self._give_back(shared)

    def _borrow(self, digest: str, name: str) -> _Shared:
        """An open file, to be given back. Each single read does this itself: a block would cost it a microsecond."""
        with self._guard:
            shared = self._open.get(name)
            if shared is None:
                shared = self._open[name] = _Shared(self._opened(digest, name))
                if len(self._open) > _OPEN_FILES:
                    self._leave(self._open.popitem(last=False)[1])
            else:
                self._open.move_to_end(name)
            shared.users += 1
        return shared

    def _give_back(self, shared: _Shared) -> None:
        with self._guard:
            self._leave(shared)

    def _leave(self, shared: _Shared) -> None:
        shared.users -= 1
        if not shared.users:
            self._disk.close(shared.fd)

    def _opened(self, digest: str, name: str) -> int:
        path = paths.pack_file(name)
        there = self._disk.stat(self.path(name))
        if there is not None and not stat_flags.S_ISREG(there.st_mode):
            raise damaged(digest, path, "it is not a regular file")
        try:
            return self._disk.open_read(self.path(name))
        except FileNotFoundError as error:
            raise BlobMissingError(f"the pack that held {digest} is gone", digest=digest, path=path) from error


class _Shared:
    """A descriptor, how many use it (the folder itself is one of them), and how many single reads were made."""

    __slots__ = ("fd", "reads", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 1
        self.reads = 0
