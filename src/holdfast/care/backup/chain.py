"""The journal up to the end of a snapshot, proven against the chain of its index as it is copied."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from holdfast.care.backup.source import Proven, Snapshot, Source, read
from holdfast.errors import ChainForkedError, DamageError, HoldfastError, StorageIOError
from holdfast.formats import generation, lines, paths
from holdfast.formats.generation import Entry
from holdfast.formats.lines import Located
from holdfast.values import canon
from holdfast.values.frozen import dataclass


def segments(snapshot: Snapshot) -> Iterator[Source]:
    """The segments of the journal up to the snapshot's end, and what the index has beyond the journal's."""
    found: dict[int, list[str]] = {}
    for first, _, path in snapshot.handle.journal.segments():
        if first < snapshot.head.next_seq:
            found.setdefault(first, []).append(path)
    firsts = sorted(found)
    if snapshot.head.next_seq > 1 and firsts[:1] != [1]:
        firsts.insert(0, 1)
    for first, end in itertools.pairwise([*firsts, snapshot.head.next_seq]):
        last = end == snapshot.head.next_seq
        yield Segment(snapshot, first, end, tuple(found.get(first, ())), is_last=last)


@dataclass(frozen=True, slots=True)
class Segment:
    """Changes from `first` on and before `end`: a copy of a segment, or the same transactions from the index.

    `files`: sealed before plain. The last one is always written as plain, up to the snapshot's end.
    """

    snapshot: Snapshot
    first: int
    end: int
    files: tuple[str, ...]
    is_last: bool

    @property
    def path(self) -> str:
        """Sealed if the store's is."""
        return paths.segment_file(self.first, sealed=bool(self.files) and self._sealed(self.files[0]))

    def is_still(self, entry: Entry) -> bool:
        """By what the store's file looks like, and how far it is needed: a redaction rewrites it under its name."""
        return entry.path == self.path and entry.seen == self._seen() != generation.UNSEEN

    def proven(self, _: Entry | None = None, /) -> Proven:
        """Transactions that hash to what they say, and that lead from where the index says to where it says."""
        seen = self._seen()
        for path in self.files:
            found = self._as_in_index(path) or self._from_file(path)
            if found is not None:
                found.path = paths.segment_file(self.first, sealed=self._sealed(path))
                found.seen = seen if path == self.files[0] else generation.UNSEEN
                return found
        return self._from_index()

    def _sealed(self, path: str) -> bool:
        return path.endswith(".zst") and not self.is_last

    def _seen(self) -> str:
        facts = self.snapshot.disk.stat(self.files[0]) if self.files else None
        if facts is None:
            return generation.UNSEEN
        return f"{facts.st_size}:{facts.st_mtime_ns}:{facts.st_ctime_ns}:{facts.st_ino}:{self.end}"

    def _as_in_index(self, path: str) -> Proven | None:
        """Byte for byte what the index has, which keeps its own checksums: a tenth of the work of proving each change.

        None if anything is not as expected; then each transaction is looked at by itself.
        """
        blocks = self.snapshot.handle.journal.blocks(path)
        held, at, end, next_seq, erased = b"", 0, 0, self.first, 0
        try:
            for data in self.snapshot.index.chain.read(self.first):
                entry = lines.peek(data)
                if entry is None or entry.first >= self.end:
                    break
                while len(held) - at < len(data):
                    held, at = held[at:] + next(blocks), 0
                if entry.first != next_seq or not held.startswith(data, at):
                    return None
                at, end, next_seq = at + len(data), end + len(data), entry.first + entry.count
                if _erases(data):
                    erased = max(erased, _erased_seq(entry.first, lines.decode(data, "the index").bodies))
        except (DamageError, StorageIOError, FileNotFoundError, StopIteration):
            return None
        return self._found(path, end, erased) if next_seq == self.end and end else None

    def _found(self, path: str, end: int, erased: int) -> Proven:
        if self._sealed(path):
            return Proven(read(self.snapshot.disk, path), erased_seq=erased)
        return Proven(_cut(self.snapshot.handle.journal.blocks(path), end), erased_seq=erased)

    def _from_file(self, path: str) -> Proven | None:
        """None if the file is damaged, or does not go up to the end."""
        next_seq, end, erased = self.first, 0, 0
        before: bytes | None = None
        try:
            for item in lines.scan(self.snapshot.handle.journal.blocks(path)):
                if not isinstance(item, Located):
                    continue
                entry = item.transaction.entry
                if entry.first >= self.end:
                    break
                if entry.first != next_seq or (before is not None and entry.prev != before):
                    return None
                erased = max(erased, _erased_seq(entry.first, item.transaction.bodies))
                next_seq, before, end = entry.first + entry.count, entry.hash(), item.offset + item.length
        except (HoldfastError, FileNotFoundError) as error:
            if isinstance(error, DamageError | StorageIOError | FileNotFoundError):
                return None
            raise
        if next_seq != self.end or before is None:
            return None
        if not self.snapshot.index.chain.passed(next_seq, before):
            raise ChainForkedError(
                f"index and journal hold different transactions before change {next_seq}", seq=next_seq
            )
        return self._found(path, end, erased)

    def _from_index(self) -> Proven:
        """The same bytes; the journal is behind, cut or damaged."""
        erased = max((_erased_seq(first, bodies) for first, bodies, _ in self._of_index()), default=0)
        blocks = (data for _, _, data in self._of_index())
        return Proven(blocks, path=paths.segment_file(self.first), erased_seq=erased)

    def _of_index(self) -> Iterator[tuple[int, tuple[bytes, ...], bytes]]:
        for data in self.snapshot.index.chain.read(self.first):
            transaction = lines.decode(data, "a transaction of the index")
            if transaction.entry.first >= self.end:
                return
            yield transaction.entry.first, transaction.bodies, data


def _erased_seq(first: int, bodies: tuple[bytes, ...]) -> int:
    """The newest of some changes that redacts or purges something; 0 if none does."""
    for number in range(len(bodies) - 1, -1, -1):
        body = bodies[number]
        if _erases(body) and canon.decode(body)["action"] in ("redact", "purge"):
            return first + number
    return 0


def _erases(data: bytes) -> bool:
    """Whether there can be such a change in some bytes of a journal."""
    return b'"action":"redact"' in data or b'"action":"purge"' in data


def _cut(blocks: Iterator[bytes], end: int) -> Iterator[bytes]:
    for block in blocks:
        if end <= 0:
            return
        yield block[:end]
        end -= len(block)
