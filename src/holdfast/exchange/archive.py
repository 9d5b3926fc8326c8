"""Reads a snapshot like a folder: any file of it by its name, and only the frames that the file lies in."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO, Self, cast

from holdfast import disk
from holdfast.errors import HoldfastError, InvalidValueError, SourceUnreadableError
from holdfast.exchange.ground import Steps, shown
from holdfast.formats import frame, snapshot
from holdfast.formats.snapshot import END, FRAME, Member

_CACHED = 4
"""Frames that are kept decompressed."""

MOST_LIST_BYTES = 1 << 28
FREE_BYTES, RATIO = 1 << 30, 200
"""What claims to be larger than the first, and than so many times the file, is taken for a trap unless one insists."""


class Archive:
    """A snapshot, open for reading. Use it in a `with`. Memory: some hundred bytes for each file in it."""

    def __init__(self, path: str, *, most_bytes: int | None = None) -> None:
        """InvalidValueError if it is no sound snapshot or too large, FormatTooNewError, SourceUnreadableError."""
        self.top = path
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise SourceUnreadableError(
                f"{path} cannot be read: {error.strerror}", path=path, errno=error.errno
            ) from error
        try:
            self._read_tail(most_bytes)
        except BaseException:
            self._file.close()
            raise

    def _read_tail(self, most_bytes: int | None) -> None:
        size = os.fstat(self._file.fileno()).st_size
        self.file_bytes = size
        length = snapshot.table_bytes(self._end(size, snapshot.FOOT_BYTES))
        allowed = max(FREE_BYTES, RATIO * size) if most_bytes is None else most_bytes
        claimed = snapshot.most_tar_bytes(length)
        if claimed > allowed + FRAME:  # before anything is read or made room for
            raise snapshot.wrong(f"it would be {claimed} bytes, which is more than {allowed} (--max-bytes)")
        table = self._end(size, length)
        stored = snapshot.frames_of(table)
        places = [*accumulate(stored, initial=0)]
        rest = size - len(table) - places[-1]
        if not 0 < rest <= MOST_LIST_BYTES:
            raise snapshot.wrong("there is no list of what is in it")
        self.tail = snapshot.decode_tail(self._at(places[-1], rest), table, stored)
        self._places = places
        self._frames: OrderedDict[int, bytes] = OrderedDict()
        self._members: dict[bytes, Member] = {}
        self._folders: dict[Steps, set[bytes]] = {(): set()}
        for one in snapshot.members(self.tail):
            self._take(one)

    def _take(self, one: Member) -> None:
        steps = tuple(one.path.split(b"/"))
        if one.path in self._members or steps in self._folders:
            raise snapshot.wrong(f"{snapshot.shown(one.path)}: it is there twice")
        for depth in range(len(steps)):
            if b"/".join(steps[:depth]) in self._members:
                raise snapshot.wrong(f"{snapshot.shown(one.path)}: it lies in a file")
            self._folders.setdefault(steps[:depth], set()).add(steps[depth])
        self._members[one.path] = one

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def members(self) -> Iterator[Member]:
        """Everything in it, in order."""
        return iter(self._members.values())

    # -- as a folder ---------------------------------------------------------------------------------------------------

    def names(self, steps: Steps) -> list[bytes]:
        """The names in a folder; FileNotFoundError if there is none."""
        if steps not in self._folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown(steps))
        return sorted(self._folders[steps])

    def look(self, steps: Steps, name: bytes) -> os.stat_result | None:
        """What is at a place: a file with its size, a folder, or None."""
        found = self._members.get(b"/".join((*steps, name)))
        if found is not None:
            return os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, found.size, 0, 0, 0))
        folder = (*steps, name) in self._folders
        return os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0)) if folder else None

    def digest(self, steps: Steps, name: bytes) -> str:
        """The digest of a file, of the bytes that are there; "" if they cannot be read."""
        total = hashlib.sha256()
        try:
            with self.open(steps, name) as file:
                while piece := file.read(FRAME):
                    total.update(piece)
        except HoldfastError:
            return ""
        return "sha256:" + total.hexdigest()

    def open(self, steps: Steps, name: bytes) -> BinaryIO:
        """A file for reading. SourceUnreadableError."""
        found = self._members.get(b"/".join((*steps, name)))
        if found is None:
            where = shown((*steps, name))
            raise SourceUnreadableError(f"{where!r} is not in the snapshot", path=where, errno=errno.ENOENT)
        return cast("BinaryIO", io.BufferedReader(_Part(self, found), FRAME))

    def read(self, steps: Steps, name: bytes, limit: int) -> bytes | None:
        """The first bytes of a file; None if there is nothing."""
        if b"/".join((*steps, name)) not in self._members:
            return None
        with self.open(steps, name) as file:
            return file.read(limit)

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def prove(self) -> None:
        """That the tar is what the list says, header by header: other tools see the same. InvalidValueError."""
        at = 0
        for one in self.members:
            if self.tar(at, one.offset - at) != snapshot.header(one.path, one.size):
                raise snapshot.wrong(f"{snapshot.shown(one.path)}: the tar has something else in its place")
            if any(self.tar(one.offset + one.size, one.end - one.offset - one.size)):
                raise snapshot.wrong(f"{snapshot.shown(one.path)}: something is hidden behind it")
            at = one.end
        if self.tar(at, len(END)) != END:
            raise snapshot.wrong("the tar does not end where the list says")

    def tar(self, offset: int, size: int) -> bytes:
        """Bytes of the tar. SourceUnreadableError."""
        found = []
        while size > 0:
            data = self._frame(offset // FRAME)
            piece = data[offset % FRAME : offset % FRAME + size]
            if not piece:
                raise self._damaged(offset // FRAME)
            found.append(piece)
            offset, size = offset + len(piece), size - len(piece)
        return b"".join(found)

    def _frame(self, number: int) -> bytes:
        data = self._frames.get(number)
        if data is not None:
            self._frames.move_to_end(number)
            return data
        if number >= len(self._places) - 1:
            raise self._damaged(number)
        stored = self._at(self._places[number], self._places[number + 1] - self._places[number])
        wanted = min(FRAME, self.tail.tar_bytes - number * FRAME)
        try:
            if frame.head(stored)[0] != wanted:  # before room is made for what it claims
                raise self._damaged(number)
            data = frame.decode(stored)
        except InvalidValueError:
            raise
        except HoldfastError as error:
            raise self._damaged(number) from error
        self._frames[number] = data
        if len(self._frames) > _CACHED:
            self._frames.popitem(last=False)
        return data

    def _damaged(self, number: int) -> InvalidValueError:
        return snapshot.wrong(f"its frame {number} is damaged")

    def _end(self, size: int, length: int) -> bytes:
        return self._at(size - length, length) if length <= size else b""

    def _at(self, place: int, length: int) -> bytes:
        with disk.typed("read", self.top):
            data = os.pread(self._file.fileno(), length, place)
            while len(data) < length and (more := os.pread(self._file.fileno(), length - len(data), place + len(data))):
                data += more
        return data


class _Part(io.RawIOBase):
    """One member of the tar."""

    def __init__(self, archive: Archive, member: Member) -> None:
        super().__init__()
        self._archive = archive
        self._at = member.offset
        self._end = member.offset + member.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        count = min(len(view), self._end - self._at, FRAME - self._at % FRAME)
        if count <= 0:
            return 0
        view[:count] = self._archive.tar(self._at, count)
        self._at += count
        return count
