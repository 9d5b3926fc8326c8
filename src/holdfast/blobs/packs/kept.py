"""Contents of frames that were decompressed last: for a neighbour in the same frame that is not to be done again.

What is kept is the beginning of a frame's content, as far as it was asked for. Each member that is taken out of it is
proven by its own digest, like one that comes from the file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from weakref import WeakSet

from holdfast.formats.pack import Spot


class KeptFrames:
    """At most `limit` bytes of content; what was used longest ago goes first. For many threads at once.

    `among`: those of all open stores, which share the limit: each that holds anything makes the share of the others
    smaller, from what they keep next on.
    """

    def __init__(self, limit: int, among: WeakSet[KeptFrames] | None = None) -> None:
        self._limit = limit
        self._among = WeakSet() if among is None else among
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, spot: Spot, end: int) -> bytes | None:
        """The content of the frame of a place, at least up to `end`; None if it is not kept."""
        if not self._kept:
            return None
        key = (spot.pack, spot.offset, spot.stored_bytes)
        with self._guard:
            found = self._kept.get(key)
            if found is None or len(found) < end:
                return None
            self._kept.move_to_end(key)
            return found

    def put(self, spot: Spot, content: bytes) -> None:
        """Keep it, unless it is that of one member alone or larger than all that may be kept."""
        if len(content) > self._limit or (not spot.start and len(content) <= spot.size):
            return
        key = (spot.pack, spot.offset, spot.stored_bytes)
        with self._guard:
            if not self._kept:
                self._among.add(self)
            limit = self._limit // max(len(self._among), 1)
            self._bytes += len(content) - len(self._kept.pop(key, b""))
            self._kept[key] = content
            while self._bytes > limit:
                self._bytes -= len(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Keep nothing any more."""
        with self._guard:
            self._kept.clear()
            self._bytes = 0
            self._among.discard(self)
