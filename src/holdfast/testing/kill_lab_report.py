"""What the kill lab tried and what was lost: kills, steps, pairs of call and step, failures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from holdfast.testing.kill_lab_processes import Place
from holdfast.testing.kill_lab_steps import STEPS, needs_name, step_at


@dataclass(slots=True)
class KillReport:
    """What was tried and what was lost. `steps`: how often each named step was hit; `pairs`: what was done, and step.

    `acknowledged`: calls whose outcome was checked; `recovering`: kills of a process that opened a store after a kill;
    `at_random`: kills at no chosen moment; `unnamed`: moments that no step names; `failures`: in words.
    """

    seed: int
    kills: int = 0
    at_random: int = 0
    recovering: int = 0
    acknowledged: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    unnamed: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    @property
    def never(self) -> list[str]:
        """Steps that were not hit."""
        return [step.name for step in STEPS if not self.steps[step.name]]

    @property
    def passed(self) -> int:
        """How many different steps were the last that a process came to, killed there or at random after it."""
        return len({step for _, step in self.pairs})

    def __str__(self) -> str:
        return (
            f"{self.kills} kills ({self.at_random} at random, {self.recovering} while recovering from one), at or "
            f"after {self.passed} of {len(STEPS)} named steps, {len(self.pairs)} pairs of call and step; "
            f"{self.acknowledged} acknowledged calls checked; seed {self.seed}; {len(self.failures)} bad"
        )

    def hit(self, place: Place | None, *, chosen: bool) -> None:
        """A process was killed at, or at random after, a moment."""
        self.kills += 1
        self.at_random += not chosen
        step = None if place is None else step_at(place)
        if step is not None and place is not None:
            if chosen:
                self.steps[step.name] += 1
            self.pairs.add((place[0], step.name))
        elif place is not None and needs_name(place):
            self.unnamed.add(f"{place[0]}: {place[1]}")
