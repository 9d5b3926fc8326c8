"""Reads what was found, ahead of the one who commits: small files in groups by helping processes, large by threads.

A megabyte of small files is read, hashed and compressed together, elsewhere if there is much of it; then one look at
the index says what of it is new. What goes in depends neither on who read it nor on how many there are: groups are cut
by what the walk saw. Bytes and open files under way are limited.
"""

from __future__ import annotations

import functools
import os
import stat
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from typing import Any

from holdfast.blobs.packs import PACK_UP_TO
from holdfast.engine import content
from holdfast.engine.content import Incoming
from holdfast.engine.cutting import Grown
from holdfast.engine.handle import Handle
from holdfast.errors import SourceError
from holdfast.exchange import hand, hands
from holdfast.exchange.hand import Looks
from holdfast.exchange.hands import Hands
from holdfast.exchange.walking import Folder, Found, Tell, shown
from holdfast.formats.appending import Batch
from holdfast.formats.looks import LOOKS, encode
from holdfast.kinds import addresses
from holdfast.kinds.bulk import Item
from holdfast.kinds.media import ending, of_raw
from holdfast.values import digest as digests
from holdfast.values import names
from holdfast.values.frozen import dataclass
from holdfast.values.records import FileFacts

LARGE_READERS = 2
"""Files too large for packs are read by so many threads: each has compressing threads of its own."""

AHEAD_BYTES = 16 << 20
"""So many bytes are under way between the walk and whoever commits: what helping processes have to do meanwhile."""

GROUP_WEIGHT = 8 << 20
"""Of files in one group, the large ones among them counted with what is held of each."""

TOGETHER_BYTES = 2 << 20
TOGETHER_ITEMS = 1_000
"""Small files are taken in together up to so many bytes or items: one look at the index, one append."""

ALONE_GROUPS = 1
"""So many groups are read before helping processes are started: for a few files they cost more than they save."""


@dataclass(slots=True)
class _Closer:
    """A file that is looked at by itself: its place among its neighbours, where it is, and which thread reads it."""

    number: int
    path: bytes
    job: Future[Incoming] | None = None


@dataclass(slots=True)
class _Group:
    """Neighbours. `files`: the small files among them, and what links say; `done`: what a process makes of these.

    `small`: of each of these its number among the items, `endings`: its name's, `untyped`: 1 if that tells no type.
    """

    items: list[Item] = field(default_factory=list)
    files: list[Looks | bytes] = field(default_factory=list)
    small: list[int] = field(default_factory=list)
    endings: list[bytes] = field(default_factory=list)
    untyped: bytearray = field(default_factory=bytearray)
    closer: list[_Closer] = field(default_factory=list)
    size: int = 0
    weight: int = 0
    done: Future[Any] | None = None

    def sort(self) -> None:
        """Files of one kind come to lie together: 2 % less space, and no cost."""
        order = sorted(range(len(self.files)), key=self.endings.__getitem__)
        self.files = [self.files[n] for n in order]
        self.small = [self.small[n] for n in order]
        self.untyped = bytearray([self.untyped[n] for n in order])
        self.endings.clear()


