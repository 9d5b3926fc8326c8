"""A store that is damaged in one way after the other, and is as before each time: same bytes, same inodes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from holdfast.formats import frame
from holdfast.testing.damage import Case, files_of


class Harmed:
    """Remembers a store that nobody changes meanwhile, and undoes whatever becomes of it.

    `parking` is a folder on the same file system, outside the store: each file has a second name there, so that it
    keeps its inode (an index knows its own) when a case takes its name away.
    """

    def __init__(self, root: Path, parking: Path) -> None:
        self.root = root
        self.files = {path: (root / path).read_bytes() for path in files_of(root)}
        self._folders = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}
        self._parked = {path: parking / str(number) for number, path in enumerate(self.files)}
        parking.mkdir()
        for path, aside in self._parked.items():
            os.link(root / path, aside)

    @contextlib.contextmanager
    def harm(self, case: Case) -> Iterator[bytes | None]:
        """The store with one damage; gives the new bytes of the file, None if it is no file any more."""
        try:
            self._do(case)
            path = self.root / case.path
            yield path.read_bytes() if path.is_file() and not path.is_symlink() else None
        finally:
            self.mend()

    @contextlib.contextmanager
    def harm_all(self, several: Sequence[Case]) -> Iterator[None]:
        """The store with several damages, each to another file; whatever else the block does to it is undone too."""
        try:
            for case in several:
                self._do(case)
            yield
        finally:
            self.mend()

    def mend(self) -> None:
        """Everything as it was."""
        self._remove_what_is_new()
        for folder in sorted(self._folders):
            (self.root / folder).mkdir(exist_ok=True)
        for path, data in self.files.items():
            place, aside = self.root / path, self._parked[path]
            if not _same_file(place, aside):
                _remove(place)
                os.link(aside, place)
            if place.read_bytes() != data:
                _write(place, data)

    def _remove_what_is_new(self) -> None:
        for folder, folders, files in os.walk(self.root):
            for name in [*folders, *files]:
                path = Path(folder, name)
                known = self._folders if path.is_dir() and not path.is_symlink() else self.files
                if str(path.relative_to(self.root)) not in known:
                    _remove(path)
                    if name in folders:
                        folders.remove(name)

    # -- the ways ----------------------------------------------------------------------------------------------------

    def _do(self, case: Case) -> None:
        place, data = self.root / case.path, self.files[case.path]
        if case.kind == "flip":
            _write(place, data[: case.at] + bytes([data[case.at] ^ case.value]) + data[case.at + 1 :])
        elif case.kind == "cut":
            os.truncate(place, case.at)
        elif case.kind == "extend":
            garbage = random.Random(case.at).randbytes(case.at)  # noqa: S311
            _write(place, data + (garbage if case.value else bytes(case.at)))
        elif case.kind == "sector":
            end = min(case.at + case.value, len(data))
            _write(place, data[: case.at] + bytes(end - case.at) + data[end:])
        elif case.kind == "frames":
            _write(place, swapped_frames(data, case.at))
        elif case.kind == "over":
            _write(place, self.files[case.other])
        elif case.kind == "swap":
            place.rename(self.root / "aside")
            (self.root / case.other).rename(place)
            (self.root / "aside").rename(self.root / case.other)
        else:
            self._replace(case.kind, place)

    def _replace(self, kind: str, place: Path) -> None:
        if kind == "empty":
            os.truncate(place, 0)
        elif kind == "unreadable":
            place.chmod(0)
        else:
            place.unlink()
        if kind == "folder":
            place.mkdir()
        elif kind == "pipe":
            os.mkfifo(place)
        elif kind.startswith("link-"):
            to = {"link-copy": self._copy_of(place), "link-nowhere": "nowhere", "link-null": "/dev/null"}[kind]
            place.symlink_to(to)

    def _copy_of(self, place: Path) -> str:
        """A good copy outside the store."""
        copy = next(iter(self._parked.values())).parent / "copy"
        copy.write_bytes(self.files[str(place.relative_to(self.root))])
        return str(copy)


def swapped_frames(data: bytes, number: int) -> bytes:
    """A blob's file in which a frame and the next one took each other's place."""
    starts = [0]
    while data[starts[-1] : starts[-1] + 4] == frame.MAGIC:
        starts.append(starts[-1] + frame.measure(data[starts[-1] :])[1])
    one, two, end = starts[number : number + 3]
    return data[:one] + data[two:end] + data[one:two] + data[end:]


def _same_file(place: Path, aside: Path) -> bool:
    try:
        found = place.lstat()
    except OSError:
        return False
    if found.st_ino != aside.lstat().st_ino:
        return False
    if not found.st_mode & 0o200:
        place.chmod(0o644)
    return True


def _write(place: Path, data: bytes) -> None:
    """In place: nobody who has the file open sees it empty."""
    with open(place, "r+b") as file:
        file.write(data)
        file.truncate(len(data))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
