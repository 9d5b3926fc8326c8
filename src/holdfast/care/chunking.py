"""Files of no use that gc finds about recipes: those that no row speaks of, and what a recipe has superseded."""

from __future__ import annotations

import os
from collections.abc import Iterator

from holdfast.engine.chunk_marks import store
from holdfast.engine.handle import Handle
from holdfast.errors import DamageError
from holdfast.formats import paths
from holdfast.values import digest as digests


def strays(handle: Handle, *, before_us: int) -> Iterator[tuple[str, str, int]]:
    """(path, digest, bytes) of files that are of no use: recipes without a row, and files that a recipe superseded.

    Both only if the recipe is from before that time: a plain copy that is being made may need what it superseded.
    And what was superseded only where every chunk of its recipe was just read: it may be the last good copy by now.
    """
    blobs = store(handle)
    for entry in blobs.recipes.walk() if blobs is not None else ():
        assert entry.digest is not None
        if entry.modified_us > before_us:
            continue
        whole = paths.blob_file(digests.raw(entry.digest))
        for path in (entry.path, whole):
            facts = handle.disk.stat(os.path.join(handle.root, path))
            stray = facts is not None and is_stray(handle, path, entry.digest)
            if facts is not None and stray and (path == entry.path or _is_sound(handle, entry.digest)):
                yield path, entry.digest, facts.st_size


def _is_sound(handle: Handle, digest: str) -> bool:
    """Whether a content can be put together from its chunks."""
    try:
        handle.blobs.verify(digest)
    except DamageError:
        return False  # fsck names what is damaged, and repair takes the file
    return True


def is_stray(handle: Handle, path: str, digest: str) -> bool:
    """Whether a recipe, or the file of a content, has no use as rows stand now. Content that is wanted stays."""
    place = handle.index.physical.place(digest)
    if path.startswith(paths.RECIPES):
        return not place.cut if place is not None else not handle.index.physical.wanted(digest)
    return place is not None and place.cut
