"""Rules that bring together what drawn calls seldom do by themselves: each leads to where stores went wrong."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.machine import verbs
from holdfast.testing.machine.care import GRACE_S, CareRules
from holdfast.testing.machine.compare import digest_of
from holdfast.testing.machine.moving import clock
from holdfast.testing.machine.ties import RelationshipRules
from holdfast.testing.machine.values import Known, among, some
from holdfast.testing.model import End

_ALIKE = (1, 1.0, True)
"""Equal for Python, three different values of JSON."""

outside = precondition(lambda machine: not machine.pending)


class CornerRules(RelationshipRules, CareRules):
    """Each needs one draw only."""

    @precondition(some(verbs.live))
    @rule(which=among(verbs.live), one=st.sampled_from(_ALIKE), other=st.sampled_from(_ALIKE))
    def nearly_the_same_metadata(self, which: Known, one: float, other: float) -> None:
        """1, then 1.0 or true: another value is another revision, the same value is none."""
        self._say(which, {"k": one})
        self._say(which, {"k": other})

    def _say(self, which: Known, metadata: dict[str, Any]) -> None:
        its = f"id:{self.ids[which.handle]}"
        self.both(lambda s: s.artifacts.set_metadata(its, metadata), lambda m: m.set_metadata(which.handle, metadata))

    @precondition(some(verbs.live))
    @rule(which=among(verbs.live))
    def walk_from_each_revision(self, which: Known) -> None:
        """What is said of one revision is not said of the others."""
        revisions = [one.number for one in self.model.things[which.handle].revisions]
        for number, direction in product(revisions, ("up", "down")):
            end: End = ("artifact", which.handle, number)
            self.same_walk(end, direction, None)

    @outside
    @rule(days=st.sampled_from([1, 15]))
    def give_up_and_wait(self, days: int) -> None:
        """Content that was given up is there for the grace period, and gone at the first gc after it."""
        path, content = b"given up %d" % self.steps, b"given up %d" % self.steps
        handle = self.both(lambda s: s.put(path, content), lambda m: m.put(path, content, {}))
        if handle is None:
            return
        own, its = self.model.thing(path).handle, f"id:{self.ids[self.model.thing(path).handle]}"
        self.both(lambda s: s.artifacts.delete(its), lambda m: m.delete(own))
        self.both(lambda s: s.artifacts.purge(its), lambda m: m.purge(own, None))
        digest = digest_of(content).removeprefix("sha256:")
        self.store.gc()
        assert digest in self.present(), "gone at once"
        clock.ahead_s += days * 24 * 3600
        self.store.gc()
        waited = days * 24 * 3600 > GRACE_S
        assert (digest in self.present()) != waited, f"{days} days after it was given up"
        self.count(f"{days} days", "give_up_and_wait")