class Reader:
    """Makes items of what was found, in order."""

    def __init__(
        self, handle: Handle, tell: Tell, under_way: set[str], *, helpers: Hands, may_lock: bool = True
    ) -> None:
        """`under_way`: digests of what is staged and not committed yet; emptied by whoever commits.

        `may_lock`: whoever takes the items does not hold the writer lock meanwhile.
        """
        self._handle = handle
        self._may_lock = may_lock
        self._tell = tell
        self._under_way = under_way
        self._hands = helpers
        self._pool: ThreadPoolExecutor | None = None
        self._group = _Group()
        self._waiting: deque[_Group] = deque()
        self._weight = self._groups = 0

    def items(self, found: Iterable[Found]) -> Generator[Item, None, None]:
        """Items with staged content; what cannot be read is told."""
        try:
            for folder, entries in found:
                for raw, look in entries:
                    self._begin(folder, raw, look)
                    group = self._group
                    size, weight = group.size, group.weight
                    if size >= TOGETHER_BYTES or len(group.items) >= TOGETHER_ITEMS or weight > GROUP_WEIGHT:
                        self._send()
                        while self._waiting and (self._weight > AHEAD_BYTES or not self._hands.count):
                            yield from self._next()
            self._send()
            while self._waiting:
                yield from self._next()
        finally:
            self._forget()

    def _begin(self, folder: Folder, raw: bytes, look: bytes) -> None:
        size, mtime_ns, ctime_ns, inode, _, mode = LOOKS.unpack(look)
        group, name = self._group, names.from_raw(raw)
        source = folder.shown + (shown(raw) if name.stray else name.text)
        facts = FileFacts(mode & 0o7777, mtime_ns)
        item = Item(folder.into, name, None, facts, source, folder, look)
        if stat.S_ISREG(mode):
            end = ending(raw)
            item.media_type = of_raw(end, name.text)
            if 0 < size <= PACK_UP_TO:
                group.files.append((folder.prefix + raw, size, mtime_ns, ctime_ns, inode))
                group.untyped.append(item.media_type is None)
                self._add_small(end, size)
            else:
                path = folder.prefix + raw
                job = self._threads().submit(self._staged_file, item, path)
                group.closer.append(_Closer(len(group.items), path, job))
        elif stat.S_ISLNK(mode):
            target = self._target(folder.prefix + raw)
            if target is None:
                return
            item.file, item.symlink = FileFacts(None, mtime_ns), True
            group.files.append(target)
            group.untyped.append(0)
            self._add_small(ending(raw), len(target))
        elif not stat.S_ISDIR(mode):
            self._tell(folder.prefix + raw, "special", "neither a file, a folder nor a link")
            return
        group.weight += min(size, content.IN_MEMORY_BYTES) + 512
        group.items.append(item)

    def _add_small(self, end: bytes, size: int) -> None:
        """Of the item that is about to be added."""
        group = self._group
        group.small.append(len(group.items))
        group.endings.append(end)
        group.size += size

    def _target(self, path: bytes) -> bytes | None:
        """What a link says; None if that cannot be read."""
        try:
            with content.readable(os.fsdecode(path)):
                return os.readlink(path)
        except SourceError as error:
            self._refuse(path, error)
            return None

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(LARGE_READERS, thread_name_prefix="holdfast-read")
        return self._pool

    def _staged_file(self, item: Item, path: bytes) -> Incoming:
        place = names.join_raw((*item.folder, item.name))
        newest = functools.partial(addresses.newest_digest, self._handle, place)
        grown = Grown(self._handle, newest, may_lock=self._may_lock)
        return content.stage_file(self._handle, os.fsdecode(path), durable=False, itself=True, cutter=grown)

    def _send(self) -> None:
        """What was gathered is read, by a process if there is more than a little."""
        group, self._group = self._group, _Group()
        if not group.items:
            return
        self._groups += 1
        self._weight += group.weight
        group.sort()
        if group.files and self._groups > ALONE_GROUPS and self._hands.count:
            group.done = self._hands.ask("take in", group.files, bytes(group.untyped), content.HEAD_BYTES)
        self._waiting.append(group)

    def _next(self) -> Generator[Item, None, None]:
        group = self._waiting.popleft()
        self._weight -= group.weight
        waiting: deque[Item] = deque()
        try:
            waiting.extend(self._finish(group))
            while waiting:
                yield waiting.popleft()
        finally:
            content.discard(self._handle, [i.incoming for i in waiting if i.incoming is not None])
            self._abandon(group)  # those that have not become items

    def _finish(self, group: _Group) -> list[Item]:
        """The items of a group, staged."""
        items = group.items
        refused: set[int] = set()
        try:
            for number, file, taken in zip(group.small, group.files, self._taken(group), strict=True):
                items[number].incoming = taken
                if taken is None:
                    assert not isinstance(file, bytes)  # what a link says is there
                    group.closer.append(_Closer(number, file[0]))
            for one in sorted(group.closer, key=lambda one: one.number):
                if not self._look_closer(items[one.number], one):
                    refused.add(one.number)
        except BaseException:
            content.discard(self._handle, [item.incoming for item in items if item.incoming is not None])
            raise
        return items if not refused else [item for number, item in enumerate(items) if number not in refused]

    def _look_closer(self, item: Item, one: _Closer) -> bool:
        """Read a file by itself; False if it cannot be."""
        job, one.job = one.job, None
        try:
            item.incoming = incoming = job.result() if job is not None else self._staged_file(item, one.path)
        except SourceError as error:
            self._refuse(one.path, error)
            return False
        facts = incoming.facts
        if facts is not None:  # those of the very bytes that were read; the walk was earlier
            item.look = encode(facts)
            item.file = FileFacts(stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
        return True

    def _taken(self, group: _Group) -> list[Incoming | None]:
        """The small files of a group, staged; None for each that has to be looked at more closely."""
        found, made = (None, None)
        if group.done is not None:
            found, made = hands.answer(group.done, lambda: (None, None))
        if found is None:
            contents = hand.read_all(group.files)
            taken = [None if one is None else content.held(one) for one in contents]
            content.stage_all(self._handle, [one for one in taken if one is not None], self._under_way)
            return taken
        text = digests.text
        taken = [None if one is None else Incoming(text(one[0]), one[1], one[2]) for one in found]
        if made is not None:
            content.stage_batch(self._handle, [one for one in taken if one is not None], Batch(*made), self._under_way)
        return taken

    def _refuse(self, path: bytes, error: SourceError) -> None:
        code = "vanished" if error.fields.get("errno") == 2 else error.code.removeprefix("source-")
        self._tell(path, code, error.message)

    def _abandon(self, group: _Group) -> None:
        for one in group.closer:
            job, one.job = one.job, None
            if job is not None and not job.cancel() and job.exception() is None:
                content.discard(self._handle, [job.result()])

    def _forget(self) -> None:
        for group in (*self._waiting, self._group):
            self._abandon(group)
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
