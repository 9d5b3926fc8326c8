"""Copies a folder file by file as slowly and in whatever order a test asks for: what tools of all sorts may do.

Reads a file from its front in pieces until nothing more comes, while others write to it. Use it in a process that has
not got the store open: an index file must not be opened beside SQLite.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

INDEX_FILES = ("index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm")


@dataclass
class Copied:
    """What a copying saw. `gone`: files that were listed and not there any more; `grown`: files that grew meanwhile."""

    files: int = 0
    gone: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """How a file is read: so many bytes, then a pause of up to so many seconds; and a pause between files."""

    piece: int = 1 << 16
    pause_s: float = 0.0
    between_s: float = 0.0


Order = Callable[[list[str], random.Random], list[str]]


def by_name(names: list[str], _: random.Random) -> list[str]:
    """As most tools do."""
    return sorted(names)


def backwards(names: list[str], _: random.Random) -> list[str]:
    """From the last name to the first: the index before the blobs."""
    return sorted(names, reverse=True)


def shuffled(names: list[str], luck: random.Random) -> list[str]:
    """In any order."""
    return luck.sample(names, len(names))


def index_first(names: list[str], luck: random.Random) -> list[str]:
    """The index with its log, then the rest in any order."""
    return sorted(shuffled(names, luck), key=lambda name: name not in INDEX_FILES)


def index_last(names: list[str], luck: random.Random) -> list[str]:
    """The index with its log behind everything else."""
    return sorted(shuffled(names, luck), key=lambda name: name in INDEX_FILES)


def log_apart(names: list[str], luck: random.Random) -> list[str]:
    """The index first and its write-ahead log last, or the other way round."""
    first, last = luck.sample(["index.sqlite3", "index.sqlite3-wal"], 2)
    return sorted(shuffled(names, luck), key=lambda name: (name == last) - (name == first))


ORDERS: tuple[Order, ...] = (by_name, backwards, shuffled, index_first, index_last, log_apart)


def copy_folder(source: str, target: str, order: Order, pace: Pace, luck: random.Random) -> Copied:
    """Copy every file that is listed now, in an order and at a pace; folders and times of files come along."""
    done = Copied()
    names = order(list(_names(source)), luck)
    os.makedirs(target, exist_ok=True)
    for folder in _folders(source):
        os.makedirs(os.path.join(target, folder), exist_ok=True)
    for name in names:
        place = os.path.join(target, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        try:
            grown = _copy_file(os.path.join(source, name), place, pace, luck)
        except FileNotFoundError:
            done.gone.append(name)
            continue
        done.files += 1
        if grown:
            done.grown.append(name)
        _pause(pace.between_s, luck)
    return done


def _names(source: str) -> Iterator[str]:
    for folder, _, files in os.walk(source):
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), source)


def _folders(source: str) -> Iterator[str]:
    for folder, inside, _ in os.walk(source):
        for name in inside:
            yield os.path.relpath(os.path.join(folder, name), source)


def _copy_file(source: str, target: str, pace: Pace, luck: random.Random) -> bool:
    with open(source, "rb", buffering=0) as incoming, open(target, "wb") as out:
        size = os.fstat(incoming.fileno()).st_size
        while piece := incoming.read(pace.piece):
            out.write(piece)
            _pause(pace.pause_s, luck)
        grown = out.tell() > size
    with suppress(FileNotFoundError):
        shutil.copystat(source, target)
    return grown


def _pause(longest_s: float, luck: random.Random) -> None:
    if longest_s:
        time.sleep(luck.random() * longest_s)
