"""Reads what was found, ahead of the one who commits: small files by the system's own reading ahead, large by threads.

A small file is opened and the system told that it will be wanted; some dozens later it is read, hashed, and staged
with its neighbours by one look at the index, while another thread compresses those before. So no thread waits for the
interpreter, and what goes in does not depend on how many there are. Bytes and open files under way are limited.
"""

from __future__ import annotations

import functools
import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from holdfast.blobs.packs import PACK_UP_TO
from holdfast.engine import content
from holdfast.engine.content import Incoming
from holdfast.engine.cutting import Grown
from holdfast.engine.handle import Handle
from holdfast.errors import SourceError
from holdfast.exchange.walking import Found, Tell
from holdfast.kinds import addresses
from holdfast.kinds.bulk import Item
from holdfast.values import names
from holdfast.values.records import FileFacts

LARGE_READERS = 2
"""Files too large for packs are read by so many threads: each has compressing threads of its own."""

OPEN_AHEAD = 48
"""So many things are under way between the walk and the reading; each small file of them is open."""

AHEAD_BYTES = 16 << 20
TOGETHER_BYTES = 1 << 20
TOGETHER_ITEMS = 1_000
"""Small files are staged together up to so many bytes or items: one look at the index, one append."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_advise: Callable[[int, int, int, int], None] | None = getattr(os, "posix_fadvise", None)
_WANTED = getattr(os, "POSIX_FADV_WILLNEED", 0)


@dataclass(slots=True)
class _Under:
    """A thing under way: an open file, or one that a thread reads, or neither (a folder, a link)."""

    found: Found
    weight: int
    fd: int = -1
    job: Future[Incoming] | None = None


class Reader:
    """Makes items of what was found, in order. `forget` gives back what is under way."""

    def __init__(self, handle: Handle, tell: Tell, under_way: set[str], *, may_lock: bool = True) -> None:
        """`under_way`: digests of what is staged and not committed yet; emptied by whoever commits.

        `may_lock`: whoever takes the items does not hold the writer lock meanwhile.
        """
        self._handle = handle
        self._may_lock = may_lock
        self._tell = tell
        self._under_way = under_way
        self._pool = ThreadPoolExecutor(LARGE_READERS, thread_name_prefix="holdfast-read")
        self._waiting: deque[_Under] = deque()
        self._weight = 0
        self._together: list[Item] = []
        self._together_bytes = 0

    def items(self, found: Iterable[Found]) -> Generator[Item, None, None]:
        """Items with staged content; what cannot be read is told."""
        try:
            for one in found:
                self._begin(one)
                while self._weight > AHEAD_BYTES or len(self._waiting) > OPEN_AHEAD:
                    yield from self._next()
            while self._waiting:
                yield from self._next()
            yield from self._flushed()
        finally:
            self._forget()

    def _begin(self, found: Found) -> None:
        mode, size = found.facts.st_mode, found.facts.st_size
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            self._tell(found.path, "special", "neither a file, a folder nor a link")
            return
        under = _Under(found, min(size, content.IN_MEMORY_BYTES) + 512)
        if stat.S_ISREG(mode):
            under.fd = _opened(found.path) if 0 < size <= PACK_UP_TO else -1
            if under.fd < 0:
                under.job = self._pool.submit(self._staged_file, found)
        self._weight += under.weight
        self._waiting.append(under)

    def _staged_file(self, found: Found) -> Incoming:
        path = os.fsdecode(found.path)
        place = names.join_raw((*found.folder.into, found.name))
        newest = functools.partial(addresses.newest_digest, self._handle, place)
        grown = Grown(self._handle, newest, may_lock=self._may_lock)
        return content.stage_file(self._handle, path, durable=False, itself=True, cutter=grown)

    def _next(self) -> Generator[Item, None, None]:
        under = self._waiting.popleft()
        self._weight -= under.weight
        try:
            item = self._item(under)
        except SourceError as error:
            code = "vanished" if error.fields.get("errno") == 2 else error.code.removeprefix("source-")
            self._tell(under.found.path, code, error.message)
            return
        self._together.append(item)
        if item.incoming is not None and item.incoming.data is not None:
            self._together_bytes += item.incoming.size
        if self._together_bytes >= TOGETHER_BYTES or len(self._together) >= TOGETHER_ITEMS:
            yield from self._flushed()

    def _flushed(self) -> Generator[Item, None, None]:
        """What was read is staged, then given on; what is not taken any more is forgotten."""
        held = [i.incoming for i in self._together if i.incoming is not None and i.incoming.data is not None]
        if held:
            content.stage_all(self._handle, held, self._under_way)
        waiting, self._together, self._together_bytes = deque(self._together), [], 0
        try:
            while waiting:
                yield waiting.popleft()
        finally:
            content.discard(self._handle, [i.incoming for i in waiting if i.incoming is not None])

    def _item(self, under: _Under) -> Item:
        found = under.found
        mode, facts = found.facts.st_mode, found.facts
        item = Item(found.folder.into, found.name, None, source=found.source, path=found.folder.absolute + found.raw)
        if stat.S_ISDIR(mode):
            item.file = FileFacts(stat.S_IMODE(mode), facts.st_mtime_ns)
            return item
        if stat.S_ISLNK(mode):
            with content.readable(os.fsdecode(found.path)):
                item.incoming = content.held(os.readlink(found.path))
            item.file, item.symlink, item.facts = FileFacts(None, facts.st_mtime_ns), True, facts
            return item
        if under.job is not None:
            item.incoming = under.job.result()
        else:
            item.incoming = self._read(under) or self._staged_file(found)
        # Those of the very bytes that were read; the walk was earlier.
        item.facts = facts = item.incoming.facts or facts
        item.file = FileFacts(stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
        return item

    def _read(self, under: _Under) -> Incoming | None:
        """A small file, if it still is what the walk saw; None: it has to be looked at more closely."""
        fd, under.fd = under.fd, -1
        facts = under.found.facts
        try:
            data = os.read(fd, facts.st_size + 1)
            after = os.fstat(fd)
        except OSError:
            return None
        finally:
            os.close(fd)
        if len(data) != facts.st_size or not content.same_facts(facts, after):
            return None
        incoming = content.held(data)
        incoming.facts = after
        return incoming

    def _forget(self) -> None:
        left = [i.incoming for i in self._together if i.incoming is not None]
        for under in self._waiting:
            if under.fd >= 0:
                os.close(under.fd)
            if under.job is not None and not under.job.cancel() and under.job.exception() is None:
                left.append(under.job.result())
        self._waiting.clear()
        self._pool.shutdown(wait=True)
        content.discard(self._handle, left)


def _opened(path: bytes) -> int:
    """A small file, which the system begins to read; -1 if it cannot be opened so."""
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return -1
    try:
        if _advise is not None:
            _advise(fd, 0, 0, _WANTED)
    except OSError:
        pass  # a file system that reads nothing ahead
    return fd
