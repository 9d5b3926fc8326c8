"""One reading of all contents in several runs: where the last run stopped, and what has changed since the pass began.

Every run looks at everything but the contents' bytes. These are read in order of digests. The position, with the
digests of which there was something to say, is kept in `state.sqlite3` about once a second, so a kill costs a second.
The run that comes to the end reads again what could be otherwise than when it was read: contents that came since the
pass began (by seq) and files that were made or replaced since (by their change time), and what an earlier run found
wrong. A position is gone on from only where it was made: same store, same folder, a chain that continues the one then.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from holdfast.care.fsck.chosen import Chosen, Pair
from holdfast.care.fsck.report import PassReport
from holdfast.care.fsck.scene import Scene
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.formats.marker import Marker
from holdfast.index.operational import PassRow, StateFile, state_file
from holdfast.index.sqlite import file_identity
from holdfast.values import digest as digests
from holdfast.values import moment

_KEEP_EVERY_S = 1.0
_LEAST_SHARE = 0.1
"""Contents get at least this share of the time, however long the rest took: so every pass comes to its end."""

_MARGIN_US = 2_000_000
"""File systems keep times coarsely: a file changed so shortly before the pass began is read again, for nothing."""


@dataclass(slots=True)
class _Stand:
    """How far it is: a position, and what lies up to it."""

    position: bytes
    covered: int
    covered_bytes: int
    old: int

    def beyond(self, pair: Pair, *, old: bool) -> _Stand:
        """One pair further."""
        if pair.file_bytes is None:
            return replace(self, position=pair.raw)
        return _Stand(pair.raw, self.covered + 1, self.covered_bytes + pair.file_bytes, self.old + old)


class Pass(Chosen):
    """This run of a pass. Its `seconds` began at `began_s` by the monotonic clock; `note`: see PassReport."""

    timed = True

    def __init__(self, row: PassRow, state: StateFile | None, *, seconds: float, began_s: float, note: str) -> None:
        super().__init__()
        self.row = row
        self.state = state
        self.started_at = row.position
        self.unfinished = False
        self._note = note
        self._deadline_s = began_s + seconds
        self._least_s = seconds * _LEAST_SHARE
        self._stand = _Stand(row.position, row.covered, row.covered_bytes, row.old)
        self._noted: list[bytes] = []
        self._kept_at = time.monotonic()
        self._gone = row.old
        self._changed = 0

    # -- what the walk over the contents asks --------------------------------------------------------------------------

    def wants(self, pair: Pair) -> bool:
        """Whatever lies behind the position."""
        return pair.file_bytes is not None and not self.is_behind(pair)

    def is_behind(self, pair: Pair) -> bool:
        """Whatever lies before it, or at it."""
        return pair.raw <= self.started_at

    def over(self) -> bool:
        """Whether the time is up. Asked first when the reading begins."""
        if self._least_s:
            self._deadline_s, self._least_s = max(self._deadline_s, time.monotonic() + self._least_s), 0.0
        return time.monotonic() >= self._deadline_s

    def passed(self, pair: Pair) -> None:
        """Move on, unless something before it was not read."""
        old = pair.row is not None and pair.row.key < self.row.next_seq
        if pair.file_bytes is not None and self.is_behind(pair) and old:
            self._gone -= 1
        self.unfinished |= pair.left
        if not self.unfinished and pair.raw > self._stand.position:
            self._stand = self._stand.beyond(pair, old=old)

    def due(self) -> bool:
        """About once a second."""
        return time.monotonic() - self._kept_at > _KEEP_EVERY_S

    def settled(self) -> None:
        """The position is one to go on from."""
        now = self._stand
        self.row = replace(
            self.row, position=now.position, covered=now.covered, covered_bytes=now.covered_bytes, old=now.old
        )
        if self.due():
            self.keep()

    def found(self, raw: bytes) -> None:
        """Remember it, for the summary of the whole pass."""
        self._noted.append(raw)

    # -- keeping -------------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Write down how far it is. If that fails, the next run has more to do; it is no finding."""
        self._kept_at = time.monotonic()
        if self.state is not None:
            try:
                self.state.reached(self.row, self._noted)
            except HoldfastError:
                self._let_go()
            self._noted.clear()

    def close(self) -> None:
        """Keep what is settled: also when the run was interrupted."""
        self.keep()
        self._let_go()

    def _let_go(self) -> None:
        if self.state is not None:
            self.state.close()
            self.state = None

    # -- the end of the pass -------------------------------------------------------------------------------------------

    def again(self, scene: Scene, pairs: Iterator[Pair]) -> Iterator[Pair]:
        """Of what earlier runs have read: what is new, changed, or was found wrong. Read however long it takes."""
        noted = self.state.noted(self.row.id) if self.state is not None else iter(())
        next_noted = next(noted, None)
        for pair in pairs:
            if pair.raw > self.started_at:
                return
            while next_noted is not None and next_noted < pair.raw:
                next_noted = next(noted, None)
            late = pair.file_bytes is not None and self._came_later(scene, pair)
            self._changed += late
            if pair.file_bytes is not None and (late or next_noted == pair.raw):
                yield pair

    def _came_later(self, scene: Scene, pair: Pair) -> bool:
        if pair.row is not None and pair.row.key >= self.row.next_seq:
            return True
        facts = scene.facts(pair.path)
        return facts is not None and facts.st_ctime_ns // 1000 >= self.row.began_us - _MARGIN_US

    def report(self) -> PassReport:
        """How it stands. Of a pass that is finished, nothing is left to go on with."""
        noted = 0
        with contextlib.suppress(HoldfastError):
            self.keep()
            if self.state is not None and self.unfinished:
                noted = self.state.count_noted(self.row.id)
            elif self.state is not None:
                self.state.end_pass(self.row.id)
        return PassReport(
            finished=not self.unfinished,
            kept=self.state is not None,
            note=self._note,
            began=moment.to_text(self.row.began_us),
            runs=self.row.runs,
            position=digests.text(self.row.position) if self.row.position else "",
            covered=self.row.covered,
            covered_bytes=self.row.covered_bytes,
            changed=self._changed,
            gone=max(0, self._gone),
            noted=noted,
        )


