"""Walks both copies of the chain side by side from the first transaction on, and names what is not as committed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from holdfast import ram
from holdfast.care.audit import copies
from holdfast.care.audit.copies import Copy, record_of
from holdfast.care.audit.report import AuditFinding, AuditReport
from holdfast.care.fsck.view import View, nobody_writes
from holdfast.disk import Disk
from holdfast.engine.handle import Handle
from holdfast.engine.open import place_of, read_marker
from holdfast.engine.recover import Progress, more_redacted
from holdfast.errors import HoldfastError, InvalidValueError
from holdfast.formats import lines
from holdfast.journal import Journal
from holdfast.values import canon, change
from holdfast.values.change import Head, Transaction

MOST_FINDINGS = 1_000
_PATIENCE_S = 5.0
_HEAD = re.compile(r"([1-9][0-9]{0,17}):(?:sha256:)?([0-9a-f]{64})")


def head(handle: Handle) -> str:
    """The end of the chain as "SEQ:HASH", to be written down where no writer can change it; "" if empty."""
    handle.alive()
    found = handle.index.chain.head()
    return "" if found is None else head_text(found)


def head_text(found: Head) -> str:
    """A head as people write it down: the seq of its last change, a colon, the hash of its entry."""
    return f"{found.next_seq - 1}:{found.hash.hex()}"


def verify_path(root: str, *, expected: str | None = None, progress: Progress | None = None) -> AuditReport:
    """Prove the chain, in journal and index, from the first transaction to its end, through the head that is expected.

    Nothing is written; the store may be in use, and need not be one that opens. Every change that was edited, dropped,
    reordered or inserted is named as exactly as the other copy allows. Raises InvalidValueError for a head that is no
    "SEQ:HASH", NotAStoreError.
    """
    started = time.monotonic()
    wanted, root, disk = _parsed(expected), os.path.abspath(place_of(root)), ram.disk_of(root)
    walk = Walk(change.origin(read_marker(root, disk, served=True, elsewhere=True).store_id), wanted, progress)
    view = View(root)
    try:
        walk.run(_both(root, disk, view, walk))
    finally:
        view.close()
    return AuditReport(
        head_text(walk.head) if walk.head.next_seq > 1 else "",
        expected or "",
        not walk.total,
        walk.transactions,
        walk.changes,
        len(walk.erased),
        tuple(walk.findings),
        walk.total,
        time.monotonic() - started,
    )


def _both(root: str, disk: Disk, view: View, walk: Walk) -> list[Copy]:
    """Both copies up to where the longer one ends now. Writers are kept out for that moment only, if they can be."""
    journal, end = Journal(root, disk), 1
    with nobody_writes(root, _PATIENCE_S):
        found: list[Head | None] = []
        try:
            found.append(view.open().index.chain.head())
        except (HoldfastError, FileNotFoundError) as error:
            walk.found(AuditFinding("unreadable", "index", None, detail=str(error)))
            view.close()
        with contextlib.suppress(HoldfastError, FileNotFoundError):  # reading it says so again, with a finding
            found.append(journal.head())
    end = max((one.next_seq for one in found if one is not None), default=1)
    both = [copies.from_journal(journal, end)]
    return both if view.audit is None else [*both, copies.from_index(view.audit, end)]


def _parsed(expected: str | None) -> tuple[int, bytes] | None:
    if expected is None:
        return None
    match = _HEAD.fullmatch(expected.strip())
    if match is None:
        raise InvalidValueError(
            f"{expected!r} is no head", where="head", reason="form",
            remedy="A head is what `holdfast audit head` prints: a number, a colon, 64 hexadecimal digits.",
        )  # fmt: skip
    return int(match[1]), bytes.fromhex(match[2])


@dataclass(slots=True)
class Walk:
    """One audit: where it stands, and what it has found."""

    head: Head
    wanted: tuple[int, bytes] | None
    progress: Progress | None
    transactions: int = 0
    changes: int = 0
    total: int = 0
    findings: list[AuditFinding] = field(default_factory=list)
    erased: dict[int, set[bytes]] = field(default_factory=dict)
    announced: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    _met: bool = False

    def found(self, finding: AuditFinding) -> None:
        """Take a finding; beyond MOST_FINDINGS they are only counted."""
        self.total += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)

    def run(self, both: list[Copy]) -> None:
        """From the first transaction to the end of the longer copy."""
        for one in both:
            one.advance()
        while True:
            for one in both:
                self._step_over_old(one)
            if not any(one.current for one in both):
                break
            fitting = [one for one in both if one.fits(self.head)]
            if fitting:
                self._take(both, fitting)
            else:
                self._gap(both)
        for one in both:
            self._end_of(one)
        self._judge_redactions()
        if self.wanted is not None and not self._met:
            self.found(
                AuditFinding("head", "chain", self.wanted[0], detail=f"the chain ends at {head_text(self.head)}")
            )

    def _step_over_old(self, one: Copy) -> None:
        while one.current is not None and one.current.entry.first < self.head.next_seq:
            entry = one.current.entry
            for seq, body in _numbered(one.current):
                self.found(
                    AuditFinding("reordered", one.name, seq, record=record_of(body), detail=f"transaction {entry.tx}")
                )
            one.advance()

    def _take(self, both: list[Copy], fitting: list[Copy]) -> None:
        good = fitting[0].current
        assert good is not None
        self._learn_left(good)
        for one in fitting[1:]:
            assert one.current is not None
            if one.current.entry.hash() == good.entry.hash():
                if one.current != good:
                    self._differing_redaction(good, one.current)
                good = more_redacted(good, one.current)
                self._learn_left(one.current)
            else:
                # Two transactions that both fit: only a head that was written down can tell which one was committed.
                self._name(good, one, [*one.current.bodies], what="rewritten")
        for one in both:
            if one in fitting:
                self._name_rest(one)
            elif one.current is not None and one.current.entry.first == good.entry.first:
                self._name(good, one, lines.encode_bodies(one.current), what="rewritten")
            else:
                self._name_missing(good, one)
                continue
            one.bad.clear()
            one.advance()
        self._passed(good)

    def _name_rest(self, one: Copy) -> None:
        """What lies before a transaction that fits: the rest of a torn append is harmless, a whole entry is not."""
        for piece in one.bad:
            if piece.group.last:
                self.found(
                    AuditFinding("inserted", one.name, self.head.next_seq, detail="a transaction beside the chain")
                )

    def _name_missing(self, good: Transaction, one: Copy) -> None:
        """This copy lacks a transaction: name what stands in its place, or that nothing does."""
        if not one.bad:
            entry = good.entry
            records = list(dict.fromkeys(record_of(body) for body in good.bodies))
            more = f" and {len(records) - 3} more" if len(records) > 3 else ""
            self.found(
                AuditFinding(
                    "dropped", one.name, entry.first, entry.next_seq - 1, ", ".join(records[:3]) + more,
                    one.trouble or f"transaction {entry.tx}",
                )
            )  # fmt: skip
            return
        piece = min(one.bad, key=lambda p: _distance(good, p.group.bodies))
        one.bad.remove(piece)
        self._name(good, one, piece.group.bodies, what="edited")

    def _name(self, good: Transaction, one: Copy, stands: list[bytes], *, what: str) -> None:
        """Name each change of a transaction that stands otherwise in one copy."""
        right = lines.encode_bodies(good)
        first = good.entry.first
        stands = stands[len(stands) - len(right) :] if len(stands) > len(right) and what != "inserted" else stands
        detail = "" if what == "edited" else "its hashes were made to fit"
        if stands == right:
            said = f"the entry of transaction {good.entry.tx} (who, when, what comes before)"
            self.found(AuditFinding(what, one.name, first, good.entry.next_seq - 1, record_of(right[0]), said))
        elif Counter(stands) == Counter(right):
            for n, (line, other) in enumerate(zip(right, stands, strict=True)):
                if line != other:
                    self.found(AuditFinding("reordered", one.name, first + n, record=record_of(line)))
        elif len(stands) < len(right):
            missing = Counter(right) - Counter(stands)
            for n, line in enumerate(right):
                if missing[line] > 0:
                    missing[line] -= 1
                    self.found(AuditFinding("dropped", one.name, first + n, record=record_of(line)))
        else:
            for n, (line, other) in enumerate(zip(right, stands, strict=True)):
                if line != other:
                    self.found(AuditFinding(what, one.name, first + n, record=record_of(line), detail=detail))

    def _gap(self, both: list[Copy]) -> None:
        """No copy leads on: say which changes cannot be proven, and go on behind them."""
        ahead = [one.current for one in both if one.current is not None]
        nearest = min(ahead, key=lambda t: t.entry.first)
        start, entry = self.head.next_seq, nearest.entry
        if entry.first == start:
            self.found(
                AuditFinding(
                    "rewritten", "chain", start, entry.next_seq - 1, record_of(nearest.bodies[0]),
                    f"transaction {entry.tx} does not follow from the one before it",
                )
            )  # fmt: skip
        else:
            pieces = [piece for one in both for piece in one.bad]
            suspects = list(dict.fromkeys(filter(None, (record_of(b) for p in pieces for b in p.group.bodies))))
            self.found(
                AuditFinding(
                    "edited" if pieces else "dropped", "chain", start, entry.first - 1, ", ".join(suspects[:20]),
                    "in both copies: nobody can say which of them",
                )
            )  # fmt: skip
            for one in both:
                one.bad.clear()
        self.head = Head(entry.first, entry.prev, self.head.time_us)

    def _end_of(self, one: Copy) -> None:
        for piece in one.bad:
            if piece.group.last:
                record = ", ".join(dict.fromkeys(record_of(b) for b in piece.group.bodies[:20]))
                self.found(AuditFinding("edited", one.name, self.head.next_seq, record=record, detail="behind the end"))
        if one.trouble:
            self.found(AuditFinding("unreadable", one.name, None, detail=one.trouble))

    def _passed(self, good: Transaction) -> None:
        self.head = good.head
        self.transactions += 1
        self.changes += good.entry.count
        for _, body in _numbered(good):
            if b'"action":"redact"' in body:
                self._announce(body)
        if self.wanted is not None and self.head.next_seq - 1 == self.wanted[0]:
            self._met = self.head.hash == self.wanted[1]
        if self.progress and self.transactions % 500 == 0:
            self.progress(self.changes, None, "proving the chain", "changes")

    def _learn_left(self, transaction: Transaction) -> None:
        for position in transaction.redacted.digests if transaction.redacted else ():
            left = hashlib.sha256(transaction.bodies[position]).digest()
            self.erased.setdefault(transaction.entry.first + position, set()).add(left)

    def _announce(self, body: bytes) -> None:
        fields = canon.decode(body)
        if fields["action"] == "redact":
            for item in fields["erased"]:
                self.announced[item["seq"]] = (bytes.fromhex(item["left"]), f"{fields['kind']} {fields['id']}")

    def _differing_redaction(self, one: Transaction, other: Transaction) -> None:
        redacted = [set(t.redacted.digests) if t.redacted else set() for t in (one, other)]
        for n, left in enumerate(one.bodies):
            seq = one.entry.first + n
            if (n in redacted[0]) != (n in redacted[1]):
                detail = "redacted in one copy, or otherwise there"
                self.found(AuditFinding("unfinished", "chain", seq, record=record_of(left), detail=detail))

    def _judge_redactions(self) -> None:
        for seq, left in sorted(self.erased.items()):
            said = self.announced.get(seq)
            if said is None:
                self.found(AuditFinding("unannounced", "chain", seq))
            elif {said[0]} != left:
                self.found(AuditFinding("altered", "chain", seq, record=said[1]))
        for seq in sorted(self.announced.keys() - self.erased.keys()):
            self.found(AuditFinding("unfinished", "chain", seq, record=self.announced[seq][1]))


def _numbered(transaction: Transaction) -> Iterator[tuple[int, bytes]]:
    return enumerate(transaction.bodies, transaction.entry.first)


def _distance(good: Transaction, stands: Iterable[bytes]) -> int:
    """How many lines of a transaction do not stand in a piece."""
    return (Counter(lines.encode_bodies(good)) - Counter(stands)).total()
