"""What the outbox hands out: consumers as they stand, deliveries, and the changes that a consumer could not handle."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from holdfast.values.records import Change

MAX_NAME = 100
ATTEMPTS = 5
LEASE_S = 60.0
LONGEST_S = 3_600.0
"""So long, in seconds, may one call of a handler take before its lease is not renewed any more."""


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A consumer as it stands. `tenant`: whose changes it gets; None: all.

    `seq`: the change up to which all are handled (0: none), `hash` of its transaction. `behind`: how many changes there
    are after it. `attempts`: how often a change is tried before it becomes a dead letter; `failures`: how often the
    next one has failed. `letters`: its dead letters. `held`: whether somebody has the lease; `token`: of the last.
    """

    name: str
    tenant: str | None
    seq: int
    hash: str
    behind: int
    attempts: int
    failures: int
    letters: int
    held: bool
    token: int
    created_at: datetime
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """A change on its way to a consumer. `attempt`: from 1 on; `again`: a dead letter that is tried once more."""

    change: Change
    hash: bytes
    attempt: int = 1
    again: bool = False

    @property
    def seq(self) -> int:
        """Of the change. What was handled already has it too: a consumer knows repeats by it."""
        return self.change.seq


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A change that failed so often that the consumer went on without it. `due`: it will be tried again."""

    seq: int
    failures: int
    reason: str
    dead_at: datetime
    due: bool


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a run of a consumer did: changes handled, failures, and changes that became dead letters."""

    handled: int
    failures: int
    dead: int
