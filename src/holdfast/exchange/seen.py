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
import time
from collections.abc import Sequence
from dataclasses import field
from types import TracebackType
from typing import Self

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit, current
from holdfast.errors import HoldfastError
from holdfast.exchange.walking import Folder, Met
from holdfast.formats import paths
from holdfast.formats.looks import A_FOLDER, LOOKS
from holdfast.index.operational import StateFile, state_file
from holdfast.index.physical import NOTED
from holdfast.index.sightings import Part, Place, Run, Sightings
from holdfast.kinds.bulk import Item, Origin, Outcome
from holdfast.values import names
from holdfast.values.change import Head
from holdfast.values.frozen import dataclass

GRAIN_NS = 2_000_000_000
"""Times of files may be as coarse as this (FAT: 2 s; ext4: some milliseconds)."""

_NOTED_AT_ONCE = 4_000
_WORTH_ASKING = 3


@dataclass(slots=True)
class Unchanged:
    """Names of entries that need no look (None: of all), and how many of them are files (the others: folders)."""

    names: set[bytes] | None = field(default_factory=set)
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
        self._again: dict[Place, dict[bytes, tuple[bytes, int] | None]] = {}
        self._confirmed = 0

    def __enter__(self) -> Self:
        if current(self._handle) is None and self._handle.tenant is None:  # places of two tenants look alike
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

    def expect(self, folders: Sequence[Folder]) -> None:
        """Folders beside each other come next: what is noted of them is fetched together."""
        if self._rows is None or not self._asked or not self._runs or len(folders) < _WORTH_ASKING:
            return
        try:
            self._rows.expect([(folder.place, folder.absolute) for folder in folders])
        except HoldfastError:
            self._give_up()

    def unchanged(self, folder: Folder, met: Met) -> Unchanged:
        """Which of some entries of a folder, in order of names, need no look."""
        if self._rows is None or not self._asked or not self._runs:
            return Unchanged()
        answer = Unchanged()
        try:
            noted = self._rows.of((folder.place, folder.absolute), met.names[0], met.names[-1])
            if noted and self._is_all(met, noted):
                return Unchanged(None, len(met.names) - len(met.folders))
            doubtful = self._sort(met, noted, answer) if noted else []
            if doubtful:
                self._confirm(folder, doubtful, answer)
        except HoldfastError:
            self._give_up()
            return Unchanged()
        return answer

    def _is_all(self, met: Met, noted: Sequence[Part]) -> bool:
        """Whether everything in a folder is as it was noted, and nothing is missing."""
        if len(noted) == 1:  # nearly always
            (one,) = noted
            return one.run in self._true and one.looks == met.plain and one.names == b"\0".join(met.names)
        return (
            all(part.run in self._true for part in noted)
            and b"".join([part.looks for part in noted]) == met.plain
            and b"\0".join([part.names for part in noted]) == b"\0".join(met.names)
        )

    def _sort(self, met: Met, noted: Sequence[Part], answer: Unchanged) -> list[tuple[bytes, bytes, int]]:
        """What is known to be unchanged goes into the answer; what looks so while the store has changed is returned."""
        assert answer.names is not None
        known = {name: (look, revision, part.run) for part in noted for name, look, revision in part.each()}
        doubtful = []
        for number, raw in enumerate(met.names):
            look, revision, run = known.get(raw, (b"", 0, 0))
            if not look or look != met.plain[number * LOOKS.size : (number + 1) * LOOKS.size]:
                continue
            if run in self._true:
                answer.names.add(raw)
                answer.files += look != A_FOLDER
            elif run in self._runs and look != A_FOLDER:
                doubtful.append((raw, look, revision))
        return doubtful

    def _confirm(self, folder: Folder, doubtful: list[tuple[bytes, bytes, int]], answer: Unchanged) -> None:
        """Others have written since: the index says whether the revision that was noted is still what stands there."""
        assert answer.names is not None
        index, began = self._handle.index, self._chain_end()
        parent = index.collections.down(folder.into)
        if parent is None:
            return
        places = [(parent, names.from_raw(raw)) for raw, _, _ in doubtful]
        briefs = index.artifacts.briefs(places)
        if self._chain_end() != began:
            return
        self._go_on_from(began)
        again = self._again.setdefault((folder.place, folder.absolute), {})
        for (raw, look, revision), place in zip(doubtful, places, strict=True):
            brief = briefs.get(place)
            if brief is not None and brief.revision == revision and brief.kept and brief.present:
                answer.names.add(raw)
                answer.files += 1
                again[raw] = look, revision
                self._confirmed += 1
        if self._confirmed >= _NOTED_AT_ONCE:
            self._note({})

    # -- noting ------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Inside a transaction of this add: give the index a token if it has none."""
        if self._rows is not None and not self._token:
            self._token = os.urandom(8).hex()
            self._handle.index.set_meta(NOTED, self._token)

    def committed(self, unit: Unit, items: Sequence[Item]) -> None:
        """Items stand in the store now: note how their files looked when they were read."""
        if self._rows is None:
            return
        self._go_on_from(unit.before)
        self._head = unit.after
        noted: dict[Place, dict[bytes, tuple[bytes, int] | None]] = {}
        files: dict[bytes, tuple[bytes, int] | None] = {}
        last: Origin | None = None
        refused, unpack, young_ns = Outcome.REFUSED, LOOKS.unpack, self._young_ns
        for item in items:
            origin, look = item.origin, item.look
            assert origin is not None
            if origin is not last:
                files = noted.setdefault((origin.place, origin.absolute), {})
                last = origin
            if item.incoming is None:
                look = A_FOLDER
            elif look is not None:
                _, mtime_ns, ctime_ns, _, _, _ = unpack(look)
                if ctime_ns >= young_ns or mtime_ns >= young_ns:
                    look = None  # it may be changed yet without looking otherwise
            text, stray = item.name
            files[stray or text.encode()] = None if look is None or item.outcome is refused else (look, item.revision)
        self._note(noted)

    def finish(self) -> None:
        """Note what was found to be true once more."""
        if self._rows is not None and self._again:
            self._note({})

    def _go_on_from(self, head: Head) -> None:
        """If the chain does not end where it ended last, others have written: nothing older is certain any more."""
        if (head.next_seq, head.hash) != (self._head.next_seq, self._head.hash):
            self.finish()
            self._true = set()
            self._own += 1
            self._head = head

    def _note(self, noted: dict[Place, dict[bytes, tuple[bytes, int] | None]]) -> None:
        assert self._rows is not None
        again, self._again, self._confirmed = self._again, {}, 0
        for place, files in again.items():
            if files:
                noted[place] = {**files, **noted.get(place, {})}
        run = Run(self._own, self._token, self._head.next_seq, self._head.hash)
        try:
            self._rows.note(run, self._true, noted)
        except HoldfastError:
            self._give_up()  # what was to be overwritten may be there: nothing must be taken for true any more


def _ends_at(run: Run, head: Head) -> bool:
    return (run.next_seq, run.hash) == (head.next_seq, head.hash)
