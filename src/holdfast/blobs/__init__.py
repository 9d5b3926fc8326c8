"""Bytes at rest: one copy of each content under its digest. Here are all calls to a file system about content."""

from holdfast.blobs.contract import BlobReader, BlobStat, BlobStore, Staged, WalkEntry
from holdfast.blobs.local import LocalBlobs
from holdfast.blobs.memory import MemoryBlobs
from holdfast.blobs.reader import BlobRaw, buffered, copy_to, lend_to

__all__ = [
    "BlobRaw",
    "BlobReader",
    "BlobStat",
    "BlobStore",
    "LocalBlobs",
    "MemoryBlobs",
    "Staged",
    "WalkEntry",
    "buffered",
    "copy_to",
    "lend_to",
]
