"""Where a workload of the crash lab works, and what it consists of."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.store import Store
from holdfast.testing.ledger import Ledger
from holdfast.values.change import Actor


@dataclass(slots=True)
class Bench:
    """Where a workload works: the store's folder, a folder beside it, how to open it, and the ledger."""

    root: str
    beside: str
    settings: Settings
    ledger: Ledger
    rnd: random.Random

    def open(self) -> Store:
        """Open the store through the disk of the lab."""
        return Store(opening.open_store(self.root, self.settings))

    def content(self, size: int = 0) -> bytes:
        """Bytes that no other call gives."""
        return self.rnd.randbytes(size or self.rnd.choice([20, 700, 3000]))


Work = Callable[[Bench], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """`before` makes the store (not recorded), `run` is recorded.

    `mend`: what is done to a state before it is opened; it gets the paths of the store and of the folder beside it.
    `network`: on a network file system, where the index has a rollback journal. `needs_index`: its journal is damaged,
    or only the index knows since when it is a copy, so the index must not be lost as well. `packs`: small content goes
    into packs; without, every content has a file of its own.
    """

    name: str
    run: Work
    before: Work
    mend: Callable[[str, str, Settings], None] | None = None
    network: bool = False
    needs_index: bool = False
    packs: bool = False

    def settings(self, disk: Disk | None = None) -> Settings:
        """How its stores are opened."""
        return Settings(Actor("lab"), disk=disk or Disk(), pack_up_to=None if self.packs else 0)


def made(bench: Bench) -> None:
    """Make the store, empty, with its index."""
    opening.create(bench.root, bench.settings)
    bench.open().close()
