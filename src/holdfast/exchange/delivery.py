"""Writes files to a destination, some thousands at a time: read in the order of the store, synced together, then named.

Every content is proven by its digest before its file gets a name. What is there already is left alone, compared or
replaced, as the caller says.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.blobs import copy_to
from holdfast.engine.handle import Handle
from holdfast.engine.past import When
from holdfast.errors import (
    BlobDamagedError,
    BlobMissingError,
    DestinationDiffersError,
    DigestMismatchError,
    StorageIOError,
)
from holdfast.exchange import outgoing
from holdfast.exchange.folder import Problem
from holdfast.exchange.ground import Ground, InTheWayError, There
from holdfast.exchange.outgoing import Entry
from holdfast.exchange.staging import Staging
from holdfast.index.select.contents import Held
from holdfast.values.records import SYMLINK_MEDIA_TYPE

IN_MEMORY_BYTES = 1 << 20
"""Larger contents are streamed."""

_EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_DAMAGE = (BlobDamagedError, BlobMissingError, DigestMismatchError)
_REFUSED = (errno.EILSEQ, errno.EINVAL, errno.ENAMETOOLONG, errno.ENOENT)
"""What a file system says of names and link targets that it cannot hold."""

Write = Callable[[bytes], object]


class Existing(StrEnum):
    """What becomes of a file that is there and differs from the one to be written."""

    REFUSE = "refuse"  # nothing is written at all
    KEEP = "keep"  # it stays, the others are written
    REPLACE = "replace"  # it gives way; a folder never does


@dataclass(frozen=True, slots=True)
class Way:
    """How to check out. `at`: the state at a seq or a time; `revision`: of one artifact; `dry_run`: write nothing."""

    at: When | None = None
    revision: int | None = None
    existing: Existing = Existing.REFUSE
    dry_run: bool = False


@dataclass(slots=True)
class CheckoutReport:
    """What a checkout did, in files (links count as files). `seq`: the last change of the state that was written.

    `same`: were there already; `kept`, `replaced`: were there and differed; `folders`: made; `bytes`: of content
    written; `conflicts`: of a dry run, what would have made it refuse; `problems`: what could not be written, as for
    `add`, with the codes purged, redacted, withdrawn, damaged, refused, in-the-way, changed and store.
    `moved_on`: somebody wrote to the store meanwhile: what was written may be of several moments.
    """

    seq: int = 0
    written: int = 0
    same: int = 0
    kept: int = 0
    replaced: int = 0
    folders: int = 0
    bytes: int = 0
    moved_on: bool = False
    conflicts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def differs(paths: list[str], count: int) -> DestinationDiffersError:
    """The error for what is in the way: some paths, and how many there are."""
    more = f" (and {count - 1} more)" if count > 1 else ""
    return DestinationDiffersError(f"{paths[0]!r} is there and differs{more}", path=paths[0], paths=paths, count=count)


class Delivery:
    """Files on their way to one destination, and the report of it."""

    def __init__(self, handle: Handle, way: Way) -> None:
        self._handle = handle
        self._way = way
        self.report = CheckoutReport()
        self.is_empty = False
        """Nothing is at the destination: nothing needs to be compared."""

    # -- what is there -----------------------------------------------------------------------------------------------

    def rehearse(self, ground: Ground | None, window: list[Entry]) -> None:
        """Count what would become of some files; `ground` None: the destination is not there."""
        kept = outgoing.held(self._handle, window)
        for number, entry in enumerate(window):
            if number not in kept:
                self._gone(entry)
            elif ground is None or self.is_empty or self._wanted(entry, _compared(ground, entry)):
                self.report.written += 1
                self.report.bytes += entry.revision.size

    def _present(self, ground: Ground, entry: Entry) -> There:
        if self.is_empty:
            return There.NOTHING
        if self._way.existing is Existing.REFUSE:  # all that is there was compared before anything was written
            return There.NOTHING if ground.look(entry.steps, entry.name) is None else There.SAME
        return ground.compare(entry.steps, entry.name, entry.revision)

    def _wanted(self, entry: Entry, there: There) -> bool:
        """Whether a file is to be written, given what is at its place."""
        if there is There.SAME:
            self.report.same += 1
        elif there is not There.NOTHING:
            return self._gives_way(entry.shown, there)
        return there is There.NOTHING

    def _gives_way(self, shown: str, there: There) -> bool:
        if self._way.existing is Existing.REFUSE:
            if not self._way.dry_run:
                raise differs([shown], 1)
            self.report.conflicts.append(shown)
        elif self._way.existing is Existing.KEEP:
            self.report.kept += 1
        elif there is There.FOLDER:
            self.problem(shown, "in-the-way", "a folder is where the file belongs, and stays")
        else:
            self.report.replaced += 1
            return True
        return False

    # -- writing -----------------------------------------------------------------------------------------------------

    def write(self, ground: Ground, staging: Staging, window: list[Entry]) -> None:
        """Write some files; each is whole and on disk before it gets its name."""
        kept = outgoing.held(self._handle, window)
        wanted: list[tuple[Entry, Held]] = []
        for number, entry in enumerate(window):
            if number not in kept:
                self._gone(entry)
            elif self._wanted(entry, self._present(ground, entry)):
                wanted.append((entry, kept[number]))
        staged = list(self._staged(staging, wanted))
        if staged:
            staging.settle()
        for entry, passing in staged:
            self._place(ground, staging, entry, passing)

    def _staged(self, staging: Staging, wanted: list[tuple[Entry, Held]]) -> Iterator[tuple[Entry, bytes]]:
        """Files with content, mode and time, and no name yet."""
        small = [(entry, held) for entry, held in wanted if entry.revision.size <= IN_MEMORY_BYTES]
        for number, data in self._contents(small):
            passing = self._made(staging, small[number][0], data)
            if passing is not None:
                yield small[number][0], passing
        for entry, held in wanted:
            if entry.revision.size > IN_MEMORY_BYTES and (passing := self._made(staging, entry, held)) is not None:
                yield entry, passing

    def _contents(self, wanted: list[tuple[Entry, Held]]) -> Iterator[tuple[int, bytes]]:
        """(number, content), proven, in the order of the store; what is damaged is told, and the rest goes on."""
        yield from ((number, b"") for number, (_, held) in enumerate(wanted) if held.digest == _EMPTY)
        full = [number for number, (_, held) in enumerate(wanted) if held.digest != _EMPTY]
        left = dict.fromkeys(full)
        try:
            for place, data in self._handle.blobs.read_many([wanted[number][1] for number in full]):
                del left[full[place]]
                yield full[place], data
        except _DAMAGE:
            yield from self._one_by_one(wanted, list(left))

    def _one_by_one(self, wanted: list[tuple[Entry, Held]], numbers: list[int]) -> Iterator[tuple[int, bytes]]:
        for number in numbers:
            entry, held = wanted[number]
            try:
                data = self._handle.blobs.read(held.digest)
            except _DAMAGE as error:
                self.problem(entry.shown, "damaged", error.message)
            else:
                yield number, data

    def _made(self, staging: Staging, entry: Entry, content: bytes | Held) -> bytes | None:
        """The passing name of a file; its content is given whole, or streams out of the store. None: told why not."""
        try:
            if entry.revision.media_type == SYMLINK_MEDIA_TYPE:
                if not isinstance(content, bytes):
                    raise ValueError(f"a link to {entry.revision.size} bytes")
                return staging.link(content, entry.revision.file)
            return staging.write(self._filling(content), entry.revision.file)
        except _DAMAGE as error:
            self.problem(entry.shown, "damaged", error.message)
        except (OverflowError, ValueError, FileNotFoundError) as error:
            self.problem(entry.shown, "refused", f"the file system takes no such file: {error}")
        except StorageIOError as error:
            if error.fields.get("errno") not in _REFUSED:
                raise
            self.problem(entry.shown, "refused", error.message)
        return None

    def _filling(self, content: bytes | Held) -> Callable[[Write], None]:
        def whole(write: Write) -> None:
            assert isinstance(content, bytes)
            write(content)

        def stream(write: Write) -> None:
            assert isinstance(content, Held)
            with contextlib.closing(self._handle.blobs.open(content.digest)) as reader:
                copy_to(reader, write)

        return whole if isinstance(content, bytes) else stream

    def _place(self, ground: Ground, staging: Staging, entry: Entry, passing: bytes) -> None:
        try:
            above = ground.folder(entry.steps)
            if self._way.existing is Existing.REPLACE:
                staging.replace(passing, above, entry.name)
            else:
                staging.place(passing, above, entry.name)
        except FileExistsError:  # it came while we were writing
            staging.drop(passing)
            if self._wanted(entry, _compared(ground, entry)):
                self.problem(entry.shown, "changed", "something was there for a moment")
            return
        except (FileNotFoundError, InTheWayError):
            staging.drop(passing)
            self.problem(entry.shown, "changed", "its folder was taken away or exchanged meanwhile")
            return
        except StorageIOError as error:
            if error.fields.get("errno") not in (*_REFUSED, errno.EISDIR):
                raise
            staging.drop(passing)
            self.problem(entry.shown, "refused", error.message)
            return
        self.report.written += 1
        self.report.bytes += entry.revision.size

    # -- telling -----------------------------------------------------------------------------------------------------

    def _gone(self, entry: Entry) -> None:
        why = outgoing.why_gone(self._handle, entry.revision)
        self.problem(entry.shown, why, f"the content of revision {entry.revision.number} was {why}")

    def problem(self, path: str, code: str, reason: str) -> None:
        """Note what could not be written."""
        self.report.problems.append(Problem(path, code, reason))


def _compared(ground: Ground, entry: Entry) -> There:
    try:
        return ground.compare(entry.steps, entry.name, entry.revision)
    except InTheWayError:
        return There.NOTHING  # what is in the way of its folder is told there
