"""Proves the chains of other stores that were merged, and that our changes stand for changes which are in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.blobs import buffered
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import HoldfastError
from holdfast.formats import lines
from holdfast.formats.lines import Garbage
from holdfast.values import canon, change, moment
from holdfast.values.change import FOREIGN_CHAIN, ORIGIN, Entry, Head
from holdfast.values.records import Artifact, Revision, RevisionState

_BLOCK = 1 << 20
_NAMED = 20


@dataclass(frozen=True, slots=True)
class ForeignChain:
    """One kept chain. `head`: "SEQ:HASH" of its proven end; `merged`: changes of ours that say they stand for its own.

    `problems`: what is not as it was, the first few; `proven`: there are none.
    """

    id: str
    store: str
    head: str
    transactions: int
    changes: int
    merged: int
    problems: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problems


def verify(handle: Handle, progress: Progress | None = None) -> Iterator[ForeignChain]:
    """Each kept chain, proven. Memory: some hundreds of bytes for each transaction of one chain."""
    for first in handle.index.whole.shards("artifacts"):
        for row in handle.index.whole.rows("artifacts", first):
            found = handle.index.artifacts.by_id(row["id"]) if row["type"] == FOREIGN_CHAIN else None
            if found is not None and found.deleted_at is None and "store" in found.metadata:
                yield _Proof(handle, found, progress).run()


class _Proof:
    def __init__(self, handle: Handle, found: Artifact, progress: Progress | None) -> None:
        self._handle = handle
        self._found = found
        self._progress = progress
        self._store = str(found.metadata["store"])
        self._problems: list[str] = []
        self._entries: dict[str, Entry] = {}
        self._head: Head = change.origin(self._store)

    def run(self) -> ForeignChain:
        """The chain itself, then what is said of it here."""
        try:
            self._chain()
        except HoldfastError as error:
            self._trouble(f"it cannot be read: {error.message}")
        merged = self._merged()
        head = self._head
        return ForeignChain(
            self._found.id, self._store, f"{head.next_seq - 1}:{head.hash.hex()}" if head.next_seq > 1 else "",
            len(self._entries), head.next_seq - 1, merged, tuple(self._problems[:_NAMED]),
        )  # fmt: skip

    def _trouble(self, what: str) -> None:
        self._problems.append(what)

    def _chain(self) -> None:
        """The newest revision last: forks of one store are kept as revisions of one artifact."""
        key = self._handle.index.artifacts.key_of(self._found.id)
        assert key is not None
        for revision in reversed(self._handle.index.artifacts.history(key, self._found.id)):
            if revision.state is RevisionState.KEPT:
                self._head = change.origin(self._store)
                self._revision(revision)

    def _revision(self, revision: Revision) -> None:
        with buffered(self._handle.blobs.open(revision.digest)) as file:
            for item in lines.scan(iter(lambda: file.read(_BLOCK), b"")):
                if isinstance(item, Garbage):
                    self._trouble(f"at byte {item.offset}: {item.reason}")
                    continue
                entry = item.transaction.entry
                if not lines.follows(item.transaction, self._head):
                    self._trouble(f"change {entry.first} does not follow from the one before")
                    break
                self._head = item.transaction.head
                self._entries[entry.tx] = entry
                if self._progress and len(self._entries) % 500 == 0:
                    self._progress(self._head.next_seq - 1, None, "proving a foreign chain", "changes")

        said = (revision.metadata.get("next"), revision.metadata.get("hash"))
        if said != (self._head.next_seq, self._head.hash.hex()):
            self._trouble(f"revision {revision.number} does not end as the merge noted, with change {said[0]}")

    def _merged(self) -> int:
        count = 0
        needle = self._store.encode()
        for data in self._handle.index.chain.read():
            if needle not in data:
                continue
            transaction = lines.decode(data, "a transaction of the index")
            for seq, line in enumerate(transaction.bodies, transaction.entry.first):
                origin = canon.decode(line).get(ORIGIN) if needle in line else None
                if origin is not None and origin["store"] == self._store:
                    count += 1
                    if not self._is_there(origin):
                        self._trouble(f"our change {seq} names a change of theirs that is not in the chain")
        return count

    def _is_there(self, origin: dict[str, object]) -> bool:
        entry = self._entries.get(str(origin["tx"]))
        if entry is None:
            return False
        actor = {"kind": entry.actor.kind, "name": entry.actor.name}
        said = (origin["seq"], origin["time"], origin["actor"])
        number = origin["n"]
        assert isinstance(number, int)
        return number < entry.count and said == (entry.first + number, moment.to_text(entry.time_us), actor)
