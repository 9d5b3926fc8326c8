"""Holds what redactions announced against what is left: bytes that were to be erased must not be there any more."""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from dataclasses import dataclass, field

from holdfast.errors import HoldfastError
from holdfast.values import canon
from holdfast.values.change import Transaction

MALFORMED = (HoldfastError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(slots=True)
class Marks:
    """Changes by seq, and 8 bytes of the digest of what is (to be) left of each; 16 bytes of memory for each."""

    seqs: array[int] = field(default_factory=lambda: array("Q"))
    lefts: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, seq: int, left: bytes) -> None:
        """Take one in; of several for one seq the last counts."""
        self.seqs.append(seq)
        self.lefts.append(int.from_bytes(left[:8], "big"))

    def by_seq(self) -> dict[int, int]:
        """What is left of each change."""
        return dict(zip(self.seqs, self.lefts, strict=True))


@dataclass(slots=True)
class Redactions:
    """What one copy of the chain announces, and what it has erased."""

    announced: Marks = field(default_factory=Marks)
    erased: Marks = field(default_factory=Marks)

    def take(self, transaction: Transaction) -> None:
        """Read a transaction of the copy; in order of the chain."""
        first = transaction.entry.first
        for position in transaction.redacted.digests if transaction.redacted else ():
            self.erased.add(first + position, hashlib.sha256(transaction.bodies[position]).digest())
        for body in transaction.bodies:
            if b'"action":"redact"' in body:
                with contextlib.suppress(*MALFORMED):  # what no reducer understands is found where rows are derived
                    self._announce(body)

    def _announce(self, body: bytes) -> None:
        change = canon.decode(body)
        if change["action"] == "redact":
            for item in change["erased"]:
                self.announced.add(item["seq"], bytes.fromhex(item["left"]))

    def unfinished(self, announced: dict[int, int]) -> list[int]:
        """Seqs of changes of which this copy has more than was to be left; also those that it lacks altogether."""
        if not announced:
            return []
        erased = self.erased.by_seq()
        return sorted(seq for seq, left in announced.items() if erased.get(seq) != left)
