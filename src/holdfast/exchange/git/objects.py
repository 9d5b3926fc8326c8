"""Objects of a repository by their ids: many are asked for before the first one is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from holdfast.errors import GitError
from holdfast.exchange.git.program import Git

TOGETHER = 200
"""Questions that are asked before the first answer is read: they must fit into a pipe (64 KiB)."""


class Objects:
    """Objects of a repository by their ids."""

    def __init__(self, git: Git) -> None:
        self._running = git.start("cat-file", "--batch")

    def many(self, ids: Sequence[bytes]) -> list[bytes]:
        """The bytes of some objects; for small ones."""
        return [self._running_read(size) for _, size in self.each(ids)]

    def each(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
        """(id, size) of each; what it holds is read, by `take` or `piece`, before the next one is asked for."""
        waiting = iter(ids)
        for one in itertools.islice(waiting, TOGETHER):
            self._running.say(one + b"\n")
        self._running.flush()
        for one in ids:
            told = self._running.line().split(b" ")
            if len(told) != 3:
                raise GitError(
                    f"the repository lacks the object {one.decode()}", command="cat-file", status=1,
                    remedy="Run `git fsck` on it. If it is a partial clone: `git fetch --refetch --no-filter`.",
                )  # fmt: skip
            yield one, int(told[2])
            following = next(waiting, None)
            if following is not None:
                self._running.say(following + b"\n")
                self._running.flush()

    def _running_read(self, size: int) -> bytes:
        data = self.piece(size)
        self.end()
        return data

    def take(self, size: int) -> bytes:
        """All of the object that was met."""
        return self._running_read(size)

    def piece(self, size: int) -> bytes:
        """The next bytes of it."""
        return self._running.exactly(size)

    def end(self) -> None:
        """It was read whole."""
        self._running.exactly(1)

    def close(self) -> None:
        """No more is asked."""
        self._running.__exit__()
