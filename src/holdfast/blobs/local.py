"""Blobs as files of one store folder: `tmp/` while staged, `blobs/ab/<sha256>.zst` once published."""

from __future__ import annotations

import contextlib
import enum
import errno
import itertools
import os
import stat as stat_flags
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

from holdfast.blobs.compress import Shape, Written, as_bytes_view, write_blob, write_small
from holdfast.blobs.contract import BlobStat, Staged, WalkEntry
from holdfast.blobs.files import ContentReader, FramedReader, open_file, stat_file
from holdfast.blobs.reader import BlobRaw, verify
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError, InvalidValueError, StorageIOError
from holdfast.formats import paths
from holdfast.formats.appending import Batch
from holdfast.formats.pack import Spot
from holdfast.values import digest as digests
from holdfast.values.frozen import dataclass

# One sync of the file system costs as much as a few syncs of files; it is reliable on Linux alone (5.8 and later).
_FEW_FILES = 8 if sys.platform.startswith("linux") else sys.maxsize
_FEW_FOLDERS = 16 if sys.platform.startswith("linux") else sys.maxsize

_BEGIN_BYTES = 8 << 20
"""The system is asked to begin to write with so many bytes: as much as a disk likes in one piece."""

_FAN_OUT = frozenset(f"{n:02x}" for n in range(256))


class _State(enum.Enum):
    WRITTEN = enum.auto()
    DURABLE = enum.auto()
    UNKNOWN = enum.auto()  # a sync failed: what is on disk cannot be known, and asking again would lie
    SPENT = enum.auto()


@dataclass(slots=True)
class _Place:
    """A staged file: absolute path, how far it has come, frames in it."""

    path: str
    state: _State
    frames: int


def _writing(disk: Disk, fd: int, path: str) -> Callable[[bytes], None]:
    """Writes to the end of a file. A large one is on its way to the disk before its last byte is compressed."""
    done = begun = 0

    def write(data: bytes) -> None:
        nonlocal done, begun
        disk.write(fd, data, path)
        done += len(data)
        if done - begun >= _BEGIN_BYTES:
            disk.begin_writing(fd, begun, done - begun)
            begun = done

    return write


