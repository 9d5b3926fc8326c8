"""Takes the digest of what is copied while it is copied: another processor hashes what this one has read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

_WORTH_A_THREAD = 256 << 10
"""Of less, handing it over costs more than it saves."""

_AHEAD = 2
"""So many blocks wait to be hashed at most: memory is that of these."""


class Passing:
    """Gives blocks on as they come. `size` and `digest` (SHA-256, hexadecimal) of all when its `with` has ended."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.size = 0
        self.digest = ""
        self._blocks = blocks
        self._hash = hashlib.sha256()
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.size += len(block)
            self._take(block)
            yield block

    def _take(self, block: bytes) -> None:
        if self._thread is None and len(block) < _WORTH_A_THREAD:
            self._hash.update(block)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="holdfast-digest")
        while len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._hash.update, block))

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self.digest = self._hash.hexdigest()
