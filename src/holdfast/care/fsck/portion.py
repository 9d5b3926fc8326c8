"""Which contents fsck reads: all of them, a part, a sample drawn at random, or as many as fit into a span of time."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from holdfast.errors import InvalidValueError

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)\s*%")
_COUNT = re.compile(r"[0-9]{1,18}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SEEDS = 1 << 32


class Way(StrEnum):
    """How a portion is chosen."""

    PART = "part"
    SHARE = "share"
    COUNT = "count"
    SIZE = "size"
    SPAN = "span"


@dataclass(frozen=True, slots=True)
class Portion:
    """Which contents a check reads whole; everything else about a store is checked always. Made by its class methods.

    `amount`: number of the part, share from 0 to 1, contents, stored bytes or seconds; `of`: how many parts there are;
    `seed`: what a sample is drawn with. The same seed on the same store draws the same contents.
    """

    way: Way
    amount: float
    of: int = 0
    seed: int | None = None

    @classmethod
    def part(cls, number: int, *, of: int) -> Portion:
        """The `number`-th of `of` parts by digest, from 1: all parts together are every content exactly once."""
        if not 1 <= number <= of:
            raise _refused(f"{number}/{of}", "there is no such part: the first is 1/{of}")
        return cls(Way.PART, number, of)

    @classmethod
    def share(cls, share: float, *, seed: int | None = None) -> Portion:
        """About this share of the contents (0.05: one in twenty), drawn at random."""
        if not 0 < share <= 1:
            raise _refused(f"{share:%}", "a share is more than 0 % and at most 100 %")
        return cls(Way.SHARE, share, seed=_seed(seed))

    @classmethod
    def count(cls, count: int, *, seed: int | None = None) -> Portion:
        """So many contents, drawn at random; all of them if there are not more."""
        if count < 1:
            raise _refused(str(count), "a sample has at least one content")
        return cls(Way.COUNT, count, seed=_seed(seed))

    @classmethod
    def size(cls, stored_bytes: float, *, seed: int | None = None) -> Portion:
        """Contents of about so many bytes in files, drawn at random."""
        if stored_bytes < 1:
            raise _refused(str(stored_bytes), "a sample has at least one byte")
        return cls(Way.SIZE, stored_bytes, seed=_seed(seed))

    @classmethod
    def during(cls, seconds: float) -> Portion:
        """As many as can be read in so many seconds, beginning where the last such check of this store stopped."""
        if not seconds > 0:
            raise _refused(f"{seconds} s", "a span of time is more than nothing")
        return cls(Way.SPAN, seconds)

    @classmethod
    def parse(cls, text: str, *, seed: int | None = None) -> Portion:
        """`3/7` (part), `5%` (share), `200` (count), `500M` (size; K, M, G, T); InvalidValueError."""
        said = text.strip()
        if match := _PART.fullmatch(said):
            return cls.part(int(match[1]), of=int(match[2]))
        if match := _SHARE.fullmatch(said):
            return cls.share(float(match[1]) / 100, seed=seed)
        if _COUNT.fullmatch(said):
            return cls.count(int(said), seed=seed)
        if match := _SIZE.fullmatch(said):
            return cls.size(float(match[1]) * _UNITS[match[2].upper()], seed=seed)
        raise _refused(text, "write 3/7, 5%, 200 or 500M")

    def as_dict(self) -> dict[str, object]:
        """The portion as plain values, for `--json`."""
        return {"way": str(self.way), "amount": self.amount, "of": self.of, "seed": self.seed}

    def expected(self, contents: int, stored_bytes: int) -> float:
        """About which share of so many contents it is; 1 where nobody can say."""
        if self.way is Way.PART:
            return 1 / self.of
        if self.way is Way.SHARE:
            return self.amount
        if self.way is Way.COUNT:
            return min(1.0, self.amount / max(contents, 1))
        return min(1.0, self.amount / max(stored_bytes, 1)) if self.way is Way.SIZE else 1.0

    def picker(self, contents: int, stored_bytes: int) -> Callable[[bytes], bool]:
        """Says of each raw digest, asked once for each in any fixed order, whether its content is read."""
        if self.way is Way.PART:
            return lambda raw: int.from_bytes(raw[:8], "big") * self.of >> 64 == self.amount - 1
        if self.way is Way.COUNT:
            return _Exactly(int(self.amount), contents, self.seed or 0)
        limit, seed = self.expected(contents, stored_bytes), self.seed or 0
        return lambda raw: _chance(seed, raw) < limit


class _Exactly:
    """Draws exactly `wanted` of `left` that pass by, each as likely as any other, and remembers none of them.

    Selection sampling: Knuth, The Art of Computer Programming, 3.4.2, algorithm S.
    """

    def __init__(self, wanted: int, left: int, seed: int) -> None:
        self._wanted, self._left, self._seed = wanted, left, seed

    def __call__(self, raw: bytes) -> bool:
        chosen = _chance(self._seed, raw) * max(self._left, 1) < self._wanted
        self._left -= 1
        self._wanted -= chosen
        return chosen


def _chance(seed: int, raw: bytes) -> float:
    """A number from 0 to 1 that a seed gives a digest."""
    return int.from_bytes(hashlib.sha256(b"%d %b" % (seed, raw)).digest()[:6], "big") / (1 << 48)


def _seed(seed: int | None) -> int:
    return secrets.randbelow(_SEEDS) if seed is None else seed


def _refused(text: str, reason: str) -> InvalidValueError:
    return InvalidValueError(f"{text} is no portion of the contents: {reason}", where="portion", reason="form")
