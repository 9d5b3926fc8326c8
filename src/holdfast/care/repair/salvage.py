"""Contents of files that no reader opens: exchanged, misnamed, or damaged where no content stands. Hashing decides."""

from __future__ import annotations

import contextlib
import io
import os
import stat as flags
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

import zstandard

from holdfast.care.repair.plan import Spool
from holdfast.disk import Disk
from holdfast.engine import content
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.values import digest as digests

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE = 256 * 1024


class _Stored(io.RawIOBase):
    """The bytes of a file of the store, from its beginning."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk, self._path, self._at = disk, path, 0
        self._fd = disk.open_read(path)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """The next bytes."""
        view = memoryview(buffer).cast("B")
        data = self._disk.pread(self._fd, len(view), self._at, self._path)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file; again does nothing."""
        if not self.closed:
            self._disk.close(self._fd)
        super().close()


class _Plain(io.RawIOBase):
    """A file's zstd frames one behind the other, as `zstd -dc` gives them."""

    def __init__(self, stored: _Stored) -> None:
        self._stored = stored
        self._reader = zstandard.ZstdDecompressor().stream_reader(cast("BinaryIO", stored), read_across_frames=True)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """The next bytes of content. A damaged frame ends them: whoever hashes what came will see."""
        view = memoryview(buffer).cast("B")
        try:
            data = self._reader.read(len(view))
        except zstandard.ZstdError:
            return 0
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file; again does nothing."""
        self._stored.close()
        super().close()


def _plain(disk: Disk, path: str) -> BinaryIO:
    """Raises OSError, HoldfastError if it is not a file that can be read."""
    facts = disk.stat(path)
    if facts is None or not flags.S_ISREG(facts.st_mode):
        raise FileNotFoundError(path)
    return cast("BinaryIO", io.BufferedReader(_Plain(_Stored(disk, path)), _PIECE))


class Salvage:
    """What the damaged files of a store really hold: those of `blobs/` that are looked for, and all in quarantine."""

    def __init__(self, root: str, disk: Disk) -> None:
        self._root = root
        self._disk = disk
        self._found: dict[bytes, str] = {}

    def look_for(self, wanted: Spool) -> None:
        """Decompress and hash each of these files once. Memory is that of the digests which were found."""
        raws = {digests.raw(digest) for digest, _ in wanted}
        for path in self._candidates(wanted):
            with contextlib.suppress(OSError, HoldfastError):
                with _plain(self._disk, path) as file:
                    found = digests.raw(content.hash_blocks(file.read))
                if found in raws:
                    self._found.setdefault(found, path)

    def _candidates(self, wanted: Spool) -> Iterator[str]:
        yield from (os.path.join(self._root, paths.blob_file(digests.raw(digest))) for digest, _ in wanted)
        folder = os.path.join(self._root, paths.QUARANTINE)
        with contextlib.suppress(HoldfastError, OSError):
            yield from (os.path.join(folder, name) for name in self._disk.listdir(folder) if ".zst." in name)

    def offers(self, raw: bytes) -> Iterator[tuple[str, BinaryIO]]:
        """(where, the content) from the file in which it was seen, under its name or where it was set aside since."""
        seen = self._found.get(raw)
        if seen is None:
            return
        folder, start = os.path.join(self._root, paths.QUARANTINE), os.path.basename(seen) + "."
        names = self._disk.listdir(folder) if os.path.isdir(folder) else []
        aside = [os.path.join(folder, name) for name in names if name.startswith(start)]
        for path in (seen, *aside):
            with contextlib.suppress(OSError, HoldfastError):
                yield os.path.relpath(path, self._root), _plain(self._disk, path)
