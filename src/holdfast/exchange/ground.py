"""A folder outside the store that is written to: every step down it is taken by a descriptor, and never along a link.

What a name in the store says is never joined to a path that the system walks, so neither a planted link nor a folder
that is exchanged for a link meanwhile leads out of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
from collections import OrderedDict
from enum import StrEnum
from typing import BinaryIO, Protocol, Self

from holdfast import disk
from holdfast.errors import SourceUnreadableError
from holdfast.index.select.contents import Listed
from holdfast.values.records import SYMLINK_MEDIA_TYPE

Steps = tuple[bytes, ...]
"""Names of folders, from the top down."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HELD = 100
"""Folders that are held open; the one that was used longest ago is closed for the next."""

_NOREPLACE = 1
_PIECE = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)


class InTheWayError(Exception):
    """Something other than a folder is where a folder has to be, or the store itself. `code`: file, link or store."""

    def __init__(self, steps: Steps, code: str) -> None:
        super().__init__(code)
        self.steps = steps
        self.code = code


class There(StrEnum):
    """What is at a place already."""

    NOTHING = "nothing"
    SAME = "same"
    OTHER = "other"
    FOLDER = "folder"


class Readable(Protocol):
    """What can be read like a tree of files: a folder, or a snapshot. Links are never followed."""

    top: str

    def names(self, steps: Steps) -> list[bytes]:
        """The names in a folder, in order. FileNotFoundError, InTheWayError."""

    def look(self, steps: Steps, name: bytes) -> os.stat_result | None:
        """What is at a place; None if nothing is."""

    def digest(self, steps: Steps, name: bytes) -> str:
        """The digest of a file; "" if it cannot be read."""

    def open(self, steps: Steps, name: bytes) -> BinaryIO:
        """A file for reading. SourceUnreadableError."""

    def read(self, steps: Steps, name: bytes, limit: int) -> bytes | None:
        """The first bytes of a file; None if there is nothing."""


