"""What a pack has that no sync has reached: its bytes from there on, as long as an index can keep them instead.

Bytes are taken from the end of what is synced or kept, so that what is kept of a pack leaves no gap: also those of
appends that nobody commits. Where too many wait, or some are not in memory, the pack has to be synced.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator

from holdfast.errors import BlobDamagedError
from holdfast.formats import frame, pack
from holdfast.formats.pack import Member

KEPT_BYTES = 128 * 1024
"""So many bytes a COMMIT keeps at most: with more a sync of the pack costs less."""

SYNC_BYTES = 8 * 1024 * 1024
"""A pack with so many bytes that no sync has reached is synced."""


def members_of(name: str, start: int, data: bytes) -> Iterator[tuple[Member, bytes]]:
    """What the appends in some bytes of a pack, from `start` on, hold: each member with its content, if it is sound."""
    at, end = start, start + len(data)
    while at < end:
        try:
            length = pack.announced(data[at - start : at - start + pack.HEAD_BYTES])
            header = pack.decode_header(data[at - start : at - start + length], bytes.fromhex(name), at)
        except BlobDamagedError:
            return
        for member in header.each():
            offset = member.offset - start
            with contextlib.suppress(BlobDamagedError):
                content = frame.decode(data[offset : offset + member.stored])
                content = content[member.start : member.start + member.size]
                if hashlib.sha256(content).digest() == member.digest:
                    yield member, content
        at = header.end


class Unsynced:
    """Of one open pack; for many threads. `kept`: up to where it is synced, or kept by what is committed."""

    def __init__(self) -> None:
        self.kept = 0
        self._guard = threading.Lock()
        self._lost = 0  # up to where bytes are not in memory
        self._parts: list[tuple[int, bytes]] = []
        self._bytes = 0
        self._rows: list[int] = []  # where what is kept, and was not yet given up, ends

    def wrote(self, start: int, data: bytes, *, keep: bool) -> None:
        """Bytes were appended. Without `keep` whoever wrote them is about to sync."""
        with self._guard:
            if keep and self._bytes + len(data) <= KEPT_BYTES:
                self._parts.append((start, data))
                self._bytes += len(data)
            else:
                self._parts, self._bytes, self._lost = [], 0, start + len(data)

    def synced(self, end: int) -> None:
        """A sync has reached `end`."""
        with self._guard:
            self._passed(end)

    def _passed(self, end: int) -> None:
        if not self._parts or self._parts[-1][0] + len(self._parts[-1][1]) <= end:
            self._parts, self._bytes, self.kept = [], 0, max(self.kept, end)
            return
        self._parts = [part for part in self._parts if part[0] + len(part[1]) > end]
        self._bytes = sum(len(data) for _, data in self._parts)
        self.kept = max(self.kept, end)

    def to_keep(self) -> tuple[int, bytes] | None:
        """(from where, all bytes from there on), nothing if there are none; None if some are not at hand."""
        with self._guard:
            if self._lost > self.kept:
                return None
            if len(self._parts) == 1:
                return self._parts[0]
            start = self._parts[0][0] if self._parts else self.kept
            return start, b"".join([data for _, data in self._parts])

    def was_kept(self, end: int) -> None:
        """What `to_keep` gave is committed."""
        with self._guard:
            self._rows.append(end)
            self._passed(end)

    def is_kept_somewhere(self) -> bool:
        """Whether the index keeps anything of it."""
        return bool(self._rows)

    def given_up(self, synced: int) -> bool:
        """Whether the index keeps anything that a sync has reached. It is about to give it up, so it is asked once."""
        with self._guard:
            if not self._rows or self._rows[0] > synced:  # they grow, and hundreds wait for one sync
                return False
            self._rows = [end for end in self._rows if end > synced]
            return True
