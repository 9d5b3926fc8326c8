"""Recognises content that goes on where an older one ended: what they share is read and hashed once, and not cut again.

A running SHA-256 that is the older content's digest after as many bytes proves that the bytes are the same: so its
recipe lists them, and only its last chunk, which ended because the content did, is cut anew.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from holdfast.blobs.chunks.intake import Intake
from holdfast.blobs.compress import read_full
from holdfast.formats.recipe import Recipe

_SAMPLES = 8
_PIECE = 1024 * 1024


def seems_appended(source: BinaryIO, old: Recipe) -> bool:
    """Whether a few chunks of an older content, the last one too, stand in the source where they stood in it.

    Reads here and there, and leaves the source at its beginning. False for a source that cannot go back.
    """
    if not source.seekable():
        return False
    count = len(old)
    try:
        for number in sorted({number * (count - 1) // _SAMPLES for number in range(_SAMPLES + 1)}):
            raw, size = old.chunk(number)
            source.seek(old.starts[number])
            if hashlib.sha256(read_full(source, size)).digest() != raw:
                return False
    finally:
        source.seek(0)
    return True


def shared(intake: Intake, old: Recipe) -> bytes | None:
    """Take in as many bytes as an older content has; what its last chunk is, if they are that content.

    None: they are not. Then the source is anywhere.
    """
    left = old.starts[-2]
    while left:
        piece = len(intake.window(min(left, _PIECE)))
        if not piece:
            return None
        left -= piece
    last = bytes(intake.window(old.size - old.starts[-2]))
    return last if intake.digest() == old.digest else None


def begun(old: Recipe) -> Recipe:
    """A recipe that begins with all chunks of another but the last."""
    found = Recipe(digests=old.digests[:-32])
    found.starts = old.starts[:-1]
    return found
