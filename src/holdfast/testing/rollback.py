"""SQLite's database in the middle of a write: half written pages, beside the log or the journal that mends them.

The rollback journal of a COMMIT lives for a moment only and cannot be watched. It is made again here from the pages
before and after, in SQLite's format (sqlite.org/fileformat2.html, section 3): the old pages that were changed, each
with a checksum, behind a header that says how many.
"""

from __future__ import annotations

import random
import struct

from holdfast.testing.index_watch import IndexSeen

_MAGIC = bytes.fromhex("d9d505f920a163d7")
_NONCE = 0x1F2E3D4C
_HEADER = 512


def journal_of(old: bytes, new: bytes) -> bytes:
    """The rollback journal that SQLite writes before it makes `new` of `old`."""
    size = page_size(old)
    pages = [n for n in range(len(old) // size) if old[n * size : (n + 1) * size] != new[n * size : (n + 1) * size]]
    head = _MAGIC + struct.pack(">IIIII", len(pages), _NONCE, len(old) // size, _HEADER, size)
    records = [_record(n + 1, old[n * size : (n + 1) * size]) for n in pages]
    return head.ljust(_HEADER, b"\0") + b"".join(records)


def _record(number: int, page: bytes) -> bytes:
    total = _NONCE
    for place in range(len(page) - 200, 0, -200):
        total += page[place]
    return struct.pack(">I", number) + page + struct.pack(">I", total & 0xFFFFFFFF)


def page_size(database: bytes) -> int:
    """Bytes of a page, as the database says."""
    size = int.from_bytes(database[16:18], "big")
    return 65536 if size == 1 else size


def half_written(now: IndexSeen, then: IndexSeen, starts: list[int], size: int, sector: int) -> IndexSeen:
    """The database while it is being written: the sectors at `starts` are new, and it has `size` bytes."""
    old, new = now.database or b"", then.database or b""
    mixed = bytearray(old[:size].ljust(size, b"\0"))
    for start in starts:
        if start < size:
            piece = new[start : start + sector]
            mixed[start : start + len(piece)] = piece
    return IndexSeen("torn", bytes(mixed), now.log, now.identity, journal_of(old, new) if then.how == "commit" else b"")


def torn_journal(now: IndexSeen, then: IndexSeen, rnd: random.Random) -> IndexSeen:
    """The database before its first page is written, beside a journal that is not sure yet."""
    whole = journal_of(now.database or b"", then.database or b"")
    data = bytearray(whole[: rnd.randint(0, len(whole))])
    if rnd.random() < 0.5:
        data[8:12] = bytes(4)[: len(data[8:12])]  # the number of records comes last
    return IndexSeen("torn", now.database, now.log, now.identity, bytes(data))
