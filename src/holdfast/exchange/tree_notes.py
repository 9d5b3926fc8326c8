"""What an export remembers of the tree that it wrote, so that the next one need not read it all, nor replay history.

A file that looks as it did when we wrote it (size, times, inode) has the bytes that we wrote. How it looked is noted
only if it was ours alone until then: its modification time is that of our own descriptor, and older than the grain of
the file system's clock. Whatever is doubtful is read; without notes everything is.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import current
from holdfast.errors import HoldfastError
from holdfast.exchange.ground import Ground, InTheWayError, Steps
from holdfast.exchange.tree import TOP, Leaf
from holdfast.exchange.tree_compare import strays
from holdfast.formats import paths
from holdfast.formats.looks import A_FOLDER, encode
from holdfast.index.exported import Exported, Folder, Noted
from holdfast.index.operational import state_file
from holdfast.values.frozen import dataclass

_GRAIN_NS = 20_000_000
_COARSE_NS = 2_000_000_000
"""Clocks of files tick every few milliseconds; where all times are whole hundredths of a second, every two seconds."""

_NOTHING = bytes(32)
_DOUBTFUL = bytes(len(A_FOLDER))


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written. `own`: how it looked by our own descriptor; `mark`: of the rows that it shows."""

    steps: Steps
    name: bytes
    digest: str
    mark: bytes
    own: os.stat_result


class Notes:
    """Those of one destination. `label`: what FORMAT says of the tree that they are true of; empty: of none."""

    def __init__(self, ground: Ground, kept: Exported | None) -> None:
        self._ground = ground
        self._kept = kept
        self._waiting: dict[bytes, Folder] = {}
        self._held: tuple[Steps | None, Folder] = (None, {})
        self._last: Steps | None = None
        self.label = b"" if kept is None else kept.label
        self.files = 0
        """How many files are noted, when `touched` has ended; and how many places are not there any more."""

        self.missing = 0

    def touched(self) -> set[Steps] | None:
        """Every place that is there and not as it was left; None if that cannot be said.

        Nothing is read that looks the same.
        """
        if self._kept is None or not self.label:
            return None
        found: set[Steps] = set()
        try:
            for path, noted in self._kept.folders():
                self._touched_in(tuple(path.split(b"\0")) if path else (), noted, found)
        except (HoldfastError, InTheWayError, FileNotFoundError):
            return None
        return found

    def _touched_in(self, steps: Steps, noted: Folder, found: set[Steps]) -> None:
        names = self._ground.names(steps)
        for name in names:
            one = noted.get(name)
            if one is None:
                if steps or name in TOP:
                    found.update(stray.steps for stray in strays(self._ground, (*steps, name)))
            elif one.look != A_FOLDER:
                self.files += 1
                if not self._is_as(steps, name, one):
                    found.add((*steps, name))
        self.missing += sum(1 for name in noted.keys() - set(names))

    def _is_as(self, steps: Steps, name: bytes, one: Noted) -> bool:
        """Whether a file has the bytes that were noted. One that looks otherwise, or may, is read."""
        facts = self._ground.look(steps, name)
        if facts is None or not stat.S_ISREG(facts.st_mode):
            return False
        return encode(facts) == one.look or self._ground.digest(steps, name) == "sha256:" + one.digest.hex()

    # -- while the next tree is written --------------------------------------------------------------------------------

    def known(self, steps: Steps, name: bytes) -> Noted | None:
        """What is noted of a file that looks as it was left; None if nothing is, or it does not."""
        if self._kept is None or not self.label:
            return None
        if self._held[0] != steps:
            with contextlib.suppress(HoldfastError):
                self._held = steps, self._kept.folder(b"\0".join(steps))
        one = self._held[1].get(name) if self._held[0] == steps else None
        if one is None or one.look == A_FOLDER:
            return None
        facts = self._ground.look(steps, name)
        return one if facts is not None and encode(facts) == one.look else None

    def begin(self) -> None:
        """Files are about to change."""
        self._do(lambda kept: kept.begin())

    def distrust(self) -> None:
        """Somebody wrote to the store meanwhile: what was noted may be of several moments."""
        self.label = b""

    def folder(self, steps: Steps, folders: list[bytes]) -> None:
        """The files of a folder follow."""
        if self._kept is not None:
            self._last = steps
            self._waiting[b"\0".join(steps)] = {name: Noted(A_FOLDER, _NOTHING) for name in folders}

    def same(self, steps: Steps, name: bytes, one: Noted) -> None:
        """A file is as it was noted before."""
        self._keep(steps, name, one)

    def read(self, steps: Steps, name: bytes, leaf: Leaf, mark: bytes, facts: os.stat_result | None) -> None:
        """A file was read and has the bytes that it is to have. `facts`: how it looked before."""
        self._keep(steps, name, Noted(_settled(facts), bytes.fromhex(leaf.digest[7:]), mark))

    def written(self, files: list[Written]) -> None:
        """Files got their names just now. Waits for some milliseconds, so that a change from now on would show."""
        if self._kept is None:
            return
        time.sleep(1.2 * _GRAIN_NS / 1e9)
        for one in files:
            facts = self._ground.look(one.steps, one.name)
            if facts is not None and not _is_own(facts, one.own):
                facts = None
            self._keep(one.steps, one.name, Noted(_settled(facts), bytes.fromhex(one.digest[7:]), one.mark))

    def written_apart(self, files: list[Written]) -> None:
        """Files were written where nobody looks, and look the same when they get there: as `own` says."""
        for one in files:
            look = None if _is_coarse(one.own) else encode(one.own)
            self._keep(one.steps, one.name, Noted(look or _DOUBTFUL, bytes.fromhex(one.digest[7:]), one.mark))

    def before_they_show(self) -> None:
        """Wait, so that a change from when they can be seen would show."""
        if self._kept is not None:
            time.sleep(1.2 * _GRAIN_NS / 1e9)

    def _keep(self, steps: Steps, name: bytes, one: Noted) -> None:
        if self._kept is not None:
            self._waiting[b"\0".join(steps)][name] = one

    def pause(self) -> None:
        """All files that were announced have their names: note them, but for those of the folder that is under way."""
        last = None if self._last is None else b"\0".join(self._last)
        done = {path: found for path, found in self._waiting.items() if path != last}
        self._waiting = {path: found for path, found in self._waiting.items() if path == last}
        self._do(lambda kept: kept.note(done))

    def end(self, label: bytes) -> None:
        """The tree is whole."""
        self._last = None
        self.pause()
        self._do(lambda kept: kept.end(label))

    def _do(self, work: Callable[[Exported], None]) -> None:
        if self._kept is not None:
            try:
                work(self._kept)
            except HoldfastError:
                self._kept = None  # a note that cannot be kept costs reading, not the export


