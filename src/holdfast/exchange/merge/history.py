"""Who knows which change: two histories of one record are compared change by change, by where each was first made."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from holdfast.index.sql import SqlIndex
from holdfast.values import canon, change, moment
from holdfast.values.change import ORIGIN, THROUGH, Body, Entry, Transaction

_KEPT = 16
"""Transactions that are kept decoded: neighbouring changes are asked for together."""


class History:
    """The changes of an index's chain, by seq."""

    def __init__(self, index: SqlIndex, store: str) -> None:
        self.index = index
        self.store = store
        self._kept: OrderedDict[int, Transaction] = OrderedDict()

    def at(self, seq: int) -> tuple[Entry, Body] | None:
        """A change and the entry of its transaction; None if it is in no chain yet."""
        for first, held in self._kept.items():
            if first <= seq < held.entry.next_seq:
                self._kept.move_to_end(first)
                return held.entry, canon.decode(held.bodies[seq - first])
        found = self.index.chain.at(seq)
        if found is None:
            return None
        self._kept[found.entry.first] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found.entry, canon.decode(found.bodies[seq - found.entry.first])

    def origin(self, seq: int) -> Body:
        """What a change of another chain says that merges this one."""
        found = self.at(seq)
        assert found is not None
        return change.origin_of(self.store, found[0], seq, found[1])

    def identity(self, seq: int) -> str:
        """What names a change in every chain; "" if it is in none yet."""
        found = self.at(seq)
        return "" if found is None else change.identity(found[0], seq, found[1])

    def time_us(self, seq: int) -> int:
        """When a change was first made."""
        found = self.at(seq)
        if found is None:
            return 1 << 62
        known = found[1].get(ORIGIN)
        return found[0].time_us if known is None else moment.from_text(known["time"])

    def marks(self, key: int) -> list[tuple[int, str, str]]:
        """(seq, identity, through) of every change of a record, in order."""
        marks = []
        for seq in self.index.chain.seqs_of_record(key):
            found = self.at(seq)
            if found is not None:
                through = (found[1].get(ORIGIN) or {}).get(THROUGH, "")
                marks.append((seq, change.identity(found[0], seq, found[1]), through))
        return marks

    def numbers(self, key: int) -> dict[str, int]:
        """Which change made which revision of an artifact: identity to number."""
        found = {}
        for seq, identity, _ in self.marks(key):
            entry = self.at(seq)
            new = entry[1].get("new", {}) if entry is not None else {}
            if "revision" in new:
                found[identity] = int(new.get("number", 1))
        return found


@dataclass(frozen=True, slots=True)
class Standing:
    """How two histories of one record stand to each other.

    `fresh`: seqs of their changes that ours does not know; `own`: whether ours has changes that theirs does not know;
    `known`: the identities that ours knows.
    """

    fresh: tuple[int, ...]
    own: bool
    known: frozenset[str]


def compare(theirs: list[tuple[int, str, str]], ours: list[tuple[int, str, str]]) -> Standing:
    """Beyond the last change that both know, what is new in theirs, and whether anything is in ours."""
    here = frozenset(name for _, *names in ours for name in names if name)
    there = frozenset(name for _, *names in theirs for name in names if name)
    last = max((n for n, (_, *names) in enumerate(theirs) if here & set(names)), default=-1)
    own = max((n for n, (_, *names) in enumerate(ours) if there & set(names)), default=-1)
    return Standing(tuple(seq for seq, _, _ in theirs[last + 1 :]), own + 1 < len(ours), here)
