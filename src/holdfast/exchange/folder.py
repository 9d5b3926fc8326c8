"""Takes files and folder trees in: every name a POSIX file system can hold, links as links, with mode and mtime.

Files are read and staged by a few threads ahead of the one that commits; a batch is made durable with one sync, then
committed in one transaction. What cannot be read is reported and the rest goes in. Running it again goes on where an
interruption stopped it, for what is in already is unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from holdfast.blobs.packs import PACK_UP_TO
from holdfast.engine import content, cutting
from holdfast.engine.cutting import Grown
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.transaction import current, write
from holdfast.errors import InvalidValueError, SourceError
from holdfast.kinds import addresses
from holdfast.kinds.bulk import Bulk, Item, Outcome
from holdfast.values import names
from holdfast.values.names import Name
from holdfast.values.records import FileFacts

BATCH_ITEMS = 1_000
BATCH_BYTES = 64 << 20
HELD_BYTES = 16 << 20
"""Small content waits in memory for the append that it shares: for no more than so many bytes."""

READERS = 4
AHEAD_BYTES = 16 << 20
ATOMIC_ITEMS = 100_000


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


@dataclass(slots=True)
class _Found:
    """A thing met on the way: where it is, where it goes, what the file system says of it."""

    path: bytes
    folder: tuple[Name, ...]
    name: Name
    facts: os.stat_result


def add(
    handle: Handle, sources: Iterable[str | bytes | os.PathLike[str]], *, into: str | bytes = "",
    atomic: bool = False, progress: Progress | None = None,
) -> AddReport:  # fmt: skip
    """Take files and trees in under the collection `into`; a folder becomes a collection of its name, "." its contents.

    Each batch is all or nothing and durable when the next begins; with `atomic` the whole is one transaction, of at
    most ATOMIC_ITEMS files. Raises what stops the store itself; what is wrong with single files is in the report.
    """
    handle.writable()
    return _Add(handle, names.parse_path(into), atomic=atomic, progress=progress).run(sources)


class _Add:
    def __init__(self, handle: Handle, into: tuple[Name, ...], *, atomic: bool, progress: Progress | None) -> None:
        self._handle = handle
        self._into = into
        self._atomic = atomic
        self._progress = progress
        self._report = AddReport()
        self._may_lock = current(handle) is None
        root = os.stat(handle.root)
        self._own = (root.st_dev, root.st_ino)

    def run(self, sources: Iterable[str | bytes | os.PathLike[str]]) -> AddReport:
        batch: list[Item] = []
        size = held = settled = 0
        with ThreadPoolExecutor(READERS, thread_name_prefix="holdfast-read") as pool:
            staged = self._staged(pool, self._walk_all(sources))
            try:
                for item in staged:
                    batch.append(item)
                    size += item.incoming.size if item.incoming else 0
                    held += item.incoming.size if item.incoming and item.incoming.size <= PACK_UP_TO else 0
                    if self._atomic and len(batch) > ATOMIC_ITEMS:
                        raise InvalidValueError(
                            f"more than {ATOMIC_ITEMS} files in one transaction", where="atomic", reason="too many",
                            remedy="Add without `atomic`: then each batch is a transaction.",
                        )  # fmt: skip
                    if held >= HELD_BYTES and self._atomic:
                        self._settle(batch[settled:])
                        held, settled = 0, len(batch)
                    full = len(batch) >= BATCH_ITEMS or size >= BATCH_BYTES or held >= HELD_BYTES
                    if full and not self._atomic:
                        self._commit(batch)
                        batch, size, held = [], 0, 0
                self._commit(batch)
                batch = []
            finally:
                staged.close()
                content.discard(self._handle, [item.incoming for item in batch if item.incoming is not None])
        return self._report

    # -- finding -----------------------------------------------------------------------------------------------------

    def _walk_all(self, sources: Iterable[str | bytes | os.PathLike[str]]) -> Iterator[_Found]:
        for source in sources:
            path = os.fsencode(source)
            try:
                facts = os.lstat(path)
            except OSError as error:
                self._problem(path, "unreadable", error.strerror or str(error))
                continue
            if self._is_inside(path):
                self._problem(path, "store", "this is the store itself, or lies in it")
                continue
            base = os.path.basename(os.path.normpath(path))
            if stat.S_ISDIR(facts.st_mode) and base in (b".", b"..", b""):
                yield from self._walk(path, self._into)
            else:
                found = _Found(path, self._into, names.from_raw(base), facts)
                yield found
                if stat.S_ISDIR(facts.st_mode):
                    yield from self._walk(path, (*self._into, found.name))

    def _is_inside(self, path: bytes) -> bool:
        """Whether a path is the store's folder or below it; a link to it lies where the link lies."""
        place = os.path.realpath(os.path.dirname(path) if os.path.islink(path) else path)
        while True:
            with contextlib.suppress(OSError):
                facts = os.stat(place)
                if (facts.st_dev, facts.st_ino) == self._own:
                    return True
            above = os.path.dirname(place)
            if above == place:
                return False
            place = above

    def _walk(self, folder: bytes, into: tuple[Name, ...]) -> Iterator[_Found]:
        """Depth first, by bytes of names, without recursion: a tree may be deeper than Python's stack."""
        waiting = [self._entries(folder, into)]
        while waiting:
            found = next(waiting[-1], None)
            if found is None:
                waiting.pop()
                continue
            if (found.facts.st_dev, found.facts.st_ino) == self._own:
                self._problem(found.path, "store", "this is the store itself")
                continue
            yield found
            if stat.S_ISDIR(found.facts.st_mode):
                waiting.append(self._entries(found.path, (*found.folder, found.name)))

    def _entries(self, folder: bytes, into: tuple[Name, ...]) -> Iterator[_Found]:
        try:
            listed = sorted(os.listdir(folder))
        except OSError as error:
            self._problem(folder, "unreadable", error.strerror or str(error))
            return
        for raw in listed:
            path = os.path.join(folder, raw)
            try:
                facts = os.lstat(path)
            except FileNotFoundError:
                self._problem(path, "vanished", "it went away while the folder was read")
                continue
            except OSError as error:
                self._problem(path, "unreadable", error.strerror or str(error))
                continue
            yield _Found(path, into, names.from_raw(raw), facts)

    # -- reading -----------------------------------------------------------------------------------------------------

    def _staged(self, pool: ThreadPoolExecutor, found: Iterator[_Found]) -> Generator[Item, None, None]:
        """Items in the order they were found, staged by the pool with bounded bytes under way."""
        waiting: deque[tuple[_Found, int, Future[Item]]] = deque()
        under_way = 0
        try:
            for one in found:
                if not _is_kept(one.facts.st_mode):
                    self._problem(one.path, "special", "neither a file, a folder nor a link")
                    continue
                weight = min(one.facts.st_size, content.IN_MEMORY_BYTES) + 512
                waiting.append((one, weight, pool.submit(self._stage, one)))
                under_way += weight
                while under_way > AHEAD_BYTES or len(waiting) > 4 * READERS * 64:
                    under_way -= waiting[0][1]
                    yield from self._taken(waiting.popleft())
            while waiting:
                yield from self._taken(waiting.popleft())
        finally:
            for _, _, future in waiting:
                if not future.cancel() and future.exception() is None:
                    incoming = future.result().incoming
                    if incoming is not None:
                        content.discard(self._handle, [incoming])

    def _taken(self, waiting: tuple[_Found, int, Future[Item]]) -> Iterator[Item]:
        found, _, future = waiting
        try:
            yield future.result()
        except SourceError as error:
            gone = error.fields.get("errno") == 2
            code = "vanished" if gone else error.code.removeprefix("source-")
            self._problem(found.path, code, error.message)

    def _stage(self, found: _Found) -> Item:
        mode = found.facts.st_mode
        facts = FileFacts(stat.S_IMODE(mode), found.facts.st_mtime_ns)
        source = os.fsdecode(os.path.abspath(found.path))
        shown = source.encode("utf-8", "backslashreplace" if not _is_utf8(source) else "strict").decode()
        if stat.S_ISDIR(mode):
            return Item(found.folder, found.name, None, facts, shown)
        if stat.S_ISLNK(mode):
            with content.readable(source):
                target = os.readlink(found.path)
            incoming = content.stage_bytes(self._handle, target, durable=False)
            return Item(found.folder, found.name, incoming, FileFacts(None, facts.mtime_ns), shown, symlink=True)
        path = (*found.folder, found.name)
        newest = functools.partial(addresses.newest_digest, self._handle, names.join_raw(path))
        grown = Grown(self._handle, newest, may_lock=self._may_lock)
        incoming = content.stage_file(self._handle, source, durable=False, itself=True, cutter=grown)
        if self._atomic:
            incoming.data = None
        if incoming.facts is not None:
            # Those of the very bytes that were read; the walk was earlier.
            facts = FileFacts(stat.S_IMODE(incoming.facts.st_mode), incoming.facts.st_mtime_ns)
        return Item(found.folder, found.name, incoming, facts, shown)

    # -- committing --------------------------------------------------------------------------------------------------

    def _commit(self, batch: list[Item]) -> None:
        if not batch:
            return
        self._settle(batch)
        with write(self._handle, what="add") as unit:
            bulk = Bulk(unit)
            bulk.put(batch)
        self._report.collections += bulk.collections_made
        for item in batch:
            self._count(item)
            if item.incoming is not None and item.outcome is Outcome.REVISED:
                cutting.follow(self._handle, item.incoming.digest, item.incoming.before)
        content.discard(self._handle, [item.incoming for item in batch if item.incoming is not None])
        if self._progress:
            self._progress(self._report.seen, None, batch[-1].name.text, "files")

    def _settle(self, batch: list[Item]) -> None:
        """One sync for many: in the order in which they were found, so that neighbours come to lie together."""
        staged = [
            item.incoming.staged for item in batch if item.incoming is not None and item.incoming.staged is not None
        ]
        with self._handle.watching_syncs():
            self._handle.blobs.settle(staged)

    def _count(self, item: Item) -> None:
        report = self._report
        if item.outcome is Outcome.REFUSED:
            self._problem(os.fsencode(item.source), "refused", item.reason)
        elif item.incoming is not None:
            report.bytes += item.incoming.size
            if item.outcome is Outcome.ADDED:
                report.added += 1
            elif item.outcome is Outcome.REVISED:
                report.revised += 1
            else:
                report.unchanged += 1

    def _problem(self, path: bytes, code: str, reason: str) -> None:
        self._report.problems.append(Problem(path.decode("utf-8", "backslashreplace"), code, reason))


def _is_kept(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
