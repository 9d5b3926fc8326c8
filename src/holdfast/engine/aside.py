"""Segments read by what they hold, and which of those set aside say nothing that the chain does not say."""

from __future__ import annotations

import os
from collections.abc import Iterator

import zstandard

from holdfast.disk import Disk
from holdfast.errors import HoldfastError
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.index.chain import ChainRows

_SEGMENT = ".jsonl"
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 64 * 1024
_BITE = 256


def superseded_segments(disk: Disk, folder: str, chain: ChainRows) -> list[str]:
    """Names of segments set aside whose whole transactions are all in the chain; the rest of them is damage.

    One with a transaction that the chain lacks may be all that is left of it, and is not named.
    """
    found = []
    for name in disk.listdir(folder):
        if _SEGMENT in name and _is_superseded(disk, os.path.join(folder, name), chain):
            found.append(name)
    return found


def _is_superseded(disk: Disk, path: str, chain: ChainRows) -> bool:
    try:
        for item in lines.scan(text_of(disk, path)):
            if isinstance(item, Located):
                known = chain.at(item.transaction.entry.first)
                if known is None or known.entry.hash() != item.transaction.entry.hash():
                    return False
    except (HoldfastError, OSError):
        return False
    return True


def text_of(disk: Disk, path: str) -> Iterator[bytes]:
    """The text of a segment, sealed or not, whatever its name says; what cannot be decompressed ends it."""
    fd = disk.open_read(path)
    try:
        offset, unpack = 0, None
        while data := disk.pread(fd, _BLOCK, offset, path):
            if offset == 0 and data.startswith(_ZSTD):
                unpack = zstandard.ZstdDecompressor().decompressobj()
            offset += len(data)
            if unpack is None:
                yield data
                continue
            # Small bites: what was decompressed before a damaged place is kept.
            for at in range(0, len(data), _BITE):
                try:
                    yield unpack.decompress(data[at : at + _BITE])
                except zstandard.ZstdError:
                    return
                if unpack.eof:
                    return
    finally:
        disk.close(fd)
