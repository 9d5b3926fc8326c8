"""`snapshot`: a whole store, or some collections with all they refer to, in one file that is the same to the byte."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from holdfast import disk
from holdfast.blobs import copy_to
from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import BlobDamagedError, DestinationDiffersError, InvalidValueError, LockedError, NotFoundError
from holdfast.exchange.choosing import chosen
from holdfast.exchange.tree import Leaf, Shape, Tree
from holdfast.formats import frame, snapshot
from holdfast.formats.snapshot import END, FRAME, Member

_NEW = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_EVERYTHING = Shape(large_from=1 << 62, beside=True)
"""Nothing in a snapshot is a pointer."""


@dataclass(slots=True)
class SnapshotReport:
    """What a snapshot holds. `seq`: the last change of the state that is in it; `digest`: of the file itself."""

    store: str = ""
    seq: int = 0
    files: int = 0
    bytes: int = 0
    file_bytes: int = 0
    digest: str = ""


def take(
    handle: Handle, dest: str | bytes | os.PathLike[str], *, collections: Iterable[str | bytes] = (),
    replace: bool = False, progress: Progress | None = None,
) -> SnapshotReport:  # fmt: skip
    """Write a snapshot to the file `dest`. Durable when it returns; before that the name is not there, or as it was.

    `collections`: only these with all they refer to, as a store of its own: its one transaction is made of their
    present state, and says of each record where it came from. Raises NotFoundError, DestinationDiffersError (a file is
    there, and `replace` was not said), BlobMissingError, BlobDamagedError, LockedError, NoSpaceError.
    """
    handle.alive()
    target = os.path.abspath(os.fsdecode(dest))
    if os.path.lexists(target) and not replace:
        raise _taken(target)
    folder, root = os.path.realpath(os.path.dirname(target)), os.path.realpath(handle.root)
    if folder == root or folder.startswith(os.path.join(root, "")):
        raise InvalidValueError(
            f"{target!r} lies in the store itself", where="dest", reason="store",
            remedy="Choose a folder outside the store.",
        )  # fmt: skip
    head = handle.index.chain.head()
    if head is None:
        raise NotFoundError("the store is empty", kind="record", ref="", remedy="Put something in: `holdfast add`.")
    wanted = list(collections)
    with _making(target) as fd, contextlib.ExitStack() as held:
        if wanted:
            tree = held.enter_context(chosen(handle, wanted, _EVERYTHING))
        else:
            # A state that nobody changes meanwhile: replayed, as for an export beside somebody who writes.
            index = held.enter_context(past.index_at(handle, head.next_seq - 1, progress))
            tree = Tree(index, handle.marker.store_id, _EVERYTHING)
        report = _Writing(handle, tree, fd, progress).run()
        report.seq = head.next_seq - 1
        with disk.typed("write", target):
            os.fsync(fd)
            _name(target, replace=replace)
    handle.disk.fsync_dir(os.path.dirname(target))
    return report


def _name(target: str, *, replace: bool) -> None:
    if replace:
        os.replace(_passing(target), target)
        return
    try:
        os.link(_passing(target), target)
    except FileExistsError:
        raise _taken(target) from None


def _taken(target: str) -> DestinationDiffersError:
    return DestinationDiffersError(
        f"{target!r} is there already", path=target, paths=[target], count=1,
        remedy="Choose another name, or say --force to put the new file in its place.",
    )  # fmt: skip


def _passing(target: str) -> str:
    return os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.part")


@contextlib.contextmanager
def _making(target: str) -> Iterator[int]:
    """The file under its passing name, locked. One that a killed process left is begun anew."""
    passing = _passing(target)
    with disk.typed("make", passing):
        fd = os.open(passing, _NEW, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"another snapshot is being written to {target}", lock=passing, holder="another snapshot", waited_s=0.0,
                remedy="Wait until it is done.",
            ) from None  # fmt: skip
        with disk.typed("empty", passing):
            os.ftruncate(fd, 0)
        try:
            yield fd
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(passing)
    finally:
        os.close(fd)


class _Writing:
    def __init__(self, handle: Handle, tree: Tree, fd: int, progress: Progress | None) -> None:
        self._handle = handle
        self._tree = tree
        self._fd = fd
        self._progress = progress
        self._waiting = bytearray()
        self._stored: list[int] = []
        self._checks: list[bytes] = []
        self._members: list[Member] = []
        self._at = 0
        self._own = hashlib.sha256()
        self._report = SnapshotReport(store=tree.store)

    def run(self) -> SnapshotReport:
        """All of the tree, in its order."""
        for steps, entries in self._tree.folders():
            for name, entry in sorted(entries.items()):
                if entry is not None:
                    self._member(b"/".join((*steps, name)), self._tree.leaf(entry))
        self._tar(END)
        if self._waiting:
            self._frame(bytes(self._waiting))
        self._write(snapshot.encode_tail(self._members, self._stored, self._checks, self._at))
        self._report.digest = "sha256:" + self._own.hexdigest()
        return self._report

    def _member(self, path: bytes, leaf: Leaf) -> None:
        self._tar(snapshot.header(path, leaf.size))
        self._members.append(Member(path, leaf.digest, leaf.size, self._at))
        before, total = self._at, hashlib.sha256()

        def take(piece: bytes) -> None:
            total.update(piece)
            self._tar(piece)

        self._fill(leaf, take)
        if self._at - before != leaf.size or "sha256:" + total.hexdigest() != leaf.digest:
            raise BlobDamagedError(f"{snapshot.shown(path)} is not what its digest says", digest=leaf.digest)
        self._tar(b"\0" * (-leaf.size % snapshot.BLOCK))
        self._report.files += 1
        self._report.bytes += leaf.size
        if self._progress and self._report.files % 100 == 0:
            self._progress(self._report.files, None, snapshot.shown(path), "files")

    def _fill(self, leaf: Leaf, write: Callable[[bytes], object]) -> None:
        if leaf.data is not None:
            write(leaf.data)
        elif leaf.changes:
            for piece in self._tree.chain(leaf.changes):
                write(piece)
        else:
            with contextlib.closing(self._handle.blobs.open(leaf.digest)) as reader:
                copy_to(reader, write)

    def _tar(self, piece: bytes) -> None:
        self._waiting += piece
        self._at += len(piece)
        while len(self._waiting) >= FRAME:
            self._frame(bytes(self._waiting[:FRAME]))
            del self._waiting[:FRAME]

    def _frame(self, data: bytes) -> None:
        made = frame.encode(data)
        self._stored.append(len(made))
        self._checks.append(made[-4:])
        self._write(made)

    def _write(self, data: bytes) -> None:
        self._own.update(data)
        self._report.file_bytes += len(data)
        with disk.typed("write", "the snapshot"):
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
