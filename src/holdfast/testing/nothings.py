"""The closed list of bytes that mean nothing (store-layout.md, chapter 7), as a procedure that decides.

It never asks what a store answers, only what the formats say: a change is on the list if what is read out of the file
is equal, byte for byte, and every changed byte stands where the list allows one to stand.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import zstandard

from holdfast.formats import frame, pack, paths
from holdfast.testing import pages

_REPEATED, _COMPRESSED = 1, 2
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
NOT_REFERRED_TO = (paths.TMP, paths.QUARANTINE, "locks")


def why(files: Mapping[str, bytes], path: str, after: bytes | None) -> str:
    """The entry of the closed list that covers a change of one file of a sound store; "" if none does.

    `files`: the bytes of every file by its path in the store; `after`: the changed file; None: there is none.
    """
    before = files[path]
    if nothing_refers_to(path):
        return "nothing refers to it"
    if after is None:
        return _twin_of_segment(files, path) or _superseded(files, path)
    if before == after:
        return "the same bytes"
    if path.startswith(paths.PACKS + "/"):
        return _beside_members(before, after) or _padding(before, after)
    if path.endswith(".zst"):
        return _padding(before, after)
    if path == paths.INDEX:
        return _free_space(before, after)
    if path == paths.INDEX + "-wal":
        return _beyond_the_log(files[paths.INDEX], before, after)
    return ""


def nothing_refers_to(path: str) -> bool:
    """Whether a file may hold anything, or be missing."""
    folder = Path(path).parts[0]
    return folder in NOT_REFERRED_TO or path.startswith(paths.SEARCH) or path.endswith("-shm")


def _twin_of_segment(files: Mapping[str, bytes], path: str) -> str:
    twin = path.removesuffix(".zst") if path.endswith(".jsonl.zst") else path + ".zst"
    return "the other form of the segment is whole" if path.startswith(paths.JOURNAL) and twin in files else ""


def _superseded(files: Mapping[str, bytes], path: str) -> str:
    recipe = paths.recipe_file(bytes.fromhex(Path(path).stem)) if path.startswith(paths.BLOBS) else ""
    return "a recipe lists the chunks of the content" if recipe in files else ""


def _padding(before: bytes, after: bytes) -> str:
    changed = _changed(before, after)
    if changed is None or not changed <= inside_blocks(before):
        return ""
    with contextlib.suppress(zstandard.ZstdError):
        if decoded(before) == decoded(after):
            return "padding of an entropy table"
    return ""


def _beside_members(before: bytes, after: bytes) -> str:
    """A table of contents that is gone, or other bytes in a cover: no member and no header is touched."""
    cut = len(after)
    if before.startswith(after) and pack.is_contents(before[cut : cut + pack.HEAD_BYTES]):
        return "a table of contents may be absent"
    changed = _changed(before, after)
    covered = {n for at, end in _skippable(before) if before[at : at + 4] == pack.COVER for n in range(at + 8, end)}
    return "the rest of a torn append, behind its cover" if changed is not None and changed <= covered else ""


def _skippable(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each skippable frame of a file begins and ends, its head included."""
    at = 0
    while at < len(data):
        if int.from_bytes(data[at : at + 4], "little") in _SKIPPABLE:
            end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            yield at, end
        else:
            end = at + frame.measure(data[at:])[1]
        at = end


def _free_space(before: bytes, after: bytes) -> str:
    if len(after) < len(before):
        return ""
    changed = _changed(before, after[: len(before)])
    assert changed is not None
    found = pages.anatomy(before)
    with contextlib.suppress(sqlite3.Error):
        in_cells = changed & found.plain
        padding = _padding_in_cells(pages.rows(before), pages.rows(after[: len(before)]))
        if padding is None or len(in_cells) != padding:
            return ""
        if padding:
            return "padding of an entropy table, in a transaction's compressed bytes"
        if changed & found.dividers:
            return "another number that parts the same rows alike"
        if changed & found.placeholders:
            return "another placeholder for a key"
        return "free space in a page, or a counter in the header" if changed else "behind the last page"
    return ""


def _padding_in_cells(before: pages.Rows, after: pages.Rows) -> int | None:
    """In how many bytes two dumps of a database differ, if each is padding in a cell of compressed bytes; else None."""
    if before.keys() != after.keys() or any(len(before[table]) != len(after[table]) for table in before):
        return None
    count = 0
    for table, rows in before.items():
        pairs = (pair for row, other in zip(rows, after[table], strict=True) for pair in zip(row, other, strict=True))
        for one, other in pairs:
            if one == other and type(one) is type(other):
                continue
            if table != "tx" or not isinstance(one, bytes) or not isinstance(other, bytes) or not _padding(one, other):
                return None
            count += len(_changed(one, other) or ())
    return count


def _beyond_the_log(index: bytes, before: bytes, after: bytes) -> str:
    with contextlib.suppress(sqlite3.Error):
        if pages.rows(pages.with_log(index, before)) == pages.rows(pages.with_log(index, after)):
            return "a part of the log that nothing reads"
    return ""


def _changed(before: bytes, after: bytes) -> set[int] | None:
    """Offsets of the bytes that differ; None if the length does."""
    if len(before) != len(after):
        return None
    return {n for n, (one, other) in enumerate(zip(before, after, strict=True)) if one != other}


def inside_blocks(data: bytes) -> set[int]:
    """Offsets inside the compressed blocks of frames, where single bits may only pad entropy tables."""
    found: set[int] = set()
    at = 0
    while data[at : at + 4] == frame.MAGIC or int.from_bytes(data[at : at + 4], "little") in _SKIPPABLE:
        if data[at : at + 4] != frame.MAGIC:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        single, width = data[at + 4] >> 5 & 1, data[at + 4] >> 6
        at += 6 - single + (single, 2, 4, 8)[width]
        last = 0
        while not last:
            header = int.from_bytes(data[at : at + 3], "little")
            last, kind, size = header & 1, header >> 1 & 3, header >> 3
            if kind == _COMPRESSED:
                found |= set(range(at + 3, at + 3 + size))
            at += 4 if kind == _REPEATED else 3 + size
        at += frame.CHECKSUM_BYTES
    return found


def decoded(data: bytes) -> bytes:
    """What all frames of a file hold, each proven by its checksum; ZstdError if one cannot be read or is cut off."""
    found = b""
    while data:
        if int.from_bytes(data[:4], "little") in _SKIPPABLE:
            data = data[8 + int.from_bytes(data[4:8], "little") :]
            continue
        one = zstandard.ZstdDecompressor().decompressobj()
        found += one.decompress(data)
        if not one.eof:
            raise zstandard.ZstdError("a frame is cut off")
        data = one.unused_data
    return found
