"""Takes files and folder trees in: every name a POSIX file system can hold, links as links, with mode and mtime.

Files are read and compressed ahead of the commits; a batch is made durable with one sync, while the next is gathered,
then committed in one transaction. What cannot be read is reported and the rest goes in. Running it again goes on where
an interruption stopped it, for what is in already is unchanged.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
from collections.abc import Iterable
from dataclasses import field
from typing import TYPE_CHECKING

from holdfast.blobs.ahead import Helper
from holdfast.engine import configuration, content
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.transaction import current, write
from holdfast.errors import HoldfastError, InvalidValueError
from holdfast.exchange import hands
from holdfast.exchange.hands import Hands
from holdfast.exchange.seen import Seen
from holdfast.exchange.walking import Folder, Found, Met, Walk
from holdfast.kinds.bulk import Bulk, Item, Outcome
from holdfast.kinds.collecting import uncollected
from holdfast.values import names
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name

if TYPE_CHECKING:
    from holdfast.engine.following import Following

BATCH_ITEMS = 4_000
BATCH_BYTES = 64 << 20
HELD_BYTES = 16 << 20
"""Content that was read whole waits in memory: what is small for the append that it shares, what the store has already
until that is sure. For no more than so many bytes, whether it is known or not: that depends on who was faster."""

ATOMIC_ITEMS = 100_000
COLLECT_EVERY = 16
"""Python's collector of cycles is let in after so many batches."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that was not taken in. `code`: unreadable, changed, special, vanished, refused or store."""

    path: str
    code: str
    reason: str


@dataclass(slots=True)
class AddReport:
    """What an add did. Counts of files (links count as files); `bytes`: of content read; `seen`: files met."""

    added: int = 0
    revised: int = 0
    unchanged: int = 0
    collections: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """All files met, taken in or not."""
        return self.added + self.revised + self.unchanged + len(self.problems)


@dataclass(frozen=True, slots=True)
class Way:
    """How to add. `atomic`: all in one transaction; `checksum`: read every file, whatever was noted of it.

    `searchable`: text is taken in for search meanwhile. Within a transaction it is not: only what is committed is.
    """

    atomic: bool = False
    checksum: bool = False
    searchable: bool = False


def add(
    handle: Handle, sources: Iterable[str | bytes | os.PathLike[str]], *, into: str | bytes = "",
    way: Way | None = None, progress: Progress | None = None,
) -> AddReport:  # fmt: skip
    """Take files and trees in under the collection `into`; a folder becomes a collection of its name, "." its contents.

    Each batch is all or nothing, and durable at the latest when the next is full; with `way.atomic` the whole is one
    transaction, of at most ATOMIC_ITEMS files. A file that looks as it did when it was added last, by size, times,
    inode, device and mode, is not read again, unless `way.checksum` asks for it (see `holdfast.exchange.seen`). With
    `way.searchable` all text is taken in for search on return. Raises what stops the store itself; what is wrong with
    single files is in the report.
    """
    handle.writable()
    return _Add(handle, names.parse_path(into), way or Way(), progress).run(sources)


