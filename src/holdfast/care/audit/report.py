"""What an audit says: findings that name changes and records, and how far the chain was proven."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MEANINGS = {
    "edited": "this is not what was committed",
    "dropped": "it was committed and is not there any more",
    "reordered": "it does not stand where it was committed",
    "inserted": "it was never committed",
    "rewritten": "the chain does not lead on here: something was replaced together with its hashes",
    "unreadable": "this copy of the chain cannot be read",
    "head": "the chain is not the one whose head was written down",
    "unannounced": "a change was blanked, and no redaction says by whom",
    "altered": "what a redaction left of a change was edited afterwards",
    "unfinished": "a redaction was announced and its bytes are still there",
}
"""Every kind of finding, in words."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that is not as it was committed.

    `what`: a key of MEANINGS. `where`: "journal", "index" (the two copies) or "chain" (both). `seq`: the change, or the
    first of those up to `last`. `record`: "kind id" of the record whose change it is; "" where nobody can say.
    """

    what: str
    where: str
    seq: int | None
    last: int | None = None
    record: str = ""
    detail: str = ""

    @property
    def meaning(self) -> str:
        """What it means, in words."""
        return MEANINGS[self.what]

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "meaning": self.meaning}


@dataclass(frozen=True, slots=True)
class AuditReport:
    """How far the chain was proven. `head`: "SEQ:HASH" of its end, "" if it is empty.

    `expected`: the head that was asked for, `proven`: whether the whole chain up to it (or to its end, if none was
    given) is as it was committed, in both copies. `redacted`: how many changes are blanked, and say so.
    `findings`: at most MOST_FINDINGS of them; `total`: how many there are.
    """

    head: str
    expected: str
    proven: bool
    transactions: int
    changes: int
    redacted: int
    findings: tuple[AuditFinding, ...]
    total: int
    duration_s: float

    @property
    def exit_code(self) -> int:
        """0: proven; 4: there are findings."""
        return 0 if self.proven else 4