# -- beginning, and going on -------------------------------------------------------------------------------------------


def begin(scene: Scene, marker: Marker | None, *, seconds: float, began_s: float) -> Pass:
    """A run of `seconds` from `began_s` on (monotonic clock): of the pass that is under way, or of a new one."""
    row = _fresh(scene, marker)
    note = _why_not_kept(scene, marker)
    state = None if note else state_file(os.path.join(scene.root, paths.STATE), scene.disk)
    if state is None:
        note = note or f"{paths.STATE} cannot be written"
        return Pass(
            replace(row, runs=1),
            None,
            seconds=seconds,
            began_s=began_s,
            note=f"this run cannot be gone on from: {note}",
        )
    try:
        known = state.fsck_pass()
        note = state.lost if known is None else _why_anew(scene, known, row)
        if known is None or note:
            note = note and f"begun anew: {note}"
            state.begin_pass(row)
        else:
            row = known
        state.go_on(row.id)
    except HoldfastError as error:
        state.close()
        note = f"this run cannot be gone on from: {error.message}"
        return Pass(replace(row, runs=1), None, seconds=seconds, began_s=began_s, note=note)
    return Pass(replace(row, runs=row.runs + 1), state, seconds=seconds, began_s=began_s, note=note)


def _fresh(scene: Scene, marker: Marker | None) -> PassRow:
    place = ""
    with contextlib.suppress(OSError):
        place = file_identity(os.path.join(scene.root, paths.BLOBS))
    last = scene.needs.last() if scene.needs is not None else None
    first, own_hash = last or (0, b"")
    next_seq = scene.index.head.next_seq if scene.index is not None else 1
    store = "" if marker is None else marker.store_id
    return PassRow(secrets.token_hex(16), store, place, time.time_ns() // 1000, next_seq, first, own_hash)


def _why_not_kept(scene: Scene, marker: Marker | None) -> str:
    if scene.leaves_no_trace:
        return "the store is open for reading only"
    if marker is None:
        return f"{paths.MARKER} is missing or damaged"
    if scene.index is None or not scene.has_places:
        return "the index is missing or damaged"
    return ""


def _why_anew(scene: Scene, known: PassRow, now: PassRow) -> str:
    """What has changed so that nothing read before counts any more; "" if the pass can go on."""
    if known.store != now.store:
        return "the position is that of another store"
    if known.place != now.place:
        return "the store was moved or copied"
    if known.began_us > now.began_us:
        return "the clock was set back"
    if known.chain_first and (scene.needs is None or scene.needs.hash_at(known.chain_first) != known.chain_hash):
        return "the store was taken back to an older state"
    return ""
