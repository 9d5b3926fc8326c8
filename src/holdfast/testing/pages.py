"""A SQLite file as bytes: which of them say something, and what they say, without the help of its pages' order."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

_INNER_INDEX, _INNER_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_COUNTERS = ((24, 28), (40, 44), (92, 100))
"""In the header: counters of changes, of the schema's changes, and the number of the library that wrote last."""
_UNUSED = ((44, 47), (48, 52), (60, 64), (68, 92))
"""In the header: all but the last byte of the schema format, which SQLite does not read; default cache size, user
version, application id, and what is reserved."""
_WAL_HEADER, _FRAME_HEADER = 32, 24


@dataclass(slots=True)
class Map:
    """Offsets. `used`: of bytes that say something. Of those, `dividers`: the numbers that part rows in inner pages of
    tables, many numbers part the same rows alike; `placeholders`: what stands in a row for its first column, which is
    not read where that column is the key, for the key stands before the row."""

    used: set[int] = field(default_factory=set)
    dividers: set[int] = field(default_factory=set)
    placeholders: set[int] = field(default_factory=set)

    @property
    def plain(self) -> set[int]:
        """Of bytes that can say what they say in one way only."""
        return self.used - self.dividers - self.placeholders


class _Walk:
    def __init__(self, data: bytes) -> None:
        self.data = data
        size = int.from_bytes(data[16:18], "big")
        self.size = 65536 if size == 1 else size
        self.usable = self.size - data[20]
        self.map = Map()

    def run(self) -> Map:
        self.use(0, 100)
        for spans in (_COUNTERS, _UNUSED):
            for start, end in spans:
                self.map.used -= set(range(start, end))
        for root in [1, *_roots(self.data)]:
            self.tree(root)
        self.free_pages(self.number(32, 4))
        return self.map

    def number(self, at: int, width: int) -> int:
        return int.from_bytes(self.data[at : at + width], "big")

    def use(self, start: int, length: int) -> None:
        self.map.used |= set(range(start, start + length))

    def varint(self, at: int) -> tuple[int, int]:
        """(value, bytes)."""
        value = 0
        for n in range(9):
            byte = self.data[at + n]
            if n == 8:
                return value << 8 | byte, 9
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, n + 1
        raise AssertionError

    def free_pages(self, trunk: int) -> None:
        while trunk:
            start = (trunk - 1) * self.size
            self.use(start, 8 + 4 * self.number(start + 4, 4))
            trunk = self.number(start, 4)

    def tree(self, page: int) -> None:
        start = (page - 1) * self.size
        header = start + (100 if page == 1 else 0)
        kind, count = self.data[header], self.number(header + 3, 2)
        inner = kind in (_INNER_INDEX, _INNER_TABLE)
        width = 12 if inner else 8
        self.use(header, width + 2 * count)
        block = self.number(header + 1, 2)
        while block:
            self.use(start + block, 4)
            block = self.number(start + block, 2)
        for n in range(count):
            child = self.cell(start + self.number(header + width + 2 * n, 2), kind)
            if child:
                self.tree(child)
        if inner:
            self.tree(self.number(header + 8, 4))

    def cell(self, at: int, kind: int) -> int:
        """The page that a cell of an inner page leads to; 0 for a leaf."""
        inner = kind in (_INNER_INDEX, _INNER_TABLE)
        end = at + (4 if inner else 0)
        if kind == _INNER_TABLE:
            _, width = self.varint(end)
            self.map.dividers |= set(range(end, end + width))
            end += width
        else:
            payload, width = self.varint(end)
            end += width
            if kind == _LEAF_TABLE:
                end += self.varint(end)[1]
                self.map.placeholders.add(end + self.varint(end)[1])
            end = self.payload(end, payload, leaf_of_table=kind == _LEAF_TABLE)
        self.use(at, max(end - at, 4))
        return self.number(at, 4) if inner else 0

    def payload(self, at: int, payload: int, *, leaf_of_table: bool) -> int:
        """Where what a page itself holds of a payload ends; the rest lies in overflow pages."""
        least = (self.usable - 12) * 32 // 255 - 23
        most = self.usable - 35 if leaf_of_table else (self.usable - 12) * 64 // 255 - 23
        if payload <= most:
            return at + payload
        local = least + (payload - least) % (self.usable - 4)
        local = local if local <= most else least
        left, page = payload - local, self.number(at + local, 4)
        while left > 0 and page:
            part, start = min(left, self.usable - 4), (page - 1) * self.size
            self.use(start, 4 + part)
            left, page = left - part, self.number(start, 4)
        return at + local + 4


def anatomy(data: bytes) -> Map:
    """Which bytes of a sound database file say something."""
    return _Walk(data).run()


def _roots(data: bytes) -> list[int]:
    with opened(data) as connection:
        return [row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[sqlite3.Connection]:
    """A database out of bytes, as if it had no log."""
    plain = data[:18] + b"\1\1" + data[20:] if data[18:20] == b"\2\2" else data
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(plain)
        connection.text_factory = bytes
        yield connection


Rows = dict[str, list[tuple[object, ...]]]
"""Every row by table; the schema under the empty name."""


def rows(data: bytes) -> Rows:
    """The schema, and every row of every table; sqlite3.Error if SQLite finds anything wrong with the pages."""
    try:
        with opened(data) as connection:
            return _dumped(connection)
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema
        raise sqlite3.DatabaseError("its schema is no text") from error


def _dumped(connection: sqlite3.Connection) -> Rows:
    wrong = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if wrong != b"ok":
        raise sqlite3.DatabaseError(wrong.decode("utf-8", "replace"))
    schema = connection.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master").fetchall()
    found: Rows = {"": schema}
    for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        table = row[0].decode()
        found[table] = connection.execute(f'SELECT * FROM "{table}"').fetchall()
    return found


def with_log(data: bytes, log: bytes) -> bytes:
    """The database as it is with the transactions of its write-ahead log that are whole."""
    if len(log) < _WAL_HEADER:
        return data
    size = int.from_bytes(log[8:12], "big")
    order = "big" if log[3] & 1 else "little"
    pages: dict[int, bytes] = {}
    whole, count = dict(pages), len(data) // size
    sums = _checksum(log[:24], (0, 0), order)
    if sums != (int.from_bytes(log[24:28], "big"), int.from_bytes(log[28:32], "big")):
        return data
    for at in range(_WAL_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        head, page = log[at : at + _FRAME_HEADER], log[at + _FRAME_HEADER : at + _FRAME_HEADER + size]
        sums = _checksum(page, _checksum(head[:8], sums, order), order)
        said = (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
        if head[8:16] != log[16:24] or sums != said:
            break
        pages[int.from_bytes(head[:4], "big")] = page
        if total := int.from_bytes(head[4:8], "big"):
            whole, count = dict(pages), total
    return b"".join(whole.get(n + 1, data[n * size : (n + 1) * size]) for n in range(count))


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, other = sums
    words = memoryview(data).cast("I") if order == "little" else None
    numbers = words or [int.from_bytes(data[n : n + 4], "big") for n in range(0, len(data), 4)]
    for n in range(0, len(numbers), 2):
        one = (one + numbers[n] + other) & 0xFFFFFFFF
        other = (other + numbers[n + 1] + one) & 0xFFFFFFFF
    return one, other
