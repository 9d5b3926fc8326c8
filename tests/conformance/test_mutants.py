"""The kit finds what is wrong: every sentence of a contract has a test that names it, and a mutant that breaks it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.blobs import contract as of_blobs
from holdfast.index import contract as of_indexes
from holdfast.journal import contract as of_journals
from holdfast.kinds import contract as of_stores
from holdfast.testing.conformance import (
    BlobStoreConformance,
    IndexConformance,
    JournalConformance,
    bench,
    contract,
    each_test,
)
from holdfast.testing.conformance.blobs import sentences as of_blob_test
from holdfast.testing.conformance.marks import sentences_of

from . import mutants
from .mutants import MUTANTS, Mutant

CONTRACTS = {
    of_blobs: (BlobStoreConformance, of_blob_test),
    of_indexes: (IndexConformance, sentences_of),
    of_stores: (IndexConformance, sentences_of),
    of_journals: (JournalConformance, sentences_of),
}
SENTENCES = [(module, number) for module in CONTRACTS for number in contract(module)]


@pytest.mark.parametrize(("module", "number"), SENTENCES, ids=[number for _, number in SENTENCES])
def test_every_sentence_has_a_test_that_names_it_and_a_mutant_that_breaks_it(module: Any, number: str) -> None:
    suite, named = CONTRACTS[module]
    assert any(number in named(test) for _, test in each_test(suite))
    assert any(number in one.breaks for one in MUTANTS)


def test_no_test_and_no_mutant_names_a_sentence_that_is_not_there() -> None:
    known = {number for _, number in SENTENCES}
    said = {one for suite, named in CONTRACTS.values() for _, test in each_test(suite) for one in named(test)}
    assert said <= known
    assert {one for mutant in MUTANTS for one in mutant.breaks} <= known
    assert len(known) == len(SENTENCES)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_is_caught(mutant: Mutant, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    test = getattr(mutant.suite, mutant.caught_by)
    named = next(names for suite, names in CONTRACTS.values() if issubclass(mutant.suite, suite) or names(test))
    assert set(named(test)) & set(mutant.breaks), f"{mutant.caught_by} shows {named(test)}"
    error = failing(mutant, test, tmp_path, caplog)
    assert error is not None
    assert not isinstance(error, (AttributeError, TypeError, NameError)), "the mutant itself does not work"
    print(mutant.name, repr(error)[:150])


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_breaks_little_else(mutant: Mutant, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of all the tests of its kit, at least one that shows what it breaks fails; which others do is written down."""
    failed = {}
    for number, (name, test) in enumerate(each_test(mutant.suite)):
        folder = tmp_path / str(number)
        folder.mkdir()
        error = failing(mutant, test, folder, caplog)
        if error is not None:
            failed[name] = repr(error)[:80]
    print(mutant.name, mutant.breaks, sorted(failed))
    assert mutant.caught_by in failed


def failing(mutant: Mutant, test: Callable[..., Any], place: Path, caplog: Any) -> BaseException | None:
    """What a test of the kit raises, run by hand with every value that it is to be run with."""
    try:
        for number, given in enumerate(_parameters(test)):
            folder = place / f"n{number}"
            folder.mkdir()
            suite = mutant.suite()
            try:
                test(suite, **_fixtures(suite, test, folder, caplog), **given)
            finally:
                bench.forget(folder)
                mutants.forget(folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return error
    return None


def _fixtures(suite: Any, test: Callable[..., Any], folder: Path, caplog: Any) -> dict[str, Any]:
    wanted = inspect.signature(test).parameters
    made: dict[str, Callable[[], Any]] = {
        "place": lambda: _journal_place(folder) if isinstance(suite, JournalConformance) else folder,
        "tmp_path": lambda: folder,
        "caplog": lambda: caplog,
        "store": lambda: suite.make_store(folder),
        "chain": JournalConformance.transactions,
    }
    return {name: make() for name, make in made.items() if name in wanted}


def _journal_place(folder: Path) -> Path:
    (folder / "journal").mkdir()
    return folder


def _parameters(test: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    marks = [one for one in getattr(test, "pytestmark", []) if one.name == "parametrize"]
    lists = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
    yield from (dict(chosen) for chosen in itertools.product(*lists))
