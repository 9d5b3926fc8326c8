"""Where a merge writes to: a store's open transaction, or rows beside any store, of which a snapshot is made."""

from __future__ import annotations

from typing import Protocol

from holdfast.engine.content import Incoming
from holdfast.engine.transaction import Unit
from holdfast.index.sql import SqlIndex
from holdfast.values.change import Body

_TOGETHER = 2_000


class Target(Protocol):
    """Takes changes, and sees to it that the contents which they speak of are there."""

    index: SqlIndex
    first_new: int
    now_us: int

    def bring(self, contents: dict[str, int]) -> None:
        """Contents (digest to size) that the next changes speak of."""

    def change_all(self, bodies: list[Body]) -> None:
        """Changes that do not depend on one another's rows."""


class InStore:
    """A store's open transaction. `staged`: the contents that it lacks; None: nothing is to stay (a dry run)."""

    def __init__(self, unit: Unit, staged: dict[str, Incoming] | None) -> None:
        self.index = unit.handle.index
        self.first_new = unit.before.next_seq
        self.now_us = unit.now_us
        self._unit = unit
        self._staged = staged

    def bring(self, contents: dict[str, int]) -> None:
        """Publish what was staged; of the rest, that it is here is looked up, and holds until the transaction ends."""
        if self._staged is not None:
            known = self._staged
            self._unit.publish([known.get(one) or Incoming(one, size, b"") for one, size in contents.items()])

    def change_all(self, bodies: list[Body]) -> None:
        """As of the unit."""
        for start in range(0, len(bodies), _TOGETHER):
            self._unit.change_all(bodies[start : start + _TOGETHER])


def emit(target: Target, records: list[list[Body]]) -> None:
    """The changes of many records, each record's in order: first the first of each, then the second of each, …"""
    for turn in range(max(map(len, records), default=0)):
        target.change_all([bodies[turn] for bodies in records if len(bodies) > turn])
