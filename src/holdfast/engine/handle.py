"""One open store: its parts in one hand, whether it may still be used, and what happens to it in a forked child."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from holdfast import ram
from holdfast.disk import Disk
from holdfast.engine.locks import HandlesLock, WriterLock
from holdfast.engine.ram_locks import RamLock
from holdfast.errors import HandleDeadError, HoldfastError, ReadOnlyError, StorageIOError
from holdfast.formats import paths
from holdfast.formats.marker import Marker
from holdfast.index.select.sight import Token
from holdfast.index.sql import SqlIndex
from holdfast.journal import Journal
from holdfast.values import change
from holdfast.values.change import Actor, Head
from holdfast.values.frozen import dataclass
from holdfast.values.moment import Clock, SystemClock

if TYPE_CHECKING:
    from holdfast.blobs.contract import BlobStore
    from holdfast.engine.pending import Keeper
    from holdfast.search.index import SearchIndex
    from holdfast.search.server import ServerSearch

SYNC_EVERY_S = 5.0
_open_handles: weakref.WeakSet[Handle] = weakref.WeakSet()
_left_by_fork: list[object] = []


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening had to do. `rebuilt`: the rows were derived anew; `reason`: why; `transactions`: of how many."""

    rebuilt: bool = False
    reason: str = ""
    transactions: int = 0


class Companion(Protocol):
    """What lives as long as an open store, and ends with it."""

    def close(self) -> None:
        """The store is closed: give everything back."""
        ...

    def abandon(self) -> list[object]:
        """In a forked child: touch nothing; what must never be closed there."""
        ...


