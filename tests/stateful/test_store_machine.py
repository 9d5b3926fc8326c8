"""Whatever is done to a store, in any order, it holds what a model of dicts and lists says that it must hold.

The ordinary run draws the same examples each time. The long one draws others each time and prints the blob that
brings a failure back: `@reproduce_failure(…)` above the class does it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from holdfast.testing.stateful import StoreMachine, store_machine

_QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stores lie where tests may write. A rebuild beside our own handle need not hope that we go away."""
    monkeypatch.setattr(StoreMachine, "folder", str(tmp_path))
    monkeypatch.setattr("holdfast.care.rebuild._PATIENCE_S", 0.01)


TestAnyOrder = store_machine().TestCase
TestAnyOrder.settings = settings(
    max_examples=50, stateful_step_count=30, derandomize=True, database=None, deadline=None, print_blob=True,
    suppress_health_check=_QUIET,
)  # fmt: skip

TestAnyOrderForLong = pytest.mark.soak(pytest.mark.timeout(0)(store_machine(most_ordeals=20).TestCase))
TestAnyOrderForLong.settings = settings(
    max_examples=int(os.environ.get("HOLDFAST_EXAMPLES", "3000")), stateful_step_count=60, deadline=None,
    print_blob=True, suppress_health_check=_QUIET,
)  # fmt: skip
