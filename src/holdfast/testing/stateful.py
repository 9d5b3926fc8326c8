"""A state machine over the whole public API: Hypothesis draws what is done, a dict model says what must follow.

    TestMyStore = store_machine(make=my_create, open=my_open).TestCase
    TestMyStore.settings = settings(max_examples=100, stateful_step_count=30)

Steps read as calls, and a failure is shrunk to the shortest list of them that fails.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, ClassVar

from hypothesis import strategies as st

import holdfast
from holdfast.testing.machine import moving
from holdfast.testing.machine.bygone import PastRules
from holdfast.testing.machine.care import TransactionRules
from holdfast.testing.machine.corners import CornerRules
from holdfast.testing.machine.driver import Way
from holdfast.testing.machine.indexes import IndexRules
from holdfast.testing.machine.looks import LookRules
from holdfast.testing.machine.ordeals import Ordeals
from holdfast.testing.machine.places import CollectionRules
from holdfast.testing.machine.runs import RunRules
from holdfast.testing.machine.scenes import Scenes
from holdfast.testing.machine.ties import RelationshipRules
from holdfast.testing.machine.together import TogetherRules
from holdfast.testing.machine.trees import TreeRules
from holdfast.testing.machine.verbs import ArtifactRules

EVERY_ALL = 10
EVERY_FSCK = 25
EVERY_REBUILD = 3


class EveryRule:
    """Hypothesis leaves some rules out of each example: good for many examples, a waste where there are few."""

    def is_enabled(self, name: str) -> bool:
        """Each is."""
        return bool(name)


class StoreMachine(
    Scenes, ArtifactRules, CollectionRules, TreeRules, CornerRules, RelationshipRules, RunRules, TransactionRules,
    TogetherRules, LookRules, IndexRules, PastRules, Ordeals,
):  # fmt: skip
    """All rules. After each step lists and audit trail are compared; now and then everything."""

    swarm: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        chooser: Any = getattr(self, "_rules_strategy", None)
        if not self.swarm and chooser is not None and hasattr(chooser, "enabled_rules_strategy"):
            chooser.enabled_rules_strategy = st.just(EveryRule())

    def check_invariants(self, *_: Any, **__: Any) -> None:
        """Hypothesis calls this after each step. Not an `@invariant`: a line for each would hide the steps."""
        self.agrees()

    def agrees(self) -> None:
        """The store says what the model says."""
        self.steps += 1
        self.compare_trail()
        seen = (len(self.model.trail), self.ordeals, self.refusals)
        if seen != self.seen:  # a look at the store needs no look at all of it
            self.compare_lists()
        self.seen = seen
        self.watch_pages()
        if self.steps % EVERY_ALL == 0:
            self.compare_all()
        if self.steps % EVERY_FSCK == 0 and not self.pending:
            self.clean(quick=True)

    def teardown(self) -> None:
        """At the end fsck reads all and derives the rows; now and then rebuild does, with the same rows."""
        try:
            # What failed already would only fail again, and hide how it did.
            if sys.exc_info()[0] is None:
                self.end_all(fail=False)
                self.compare_trail()
                self.compare_all()
                self.compare_search()
                self.clean(quick=False)
                if len(self.model.trail) % EVERY_REBUILD == 0:
                    self.rebuild_alone()
        finally:
            self.leave()

    def rebuild_alone(self) -> None:
        """Nobody has the store open; rows derived anew are those that live writes made."""
        before = self.rows()
        self.store.close()
        holdfast.rebuild(self.path)
        self.store = type(self).open(self.path)
        self.same_rows(before)


def store_machine(
    *,
    make: Way = moving.make,
    open: Way = moving.open_,
    folder: str | None = None,
    most_ordeals: int = 3,
    swarm: bool = True,
) -> type[StoreMachine]:
    """A machine of its own class. `make` and `open`: how a store is made and opened in a folder that they are given.

    `folder`: where the folders of the stores are made and removed again; None: where temporary files go.
    By default the store goes by a clock that the machine moves on.
    `most_ordeals`: how often in one example a store is killed, copied, checked, or loses its index or journal.
    `swarm`: whether each example leaves some rules out, as Hypothesis does by itself. `done` counts what rules did.
    """
    ways: dict[str, Any] = {
        "make": staticmethod(make),
        "open": staticmethod(open),
        "most_ordeals": most_ordeals,
        "swarm": swarm,
        "done": Counter(),
    }
    if folder is not None:
        ways["folder"] = folder
    return type("Machine", (StoreMachine,), ways)


__all__ = ["StoreMachine", "store_machine"]
