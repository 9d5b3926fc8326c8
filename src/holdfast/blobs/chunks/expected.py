"""Says which chunk of an older content to expect next: behind one that it has comes, mostly, the one that came there.

Where a chunk begins and what its bytes are decides where it ends. So bytes that are an older chunk, where one begins,
are cut as that one was: they need be hashed only, which is done in any case.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from holdfast.formats.recipe import Recipe

_DIGEST_BYTES = 32
_LOOK_BYTES = 32_768 * _DIGEST_BYTES
"""So many digests, before and behind the one that was expected, are looked through for one that was not."""


class Expected:
    """Where a content that is being cut stands in an older one. `shared`: the last chunk met is one of those."""

    def __init__(self, old: Recipe | None, *, met: int = 0) -> None:
        """`met`: so many of its first chunks were met already."""
        self._digests = old.digests if old is not None else bytearray()
        self._starts = old.starts if old is not None else array("q", [0])
        self._next = met
        self._first = self._end = self._most = 0
        self.shared = False

    def allow(self, size: int, average: Callable[[int], int], *, most: int, slack: int) -> None:
        """Expect only chunks that were cut for a `size` on average, and have `most` bytes.

        `average` says how large a chunk is to be that begins at an offset, or up to `slack` bytes behind it. The last
        chunk is not expected: it ended because the content did.
        """
        self._most = most
        numbers, starts = range(max(len(self._starts) - 2, 0)), self._starts
        self._first = bisect_left(numbers, size, key=lambda number: average(max(starts[number] - slack, 0)))
        self._end = bisect_right(numbers, size, key=lambda number: average(starts[number]))

    @property
    def length(self) -> int:
        """Bytes of the chunk that is expected next; 0: none is."""
        number = self._next
        if not self._first <= number < self._end:
            return 0
        length = self._starts[number + 1] - self._starts[number]
        return length if length <= self._most else 0

    def is_next(self, raw: bytes) -> bool:
        """Whether a digest is that of the chunk that is expected: then the one behind it is expected next."""
        at = self._next * _DIGEST_BYTES
        if self._digests[at : at + _DIGEST_BYTES] != raw:
            return False
        self._next += 1
        self.shared = True
        return True

    def find(self, raw: bytes) -> bool:
        """Whether the older content has a chunk near the one that was expected: then what came behind it is."""
        middle = self._next * _DIGEST_BYTES
        at = self._find(raw, middle, middle + _LOOK_BYTES)
        if at < 0:
            at = self._find(raw, max(middle - _LOOK_BYTES, 0), middle)
        self.shared = at >= 0
        if at >= 0:
            self._next = at // _DIGEST_BYTES + 1
        return at >= 0

    def _find(self, raw: bytes, start: int, end: int) -> int:
        while (at := self._digests.find(raw, start, end)) >= 0 and at % _DIGEST_BYTES:
            start = at + 1  # it stands across two digests
        return at