@dataclass(eq=False)
class Handle:
    """The parts of one open store. `wait_s`: how long a write waits for the writer lock, in seconds.

    `tenant`: whose records alone it reads and writes (see index/scoped.py); None: all.
    """

    root: str
    marker: Marker
    disk: Disk
    blobs_made: Callable[[], BlobStore]
    index: SqlIndex
    journal: Journal
    writer: WriterLock
    users: HandlesLock | RamLock
    actor: Actor
    wait_s: float
    sync_s: float | None = None
    read_only: bool = False
    opened: Opened = field(default_factory=Opened)
    clock: Clock = field(default_factory=SystemClock)
    tenant: str | None = None
    at_close: Callable[[], None] | None = None
    companions: list[Companion] = field(default_factory=list)
    left: tuple[Token | None, Head] | None = None
    """What the last writer of this handle saw when it had committed, and where the chain ended."""
    _dead: str = ""

    def __post_init__(self) -> None:
        self._home = _place(self.root)
        self._stop = threading.Event()
        self._syncer: threading.Thread | None = None
        _open_handles.add(self)

    @functools.cached_property
    def blobs(self) -> BlobStore:
        """The contents; made when they are first asked for."""
        return self.blobs_made()

    @functools.cached_property
    def keeper(self) -> Keeper:
        """Who sees to bytes of packs that are not synced yet."""
        from holdfast.engine.pending import Keeper  # noqa: PLC0415 - start-up time: who reads keeps none

        return Keeper(self.blobs, self.index, self.disk)

    @functools.cached_property
    def search(self) -> SearchIndex | ServerSearch:
        """The full text, opened when it is first asked for: where the index is."""
        if hasattr(self.index, "elsewhere"):
            from holdfast.search.server import ServerSearch  # noqa: PLC0415 - start-up time

            return ServerSearch(self.index.elsewhere())
        from holdfast.search.index import SearchIndex  # noqa: PLC0415 - start-up time

        return SearchIndex(os.path.join(self.root, paths.SEARCH), read_only=self.read_only)

    def facts(self) -> os.stat_result:
        """What the system says of the store's folder, so that exports and checkouts keep out of it."""
        found = self.disk.stat(self.root) if ram.holds(self.root) else os.stat(self.root)
        if found is None:
            raise HandleDeadError("the store in memory was closed", reason="closed")
        return found

    @property
    def blobs_elsewhere(self) -> BlobStore | None:
        """The blob store, if somebody else has written it: then the folder has none of the contents."""
        from holdfast.blobs.local import LocalBlobs  # noqa: PLC0415 - start-up time

        return None if isinstance(self.blobs, LocalBlobs) else self.blobs

    @property
    def origin(self) -> Head:
        """The empty chain of this store."""
        return change.origin(self.marker.store_id)

    def alive(self) -> None:
        """Raise HandleDeadError if this handle must not be used any more."""
        if self._dead:
            raise HandleDeadError(f"this handle of {self.root} is dead: {self._dead}", reason=self._dead)
        if _place(self.root) != self._home:
            raise HandleDeadError(
                f"the store that was opened is not at {self.root} any more: it was moved or removed", reason="moved",
                remedy="Close this handle, and open the store where it is now.",
            )  # fmt: skip

    def writable(self) -> None:
        """Raise if this handle cannot write."""
        self.alive()
        if self.read_only:
            raise ReadOnlyError(f"{self.root} is open for reading only", path=self.root)

    def may_write(self) -> None:
        """As `writable`, without a look at the folder: for who calls that too before anything is done."""
        if self._dead or self.read_only:
            self.writable()

    def poison(self, error: BaseException) -> None:
        """A sync or COMMIT failed: nobody can say what is on disk. Reopening the store decides the outcome."""
        self._dead = f"a sync failed ({error})"
        import logging  # noqa: PLC0415 - start-up time: it hardly ever happens

        logging.getLogger("holdfast.engine").error(
            "handle-poisoned", extra={"holdfast": {"error": type(error).__name__}}
        )

    def watching_syncs(self) -> _Watching:
        """A sync that fails in the block poisons the handle, and the error passes on: asking again would get a lie."""
        return _Watching(self)

    def keep_synced(self) -> None:
        """See to it that what was written to journal and packs is synced within `sync_s` seconds."""
        if self._syncer is None and not self.read_only and not ram.holds(self.root):
            reference = weakref.ref(self)
            every_s = SYNC_EVERY_S if self.sync_s is None else self.sync_s
            self._syncer = threading.Thread(
                target=_sync_regularly, args=(reference, self._stop, every_s), name="holdfast-sync", daemon=True
            )
            self._syncer.start()

    def settle_packs(self, *, wait_s: float | None = None) -> None:
        """See to it that packs have all their bytes, durably, and the index keeps none: but of packs others append to.

        Takes the writer lock if there is anything to do; LockedError. Outside of transactions.
        """
        if not self.keeper.is_settled():
            self.writer.acquire("settle packs", wait_s=self.wait_s if wait_s is None else wait_s)
            try:
                with self.watching_syncs():
                    self.keeper.settle()
            finally:
                self.writer.release()

    def close(self) -> None:
        """Sync the journal, fold the write-ahead log in, give everything back. Safe to call twice."""
        if self._dead:
            self._release()
            return
        self._stop.set()
        try:
            if not self.read_only:
                self._close_durably()
        finally:
            self._dead = "closed"
            self._release()

    def _close_durably(self) -> None:
        try:
            # First of all: another thread may stand between its COMMIT and the journal.
            self.writer.acquire("close", wait_s=min(self.wait_s, 5.0))
        except HoldfastError:
            # Somebody is writing: they hold the index open, so this close is not the last and checkpoints nothing.
            self.journal.release()
            return
        try:
            self.journal.release()
            with contextlib.suppress(HoldfastError):
                self.keeper.give_up()
            with contextlib.suppress(HoldfastError):
                self.journal.settle()
                self.index.checkpoint(force=True)
            self.index.close()
        finally:
            self.writer.release()

    def _release(self) -> None:
        self._stop.set()
        while self.companions:
            self.companions.pop().close()
        self.journal.drop()
        if "blobs" in vars(self):
            self.blobs.close()
        self.index.close()
        if "search" in vars(self):
            self.search.close()
        self.writer.close()
        self.users.close()
        if self.at_close is not None:
            self.at_close()
            self.at_close = None
        _open_handles.discard(self)

    def abandon(self) -> None:
        """In a forked child: the handle is dead, its locks and connections stay the parent's."""
        self._dead = "it was opened before a fork"
        self.writer.abandon()
        self.users.abandon()
        if "blobs" in vars(self):
            self.blobs.abandon()
        for one in self.companions:
            _left_by_fork.extend(one.abandon())
        # Kept for ever: closing an inherited connection would drop the parent's locks.
        _left_by_fork.extend([self.index.database.abandon(), self])


class _Watching:
    """See `Handle.watching_syncs`."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, StorageIOError) and str(error.fields.get("operation", "")).startswith("sync"):
            self._handle.poison(error)


def _place(root: str) -> tuple[int, int] | None:
    """Which folder stands at a path: another one may be put there while the store is open."""
    try:
        facts = os.stat(root)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def open_here(root: str) -> Handle | None:
    """A handle of this process that works on the index of a store itself: then SQLite alone may open its files."""
    for handle in list(_open_handles):
        with contextlib.suppress(OSError):
            if os.path.samefile(os.path.dirname(handle.index.path), root):
                return handle
    return None


def handle_on(root: str) -> Handle | None:
    """A handle of this process on the store in a folder, wherever its index is."""
    for handle in list(_open_handles):
        if hasattr(handle, "live"):
            continue  # it looks back: its index is not the store's
        if handle.root == root:
            return handle
        with contextlib.suppress(OSError):
            if os.path.samefile(handle.root, root):
                return handle
    return None


def _sync_regularly(reference: weakref.ref[Handle], stop: threading.Event, every_s: float) -> None:
    while not stop.wait(every_s):
        handle = reference()
        if handle is None or handle._dead:  # noqa: SLF001
            return
        try:
            handle.journal.sync()
            handle.keeper.sync()
        except HoldfastError as error:
            handle.poison(error)
            return
        del handle


def _after_fork() -> None:
    for handle in list(_open_handles):
        handle.abandon()


os.register_at_fork(after_in_child=_after_fork)
