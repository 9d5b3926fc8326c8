"""Compares rows with the chain while the chain is verified: where they are equal, none has to be derived anew."""

from __future__ import annotations

import contextlib

from holdfast.errors import HoldfastError
from holdfast.index.audit import Audit
from holdfast.index.matching import Matching, UnlikeError
from holdfast.values.change import Transaction

MALFORMED = (HoldfastError, KeyError, TypeError, ValueError, AttributeError)
"""What a chain that is whole, but was written by something else, can make of the reducers."""


class Matched:
    """Takes each transaction that verified. Whatever is not as it should be ends it: the long way says what it is."""

    def __init__(self, audit: Audit) -> None:
        self._matching: Matching | None = None
        with contextlib.suppress(UnlikeError, HoldfastError):
            self._matching = Matching(audit.index.database)

    def take(self, transaction: Transaction) -> None:
        """The next one."""
        if self._matching is not None:
            try:
                self._matching.take(transaction)
            except (UnlikeError, *MALFORMED):
                self._matching = None

    def end(self) -> None:
        """The chain itself is not whole."""
        self._matching = None

    def finish(self) -> dict[str, int] | None:
        """How many rows each table has if all rows are as the chain gives them; None if that could not be told."""
        try:
            return None if self._matching is None else self._matching.finish()
        except (UnlikeError, HoldfastError):
            return None
