"""Chapter 7 of store-layout.md: how a thing in a file system looks, as a row of bytes to be compared."""

from __future__ import annotations

import os
import stat
import struct
from typing import NamedTuple

LOOKS = struct.Struct("<qqqQQI")
_NODE = struct.Struct("<QQ")


class Facts(NamedTuple):
    """Size, modification and change time in nanoseconds, inode, device, mode: names as in `os.stat_result`."""

    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ino: int
    st_dev: int
    st_mode: int


A_FOLDER = LOOKS.pack(0, 0, 0, 0, 0, stat.S_IFDIR)
"""How every folder looks to whoever compares: its own times say nothing about the files in it."""


def encode(facts: os.stat_result | Facts) -> bytes | None:
    """How a thing looks; None where a number is beyond all bounds."""
    try:
        return LOOKS.pack(
            facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino, facts.st_dev, facts.st_mode
        )
    except struct.error:
        return None


def decode(looks: bytes, number: int = 0) -> Facts:
    """What was said of one of several things."""
    return Facts._make(LOOKS.unpack_from(looks, number * LOOKS.size))


def node(device: int, inode: int) -> bytes:
    """What stands in how a thing looks if it is this one: where that is not among many, the thing is not."""
    return _NODE.pack(inode, device)