class LocalBlobs:
    """Blobs in the folder `root` of a store, by way of `disk`. Needs no folders made beforehand except `root`.

    `shape` says how content is cut; any shape can be read, whatever it was written with. `stem`: how the names of all
    begin that is staged here.
    """

    def __init__(self, root: str, disk: Disk, *, shape: Shape | None = None) -> None:
        self._root = os.path.abspath(root)
        self._disk = disk
        self._shape = shape or Shape()
        # 128 bits: half drawn once, half counted, because a draw for each file makes threads wait for each other.
        self.stem = os.urandom(8).hex()
        self._count = itertools.count()
        self._synced_folders: set[str] | None = None

    # Taking in.

    def stage(self, source: bytes | memoryview | BinaryIO, *, durable: bool = True) -> Staged:
        """Write bytes to `tmp/`, hashed and compressed on the way; with `durable` they are synced on return.

        Raises InvalidValueError (the source gives no bytes), NoSpaceError, StorageIOError; nothing stays behind then.
        """
        if isinstance(source, bytes | bytearray | memoryview):
            view = as_bytes_view(source)
            if len(view) <= self._shape.one_frame_max:
                return self._stage(lambda emit: write_small(view, emit), durable=durable)
        return self._stage(lambda emit: write_blob(source, emit, shape=self._shape), durable=durable)

    def stage_all(self, contents: Mapping[str, bytes]) -> list[Staged]:
        """As `stage` of each; they are not durable yet. If one fails, none of them stays behind."""
        with contextlib.ExitStack() as undo:
            staged: list[Staged] = []
            undo.callback(lambda: self.discard(staged))
            staged.extend(LocalBlobs.stage(self, content, durable=False) for content in contents.values())
            undo.pop_all()
        return staged

    def stage_batch(self, batch: Batch) -> list[Staged]:
        """As `stage_all` of its members."""
        return self.stage_all({digests.text(raw): content for raw, content in batch.contents()})

    def settle(self, staged: Sequence[Staged]) -> None:
        """Make staged bytes durable: a sync for each of a few, one sync of the file system for many."""
        places = [place for place in map(_place, staged) if place.state is not _State.DURABLE]
        for place in places:
            if place.state is not _State.WRITTEN:
                raise StorageIOError(f"a sync of {place.path} failed before", path=place.path, operation="sync")
            place.state = _State.UNKNOWN
        if len(places) > _FEW_FILES:
            self._disk.sync_filesystem(os.path.join(self._root, paths.TMP))
        else:
            self._sync_files([place.path for place in places])
        for place in places:
            place.state = _State.DURABLE

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        """Link staged bytes to their names; both survive power loss on return. Equal content is published once.

        A file that has the name already is read whole: kept and synced if good, moved to `quarantine/` if not.
        Raises InvalidValueError (not settled, or spent), NoSpaceError, StorageIOError; names that were given by then
        stay, the staged bytes too.
        """
        places = [_place(item) for item in staged]
        for place in places:
            if place.state is not _State.DURABLE:
                raise InvalidValueError(f"{place.path} is not settled", where="staged", reason="not durable")
        done: dict[str, BlobStat] = {}
        kept: list[str] = []
        for item, place in zip(staged, places, strict=True):
            if item.digest not in done:
                done[item.digest] = self._give_name(item, place, kept)
        if done:
            self._sync_names(done, kept)
        for place in places:
            self._drop(place)
        return [done[item.digest] for item in staged]

    def discard(self, staged: Sequence[Staged]) -> None:
        """Remove staged bytes; those that were published or discarded before are left out."""
        for item in staged:
            if isinstance(item.place, _Place) and item.place.state is not _State.SPENT:
                self._drop(item.place)

    # Giving out.

    def stat(self, digest: str) -> BlobStat | None:
        """Sizes of a blob without decompressing it; None if absent; BlobDamagedError if headers or table are wrong."""
        raw = digests.raw(digest)
        return stat_file(self._disk, self._path(raw), digests.text(raw))

    def open(self, digest: str) -> ContentReader | FramedReader:
        """Random access to a blob; a blob of one frame is proven now. BlobMissingError, BlobDamagedError."""
        raw = digests.raw(digest)
        try:
            return open_file(self._disk, self._path(raw), digests.text(raw))
        except BlobMissingError as error:
            self._say_where_damaged(error, raw)
            raise

    def read(self, digest: str, *, spot: Spot | None = None) -> bytes:  # noqa: ARG002 - there are no packs here
        """A whole blob, checked against its digest. BlobMissingError, BlobDamagedError."""
        reader = self.open(digest)
        if isinstance(reader, ContentReader):
            return reader.content
        with BlobRaw(reader) as raw:
            return raw.readall()

    def read_many(self, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes]]:
        """One after the other."""
        for number, (digest, spot) in enumerate(wanted):
            yield number, self.read(digest, spot=spot)

    def verify(self, digest: str) -> BlobStat:
        """Read every byte of a blob in bounded memory. BlobMissingError, BlobDamagedError."""
        return _proven(self.open(digest))

    def delete(self, digest: str) -> bool:
        """Remove a blob's file; False if there is none. Not synced."""
        try:
            self._disk.unlink(self._path(digests.raw(digest)))
        except FileNotFoundError:
            return False
        return True

    # Looking after.

    def walk(self) -> Iterator[WalkEntry]:
        """Everything under `blobs/` in order of path; `digest` is None for what is no blob's file. Content unread."""
        top = os.path.join(self._root, paths.BLOBS)
        for name, there in self._look_into(top):
            path = f"{paths.BLOBS}/{name}"
            if not (stat_flags.S_ISDIR(there.st_mode) and name in _FAN_OUT):
                yield _entry(path, there, None)
                continue
            for file, what in self._look_into(os.path.join(top, name)):
                raw = paths.parse_blob_file(name, file) if stat_flags.S_ISREG(what.st_mode) else None
                yield _entry(f"{path}/{file}", what, raw)

    def stale(self) -> Iterator[WalkEntry]:
        """What lies in `tmp/`: staged bytes of the living, or leavings of the dead; `modified_us` helps to tell."""
        for name, there in self._look_into(os.path.join(self._root, paths.TMP)):
            yield _entry(f"{paths.TMP}/{name}", there, None)

    def remove_stale(self, path: str) -> bool:
        """Remove a file that `stale` named; False if it is gone. InvalidValueError for a path outside `tmp/`."""
        folder, _, name = path.partition("/")
        if folder != paths.TMP or not name or "/" in name or name in (".", ".."):
            raise InvalidValueError(f"{path!r} is not a file of {paths.TMP}/", where="path", reason="outside")
        try:
            self._disk.unlink(os.path.join(self._root, path))
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Nothing is held open."""

    def abandon(self) -> None:
        """Nothing is held open."""

    # How.

    def _say_where_damaged(self, error: BlobMissingError, raw: bytes) -> None:
        """Name the file that was set aside as damaged, if there is one."""
        start = os.path.basename(paths.blob_file(raw)) + "."
        found = [n for n in self._disk.listdir(os.path.join(self._root, paths.QUARANTINE)) if n.startswith(start)]
        if found:
            error.fields["quarantined"] = f"{paths.QUARANTINE}/{found[-1]}"
            error.message += f"; a damaged file of it was set aside as {error.fields['quarantined']}"
            error.args = (error.message,)
            error.remedy = "Run `holdfast fsck --repair --from PATH` with a backup or a folder that has the original."

    def _path(self, raw: bytes) -> str:
        return f"{self._root}/{paths.blob_file(raw)}"

    def _stage(self, fill: Callable[[Callable[[bytes], None]], Written], *, durable: bool) -> Staged:
        path = f"{self._root}/{paths.TMP}/{self.stem}{next(self._count):016x}.tmp"
        disk = self._disk
        fd = self._create(path)
        try:
            try:
                written = fill(_writing(disk, fd, path))
                if durable:
                    disk.fsync(fd, path)
            finally:
                disk.close(fd)
        except BaseException:
            with contextlib.suppress(HoldfastError, OSError):
                disk.unlink(path)
            raise
        place = _Place(path, _State.DURABLE if durable else _State.WRITTEN, written.frames)
        return Staged(digests.text(written.digest), written.size, written.stored_bytes, durable, place)

    def _create(self, path: str) -> int:
        try:
            return self._disk.create(path)
        except FileNotFoundError:
            # Copying tools drop empty folders.
            self._disk.mkdir(os.path.dirname(path))
        try:
            return self._disk.create(path)
        except FileNotFoundError as error:
            raise StorageIOError(f"cannot create {path}", path=path, operation="create", errno=errno.ENOENT) from error

    def _give_name(self, item: Staged, place: _Place, kept: list[str]) -> BlobStat:
        """Link one file. A good one that was there goes to `kept`, because nobody may have synced it yet."""
        path = self._path(digests.raw(item.digest))
        for _ in range(3):
            try:
                self._link(place.path, path)
            except FileExistsError:
                found = self._prove_or_set_aside(path, item.digest)
                if found is None:
                    continue
                kept.append(path)
                return found
            return BlobStat(item.digest, item.size, item.stored_bytes, place.frames)
        raise StorageIOError(f"{path} keeps coming back damaged", path=path, operation="publish", errno=errno.EEXIST)

    def _link(self, source: str, target: str) -> None:
        try:
            self._disk.link(source, target)
        except FileNotFoundError:
            folder = os.path.dirname(target)
            if self._disk.stat(os.path.dirname(folder)) is None:
                self._disk.mkdir(os.path.dirname(folder))
                self._disk.fsync_dir(self._root)
            self._disk.mkdir(folder)
        else:
            return
        try:
            self._disk.link(source, target)
        except FileNotFoundError as error:
            raise StorageIOError(f"{source} is gone", path=source, operation="link", errno=errno.ENOENT) from error

    def _prove_or_set_aside(self, path: str, digest: str) -> BlobStat | None:
        before = self._disk.stat(path)
        try:
            return _proven(LocalBlobs.open(self, digest))  # this file, wherever else the content may be
        except BlobMissingError:
            return None
        except BlobDamagedError:
            now = self._disk.stat(path)
            # Another publisher may have replaced it while it was read here: then look at the new one first.
            if before is not None and now is not None and before.st_ino == now.st_ino:
                self._set_aside(path)
        return None

    def _set_aside(self, path: str) -> None:
        folder = os.path.join(self._root, paths.QUARANTINE)
        if self._disk.mkdir(folder):
            self._disk.fsync_dir(self._root)
        self._disk.rename(path, f"{folder}/{os.path.basename(path)}.{os.urandom(8).hex()}")
        self._disk.fsync_dir(folder)

    def _sync_names(self, published: Iterable[str], kept: list[str]) -> None:
        """Make names durable: those of the files, and first those of folders that this handle has not yet synced."""
        blobs = os.path.join(self._root, paths.BLOBS)
        folders = {os.path.dirname(self._path(digests.raw(digest))) for digest in published}
        if self._synced_folders is None or not folders <= self._synced_folders:
            # A folder made by a process that was killed before it synced looks like any other: sync it once here.
            present = {os.path.join(blobs, name) for name in self._disk.listdir(blobs)}
            self._disk.fsync_dir(blobs)
            self._synced_folders = present
        if len(folders) > _FEW_FOLDERS or len(kept) > _FEW_FILES:
            self._disk.sync_filesystem(blobs)
            return
        self._sync_files(kept)
        for folder in sorted(folders):
            self._disk.fsync_dir(folder)

    def _sync_files(self, files: list[str]) -> None:
        for path in files:
            try:
                fd = self._disk.open_read(path)
            except FileNotFoundError as error:
                raise StorageIOError(f"{path} is gone", path=path, operation="sync", errno=errno.ENOENT) from error
            try:
                self._disk.fsync(fd, path)
            finally:
                self._disk.close(fd)

    def _drop(self, place: _Place) -> None:
        place.state = _State.SPENT
        # What stays in tmp/ is a second name or never was published: harmless, and `stale` shows it.
        with contextlib.suppress(HoldfastError, FileNotFoundError):
            self._disk.unlink(place.path)

    def _look_into(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """Names and what they are, in the order that paths have (a folder sorts with its slash)."""
        found = []
        for name in self._disk.listdir(folder):
            there = self._disk.stat(os.path.join(folder, name))
            if there is not None:
                found.append((name + "/" if stat_flags.S_ISDIR(there.st_mode) else name, name, there))
        for _, name, there in sorted(found, key=lambda item: item[0]):
            yield name, there


def _proven(reader: ContentReader | FramedReader) -> BlobStat:
    with contextlib.closing(reader):
        verify(reader)
    return reader.stat


def _place(item: Staged) -> _Place:
    if not isinstance(item.place, _Place) or item.place.state is _State.SPENT:
        raise InvalidValueError(f"{item.digest} is no longer staged here", where="staged", reason="spent")
    return item.place


def _entry(path: str, there: os.stat_result, raw: bytes | None) -> WalkEntry:
    digest = None if raw is None else digests.text(raw)
    return WalkEntry(path, digest, there.st_size, there.st_mtime_ns // 1000)
