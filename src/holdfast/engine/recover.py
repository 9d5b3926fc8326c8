"""Brings index and journal level, and derives all rows anew where they cannot be trusted.

Each of the two holds the whole chain. The longer valid one wins and the other catches up; if they differ at one place
that is a fork: reported, nothing touched. "Absent" never means "empty".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import field

from holdfast.engine.handle import Handle
from holdfast.errors import ChainForkedError, FormatTooNewError, HoldfastError
from holdfast.formats import lines
from holdfast.formats.lines import Located
from holdfast.index.sql import SqlIndex
from holdfast.journal import Journal
from holdfast.values import canon
from holdfast.values.change import Head, Transaction
from holdfast.values.frozen import dataclass

log = logging.getLogger("holdfast.engine")
Progress = Callable[[int, int | None, str, str], None]


def level(handle: Handle) -> Head:
    """The end of the chain, after index and journal were made to agree. Under the writer lock, outside SQL.

    Usually one row and the last line of the journal are compared; only a difference costs more. Where nobody has
    written since this thread did, both are as it left them.
    """
    return found_level(handle) or _catch_up(handle, handle.index.chain.head() or handle.origin)


def found_level(handle: Handle) -> Head | None:
    """The end of the chain if index and journal agree already; None if `level` has work to do. Only reads."""
    left = handle.left
    if left is not None and left[0] == handle.index.sights.token() and handle.journal.is_as_left():
        return left[1]
    handle.left = None  # until somebody has committed, and the journal has it too
    head = handle.index.chain.head()
    if head is not None and handle.journal.follow(head):
        return head
    return head or handle.origin if _agree(handle, head) else None


def level_thoroughly(handle: Handle) -> Head:
    """As `level`, but the end of the journal is proven, not only its last line looked at: for repair."""
    return _catch_up(handle, handle.index.chain.head() or handle.origin)


def is_level(handle: Handle) -> bool:
    """Whether index and journal end with the same transaction. Needs no lock: somebody may be writing just now."""
    return _agree(handle, handle.index.chain.head())


def _agree(handle: Handle, head: Head | None) -> bool:
    return not handle.journal.segments() if head is None else handle.journal.ends_with(head)


def _catch_up(handle: Handle, in_index: Head) -> Head:
    handle.journal.end_torn_line()
    in_journal = handle.journal.head() or handle.origin
    if in_journal.next_seq > in_index.next_seq:
        log.info("index-catches-up", extra={"holdfast": {"from": in_index.next_seq, "to": in_journal.next_seq}})
        return _index_catches_up(handle, in_index, in_journal)
    if in_journal == in_index or in_journal.hash == in_index.hash:
        return in_index
    if in_journal.next_seq == in_index.next_seq:
        raise _fork(in_index.next_seq)
    log.info("journal-catches-up", extra={"holdfast": {"from": in_journal.next_seq, "to": in_index.next_seq}})
    with handle.watching_syncs():
        _journal_catches_up(handle, in_journal, in_index)
    return in_index


def _index_catches_up(handle: Handle, head: Head, wanted: Head) -> Head:
    handle.index.begin()
    try:
        for _, item in handle.journal.scan(head.next_seq):
            if not isinstance(item, Located) or item.transaction.entry.first < head.next_seq:
                continue
            if item.transaction.entry.first > head.next_seq:
                from holdfast.engine import gaps  # noqa: PLC0415 - start-up time: hardly ever needed

                raise gaps.refuse(head, wanted)
            if not lines.follows(item.transaction, head):
                raise _fork(head.next_seq)
            replay(handle.index, item.transaction)
            head = item.transaction.head
        if head.hash != wanted.hash:
            raise _fork(head.next_seq)
        from holdfast.engine import presence  # noqa: PLC0415 - start-up time: hardly ever needed

        presence.find(handle)
        handle.index.commit()
    except BaseException:
        handle.index.rollback()
        raise
    return head


def _journal_catches_up(handle: Handle, head: Head, wanted: Head) -> None:
    for data in handle.index.chain.read(head.next_seq):
        transaction = lines.decode(data, "a transaction of the index")
        if transaction.entry.first < head.next_seq:
            continue
        if not lines.follows(transaction, head):
            raise _fork(head.next_seq)
        handle.journal.prepare(transaction.entry.first, len(data))
        handle.journal.append(data)
        head = transaction.head
    if head.hash != wanted.hash:
        # Transactions of different lengths: none of one copy begins where the other ends, and none was written here.
        raise _fork(head.next_seq)
    handle.journal.sync()


def _fork(seq: int) -> ChainForkedError:
    return ChainForkedError(f"index and journal hold different transactions at change {seq}", seq=seq)


def replay(index: SqlIndex, transaction: Transaction) -> None:
    """Apply a verified transaction to an index, as its live write did."""
    index.apply_all(transaction.entry.first, map(canon.decode, transaction.bodies))
    index.chain.append(transaction, lines.encode(transaction))


# -- deriving all rows anew --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Derived:
    """What deriving an index found. `unreachable`: whole transactions beyond a gap: kept in their files, not used.

    `beyond`: where those of the first source (the journal) end. `unread`: blobs that could not be read, the first few.
    """

    transactions: int = 0
    changes: int = 0
    next_seq: int = 1
    unreachable: int = 0
    beyond: Head | None = None
    trouble: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


_BATCH = 2_000


def derive(
    target: SqlIndex, origin: Head, sources: list[Iterator[Transaction]], progress: Progress | None = None,
    *, copied: bool = False,
) -> Derived:  # fmt: skip
    """Fill an empty index with the longest valid chain that the sources hold together. ChainForkedError on a fork.

    `copied`: the last source is an index that was copied while others wrote, and may end in a ghost (see `_Merge`).
    """
    result, head, pending = Derived(), origin, 0
    merged = _Merge(sources, result, ghost_in=len(sources) - 1 if copied else None)
    target.begin()
    try:
        while (transaction := merged.next(head)) is not None:
            replay(target, transaction)
            head = transaction.head
            result.next_seq = head.next_seq
            result.transactions += 1
            result.changes += transaction.entry.count
            pending += transaction.entry.count
            if pending >= _BATCH:
                target.commit()
                target.begin()
                pending = 0
                if progress:
                    progress(result.changes, None, "deriving rows", "changes")
        target.commit()
    except BaseException:
        target.rollback()
        raise
    result.unreachable = merged.left()
    return result


def heads(origin: Head, sources: list[Iterator[Transaction]]) -> Iterator[Head]:
    """Every end, from `origin` on, of the longest valid chain that the sources hold together; nothing is written."""
    merged, head = _Merge(sources, Derived()), origin
    yield head
    while (transaction := merged.next(head)) is not None:
        head = transaction.head
        yield head


def reach(origin: Head, sources: list[Iterator[Transaction]]) -> int:
    """The seq behind that chain."""
    return deque(heads(origin, sources), maxlen=1)[0].next_seq


class _Merge:
    """Several copies of one chain, read side by side.

    A *ghost* is the last transaction of a copied index that never happened: a writer was killed between writing its
    frames to the write-ahead log and publishing them in the shared memory, the next writer wrote over them, and the
    copy was made in between. SQLite takes the copied frames for committed; the journal knows better.
    """

    def __init__(self, sources: list[Iterator[Transaction]], result: Derived, *, ghost_in: int | None = None) -> None:
        self._sources = sources
        self._result = result
        self._ghost_in = ghost_in
        self._ghosts = 0
        self._next = [self._pull(n) for n in range(len(sources))]

    def _pull(self, number: int) -> Transaction | None:
        try:
            return next(self._sources[number], None)
        except FormatTooNewError:
            raise
        except HoldfastError as error:
            # A copy that cannot be read on is no reason to give up the other.
            self._result.trouble.append(error.message)
            return None

    def next(self, head: Head) -> Transaction | None:
        """The transaction after `head`; None if no copy has it."""
        found: Transaction | None = None
        for number in range(len(self._sources)):
            candidate = self._next[number]
            while candidate is not None and candidate.entry.first < head.next_seq:
                candidate = self._next[number] = self._pull(number)
            if candidate is not None and lines.follows(candidate, head):
                if found is not None and found.entry.hash() != candidate.entry.hash():
                    self._pass_ghost(number, head)
                    continue
                found = candidate if found is None else more_redacted(found, candidate)
                self._next[number] = self._pull(number)
        return found

    def _pass_ghost(self, number: int, head: Head) -> None:
        """Two copies differ: a ghost if it is the very last of a copied index, else a fork."""
        self._next[number] = self._pull(number)
        if number != self._ghost_in or self._next[number] is not None:
            raise _fork(head.next_seq)
        self._ghosts += 1

    def left(self) -> int:
        """How many whole transactions no chain leads to."""
        count = self._ghosts
        for number in range(len(self._sources)):
            while (one := self._next[number]) is not None:
                count += 1
                if number == 0:
                    self._result.beyond = one.head
                self._next[number] = self._pull(number)
        return count


def more_redacted(one: Transaction, other: Transaction) -> Transaction:
    """Of two copies of a transaction the one that gives less away: what was redacted in one must not come back."""
    counts = [len(t.redacted.digests) if t.redacted else 0 for t in (one, other)]
    return other if counts[1] > counts[0] else one


def from_journal(journal: Journal) -> Iterator[Transaction]:
    """The journal's transactions, each verified in itself."""
    for _, item in journal.scan():
        if isinstance(item, Located):
            yield item.transaction


def from_index(index: SqlIndex, from_seq: int = 1) -> Iterator[Transaction]:
    """An index's transactions, each verified in itself; stops with ChainBrokenError at a damaged one."""
    for data in index.chain.read(from_seq):
        yield lines.decode(data, "a transaction of the index")


def salvaged(index: SqlIndex, trouble: list[str]) -> Iterator[Transaction]:
    """An index's transactions that verify in themselves. Damaged ones go to `trouble`: another copy may have them."""
    for first, data in index.chain.read_whole():
        try:
            yield lines.decode(data, f"transaction {first} of the index")
        except FormatTooNewError:
            raise
        except HoldfastError as error:
            trouble.append(error.message)
