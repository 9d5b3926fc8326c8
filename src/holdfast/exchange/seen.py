"""Knows which files need not be read again: those that look as they did when they were added, in a store that has them.

Two things must hold. The file: its size, mtime, ctime, inode, device and mode are what was noted, and it was not
changed so shortly before that a change after the reading could bear the same times. The store: where the file goes,
the revision that was noted is the newest, kept, and its content is there. While the chain ends where it ended when the
note was last known to be true, it is; if others have written since, the index is asked for each file that is noted.
Notes are in `state.sqlite3`. They can be lost at any time, and hold no digest: a revision is named by its seq, which
counts for nothing in another chain.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit, current
from holdfast.errors import HoldfastError
from holdfast.exchange.walking import Folder, Found
from holdfast.formats import paths
from holdfast.index.operational import StateFile, state_file
from holdfast.index.physical import NOTED
from holdfast.index.sightings import Run, Sighting, Sightings, facts
from holdfast.kinds.bulk import Item, Outcome
from holdfast.values import names
from holdfast.values.change import Head

GRAIN_NS = 2_000_000_000
"""Times of files may be as coarse as this (FAT: 2 s; ext4: some milliseconds)."""

_NOTED_AT_ONCE = 4_000


@dataclass(slots=True)
class Unchanged:
    """Names of entries that need no look, and how many of them are files (the others: folders)."""

    names: set[bytes] = field(default_factory=set)
    files: int = 0


class Seen:
    """What one add knows and notes. Without a file of notes, or inside an open transaction, it knows nothing."""

    def __init__(self, handle: Handle, *, asked: bool) -> None:
        """Not `asked`: nothing is taken as unchanged, but how files look is noted."""
        self._handle = handle
        self._asked = asked
        self._state: StateFile | None = None
        self._rows: Sightings | None = None
        self._young_ns = time.time_ns() - GRAIN_NS
        self._token = ""
        self._runs: dict[int, Run] = {}
        self._true: set[int] = set()
        self._own = 0
        self._head = handle.origin
        self._again: list[Sighting] = []
        self._place: tuple[object, bytes] = (None, b"")

    def __enter__(self) -> Self:
        if current(self._handle) is None:
            path = os.path.join(self._handle.root, paths.STATE)
            self._state = state_file(path, self._handle.disk)
            try:
                self._begin()
            except HoldfastError:
                self._give_up()
        return self

    def _begin(self) -> None:
        if self._state is None:
            return
        self._rows = Sightings(self._state)
        self._head = self._chain_end()
        self._token = self._handle.index.meta(NOTED) or ""
        every = self._rows.runs()
        self._own = max((run.id for run in every), default=0) + 1
        lost = [run.id for run in every if run.token != self._token or not self._is_of_chain(run)]
        if lost:
            self._rows.forget(lost)
        self._runs = {run.id: run for run in every if run.id not in lost}
        self._true = {run.id for run in self._runs.values() if _ends_at(run, self._head)}

    def _chain_end(self) -> Head:
        return self._handle.index.chain.head() or self._handle.origin

    def _is_of_chain(self, run: Run) -> bool:
        return self._handle.index.chain.passed(run.next_seq, run.hash)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up()

    def _give_up(self) -> None:
        self._rows = None
        if self._state is not None:
            self._state.close()
            self._state = None

    # -- asking ------------------------------------------------------------------------------------------------------

    def unchanged(self, folder: Folder, met: Sequence[Found]) -> Unchanged:
        """Which of some entries of a folder, in order of names, need no look."""
        answer = Unchanged()
        if self._rows is None or not self._asked or not self._runs:
            return answer
        try:
            noted = self._rows.of(names.join_raw(folder.into), folder.absolute, met[0].raw, met[-1].raw)
            doubtful = self._sort(met, noted, answer) if noted else []
            if doubtful:
                self._confirm(folder, doubtful, answer)
        except HoldfastError:
            self._give_up()
            return Unchanged()
        return answer

    def _sort(
        self, met: Sequence[Found], noted: dict[bytes, tuple[bytes, int, int]], answer: Unchanged
    ) -> list[tuple[Found, bytes, int]]:
        """What is known to be unchanged goes into the answer; what looks so while the store has changed is returned."""
        doubtful = []
        for found in met:
            looked, revision, run = noted.get(found.raw, (None, 0, 0))
            if looked is None:
                continue
            if stat.S_ISDIR(found.facts.st_mode):
                if not looked and run in self._true:
                    answer.names.add(found.raw)
            elif looked == _facts(found.facts):
                if run in self._true:
                    answer.names.add(found.raw)
                    answer.files += 1
                elif run in self._runs:
                    doubtful.append((found, looked, revision))
        return doubtful

    def _confirm(self, folder: Folder, doubtful: list[tuple[Found, bytes, int]], answer: Unchanged) -> None:
        """Others have written since: the index says whether the revision that was noted is still what stands there."""
        index, began = self._handle.index, self._chain_end()
        parent = index.collections.down(folder.into)
        if parent is None:
            return
        briefs = index.artifacts.briefs([(parent, found.name) for found, _, _ in doubtful])
        if self._chain_end() != began:
            return
        self._go_on_from(began)
        place = names.join_raw(folder.into)
        for found, looked, revision in doubtful:
            brief = briefs.get((parent, found.name))
            if brief is not None and brief.revision == revision and brief.kept and brief.present:
                answer.names.add(found.raw)
                answer.files += 1
                self._again.append(Sighting(place, folder.absolute, found.raw, looked, revision))
        if len(self._again) >= _NOTED_AT_ONCE:
            self._note([])

    # -- noting ------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Inside a transaction of this add: give the index a token if it has none."""
        if self._rows is not None and not self._token:
            self._token = secrets.token_hex(8)
            self._handle.index.set_meta(NOTED, self._token)

    def committed(self, unit: Unit, items: Sequence[Item]) -> None:
        """Items stand in the store now: note how their files looked when they were read."""
        if self._rows is None:
            return
        self._go_on_from(unit.before)
        self._head = unit.after
        self._note([self._sighting(item) for item in items])

    def finish(self) -> None:
        """Note what was found to be true once more."""
        if self._rows is not None and self._again:
            self._note([])

    def _go_on_from(self, head: Head) -> None:
        """If the chain does not end where it ended last, others have written: nothing older is certain any more."""
        if (head.next_seq, head.hash) != (self._head.next_seq, self._head.hash):
            self.finish()
            self._true = set()
            self._own += 1
            self._head = head

    def _note(self, noted: list[Sighting]) -> None:
        assert self._rows is not None
        again, self._again = self._again, []
        run = Run(self._own, self._token, self._head.next_seq, self._head.hash)
        try:
            self._rows.note(run, self._true, again + noted)
        except HoldfastError:
            self._give_up()  # what was to be overwritten may be there: nothing must be taken for true any more

    def _sighting(self, item: Item) -> Sighting:
        if item.folder is not self._place[0]:
            self._place = (item.folder, names.join_raw(item.folder))
        source, slash, name = item.path.rpartition(b"/")
        looked = b"" if item.incoming is None else self._looked(item)
        if item.outcome is Outcome.REFUSED:
            looked = None
        return Sighting(self._place[1], source + slash, name, looked, item.revision)

    def _looked(self, item: Item) -> bytes | None:
        """None for a file that may be changed yet without looking otherwise."""
        if item.facts is None or item.facts.st_ctime_ns >= self._young_ns or item.facts.st_mtime_ns >= self._young_ns:
            return None
        return _facts(item.facts)


def _ends_at(run: Run, head: Head) -> bool:
    return (run.next_seq, run.hash) == (head.next_seq, head.hash)


def _facts(found: os.stat_result) -> bytes | None:
    return facts(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_mode)
