"""Finds what there is to take in: depth first, by bytes of names, with what the file system says of each.

Folders are looked at ahead, by helping processes if there are many. Where everything in a folder is known to be as it
was, nothing is made of its entries: not even an object each.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from holdfast.exchange.hand import Seen
from holdfast.exchange.hands import Hands
from holdfast.exchange.looking import TOGETHER, Looking
from holdfast.formats.looks import LOOKS, Facts, decode, encode, node
from holdfast.values import names
from holdfast.values.frozen import dataclass
from holdfast.values.names import Name

EXPECTED = 16
"""So many folders beside each other are told of together before they are gone into."""

Tell = Callable[[bytes, str, str], None]
"""Is told of what cannot be taken in: path, code, reason."""


class Folder:
    """A folder that is being gone through: where it is, and the collection that it goes to.

    `prefix`: its path and a slash; `absolute`: so from the root; `place`: the collection's path.
    """

    __slots__ = ("_into", "absolute", "path", "place", "prefix")

    def __init__(self, path: bytes, prefix: bytes, place: bytes, absolute: bytes) -> None:
        self.path = path
        self.prefix = prefix
        self.place = place
        self.absolute = absolute
        self._into: tuple[Name, ...] | None = None

    @classmethod
    def first(cls, path: bytes, into: tuple[Name, ...]) -> Folder:
        """The one to begin with."""
        return cls(path, os.path.join(path, b""), names.join_raw(into), os.path.join(os.path.abspath(path), b""))

    def below(self, raw: bytes) -> Folder:
        """One in it."""
        path = self.prefix + raw
        place = self.place + b"/" + raw if self.place else raw
        return Folder(path, path + b"/", place, self.absolute + raw + b"/")

    @property
    def into(self) -> tuple[Name, ...]:
        """The collection; made when it is asked for, since where nothing has changed nobody asks."""
        if self._into is None:
            self._into = tuple(names.from_raws(self.place.split(b"/"))) if self.place else ()
        return self._into

    @property
    def shown(self) -> str:
        """Where it is from the root, as text."""
        return shown(self.absolute)


class Found(NamedTuple):
    """Neighbours met on the way: where they are, and of each its name and how it looks (formats.looks)."""

    folder: Folder
    entries: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Met:
    """Neighbours in a folder, in order. `looks`: of each (formats.looks); `plain`: so too, but folders all look alike.

    `folders`: which of them are folders.
    """

    names: list[bytes]
    looks: bytes
    plain: bytes
    folders: list[int]

    def facts(self, number: int) -> Facts:
        """What the file system says of one."""
        return decode(self.looks, number)


Known = Callable[[Folder, Met], Collection[bytes] | None]
"""The names, of some entries of a folder, that need no look; None: none of them does."""


def shown(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 as Python shows them."""
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


