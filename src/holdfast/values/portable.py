"""Names as other file systems and git can hold them: `%XX` for what some of them refuse; everything else as it is.

Reversible: a `%` in a name is written `%25`. Names that are equal where case or Unicode forms are folded get a mark
behind them, `%~` and eight digits of their SHA-256, all but the one with the smallest id. A name that would be longer
than 255 bytes is `%=` and its whole SHA-256; the records have it in full.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

MAX_BYTES = 255
_MARKED = re.compile(rb"%~[0-9a-f]{8}$")
_PLAIN = re.compile(rb"(?!.git)[0-9A-Z_a-z-][-0-9A-Z_a-z. +=@,()]{0,250}(?<![. ])")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")
_REFUSED = frozenset('<>:"/\\|?*%~')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)\s*(\..*)?$", re.IGNORECASE)
"""Windows takes these for devices, whatever extension they have."""


def of(raw: bytes) -> bytes:
    """The portable form of a name, as UTF-8."""
    if _PLAIN.fullmatch(raw) and not _DEVICE.match(raw.decode()):
        return raw  # most names
    text = _text(raw)
    done = b"".join(map(_byte, raw) if text is None else map(_character, text))
    first = done[:1]
    if done.lower().startswith(b".git") or _DEVICE.match(done.decode()):
        done = b"%%%02X" % first[0] + done[1:]
    if done[-1:] in (b".", b" "):
        done = done[:-1] + b"%%%02X" % done[-1]
    return done if len(done) <= MAX_BYTES else b"%=" + hashlib.sha256(raw).hexdigest().encode()


def back(name: bytes) -> bytes | None:
    """The name that a portable form stands for; None if the form is too short to tell."""
    if name.startswith(b"%="):
        return None
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), _MARKED.sub(b"", name))


def all_of(names: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """The portable forms of names in one folder, by id, no two of which fold to the same."""
    found: dict[str, bytes] = {}
    taken: set[str] = set()
    for record_id, raw in sorted(names):
        name = of(raw)
        if fold(name) in taken:
            mark = b"%~" + hashlib.sha256(raw).hexdigest()[:8].encode()
            name = name + mark if len(name) + len(mark) <= MAX_BYTES else _short(raw) + mark
        taken.add(fold(name))
        found[record_id] = name
    return found


def unmarked(names: Sequence[bytes]) -> list[bytes] | None:
    """The portable forms of names in one folder, in order, if no two of them fold to the same: then no id matters."""
    found = [of(raw) for raw in names]
    return found if len({fold(name) for name in found}) == len(found) else None


def fold(name: bytes) -> str:
    """What is equal of two names that some file system takes for one."""
    if name.isascii():
        return name.decode().lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name.decode()).casefold())


def _short(raw: bytes) -> bytes:
    return b"%=" + hashlib.sha256(raw).hexdigest().encode()


def _text(raw: bytes) -> str | None:
    """The name as text, if that has one form only and nothing in it is invisible."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if unicodedata.is_normalized("NFC", text) and text.isprintable() else None


def _character(char: str) -> bytes:
    return b"%%%02X" % ord(char) if char in _REFUSED else char.encode()


def _byte(byte: int) -> bytes:
    is_plain = 0x20 <= byte < 0x7F and chr(byte) not in _REFUSED
    return bytes([byte]) if is_plain else b"%%%02X" % byte
