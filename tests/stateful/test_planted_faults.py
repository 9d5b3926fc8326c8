"""Faults planted in the product are found by the state machine: how many, and in how many examples, is counted.

A machine that finds nothing says nothing; what it would find is measured here. HOLDFAST_SEED sets the seed that is
printed, HOLDFAST_MUTATION_EXAMPLES how many examples each fault is given, HOLDFAST_FAULTS names some of them (a part
of the name is enough).
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.testing.stateful import store_machine

from . import planted

SHORT_EXAMPLES = 30
"""As many as the ordinary run draws: a fault found within them would fail `make test`."""

PARTS = 4
"""The faults are dealt out to as many tests, so that they can run side by side."""

EXAMPLES = int(os.environ.get("HOLDFAST_MUTATION_EXAMPLES", "60"))


def _examples_until_found(plant: planted.Plant | None, folder: Path, chosen: int) -> int | None:
    """How many examples the machine needs to fail; None if it does not."""
    base = store_machine(folder=str(folder), most_ordeals=1, swarm=False)
    begun = 0

    class Counted(base):  # type: ignore[valid-type,misc]
        def __init__(self) -> None:
            nonlocal begun
            begun += 1
            super().__init__()

    said = settings(
        max_examples=EXAMPLES, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.care.rebuild._PATIENCE_S", 0.01)
        if plant is not None:
            plant(patch)
        try:
            run_state_machine_as_test(seed(chosen)(Counted), settings=said)
        except Exception:  # any failure is a find: a wrong answer, a refusal, an error of SQLite
            # The engine draws the failing example again before it reports it.
            return max(begun - 1, 1)
    return None


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory if there is such a place: a machine that waits for a disk finds no more."""
    place = tempfile.mkdtemp(prefix="holdfast-machine-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    yield Path(place)
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_planted_faults_are_found(part: int, folder: Path, tally: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    chosen = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"HOLDFAST_SEED={chosen}")
    wanted = os.environ.get("HOLDFAST_FAULTS", "")
    if part == 0:
        sound = _examples_until_found(None, folder, chosen)
        assert sound is None, f"the product as it is fails in example {sound}: then nothing is said by a find"
    needed: dict[str, int | None] = {}
    for name in list(planted.FAULTS)[part::PARTS]:
        if wanted in name:
            began = time.process_time()
            needed[name] = _examples_until_found(planted.FAULTS[name], folder, chosen)
            print(f"{needed[name] or '-':>5} examples, {time.process_time() - began:5.1f} s  {name}", flush=True)
    found = [count for count in needed.values() if count is not None]
    missed = [name for name, count in needed.items() if count is None]
    soon = sum(count <= SHORT_EXAMPLES for count in found)
    tally(
        "planted faults found by the state machine", tried=len(needed), of="faults", lost=len(missed),
        note=f"{soon} within {SHORT_EXAMPLES} examples, median {statistics.median(found or [0])}; seed {chosen}"
        + "".join(f"; not in {EXAMPLES}: {name}" for name in missed),
    )  # fmt: skip
    assert missed == []
    assert soon * 2 >= len(needed), "most of them should be found in the ordinary run"


@pytest.mark.parametrize("name", planted.FAULTS)
def test_a_fault_can_be_planted(name: str) -> None:
    """What it replaces is still there under that name."""
    with pytest.MonkeyPatch.context() as patch:
        planted.FAULTS[name](patch)
