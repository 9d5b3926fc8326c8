"""`store.audit`: the head of the chain, and its proof."""

from __future__ import annotations

from holdfast.care.audit import foreign as foreigners
from holdfast.care.audit import verify as verifying
from holdfast.care.audit.foreign import ForeignChain
from holdfast.care.audit.report import AuditReport
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.kinds.clauses import upheld


@upheld
class Auditing:
    """Tamper evidence of one open store."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def head(self) -> str:
        """The end of the chain as "SEQ:HASH"; "" if nothing was ever committed.

        Write it down where nobody who writes to this store can change it: it stands for all that is before it.
        """
        return verifying.head(self._handle)

    def verify(self, head: str | None = None, progress: Progress | None = None) -> AuditReport:
        """Prove both copies of the chain, from the first transaction on and through `head`; nothing is written.

        Raises InvalidValueError for a head that is no "SEQ:HASH". What it finds is in the report, not raised.
        """
        self._handle.alive()
        return verifying.verify_path(self._handle.root, expected=head, progress=progress)

    def foreign(self, progress: Progress | None = None) -> list[ForeignChain]:
        """Prove the chains of other stores that were merged, and what our changes say of them; nothing is written."""
        self._handle.alive()
        return list(foreigners.verify(self._handle, progress))
