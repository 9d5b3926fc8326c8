"""Writes a collection out as a working tree, byte for byte, or one artifact as a file: what `add` took in, back again.

Nothing that is there is touched unless the caller asks for it, so the same call again goes on where an interruption
stopped it. No path that the store names is followed along a link (see `holdfast.exchange.ground`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator

from holdfast import disk
from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import DestinationDiffersError, InvalidValueError
from holdfast.exchange import outgoing
from holdfast.exchange.delivery import CheckoutReport, Delivery, Existing, Way, differs
from holdfast.exchange.ground import Ground, InTheWayError, Steps, There
from holdfast.exchange.outgoing import Entry, Place
from holdfast.exchange.staging import Staging
from holdfast.index.sql import SqlIndex
from holdfast.kinds.addresses import ArtifactRef, CollectionRef
from holdfast.values.records import Artifact, Collection
from holdfast.values.redaction import placeholder

WINDOW_ITEMS = 4_000
WINDOW_BYTES = 256 << 20
"""So many files, or bytes of them, are written before they are synced together and get their names."""

NAMED = 20
"""So many files in the way are named in an error."""

_Events = Callable[[], Iterator[Entry | Place]]


def existing(word: str) -> Existing:
    """The policy of a name; InvalidValueError."""
    if word not in tuple(Existing):
        raise InvalidValueError(
            f"{word!r} says nothing of files that are there", where="existing", reason="unknown",
            remedy=f"Use one of: {', '.join(Existing)}.",
        )  # fmt: skip
    return Existing(word)


def checkout(
    handle: Handle, ref: ArtifactRef | CollectionRef, dest: str | bytes | os.PathLike[str], *, way: Way | None = None,
    progress: Progress | None = None,
) -> CheckoutReport:  # fmt: skip
    """Write what `ref` names to `dest`: a collection's contents into that folder, an artifact into or as that file.

    Durable when it returns. A content that is gone or damaged is in the report, and the rest is written. Raises
    NotFoundError, InvalidValueError, DestinationDiffersError (nothing was written then, unless it came meanwhile),
    NoSpaceError and what else stops it; what was written till then stays, each file whole.
    """
    way = way or Way()
    handle.alive()
    head = handle.index.chain.head() or handle.origin
    seq = head.next_seq - 1 if way.at is None else past.seq_of(handle, way.at)
    with contextlib.ExitStack() as held:
        index = handle.index
        if seq < head.next_seq - 1:
            index = held.enter_context(past.index_at(handle, seq, progress))
        found = outgoing.find(index, ref)
        work = _Checkout(handle, index, way, progress)
        if isinstance(found, Artifact):
            work.artifact(found, os.fsdecode(dest))
        elif way.revision is not None:
            raise InvalidValueError(
                "a collection has no revisions", where="revision", reason="kind", remedy="Say `at` for an old state."
            )
        else:
            work.collection(found, os.fsdecode(dest))
    now = handle.index.chain.head() or handle.origin
    work.report.seq = seq
    work.report.moved_on = index is handle.index and now.hash != head.hash
    return work.report


class _Checkout:
    def __init__(self, handle: Handle, index: SqlIndex, way: Way, progress: Progress | None) -> None:
        self._handle = handle
        self._index = index
        self._ids = index.lookups.ids
        self._way = way
        self._progress = progress
        self._total = self._done = 0
        self._blocked: Steps | None = None
        self._own = handle.facts()
        self._delivery = Delivery(handle, way)
        self.report = self._delivery.report

    # -- what, and where to ------------------------------------------------------------------------------------------

    def collection(self, found: Collection | None, dest: str) -> None:
        """All that lies below a collection, and its own mode and time for `dest`."""
        self._total = outgoing.count(self._index, found)
        is_now = self._index is self._handle.index
        with self._ground(dest) or contextlib.nullcontext() as ground:
            self._all(ground, lambda: outgoing.below(self._index, found, placed=is_now))
            if ground is not None and not self._way.dry_run:
                self._dress(ground, outgoing.folders(self._index, found))

    def artifact(self, found: Artifact, dest: str) -> None:
        """One file: in `dest` if that is a folder, else as `dest`."""
        self._total = 1
        revision = outgoing.revision(self._index, found, self._way.revision)
        top, name = os.path.split(dest)
        if os.path.isdir(dest) or name in ("", ".", ".."):
            top, name = dest, os.fsdecode(found.name_bytes)
        with self._ground(top or ".") or contextlib.nullcontext() as ground:
            self._all(ground, lambda: iter([Entry((), os.fsencode(name), revision)]))

    def _ground(self, top: str) -> Ground | None:
        """The folder to write in, made if need be; None in a dry run if it is not there."""
        if os.path.lexists(top) and not os.path.isdir(top):
            raise DestinationDiffersError(
                f"{top!r} is there and is no folder", path=top, paths=[top], count=1,
                remedy="Choose another destination.",
            )  # fmt: skip
        self._refuse_inside_store(top)
        if not os.path.isdir(top):
            self._delivery.is_empty = True
            if self._way.dry_run:
                return None
            with disk.typed("make folder", top):
                os.makedirs(top, exist_ok=True)
        return Ground(top, self._own)

    def _refuse_inside_store(self, top: str) -> None:
        place = os.path.realpath(top)
        while True:
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(place), self._own):
                    raise InvalidValueError(
                        f"{top!r} lies in the store itself", where="dest", reason="store",
                        remedy="Choose a folder outside the store.",
                    )  # fmt: skip
            above = os.path.dirname(place)
            if above == place:
                return
            place = above

    # -- the way through ---------------------------------------------------------------------------------------------

    def _all(self, ground: Ground | None, events: _Events) -> None:
        if ground is None or self._way.dry_run:
            for window in self._windows(self._files(events(), lambda place: self._rehearsed(ground, place))):
                self._delivery.rehearse(ground, window)
            return
        with Staging(ground, self._handle.disk) as staging:
            with disk.typed("list", ground.top):
                self._delivery.is_empty = len(os.listdir(ground.folder(()))) == 1
            if not self._delivery.is_empty and self._way.existing is Existing.REFUSE:
                self._refuse_conflicts(ground, events())
            for window in self._windows(self._files(events(), lambda place: self._made(ground, place))):
                self._delivery.write(ground, staging, window)
        self._handle.disk.sync_filesystem(ground.top)

    def _windows(self, entries: Iterable[Entry]) -> Iterator[list[Entry]]:
        window: list[Entry] = []
        size = 0
        for entry in entries:
            window.append(entry)
            size += entry.revision.size
            if len(window) >= WINDOW_ITEMS or size >= WINDOW_BYTES:
                yield window
                self._tell(window)
                window, size = [], 0
        if window:
            yield window
            self._tell(window)

    def _tell(self, window: list[Entry]) -> None:
        self._done += len(window)
        if self._progress:
            self._progress(self._done, self._total, window[-1].shown, "files")

    def _files(self, events: Iterable[Entry | Place], enter: Callable[[Place], bool]) -> Iterator[Entry]:
        """The files; folders are entered on the way. What lies below one that cannot be is passed over."""
        for event in events:
            if self._blocked is not None and event.steps[: len(self._blocked)] == self._blocked:
                continue
            self._blocked = None
            name = event.name if isinstance(event, Entry) else event.steps[-1]
            if name in (b"", b".", b"..") or b"/" in name:  # no store lets such a name in; one that was made up might
                self._delivery.problem(event.shown, "refused", "this is no name")
                self._blocked = event.steps if isinstance(event, Place) else None
                continue
            if isinstance(event, Place):
                self._blocked = None if enter(event) else event.steps
                continue
            if self._index is not self._handle.index and self._lost_its_name(event):
                self._delivery.problem(
                    event.shown, "name-redacted", "its name was redacted; the id stands in its place"
                )
            yield event

    def _lost_its_name(self, entry: Entry) -> bool:
        key = entry.revision.artifact
        return entry.name.startswith(b"redacted-") and entry.name == placeholder(self._ids([key])[key]).encode()

    def _rehearsed(self, ground: Ground | None, place: Place) -> bool:
        try:
            if ground is not None:
                ground.folder(place.steps)
                return True
        except InTheWayError as error:
            if error.code != "store" and self._way.existing is Existing.REFUSE:
                self.report.conflicts.append(place.shown)
                return False
            if not self._gives_way(place, error):
                return False
        except FileNotFoundError:
            pass
        self.report.folders += 1
        return True

    def _made(self, ground: Ground, place: Place) -> bool:
        # Nobody else sees into it, and it can be written to, until it gets its own mode at the end.
        mode = 0o777 if place.file.mode is None else 0o700
        try:
            self.report.folders += ground.make(place.steps, mode)
        except InTheWayError as error:
            if not self._gives_way(place, error):
                return False
            with disk.typed("replace", place.shown):
                os.unlink(place.steps[-1], dir_fd=ground.folder(place.steps[:-1]))
            self.report.folders += ground.make(place.steps, mode)
        return True

    def _gives_way(self, place: Place, error: InTheWayError) -> bool:
        """Whether what is in a folder's place may be replaced by it."""
        if error.code == "store":
            self._delivery.problem(place.shown, "store", "this is the store itself")
            return False
        if self._way.existing is Existing.REFUSE:
            raise differs([place.shown], 1)
        if self._way.existing is Existing.KEEP:
            self._delivery.problem(place.shown, "in-the-way", f"a {error.code} is where the folder belongs, and stays")
            return False
        self.report.replaced += 1
        return True

    def _refuse_conflicts(self, ground: Ground, events: Iterable[Entry | Place]) -> None:
        """Before anything is written: DestinationDiffersError if something is in the way of it."""
        found: list[str] = []
        count = 0
        passed: Steps | None = None
        for event in events:
            if passed is not None and event.steps[: len(passed)] == passed:
                continue
            passed = None
            clear = True
            try:
                if isinstance(event, Entry):
                    there = ground.compare(event.steps, event.name, event.revision)
                    clear = there in (There.NOTHING, There.SAME)
                else:
                    ground.folder(event.steps)
            except FileNotFoundError:
                passed = event.steps
            except InTheWayError as error:
                passed, clear = event.steps, error.code == "store"
            if not clear:
                count += 1
                if len(found) < NAMED:
                    found.append(event.shown)
        if count:
            raise differs(found, count)

    def _dress(self, ground: Ground, places: Iterable[Place]) -> None:
        """Folders get their own mode and time when nothing more is written into them."""
        for place in places:
            mode, mtime = place.file.mode, place.file.mtime_ns
            if mode is None and mtime is None:
                continue
            with contextlib.suppress(FileNotFoundError, InTheWayError), disk.typed("set mode of", ground.top):
                fd = ground.folder(place.steps)
                if mode is not None:
                    os.fchmod(fd, mode)
                if mtime is not None:
                    os.utime(fd, ns=(mtime, mtime))
        self._handle.disk.sync_filesystem(ground.top)
