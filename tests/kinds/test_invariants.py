"""What is always so is checked where the environment asks for it: each clause is broken once, and found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.kinds.invariants import INVARIANTS

pytest.importorskip("icontract")
HERE = Path(__file__).parent
NUMBERS = sorted({one.number for one in INVARIANTS}, key=lambda one: int(one[2:]))


def run(program: list[str], **more: str) -> str:
    environment = {**os.environ, **more, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
    done = subprocess.run([sys.executable, *program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def said() -> list[list[Any]]:
    """[what was broken, [clause, part, words] or None, notes in the chain] of each."""
    return [json.loads(line) for line in run([str(HERE / "breaking.py")], HOLDFAST_CONTRACTS="on").splitlines()]


def test_invariants_are_numbered_one_after_the_other_and_each_is_broken(said: list[list[Any]]) -> None:
    assert [f"V-{n}" for n in range(1, len(NUMBERS) + 1)] == NUMBERS
    assert {one[0] for one in said} == {*NUMBERS, "read-only"}


def test_what_is_broken_is_found_by_its_number_and_words(said: list[list[Any]]) -> None:
    words = {one.number: one.words for one in INVARIANTS}
    for broken, found, _ in said:
        assert found is not None, broken
        assert found[:2] == ["V-8" if broken == "read-only" else broken, "invariant"]
        assert broken == "read-only" or words[broken] in found[2]


def test_it_is_noted_in_the_chain_where_a_store_is_at_hand_and_may_be_written_to(said: list[list[Any]]) -> None:
    noted = {one[0]: one[2] for one in said if one[2]}
    assert noted == {
        "V-2": ["contract: V-2 (invariant) broken by store"],
        "V-8": ["contract: V-8 (invariant) broken by revision"],
    }


def test_off_nothing_is_wrapped_and_nothing_is_imported() -> None:
    program = (
        "import sys, holdfast; from holdfast.values.records import Revision; from holdfast.store import Store;"
        "s = holdfast.memory(); s.put('a', '1'); s.get('a');"
        "print([m for m in ('icontract', 'holdfast.kinds.invariants', 'holdfast.kinds.promises') if m in sys.modules],"
        " hasattr(Store, '__invariants__'), hasattr(Revision.__init__, '__wrapped__'))"
    )
    assert run(["-c", program], HOLDFAST_CONTRACTS="") == "[] False False\n"


def test_the_kit_runs_with_promises_and_invariants_checked() -> None:
    """On a store in memory, in a process of its own: what is checked stays checked."""
    tests = Path(__file__).parents[1] / "conformance" / "test_backends.py"
    program = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests), "-k", "TestInMemory"]
    told = run(program, HOLDFAST_CONTRACTS="on", PYTEST_ADDOPTS="")
    assert " passed" in told
    assert "failed" not in told