class Walk:
    """Goes through files and trees."""

    def __init__(
        self, own: tuple[int, int], tell: Tell, unchanged: Known, helpers: Hands | None = None, *,
        expect: Callable[[Sequence[Folder]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`own`: device and inode of the store, which is not taken into itself.

        `unchanged`: says what needs no look; folders are gone into all the same. `helpers`: may look at folders.
        `expect`: is told of folders beside each other before `unchanged` is asked about them.
        """
        self._own = own
        self._own_node = node(*own)
        self._tell = tell
        self._unchanged = unchanged
        self._expect = expect
        self._looking = Looking(helpers or Hands(0), own)

    def all(self, sources: Iterable[str | bytes | os.PathLike[str]], into: tuple[Name, ...]) -> Iterator[Found]:
        """Neighbours in one piece; a folder before what lies in it; "." and the like without itself."""
        for source in sources:
            path = os.fsencode(source)
            try:
                facts = os.lstat(path)
            except OSError as error:
                self._tell(path, "unreadable", error.strerror or str(error))
                continue
            if self._is_inside(path):
                self._tell(path, "store", "this is the store itself, or lies in it")
                continue
            normal = os.path.normpath(path)
            base = os.path.basename(normal)
            if stat.S_ISDIR(facts.st_mode) and base in (b".", b"..", b""):
                yield from self._tree(Folder.first(path, into))
                continue
            look = encode(facts)
            if look is None:
                self._tell(path, "unreadable", "a number beyond all bounds")
                continue
            yield Found(Folder.first(os.path.dirname(normal) or b".", into), [(base, look)])
            if stat.S_ISDIR(facts.st_mode):
                yield from self._tree(Folder.first(path, (*into, names.from_raw(base))))

    def _is_inside(self, path: bytes) -> bool:
        """Whether a path is the store's folder or below it; a link to it lies where the link lies."""
        place = os.path.realpath(os.path.dirname(path) if os.path.islink(path) else path)
        while True:
            with contextlib.suppress(OSError):
                facts = os.stat(place)
                if (facts.st_dev, facts.st_ino) == self._own:
                    return True
            above = os.path.dirname(place)
            if above == place:
                return False
            place = above

    def _tree(self, top: Folder) -> Iterator[Found]:
        """Without recursion: a tree may be deeper than Python's stack."""
        waiting: list[Iterator[Found | Folder]] = [iter((top,))]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
            elif isinstance(entry, Found):
                yield entry
            else:
                inner = self._entries(entry)
                if inner is not None:
                    waiting.append(inner)

    def _entries(self, folder: Folder) -> Iterator[Found | Folder] | None:
        """What lies in a folder and needs a look; and each folder in it, behind itself. None if there is nothing."""
        seen, rest = self._looking.at(folder.path)
        trouble, raws, looks, plain, folders, troubles = seen
        if trouble:
            self._tell(folder.path, "unreadable", trouble)
            return None
        if folders or troubles or rest:
            return self._parts(folder, seen, rest)
        # Most folders hold files alone, all as they were: then that is all there is to it.
        met = Met(raws, looks, plain, folders)
        known = self._unchanged(folder, met) if raws else None
        return None if known is None else _unknown(folder, met, range(len(raws)), known)

    def _parts(self, folder: Folder, seen: Seen, rest: Sequence[bytes]) -> Iterator[Found | Folder]:
        """Some at a time: a folder may hold a million files."""
        yield from self._part(folder, seen)
        for start in range(0, len(rest), TOGETHER):
            yield from self._part(folder, self._looking.more(folder.path, rest[start : start + TOGETHER]))

    def _part(self, folder: Folder, seen: Seen) -> Iterator[Found | Folder]:
        _, raws, looks, plain, folders, troubles = seen
        for raw, code, reason in troubles:
            self._tell(folder.prefix + raw, code, reason)
        met = Met(raws, looks, plain, folders)
        self._leave_own_out(folder, met)
        if not met.names:
            return
        known = self._unchanged(folder, met)
        inner = self._inner(folder, met)
        if known is None:
            yield from inner
            return
        start = 0
        for number in met.folders:
            yield from _unknown(folder, met, range(start, number + 1), known)
            yield next(inner)
            start = number + 1
        yield from _unknown(folder, met, range(start, len(met.names)), known)

    def _inner(self, folder: Folder, met: Met) -> Iterator[Folder]:
        for start in range(0, len(met.folders), EXPECTED):
            some = [folder.below(met.names[number]) for number in met.folders[start : start + EXPECTED]]
            self._expect(some)
            yield from some

    def _leave_own_out(self, folder: Folder, met: Met) -> None:
        if self._own_node not in met.looks:  # as good as always, and found out at once
            return
        for number in met.folders:
            facts = met.facts(number)
            if (facts.st_dev, facts.st_ino) == self._own:
                self._tell(folder.prefix + met.names[number], "store", "this is the store itself")
                _drop(met, number)
                return


def _unknown(folder: Folder, met: Met, which: range, known: Collection[bytes]) -> Iterator[Found]:
    """Neighbours, but for those that need no look; in one piece."""
    size, looks = LOOKS.size, met.looks
    entries = [(met.names[n], looks[n * size : (n + 1) * size]) for n in which]
    if known:
        entries = [one for one in entries if one[0] not in known]
    if entries:
        yield Found(folder, entries)


def _drop(met: Met, number: int) -> None:
    size = LOOKS.size
    del met.names[number]
    met.looks = met.looks[: number * size] + met.looks[(number + 1) * size :]
    met.plain = met.plain[: number * size] + met.plain[(number + 1) * size :]
    met.folders = [one - (one > number) for one in met.folders if one != number]
