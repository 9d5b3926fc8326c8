"""The audit trail: changes of all kinds of records, in order."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engine.handle import Handle
from holdfast.errors import IndexDamagedError
from holdfast.formats import lines
from holdfast.kinds import addresses
from holdfast.kinds.clauses import upheld
from holdfast.values.change import Head
from holdfast.values.records import Change


@upheld
class Changes:
    """`store.changes`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def head(self) -> Head:
        """The end of the chain: the seq that comes next, and the hash that all before it is proven by."""
        self._handle.alive()
        return self._handle.index.chain.head() or self._handle.origin

    def list(
        self, *, since_seq: int = 1, record: str | None = None, kind: str | None = None, action: str | None = None,
        actor: str | None = None, limit: int | None = None,
    ) -> Iterator[Change]:  # fmt: skip
        """Changes in order of seq, from `since_seq` on, of one record or all, in short reads.

        Each transaction is proven against its own hashes as it is read; ChainBrokenError if one is damaged.
        """
        self._handle.alive()
        source = self._all(since_seq) if record is None else self._of(record, since_seq)
        count = 0
        tenancy, own = self._handle.index.tenancy, self._handle.tenant
        for change in source:
            if own is not None and tenancy.of(change.id) != own:
                continue
            wanted = ((kind, change.kind), (action, change.action), (actor, change.actor))
            if all(want is None or want == found for want, found in wanted):
                if limit is not None and count >= limit:
                    return
                yield change
                count += 1

    def _all(self, since_seq: int) -> Iterator[Change]:
        for data in self._handle.index.chain.read(since_seq):
            for change in lines.decode(data, "a transaction of the index").changes():
                if change.seq >= since_seq:
                    yield change

    def _of(self, record_id: str, since_seq: int) -> Iterator[Change]:
        key = addresses.key_of(self._handle, record_id)
        transaction = None
        for seq in self._handle.index.chain.seqs_of_record(key, after=since_seq - 1):
            if transaction is None or not transaction.entry.first <= seq < transaction.entry.next_seq:
                transaction = self._handle.index.chain.at(seq)
            if transaction is None:
                return  # the transaction that this thread has open: it is in no chain yet
            change = transaction.changes()[seq - transaction.entry.first]
            if change.id != record_id:
                raise IndexDamagedError(f"change {seq} is not one of {record_id}", reason="row of a change")
            yield change
