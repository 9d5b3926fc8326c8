"""Names and paths: everything that a POSIX file system can hold, and nothing that it cannot.

A name is 1 to 255 bytes without NUL and '/', other than '.' and '..'. Most are UTF-8; one that is not keeps its bytes
beside a display form in which each stray byte is written `\\xNN`. Python hands such names around with surrogate
escapes (PEP 383), and so they are taken here. No name of a user ever becomes a file name inside the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from holdfast.errors import InvalidNameError

MAX_BYTES = 255


class Name(NamedTuple):
    """A checked name. `text` is UTF-8 (the display form); `stray` the true bytes if they are not UTF-8, else empty."""

    text: str
    stray: bytes = b""

    @property
    def raw(self) -> bytes:
        """The name's bytes as a file system would hold them."""
        return self.stray or self.text.encode("utf-8")


def parse(name: str | bytes) -> Name:
    """Check one name; raises InvalidNameError that says what is wrong with it."""
    raw = name if isinstance(name, bytes) else _encode(name)
    if not raw:
        raise InvalidNameError("a name is empty", name="", reason="empty")
    reason = _trouble(raw)
    if reason:
        shown = raw.decode("utf-8", "backslashreplace")
        raise InvalidNameError(f"{shown!r} cannot be a name: {reason}", name=shown, reason=reason)
    return from_raw(raw)


def from_raw(raw: bytes) -> Name:
    """A name from bytes that were checked before."""
    try:
        return Name(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Name(raw.decode("utf-8", "backslashreplace"), raw)


def from_raws(raws: Sequence[bytes]) -> list[Name]:
    """The same of many, in a third of the time where all are UTF-8."""
    try:
        texts = b"/".join(raws).decode("utf-8").split("/") if raws else []
    except UnicodeDecodeError:
        return [from_raw(raw) for raw in raws]
    return [*map(Name._make, zip(texts, repeat(b"")))]


def _encode(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise InvalidNameError(f"{name!r} has a lone surrogate", name=repr(name), reason="surrogate") from error


def _trouble(raw: bytes) -> str:
    if b"\0" in raw:
        return "it has a NUL"
    if b"/" in raw:
        return "it has a '/'"
    if raw in (b".", b".."):
        return "it means a folder itself"
    if len(raw) > MAX_BYTES:
        return f"it has {len(raw)} bytes, more than {MAX_BYTES}"
    return ""


def parse_path(path: str | bytes) -> tuple[Name, ...]:
    """Split a path at '/' into checked names; '' is the root. Leading, trailing and double '/' are refused."""
    raw = path if isinstance(path, bytes) else _encode(path)
    if not raw:
        return ()
    return tuple(parse(part) for part in raw.split(b"/"))


def join(names: tuple[Name, ...]) -> str:
    """Names as one path in display form."""
    return "/".join(name.text for name in names)


def join_raw(names: tuple[Name, ...]) -> bytes:
    """Names as one path in bytes."""
    return b"/".join(name.raw for name in names)
