"""Ways to damage a store on purpose, one case after the other, and to see what changed.

`cases` lists what can be done to the files of a store; `harmed.Harmed` does one and undoes it; `lab.run` asks of each
whether it is found, and whether the store ever answers wrongly.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import holdfast
from holdfast.engine import derive
from holdfast.formats import paths
from holdfast.index.sqlite import SqliteIndex
from holdfast.testing import pages

MASKS = (0xFF, 0x01, 0x80)
"""What a byte is XORed with, one after the other along a file; the fourth is drawn."""

SECTORS = (512, 4096)
REPLACED = ("delete", "folder", "link-copy", "link-nowhere", "link-null", "pipe", "unreadable", "empty")
"""What can become of a whole file."""


@dataclass(frozen=True, slots=True)
class Case:
    """One damage. `path` is relative to the store.

    flip: byte `at` XOR `value`; cut: to `at` bytes; extend: by `at` bytes, zeros or garbage (`value` 0 or 1); sector:
    `value` zeros from `at` on; swap, over: with the file `other`, or a copy of it; frames: frame number `at` and the
    next one take each other's place; and what REPLACED names.
    """

    kind: str
    path: str
    at: int = 0
    value: int = 0
    other: str = ""

    def __str__(self) -> str:
        """Short, for messages."""
        return f"{self.kind} {self.path}:{self.at}^{self.value:#x} {self.other}".rstrip()


def files_of(root: Path) -> list[str]:
    """The regular files of a store, by path, small ones first: the index is last."""
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path.relative_to(root)) for path in sorted(found, key=lambda p: (p.stat().st_size, str(p)))]


def cases(root: Path, *, some: int | None = None, seed: int = 0, only: Iterable[str] | None = None) -> Iterator[Case]:
    """Everything that can be done to the files of a store, or `some` flips, cuts and so on of each file.

    All: every byte with one of four masks in turn, every length, each sector of zeros, every pair of files of a kind.
    `only`: these files. What is drawn depends on `seed` alone.
    """
    rng = random.Random(seed)  # noqa: S311
    names = files_of(root)
    for path in names if only is None else only:
        size = (root / path).stat().st_size
        for at in _places(root / path, some, rng):
            yield Case("flip", path, at, (*MASKS, rng.randrange(1, 256))[(at + seed) % 4])
        yield from (Case("cut", path, at) for at in _spread(size, some, rng))
        yield from (Case("extend", path, by, how) for by in (1, 4096) for how in (0, 1))
        for sector in SECTORS:
            blocks = [at for at in range(0, size, sector) if any((root / path).read_bytes()[at : at + sector])]
            yield from (Case("sector", path, blocks[n], sector) for n in _spread(len(blocks), some, rng))
        yield from (Case(kind, path) for kind in REPLACED if kind != "unreadable" or os.getuid())
        yield from _pairs(path, names, some, rng)


def _places(path: Path, some: int | None, rng: random.Random) -> list[int]:
    """Which bytes to flip: every one, or some; most of an index is empty, so of it some of those that say something."""
    data = path.read_bytes()
    if some is None or not data.startswith(b"SQLite format 3"):
        return _spread(len(data), some, rng)
    used = sorted(pages.anatomy(data).used)
    return [used[n] for n in _spread(len(used), some, rng)]


def _spread(size: int, some: int | None, rng: random.Random) -> list[int]:
    """All of range(size), or some: both ends, and others drawn from equal parts of it."""
    if some is None or size <= some:
        return [*range(size)]
    inner = [rng.randrange(n * size // some, (n + 1) * size // some) for n in range(some)]
    return sorted({*inner[1:-1], 0, size - 1} if some > 2 else {*inner})


def _pairs(path: str, names: list[str], some: int | None, rng: random.Random) -> Iterator[Case]:
    others = [one for one in names if one != path]
    chosen = others if some is None else rng.sample(others, min(some, len(others)))
    for other in chosen:
        if path < other:
            yield Case("swap", path, other=other)
        yield Case("over", path, other=other)


def sample_store(root: Path) -> Path:
    """A closed store: collections, revisions, a tombstone, tags, metadata, a relationship, a blob of many frames."""
    with holdfast.create(root) as store:
        put = store.artifacts.put
        put("docs/a.md", "first\n", metadata={"score": 1.5}, tags=["x"])
        put("docs/a.md", "second\n")
        put("docs/deep/b.txt", "b" * 3000)
        put("docs/same.txt", "b" * 3000)
        put("gone.txt", "gone\n")
        store.artifacts.delete("gone.txt")
        put("big.bin", bytes(range(256)) * 3000)
        store.relationships.relate("docs/a.md", "depends_on", "docs/deep/b.txt")
        store.artifacts.update("docs/a.md", status="final")
    return root


def twin(store: Path, root: Path) -> Path:
    """A copy of a closed store that takes itself for an original: cheaper than making one anew."""
    shutil.copytree(store, root)
    if not (root / paths.INDEX).exists():  # its index is on a server, which has none of this copy
        holdfast.open(root).close()
        return root
    index = SqliteIndex(str(root / paths.INDEX))
    try:
        index.set_meta(derive.IDENTITY, index.identity())
        index.checkpoint(force=True)
    finally:
        index.close()
    return root


def tree(root: Path) -> dict[str, str]:
    """Every name in a folder with mode, time of change and digest of its bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = f"{facts.st_mode:o} {facts.st_mtime_ns} {content}"
    return found


@contextlib.contextmanager
def sql(root: Path) -> Iterator[sqlite3.Connection]:
    """The index of a closed store, as a stranger with a database tool opens it."""
    connection = sqlite3.connect(root / "index.sqlite3")
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def flip(path: Path, offset: int, mask: int = 0x01) -> None:
    """Change bits of one byte in place; a negative offset counts from the end."""
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    with open(path, "r+b") as file:
        file.write(data)


def blob_of(root: Path, content: bytes) -> Path:
    """Where a content lies."""
    digest = hashlib.sha256(content).hexdigest()
    return root / "blobs" / digest[:2] / f"{digest}.zst"


def segment(root: Path) -> Path:
    """The first journal segment."""
    return root / "journal" / f"{1:016d}.jsonl"


def transactions(root: Path) -> list[bytes]:
    """The transactions of the first segment, as bytes."""
    found, pending = [], b""
    for line in segment(root).read_bytes().splitlines(keepends=True):
        pending += line
        if line.startswith(b'{"entry":'):
            found.append(pending)
            pending = b""
    return found


def age(path: Path, days: float) -> None:
    """Make a file look old."""
    facts = path.stat()
    os.utime(path, (facts.st_atime, facts.st_mtime - days * 86400))
