"""What counts as the same word: the one folding for documents, queries and snippets.

Folded text holds two sorts of characters: those of words (a-z, 0-9 and everything beyond ASCII), and ASCII that stands
between words. That is exactly the rule of FTS5's `ascii` tokenizer, so SQLite's own Unicode tables play no part: they
are those of Unicode 6.1, treat newer emoji as letters, and would differ between builds. Done here are:

- case folding and compatibility forms (`Straße` = `STRASSE`, `ﬁle` = `file`, `x²` = `x2`),
- Latin and Greek letters without diacritics, Hebrew and Arabic without points,
- scripts that are written without spaces (Chinese, Japanese, Thai, Lao, Burmese, Khmer): each character is a word, so
  that a phrase finds any part of a sentence; and each emoji is a word.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right

WORD = r"[0-9a-z\x80-\U0010ffff]"
"""A character of a word in folded text, for regular expressions."""
GAP = r"[^0-9a-z\x80-\U0010ffff]"
"""A character between words in folded text, for regular expressions."""

_WORDS = re.compile(f"{WORD}+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_RUN = 64
_BEYOND_ASCII_RUN = re.compile(rf"[^\x00-\x7f]{{1,{_RUN}}}")

_ZERO_WIDTH_SPACE = "\u200b"
_POINTS = ((0x0300, 0x036F), (0x0591, 0x05C7), (0x064B, 0x065F), (0x0670, 0x0670), (0xFE00, 0xFE0F), (0x1F3FB, 0x1F3FF))
"""Marks that people leave out when they search; variation selectors and skin tones with them."""
_STANDALONE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x3005, 0x3007),
    (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x1F000, 0x1FAFF),
    (0x20000, 0x3FFFD),
)  # fmt: skip
"""Code points that are words by themselves: scripts without spaces, and emoji."""
_MEMORY = 20_000
"""Folded characters that are remembered; more than any text in use needs, and a bound on what an odd one can take."""


def compose(text: str) -> str:
    """`text` with composed characters (NFC), so that both ways of writing them are one; quick if it is so already."""
    if text.isascii() or unicodedata.is_normalized("NFC", text):
        return text
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """`text` folded, ready for the tokenizer. Any str is taken, also one with NULs or lone surrogates."""
    if text.isascii():
        return text.lower()
    return _BEYOND_ASCII.sub(lambda run: run[0].translate(_TABLE), compose(text)).lower()


def words(text: str) -> list[str]:
    """The words of a text, folded, in order."""
    return _WORDS.findall(fold(text))


class Folding:
    """A folded text that knows where its characters came from. `source`: the composed text; `text`: its folding."""

    def __init__(self, text: str) -> None:
        self.source = compose(text)
        self._at = array("Q")
        self._from = array("Q")
        if self.source.isascii():
            self.text = self.source.lower()
            return
        pieces: list[str] = []
        at = done = 0
        for run in _BEYOND_ASCII_RUN.finditer(self.source):
            start, end = run.span()
            folded = run[0].translate(_TABLE)
            pieces += (self.source[done:start], folded)
            at += start - done
            self._at.append(at)
            self._from.append(start)
            at += len(folded)
            done = end
        pieces.append(self.source[done:])
        self.text = "".join(pieces).lower()

    def origin(self, position: int) -> int:
        """The index in `source` of the character that `text[position]` came from."""
        run = bisect_right(self._at, position) - 1
        if run < 0:
            return position
        at, index = self._at[run], self._from[run]
        stop = min(index + _RUN, len(self.source))
        while index < stop and not self.source[index].isascii():
            length = len(_TABLE[ord(self.source[index])])
            if at + length > position:
                return index
            at += length
            index += 1
        return index + position - at


class _Table(dict[int, str]):
    """Code point → what it becomes, worked out on first sight."""

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        if len(self) < _MEMORY:
            self[code] = folded
        return folded


def _fold_character(character: str) -> str:
    code = ord(character)
    if _within(code, _POINTS):
        return ""
    if unicodedata.category(character) == "Cf":
        return " " if character == _ZERO_WIDTH_SPACE else ""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold()).lower()
    return "".join(_place(part) for part in _without_marks(plain))


def _without_marks(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    if not apart or ord(apart[0]) < 0x0250 or 0x0370 <= ord(apart[0]) < 0x0400:
        return unicodedata.normalize("NFC", "".join(part for part in apart if unicodedata.category(part) != "Mn"))
    return text


def _place(part: str) -> str:
    """One folded character: as it is in a word, spaced out as a word of its own, or a gap."""
    if part.isascii():
        return part
    if _within(ord(part), _POINTS):
        return ""
    if _within(ord(part), _STANDALONE) and not unicodedata.category(part).startswith(("P", "Z")):
        return f" {part} "
    return part if unicodedata.category(part)[0] in "LMN" or unicodedata.category(part) == "Cn" else " "


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


_TABLE = _Table()