def _is_own(facts: os.stat_result, own: os.stat_result) -> bool:
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (own.st_ino, own.st_size, own.st_mtime_ns)


def _is_coarse(facts: os.stat_result) -> bool:
    return not (facts.st_mtime_ns % 10_000_000 or facts.st_ctime_ns % 10_000_000)


def _settled(facts: os.stat_result | None) -> bytes:
    """How a file looks; what no file looks like if a change from now on might not show."""
    if facts is not None:
        newest = max(facts.st_mtime_ns, facts.st_ctime_ns) + (_COARSE_NS if _is_coarse(facts) else _GRAIN_NS)
        if newest < time.time_ns() and (look := encode(facts)):
            return look
    return _DOUBTFUL


@contextlib.contextmanager
def notes_of(handle: Handle, ground: Ground) -> Iterator[Notes]:
    """The notes of a destination; none inside a transaction, or where there cannot be a file of them."""
    state = None
    if current(handle) is None and handle.tenant is None:
        state = state_file(os.path.join(handle.root, paths.STATE), handle.disk)
    if state is None:
        yield Notes(ground, None)
        return
    try:
        facts = os.fstat(ground.folder(()))
        place = os.fsencode(os.path.realpath(ground.top)) + b"\0%d:%d" % (facts.st_dev, facts.st_ino)
        kept = None
        with contextlib.suppress(HoldfastError):
            kept = Exported(state, place)
        yield Notes(ground, kept)
    finally:
        state.close()
