"""One segment file, plain or sealed: its bytes in blocks, and its sealed successor."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator

import zstandard

from holdfast.disk import Disk
from holdfast.errors import ChainBrokenError, StorageIOError
from holdfast.formats import lines

_BLOCK = 1 << 20


def blocks(disk: Disk, path: str) -> Iterator[bytes]:
    """The bytes of a segment in blocks; ChainBrokenError if a sealed one does not decompress whole.

    A plain one that was superseded since it was listed is read from its sealed successor.
    """
    try:
        fd = opened(disk, path)
    except FileNotFoundError:
        if path.endswith(".zst"):
            raise
        path += ".zst"
        fd = opened(disk, path)
    try:
        if path.endswith(".zst"):
            yield from _decompressed(_raw(disk, fd, path), path)
        else:
            yield from _raw(disk, fd, path)
    finally:
        disk.close(fd)


def seal(disk: Disk, path: str, temporary: str, target: str) -> None:
    """Make the sealed successor of a plain segment: durable and read back before it gets its name `target`."""
    fd = disk.create(temporary)
    try:
        compressor = lines.sealing_compressor().compressobj()
        for block in blocks(disk, path):
            disk.write(fd, compressor.compress(block), temporary)
        disk.write(fd, compressor.flush(), temporary)
        disk.fsync(fd, temporary)
        written = _content(_decompressed(_raw(disk, fd, temporary), temporary))
    finally:
        disk.close(fd)
    if _content(blocks(disk, path)) != written:
        raise ChainBrokenError(f"{temporary} did not come back as it was written", seq=None, where="journal")
    disk.link(temporary, target)
    disk.fsync_dir(os.path.dirname(target))
    disk.unlink(temporary)


def opened(disk: Disk, path: str) -> int:
    """FileNotFoundError if it was removed since it was listed; StorageIOError if it is a link to nowhere."""
    try:
        return disk.open_read(path)
    except FileNotFoundError:
        if disk.stat(path) is None:
            raise
    raise StorageIOError(f"{path} is a link to nowhere", path=path, operation="open", errno=errno.ENOENT)


def _raw(disk: Disk, fd: int, path: str) -> Iterator[bytes]:
    offset = 0
    while block := disk.pread(fd, _BLOCK, offset, path):
        yield block
        offset += len(block)


def _content(read: Iterable[bytes]) -> bytes:
    total = hashlib.sha256()
    for block in read:
        total.update(block)
    return total.digest()


def _decompressed(read: Iterable[bytes], path: str) -> Iterator[bytes]:
    """One zstd frame, whole: a cut or a second frame is an error, not an early end."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        for block in read:
            if decompressor.eof:
                raise ChainBrokenError(f"{path} goes on after its end", seq=None, where="journal")
            yield decompressor.decompress(block)
    except zstandard.ZstdError as error:
        raise ChainBrokenError(f"{path} is damaged: {error}", seq=None, where="journal") from error
    if not decompressor.eof or decompressor.unused_data:
        raise ChainBrokenError(f"{path} is cut or goes on after its end", seq=None, where="journal")
