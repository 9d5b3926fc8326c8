"""What differs between a tree on disk and the one that a state makes: file by file, read whole, no link followed."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.exchange.ground import InTheWayError, Readable, Steps
from holdfast.exchange.tree import TOP, Entries, Leaf, Tree, place


class Why(StrEnum):
    """How a place differs."""

    MISSING = "missing"
    CHANGED = "changed"
    STRAY = "not part of it"
    LINK = "a link or special file"
    FILE = "a file where a folder belongs"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that differs."""

    steps: Steps
    why: Why

    def __str__(self) -> str:
        return f"{place(self.steps)}: {self.why}"


def differences(ground: Readable, tree: Tree) -> Iterator[Difference]:
    """All places of a tree that differ. Memory: the names of one folder."""
    for steps, entries in tree.folders():
        names = listed(ground, steps)
        if isinstance(names, Difference):
            yield names
            continue
        for name, entry in entries.items():
            if entry is not None and (why := differs(ground, steps, name, tree.leaf(entry))) is not None:
                yield Difference((*steps, name), why)
        for name in names:
            if name not in entries and (steps or name in TOP):
                yield from strays(ground, (*steps, name))


def listed(ground: Readable, steps: Steps) -> list[bytes] | Difference:
    """The names in a folder, in order; none if it is not there; a Difference if something else is."""
    try:
        return ground.names(steps)
    except FileNotFoundError:
        return []
    except InTheWayError as error:
        return Difference(error.steps, Why.FILE if error.code == "file" else Why.LINK)


def differs(ground: Readable, steps: Steps, name: bytes, leaf: Leaf) -> Why | None:
    """How a file differs; None if it does not. What a pointer stands for may be in its place."""
    facts = ground.look(steps, name)
    if facts is None:
        return Why.MISSING
    if not stat.S_ISREG(facts.st_mode):
        return Why.LINK
    if facts.st_size != leaf.size and not leaf.stands_for:
        return Why.CHANGED
    found = ground.digest(steps, name)
    return None if found and found in (leaf.digest, leaf.stands_for) else Why.CHANGED


def strays(ground: Readable, steps: Steps) -> Iterator[Difference]:
    """A file that does not belong to the tree, or every file below a folder that does not."""
    facts = ground.look(steps[:-1], steps[-1])
    if facts is None:
        return
    if not stat.S_ISDIR(facts.st_mode):
        yield Difference(steps, Why.STRAY if stat.S_ISREG(facts.st_mode) else Why.LINK)
        return
    waiting = [steps]
    while waiting:
        folder = waiting.pop()
        names = listed(ground, folder)
        assert isinstance(names, list)
        for name in names:
            inner = (*folder, name)
            found = ground.look(folder, name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                waiting.append(inner)
            elif found is not None:
                yield Difference(inner, Why.STRAY if stat.S_ISREG(found.st_mode) else Why.LINK)


def is_content(leaf: Leaf) -> bool:
    """Whether a file is a content of the store, byte for byte."""
    return leaf.data is None and not leaf.changes


def contents(entries: Entries) -> Iterator[tuple[bytes, Leaf]]:
    """Those of a folder's files that hold a content."""
    return ((name, leaf) for name, leaf in entries.items() if isinstance(leaf, Leaf) and is_content(leaf))


def pointers(entries: Entries) -> Iterator[tuple[bytes, Leaf]]:
    """Those of a folder's files that point to a content."""
    return ((name, leaf) for name, leaf in entries.items() if isinstance(leaf, Leaf) and leaf.stands_for)
