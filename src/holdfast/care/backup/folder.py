"""A folder as a place for backups: generations share files by hard links, or are cloned where there are none."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat as flags
from collections.abc import Iterable, Iterator

from holdfast.care.backup.destination import Destination
from holdfast.disk import Disk
from holdfast.engine.locks import FileLock
from holdfast.errors import BackupDamagedError, StorageIOError, StoreError
from holdfast.formats import generation

_BLOCK = 1 << 20


class Folder(Destination):
    """A folder of this machine. It is made, with those above it, when it is held for the first time."""

    def __init__(self, root: str, disk: Disk | None = None) -> None:
        self.root = os.path.abspath(root)
        self._disk = disk or Disk()
        self._made: set[str] = set()
        self._lock: FileLock | None = None

    @property
    def where(self) -> str:
        """Its path."""
        return self.root

    @contextlib.contextmanager
    def hold(self, wait_s: float) -> Iterator[None]:
        """Lock the file `lock` in it; the lock ends with the process."""
        self._folder(self.root)
        lock = FileLock(os.path.join(self.root, generation.LOCK))
        try:
            lock.acquire(shared=False, wait_s=wait_s)
            lock.sign("backing up")
            yield
        finally:
            lock.close()

    def is_empty(self) -> bool:
        """The lock does not count, nor what a killed `put` left."""
        names = self._disk.listdir(self.root)
        return all(name == generation.LOCK or name.startswith(f"{generation.MARKER}.") for name in names)

    def read(self, name: str) -> bytes | None:
        """Of up to MOST_BYTES."""
        try:
            return self._disk.read_file(self._path(name), generation.MOST_BYTES)
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Written beside, synced, renamed."""
        path = self._path(name)
        self._folder(os.path.dirname(path))
        temporary = f"{path}.{secrets.token_hex(8)}.tmp"
        fd = self._disk.create(temporary)
        try:
            self._disk.write(fd, data, temporary)
            self._disk.fsync(fd, temporary)
        finally:
            self._disk.close(fd)
        self._disk.rename(temporary, path)
        self._disk.fsync_dir(os.path.dirname(path))

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        """Never into the file that has the name: another generation may share it."""
        path = self._path(name)
        fd = self._fresh(path)
        try:
            for block in blocks:
                self._disk.write(fd, block, path)
        finally:
            self._disk.close(fd)

    def folder(self, name: str) -> None:
        """Made if it is not there."""
        self._folder(self._path(name))

    def share(self, name: str, second: str) -> bool:
        """By a hard link; where the file system has none, by a copy."""
        path, target = self._path(name), self._path(second)
        for _ in range(3):
            try:
                self._disk.link(path, target)
            except FileNotFoundError:
                if self._disk.stat(path) is None:
                    return False
                self._folder(os.path.dirname(target))
            except FileExistsError:
                self._disk.unlink(target)
            except StoreError:
                break  # no links here, or the file has too many
            else:
                return True
        self.write(second, self.blocks(name))
        return True

    def settle(self) -> None:
        """One call for all files of the file system."""
        self._disk.sync_filesystem(self.root)

    def blocks(self, name: str) -> Iterator[bytes]:
        """In pieces of 1 MiB."""
        path = self._path(name)
        try:
            fd = self._disk.open_read(path)
        except FileNotFoundError as error:
            raise BackupDamagedError(f"{path} is missing", path=name, reason="missing") from error
        try:
            offset = 0
            while block := self._disk.pread(fd, _BLOCK, offset, path):
                yield block
                offset += len(block)
        finally:
            self._disk.close(fd)

    def size(self, name: str) -> int | None:
        """Of a regular file; anything else is none."""
        facts = self._disk.stat(self._path(name))
        return facts.st_size if facts is not None and flags.S_ISREG(facts.st_mode) else None

    def names(self, prefix: str) -> Iterator[str]:
        """Walked folder by folder."""
        for one in self.here(prefix):
            name = f"{prefix}/{one}" if prefix else one
            facts = self._disk.stat(self._path(name))
            if facts is not None and flags.S_ISDIR(facts.st_mode):
                yield from self.names(name)
            elif facts is not None:
                yield name

    def here(self, prefix: str) -> list[str]:
        """Sorted; nothing if there is no such folder."""
        return self._disk.listdir(self._path(prefix))

    def remove(self, name: str) -> None:
        """Files first, then their folders."""
        path = self._path(name)
        facts = self._disk.stat(path)
        if facts is None:
            return
        if not flags.S_ISDIR(facts.st_mode):
            with contextlib.suppress(FileNotFoundError):
                self._disk.unlink(path)
            return
        for one in self._disk.listdir(path):
            self.remove(f"{name}/{one}")
        self._disk.rmdir(path)
        self._made.discard(path)

    def local(self, name: str) -> str:
        """Its path; the folder that it is in is there."""
        path = self._path(name)
        self._folder(os.path.dirname(path))
        return path

    def same(self, name: str, second: str) -> bool:
        """One inode."""
        one, other = self._disk.stat(self._path(name)), self._disk.stat(self._path(second))
        return one is not None and other is not None and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)

    def move(self, name: str, second: str) -> None:
        """A file or folder gets another name, at once; not a thing that a destination has to be able to do."""
        path = self._path(second)
        self._folder(os.path.dirname(path))
        self._disk.rename(self._path(name), path)
        self._disk.fsync_dir(os.path.dirname(path))

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def _fresh(self, path: str) -> int:
        for _ in range(3):
            try:
                return self._disk.create(path)
            except FileNotFoundError:
                self._folder(os.path.dirname(path))
            except FileExistsError:
                self._disk.unlink(path)
        raise StorageIOError(f"cannot create {path}", path=path, operation="create", errno=0)

    def _folder(self, path: str) -> None:
        if path in self._made:
            return
        above = os.path.dirname(path)
        if self._disk.stat(above) is None:
            self._folder(above)
        if self._disk.mkdir(path):
            self._disk.fsync_dir(above)
        self._made.add(path)
