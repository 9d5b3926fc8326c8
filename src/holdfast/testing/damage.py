"""A small store with something of everything, and ways to damage it on purpose and to see what changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import holdfast
from holdfast.engine import derive
from holdfast.formats import paths
from holdfast.index.sqlite import SqliteIndex


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
