"""What calls ask of their arguments is checked before anything is done; what they promise, where it is switched on."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import (
    ContractViolationError,
    InvalidQueryError,
    InvalidValueError,
    WrongArgumentError,
    WrongQueryError,
)
from holdfast.kinds import clauses, invariants, promises
from holdfast.kinds.clauses import CLAUSES
from holdfast.testing.conformance.calls import NOUNS

WRONG: dict[str, list[Any]] = {
    "P-1": [-1, 1.5, "3", True], "P-2": [3, "5%"], "P-3": [-1, None], "P-4": ["1", None], "P-5": [None, 3, b"name"],
    "P-6": [3, b"x"], "P-7": [3, ["document"]], "P-8": [3], "P-9": [3, b"id"], "P-10": [None, 7, ["a"]], "P-11": [7],
    "P-12": [3], "P-13": [3, b"supports"], "P-14": [1, "1"], "P-15": [-1, float("nan"), float("inf"), "1"],
    "P-16": [None, 3], "P-17": ["a", 3], "P-18": ["git", 3], "P-19": [None, 3], "P-20": [3, "rw"], "P-21": [3, []],
    "P-22": [3],
}  # fmt: skip


@pytest.fixture
def memory() -> Iterator[Store]:
    clauses._said.clear()
    with holdfast.memory(actor="Ada") as made:
        made.put("a", "1")
        yield made


BY_THEMSELVES = ("outbox", "configuration")
"""Nouns whose calls have errors of their own for every argument."""


def speaking(store: Store) -> Iterator[tuple[str, Any, str]]:
    """(call, method, parameter) wherever a clause speaks of a parameter of a public call."""
    for noun in ("", *(one for one in NOUNS if one not in BY_THEMSELVES)):
        owner = getattr(store, noun) if noun else store
        for name, method in inspect.getmembers(type(owner), inspect.isfunction):
            if not name.startswith("_"):
                for one in inspect.signature(method).parameters.values():
                    if one.name in CLAUSES and one.kind is not one.VAR_POSITIONAL:
                        yield f"{noun}.{name}".strip("."), getattr(owner, name), one.name


def test_clauses_are_numbered_one_after_the_other_and_each_is_tried() -> None:
    numbers = [one.number for one in CLAUSES.values()]
    assert sorted(numbers, key=lambda one: int(one[2:])) == [f"P-{n}" for n in range(1, len(numbers) + 1)]
    assert set(WRONG) == set(numbers)


def test_every_call_keeps_every_clause_that_speaks_of_its_parameters(memory: Store) -> None:
    """Found by looking at the calls: a new one with a parameter of such a name is held to it, too."""
    before, tried = memory.audit.head(), 0
    memory._handle.read_only = True  # so that nothing is written down: that is another test
    for call, method, parameter in speaking(memory):
        for wrong in WRONG[CLAUSES[parameter].number]:
            given = {p.name: _fitting(p.name) for p in _wanted(method)} | {parameter: wrong}
            positional = [given.pop(p.name) for p in _wanted(method) if p.kind is p.POSITIONAL_OR_KEYWORD]
            with pytest.raises(ContractViolationError) as caught:
                method(*positional, **given)
            assert caught.value.fields["clause"] == CLAUSES[parameter].number, (call, parameter, wrong)
            assert caught.value.fields["part"] == "precondition"
            tried += 1
    assert tried > 150
    assert memory.audit.head() == before


def _wanted(method: Any) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(method).parameters.values() if p.default is p.empty and p.kind < p.VAR_KEYWORD
            and p.kind is not p.VAR_POSITIONAL]  # fmt: skip


def _fitting(name: str) -> Any:
    return {"content": b"1", "metadata": {}, "revision": 1, "old": 1, "new": 1, "at": 1}.get(name, "a")


@pytest.mark.parametrize(
    ("call", "cls", "also"),
    [(lambda m: m.find(limit=-1), WrongQueryError, InvalidQueryError),
     (lambda m: m.artifacts.page(token=3), WrongQueryError, InvalidQueryError),
     (lambda m: m.find(order=7), WrongQueryError, InvalidQueryError),
     (lambda m: m.gc(grace_s="soon"), WrongArgumentError, InvalidValueError),
     (lambda m: m.runs.create(7), WrongArgumentError, InvalidValueError)],
)  # fmt: skip
def test_a_violation_is_caught_as_what_a_value_that_makes_no_sense_is(
    call: Any, cls: type, also: type, memory: Store
) -> None:
    """So one `except` does for a limit of -1 and for one of "many", and for what no library checks: ValueError."""
    with pytest.raises(cls) as caught:
        call(memory)
    assert isinstance(caught.value, ContractViolationError)
    assert isinstance(caught.value, also)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2
    assert caught.value.fields["reason"] == "clause"


def test_a_violation_holds_no_value(memory: Store) -> None:
    with pytest.raises(ContractViolationError) as caught:
        memory.find(limit="S3cr3t")
    assert "S3cr3t" not in f"{caught.value}{caught.value.fields}{caught.value.remedy}"
    assert "limit" in str(caught.value)


def test_a_violation_is_noted_in_the_chain_once_a_minute(memory: Store) -> None:
    for _ in range(3):
        for call in (lambda: memory.find(limit=-1), lambda: memory.gc(grace_s=-1)):
            with pytest.raises(ContractViolationError):
                call()
    notes = [(one.kind, one.actor, one.note) for one in memory.changes.list() if one.note]
    assert notes == [
        ("collection", "Ada", "contract: P-1 (precondition) broken by artifacts.find"),
        ("collection", "Ada", "contract: P-15 (precondition) broken by store.gc"),
    ]
    assert memory.fsck().findings == ()
    assert memory.audit.verify().proven
    assert memory.read("a") == b"1"


def test_a_store_that_may_not_be_written_to_or_is_busy_raises_all_the_same(memory: Store) -> None:
    before = memory.audit.head()
    memory._handle.writer.acquire("somebody else", wait_s=1)
    try:
        with pytest.raises(ContractViolationError):
            memory.find(limit=-1)
    finally:
        memory._handle.writer.release()
    clauses._said.clear()
    with memory.at(1) as view, pytest.raises(ContractViolationError):
        view.artifacts.find(limit=-1)
    memory._handle.read_only = True
    with pytest.raises(ContractViolationError):
        memory.find(limit=-1)
    assert memory.audit.head() == before


def test_inside_a_transaction_nothing_is_added_to_it(memory: Store) -> None:
    with memory.transaction():
        memory.put("b", "1")
        with pytest.raises(ContractViolationError):
            memory.find(limit=-1)
    assert [one.note for one in memory.changes.list()] == [""] * 3


PROMISED = r"""
import dataclasses, holdfast
from holdfast.errors import ContractViolationError
from holdfast.kinds.readings import Artifacts
from holdfast.kinds import artifacts

