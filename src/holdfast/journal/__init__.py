"""The journal: the chain as plain JSON lines, in segments that are appended to, then sealed.

A segment is named after its first seq. It is never renamed, cut or replaced: a torn append is left behind, readers
step over it. Sealing makes a compressed successor beside a full segment; the old file goes after the grace period.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator

from holdfast.disk import Disk, fstat
from holdfast.errors import HoldfastError, NoSpaceError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Garbage, Located, Rough
from holdfast.journal import segment
from holdfast.values.change import Head, Transaction

SEGMENT_BYTES = 4 << 20
RESERVE_BYTES = 1 << 20
SYNC_BYTES = 8 << 20
_ENTRY_TAIL = 128  # holds the end of an entry line: the hash and the salt


class Journal:
    """The journal of one store. Appends happen under the writer lock; reads at any time."""

    def __init__(self, root: str, disk: Disk, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._root = root
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._sync_guard = threading.Lock()
        self._fd: int | None = None
        self._open_path = ""
        self._reserved_to = 0
        self._appended = 0
        self._synced = 0
        self._end = self._inode = 0

    # -- reading -----------------------------------------------------------------------------------------------------

    def segments(self) -> list[tuple[int, bool, str]]:
        """(first seq, sealed, absolute path) of every segment file, in order; a sealed one before its origin."""
        folder = os.path.join(self._root, paths.JOURNAL)
        found = [(parsed, name) for name in self._disk.listdir(folder) if (parsed := paths.parse_segment(name))]
        return sorted(((first, sealed, os.path.join(folder, name)) for (first, sealed), name in found),
                      key=lambda s: (s[0], not s[1]))  # fmt: skip

    def blocks(self, path: str) -> Iterator[bytes]:
        """The bytes of a segment in blocks; ChainBrokenError if a sealed one does not decompress whole."""
        return segment.blocks(self._disk, path)

    def scan(self, from_seq: int = 1) -> Iterator[tuple[str, Located | Garbage]]:
        """(path, transaction or garbage) of all segments that may hold changes from `from_seq` on, in order.

        Where a segment stands both sealed and plain, the plain one is read only if the sealed one is damaged.
        """
        segments = self.segments()
        firsts = sorted({first for first, _, _ in segments})
        start = max((f for f in firsts if f <= from_seq), default=0)
        for first in firsts:
            if first >= start:
                yield from self._scan_segment([path for f, _, path in segments if f == first])

    def _scan_segment(self, candidates: list[str]) -> Iterator[tuple[str, Located | Garbage]]:
        for path in candidates[:-1]:
            if self._whole(path):
                candidates = [path]
                break
        yield from ((candidates[-1], item) for item in lines.scan(self.blocks(candidates[-1])))

    def of_segment(self, first: int) -> Iterator[Transaction]:
        """The transactions of one segment."""
        files = [path for f, _, path in self.segments() if f == first]
        for _, item in self._scan_segment(files):
            if isinstance(item, Located):
                yield item.transaction

    def rough(self) -> Iterator[Rough]:
        """The lines of all segments in groups, nothing verified: to say what is wrong where `scan` cannot."""
        segments = self.segments()
        for first in sorted({first for first, _, _ in segments}):
            paths_of = [path for f, _, path in segments if f == first]
            chosen = next((path for path in paths_of[:-1] if self._whole(path)), paths_of[-1])
            yield from lines.rough(self.blocks(chosen))

    def _whole(self, path: str) -> bool:
        try:
            return all(isinstance(item, Located) for item in lines.scan(self.blocks(path)))
        except HoldfastError:
            return False

    def ends_with(self, head: Head) -> bool:
        """Whether the last line is the entry that `head` names: the check before each write, a few microseconds."""
        if self._fd is not None and self._end < self._segment_bytes and not self._moved():
            tail = self._tail(self._fd, self._open_path)
        else:
            segments = self.segments()
            if not segments or segments[-1][1]:
                return False
            fd = segment.opened(self._disk, segments[-1][2])
            try:
                tail = self._tail(fd, segments[-1][2])
            finally:
                self._disk.close(fd)
        return _closes(tail, head)

    def is_as_left(self) -> bool:
        """Whether the last line is what was appended here last, as far as the file's length tells."""
        return self._fd is not None and self._end < self._segment_bytes and not self._moved()

    def follow(self, head: Head) -> bool:
        """Whether the segment that is open here ends with `head`, whoever has appended to it: then this goes on there.

        Under the writer lock. False where it cannot be told so quickly: `ends_with` looks for the segment first.
        """
        facts = None if self._fd is None else self._disk.stat(self._open_path)
        if facts is None or facts.st_ino != self._inode or not self._end <= facts.st_size < self._segment_bytes:
            return False
        assert self._fd is not None
        is_so = _closes(self._tail(self._fd, self._open_path), head)
        if is_so:
            self._end = facts.st_size
        return is_so

    def is_open(self) -> bool:
        """Whether a segment is open here to be appended to."""
        return self._fd is not None

    def _tail(self, fd: int, path: str) -> bytes:
        return self._disk.pread(fd, _ENTRY_TAIL, max(0, self._disk.size(fd) - _ENTRY_TAIL), path)

    def head(self) -> Head | None:
        """The end of the journal's chain as its last whole transaction shows it; None if there is none."""
        for _, _, path in reversed(self.segments()):
            head = self._last(path)
            if head is not None:
                return head
        return None

    def _last(self, path: str) -> Head | None:
        if path.endswith(".zst"):
            return _last_of(lines.scan(self.blocks(path)))
        fd = segment.opened(self._disk, path)
        try:
            size, tail = self._disk.size(fd), 1 << 16
            while True:
                start = max(0, size - tail)
                data = self._disk.pread(fd, size - start, start, path)
                head = _last_of(lines.scan([data]))
                # Without a whole transaction in the tail, look further back: it may be longer than the tail.
                if head is not None or start == 0:
                    return head
                tail *= 8
        finally:
            self._disk.close(fd)

    # -- writing -----------------------------------------------------------------------------------------------------

    def prepare(self, first_seq: int, length: int) -> None:
        """Before COMMIT: have the segment open and space for `length` bytes; NoSpaceError if there is none."""
        if self._fd is None or self._moved() or self._end >= self._segment_bytes:
            self._open(first_seq)
        assert self._fd is not None
        if self._end + length > self._reserved_to:
            self._reserved_to = self._end + self._reserve(length)

    def _reserve(self, length: int) -> int:
        """Claim space for many appends; on a disk that is nearly full for this one alone, so that it can be emptied."""
        assert self._fd is not None
        for wanted in (max(length, RESERVE_BYTES), length):
            try:
                self._disk.reserve(self._fd, self._end, wanted, self._open_path)
            except NoSpaceError:
                if wanted == length:
                    raise
            else:
                return wanted
        return length

    def _moved(self) -> bool:
        """Whether another handle has written since, or the file is not there any more."""
        facts = self._disk.stat(self._open_path)
        return facts is None or facts.st_ino != self._inode or facts.st_size != self._end

    def _open(self, first_seq: int) -> None:
        self.release()
        segments = self.segments()
        path = os.path.join(self._root, paths.segment_file(first_seq))
        fresh = True
        sealed = {first for first, is_sealed, _ in segments if is_sealed}
        if segments and segments[-1][0] not in sealed:  # what is behind a sealed one would not be read
            facts = self._disk.stat(segments[-1][2])
            if facts is not None and facts.st_size < self._segment_bytes:
                path, fresh = segments[-1][2], False
        self._fd = self._disk.open_append(path)
        self._open_path = path
        facts = fstat(self._fd)
        self._end, self._inode = facts.st_size, facts.st_ino
        self._reserved_to = 0
        if fresh:
            self._disk.fsync_dir(os.path.dirname(path))
            if segments and not segments[-1][1]:
                # Whoever wrote it: only the last segment may hold bytes that a power loss can take.
                self._sync_file(segments[-1][2])
        else:
            self._end += self._end_line(self._fd, path, self._end)

    def end_torn_line(self) -> None:
        """Before the journal's end is looked for: a torn append gets its newline, so that readers can step over it.

        Nothing is cut off. It may have lacked nothing but the newline, and be whole now. Under the writer lock.
        """
        segments = self.segments()
        if segments and not segments[-1][1]:
            path = segments[-1][2]
            fd = self._disk.open_append(path)
            try:
                self._end_line(fd, path, self._disk.size(fd))
            finally:
                self._disk.close(fd)

    def _end_line(self, fd: int, path: str, size: int) -> int:
        if size == 0 or self._disk.pread(fd, 1, size - 1, path) == b"\n":
            return 0
        self._disk.write(fd, b"\n", path)
        return 1

    def append(self, data: bytes) -> None:
        """After COMMIT: the same bytes again. In the page cache when it returns; `sync` makes them durable."""
        assert self._fd is not None
        self._disk.write(self._fd, data, self._open_path)
        self._end += len(data)
        self._appended += len(data)

    def sync_if_due(self) -> None:
        """`sync` if that much was appended since that a power loss should not take it."""
        if self.unsynced_bytes >= SYNC_BYTES:
            self.sync()

    @property
    def unsynced_bytes(self) -> int:
        """Bytes appended by this handle that a power loss could take (the index still has them)."""
        return self._appended - self._synced

    def sync(self) -> None:
        """Make all that this handle appended durable. From any thread."""
        with self._sync_guard:
            target = self._appended
            if self._fd is not None and target > self._synced:
                self._disk.fsync(self._fd, self._open_path)
                self._synced = target

    def settle(self) -> None:
        """Make the last segment durable, whoever has written to it."""
        segments = self.segments()
        if segments and not segments[-1][1]:
            self._sync_file(segments[-1][2])

    def _sync_file(self, path: str) -> None:
        fd = self._disk.open_read(path)
        try:
            self._disk.fsync(fd, path)
        finally:
            self._disk.close(fd)

    def release(self) -> None:
        """Sync and give the open segment back."""
        if self._fd is not None:
            self.sync()
            with self._sync_guard:
                self._disk.close(self._fd)
                self._fd = None

    def drop(self) -> None:
        """After a failed append: trust nothing about the open segment; the next `prepare` looks at it anew."""
        with self._sync_guard:
            if self._fd is not None:
                self._disk.close(self._fd)
                self._fd = None

    def seal(self, tmp_name: str) -> int:
        """Make sealed successors of full segments that have none; how many. Under the writer lock.

        A successor is durable and read back before it gets its name; the plain file stays until `expired`.
        """
        waiting = self.sealable()
        for first, path in waiting:
            target = os.path.join(self._root, paths.segment_file(first, sealed=True))
            segment.seal(self._disk, path, os.path.join(self._root, paths.TMP, tmp_name), target)
        return len(waiting)

    def sealable(self) -> list[tuple[int, str]]:
        """(first seq, path) of whole segments that `seal` would make a successor of: all but the one in use."""
        segments = self.segments()
        sealed = {first for first, is_sealed, _ in segments if is_sealed}
        plain = [(first, path) for first, is_sealed, path in segments if not is_sealed]
        return [(first, path) for first, path in plain[:-1] if first not in sealed and self._whole(path)]

    def expired(self, grace_s: float) -> list[str]:
        """Plain segments whose sealed successor is whole and older than the grace period."""
        segments = self.segments()
        sealed = {first: path for first, is_sealed, path in segments if is_sealed}
        limit = time.time() - grace_s
        return [
            path
            for first, is_sealed, path in segments
            if not is_sealed
            and first in sealed
            and (facts := self._disk.stat(sealed[first])) is not None
            and facts.st_mtime < limit
            and self._whole(sealed[first])
        ]


def _closes(tail: bytes, head: Head) -> bool:
    """Whether some bytes end with the line of the entry that `head` names."""
    return tail.endswith(b'"}\n') and f'"hash":"{head.hash.hex()}"'.encode() in tail


def _last_of(items: Iterable[Located | Garbage]) -> Head | None:
    head = None
    for item in items:
        if isinstance(item, Located):
            head = item.transaction.head
    return head
