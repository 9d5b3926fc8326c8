"""The two copies of the chain as streams of pieces, read leniently: also what does not verify is handed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from holdfast.errors import HoldfastError
from holdfast.formats import lines
from holdfast.formats.lines import Rough
from holdfast.index.audit import Audit
from holdfast.journal import Journal
from holdfast.values import canon
from holdfast.values.change import Head, Transaction

_KEPT_PIECES = 16
"""How many damaged pieces in a row are kept to name records from: memory stays that of a few transactions."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that end with an entry's line, or with nothing. `transaction`: None if they do not verify."""

    group: Rough
    transaction: Transaction | None


@dataclass(slots=True)
class Copy:
    """One copy of the chain, read forward. `bad`: what did not verify since the last whole transaction.

    What begins at change `end` or behind it was written after the audit began, and is not looked at.
    """

    name: str
    pieces: Iterator[Piece]
    end: int
    trouble: str = ""
    current: Transaction | None = None
    bad: list[Piece] = field(default_factory=list)

    def advance(self) -> None:
        """To the next whole transaction; None at the end."""
        self.current = None
        try:
            for piece in self.pieces:
                if piece.transaction is not None:
                    if piece.transaction.entry.first < self.end:
                        self.current = piece.transaction
                        return
                    self.pieces = iter(())
                    return
                if len(self.bad) < _KEPT_PIECES:
                    self.bad.append(piece)
        except (HoldfastError, FileNotFoundError) as error:
            self.trouble = error.message if isinstance(error, HoldfastError) else str(error)
            self.pieces = iter(())

    def fits(self, head: Head) -> bool:
        """Whether its transaction is the one that comes after `head`."""
        return self.current is not None and lines.follows(self.current, head)


def from_journal(journal: Journal, end: int) -> Copy:
    """The journal's copy. Of a segment that is there sealed and plain, the sealed one if it can be read."""
    return Copy("journal", (Piece(group, lines.verified(group)) for group in journal.rough()), end)


def from_index(audit: Audit, end: int) -> Copy:
    """The index's copy."""
    return Copy("index", _index_pieces(audit), end)


def _index_pieces(audit: Audit) -> Iterator[Piece]:
    for row in audit.chain():
        groups = list(lines.rough([row.data or b""])) or [Rough([], b"")]
        for group in groups:
            transaction = lines.verified(group)
            if transaction is not None and (transaction.entry.hash(), transaction.entry.first) != (row.hash, row.first):
                transaction = None
            yield Piece(group, transaction)


def record_of(body: bytes) -> str:
    """ "kind id" of a change's record; "" if nobody can say."""
    try:
        fields = canon.decode(body)
        fields = fields.get("left", fields)
        return f"{fields['kind']} {fields['id']}"
    except (HoldfastError, KeyError, TypeError, ValueError, AttributeError):
        return ""