whole = artifacts.Artifacts.delete
artifacts.Artifacts.delete = lambda self, ref, **more: dataclasses.replace(whole(self, ref, **more), deleted_at=None)
store = holdfast.memory()
store.put("a", "1")
store.artifacts.revisions("a")
store.artifacts.page(limit=1)
assert [e.depth for e in store.relationships.lineage("a").nodes] == [0]
run = store.runs.set_status(store.runs.create("r"), "processing")
store.changes.head()
try:
    store.artifacts.delete("a")
except ContractViolationError as error:
    print(error.fields["clause"], error.fields["part"], error.fields["call"])
print([one.note for one in store.changes.list() if one.note])
store.changes._handle.seen_next_seq = 1000
try:
    store.changes.head()
except ContractViolationError as error:
    print(error.fields["clause"])
"""


def test_promises_are_checked_where_the_environment_asks_for_it() -> None:
    """In a process of its own, for it lasts; one call there is made to break its promise."""
    pytest.importorskip("icontract")

    def run(**more: str) -> str:
        environment = {**os.environ, **more, "PYTHONPATH": str(Path(holdfast.__file__).parents[1])}
        program = [sys.executable, "-c", PROMISED]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run(HOLDFAST_CONTRACTS="on") == (
        "E-2 postcondition artifacts.delete\n['contract: E-2 (postcondition) broken by artifacts.delete']\nE-8\n"
    )
    assert run(HOLDFAST_CONTRACTS="") == "[]\n"


def test_promises_are_numbered_and_speak_of_calls_that_there_are() -> None:
    numbers = sorted({one.number for one in promises.PROMISES}, key=lambda one: int(one[2:]))
    assert numbers == [f"E-{n}" for n in range(1, len(numbers) + 1)]
    assert all(callable(getattr(one.noun, call)) for one in promises.PROMISES for call in one.calls)


def test_the_page_of_contracts_lists_every_clause_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text("utf-8")
    said = {
        (one.number, one.words)
        for one in (*CLAUSES.values(), clauses.TYPED, *promises.PROMISES, *invariants.INVARIANTS)
    }
    assert [number for number, words in sorted(said) if f"| {number} | {words} |" not in page] == []
