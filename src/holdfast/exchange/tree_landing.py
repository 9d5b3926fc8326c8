"""How the files of an exported tree get to their places: in a folder that has a tree, or in one that has none yet.

Where there is a tree, each file is written under a passing name and takes the place of what was there when all of some
thousands are on the disk. A first export writes the whole tree in one passing folder, `.holdfast-tree`, syncs once, and
moves what is at its top: a third of the calls. A killed one goes on with what it finds in there, each file compared.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import Protocol, Self

from holdfast import disk
from holdfast.disk import Disk
from holdfast.errors import DestinationDiffersError, LockedError
from holdfast.exchange import tree_intent
from holdfast.exchange.ground import Ground, Steps, rename_new
from holdfast.exchange.staging import Fill, Staging, write_new
from holdfast.exchange.tree import FORMAT, TOP, Label
from holdfast.values.records import FileFacts

PASSING = b".holdfast-tree"
_PLAIN = FileFacts()
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Place = tuple[Steps, bytes]


class Landing(Protocol):
    """Where files go. `ground`: the folder that the tree is in meanwhile; `is_new`: nothing is in it yet."""

    ground: Ground
    is_new: bool

    def write(self, steps: Steps, name: bytes, fill: Fill) -> None:
        """A file with its content; what has its name is not the same, and gives way."""

    def land(self) -> dict[Place, os.stat_result]:
        """Every file that was written since has its name; how each looked when it was written."""

    def settle(self) -> None:
        """All files that have their names have them for good: before FORMAT gets its own."""

    def end(self) -> None:
        """The tree is whole, FORMAT and all, and durable."""


class Among:
    """Into a folder that has a tree, whole or not. Use it in a `with`."""

    is_new = False

    def __init__(self, ground: Ground, disk_: Disk) -> None:
        self.ground = ground
        self._disk = disk_
        self._staging = Staging(ground, disk_, watched=True)
        self._written: dict[Place, bytes] = {}

    def __enter__(self) -> Self:
        self._staging.__enter__()
        return self

    def __exit__(self, *told: object) -> None:
        self._staging.__exit__(*told)

    def write(self, steps: Steps, name: bytes, fill: Fill) -> None:
        """As `Landing` says."""
        self._written[steps, name] = self._staging.write(fill, _PLAIN)

    def land(self) -> dict[Place, os.stat_result]:
        """As `Landing` says."""
        written, self._written = self._written, {}
        if written:
            self._staging.settle()
        found = {}
        for (steps, name), passing in written.items():
            self._staging.replace(passing, self.ground.folder(steps), name)
            found[steps, name] = self._staging.own.pop(passing)
        return found

    def settle(self) -> None:
        """As `Landing` says."""
        self._staging.settle()

    def end(self) -> None:
        """As `Landing` says."""
        self._disk.sync_filesystem(self.ground.top)


class Apart:
    """Into a folder that has none: all of it in one passing folder. Use it in a `with`. LockedError."""

    def __init__(self, above: Ground, disk_: Disk) -> None:
        self._above = above
        self._disk = disk_
        self._top = above.folder(())
        self._own: dict[Place, os.stat_result] = {}
        self.is_new = False
        self.whole = False

    def __enter__(self) -> Self:
        with disk.typed("make a folder in", self._above.top):
            with contextlib.suppress(FileExistsError):
                os.mkdir(PASSING, 0o700, dir_fd=self._top)
                self.is_new = True
            self._fd = os.open(PASSING, _FOLDER, dir_fd=self._top)
        try:
            _lock(self._fd, self._above.top)
        except BaseException:
            os.close(self._fd)
            raise
        self.ground = Ground(os.path.join(self._above.top, os.fsdecode(PASSING)))
        return self

    def __exit__(self, *_: object) -> None:
        self.ground.__exit__()
        os.close(self._fd)

    def write(self, steps: Steps, name: bytes, fill: Fill) -> None:
        """As `Landing` says."""
        with disk.typed("write a file in", self._above.top):
            self._own[steps, name] = write_new(self.ground.folder(steps), name, fill)

    def land(self) -> dict[Place, os.stat_result]:
        """As `Landing` says: they have their names already, and nobody else sees them."""
        found, self._own = self._own, {}
        return found

    def settle(self) -> None:
        """As `Landing` says: the names come all at once, at the end."""

    def end(self) -> None:
        """Everything that is at the top moves up, FORMAT last."""
        self._disk.sync_filesystem(self._above.top)
        fd = self.ground.folder(())
        for name in TOP:
            if name != FORMAT:
                self._move(fd, name)
        self._disk.sync_filesystem(self._above.top)
        self._move(fd, FORMAT)
        with disk.typed("remove", self._above.top):
            os.rmdir(PASSING, dir_fd=self._top)
        self._disk.sync_filesystem(self._above.top)

    def _move(self, fd: int, name: bytes) -> None:
        try:
            with disk.typed("name", self._above.top):
                rename_new((fd, name), (self._top, name))
        except FileNotFoundError:
            return  # a folder that nothing is in
        except FileExistsError:
            raise DestinationDiffersError(
                f"{self._above.top!r}: {name.decode()} came to be there meanwhile", path=name.decode(),
                paths=[name.decode()], count=1, remedy="Take it away, and give the same command again.",
            ) from None  # fmt: skip


@contextlib.contextmanager
def landing(ground: Ground, disk_: Disk, label: Label) -> Iterator[Landing]:
    """The way into a folder, as it is now, where the state of `label` is noted as what comes next.

    What an export that was killed has left of its own is used, or goes.
    """
    has_tree = any(ground.look((), name) is not None for name in TOP)
    left = ground.look((), PASSING)
    is_ours = left is None or (stat.S_ISDIR(left.st_mode) and bool(tree_intent.noted(ground)))
    tree_intent.note(ground, label)
    if is_ours and not has_tree:
        with Apart(ground, disk_) as apart:
            yield apart
        return
    if is_ours and left is not None:
        _clear(ground)
    with Among(ground, disk_) as among:
        yield among


def _clear(ground: Ground) -> None:
    """Remove what a killed export had not moved up yet."""
    with disk.typed("remove", ground.top):
        fd = os.open(PASSING, _FOLDER, dir_fd=ground.folder(()))
    try:
        _lock(fd, ground.top)
        with Ground(os.path.join(ground.top, os.fsdecode(PASSING))) as inner:
            for steps in list(_files(inner)):
                with disk.typed("remove", inner.top):
                    os.unlink(steps[-1], dir_fd=inner.folder(steps[:-1]))
            for name in inner.names(()):
                inner.remove_folders((name,))
        with disk.typed("remove", ground.top):
            os.rmdir(PASSING, dir_fd=ground.folder(()))
    finally:
        os.close(fd)


def _files(ground: Ground) -> Iterator[Steps]:
    waiting: list[Steps] = [()]
    while waiting:
        folder = waiting.pop()
        for name in ground.names(folder):
            facts = ground.look(folder, name)
            if facts is not None and stat.S_ISDIR(facts.st_mode):
                waiting.append((*folder, name))
            else:
                yield (*folder, name)


def _lock(fd: int, top: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(
            f"another export is writing to {top}", lock=top, holder="another export", waited_s=0.0,
            remedy="Wait until it is done.",
        ) from None  # fmt: skip
