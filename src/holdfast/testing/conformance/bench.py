"""A store around an index that is to be tried: contents and journal in memory, so that only the index is on trial."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast import Store, ram
from holdfast.engine import memory
from holdfast.engine.handle import Handle
from holdfast.engine.settings import Settings
from holdfast.formats import marker, paths
from holdfast.index.sql import SqlIndex
from holdfast.values.change import Actor

OpenIndex = Callable[[Path], SqlIndex]
_kept: dict[Path, tuple[ram.RamDisk, marker.Marker]] = {}


def settings(*, wait_s: float = 20.0) -> Settings:
    """How stores of the kit are opened."""
    return Settings(Actor("kit"), wait_s=wait_s)


def store_over(place: Path, open_index: OpenIndex) -> Store:
    """The store whose index is at a place: a new one, or the one that was closed there before."""
    index = open_index(place)
    if place in _kept:
        disk, found = _kept[place]
        index.check()
        return Store(memory.put_together(disk.root, found, settings(), disk, index))
    handle = memory.make(settings(), index)
    assert isinstance(handle.disk, ram.RamDisk)
    handle.at_close = None
    _kept[place] = (handle.disk, handle.marker)
    return Store(handle)


def forget(place: Path) -> None:
    """Give back what stores at a place left in memory."""
    disk, _ = _kept.pop(place, (None, None))
    if disk is not None:
        disk.free()


@contextlib.contextmanager
def second_handle(handle: Handle, index: SqlIndex) -> Iterator[Handle]:
    """Another handle on the same store, as another process would have it, over another handle on its index."""
    disk = handle.disk
    assert isinstance(disk, ram.RamDisk)
    other = memory.put_together(handle.root, handle.marker, settings(), disk, index)
    try:
        yield other
    finally:
        other.close()


def journal_path(store: Store) -> str:
    """The folder of the journal of a store of the kit."""
    return os.path.join(str(store.path), paths.JOURNAL)
