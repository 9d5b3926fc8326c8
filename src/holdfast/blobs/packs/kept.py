"""Contents of frames that were decompressed: for a neighbour in the same frame that is not to be done again.

Of frames that were used last the beginning is kept, as far as it was asked for. Of those used longer ago only what
nobody was given yet: who reads each content once, in whatever order, will not ask for the rest again. How much is for
which follows from what is asked for. Each member that is taken out is proven by its own digest, like one that comes
from the file.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from weakref import WeakSet

from holdfast.formats.pack import Spot

NOTED = 128 * 1024
"""So many members are remembered as given out, at some 10 bytes each: those of the frames noted first go first."""

_Place = tuple[str, int, int]
_SIZE = 0xFFFF_FFFF
_WORTH_COPYING = 4
"""When one part of so many was given out, what is left is put together anew."""


class KeptFrames:
    """At most `limit` bytes of content. For many threads at once.

    `among`: those of all open stores, which share the limit: each that holds anything makes the share of the others
    smaller, from what they keep next on.
    """

    def __init__(self, limit: int, among: WeakSet[KeptFrames] | None = None) -> None:
        self._limit = limit
        self._among = WeakSet() if among is None else among
        self._guard = threading.Lock()
        self._recent: OrderedDict[_Place, bytes] = OrderedDict()
        self._rest: OrderedDict[_Place, _Rest] = OrderedDict()
        self._given: dict[_Place, array[int]] = {}  # start << 32 | size of members
        self._bytes = self._rest_bytes = self._noted = 0
        self._for_rest = limit // 2

    def get(self, spot: Spot) -> bytes | None:
        """The content of a member, to be proven; None if it is not kept."""
        if not self._recent:
            return None
        pack, offset, stored_bytes, start, size = spot
        place, end = (pack, offset, stored_bytes), start + size
        with self._guard:
            content = self._recent.get(place)
            if content is not None and len(content) >= end:
                self._recent.move_to_end(place)
                self._note(place, start << 32 | size)
                return content[start:end]
            rest = self._rest.get(place)
            found = None if rest is None else rest.cut(start, end)
            if rest is not None and found is not None:
                self._for_rest = min(self._for_rest + size, self._limit - self._limit // 8)
                self._note(place, start << 32 | size)
                rest.given += size
                self._keep_rest(place, rest)
            return found

    def put(self, spot: Spot, content: bytes) -> None:
        """Keep it, unless it is that of one member alone or larger than all that may be kept. The member is given."""
        if len(content) > self._limit or (not spot.start and len(content) <= spot.size):
            return
        pack, offset, stored_bytes, start, size = spot
        place, code = (pack, offset, stored_bytes), start << 32 | size
        with self._guard:
            if not self._recent:
                self._among.add(self)
            limit = self._limit // max(len(self._among), 1)
            if code in self._given.get(place, ()):  # asked for again, and gone: what was used last was worth keeping
                self._noted -= len(self._given.pop(place))
                self._for_rest = max(self._for_rest - 2 * size, self._limit // 32)
            self._note(place, code)
            self._drop_rest(place)
            self._bytes += len(content) - len(self._recent.pop(place, b""))
            self._recent[place] = content
            while self._bytes + self._rest_bytes > limit:
                self._make_room(self._for_rest * limit // self._limit)

    def clear(self) -> None:
        """Keep nothing any more."""
        with self._guard:
            self._recent.clear()
            self._rest.clear()
            self._given.clear()
            self._bytes = self._rest_bytes = self._noted = 0
            self._among.discard(self)

    def _make_room(self, for_rest: int) -> None:
        """Let go of all of a frame that was used long ago; or count one among these that was used last."""
        if self._rest and (self._rest_bytes > for_rest or not self._recent):
            self._drop_rest(next(iter(self._rest)))
        else:
            place, content = self._recent.popitem(last=False)
            self._bytes -= len(content)
            given = sum(code & _SIZE for code in self._given.get(place, ()))
            self._keep_rest(place, _Rest(content, [0], [0], given))

    def _drop_rest(self, place: _Place) -> None:
        before = self._rest.pop(place, None)
        if before is not None:
            self._rest_bytes -= len(before.content)

    def _keep_rest(self, place: _Place, rest: _Rest) -> None:
        """Keep what is left of a frame: without what was given out, once that is a part worth copying the others."""
        if rest.given * _WORTH_COPYING > len(rest.content):
            rest = rest.without(self._given.get(place, ()))
        before = self._rest.get(place)
        if before is not rest:
            self._rest_bytes += len(rest.content) - (0 if before is None else len(before.content))
            self._rest[place] = rest
        if not rest.content:
            del self._rest[place]

    def _note(self, place: _Place, code: int) -> None:
        """A member is given out."""
        given = self._given.get(place)
        if given is None:
            given = self._given[place] = array("Q")
        given.append(code)
        self._noted += 1
        while self._noted > NOTED:
            self._noted -= len(self._given.pop(next(iter(self._given))))


class _Rest:
    """Pieces of the content of a frame, one behind the other in `content`. `starts`: where each starts in the frame's,
    `places`: in `content`. `given`: about so much of it was given out.
    """

    __slots__ = ("content", "given", "places", "starts")

    def __init__(self, content: bytes, starts: list[int], places: list[int], given: int) -> None:
        self.content = content
        self.starts = starts
        self.places = places
        self.given = given

    def cut(self, start: int, end: int) -> bytes | None:
        """What is between the two in the frame's content; None if some of it is gone."""
        number = bisect_right(self.starts, start) - 1
        if number < 0:
            return None
        shift = self.places[number] - self.starts[number]
        last = self.places[number + 1] if number + 1 < len(self.places) else len(self.content)
        return self.content[start + shift : end + shift] if end + shift <= last else None

    def without(self, given: Iterable[int]) -> _Rest:
        """What is left of it when members are taken out."""
        starts: list[int] = []
        places: list[int] = []
        parts: list[memoryview] = []
        codes = iter([*sorted(given), 1 << 63])
        code, done, size = next(codes), 0, 0
        start, stop = code >> 32, (code >> 32) + (code & _SIZE)
        view = memoryview(self.content)
        for at, place, last in zip(self.starts, self.places, [*self.places[1:], len(view)], strict=True):
            shift = place - at
            end, done = last - shift, max(at, done)
            while start < end:
                if start > done:
                    starts.append(done)
                    places.append(size)
                    parts.append(view[done + shift : start + shift])
                    size += start - done
                done = max(done, stop)
                code = next(codes)
                start = code >> 32
                stop = start + (code & _SIZE)
            if done < end:
                starts.append(done)
                places.append(size)
                parts.append(view[done + shift : last])
                size += end - done
        return _Rest(b"".join(parts), starts, places, 0)
