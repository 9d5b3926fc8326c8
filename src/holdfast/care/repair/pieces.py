"""The journal's transactions wherever they stand: in segments under wrong names, cut, out of order, half readable.

The ordinary reader goes by names and stops where a sealed segment cannot be decompressed. Here each file is read by
what it holds, as far as it goes, and cut into runs in which changes ascend; runs that do not overlap make up one
stream. Each transaction proves itself, and the chain decides which ones are used.
"""

from __future__ import annotations

import contextlib
import os
import stat as flags
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.disk import Disk
from holdfast.engine.aside import text_of
from holdfast.errors import HoldfastError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Located
from holdfast.values.change import Transaction


@dataclass(slots=True)
class _Run:
    """The `number`th run of a file, and its first and last changes."""

    path: str
    number: int
    first: int
    last: int


def streams(root: str, disk: Disk) -> list[Iterator[Transaction]]:
    """As few streams as hold every transaction of the folder `journal/`, each in ascending order.

    Every file is read once to see what it holds. Memory is that of the list of runs, usually one a file.
    """
    folder, runs = os.path.join(root, paths.JOURNAL), []
    with contextlib.suppress(HoldfastError, OSError):
        for name in disk.listdir(folder):
            runs += _runs_of(disk, os.path.join(folder, name))
    lanes: list[list[_Run]] = []
    for run in sorted(runs, key=lambda one: (one.first, one.last)):
        lane = next((lane for lane in lanes if lane[-1].last < run.first), None)
        if lane is None:
            lanes.append([run])
        else:
            lane.append(run)
    return [_read(disk, lane) for lane in lanes]


def _read(disk: Disk, lane: list[_Run]) -> Iterator[Transaction]:
    for run in lane:
        for number, transaction in _numbered(disk, run.path):
            if number == run.number:
                yield transaction


def _runs_of(disk: Disk, path: str) -> list[_Run]:
    found: list[_Run] = []
    for number, transaction in _numbered(disk, path):
        first = transaction.entry.first
        if len(found) <= number:
            found.append(_Run(path, number, first, first))
        found[number].last = first
    return found


def _numbered(disk: Disk, path: str) -> Iterator[tuple[int, Transaction]]:
    """(number of the run, transaction) of a file as far as it can be read; nothing of what is no file."""
    number, last = 0, 0
    with contextlib.suppress(HoldfastError, OSError):
        facts = disk.stat(path)
        if facts is None or not flags.S_ISREG(facts.st_mode):
            return
        for item in lines.scan(text_of(disk, path)):
            if isinstance(item, Located):
                first = item.transaction.entry.first
                number, last = number + (first <= last), first
                yield number, item.transaction
