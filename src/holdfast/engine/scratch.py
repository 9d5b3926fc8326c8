"""Folders of our own outside the store (TMPDIR says where), and an end to those whose makers were killed.

Each holds a lock file that its maker keeps locked; the lock ends with the process. Whoever makes the next folder
removes those that nobody holds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

from holdfast import disk, ram
from holdfast.engine.locks import FileLock
from holdfast.errors import HoldfastError

PREFIX = "holdfast-scratch-"
_LOCK = "lock"
_UNLOCKED_S = 3600.0
"""A folder without a lock file is just being made, or its maker was killed in that very moment."""


@contextlib.contextmanager
def scratch_folder(*, root: str = "") -> Iterator[str]:
    """A folder of our own, gone at the end of the block; NoSpaceError, StorageIOError if none can be made.

    `root`: of the store that it is for: one in memory has its scratch there too, for databases only.
    """
    if ram.holds(root):
        place = ram.beside(root)
        try:
            yield place
        finally:
            ram.free(place)
        return
    _remove_abandoned()
    with disk.typed("make a temporary folder in", tempfile.gettempdir()):
        folder = tempfile.mkdtemp(prefix=PREFIX)
    lock = FileLock(os.path.join(folder, _LOCK))
    maker = os.getpid()
    try:
        lock.acquire(shared=False, wait_s=5.0)
        os.makedirs(folder, exist_ok=True)  # somebody may have taken it for abandoned just before it was locked
        yield folder
    finally:
        if os.getpid() == maker:  # a forked child comes by here when it ends, and the folder is its parent's
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()


def _remove_abandoned() -> None:
    top = tempfile.gettempdir()
    with contextlib.suppress(OSError):
        for name in os.listdir(top):
            if name.startswith(PREFIX):
                with contextlib.suppress(OSError, HoldfastError):
                    _remove_if_abandoned(os.path.join(top, name))


def _remove_if_abandoned(folder: str) -> None:
    facts = os.lstat(folder)
    if facts.st_uid != os.getuid():
        return
    path = os.path.join(folder, _LOCK)
    if not os.path.lexists(path):
        if facts.st_mtime < time.time() - _UNLOCKED_S:
            shutil.rmtree(folder, ignore_errors=True)
        return
    lock = FileLock(path)
    try:
        lock.acquire(shared=False, wait_s=0.0)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.close()
