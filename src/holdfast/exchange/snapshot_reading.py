"""What is in a snapshot, and parts of it as files, without unpacking it all."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from holdfast import disk
from holdfast.disk import Disk
from holdfast.engine.recover import Progress
from holdfast.errors import DestinationDiffersError, DigestMismatchError, NotFoundError
from holdfast.exchange.archive import Archive
from holdfast.exchange.ground import Ground, InTheWayError, Steps
from holdfast.exchange.staging import Staging
from holdfast.exchange.tree import FORMAT, Leaf, label_of
from holdfast.exchange.tree_compare import differs
from holdfast.formats import snapshot
from holdfast.formats.snapshot import FRAME, Member
from holdfast.values.records import FileFacts

WINDOW_FILES, WINDOW_BYTES = 1_000, 64 << 20
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Listing:
    """What a snapshot says of itself, and its files in order. `next_seq`: the change that would come next."""

    store: str
    next_seq: int
    head: str
    bytes: int
    file_bytes: int
    files: Sequence[Member]


@dataclass(slots=True)
class ExtractReport:
    """How many files were written, how many were there already, and the bytes of those written."""

    written: int = 0
    same: int = 0
    bytes: int = 0


def listing(path: str | os.PathLike[str], *, max_bytes: int | None = None) -> Listing:
    """What is in a snapshot; only the end of the file and FORMAT are read. InvalidValueError, FormatTooNewError."""
    with Archive(os.fspath(path), most_bytes=max_bytes) as archive:
        label = label_of(archive.read((), FORMAT, 4096) or b"")
        files = tuple(archive.members)
        return Listing(
            label.store, label.head.next_seq, label.head.hash.hex(), sum(one.size for one in files), archive.file_bytes,
            files,
        )  # fmt: skip


def extract(
    path: str | os.PathLike[str], dest: str | os.PathLike[str], names: Iterable[str] = (), *,
    max_bytes: int | None = None, progress: Progress | None = None,
) -> ExtractReport:  # fmt: skip
    """Write files of a snapshot to a folder: those with these names, and all below them; without names all.

    Only the frames that they lie in are read, each file is proven by its digest before it gets its name. Durable when
    it returns; the same call goes on after an interruption. Raises NotFoundError (nothing has a name),
    DestinationDiffersError (a file is there and differs; nothing was written), DigestMismatchError.
    """
    with Archive(os.fspath(path), most_bytes=max_bytes) as archive:
        wanted = _chosen(archive, [name.strip("/").encode("utf-8", "surrogateescape") for name in names])
        top = os.path.abspath(os.fspath(dest))
        with disk.typed("make folder", top):
            os.makedirs(top, exist_ok=True)
        with Ground(top) as ground:
            return _Extracting(archive, ground, progress).run(wanted)


def _chosen(archive: Archive, names: list[bytes]) -> list[Member]:
    if not names:
        return list(archive.members)
    found: dict[bytes, Member] = {}
    for name in names:
        some = [one for one in archive.members if one.path == name or one.path.startswith(name + b"/")]
        if not some:
            text = snapshot.shown(name)
            raise NotFoundError(f"the snapshot has nothing at {text!r}", kind="file", ref=text,
                                remedy="`holdfast snapshot ls` shows what is in it.")  # fmt: skip
        found |= {one.path: one for one in some}
    return sorted(found.values(), key=lambda one: one.offset)


class _Extracting:
    def __init__(self, archive: Archive, ground: Ground, progress: Progress | None) -> None:
        self._progress = progress
        self._archive = archive
        self._ground = ground
        self._report = ExtractReport()

    def run(self, wanted: list[Member]) -> ExtractReport:
        """All of them, or none if one is in the way of another file."""
        todo = self._missing(wanted)
        with Staging(self._ground, Disk()) as staging:
            window: list[tuple[Steps, bytes]] = []
            size = 0
            for count, one in enumerate(todo):
                if self._progress and count % 100 == 0:
                    self._progress(count, len(todo), snapshot.shown(one.path), "files")
                steps = tuple(one.path.split(b"/"))
                window.append((steps, staging.write(functools.partial(self._copy, one), FileFacts())))
                size += one.size
                self._report.bytes += one.size
                if len(window) >= WINDOW_FILES or size >= WINDOW_BYTES:
                    self._name(staging, window)
                    window, size = [], 0
            self._name(staging, window)
        Disk().sync_filesystem(self._ground.top)
        return self._report

    def _missing(self, wanted: list[Member]) -> list[Member]:
        todo: list[Member] = []
        differing: list[str] = []
        for one in wanted:
            *steps, name = one.path.split(b"/")
            try:
                is_there = self._ground.look(tuple(steps), name) is not None
            except InTheWayError:
                differing.append(snapshot.shown(one.path))
                continue
            if not is_there:
                todo.append(one)
            elif differs(self._ground, tuple(steps), name, Leaf(one.digest, one.size)) is None:
                self._report.same += 1
            else:
                differing.append(snapshot.shown(one.path))
        if differing:
            more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
            raise DestinationDiffersError(
                f"{differing[0]!r} is there and differs{more}", path=differing[0], paths=differing[:_NAMED],
                count=len(differing), remedy="Extract into another folder.",
            )  # fmt: skip
        return todo

    def _copy(self, one: Member, write: Callable[[bytes], object]) -> None:
        *steps, name = one.path.split(b"/")
        found = self._archive.digest(tuple(steps), name)
        if found != one.digest:
            raise DigestMismatchError(
                f"{snapshot.shown(one.path)} does not hash to its digest", expected=one.digest, found=found
            )
        with self._archive.open(tuple(steps), name) as file:
            while piece := file.read(FRAME):
                write(piece)

    def _name(self, staging: Staging, window: list[tuple[Steps, bytes]]) -> None:
        if not window:
            return
        staging.settle()
        for steps, passing in window:
            for depth in range(1, len(steps)):
                self._ground.make(steps[:depth], 0o777)
            staging.place(passing, self._ground.folder(steps[:-1]), steps[-1])
            self._report.written += 1
