"""Places in the memory of this process: files, locks and databases under paths that no file system can have.

`/dev/null` is a file, so nothing can lie below it: code that went around `Disk` with such a path would get an error,
and never find or make a file by mistake. What is in such a place ends with `free`, or with the process.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat as flags
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast import disk as disks
from holdfast.disk import Disk
from holdfast.errors import StorageIOError

_TOP = "/dev/null/holdfast-"
_serial = itertools.count(1)
_descriptors = itertools.count(disks.FIRST_VIRTUAL)


class Database(Protocol):
    """A database that lies at a path in memory."""

    def image(self) -> bytes:
        """What a file of it would hold."""

    def size_bytes(self) -> int:
        """How long that file would be."""

    def close(self) -> None:
        """Give its memory back."""


@dataclass(eq=False, slots=True)
class _Node:
    data: bytearray = field(default_factory=bytearray)
    inode: int = field(default_factory=lambda: next(_serial))
    modified_ns: int = field(default_factory=time.time_ns)
    links: int = 1

    def facts(self) -> os.stat_result:
        return _facts(flags.S_IFREG | 0o644, self.inode, len(self.data), self.modified_ns, self.links)


_databases: dict[str, Database] = {}
_guard = threading.RLock()


def new_root() -> str:
    """A place that nobody has used."""
    return f"{_TOP}{os.getpid()}-{next(_serial)}"


def holds(path: str) -> bool:
    """Whether a path is one in memory."""
    return path.startswith(_TOP)


def beside(path: str) -> str:
    """A new path for something that lives no longer than what is at `path`."""
    return f"{path}/beside-{next(_serial)}"


def database(path: str) -> Database | None:
    """The database at a path."""
    return _databases.get(path)


def put_database(path: str, made: Database) -> Database:
    """Let a database lie at a path; the one that is there already, if somebody was faster."""
    with _guard:
        return _databases.setdefault(path, made)


def free(path: str) -> None:
    """Give back the databases at and below a path."""
    with _guard:
        gone = [_databases.pop(one) for one in list(_databases) if one == path or one.startswith(f"{path}/")]
    for one in gone:
        one.close()


def disk_of(root: str) -> Disk:
    """What works on the files of a store that is not open here, or is a file by file look at one that is."""
    return _disks.get(root, Disk()) if holds(root) else Disk()


_disks: dict[str, RamDisk] = {}


class _Open:
    """A descriptor of a file in memory: what `disk.fstat` and `disk.flock` ask."""

    __slots__ = ("_locks", "appends", "node")

    def __init__(self, node: _Node, locks: dict[int, dict[_Open, bool]], *, appends: bool = False) -> None:
        self.node = node
        self.appends = appends
        self._locks = locks

    def facts(self) -> os.stat_result:
        """As fstat gives them."""
        return self.node.facts()

    def flock(self, operation: int) -> None:
        """As flock does with LOCK_NB: BlockingIOError if another descriptor is in the way."""
        with _guard:
            held = self._locks.setdefault(self.node.inode, {})
            held.pop(self, None)
            if operation & fcntl.LOCK_UN:
                return
            alone = bool(operation & fcntl.LOCK_EX)
            if any(alone or other for other in held.values()):
                raise BlockingIOError(errno.EWOULDBLOCK, "locked by another descriptor")
            held[self] = alone

    def release(self) -> None:
        """The descriptor is closed."""
        self.flock(fcntl.LOCK_UN)


class RamDisk(Disk):
    """Files below one path in memory; everywhere else the real disk, where exports are written. Durable is nothing."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._files: dict[str, _Node] = {}
        self._folders: set[str] = {root}
        self._open: dict[int, _Open] = {}
        self._locks: dict[int, dict[_Open, bool]] = {}
        _disks[root] = self

    def free(self) -> None:
        """Give all memory back. Nothing can be opened any more."""
        with _guard:
            _disks.pop(self.root, None)
            free(self.root)
            for fd in self._open:
                disks.VIRTUAL.pop(fd, None)
            for held in (self._files, self._folders, self._open, self._locks):
                held.clear()

    def _mine(self, path: str) -> bool:
        return path == self.root or path.startswith(f"{self.root}/")

    # -- files -------------------------------------------------------------------------------------------------------

    def create(self, path: str) -> int:
        """As Disk's."""
        if not self._mine(path):
            return super().create(path)
        with _guard:
            self._demand_folder(path)
            if path in self._files or path in self._folders:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            self._files[path] = _Node()
            return self._opened(self._files[path])

    def open_read(self, path: str) -> int:
        """As Disk's. A database is read as the file that it would be."""
        if not self._mine(path):
            return super().open_read(path)
        with _guard:
            found = _databases.get(path)
            if found is not None:
                return self._opened(_Node(bytearray(found.image())))
            if path in self._folders:
                raise StorageIOError(f"{path} is not a regular file", path=path, operation="open", errno=errno.EINVAL)
            return self._opened(self._node(path))

    def open_append(self, path: str) -> int:
        """As Disk's."""
        if not self._mine(path):
            return super().open_append(path)
        with _guard:
            try:
                self._demand_folder(path)
            except FileNotFoundError as error:
                raise StorageIOError(
                    f"the folder of {path} is gone", path=path, operation="open", errno=errno.ENOENT
                ) from error
            return self._opened(self._files.setdefault(path, _Node()), appends=True)

    def close(self, fd: int) -> None:
        """As Disk's."""
        if fd < disks.FIRST_VIRTUAL:
            super().close(fd)
            return
        with _guard:
            self._open.pop(fd).release()
            disks.VIRTUAL.pop(fd, None)

    def write(self, fd: int, data: bytes | bytearray | memoryview, path: str) -> None:
        """As Disk's: files are only ever appended to."""
        if fd < disks.FIRST_VIRTUAL:
            super().write(fd, data, path)
            return
        with _guard:
            node = self._open[fd].node
            node.data += data
            node.modified_ns = time.time_ns()

    def overwrite(self, path: str, data: bytes, offset: int) -> None:
        """As Disk's."""
        if not self._mine(path):
            super().overwrite(path, data, offset)
            return
        with _guard:
            held = self._node(path).data
            held.extend(b"\0" * (offset - len(held)))
            held[offset : offset + len(data)] = data

    def pread(self, fd: int, length: int, offset: int, path: str) -> bytes:
        """As Disk's."""
        if fd < disks.FIRST_VIRTUAL:
            return super().pread(fd, length, offset, path)
        with _guard:
            return bytes(memoryview(self._open[fd].node.data)[offset : offset + length])

    def size(self, fd: int) -> int:
        """As Disk's."""
        return super().size(fd) if fd < disks.FIRST_VIRTUAL else len(self._open[fd].node.data)

    def fsync(self, fd: int, path: str) -> None:
        """Nothing to do in memory."""
        if fd < disks.FIRST_VIRTUAL:
            super().fsync(fd, path)

    def fsync_dir(self, path: str) -> None:
        """Nothing to do in memory."""
        if not self._mine(path):
            super().fsync_dir(path)

    def sync_filesystem(self, path: str) -> None:
        """Nothing to do in memory."""
        if not self._mine(path):
            super().sync_filesystem(path)

    def reserve(self, fd: int, offset: int, length: int, path: str) -> None:
        """Nothing to do in memory."""
        if fd < disks.FIRST_VIRTUAL:
            super().reserve(fd, offset, length, path)

    # -- names -------------------------------------------------------------------------------------------------------

    def link(self, source: str, target: str) -> None:
        """As Disk's."""
        if not self._mine(source):
            super().link(source, target)
            return
        with _guard:
            self._demand_folder(target)
            if target in self._files or target in self._folders:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
            self._files[target] = self._node(source)
            self._files[target].links += 1

    def unlink(self, path: str) -> None:
        """As Disk's; a database that lies there goes too."""
        if not self._mine(path):
            super().unlink(path)
            return
        with _guard:
            if path in _databases:
                free(path)
                return
            self._node(path).links -= 1
            del self._files[path]

    def rename(self, source: str, target: str) -> None:
        """As Disk's."""
        if not self._mine(source):
            super().rename(source, target)
            return
        with _guard:
            self._demand_folder(target)
            self._files[target] = self._node(source)
            if source != target:
                del self._files[source]

    def set_time(self, path: str, time_us: int) -> None:
        """As Disk's."""
        if not self._mine(path):
            super().set_time(path, time_us)
            return
        self._node(path).modified_ns = time_us * 1000

    def mkdir(self, path: str) -> bool:
        """As Disk's."""
        if not self._mine(path):
            return super().mkdir(path)
        with _guard:
            self._demand_folder(path)
            if path in self._files:
                raise StorageIOError(f"{path} is not a folder", path=path, operation="make folder", errno=errno.ENOTDIR)
            made = path not in self._folders
            self._folders.add(path)
            return made

    def rmdir(self, path: str) -> None:
        """As Disk's."""
        if not self._mine(path):
            super().rmdir(path)
            return
        with _guard:
            if path not in self._folders:
                raise _absent(path)
            if self.listdir(path):
                raise StorageIOError(
                    f"{path} is not empty", path=path, operation="remove folder", errno=errno.ENOTEMPTY
                )
            self._folders.discard(path)

    def stat(self, path: str) -> os.stat_result | None:
        """As Disk's."""
        if not self._mine(path):
            return super().stat(path)
        with _guard:
            if path in self._folders:
                return _facts(flags.S_IFDIR | 0o755, 1, 0, 0, 2)
            if path in _databases:
                return _facts(flags.S_IFREG | 0o644, 2, _databases[path].size_bytes(), 0, 1)
            node = self._files.get(path)
            return None if node is None else node.facts()

    def listdir(self, path: str) -> list[str]:
        """As Disk's."""
        if not self._mine(path):
            return super().listdir(path)
        start = f"{path}/"
        with _guard:
            below = itertools.chain(self._files, self._folders, _databases)
            names = {one[len(start) :] for one in below if one.startswith(start)}
        return sorted(name for name in names if "/" not in name)

    def read_file(self, path: str, limit: int) -> bytes:
        """As Disk's."""
        if not self._mine(path):
            return super().read_file(path, limit)
        with _guard:
            data = bytes(self._node(path).data)
        if len(data) > limit:
            raise StorageIOError(f"{path} is larger than {limit} bytes", path=path, operation="read", errno=errno.EFBIG)
        return data

    # -- how ---------------------------------------------------------------------------------------------------------

    def _opened(self, node: _Node, *, appends: bool = False) -> int:
        fd = next(_descriptors)
        self._open[fd] = disks.VIRTUAL[fd] = _Open(node, self._locks, appends=appends)
        return fd

    def _node(self, path: str) -> _Node:
        try:
            return self._files[path]
        except KeyError:
            raise _absent(path) from None

    def _demand_folder(self, path: str) -> None:
        if os.path.dirname(path) not in self._folders and path != self.root:
            raise _absent(path)


def _absent(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _facts(mode: int, inode: int, size: int, modified_ns: int, links: int) -> os.stat_result:
    seconds = modified_ns // 1_000_000_000
    exact: dict[str, Any] = {}
    for name in ("atime", "mtime", "ctime"):
        exact |= {f"st_{name}": modified_ns / 1e9, f"st_{name}_ns": modified_ns}
    return os.stat_result((mode, inode, 0, links, os.getuid(), os.getgid(), size, seconds, seconds, seconds), exact)