class Ground:
    """The top folder and those below it. Use it in a `with`."""

    def __init__(self, top: str, store: os.stat_result | None = None) -> None:
        """`store`: what the system says of the store's own folder, which is not stepped into."""
        self.top = top
        self._own = None if store is None else (store.st_dev, store.st_ino)
        with disk.typed("open", top):
            self._root = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: OrderedDict[Steps, int] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (*self._open.values(), self._root):
            os.close(fd)
        self._open.clear()

    def folder(self, steps: Steps) -> int:
        """The descriptor of a folder that is there, good until the next call. FileNotFoundError, InTheWayError."""
        fd = self._open.get(steps)
        if fd is not None:
            self._open.move_to_end(steps)
            return fd
        depth = len(steps)
        while depth and steps[:depth] not in self._open:
            depth -= 1
        fd = self._open[steps[:depth]] if depth else self._root
        for step in range(depth + 1, len(steps) + 1):
            fd = self._keep(steps[:step], self._step(fd, steps[:step]))
        return fd

    def _step(self, above: int, steps: Steps) -> int:
        try:
            fd = os.open(steps[-1], _FOLDER, dir_fd=above)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise InTheWayError(steps, "link" if error.errno == errno.ELOOP else "file") from None
            if isinstance(error, FileNotFoundError):
                raise
            disk.raise_typed(error, "open", shown(steps))
        facts = os.fstat(fd)
        if (facts.st_dev, facts.st_ino) == self._own:
            os.close(fd)
            raise InTheWayError(steps, "store")
        return fd

    def _keep(self, steps: Steps, fd: int) -> int:
        self._open[steps] = fd
        if len(self._open) > _HELD:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def names(self, steps: Steps) -> list[bytes]:
        """The names in a folder, in order. FileNotFoundError, InTheWayError."""
        with disk.typed("list", self.top):
            return sorted(map(os.fsencode, os.listdir(self.folder(steps))))

    def make(self, steps: Steps, mode: int) -> bool:
        """Make one folder below one that is there; False if a folder was there. InTheWayError if something else is."""
        above = self.folder(steps[:-1])
        try:
            with disk.typed("make folder", shown(steps)):
                os.mkdir(steps[-1], mode, dir_fd=above)
        except FileExistsError:
            self.folder(steps)
            return False
        return True

    def forget(self, steps: Steps) -> None:
        """A folder at this place was taken away."""
        fd = self._open.pop(steps, None)
        if fd is not None:
            os.close(fd)

    def look(self, steps: Steps, name: bytes) -> os.stat_result | None:
        """What is at a place, links not followed; None if nothing is. Its folder may be missing too."""
        try:
            return os.stat(name, dir_fd=self.folder(steps), follow_symlinks=False)
        except FileNotFoundError:
            return None

    def digest(self, steps: Steps, name: bytes) -> str:
        """The digest of a regular file; "" if it cannot be read."""
        return _digest_of(name, self.folder(steps))

    def open(self, steps: Steps, name: bytes) -> BinaryIO:
        """A file for reading; SourceUnreadableError if it is none or cannot be read."""
        try:
            fd = os.open(name, _FILE, dir_fd=self.folder(steps))
        except OSError as error:
            where = shown((*steps, name))
            raise SourceUnreadableError(
                f"{where!r} cannot be read: {error.strerror}", path=where, errno=error.errno
            ) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            where = shown((*steps, name))
            raise SourceUnreadableError(f"{where!r} is not a file", path=where, errno=errno.EISDIR)
        return os.fdopen(fd, "rb")

    def read(self, steps: Steps, name: bytes, limit: int) -> bytes | None:
        """The first bytes of a file; None if there is nothing. SourceUnreadableError."""
        facts = self.look(steps, name)
        if facts is None:
            return None
        with self.open(steps, name) as file:
            return file.read(limit)

    def remove_folders(self, steps: Steps) -> None:
        """Remove a folder that has nothing but folders in it; whatever else is there stays."""
        waiting, found = [steps], []
        while waiting:
            folder = waiting.pop()
            try:
                fd = self.folder(folder)
            except (FileNotFoundError, InTheWayError):
                continue
            found.append(folder)
            waiting += [(*folder, os.fsencode(name)) for name in os.listdir(fd)]
        for folder in reversed(found):
            self.forget(folder)
            with contextlib.suppress(OSError):
                os.rmdir(folder[-1], dir_fd=self.folder(folder[:-1]))

    def compare(self, steps: Steps, name: bytes, wanted: Listed) -> There:
        """Whether what is at a place is a revision's content, with its mode; read whole, whatever its time says."""
        facts = self.look(steps, name)
        if facts is None:
            return There.NOTHING
        if stat.S_ISDIR(facts.st_mode):
            return There.FOLDER
        above = self.folder(steps)
        if wanted.media_type == SYMLINK_MEDIA_TYPE:
            same = stat.S_ISLNK(facts.st_mode) and _sha(os.readlink(name, dir_fd=above)) == wanted.digest
        else:
            mode = wanted.file.mode
            alike = stat.S_ISREG(facts.st_mode) and facts.st_size == wanted.size
            alike = alike and (mode is None or stat.S_IMODE(facts.st_mode) == mode)
            same = alike and _digest_of(name, above) == wanted.digest
        return There.SAME if same else There.OTHER


def shown(steps: Steps) -> str:
    """A place below the top, as text for people and reports."""
    return b"/".join(steps).decode("utf-8", "backslashreplace")


def _sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _digest_of(name: bytes, above: int) -> str:
    """Of a file; "" if it cannot be read: then it is not known to be the same."""
    try:
        fd = os.open(name, _FILE, dir_fd=above)
    except OSError:
        return ""
    total = hashlib.sha256()
    try:
        while piece := os.read(fd, _PIECE):
            total.update(piece)
    except OSError:
        return ""
    finally:
        os.close(fd)
    return "sha256:" + total.hexdigest()


def rename_new(source: tuple[int, bytes], target: tuple[int, bytes]) -> None:
    """Give a file its name, in one step, if nothing has it; FileExistsError. Each: (folder's descriptor, name)."""
    if _renameat2 is not None:
        if _renameat2(source[0], source[1], target[0], target[1], _NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code), os.fsdecode(target[1]))
    # A file system that cannot: a second name, then the first one goes.
    os.link(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0], follow_symlinks=False)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(source[1], dir_fd=source[0])
