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
from dataclasses import dataclass, field
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
from holdfast.exchange.walking import Found, Tell, shown
from holdfast.formats.appending import Batch
from holdfast.kinds import addresses
from holdfast.kinds.bulk import Item
from holdfast.kinds.media import ending, of_name
from holdfast.values import digest as digests
from holdfast.values import names
from holdfast.values.names import Name
from holdfast.values.records import FileFacts

LARGE_READERS = 2
"""Files too large for packs are read by so many threads: each has compressing threads of its own."""

AHEAD_BYTES = 8 << 20
"""So many bytes are under way between the walk and whoever commits."""

TOGETHER_BYTES = 1 << 20
TOGETHER_ITEMS = 1_000
"""Small files are taken in together up to so many bytes or items: one look at the index, one append."""

ALONE_GROUPS = 1
"""So many groups are read before helping processes are started: for a few files they cost more than they save."""


@dataclass(slots=True)
class _Under:
    """A thing under way: one of a group's files (by number), or a file that a thread reads, or neither (a folder)."""

    found: Found
    name: Name
    media_type: str | None = None
    number: int = -1
    is_link: bool = False
    job: Future[Incoming] | None = None


@dataclass(slots=True)
class _Group:
    """Neighbours. `files`: the small files among them, and what links say; `done`: what a process makes of these."""

    every: list[_Under] = field(default_factory=list)
    files: list[Looks | bytes] = field(default_factory=list)
    size: int = 0
    weight: int = 0
    done: Future[Any] | None = None

    def untyped(self) -> bytes:
        """A 1 for each of its files whose type is not known by its name."""
        small = sorted((under for under in self.every if under.number >= 0), key=lambda under: under.number)
        return bytes(not (under.media_type or under.is_link) for under in small)

    def sort(self) -> None:
        """Files of one kind come to lie together: 2 % less space, and no cost. `number` of each follows."""
        small = [under for under in self.every if under.number >= 0]
        small.sort(key=lambda under: ending(under.found.raw))
        self.files = [self.files[under.number] for under in small]
        for number, under in enumerate(small):
            under.number = number


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
            for one in found:
                self._begin(one)
                group = self._group
                if group.size >= TOGETHER_BYTES or len(group.every) >= TOGETHER_ITEMS or group.weight > AHEAD_BYTES:
                    self._send()
                    while self._waiting and (self._weight > AHEAD_BYTES or not self._hands.count):
                        yield from self._next()
            self._send()
            while self._waiting:
                yield from self._next()
        finally:
            self._forget()

    def _begin(self, found: Found) -> None:
        mode, size = found.facts.st_mode, found.facts.st_size
        under, group = _Under(found, names.from_raw(found.raw)), self._group
        if stat.S_ISREG(mode):
            if 0 < size <= PACK_UP_TO:
                facts = found.facts
                group.files.append((found.path, size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino))
                group.size += size
                under.number = len(group.files) - 1
                under.media_type = of_name(under.name.text)
            else:
                under.job = self._threads().submit(self._staged_file, found)
        elif stat.S_ISLNK(mode):
            try:
                with content.readable(os.fsdecode(found.path)):
                    target = os.readlink(found.path)
            except SourceError as error:
                self._refuse(found, error)
                return
            group.files.append(target)
            group.size += len(target)
            under.number, under.is_link = len(group.files) - 1, True
        elif not stat.S_ISDIR(mode):
            self._tell(found.path, "special", "neither a file, a folder nor a link")
            return
        group.weight += min(size, content.IN_MEMORY_BYTES) + 512
        group.every.append(under)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(LARGE_READERS, thread_name_prefix="holdfast-read")
        return self._pool

    def _staged_file(self, found: Found) -> Incoming:
        path = os.fsdecode(found.path)
        place = names.join_raw((*found.folder.into, found.name))
        newest = functools.partial(addresses.newest_digest, self._handle, place)
        grown = Grown(self._handle, newest, may_lock=self._may_lock)
        return content.stage_file(self._handle, path, durable=False, itself=True, cutter=grown)

    def _send(self) -> None:
        """What was gathered is read, by a process if there is more than a little."""
        group, self._group = self._group, _Group()
        if not group.every:
            return
        self._groups += 1
        self._weight += group.weight
        group.sort()
        if group.files and self._groups > ALONE_GROUPS and self._hands.count:
            group.done = self._hands.ask("take in", group.files, group.untyped(), content.HEAD_BYTES)
        self._waiting.append(group)

    def _next(self) -> Generator[Item, None, None]:
        group = self._waiting.popleft()
        self._weight -= group.weight
        waiting: deque[Item] = deque()
        try:
            self._finish(group, waiting)
            while waiting:
                yield waiting.popleft()
        finally:
            content.discard(self._handle, [i.incoming for i in waiting if i.incoming is not None])
            self._abandon(group)  # those that have not become items

    def _finish(self, group: _Group, items: deque[Item]) -> None:
        """The items of a group, staged."""
        small = self._taken(group)
        try:
            for under in group.every:
                try:
                    items.append(self._item(under, small[under.number] if under.number >= 0 else None))
                except SourceError as error:
                    self._refuse(under.found, error)
        except BaseException:
            content.discard(self._handle, [one for one in small if one is not None])
            raise

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
        taken = [None if one is None else Incoming(digests.text(one[0]), one[1], one[2]) for one in found]
        if made is not None:
            content.stage_batch(self._handle, [one for one in taken if one is not None], Batch(*made), self._under_way)
        return taken

    def _item(self, under: _Under, taken: Incoming | None) -> Item:
        found = under.found
        facts, job = found.facts, under.job
        mode = facts.st_mode
        folder, name = found.folder, under.name
        source = folder.shown + (shown(found.raw) if name.stray else name.text)
        item = Item(folder.into, name, taken, source=source, path=folder.absolute + found.raw)
        item.media_type = under.media_type
        if stat.S_ISDIR(mode):
            item.file = FileFacts(stat.S_IMODE(mode), facts.st_mtime_ns)
            return item
        if under.is_link:
            item.file, item.symlink, item.facts = FileFacts(None, facts.st_mtime_ns), True, facts
            return item
        if taken is None:
            under.job = None
            item.incoming = job.result() if job is not None else self._staged_file(found)
            # Those of the very bytes that were read; the walk was earlier.
            facts = item.incoming.facts or facts
        item.facts = facts
        item.file = FileFacts(stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
        return item

    def _refuse(self, found: Found, error: SourceError) -> None:
        code = "vanished" if error.fields.get("errno") == 2 else error.code.removeprefix("source-")
        self._tell(found.path, code, error.message)

    def _abandon(self, group: _Group) -> None:
        for under in group.every:
            job, under.job = under.job, None
            if job is not None and not job.cancel() and job.exception() is None:
                content.discard(self._handle, [job.result()])

    def _forget(self) -> None:
        for group in (*self._waiting, self._group):
            self._abandon(group)
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
