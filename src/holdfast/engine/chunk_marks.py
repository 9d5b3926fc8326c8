"""Marks the chunks that are needed: which these are is written in recipes alone, so all of them are read.

Marks are rows of a temporary table. They are made without a lock, and brought up to date under it before anything is
condemned or removed: a recipe that came since is read then.
"""

from __future__ import annotations

from holdfast.blobs.chunks import ChunkedBlobs
from holdfast.engine.handle import Handle
from holdfast.errors import BlobDamagedError, BlobMissingError, DamageError


def store(handle: Handle) -> ChunkedBlobs | None:
    """The blob store if it has chunks."""
    return handle.blobs if isinstance(handle.blobs, ChunkedBlobs) else None


def mark(handle: Handle) -> None:
    """Begin anew, and mark the chunks of every recipe that is needed. Raises as `catch_up` does."""
    handle.index.physical.chunks.forget_marks()
    catch_up(handle)


def catch_up(handle: Handle) -> None:
    """Mark the chunks of needed recipes that were not read yet, those too that have lost their row.

    BlobMissingError, BlobDamagedError: a needed recipe cannot be read, so nobody can say which chunks are needed.
    """
    blobs, physical = store(handle), handle.index.physical
    if blobs is None:
        return
    for key, digest in physical.chunks.unread_recipes():
        try:
            physical.chunks.mark(key, blobs.recipes.read(digest)[0].digests)
        except (BlobMissingError, BlobDamagedError) as error:
            error.remedy = "Run `holdfast fsck --repair` first: without this recipe nobody knows what is needed."
            raise
    for entry in blobs.recipes.walk():
        assert entry.digest is not None
        lost = physical.place(entry.digest) is None and physical.wanted(entry.digest)
        content = physical.content_key(entry.digest) if lost else None
        if content is not None and not physical.chunks.was_read(content):
            try:
                physical.chunks.mark(content, blobs.recipes.read(entry.digest)[0].digests)
            except DamageError:
                continue  # nobody can tell any more what it listed
