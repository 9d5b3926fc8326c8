"""Random access to content that a recipe lists: only the chunks that a range touches are read, each is proven."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable

from holdfast.blobs.contract import BlobStat, Cut
from holdfast.blobs.files import check_range, damaged
from holdfast.blobs.onward import end_among
from holdfast.errors import BlobDamagedError, HandleDeadError
from holdfast.formats import paths
from holdfast.formats.recipe import Recipe
from holdfast.values import digest as digests

Fetch = Callable[[bytes], bytes]
"""Gives a chunk by its raw digest, proven. BlobMissingError, BlobDamagedError."""


class ChunkedReader:
    """Random access to a content by its proven recipe. Keeps one chunk, the last one that was read."""

    def __init__(self, recipe: Recipe, fetch: Fetch, stored_bytes: int) -> None:
        self.digest = digests.text(recipe.digest)
        self.size = recipe.size
        self.stat = BlobStat(self.digest, recipe.size, stored_bytes, len(recipe), cut=Cut(recipe))
        self._recipe = recipe
        self._fetch: Fetch | None = fetch
        self._held = -1
        self._content = b""

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length), cut off at the end; BlobMissingError, BlobDamagedError, HandleDeadError."""
        check_range(offset, length)
        if self._fetch is None:
            raise HandleDeadError("the blob's reader is closed", reason="closed")
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        starts = self._recipe.starts
        number = bisect_right(starts, offset) - 1
        parts = []
        while number < len(self._recipe) and starts[number] < end:
            start = starts[number]
            parts.append(self._chunk(number)[max(offset - start, 0) : end - start])
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def end_of_piece(self, offset: int) -> int:
        """The end of a chunk (Divisible)."""
        return end_among(self._recipe.starts, offset)

    def fill(self, offset: int, view: memoryview) -> None:
        """Whole chunks but for the beginning of the first (Divisible)."""
        starts = self._recipe.starts
        number, at = bisect_right(starts, offset) - 1, 0
        while at < len(view):
            part = memoryview(self._fetched(number))[max(offset - starts[number], 0) :]
            view[at : at + len(part)] = part
            at += len(part)
            number += 1

    def close(self) -> None:
        """Give back what is held; again does nothing."""
        self._fetch, self._content, self._held = None, b"", -1

    def _chunk(self, number: int) -> bytes:
        if number != self._held:
            self._content = self._fetched(number)
            self._held = number
        return self._content

    def _fetched(self, number: int) -> bytes:
        assert self._fetch is not None
        raw, size = self._recipe.chunk(number)
        content = self._fetch(raw)
        if len(content) != size:
            raise self._damaged(f"chunk {number} has {len(content)} bytes, not {size}")
        return content

    def _damaged(self, reason: str) -> BlobDamagedError:
        return damaged(self.digest, paths.recipe_file(self._recipe.digest), reason)


def prove(recipe: Recipe, fetch: Fetch) -> None:
    """Read every chunk, and the whole; BlobMissingError, BlobDamagedError."""
    whole = hashlib.sha256()
    for raw, _ in recipe:
        whole.update(fetch(raw))
    if whole.digest() != recipe.digest:
        reason = f"the chunks it lists make {digests.text(whole.digest())}"
        raise damaged(digests.text(recipe.digest), paths.recipe_file(recipe.digest), reason)
