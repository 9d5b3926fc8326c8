"""Puts many contents with few syncs: in batches, each of them all or nothing.

A batch is made durable by another thread while the next is gathered, and committed when that is full, or the last.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.blobs.ahead import Helper
from holdfast.engine import content
from holdfast.engine.content import Incoming, Source
from holdfast.engine.cutting import Grown
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import current, write
from holdfast.errors import HoldfastError, InvalidValueError
from holdfast.kinds import addresses, media, revising
from holdfast.kinds.bulk import Bulk, Item, Outcome
from holdfast.kinds.collecting import seldom_collected, uncollected
from holdfast.values import digest as digests
from holdfast.values import names
from holdfast.values.names import Name

BATCH_ITEMS = 4_000
BATCH_BYTES = 64 << 20
HELD_BYTES = 8 << 20
"""A batch is full with so many items, bytes in all, or bytes of contents that may wait in memory."""

TOGETHER_BYTES = 2 << 20
"""So much content is hashed by another thread while the next is gathered, then staged together."""

HASHED_HERE = 16
"""For so few contents no thread is asked."""

Given = tuple[str | bytes, Source] | tuple[str | bytes, Source, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ManyResult:
    """What `put_many` did: how many artifacts are new, have a new revision, or are as they were.

    `bytes`: of all content that was given.
    """

    created: int = 0
    revised: int = 0
    unchanged: int = 0
    bytes: int = 0


def put_many(handle: Handle, contents: Iterable[Given], said: dict[str, Any]) -> ManyResult:
    """As `Artifacts.put_many` says."""
    handle.writable()
    with seldom_collected():
        return _Many(handle, said).run(contents)


class _Many:
    def __init__(self, handle: Handle, said: dict[str, Any]) -> None:
        self._handle = handle
        self._said = said
        self._common = revising.describe(said)
        self._batch: list[Item] = []
        self._next: list[Item] = []  # full, and being settled
        self._settling: Helper[None] = Helper("settle")
        self._under_way: set[str] = set()
        self._held: list[tuple[bytes, Incoming]] = []
        self._hashing: Helper[list[str]] = Helper("hash")
        self._hashed: list[Incoming] = []  # what is being hashed
        self._held_bytes = self._bytes = self._in_memory = 0
        self._counts = dict.fromkeys(Outcome, 0)
        self._total = 0
        self._place: str | bytes = ""
        self._folder: tuple[Name, ...] = ()

    def run(self, contents: Iterable[Given]) -> ManyResult:
        try:
            try:
                for given in contents:
                    self._take(self._item(given))
                self._hand_over()
            except BaseException:
                with contextlib.suppress(HoldfastError):
                    self._commit_next()  # what stops one batch does not take the full one along that came before
                raise
            self._commit_next()
        finally:
            self._hashing.close()
            self._settling.close()
            content.discard(self._handle, _contents(self._batch))
        counts = self._counts
        return ManyResult(counts[Outcome.ADDED], counts[Outcome.REVISED], counts[Outcome.UNCHANGED], self._total)

    def _item(self, given: Any) -> Item:
        if not isinstance(given, tuple) or len(given) not in (2, 3):
            raise InvalidValueError(
                "an item is no (path, content) or (path, content, fields)", where="put_many", reason="item"
            )
        folder, name = self._split(given[0])
        described = revising.describe({**self._said, **given[2]}) if len(given) == 3 else self._common
        source = given[1]
        if isinstance(source, str):
            source = content.utf8(source)
        if isinstance(source, (bytes, bytearray, memoryview)) and len(source) < content.IN_MEMORY_BYTES:
            data = bytes(source)
            incoming = Incoming("", len(data), data[: content.HEAD_BYTES], data=data)
        else:
            grown = Grown(self._handle, functools.partial(addresses.newest_digest, self._handle, given[0]))
            incoming = content.stage(self._handle, source, durable=False, cutter=grown)
        mode, mtime_ns = (None, None) if described.file is None else (described.file.mode, described.file.mtime_ns)
        return Item(folder, name, incoming, mode, mtime_ns, described.source, said=described)

    def _split(self, path: str | bytes) -> tuple[tuple[Name, ...], Name]:
        """As `addresses.split`. Neighbours come one after the other: the path of a folder is checked once."""
        last = path.rpartition("/")[2] if isinstance(path, str) else path.rpartition(b"/")[2]
        place = path[: len(path) - len(last)]
        if not place or place != self._place:
            folder, name = addresses.split(path)
            self._place, self._folder = place, folder
            return folder, name
        return self._folder, names.parse(last)

    def _take(self, item: Item) -> None:
        self._batch.append(item)
        incoming = item.incoming
        assert incoming is not None
        self._bytes += incoming.size
        if incoming.data is not None:
            self._held.append((media.ending(item.name.raw), incoming))
            self._held_bytes += incoming.size
        if incoming.size < content.IN_MEMORY_BYTES:  # of what the store has already the bytes are kept until it is sure
            self._in_memory += incoming.size
        if self._held_bytes >= TOGETHER_BYTES:
            self._stage()
        if len(self._batch) >= BATCH_ITEMS or self._bytes >= BATCH_BYTES or self._in_memory >= HELD_BYTES:
            self._hand_over()

    def _stage(self) -> None:
        """What was gathered is being hashed when this returns; what was being hashed before is staged."""
        self._finish()
        held, self._held, self._held_bytes = self._held, [], 0
        held.sort(key=lambda one: one[0])  # files of one kind come to lie together
        self._hashed = hashed = [incoming for _, incoming in held]
        if len(hashed) > HASHED_HERE:
            self._hashing.begin(lambda: _digests(hashed))

    def _finish(self) -> None:
        hashed, self._hashed = self._hashed, []
        if not hashed:
            return
        found = self._hashing.take() if self._hashing.busy else _digests(hashed)
        for incoming, digest in zip(hashed, found, strict=True):
            incoming.digest = digest
        content.stage_all(self._handle, hashed, self._under_way)

    def _hand_over(self) -> None:
        """A full batch is settled while the one after it is gathered; the one before it is committed."""
        self._stage()
        self._finish()
        self._commit_next()
        batch = self._next = self._batch
        self._batch, self._bytes, self._in_memory = [], 0, 0
        if current(self._handle) is None:
            self._settling.begin(lambda: self._settle(batch))
        else:
            self._settle(batch)  # only this thread sees the rows of its open transaction
            self._commit_next()

    def _settle(self, batch: list[Item]) -> None:
        with self._handle.watching_syncs():
            self._handle.blobs.settle([one.staged for one in _contents(batch) if one.staged is not None])

    def _commit_next(self) -> None:
        batch, self._next = self._next, []
        incoming = _contents(batch)
        try:
            if self._settling.busy:
                self._settling.take()
            if batch:
                self._commit(batch)
        finally:
            content.discard(self._handle, incoming)
        self._under_way.difference_update([one.digest for one in incoming])

    def _commit(self, batch: list[Item]) -> None:
        with uncollected(), write(self._handle, what="put many") as unit:
            Bulk(unit).put(batch)
            for item in batch:
                if item.refused is not None:
                    raise item.refused
        for item in batch:
            self._counts[item.outcome or Outcome.UNCHANGED] += 1
            if item.incoming is not None:
                self._total += item.incoming.size


def _contents(batch: list[Item]) -> list[Incoming]:
    return [item.incoming for item in batch if item.incoming is not None]


def _digests(contents: list[Incoming]) -> list[str]:
    return [digests.of(one.data or b"") for one in contents]
