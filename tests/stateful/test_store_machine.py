"""Whatever is done to a store, in any order, it holds what a model of dicts and lists says that it must hold.

The ordinary run draws the same examples each time. The long one draws others each time, for HOLDFAST_MACHINE_S seconds
(four minutes), from a seed that is printed and that HOLDFAST_SEED sets again; a failing example is printed as calls,
with the blob that brings it back (`@reproduce_failure(…)` above the class does it).
"""

from __future__ import annotations

import inspect
import os
import random
import re
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.blobs.chunks import ChunkedBlobs
from holdfast.testing.chunk_workloads import small_chunks
from holdfast.testing.machine import looks
from holdfast.testing.stateful import StoreMachine, store_machine

from . import verbs

_QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
STEPS = 40

NOT_CALLED = {
    "artifacts.create": "as `store.create`", "artifacts.find": "as `store.find`", "artifacts.put": "as `store.put`",
    "artifacts.explain": "says how, not what: tests/kinds/test_finding.py", "artifacts.put_many": "as `store.put_many`",
    "artifacts.open_many": "as `artifacts.open`: tests/kinds/test_reading_many.py", "artifacts.read": "as `store.read`",
    "audit.foreign": "tests/exchange/test_merge.py",
    "holdfast.create": "the machine makes its stores with a clock of its own",
    "relationships.get": "of what each verb returns, by the name of its noun",
    "relationships.page": "by the rule page_others", "runs.page": "by the rule page_others",
    "store.backup": "tests/care/test_backup.py", "store.checkout": "tests/exchange/test_checkout.py",
    "store.copy": "tests/care/test_moving.py", "store.export_git": "tests/exchange/test_git_export.py",
    "store.export_tree": "tests/exchange/test_tree.py", "store.import_git": "tests/exchange/test_git_import.py",
    "store.snapshot": "tests/exchange/test_snapshot.py",
    "step.end": "by the end of the block of a step",
}  # fmt: skip
"""Public verbs that no rule names as `noun.verb`, and why."""

SPOKEN = {"run": "under_way", "step": "part", "store": "(?:store|s)"}
"""What rules call a noun that is no attribute of a store."""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stores lie in memory where there is such a place. A rebuild beside our own handle need not hope that we go.

    Packs are full, and loose blobs too many, after a few puts; content of a few kilobytes is cut into chunks.
    """
    place = tempfile.mkdtemp(prefix="holdfast-machine-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    monkeypatch.setattr(StoreMachine, "folder", place)
    monkeypatch.setattr("holdfast.care.rebuild._PATIENCE_S", 0.01)
    monkeypatch.setattr("holdfast.care.gathering.LOOSE_MANY", 3)
    monkeypatch.setattr("holdfast.blobs.packs.writer.PACK_APPENDS", 7)
    with small_chunks():
        yield
    shutil.rmtree(place, ignore_errors=True)


def show(done: Counter[tuple[str, str]]) -> None:
    """What the rules did, one a line, and how many of them were refused."""
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    for (rule, outcome), count in done.items():
        rules[rule][outcome] += count
    for rule, outcomes in sorted(rules.items()):
        print(f"{rule:32}{sum(outcomes.values()):6}  {', '.join(f'{k} {n}' for k, n in outcomes.most_common())}")


def counting(name: str, calls: Counter[str]) -> Any:
    """The method of the store of chunks, counted: examples that never cut anything would say nothing of chunks."""
    real = getattr(ChunkedBlobs, name)

    def method(*arguments: Any, **options: Any) -> Any:
        calls[name] += 1
        return real(*arguments, **options)

    return method


@pytest.mark.timeout(600)
def test_any_order_of_calls_gives_what_the_model_says(tally: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: Counter[str] = Counter()
    for name in ("stage_cut", "_fetch"):
        monkeypatch.setattr(ChunkedBlobs, name, counting(name, cut))
    machine = store_machine(most_ordeals=1, swarm=False)
    said = settings(
        max_examples=30, stateful_step_count=STEPS, derandomize=True, database=None, deadline=None, print_blob=True,
        suppress_health_check=_QUIET,
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=said)
    show(machine.done)
    tally("any order of calls, against a model of dicts", tried=sum(machine.done.values()), of="calls")
    print(f"content was cut {cut['stage_cut']} times, and chunks were read {cut['_fetch']} times")
    assert cut["stage_cut"] > 10
    assert cut["_fetch"] > 100


def test_every_public_verb_is_called_by_a_rule() -> None:
    folder = Path(looks.__file__).parent
    source = "\n".join(path.read_text("utf-8") for path in sorted(folder.glob("*.py")))
    lacking = []
    for verb in sorted({verb for verb, _, _, _ in verbs.public()}):
        noun, _, name = verb.partition(".")
        called = rf"\b{SPOKEN.get(noun, noun)}{'[.]' + name if name else ''}\b"
        if not re.search(called, source):
            lacking.append(verb)
    assert lacking == sorted(NOT_CALLED)


def test_a_rule_says_in_words_what_it_does() -> None:
    rules = [one.function for one in StoreMachine.setup_state().rules]
    assert [f.__name__ for f in rules if not inspect.getdoc(f)] == []
    assert len(rules) > 60
    assert looks.LookRules in StoreMachine.__mro__


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_any_order_of_calls_for_long(tally: Any) -> None:
    chosen = int(os.environ.get("HOLDFAST_SEED", random.randrange(1 << 32)))
    print(f"HOLDFAST_SEED={chosen}")
    ends = time.monotonic() + float(os.environ.get("HOLDFAST_MACHINE_S", "240"))
    machine = store_machine(most_ordeals=6)
    said = settings(
        max_examples=20, stateful_step_count=60, deadline=None, print_blob=True, database=None,
        suppress_health_check=_QUIET,
    )  # fmt: skip
    rounds = 0
    while rounds == 0 or time.monotonic() < ends:
        run_state_machine_as_test(seed(chosen + rounds)(machine), settings=said)
        rounds += 1
    show(machine.done)
    tally(
        "any order of calls, against a model of dicts", tried=sum(machine.done.values()), of="calls",
        note=f"{rounds * 20} examples of 60 steps; seed {chosen}",
    )  # fmt: skip
