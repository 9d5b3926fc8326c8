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
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from itertools import count
from operator import itemgetter
from typing import Any, NamedTuple

from holdfast.blobs.packs import PACK_UP_TO
from holdfast.engine import content
from holdfast.engine.content import Incoming
from holdfast.engine.cutting import Grown
from holdfast.engine.handle import Handle
from holdfast.errors import SourceError
from holdfast.exchange import hand, hands
from holdfast.exchange.hands import Hands
from holdfast.exchange.walking import Folder, Found, Tell, shown
from holdfast.formats.appending import Batch
from holdfast.formats.looks import LOOKS, encode
from holdfast.kinds import addresses
from holdfast.kinds.bulk import Item
from holdfast.kinds.media import ending, told
from holdfast.values import digest as digests
from holdfast.values import names
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name

LARGE_READERS = 2
"""Files too large for packs are read by so many threads: each has compressing threads of its own."""

AHEAD_BYTES = 8 << 20
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


class _Small(NamedTuple):
    """Columns of the small files and the links of a group, in the order in which they come to lie in a pack.

    A link has what it says for a path, and no look. `numbers`: of each among the items; `untyped`: whether its name
    tells no type.
    """

    endings: Sequence[bytes] = ()
    paths: Sequence[bytes] = ()
    looks: Sequence[bytes] = ()
    sizes: Sequence[int] = ()
    numbers: Sequence[int] = ()
    untyped: Sequence[bool] = ()


@dataclass(slots=True)
class _Group:
    """Neighbours. `met`: what becomes `small`, in order of the walk; `done`: what a process makes of it."""

    items: list[Item] = field(default_factory=list)
    met: list[tuple[bytes, bytes, bytes, int, int, bool]] = field(default_factory=list)
    small: _Small = field(default_factory=_Small)
    closer: list[_Closer] = field(default_factory=list)
    size: int = 0
    weight: int = 0
    done: Future[Any] | None = None

    def is_full(self) -> bool:
        """Whether it is taken in as it is."""
        return self.size >= TOGETHER_BYTES or len(self.items) >= TOGETHER_ITEMS or self.weight > GROUP_WEIGHT

    def sort(self) -> None:
        """Files of one kind come to lie together: 2 % less space, and no cost."""
        if self.met:
            self.met.sort(key=itemgetter(0))
            self.small = _Small._make([[*column] for column in zip(*self.met, strict=True)])
            self.met = []


def _nothing() -> tuple[None, dict[int, bytes], None]:
    """What a process that was lost has done."""
    return None, {}, None


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
                named, begun = names.from_raws([raw for raw, _ in entries]), 0
                while begun < len(entries):
                    begun = self._begin(folder, entries, named, begun)
                    if self._group.is_full():
                        self._send()
                        while self._waiting and (self._weight > AHEAD_BYTES or not self._hands.count):
                            yield from self._next()
            self._send()
            while self._waiting:
                yield from self._next()
        finally:
            self._forget()

    def _begin(self, folder: Folder, entries: Sequence[tuple[bytes, bytes]], named: Sequence[Name], first: int) -> int:
        """Make items of neighbours, from one on until the group is full; which comes next. One pass for all of them."""
        group, into, prefix, source = self._group, folder.into, folder.prefix, folder.shown
        items, small, unpack, is_file = group.items, group.met, LOOKS.unpack, stat.S_ISREG
        for number in range(first, len(entries)):
            (raw, look), name = entries[number], named[number]
            size, mtime_ns, _, _, _, mode = unpack(look)
            text, stray = name
            item = Item(
                into, name, None, mode & 0o7777, mtime_ns, source + (shown(raw) if stray else text), folder, look
            )
            if is_file(mode) and 0 < size <= PACK_UP_TO:
                end, media_type = told(raw)
                item.media_type = media_type
                small.append((end, prefix + raw, look, size, len(items), media_type is None))
                group.size += size
            elif not self._begin_other(item, prefix + raw, mode):
                continue
            group.weight += (size if size < content.IN_MEMORY_BYTES else content.IN_MEMORY_BYTES) + 512
            items.append(item)
            if group.size >= TOGETHER_BYTES or len(items) >= TOGETHER_ITEMS or group.weight > GROUP_WEIGHT:
                return number + 1
        return len(entries)

    def _begin_other(self, item: Item, path: bytes, mode: int) -> bool:
        """The same of what is no small file; False if it is nothing to take in."""
        group = self._group
        if stat.S_ISREG(mode):
            item.media_type = told(item.name.raw)[1]
            job = self._threads().submit(self._staged_file, item, path)
            group.closer.append(_Closer(len(group.items), path, job))
        elif stat.S_ISLNK(mode):
            target = self._target(path)
            if target is None:
                return False
            item.mode, item.symlink = None, True
            group.met.append((ending(item.name.raw), target, b"", len(target), len(group.items), False))
            group.size += len(target)
        elif not stat.S_ISDIR(mode):
            self._tell(path, "special", "neither a file, a folder nor a link")
            return False
        return True

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
        small = group.small
        if small.paths and self._groups > ALONE_GROUPS and self._hands.count:
            group.done = self._hands.ask("take in", small.paths, small.looks, bytes(small.untyped), content.HEAD_BYTES)
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
            for number, path, taken in zip(group.small.numbers, group.small.paths, self._taken(group), strict=True):
                items[number].incoming = taken
                if taken is None:
                    group.closer.append(_Closer(number, path))
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
            item.mode, item.mtime_ns = stat.S_IMODE(facts.st_mode), facts.st_mtime_ns
        return True

    def _taken(self, group: _Group) -> list[Incoming | None]:
        """The small files of a group, staged; None for each that has to be looked at more closely."""
        found, first, made = hands.answer(group.done, _nothing) if group.done is not None else _nothing()
        if found is None:
            contents = hand.read_all(group.small.paths, group.small.looks)
            taken = [None if one is None else content.held(one) for one in contents]
            content.stage_all(self._handle, [one for one in taken if one is not None], self._under_way)
            return taken
        text = digests.text
        columns = zip(found, group.small.sizes, count(), strict=False)
        taken = [None if raw is None else Incoming(text(raw), size, first.get(n, b"")) for raw, size, n in columns]
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
