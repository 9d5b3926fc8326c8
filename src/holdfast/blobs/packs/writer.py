"""The one pack that a handle appends to: adopted or made when first needed, locked while open, closed when full.

A pack is appended to by one process at a time; an exclusive `flock` on the file says by which, and ends with it. A
pack that nobody has locked is taken up again only if its last append has a row, and the index keeps no bytes of it: so
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
from holdfast.blobs.packs.unsynced import SYNC_BYTES, Unsynced
from holdfast.disk import Disk, flock, fstat
from holdfast.errors import HoldfastError, StorageIOError
from holdfast.formats import pack, paths
from holdfast.formats.appending import Batch, headed
from holdfast.formats.pack import Contents, Spot
from holdfast.values import configuration
from holdfast.values.frozen import dataclass

PACK_BYTES = 32 * 1024 * 1024
PACK_APPENDS = 4_096
"""A pack is full with so many bytes or appends: whoever takes it up again reads the header of each."""

_ADOPTED_AT_MOST = 4
"""So many packs that nobody appends to are looked at before a new one is made."""


def pack_bytes() -> int:
    """The bytes with which a pack is full: what the environment says, or PACK_BYTES. InvalidValueError."""
    one = configuration.setting("pack_bytes")
    said = os.environ.get(one.environment, "")
    return int(configuration.parsed(one, said, one.environment) or 0) if said else PACK_BYTES


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
    unsynced: Unsynced = field(default_factory=Unsynced)


@dataclass(frozen=True, slots=True)
class Written:
    """Where the blobs of a batch went, and up to which byte of which pack a sync has to reach to make them durable."""

    spots: list[Spot]
    pack: _Open
    end: int


class PackWriter:
    """Appends for one handle, from many threads. `vouched`: byte of a pack up to which rows speak of it; none of a pack
    of which bytes are still kept elsewhere.
    """

    def __init__(self, root: str, disk: Disk, folder: PackFolder, vouched: Callable[[str], int]) -> None:
        self._full_at = pack_bytes()
        self._root = os.path.abspath(root)
        self._disk = disk
        self._folder = folder
        self._vouched = vouched
        self._guard = threading.Lock()
        self._open: _Open | None = None
        self._waiting: set[_Open] = set()
        self._unsure = ""  # the pack that a sync failed on
        self._left: dict[str, int] = {}  # packs that were given back while the index kept some of it: synced so far

    def append(self, batch: Batch, *, keep: bool = False) -> Written:
        """Write a batch as one append. It is on disk only after `sync`. NoSpaceError, StorageIOError.

        `keep`: the COMMIT that makes its rows is going to keep its bytes, if it can (`to_keep`).
        """
        with self._guard:
            pack_ = self._current()
            start = pack_.end
            data, spots = headed(batch, pack_.name, position=start, before=pack_.content)
            whole = data + batch.stored
            self._write(pack_, whole)
            pack_.unsynced.wrote(start, whole, keep=keep)
            pack_.positions.append(start)
            pack_.proofs.update(data[-32:])
            pack_.content += sum([content for _, content in batch.frames])
            pack_.members += len(batch.members)
            pack_.users += 1
            written = Written(spots, pack_, pack_.end)
            if pack_.end >= self._full_at or len(pack_.positions) >= PACK_APPENDS:
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

    def to_keep(self) -> list[tuple[str, int, bytes]] | None:
        """(pack, from which byte on, bytes) of all that is neither synced nor kept; None if it has to be synced.

        StorageIOError if a sync has failed: nobody can say what is on the disk.
        """
        with self._guard:
            if self._unsure:
                raise StorageIOError(f"a sync of {self._unsure} failed before", path=self._unsure, operation="sync")
            found: list[tuple[str, int, bytes]] = []
            for one in self._all():
                if one.unsynced.kept < one.end:
                    kept = one.unsynced.to_keep()
                    if kept is None:
                        return None
                    found += [(one.name, *kept)] if kept[1] else []
        return found

    def kept(self, kept: list[tuple[str, int, bytes]]) -> None:
        """What `to_keep` gave is committed."""
        with self._guard:
            ends = {name: start + len(data) for name, start, data in kept}
            for one in self._all():
                if one.name in ends:
                    one.unsynced.was_kept(ends[one.name])

    def given_up(self) -> dict[str, int]:
        """Packs of which the index keeps what a sync has reached, each with up to where. Told once."""
        with self._guard:
            found, self._left = self._left, {}
            return found | {one.name: one.synced for one in self._all() if one.unsynced.given_up(one.synced)}

    def take_back(self, given_up: dict[str, int]) -> None:
        """They were not given up after all."""
        with self._guard:
            self._left = given_up | self._left

    def sync_all(self, *, beyond: int = 0) -> None:
        """Make what was appended durable, of packs in which more than so many bytes are not. StorageIOError."""
        with self._guard:
            due = [one for one in self._all() if one.end - one.synced > beyond and not one.failed and one.fd >= 0]
        for one in due:
            with one.syncing:
                if one.synced < one.end and one.fd >= 0:
                    self._sync(one)

    def sync_if_due(self) -> None:
        """`sync_all` if that much waits that the index should not go on keeping it."""
        self.sync_all(beyond=SYNC_BYTES)

    def _all(self) -> list[_Open]:
        return [*self._waiting] if self._open is None or self._open in self._waiting else [self._open, *self._waiting]

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
        except FileNotFoundError as error:
            pack_.failed, self._unsure = True, pack_.path
            gone = os.path.dirname(pack_.path)
            raise StorageIOError(f"{gone} is not there any more", path=gone, operation="sync folder") from error
        except BaseException:
            pack_.failed, self._unsure = True, pack_.path
            raise
        pack_.synced = max(pack_.synced, end)
        pack_.unsynced.synced(end)

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
                with contextlib.suppress(HoldfastError):  # `to_keep` remembers it
                    self._sync(open_)
            fd, open_.fd = open_.fd, -1
            if open_.unsynced.is_kept_somewhere():
                self._left[open_.name] = open_.synced
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
            flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
            found.unsynced.synced(size)
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
        full = scan.size >= self._full_at or scan.appends >= PACK_APPENDS
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
        flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(disk: Disk, fd: int, path: str) -> bool:
    """Whether an open file still has its name: it may have been removed before it was locked."""
    there, here = disk.stat(path), fstat(fd)
    return there is not None and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def somebody_appends(fd: int) -> bool:
    """Whether an open pack is locked, by us or by others."""
    try:
        flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    flock(fd, fcntl.LOCK_UN)
    return False


def cover_tail(disk: Disk, fd: int, scan: PackScan) -> None:
    """Make a torn end a frame that readers skip, durable on return: its first 8 bytes say how long it is."""
    length = max(scan.size - scan.tail, pack.SKIP_BYTES)
    disk.overwrite(scan.path, pack.cover(length), scan.tail)
    disk.fsync(fd, scan.path)
