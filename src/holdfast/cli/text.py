"""How values look to a person: names that cannot play with the terminal, human sizes, UTC times, short digests."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_JOINERS = "\u200c\u200d"
"""Zero-width joiners stay: emoji and several scripts need them, and they move no cursor."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
SHORT_DIGEST = 12


def safe(text: str) -> str:
    """`text` with everything escaped that a terminal could act on: controls, stray bytes, direction overrides."""
    if text.isprintable():
        return text
    return "".join(char if _harmless(char) else _escaped(char) for char in text)


def _harmless(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    if char in _NAMED:
        return _NAMED[char]
    point = ord(char)
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def lines(text: str) -> list[str]:
    """`text` line by line, each safe to show; tabs become spaces."""
    return [safe(line.expandtabs(4)) for line in text.split("\n")]


def size(count: int | None) -> str:
    """Bytes as a person reads them, in powers of 1024: `912 B`, `1.2 MiB`."""
    if count is None:
        return "-"
    if count < 1024:
        return f"{count} B"
    power = min(max(1, (count.bit_length() - 1) // 10), len(_UNITS))
    if round(count / 1024**power, 1) >= 1024 and power < len(_UNITS):
        power += 1
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"


def number(count: int) -> str:
    """A count with thousands set apart: `50,000`."""
    return f"{count:,}"


def count(amount: int, noun: str, plural: str = "") -> str:
    """An amount with its noun: `1 artifact`, `1,200 artifacts`."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def held(counts: dict[str, int]) -> str:
    """What lies in a collection: `3 artifacts, 1 collection`."""
    return f"{count(counts['artifacts'], 'artifact')}, {count(counts['collections'], 'collection')}"


def time(moment: datetime | None) -> str:
    """An instant in UTC, wherever the reader is: `2026-11-21 01:46:03Z`."""
    return "-" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(seconds: float) -> str:
    """A span of time: `0.4 s`, `3 min 20 s`, `2 h 5 min`, `14 days`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole / 86400:g} days" if whole % 86400 == 0 else f"{whole / 86400:.1f} days"


def digest(full: str) -> str:
    """The first digits of a digest, enough to tell contents apart by eye."""
    return full.rpartition(":")[2][:SHORT_DIGEST]


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned columns, two spaces apart; columns in `right` end alike. For a few rows only."""
    kept = [list(row) for row in rows]
    if not kept:
        return []
    widths = [max(_width(row[n]) for row in kept) for n in range(len(kept[0]))]
    return ["  ".join(_cells(row, widths, right)).rstrip() for row in kept]


def _cells(row: list[str], widths: list[int], right: frozenset[int]) -> Iterable[str]:
    for n, cell in enumerate(row):
        gap = " " * (widths[n] - _width(cell))
        yield gap + cell if n in right else cell + gap


def _width(cell: str) -> int:
    """Columns on a terminal; wide characters of East Asia and emoji take two."""
    if cell.isascii():
        return len(cell)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in cell)
