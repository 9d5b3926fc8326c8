"""Digests: `sha256:` and 64 hexadecimal digits outside, 32 bytes inside."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence

from holdfast.errors import InvalidDigestError
from holdfast.values import patterns

PREFIX = "sha256:"
HEX = 64
"""Digits of a whole one."""

_BYTES = HEX // 2

_FULL = patterns.later(r"(?:sha256:)?([0-9a-f]{64})")
_PREFIX = patterns.later(r"(?:sha256:)?([0-9a-f]{4,64})")


def of(data: bytes | bytearray | memoryview) -> str:
    """The digest of `data` as text."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def text(raw: bytes) -> str:
    """32 bytes as `sha256:hex`."""
    return PREFIX + raw.hex()


@functools.lru_cache(maxsize=16_384)  # what is taken in is asked for at each step of its way
def raw(digest: str) -> bytes:
    """`sha256:hex` (or bare hex) as 32 bytes; raises InvalidDigestError."""
    try:
        found = bytes.fromhex(digest[len(PREFIX) :])
    except ValueError:
        pass
    else:  # in half the time of the pattern
        if len(found) == _BYTES and text(found) == digest:
            return found
    match = _FULL.fullmatch(digest)
    if match is None:
        raise InvalidDigestError(f"{digest!r} is not a digest", digest=digest)
    return bytes.fromhex(match[1])


def raws(digests: Sequence[str]) -> list[bytes]:
    """The same of many whole ones, in a third of the time, and none of them is remembered."""
    joined = "".join([digest[len(PREFIX) :] for digest in digests])
    try:
        found = bytes.fromhex(joined)
    except ValueError:
        found = b""
    is_plain = {*map(len, digests)} == {len(PREFIX) + HEX} and {digest[: len(PREFIX)] for digest in digests} == {PREFIX}
    if not is_plain or found.hex() != joined:
        return [*map(raw, digests)]
    return [found[at : at + _BYTES] for at in range(0, len(found), _BYTES)]


def texts(raws: Iterable[bytes]) -> list[str]:
    """32 bytes each as `sha256:hex`."""
    return [PREFIX + digits for digits in map(bytes.hex, raws)]


def prefix(digest: str) -> str:
    """A full digest or a prefix of at least four digits, as bare hex; raises InvalidDigestError."""
    match = _PREFIX.fullmatch(digest.lower())
    if match is None:
        raise InvalidDigestError(
            f"{digest!r} is neither a digest nor a prefix of one (four digits or more)", digest=digest
        )
    return match[1]
