"""What a power loss may leave: from a recording, the folders that a file system is allowed to show afterwards.

The rules, stricter than ext4 and XFS are:
- bytes not synced since may be missing from any point on, and sectors of 512 bytes among them may read as zeros; of
  bytes written over synced ones, each sector may also be as before. Bytes beside them, in the same sector, stay;
- names not synced since: in mode `ordered` any prefix of the changes of names is there (a journal of metadata), in mode
  `folders` a prefix for each folder on its own, in mode `any` each change by itself. A rename is never half there;
- a COMMIT that returned is in the write-ahead log; of one that did not, any sectors may be, beside what an older
  log has left there; one that begins the log anew has synced its head before. A checkpoint that did not return left
  any pages, torn or whole, with the whole log beside them; afterwards the log may still be uncut;
- with a rollback journal, a COMMIT that did not return left any pages beside the whole journal, or old pages beside a
  torn one; one that returned may be undone by a journal that comes back, unless SQLite synced its removal;
- the index is what the changes of its name led to, of those that are there: so a new one is not gone with both names;
- the index may be gone altogether, if nothing else is lost (losing both is the one double failure that is documented).

Which of them are tried is chosen in crash_choices.
"""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.care.fsck import index as fsck_index
from holdfast.engine import private, trust
from holdfast.formats import paths
from holdfast.index import sqlite
from holdfast.testing.index_watch import ROLLBACK, WAL, IndexSeen
from holdfast.testing.recording import SETTLED, Operation, Recording
from holdfast.testing.rollback import journal_of

SECTOR = 512


class Torn(enum.Enum):
    """What a sector shows that was written over and not synced since, if not what was written."""

    OLD = enum.auto()
    ZEROS = enum.auto()


