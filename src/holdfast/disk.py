"""The only module that asks the operating system for files inside a store.

Everything that blobs, journal and engine do to files goes through a `Disk`, so that a stand-in can record it, fail it
at the Nth call, or drop what was not synced. Two errors pass through unchanged because callers decide by them:
FileNotFoundError and FileExistsError. All others come out as the typed errors of this project.

The index is not reached this way: its files may be opened by SQLite alone (DESIGN, section 3, "SQLite's traps").
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat as stat_flags
import struct
from collections.abc import Callable
from typing import NoReturn, Protocol

from holdfast.errors import NoSpaceError, ReadOnlyError, StorageIOError

_FALLOC_FL_KEEP_SIZE = 1
_libc = ctypes.CDLL(None, use_errno=True)
_WRITE = 2
"""SYNC_FILE_RANGE_WRITE: start writing, wait for nothing."""


def _range_writer() -> Callable[[int, int, int, int], int] | None:
    found = getattr(_libc, "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


_begin_writing = _range_writer()
_advise: Callable[[int, int, int, int], None] | None = getattr(os, "posix_fadvise", None)
_WANTED = getattr(os, "POSIX_FADV_WILLNEED", 0)


def raise_typed(error: OSError, operation: str, path: str) -> NoReturn:
    """Turn an OSError into the typed error that says what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise NoSpaceError(f"no space left to {operation} {path}", path=path) from error
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        raise ReadOnlyError(f"may not {operation} {path}: {error.strerror}", path=path) from error
    raise StorageIOError(
        f"cannot {operation} {path}: {error.strerror or error}", path=path, operation=operation, errno=error.errno
    ) from error


class _Typed:
    """A plain class: a generator would cost three times as much, several times for each small file."""

    __slots__ = ("_operation", "_path")

    def __init__(self, operation: str, path: str) -> None:
        self._operation = operation
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError | FileExistsError):
            raise_typed(error, self._operation, self._path)


def typed(operation: str, path: str) -> _Typed:
    """Errors of the block come out typed, except that a file is or is not there."""
    return _Typed(operation, path)


FIRST_VIRTUAL = 1 << 30
"""Descriptors from here on are of files in memory (`holdfast.ram`); the system gives none so high."""


class Virtual(Protocol):
    """What stands for an open file that the system does not know."""

    def facts(self) -> os.stat_result:
        """As fstat gives them."""

    def flock(self, operation: int) -> None:
        """As flock does; OSError if it is locked."""


VIRTUAL: dict[int, Virtual] = {}


def fstat(fd: int) -> os.stat_result:
    """What is known of an open file."""
    return os.fstat(fd) if fd < FIRST_VIRTUAL else VIRTUAL[fd].facts()


def flock(fd: int, operation: int) -> None:
    """A lock that belongs to the open file, and ends when its descriptor is closed. OSError."""
    if fd < FIRST_VIRTUAL:
        fcntl.flock(fd, operation)
    else:
        VIRTUAL[fd].flock(operation)


