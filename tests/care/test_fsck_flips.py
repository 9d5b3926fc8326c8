"""One bit flipped anywhere in a store is found, or it is a bit that says nothing."""

from __future__ import annotations

import random
import shutil
import sqlite3

import zstandard

from holdfast.care.fsck import check_path
from holdfast.errors import FormatTooNewError
from holdfast.testing import damage


def flips(root, count, seed, *, pick=lambda data: range(len(data))):
    """(path, offset, mask), spread over all files."""
    rng = random.Random(seed)
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.stat().st_size]
    places = {path: pick(path.read_bytes()) for path in files}
    return [(path, rng.choice(places[path]), 1 << rng.randrange(8)) for path in (files * count)[:count]]


def found(root):
    try:
        return set(check_path(root).counts)
    except FormatTooNewError:  # the marker seems to come from the future
        return {"format-too-new"}


def said(value):
    """A value as it is read: about one bit in a thousand of a zstd frame says nothing (padding of its bit streams)."""
    if isinstance(value, bytes) and value.startswith(zstandard.FRAME_HEADER):
        try:
            return zstandard.ZstdDecompressor().decompress(value)
        except zstandard.ZstdError:
            return value
    return value


def rows(index, scratch):
    """All that an index says, but for the notes that it keeps about its own file."""
    shutil.copy(index, scratch)
    connection = sqlite3.connect(scratch)
    connection.text_factory = bytes
    try:
        tables = [
            name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            t: [tuple(map(said, row)) for row in connection.execute(f'SELECT * FROM "{t}" ORDER BY 1, 2')]
            for t in tables
            if t != "meta"
        }
    finally:
        connection.close()


def test_a_flipped_bit_is_found_wherever_a_store_keeps_what_was_put(tmp_path):
    root = damage.sample_store(tmp_path / "store")
    shutil.rmtree(root / "locks")  # notes for people about who writes
    (root / "locks").mkdir()
    index = root / "index.sqlite3"
    clean = rows(index, tmp_path / "scratch")
    missed = []
    for path, offset, mask in flips(root, 60, seed=4):
        damage.flip(path, offset, mask)
        if not found(root) and (path != index or rows(index, tmp_path / "scratch") != clean):
            missed.append((path.name, offset, mask))
        damage.flip(path, offset, mask)
    assert missed == []
    assert found(root) == set()


def test_a_flipped_bit_in_the_used_part_of_the_index_is_found(tmp_path):
    root = damage.sample_store(tmp_path / "store")
    index = root / "index.sqlite3"
    clean = rows(index, tmp_path / "scratch")
    missed = []
    used = [n for n, byte in enumerate(index.read_bytes()) if byte]
    rng = random.Random(1)
    for offset, mask in [(rng.choice(used), 1 << rng.randrange(8)) for _ in range(50)]:
        damage.flip(index, offset, mask)
        if not found(root) and rows(index, tmp_path / "scratch") != clean:
            missed.append((offset, mask))
        damage.flip(index, offset, mask)
    assert missed == []