@dataclass(slots=True)
class File:
    """Bytes of a file; the first `durable` of them were synced, and are sure where nothing was written over them since.

    `over`: by sector, from where to where that was; `before`: what stood in all of the file when it began.
    """

    data: bytearray = field(default_factory=bytearray)
    durable: int = 0
    over: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    before: bytes = b""
    _whole: bytes | None = None

    def put(self, data: bytes, offset: int) -> None:
        """Write at a place: at the end, or over what is there. What was synced and is not written over stays sure."""
        at, end = offset, min(offset + len(data), self.durable)
        if at < end and not self.over:
            self.before = self.whole
        while at < end:
            stop = min((at // SECTOR + 1) * SECTOR, end)
            self.over.setdefault(at // SECTOR, []).append((at, stop))
            at = stop
        self.data[offset : offset + len(data)] = data
        self._whole = None

    def sync(self) -> None:
        """Make all bytes sure."""
        self.durable, self.before = len(self.data), b""
        self.over.clear()

    @property
    def whole(self) -> bytes:
        """All bytes; the same object until more are added, so that its hash is taken once."""
        if self._whole is None:
            self._whole = bytes(self.data)
        return self._whole

    @property
    def is_loose(self) -> bool:
        """Whether any bytes are not sure."""
        return len(self.data) > self.durable or bool(self.over)

    @property
    def loose_sectors(self) -> int:
        """How many sectors behind what was synced, whole or in part, are not sure."""
        return -(-len(self.data) // SECTOR) - self.durable // SECTOR if len(self.data) > self.durable else 0

    def torn(self, sectors: Mapping[int, Torn]) -> bytes:
        """All bytes, but in these sectors other ones where they were written over: nowhere else."""
        if not sectors:
            return self.whole
        data = bytearray(self.data)
        for number, how in sectors.items():
            for start, end in self.over[number]:
                data[start:end] = self.before[start:end] if how is Torn.OLD else bytes(end - start)
        return bytes(data)


@dataclass(slots=True)
class Change:
    """A change of names, and whether it is sure."""

    operation: Operation
    durable: bool = False


@dataclass(slots=True)
class Point:
    """Everything that could matter at one crash point: the first `at` events have happened."""

    at: int
    folders: list[str]
    names: dict[str, int]
    files: dict[int, File]
    changes: list[Change] = field(default_factory=list)
    index: list[IndexSeen] = field(default_factory=list)
    """The durable state of the index first, then those that may be there instead."""
    naming: list[tuple[Change, int]] = field(default_factory=list)
    """Changes of the index's name that may be lost, and where in `index` begins what is there if they are not."""
    elsewhere: bool = False
    """The store was copied here, and no writer has settled in it yet: so say its notes of who has it open."""
    coming: IndexSeen | None = None
    """What SQLite was doing when the power went."""

    @property
    def loose_files(self) -> list[int]:
        """Numbers of the files with bytes that may be lost."""
        return [number for number, file in self.files.items() if file.is_loose]

    @property
    def loose_names(self) -> list[Change]:
        """The changes of names that may be lost."""
        return [change for change in self.changes if not change.durable]

    def indexes(self, names: list[Change]) -> list[IndexSeen]:
        """Of `index`, what may be there where these changes of names are: what they led to, if the index's is one."""
        kept = {id(change) for change in names}
        start, stop = 0, len(self.index)
        for change, at in reversed(self.naming):
            if id(change) in kept:
                start = at
                break
            stop = at
        return self.index[start:stop]


@dataclass(frozen=True, slots=True)
class State:
    """One folder that may be found after the crash. `index` None: there is none; `origin`: how it was chosen."""

    at: int
    origin: str
    folders: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]
    index: IndexSeen | None
    elsewhere: bool = False

    def fingerprint(self) -> int:
        """The same for two states with the same files."""
        index = self.index
        return hash((self.folders, self.files, index and (index.database, index.log, index.journal, index.identity)))


def point(recording: Recording, at: int) -> Point:
    """What is on the disk, and what of it is sure, after the first `at` events."""
    return next(points(recording, [at]))


def points(recording: Recording, ats: Iterable[int]) -> Iterator[Point]:
    """The same for many, in ascending order. Each is the one before, moved on: use it before you ask for the next."""
    files = {number: File(bytearray(data), len(data)) for number, data in recording.files.values()}
    names = {name: number for name, (number, _) in recording.files.items()}
    # An index that is there when the recording begins is the first that is seen.
    index = [e for e in recording.events[:1] if isinstance(e, IndexSeen) and e.how == "whole"]
    found = Point(0, list(recording.folders), names, files, index=index, elsewhere=recording.elsewhere)
    happened = 0
    for at in ats:
        upto = at + _is_one_with_the_last(recording, at)
        for event in recording.events[happened:upto]:
            if isinstance(event, IndexSeen):
                _index_seen(found, event)
            else:
                _happened(found, event)
        happened, found.at = max(happened, upto), at
        coming = [e for e in recording.events[upto : upto + 1] if isinstance(e, IndexSeen)]
        found.coming = coming[0] if coming and coming[0].how not in ("names", "whole") else None
        yield found


def _is_one_with_the_last(recording: Recording, at: int) -> bool:
    """Whether the next event is how the index looks after a change of names: no crash comes between the two."""
    return any(isinstance(event, IndexSeen) and event.how == "names" for event in recording.events[at : at + 1])


def _index_seen(found: Point, event: IndexSeen) -> None:
    plain = IndexSeen(event.how, event.database, event.log, event.identity)
    if event.how == "names":
        if found.changes:
            found.naming.append((found.changes[-1], len(found.index)))
        found.index += [*_renamed_too_early(found, event), event]
        return
    found.naming.clear()
    if event.how in ("checkpoint", "anew") and found.index:
        # The cut of the log is not synced: what was cut may come back, beside the new database.
        before = found.index[-1].log
        uncut = before if event.how == "checkpoint" else event.log + before[len(event.log) :]
        found.index = [IndexSeen("uncut", event.database, uncut, event.identity), event]
    elif event.how == "commit" and found.index and not event.removal_synced:
        # The rollback journal may come back and undo what was acknowledged.
        journal = journal_of(found.index[-1].database or b"", event.database or b"")
        found.index = [IndexSeen("undone", event.database, b"", event.identity, journal), plain]
    else:
        found.index = [plain]


def _renamed_too_early(found: Point, event: IndexSeen) -> list[IndexSeen]:
    """A new index that got its name before its bytes were sure may have the name and no bytes."""
    last = found.changes[-1].operation if found.changes else None
    if last is None or last.kind != "rename" or last.path != paths.INDEX or event.database is None:
        return []
    file = found.files[last.file]
    if not file.is_loose:
        return []
    return [IndexSeen("zeros", bytes(len(event.database)), b"", event.identity)]


def _happened(found: Point, event: Operation) -> None:
    if event.kind == SETTLED:
        found.elsewhere = False
    elif event.kind == "write":
        found.files[event.file].put(event.data, event.offset)
    elif event.kind in ("create", "link", "unlink", "rename", "mkdir"):
        if event.file >= 0:
            found.files.setdefault(event.file, File())
        found.changes.append(Change(event))
    elif event.kind == "fsync" and event.file in found.files:
        found.files[event.file].sync()
    elif event.kind == "fsync_dir":
        for change in found.changes:
            change.durable |= event.path in _folders(change.operation)
        if event.path == "" and found.index and found.index[-1].how == "names":
            found.index = [seen for seen in found.index if seen.how == "zeros"] + found.index[-1:]
            found.naming.clear()
    elif event.kind == "sync_filesystem":
        _all_sure(found)


def _all_sure(found: Point) -> None:
    for change in found.changes:
        change.durable = True
    for file in found.files.values():
        file.sync()
    found.index = found.index[-1:]
    found.naming.clear()


def _folders(operation: Operation) -> set[str]:
    return {os.path.dirname(path) for path in (operation.path, operation.source or operation.path)}


def state_of(found: Point, origin: str, changes: list[Change], lost: dict[int, bytes], seen: IndexSeen | None) -> State:
    """The state with these changes of names, and these bytes instead of all those of some files."""
    folders, names = set(found.folders), dict(found.names)
    for change in changes:
        _apply(change.operation, folders, names)
    kept = [
        (name, lost[number] if number in lost else found.files[number].whole)
        for name, number in sorted(names.items())
        if not name.startswith(paths.INDEX)
    ]
    return State(found.at, origin, tuple(sorted(folders)), tuple(kept), seen, found.elsewhere)


def _apply(change: Operation, folders: set[str], names: dict[str, int]) -> None:
    parent = os.path.dirname(change.path)
    if parent and parent not in folders:
        return
    if change.kind == "mkdir":
        folders.add(change.path)
    elif change.kind == "unlink":
        if names.get(change.path) == change.file:
            del names[change.path]
    elif change.kind == "rename":
        if names.get(change.source) == change.file:
            del names[change.source]
        names[change.path] = change.file
    else:
        names.setdefault(change.path, change.file)


# -- on a real disk ----------------------------------------------------------------------------------------------------


def build(state: State, folder: str) -> None:
    """Make the state a folder, which must not be there yet."""
    os.mkdir(folder)
    for name in state.folders:
        os.mkdir(os.path.join(folder, name))
    files = list(state.files)
    if state.elsewhere and paths.LOCKS in state.folders:
        files.append((paths.HANDLES_LOCK, b'{"place": "elsewhere"}'.ljust(SECTOR)))
    if state.index is not None:
        files += [(WAL, state.index.log)] if state.index.log else []
        files += [(ROLLBACK, state.index.journal)] if state.index.journal else []
        files += [(paths.INDEX, state.index.database)] if state.index.database is not None else []
    for name, data in files:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


@contextlib.contextmanager
def at_home(state: State, folder: str) -> Iterator[None]:
    """In the block, the built index passes for the file it was in the workload: a power loss makes no copies."""
    path = os.path.join(folder, paths.INDEX)
    real = sqlite.file_identity
    if state.index is None or state.index.database is None:
        yield
        return
    built, identity = real(path), state.index.identity

    def claimed(asked: str) -> str:
        found = real(asked)
        return identity if found == built else found

    places = (sqlite, trust, private, fsck_index)
    for place in places:
        place.file_identity = claimed  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for place in places:
            place.file_identity = real  # type: ignore[attr-defined]