class Disk:
    """File operations on real files. Paths are absolute; descriptors are plain integers, closed on exec."""

    def create(self, path: str) -> int:
        """A new file for writing; FileExistsError if there is one."""
        with typed("create", path):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def open_read(self, path: str) -> int:
        """An existing regular file for reading; a folder or device in its place is StorageIOError."""
        with typed("open", path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat_flags.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StorageIOError(f"{path} is not a regular file", path=path, operation="open", errno=errno.EINVAL)
        return fd

    def open_append(self, path: str) -> int:
        """A file that each write extends; made if absent. StorageIOError if its folder is gone."""
        with typed("open", path):
            try:
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except FileNotFoundError as error:
                raise StorageIOError(
                    f"the folder of {path} is gone", path=path, operation="open", errno=errno.ENOENT
                ) from error

    def close(self, fd: int) -> None:
        """Close a descriptor. Nothing becomes durable by it."""
        with typed("close", f"descriptor {fd}"):
            os.close(fd)

    def write(self, fd: int, data: bytes | bytearray | memoryview, path: str) -> None:
        """Write all of `data`, however many calls it takes."""
        try:
            done = os.write(fd, data)
            while done < len(data):
                done += os.write(fd, memoryview(data)[done:])
        except OSError as error:
            raise_typed(error, "write", path)

    def overwrite(self, path: str, data: bytes, offset: int) -> None:
        """Write at a place of a file: for the end of a pack alone, if it is torn or kept elsewhere too."""
        with typed("write", path):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                view = memoryview(data)
                while view:
                    done = os.pwrite(fd, view, offset)
                    view, offset = view[done:], offset + done
            finally:
                os.close(fd)

    def pread(self, fd: int, length: int, offset: int, path: str) -> bytes:
        """Up to `length` bytes at `offset`; fewer only at the end of the file."""
        try:
            data = os.pread(fd, length, offset)
            if len(data) == length or not data:
                return data
            parts = [data]
            got = len(data)
            while got < length:
                data = os.pread(fd, length - got, offset + got)
                if not data:
                    break
                parts.append(data)
                got += len(data)
            return b"".join(parts)
        except OSError as error:
            raise_typed(error, "read", path)

    def size(self, fd: int) -> int:
        """Bytes of an open file."""
        return os.fstat(fd).st_size

    def begin_writing(self, fd: int, offset: int, length: int) -> None:
        """Ask the system to begin to write a part of a file, so that the sync at its end finds less to do.

        A hint, by Linux's `sync_file_range`: it says nothing of errors, takes none away from the sync, which tells of
        them, and makes nothing durable.
        """
        if _begin_writing is not None and fd < FIRST_VIRTUAL:
            _begin_writing(fd, offset, length, _WRITE)

    def begin_reading(self, fd: int, offset: int, length: int) -> None:
        """Ask the system to read a part of a file ahead, with length 0 to its end. A hint, which never fails."""
        if _advise is not None and fd < FIRST_VIRTUAL:
            with contextlib.suppress(OSError):
                _advise(fd, offset, length, _WANTED)

    def fsync(self, fd: int, path: str) -> None:
        """Make the file's bytes and length durable. Never called again on a file where it failed."""
        with typed("sync", path):
            os.fdatasync(fd) if hasattr(os, "fdatasync") else os.fsync(fd)

    def fsync_dir(self, path: str) -> None:
        """Make the names in a folder durable."""
        with typed("sync folder", path):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def sync_filesystem(self, path: str) -> None:
        """Make everything written so far on the file system of `path` durable (one call for a batch of files).

        Linux reports write-back errors here since 5.8; elsewhere each file is synced on its own by the caller.
        """
        with typed("sync file system of", path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.syncfs(fd) != 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code), path)
            finally:
                os.close(fd)

    def reserve(self, fd: int, offset: int, length: int, path: str) -> None:
        """Claim disk space for bytes to come without changing the file's length; NoSpaceError if there is none.

        Where the file system cannot do it, nothing happens: the append itself then finds out.
        """
        if not hasattr(_libc, "fallocate"):
            return
        call = _libc.fallocate
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
        while call(fd, _FALLOC_FL_KEEP_SIZE, offset, length) != 0:
            code = ctypes.get_errno()
            if code == errno.EINTR:
                continue
            if code in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise_typed(OSError(code, os.strerror(code), path), "reserve space in", path)
            return

    def link(self, source: str, target: str) -> None:
        """A second name for a file; FileExistsError if the name is taken."""
        with typed("link", target):
            os.link(source, target, follow_symlinks=False)

    def unlink(self, path: str) -> None:
        """Remove a name; FileNotFoundError if it is gone."""
        with typed("remove", path):
            os.unlink(path)

    def rename(self, source: str, target: str) -> None:
        """Move a file of no acknowledged record (quarantine, first write of the marker); replaces `target`."""
        with typed("rename", target):
            os.rename(source, target)

    def set_time(self, path: str, time_us: int) -> None:
        """Say when a file was modified last: for files that are waiting to be removed. Not synced."""
        with typed("set the time of", path):
            os.utime(path, ns=(time_us * 1000, time_us * 1000), follow_symlinks=False)

    def mkdir(self, path: str) -> bool:
        """Make one folder; False if it was there."""
        try:
            with typed("make folder", path):
                os.mkdir(path, 0o755)
        except FileExistsError:
            if not os.path.isdir(path):
                raise StorageIOError(
                    f"{path} is not a folder", path=path, operation="make folder", errno=errno.ENOTDIR
                ) from None
            return False
        return True

    def rmdir(self, path: str) -> None:
        """Remove an empty folder; FileNotFoundError if it is gone."""
        with typed("remove folder", path):
            os.rmdir(path)

    def stat(self, path: str) -> os.stat_result | None:
        """What is at `path`, links not followed; None if nothing is."""
        try:
            return os.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise_typed(error, "look at", path)

    def listdir(self, path: str) -> list[str]:
        """Names in a folder, sorted; empty if it is not there."""
        try:
            with typed("list", path):
                return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def read_file(self, path: str, limit: int) -> bytes:
        """A small file whole; StorageIOError if it has more than `limit` bytes."""
        fd = self.open_read(path)
        try:
            data = self.pread(fd, limit + 1, 0, path)
        finally:
            os.close(fd)
        if len(data) > limit:
            raise StorageIOError(f"{path} is larger than {limit} bytes", path=path, operation="read", errno=errno.EFBIG)
        return data


# -- file systems ----------------------------------------------------------------------------------------------------

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs"}
)
"""File systems on which locks and syncs may not do what a store relies on."""


def mount_of(path: str) -> tuple[str, list[str]]:
    """(type, options) of the file system that a path is on; "unknown" where the system does not say."""
    path = os.path.realpath(path)
    best, found = "", ("unknown", list[str]())
    with contextlib.suppress(OSError), open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            _, point, kind, options, *_ = line.split(" ")
            point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):
                best, found = point, (kind, options.split(","))
    return found


_AT_FDCWD = -100
_STATX_BTIME = 0x800


def born_ns(path: str) -> int:
    """When a file was made, in nanoseconds, which no copying tool can carry over; 0 where the system does not say.

    A file system gives the inode of a removed file to the next one that is made: without this, a copy that is put into
    a removed store's place can pass for it.
    """
    if not hasattr(_libc, "statx"):
        return 0
    found = ctypes.create_string_buffer(256)
    if _libc.statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found) != 0:
        return 0
    (told,) = struct.unpack_from("=I", found, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", found, 80)
    return int(seconds * 1_000_000_000 + nanoseconds) if told & _STATX_BTIME else 0


def identity(path: str) -> str:
    """What a file-by-file copy cannot carry along: file system, inode, and when the file was made. Only looked at."""
    return f"{os.statvfs(path).f_fsid:x}:{os.stat(path).st_ino:x}:{born_ns(path):x}"


def on_network(path: str) -> bool:
    """Whether a path is on a file system that other machines share: what is shared in memory here is not seen there."""
    return mount_of(path)[0] in NETWORK
