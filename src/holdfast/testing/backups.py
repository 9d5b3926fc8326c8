"""A place for backups in memory: what an object store would be, to prove that nothing but the protocol is relied on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

from holdfast.care.backup import Destination
from holdfast.errors import BackupDamagedError, LockedError

_BLOCK = 1 << 16


class Memory(Destination):
    """Bytes by name. `calls`: how many there were of each; nothing in it is on this machine's disk."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.durable: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """A name."""
        return "memory:"

    @contextlib.contextmanager
    def hold(self, wait_s: float) -> Iterator[None]:
        """One at a time."""
        if not self._lock.acquire(timeout=wait_s):
            raise LockedError("held", lock=self.where, holder=None, waited_s=wait_s)
        try:
            yield
        finally:
            self._lock.release()

    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not self.files

    def read(self, name: str) -> bytes | None:
        """A file whole."""
        return self.files.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Durable at once."""
        self.files[name] = self.durable[name] = bytes(data)

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        """In place of what was there."""
        self.files[name] = b"".join(map(bytes, blocks))

    def folder(self, name: str) -> None:
        """There are none."""

    def share(self, name: str, second: str) -> bool:
        """The same bytes."""
        if name in self.files:
            self.files[second] = self.files[name]
        return name in self.files

    def settle(self) -> None:
        """What is there now survives `lose_power`."""
        self.durable = dict(self.files)

    def lose_power(self) -> None:
        """Only what was made durable is left."""
        self.files = dict(self.durable)

    def blocks(self, name: str) -> Iterator[bytes]:
        """In pieces."""
        data = self.files.get(name)
        if data is None:
            raise BackupDamagedError(f"{name} is missing", path=name, reason="missing")
        for start in range(0, len(data), _BLOCK):
            yield data[start : start + _BLOCK]

    def size(self, name: str) -> int | None:
        """Bytes of a file."""
        return None if name not in self.files else len(self.files[name])

    def names(self, prefix: str) -> Iterator[str]:
        """In order."""
        yield from sorted(name for name in self.files if name.startswith(f"{prefix}/" if prefix else ""))

    def here(self, prefix: str) -> list[str]:
        """In order."""
        start = len(prefix) + 1 if prefix else 0
        return sorted({name[start:].split("/")[0] for name in self.names(prefix)})

    def remove(self, name: str) -> None:
        """Also what is below."""
        for one in [name, *self.names(name)]:
            self.files.pop(one, None)

    def local(self, _name: str) -> None:
        """Nowhere."""
        return

    def same(self, name: str, second: str) -> bool:
        """One object."""
        return name in self.files and self.files[name] is self.files.get(second)
