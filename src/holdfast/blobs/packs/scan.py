"""Walks through a pack from header to header, and over what is none: a torn end, a cover, damage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError
from holdfast.formats import frame, pack
from holdfast.formats.pack import Contents, Header
from holdfast.values.frozen import dataclass

_WINDOW = 256 * 1024
_SEARCH = 1 << 20


@dataclass(frozen=True, slots=True)
class Hole:
    """Bytes that no header speaks of, from `offset` on: the rest of a torn append, or damage."""

    offset: int
    length: int
    reason: str


class PackScan:
    """One pass over an open pack. Memory is that of one header and of the positions of all.

    After `parts` is exhausted: `sealed`; `appends`; `content` in bytes; `tail`: where a torn end begins, which is the
    file's size if there is none; `holes`: how many pieces of damage lie before; `covered`: how many old torn ends.
    """

    def __init__(self, disk: Disk, fd: int, *, path: str, name: str) -> None:
        self.path = path
        self.size = self.tail = disk.size(fd)
        self.sealed = False
        self.appends = self.content = self.members = self.holes = self.covered = 0
        self.last: Header | None = None
        self.positions: list[int] = []
        self._proofs = hashlib.sha256()
        self._disk, self._fd = disk, fd
        self._pack = bytes.fromhex(name)
        self._window, self._window_at = b"", 0

    def parts(self) -> Iterator[Header | Hole]:
        """Every append in order, and what lies between them and is neither an append nor covered."""
        at = 0
        while at < self.size:
            try:
                found = self._part(at)
            except BlobDamagedError as error:
                end = self._next_part(at)
                if end == self.size:
                    self.tail = at
                else:
                    self.holes += 1
                yield Hole(at, end - at, error.message)
                at = end
                continue
            if isinstance(found, Header):
                at = found.end
                self._count(found)
                yield found
            elif isinstance(found, Contents):
                self.sealed, at = True, self.size
            else:
                self.covered += 1
                at = found

    def running(self) -> hashlib._Hash:
        """What a table of contents has to say of all headers, to be gone on with."""
        return self._proofs

    def _count(self, header: Header) -> None:
        self.appends += 1
        self.last = header
        self.members += len(header.members)
        self.content = header.before + header.content
        self.positions.append(header.position)
        self._proofs.update(header.proof)

    def _part(self, at: int) -> Header | Contents | int:
        """What begins at a position; for a cover, where it ends. BlobDamagedError if nothing does."""
        head = self._peek(at, pack.HEAD_BYTES)
        if head[:4] == pack.COVER and len(head) >= pack.SKIP_BYTES:
            end = at + pack.length_of(head)
            if end > self.size:
                raise frame.damage("a cover that is longer than the file")
            return end
        if pack.is_contents(head):
            return self._contents(at, head)
        length = pack.announced(head)
        header = pack.decode_header(self._peek(at, length), self._pack, at)
        if header.end > self.size:
            raise frame.damage("an append is cut off")
        return header

    def _contents(self, at: int, head: bytes) -> Contents:
        length = pack.length_of(head)
        if at + length != self.size or length > _SEARCH:
            raise frame.damage("a table of contents that is not the end of the file")
        found = pack.decode_contents(self._peek(at, length), self._pack, at)
        said = found.positions, found.members, found.content, found.proof
        if not self.holes and said != (tuple(self.positions), self.members, self.content, self._proofs.digest()):
            raise frame.damage("the table of contents lists other headers than there are")
        return found

    def _next_part(self, after: int) -> int:
        """Where the next header or table begins behind damage; the file's size if none does."""
        wanted, overlap = pack.TAG + bytes((pack.VERSION,)), pack.HEAD_BYTES
        start = after + 1
        while start < self.size:
            block = self._disk.pread(self._fd, _SEARCH + overlap, start, self.path)
            place = block.find(wanted)
            while 0 <= place < _SEARCH:
                at = start + place - pack.SKIP_BYTES
                if at > after and self._is_part(at):
                    return at
                place = block.find(wanted, place + 1)
            start += _SEARCH
        return self.size

    def _is_part(self, at: int) -> bool:
        self.holes += 1  # a table of contents cannot be compared with headers that are lost
        try:
            return isinstance(self._part(at), Header | Contents)
        except BlobDamagedError:
            return False
        finally:
            self.holes -= 1

    def _peek(self, at: int, length: int) -> bytes:
        """Bytes of the file, fewer at its end; read ahead, because headers lie close together."""
        place = at - self._window_at
        if not (place >= 0 and place + length <= len(self._window)):
            self._window = self._disk.pread(self._fd, max(length, _WINDOW), at, self.path)
            self._window_at, place = at, 0
        return self._window[place : place + length]


def is_sealed(disk: Disk, fd: int, path: str, name: str) -> bool:
    """Whether a table of contents closes a pack, by its last bytes alone."""
    return contents_of(disk, fd, path, name) is not None


def contents_of(disk: Disk, fd: int, path: str, name: str) -> Contents | None:
    """The table of contents that closes a pack, which proves itself but not the headers; None if there is none."""
    size = disk.size(fd)
    foot = disk.pread(fd, 4, max(0, size - 4), path)
    length = int.from_bytes(foot, "little")
    if not pack.HEAD_BYTES < length <= min(size, _SEARCH):
        return None
    try:
        data = disk.pread(fd, length, size - length, path)
        return pack.decode_contents(data, bytes.fromhex(name), size - length)
    except BlobDamagedError:
        return None
