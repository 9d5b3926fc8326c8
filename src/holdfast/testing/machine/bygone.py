"""Rules: looking back. What the store was at an earlier change is what the model was then, whatever happened since."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.engine import past
from holdfast.index.tables import LOGICAL
from holdfast.store import Store
from holdfast.testing.machine.compare import Comparing, agree
from holdfast.testing.model import Model

outside = precondition(lambda machine: not machine.pending)


@dataclass(frozen=True)
class Memory:
    """The model after change `seq`, and the ids of the artifacts that had been made, by age."""

    seq: int
    model: Model
    made: list[str]


class PastRules(Comparing):
    """`store.at`."""

    def __init__(self) -> None:
        super().__init__()
        self.memories: list[Memory] = []

    @outside
    @rule(which=st.integers(0, 20))
    def look_back(self, which: int) -> None:
        """At one of the states that were remembered, which is as it was, but for what was given up; remember this one.

        What was redacted is not in the past either: memories of before a redaction are given up too.
        """
        redacted = max((n for n, one in enumerate(self.model.trail, 1) if one[1] == "redact"), default=0)
        self.memories = [one for one in self.memories if one.seq >= redacted]
        self.count("remembered" if not self.memories else "done", "look_back")
        if self.memories:
            memory = self.memories[which % len(self.memories)]
            self._look_at(memory)
            self._same_both_ways(memory.seq)
        self.memories.append(Memory(len(self.model.trail), self.model.copy(), list(self.made)))

    def _look_at(self, memory: Memory) -> None:
        now = self.store, self.model, self.made
        model = copy.deepcopy(memory.model)
        for thing in model.things.values():
            for then, later in zip(thing.revisions, self.model.things[thing.handle].revisions, strict=False):
                then.state = then.state if later.state == "kept" else later.state
        with self.store.at(memory.seq) as view:
            agree((view.seq, view.changes.head().next_seq), (memory.seq, memory.seq + 1), "the seq of a view")
            self.store, self.model, self.made = cast("Store", view), model, memory.made
            try:
                self.compare_records()
            finally:
                self.store, self.model, self.made = now

    def _same_both_ways(self, seq: int) -> None:
        """Rows of now taken back are the rows that the changes up to then make, one by one."""
        handle = self.store._handle  # noqa: SLF001
        index = past.rewound_at(handle, seq, str(self.home / "rewound.sqlite3"), most=1 << 62)
        if index is None:
            self.count("an index was declared since", "look_back")
            return
        wanted = past.replayed_at(handle, seq, str(self.home / "replayed.sqlite3"))
        for table in LOGICAL:
            found, rows = list(index.dump(table)), list(wanted.dump(table))
            assert found == rows, f"rows of {table} at change {seq}: taken back {found}, made anew {rows}"
        for one in (index, wanted):
            one.close()
        for name in ("rewound", "replayed"):
            (self.home / f"{name}.sqlite3").unlink()
