"""A child process checks the index, its chain and rows, and the journal, while this one reads the contents.

The child looks at a copy of the index that nobody else has open, and says only whether all is well. If not, or if it
cannot be had, everything is checked here one after the other, which also says what is wrong.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from holdfast.blobs import LocalBlobs
from holdfast.care.fsck import index, journal
from holdfast.care.fsck.copies import Copies
from holdfast.care.fsck.report import Gathered
from holdfast.care.fsck.scene import Held, Scene
from holdfast.care.fsck.view import COPIED, View
from holdfast.disk import Disk
from holdfast.engine.handle import open_here
from holdfast.engine.scratch import scratch_folder
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.index.audit import Audit
from holdfast.index.sqlite import SqliteIndex
from holdfast.journal import Journal

WORTH_BYTES = 4 << 20
"""With a smaller index, starting a process costs more than it saves."""

_READ = 1 << 16


@dataclass(frozen=True, slots=True)
class Sound:
    """What is to be known of an index in which nothing was found: its chain, its rows by table, what was looked at.

    `rows` None: that they are as the chain gives them could not be told. `journal`: whether it was checked too, and
    nothing was found.
    """

    held: Held
    rows: Mapping[str, int] | None
    checked: Mapping[str, int]
    journal: bool


class Aside:
    """The child at work."""

    def __init__(self, process: int, pipe: int) -> None:
        self._process = process
        self._pipe = pipe
        self._over = False

    def sound(self) -> Sound | None:
        """Wait for what it says; None if not all is well."""
        said = bytearray()
        while data := os.read(self._pipe, _READ):
            said += data
        self._wait()
        return pickle.loads(said) if said else None  # noqa: S301 - our own child wrote it

    def end(self) -> None:
        """Do not wait for it any longer."""
        if not self._over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
            self._wait()
        os.close(self._pipe)

    def _wait(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._process, 0)
        self._over = True


@contextlib.contextmanager
def chain_and_rows(scene: Scene, settle: Callable[[Scene], None]) -> Iterator[Aside | None]:
    """A child that checks them during the block; None if there can be none, or it is not worth it.

    `settle` says where the chain begins. `scene.needs` is the index, not checked, during the block.
    """
    with contextlib.ExitStack() as stack:
        copy = _copy(scene, stack) if _is_worth_it(scene) else ""
        aside = _fork(scene.root, copy, settle) if copy else None
        if aside is not None:
            stack.callback(aside.end)
            scene.needs, scene.has_places = scene.view.audit, True
        yield aside


def _is_worth_it(scene: Scene) -> bool:
    path = os.path.join(scene.root, paths.INDEX)
    # A child has none of the threads, but what they held locked; and of what SQLite has open, it must not know.
    alone = hasattr(os, "fork") and threading.active_count() == 1 and open_here(scene.root) is None
    return alone and type(scene.disk) is Disk and os.path.isfile(path) and os.stat(path).st_size >= WORTH_BYTES


def _copy(scene: Scene, stack: contextlib.ExitStack) -> str:
    """Of the copy that is looked at here, another one: two processes must not share what SQLite knows of a file."""
    try:
        scene.view.open()
        if scene.view.copy is None:
            return ""
        path = os.path.join(stack.enter_context(scratch_folder()), paths.INDEX)
        for suffix in COPIED:
            with contextlib.suppress(*[FileNotFoundError] if suffix else []):
                shutil.copyfile(scene.view.copy + suffix, path + suffix)
    except (HoldfastError, OSError):
        return ""
    return path


def _fork(root: str, copy: str, settle: Callable[[Scene], None]) -> Aside | None:
    reading, writing = os.pipe()
    try:
        process = os.fork()
    except OSError:  # there may be as many processes as this user may have
        os.close(reading)
        os.close(writing)
        return None
    if process:
        os.close(writing)
        return Aside(process, reading)
    try:
        gc.disable()  # what belongs to the parent is not to be taken apart here
        os.close(reading)
        found = _look(root, copy, settle)
        if found is not None:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(found, pipe)
    finally:
        os._exit(0)  # whatever happened: nobody was told that all is well


def _look(root: str, copy: str, settle: Callable[[Scene], None]) -> Sound | None:
    disk, out = Disk(), Gathered(None, None)
    scene = Scene(root, disk, Journal(root, disk), LocalBlobs(root, disk), View(root), out, quick=False)
    rows = SqliteIndex(copy, read_only=True)
    index.check_opened(scene, Audit(rows), pages=False)  # the parent does, and ends this process where they are not
    if scene.needs is None:
        return None
    settle(scene)
    copies = Copies(scene.journal)
    index.check_chain(scene, copies)
    if scene.index is None or out.report(quick=False).counts:
        return None
    checked = dict(out.checked)
    with_journal = journal.is_as_the_index(scene, copies) and not out.report(quick=False).counts
    return Sound(scene.index, scene.rows, dict(out.checked) if with_journal else checked, with_journal)
