"""Finds what there is to take in: depth first, by bytes of names, with what the file system says of each."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from holdfast.values import names
from holdfast.values.names import Name

TOGETHER = 1_000
"""Entries of a folder that are looked at before any of them is taken in."""

Tell = Callable[[bytes, str, str], None]
"""Is told of what cannot be taken in: path, code, reason."""


class Folder:
    """A folder that is being gone through: where it is, and the collection that it goes to."""

    __slots__ = ("absolute", "into", "path", "prefix", "shown")

    def __init__(self, path: bytes, into: tuple[Name, ...]) -> None:
        self.path = path
        self.into = into
        self.prefix = os.path.join(path, b"")
        self.absolute = os.path.join(os.path.abspath(path), b"")
        self.shown = shown(self.absolute)


@dataclass(slots=True)
class Found:
    """A thing met on the way: where it is, where it goes, what the file system says of it."""

    folder: Folder
    raw: bytes
    path: bytes
    facts: os.stat_result

    @property
    def name(self) -> Name:
        """The name that it goes in under."""
        return names.from_raw(self.raw)

    @property
    def source(self) -> str:
        """Its absolute path, as text."""
        return self.folder.shown + shown(self.raw)


def shown(path: bytes) -> str:
    """A path as text; bytes that are not UTF-8 as Python shows them."""
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


class Walk:
    """Goes through files and trees."""

    def __init__(
        self, own: tuple[int, int], tell: Tell, unchanged: Callable[[Folder, list[Found]], Collection[bytes]]
    ) -> None:
        """`own`: device and inode of the store, which is not taken into itself.

        `unchanged`: the names, of some entries of a folder, that need no look; folders are gone into all the same.
        """
        self._own = own
        self._tell = tell
        self._unchanged = unchanged

    def all(self, sources: Iterable[str | bytes | os.PathLike[str]], into: tuple[Name, ...]) -> Iterator[Found]:
        """A folder before what lies in it; "." and the like without itself."""
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
                yield from self._tree(path, into)
                continue
            found = Found(Folder(os.path.dirname(normal) or b".", into), base, path, facts)
            yield found
            if stat.S_ISDIR(facts.st_mode):
                yield from self._tree(path, (*into, found.name))

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

    def _tree(self, folder: bytes, into: tuple[Name, ...]) -> Iterator[Found]:
        """Without recursion: a tree may be deeper than Python's stack."""
        waiting = [self._entries(Folder(folder, into))]
        while waiting:
            entry = next(waiting[-1], None)
            if entry is None:
                waiting.pop()
                continue
            found, is_new = entry
            if is_new:
                yield found
            if stat.S_ISDIR(found.facts.st_mode):
                waiting.append(self._entries(Folder(found.path, (*found.folder.into, found.name))))

    def _entries(self, folder: Folder) -> Iterator[tuple[Found, bool]]:
        """What lies in a folder, and whether it needs a look. Some at a time: a folder may hold a million files."""
        try:
            names_of = sorted(os.listdir(folder.path))
        except OSError as error:
            self._tell(folder.path, "unreadable", error.strerror or str(error))
            return
        for start in range(0, len(names_of), TOGETHER):
            met = self._looked_at(folder, names_of[start : start + TOGETHER])
            known = self._unchanged(folder, met) if met else ()
            for found in met:
                if found.raw not in known:
                    yield found, True
                elif stat.S_ISDIR(found.facts.st_mode):
                    yield found, False

    def _looked_at(self, folder: Folder, some: list[bytes]) -> list[Found]:
        met = []
        for raw in some:
            path = folder.prefix + raw
            try:
                facts = os.lstat(path)
            except FileNotFoundError:
                self._tell(path, "vanished", "it went away while the folder was read")
                continue
            except OSError as error:
                self._tell(path, "unreadable", error.strerror or str(error))
                continue
            if facts.st_ino == self._own[1] and facts.st_dev == self._own[0]:
                self._tell(path, "store", "this is the store itself")
                continue
            met.append(Found(folder, raw, path, facts))
        return met
