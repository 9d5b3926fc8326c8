"""Which content is text, and how it reads: from media type, name and bytes; pure."""

from __future__ import annotations

import codecs
import re

from holdfast.search.document import LeftOut

MAX_TEXT_BYTES = 4 * 1024 * 1024
"""Longer content is left out: the index would grow by about half of it, and a snippet has to read all of it."""

_HEAD = 8_192
_MOST_CONTROLS = 0.1
"""The share of control characters in the head from which on valid UTF-8 without NULs is no text."""
_CONTROLS = re.compile(rb"[\x01-\x07\x0e-\x1a\x1c-\x1f\x7f]")

_BINARY_FAMILIES = ("image/", "audio/", "video/", "font/", "model/")
_TEXT_SUFFIXES = ("+xml", "+json", "+yaml", "+toml")
_BINARY = re.compile(
    r"application/(pdf|zip|gzip|zstd|x-(tar|7z-compressed|bzip2?|xz|rar-compressed|sqlite3|hdf5?|executable|sharedlib|"
    r"python-bytecode|python-pickle|pickle|numpy)|vnd\.(sqlite3|ms-|openxmlformats|oasis|rar|apache\.(parquet|arrow)).*|"
    r"java-archive|msword|wasm|vnd\.numpy.*)"
)
_TEXT_NAMES = re.compile(r"\.(ts|mts|cts|tsx|svg|xpm|xbm|obj|stl|gltf|m3u8?|srt|vtt|sub)$", re.IGNORECASE)
"""Names whose usual media type says that they are no text (`.ts` is taken for video), but which often are."""

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([A-Za-z0-9_.:-]{1,40})"?', re.IGNORECASE)
_KNOWN_CHARSETS = re.compile(
    r"(us-?ascii|utf|latin|iso8859|iso-ir|cp|windows|koi8|mac|gb|big5|euc|shift|s?jis|iso2022|tis|johab|hz|ptcp|kz)",
    re.IGNORECASE,
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with theirs
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def may_be_text(media_type: str, name: str) -> bool:
    """Whether it makes sense to read content of this type and name in search of text."""
    kind = media_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind.endswith(_TEXT_SUFFIXES) or _TEXT_NAMES.search(name):
        return True
    return not (kind.startswith(_BINARY_FAMILIES) or _BINARY.fullmatch(kind))


def left_out(media_type: str, name: str, size: int, *, limit: int = MAX_TEXT_BYTES) -> LeftOut | None:
    """Why content of `size` bytes need not be read at all; None if it is to be read and given to `extract`."""
    if not may_be_text(media_type, name):
        return LeftOut.NOT_TEXT
    return LeftOut.TOO_LARGE if size > limit else None


def extract(media_type: str, data: bytes, name: str) -> str | None:
    """The whole content `data` as text; None if it is none.

    A byte order mark decides, then a charset in the media type, then UTF-8. Other bytes are text only if the type says
    `text/…`, and are then read as Latin-1, so that at least their English words are found. Nothing with a NUL is text.
    """
    if not may_be_text(media_type, name):
        return None
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decode(data, encoding)
    charset = _CHARSET.search(media_type)
    if charset and _KNOWN_CHARSETS.match(charset[1]):
        decoded = _decode(data, charset[1])
        if decoded is not None:
            return decoded
    head = data[:_HEAD]
    if b"\0" in head or len(_CONTROLS.findall(head)) > _MOST_CONTROLS * len(head) or b"\0" in data:
        return None
    decoded = _decode(data, "utf-8")
    if decoded is None and media_type.lstrip().lower().startswith("text/"):
        return data.decode("latin-1")
    return decoded


def _decode(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except (LookupError, ValueError):
        return None
    return None if "\0" in text else text
