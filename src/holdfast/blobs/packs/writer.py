"""The one pack that a handle appends to: adopted or made when first needed, locked while open, closed when full.

A pack is appended to by one process at a time; an exclusive `flock` on the file says by which, and ends with it. A
pack that nobody has locked is taken up again only if its last append has a row: rows are committed after the sync, so
all its bytes are known to be on disk. What a crash tore off behind that is covered, never cut. After a failed sync or
write nothing is appended to a pack any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import field

from holdfast.blobs.packs.folder import PackFolder
from holdfast.blobs.packs.scan import PackScan, is_sealed
from holdfast.disk import Disk
from holdfast.errors import HoldfastError, StorageIOError
from holdfast.formats import pack, paths
from holdfast.formats.appending import Batch
from holdfast.formats.pack import Contents, Header, Spot
from holdfast.values.frozen import dataclass

PACK_BYTES = 32 * 1024 * 1024
PACK_APPENDS = 4_096
"""A pack is full with so many bytes or appends: whoever takes it up again reads the header of each."""

_ADOPTED_AT_MOST = 4
"""So many packs that nobody appends to are looked at before a new one is made."""


@dataclass(slots=True, eq=False)
class _Open:
    """A pack that is appended to. `end`: its bytes; `synced`: up to where they are on disk; `content`: bytes of it.

    `users`: the writer, while it appends, and each batch that waits for its rows. As long as there is any the lock is
    held, and gc, which finds no rows yet, leaves the pack alone.
    """

    name: str
    fd: int
    path: str
    is_new: bool
    end: int = 0
    synced: int = 0
    content: int = 0
    members: int = 0
    failed: bool = False
    users: int = 1
    positions: list[int] = field(default_factory=list)
    proofs: hashlib._Hash = field(default_factory=hashlib.sha256)
    syncing: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Written:
    """Where the blobs of a batch went, and up to which byte of which pack a sync has to reach to make them durable."""

    spots: list[Spot]
    pack: _Open
    end: int


class PackWriter:
    """Appends for one handle, from many threads. `vouched`: byte of a pack up to which rows say that it was synced."""

    def __init__(self, root: str, disk: Disk, folder: PackFolder, vouched: Callable[[str], int]) -> None:
        self._root = os.path.abspath(root)
        self._disk = disk
        self._folder = folder
        self._vouched = vouched
        self._guard = threading.Lock()
        self._open: _Open | None = None
        self._waiting: set[_Open] = set()

    def append(self, batch: Batch) -> Written:
        """Write a batch as one append. It is on disk only after `sync`. NoSpaceError, StorageIOError."""
        with self._guard:
            pack_ = self._current()
            header = Header(bytes.fromhex(pack_.name), pack_.end, pack_.content, batch.frames, batch.members)
            data = pack.encode_header(header)
            self._write(pack_, data + batch.stored)
            pack_.positions.append(header.position)
            pack_.proofs.update(data[-32:])
            pack_.content += header.content
            pack_.members += len(batch.members)
            pack_.users += 1
            written = Written(header.spots(), pack_, pack_.end)
            if pack_.end >= PACK_BYTES or len(pack_.positions) >= PACK_APPENDS:
                self._seal(pack_)
            return written

    def sync(self, written: Written) -> None:
        """Make an append durable. Threads that wait for one sync share the next. StorageIOError."""
        pack_ = written.pack
        with pack_.syncing:
            if pack_.synced >= written.end:
                return
            if pack_.failed or pack_.fd < 0:
                raise StorageIOError(f"a sync of {pack_.path} failed before", path=pack_.path, operation="sync")
            self._sync(pack_)

    def done(self, written: Written) -> None:
        """The rows of a batch are about to be committed, or never will be."""
        with self._guard:
            self._leave(written.pack)

    def rest(self) -> None:
        """Let go of the open pack: the next append takes it up again, or another process does."""
        with self._guard:
            self._let_go()

    def seal(self) -> None:
        """Close the open pack for good, so that it can be rewritten."""
        with self._guard:
            if self._open is not None:
                self._seal(self._open)

    def close(self) -> None:
        """Let go of every pack, also of those that hold what still waits for its rows: nobody will commit them now."""
        with self._guard:
            self._let_go()
            for open_ in self._waiting:
                self._give_back(open_)
            self._waiting.clear()

    def abandon(self) -> None:
        """In a forked child: close this copy of the file; the lock stays the parent's."""
        left, self._open, self._waiting = [*self._waiting, self._open], None, set()
        self._guard = threading.Lock()
        for open_ in left:
            with contextlib.suppress(OSError):
                if open_ is not None:
                    os.close(open_.fd)

    # -- the open pack -----------------------------------------------------------------------------------------------

    def _write(self, pack_: _Open, data: bytes) -> None:
        try:
            self._disk.write(pack_.fd, data, pack_.path)
        except BaseException:
            pack_.failed = True
            self._let_go()
            if not pack_.end:
                with contextlib.suppress(HoldfastError, FileNotFoundError):
                    self._disk.unlink(pack_.path)  # made just now, for what did not come
            raise
        pack_.end += len(data)

    def _sync(self, pack_: _Open) -> None:
        end = pack_.end
        try:
            self._disk.fsync(pack_.fd, pack_.path)
            if pack_.is_new:
                self._disk.fsync_dir(os.path.dirname(pack_.path))
                pack_.is_new = False
        except BaseException:
            pack_.failed = True
            raise
        pack_.synced = end

    def _seal(self, pack_: _Open) -> None:
        """Write the table of contents behind what is on disk, let go: so all of a sealed pack has been synced."""
        if not pack_.failed and pack_.positions:
            with pack_.syncing:
                self._sync(pack_)
            table = Contents(
                bytes.fromhex(pack_.name), pack_.end, pack_.content, pack_.members, tuple(pack_.positions),
                pack_.proofs.digest(),
            )  # fmt: skip
            self._write(pack_, pack.encode_contents(table))
        self._let_go()

    def _let_go(self) -> None:
        open_, self._open = self._open, None
        if open_ is not None:
            self._leave(open_)

    def _leave(self, open_: _Open) -> None:
        open_.users -= 1
        if not open_.users:
            self._waiting.discard(open_)
            self._give_back(open_)
        elif open_ is not self._open:
            self._waiting.add(open_)

    def _give_back(self, open_: _Open) -> None:
        if open_.fd < 0:
            return
        with open_.syncing:
            # Whoever has still to sync it would find the descriptor closed.
            if open_.synced < open_.end and not open_.failed:
                with contextlib.suppress(HoldfastError):
                    self._sync(open_)
            fd, open_.fd = open_.fd, -1
            self._disk.close(fd)

    def _current(self) -> _Open:
        if self._open is not None and self._open.failed:
            self._let_go()
        if self._open is None:
            self._open = self._adopted() or self._made()
        return self._open

    def _made(self) -> _Open:
        folder = os.path.join(self._root, paths.PACKS)
        if self._disk.mkdir(folder):
            self._disk.fsync_dir(self._root)
        while True:
            name = paths.pack_name(os.urandom(8))
            path = self._folder.path(name)
            try:
                fd = self._disk.create(path)
            except FileExistsError:
                continue
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _Open(name, fd, path, is_new=True)

    def _adopted(self) -> _Open | None:
        """A pack that nobody appends to and that is known to be whole on disk."""
        tries = 0
        for name in self._folder.names():
            if tries >= _ADOPTED_AT_MOST:
                break
            if paths.is_repacked(name):
                continue
            found, was_candidate = self._adopt(name)
            if found is not None:
                return found
            tries += was_candidate
        return None

    def _adopt(self, name: str) -> tuple[_Open | None, bool]:
        path = self._folder.path(name)
        try:
            with opened(self._disk, path) as fd:
                if is_sealed(self._disk, fd, path, name) or not locked(fd):
                    return None, False
        except (HoldfastError, FileNotFoundError):
            return None, False
        return self._taken_up(name, path), True

    def _taken_up(self, name: str, path: str) -> _Open | None:
        fd = self._disk.open_append(path)
        keep = False
        try:
            if not locked(fd) or not _is_at(self._disk, fd, path):
                return None
            scan = PackScan(self._disk, fd, path=path, name=name)
            for _ in scan.parts():
                pass
            if not self._may_go_on(scan, name):
                return None
            if scan.tail < scan.size:
                cover_tail(self._disk, fd, scan)
            keep = True
            size = self._disk.size(fd)
            found = _Open(name, fd, path, is_new=False, end=size, synced=size, content=scan.content)
            found.positions, found.members, found.proofs = scan.positions, scan.members, scan.running()
        except HoldfastError:
            return None
        else:
            return found
        finally:
            if not keep:
                self._disk.close(fd)

    def _may_go_on(self, scan: PackScan, name: str) -> bool:
        if scan.sealed or scan.holes or scan.last is None:
            return False
        full = scan.size >= PACK_BYTES or scan.appends >= PACK_APPENDS
        vouched = self._vouched(name)
        # A row behind the last header that could be read means damage there, not a torn end.
        return not full and scan.last.position < vouched < scan.tail


@contextlib.contextmanager
def opened(disk: Disk, path: str) -> Iterator[int]:
    """A file open for reading while the block lasts."""
    fd = disk.open_read(path)
    try:
        yield fd
    finally:
        disk.close(fd)


def locked(fd: int) -> bool:
    """Lock an open pack; False if somebody else has. Ends when the descriptor is closed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(disk: Disk, fd: int, path: str) -> bool:
    """Whether an open file still has its name: it may have been removed before it was locked."""
    there, here = disk.stat(path), os.fstat(fd)
    return there is not None and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def somebody_appends(fd: int) -> bool:
    """Whether an open pack is locked, by us or by others."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def cover_tail(disk: Disk, fd: int, scan: PackScan) -> None:
    """Make a torn end a frame that readers skip, durable on return: its first 8 bytes say how long it is."""
    length = max(scan.size - scan.tail, pack.SKIP_BYTES)
    disk.overwrite(scan.path, pack.cover(length), scan.tail)
    disk.fsync(fd, scan.path)
