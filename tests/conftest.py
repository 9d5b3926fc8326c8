"""Stores for tests: a fresh one, one with a disk that fails and a clock that stands still, and what its tables hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import holdfast
from holdfast import Store
from holdfast.engine import open as opening
from holdfast.engine.open import Settings
from holdfast.index.tables import LOGICAL, PHYSICAL
from holdfast.testing.clock import FixedClock
from holdfast.testing.faults import FaultyDisk
from holdfast.values.change import Actor

# No deadlines: the machine may be busy. Fixtures that last for all examples are meant where they are used.
settings.register_profile(
    "holdfast", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("holdfast")

Opener = Callable[..., Store]
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def root(tmp_path: Path) -> str:
    """Where the store of a test lies."""
    return str(tmp_path / "store")


@pytest.fixture
def store(root: str) -> Iterator[Store]:
    """A fresh store, written to by Ada."""
    with holdfast.create(root, actor="Ada") as made:
        yield made


@pytest.fixture
def clock() -> FixedClock:
    """The clock of stores that `opener` opens."""
    return FixedClock()


@pytest.fixture
def disk() -> FaultyDisk:
    """The disk of stores that `opener` opens."""
    return FaultyDisk()


@pytest.fixture
def opener(root: str, disk: FaultyDisk, clock: FixedClock) -> Iterator[Opener]:
    """Opens the store at `root` (made by the first call) with the faulty disk and the fixed clock; closes them all."""
    opened: list[Store] = []

    def open_it(**options: Any) -> Store:
        said = Settings(Actor("Ada"), **{"clock": clock, "disk": disk, "wait_s": 10.0, **options})
        if not Path(root, "holdfast.json").exists():
            opening.create(root, said)
        opened.append(Store(opening.open_store(root, said)))
        return opened[-1]

    yield open_it
    disk.heal()
    for one in opened:
        one.close()


@pytest.fixture
def rows_of() -> Callable[[Store], Rows]:
    """Every row of every logical and physical table of a store, in order of keys."""
    return lambda store: {table: list(store._handle.index.dump(table)) for table in (*LOGICAL, *PHYSICAL)}
