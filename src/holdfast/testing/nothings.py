"""The closed list of bytes that mean nothing (store-layout.md, chapter 7), computed from the formats."""

from __future__ import annotations

from pathlib import Path

from holdfast.formats import frame

_LEAF_TABLE, _LEAF_INDEX, _INNER_TABLE, _INNER_INDEX = 13, 10, 5, 2
_REPEATED, _COMPRESSED = 1, 2
_COUNTERS = ((24, 28), (40, 44), (92, 100))
"""In the header of a SQLite file: change counters and the number of the library that wrote last."""
_UNUSED_HEADER = ((48, 52), (60, 64), (68, 92))
"""Default cache size, user version, application id, and what is reserved."""


def of_sqlite(data: bytes) -> set[int]:
    """Offsets in a SQLite database that hold nothing: free space inside pages, free pages, counters in the header."""
    size = int.from_bytes(data[16:18], "big") or 65536
    size = 65536 if size == 1 else size
    found = {at for start, end in (*_COUNTERS, *_UNUSED_HEADER) for at in range(start, end)}
    for start in range(0, len(data), size):
        page = data[start : start + size]
        header = 100 if start == 0 else 0
        if page[header] in (_LEAF_TABLE, _LEAF_INDEX, _INNER_TABLE, _INNER_INDEX):
            found |= {start + at for at in _free_in_page(page, header)}
    return found


def _free_in_page(page: bytes, header: int) -> set[int]:
    inner = page[header] in (_INNER_TABLE, _INNER_INDEX)
    cells = int.from_bytes(page[header + 3 : header + 5], "big")
    content = int.from_bytes(page[header + 5 : header + 7], "big") or 65536
    end_of_pointers = header + (12 if inner else 8) + 2 * cells
    found = set(range(end_of_pointers, content))
    block = int.from_bytes(page[header + 1 : header + 3], "big")
    while block:
        length = int.from_bytes(page[block + 2 : block + 4], "big")
        found |= set(range(block + 4, block + length))
        block = int.from_bytes(page[block : block + 2], "big")
    return found


def of_zstd(data: bytes) -> set[int]:
    """Offsets inside the compressed blocks of frames, where single bits may only pad entropy tables."""
    found: set[int] = set()
    at = 0
    while data[at : at + 4] == frame.MAGIC:
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


def mean_nothing(path: str, data: bytes) -> set[int] | None:
    """Offsets in a file of a store (a path relative to it) whose bytes may mean nothing; None: all of them."""
    folder = Path(path).parts[0]
    if folder in ("tmp", "quarantine", "locks") or path.startswith("search.sqlite3") or path.endswith("-shm"):
        return None
    if path == "index.sqlite3":
        return of_sqlite(data)
    return of_zstd(data) if path.endswith(".zst") else set()
