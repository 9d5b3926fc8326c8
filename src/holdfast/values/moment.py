"""Instants (UTC, microseconds) and sortable ids (UUIDv7, RFC 9562)."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from holdfast.errors import InvalidValueError
from holdfast.values import patterns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID = patterns.later(_FORM)


_UUIDS = patterns.later(rf"(?:{_FORM})*")
_ID_LENGTH = 36
_LAST_DIGITS = (1 << 48) - 1


class Clock(Protocol):
    """Where the time comes from; tests give their own."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1000


def to_datetime(us: int) -> datetime:
    """Microseconds since the epoch as an aware datetime."""
    return _EPOCH + timedelta(microseconds=us)


def from_datetime(moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch; raises InvalidValueError for a naive one."""
    if moment.tzinfo is None:
        raise InvalidValueError(
            f"{moment!r} has no time zone", where="time", reason="naive", remedy="Give an aware datetime, e.g. UTC."
        )
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_text(us: int) -> str:
    """ISO 8601 in UTC with six decimals and `Z`: sorts as text, one form for each instant."""
    second, rest = divmod(us, 1_000_000)
    return f"{_second(second)}.{rest:06d}Z"


@functools.lru_cache(64)  # what is written says the same second again and again
def _second(second: int) -> str:
    return to_datetime(second * 1_000_000).isoformat(timespec="seconds").removesuffix("+00:00")


def from_text(text: str) -> int:
    """What `to_text` wrote (or any ISO 8601 with a zone) as microseconds; raises InvalidValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValueError(f"{text!r} is not an ISO 8601 time", where="time", reason=str(error)) from error
    return from_datetime(moment)


def draw_ids(now_us: int, count: int) -> Iterator[str]:
    """`count` UUIDv7 that sort in the order given; one random draw for all of them.

    The layout is RFC 9562, method 1: 48 bits of milliseconds, 12 bits of counter, then 2 + 62 bits. The low 62 bits
    start at a random number below 2^61 and count up, so a batch stays ordered and unguessable from outside.
    """
    stem, low = _drawn(now_us)
    first, end = (2 << 62) | low, ((2 << 62) | low) + count
    while first < end:  # what stands before the last twelve digits is the same for nearly all
        above, own = first >> 48, first & _LAST_DIGITS
        head = f"{stem}{above:04x}-"
        for number in range(own, min(own + end - first, _LAST_DIGITS + 1)):
            yield f"{head}{number:012x}"
        first = (above + 1) << 48


def _drawn(now_us: int) -> tuple[str, int]:
    head = (now_us // 1000) & ((1 << 48) - 1)
    seed = int.from_bytes(os.urandom(9), "big")
    return f"{head >> 16:08x}-{head & 0xFFFF:04x}-7{seed >> 60 & 0xFFF:03x}-", seed & ((1 << 60) - 1)


def draw_id(now_us: int) -> str:
    """One UUIDv7."""
    stem, low = _drawn(now_us)
    tail = f"{(2 << 62) | low:016x}"
    return f"{stem}{tail[:4]}-{tail[4:]}"


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its canonical form."""
    return _UUID.fullmatch(text) is not None


def id_bytes(text: str) -> bytes:
    """A UUID's 16 bytes; raises InvalidValueError."""
    if not is_id(text):
        raise InvalidValueError(f"{text!r} is not an id", where="id", reason="not a UUID")
    return bytes.fromhex(text.replace("-", ""))


def ids_bytes(texts: Sequence[str]) -> list[bytes]:
    """The same of many, in a third of the time."""
    if any(len(one) != _ID_LENGTH for one in texts) or not _UUIDS.fullmatch("".join(texts)):
        return [*map(id_bytes, texts)]
    found = bytes.fromhex("".join(texts).replace("-", ""))
    return [found[at : at + 16] for at in range(0, len(found), 16)]


def id_text(raw: bytes) -> str:
    """16 bytes as a UUID."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
