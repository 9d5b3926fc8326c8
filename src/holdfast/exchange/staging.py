"""Files that are being written in a destination: whole and durable under a passing name before they get their own.

A folder `.holdfast-checkout-<16 digits>` at the top holds them, locked by whoever works in it. One that nobody has
locked was left by a process that was killed, and goes when the next one begins.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Callable
from typing import Self

from holdfast import disk
from holdfast.disk import Disk
from holdfast.errors import LockedError
from holdfast.exchange.ground import Ground, rename_new
from holdfast.values.records import FileFacts

_PREFIX = b".holdfast-checkout-"
_OWN = re.compile(re.escape(_PREFIX) + rb"[0-9a-f]{16}")
_NUMBER = re.compile(rb"[0-9]+")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Fill = Callable[[Callable[[bytes], object]], object]
"""Gives content, in pieces, to the function that it is handed."""


class Staging:
    """The folder for one run. Use it in a `with`: what has not got its name goes at the end."""

    def __init__(self, ground: Ground, disk_: Disk, *, watched: bool = False) -> None:
        """`watched`: how each file looked when it was written stands in `own`, by passing name, until it is taken."""
        self._ground = ground
        self._disk = disk_
        self._top = ground.folder(())
        self._count = 0
        self._name = _PREFIX + secrets.token_hex(8).encode()
        self._fd = -1
        self.umask = 0
        self.own: dict[bytes, os.stat_result] = {}
        self._watched = watched

    def __enter__(self) -> Self:
        self._clear_abandoned()
        with disk.typed("make a folder in", self._ground.top):
            os.mkdir(self._name, 0o700, dir_fd=self._top)
            self._fd = os.open(self._name, _FOLDER, dir_fd=self._top)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.umask = self._find_umask()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            _empty(self._fd)
            os.rmdir(self._name, dir_fd=self._top)
        os.close(self._fd)

    def write(self, fill: Fill, file: FileFacts) -> bytes:
        """A new file with content, mode and time; its passing name."""
        name = self._next()
        mode = 0o666 if file.mode is None else file.mode
        with disk.typed("write a file in", self._ground.top):
            fd = os.open(name, _NEW, mode & 0o777, dir_fd=self._fd)
            try:
                fill(_Writer(fd).write)
                if file.mode is not None and (mode & self.umask or mode & ~0o777):
                    os.fchmod(fd, mode)
                if file.mtime_ns is not None:
                    os.utime(fd, ns=(file.mtime_ns, file.mtime_ns))
                if self._watched:
                    self.own[name] = os.fstat(fd)
            finally:
                os.close(fd)
        return name

    def link(self, target: bytes, file: FileFacts) -> bytes:
        """A new symbolic link; its passing name. What it points to is never looked at."""
        name = self._next()
        with disk.typed("make a link in", self._ground.top):
            os.symlink(target, name, dir_fd=self._fd)
            if file.mtime_ns is not None:
                os.utime(name, ns=(file.mtime_ns, file.mtime_ns), dir_fd=self._fd, follow_symlinks=False)
        return name

    def settle(self) -> None:
        """Everything written so far is on disk when this returns: one sync for all of it."""
        self._disk.sync_filesystem(self._ground.top)

    def place(self, passing: bytes, above: int, name: bytes) -> None:
        """Give a file its name if nothing has it; FileExistsError."""
        with disk.typed("name", self._ground.top):
            rename_new((self._fd, passing), (above, name))

    def replace(self, passing: bytes, above: int, name: bytes) -> None:
        """Give a file its name in the place of a file or link that has it."""
        with disk.typed("replace", self._ground.top):
            os.rename(passing, name, src_dir_fd=self._fd, dst_dir_fd=above)

    def drop(self, passing: bytes) -> None:
        """Give up a file that is not to get a name."""
        with contextlib.suppress(FileNotFoundError), disk.typed("remove a file in", self._ground.top):
            os.unlink(passing, dir_fd=self._fd)

    def _next(self) -> bytes:
        self._count += 1
        return b"%d" % self._count

    def _find_umask(self) -> int:
        """By what a new file gets: asking the system for it would change it for all threads."""
        with disk.typed("write a file in", self._ground.top):
            fd = os.open(b"0", _NEW, 0o777, dir_fd=self._fd)
            try:
                found = 0o777 & ~os.fstat(fd).st_mode
            finally:
                os.close(fd)
            os.unlink(b"0", dir_fd=self._fd)
        return found

    def _clear_abandoned(self) -> None:
        with disk.typed("list", self._ground.top):
            names = [name for name in map(os.fsencode, os.listdir(self._top)) if _OWN.fullmatch(name)]
        for name in names:
            with contextlib.suppress(OSError):
                fd = os.open(name, _FOLDER, dir_fd=self._top)
                try:
                    _lock(fd, self._ground.top)
                    if all(_NUMBER.fullmatch(os.fsencode(one)) for one in os.listdir(fd)):
                        _empty(fd)
                        os.rmdir(name, dir_fd=self._top)
                finally:
                    os.close(fd)


def _lock(fd: int, top: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"another checkout is writing to {top}", lock=top, holder="another checkout", waited_s=0.0,
            remedy="Wait until it is done.",
        ) from None  # fmt: skip


def _empty(folder: int) -> None:
    for name in os.listdir(folder):
        os.unlink(name, dir_fd=folder)


def write_new(above: int, name: bytes, fill: Fill) -> os.stat_result:
    """A file in a folder that nobody else looks into; one of this name goes first. How it looks when it is written."""
    try:
        fd = os.open(name, _NEW, 0o666, dir_fd=above)
    except FileExistsError:
        os.unlink(name, dir_fd=above)
        fd = os.open(name, _NEW, 0o666, dir_fd=above)
    try:
        fill(_Writer(fd).write)
        return os.fstat(fd)
    finally:
        os.close(fd)


class _Writer:
    """Writes all of each piece, however many calls it takes."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, piece: bytes) -> None:
        done = os.write(self._fd, piece)
        while done < len(piece):
            done += os.write(self._fd, memoryview(piece)[done:])