class _Add:
    def __init__(self, handle: Handle, into: tuple[Name, ...], way: Way, progress: Progress | None) -> None:
        self._handle = handle
        self._into = into
        self._atomic = way.atomic
        self._progress = progress
        self._report = AddReport()
        self._may_lock = current(handle) is None
        self._under_way: set[str] = set()
        self._settling: Helper[None] = Helper("settle")
        self._batch: list[Item] = []
        self._next: list[Item] = []
        self._seen = Seen(handle, asked=not way.checksum)
        self._shown = self._commits = 0
        self._text = _following(handle, progress) if way.searchable and self._may_lock else None
        self._hands = configuration.value("hands", root=handle.root, disk=handle.disk)

    def run(self, sources: Iterable[str | bytes | os.PathLike[str]]) -> AddReport:
        own = self._handle.facts()
        with (
            self._text or contextlib.nullcontext(),
            contextlib.closing(Hands(hands.wanted(self._hands))) as helpers,
            self._seen,
        ):
            walk = Walk((own.st_dev, own.st_ino), self._problem, self._unchanged, helpers, expect=self._seen.expect)
            with uncollected():
                found = walk.all(sources, self._into)
                first = next(found, None)
                if first is not None:
                    self._read(itertools.chain([first], found), helpers)
            self._seen.finish()
        return self._report

    def _read(self, found: Iterable[Found], helpers: Hands) -> None:
        from holdfast.exchange.reading import Reader  # noqa: PLC0415 - start-up time: mostly nothing has changed

        reader = Reader(self._handle, self._problem, self._under_way, helpers=helpers, may_lock=self._may_lock)
        with contextlib.closing(reader.items(found)) as items:
            self._take(items)

    def _take(self, items: Iterable[Item]) -> None:
        try:
            try:
                self._gather(items)
            except BaseException:
                with contextlib.suppress(HoldfastError):
                    self._commit_next()  # what stops one batch does not take the full one along that came before
                raise
            self._commit_next()
            self._settle(self._batch)
            self._commit(self._batch)
            self._batch = []
        finally:
            self._settling.close()
            content.discard(self._handle, [item.incoming for item in self._batch if item.incoming is not None])

    def _gather(self, items: Iterable[Item]) -> None:
        size = held = settled = 0
        for item in items:
            self._batch.append(item)
            if item.incoming is not None:
                size += item.incoming.size
                held += item.incoming.size if item.incoming.size < content.IN_MEMORY_BYTES else 0
            if self._atomic:
                _refuse_too_many(self._batch, item)
                if held >= HELD_BYTES:
                    self._settle(self._batch[settled:])
                    held, settled = 0, len(self._batch)
            elif len(self._batch) >= BATCH_ITEMS or size >= BATCH_BYTES or held >= HELD_BYTES:
                self._hand_over()
                size = held = 0

    def _hand_over(self) -> None:
        """A full batch is settled while the one after it is gathered, and committed when that is full, or the last.

        What is committed together depends on what was found alone, never on how long a sync takes.
        """
        self._commit_next()
        batch = self._next = self._batch
        self._batch = []
        if self._may_lock:
            self._settling.begin(lambda: self._settle(batch))
        else:
            self._settle(batch)  # only this thread sees the rows of its open transaction
            self._commit_next()

    def _commit_next(self) -> None:
        batch, self._next = self._next, []
        try:
            if self._settling.busy:
                self._settling.take()
            self._commit(batch)
        except BaseException:
            content.discard(self._handle, [item.incoming for item in batch if item.incoming is not None])
            raise

    def _unchanged(self, folder: Folder, met: Met) -> set[bytes] | None:
        found = self._seen.unchanged(folder, met)
        self._report.unchanged += found.files
        if self._progress and self._report.seen >= self._shown + BATCH_ITEMS:
            self._tell(folder.shown)
        return found.names

    def _commit(self, batch: list[Item]) -> None:
        if not batch:
            return
        with write(self._handle, what="add") as unit:
            bulk = Bulk(unit)
            bulk.put(batch)
            self._seen.prepare()
        taken = [item.incoming for item in batch if item.incoming is not None]
        self._under_way.difference_update([one.digest for one in taken])
        self._seen.committed(unit, batch)
        if self._text:
            self._text.committed()
        self._report.collections += bulk.collections_made
        self._count(batch)
        content.discard(self._handle, taken)
        self._tell(batch[-1].name.text)
        self._commits += 1
        if self._commits % COLLECT_EVERY == 0:
            gc.collect(1)  # what a progress bar, or an error that was caught, left of cycles

    def _tell(self, where: str) -> None:
        self._shown = self._report.seen
        if self._progress:
            self._progress(self._shown, None, where, "files")

    def _settle(self, batch: list[Item]) -> None:
        """One sync for many: in the order in which they were found, so that neighbours come to lie together."""
        staged = [
            item.incoming.staged for item in batch if item.incoming is not None and item.incoming.staged is not None
        ]
        with self._handle.watching_syncs():
            self._handle.blobs.settle(staged)

    def _count(self, batch: list[Item]) -> None:
        report, added, revised = self._report, Outcome.ADDED, Outcome.REVISED
        for item in batch:
            incoming, outcome = item.incoming, item.outcome
            if item.refused is not None:
                self._problem(item.path, "refused", item.refused.message)
            elif incoming is not None:
                report.bytes += incoming.size
                if outcome is added:
                    report.added += 1
                elif outcome is revised:
                    report.revised += 1
                else:
                    report.unchanged += 1

    def _problem(self, path: bytes, code: str, reason: str) -> None:
        self._report.problems.append(Problem(path.decode("utf-8", "backslashreplace"), code, reason))


def _following(handle: Handle, progress: Progress | None) -> Following:
    from holdfast.engine.following import Following  # noqa: PLC0415 - start-up time: few adds are asked for it

    return Following(handle, progress)


def _refuse_too_many(batch: list[Item], newest: Item) -> None:
    """Of one transaction; what the store has already need not be kept in memory until its end."""
    if len(batch) > ATOMIC_ITEMS:
        raise InvalidValueError(
            f"more than {ATOMIC_ITEMS} files in one transaction", where="atomic", reason="too many",
            remedy="Add without `atomic`: then each batch is a transaction.",
        )  # fmt: skip
    if newest.incoming is not None:
        newest.incoming.data = None
