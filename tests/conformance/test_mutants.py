"""The kit finds what is wrong: every sentence of a contract has a test that names it, and a mutant that breaks it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.blobs import contract as of_blobs
from holdfast.blobs import streams as of_streams
from holdfast.index import contract as of_indexes
from holdfast.index import keeper as of_keepers
from holdfast.journal import contract as of_journals
from holdfast.kinds import contract as of_stores
from holdfast.testing.conformance import (
    BlobStoreConformance,
    IndexConformance,
    JournalConformance,
    KeeperConformance,
    StreamConformance,
    bench,
    contract,
    each_test,
)
from holdfast.testing.conformance.blobs import sentences as of_blob_test
from holdfast.testing.conformance.marks import EVERYTHING, demand, sentences_of

from . import dict_keeper as dict_keeper  # noqa: PLC0414 - it registers mutants
from . import mutants
from . import strange_mutants as strange_mutants  # noqa: PLC0414 - as above
from .mutants import MUTANTS, Mutant

CONTRACTS = {
    of_blobs: (BlobStoreConformance, of_blob_test),
    of_indexes: (IndexConformance, sentences_of),
    of_keepers: (KeeperConformance, sentences_of),
    of_stores: (IndexConformance, sentences_of),
    of_journals: (JournalConformance, sentences_of),
    of_streams: (StreamConformance, sentences_of),
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
    assert set(shown_by(mutant, test)) & set(mutant.breaks), f"{mutant.caught_by} shows {shown_by(mutant, test)}"
    error = failing(mutant, test, tmp_path, caplog)
    assert error is not None
    assert not isinstance(error, (AttributeError, TypeError, NameError)), "the mutant itself does not work"
    print(mutant.name, repr(error)[:150])


def may_fail(mutant: Mutant, test: Callable[..., Any]) -> bool:
    """Whether a test shows a sentence that a mutant breaks, or that falls with one."""
    return bool(set(shown_by(mutant, test)) & {*mutant.breaks, *mutant.drags})


def shown_by(mutant: Mutant, test: Callable[..., Any]) -> tuple[str, ...]:
    named = of_blob_test if issubclass(mutant.suite, BlobStoreConformance) else sentences_of
    return named(test)


def test_every_test_of_the_kit_says_what_it_shows() -> None:
    every = {(suite, name): named(test) for suite, named in CONTRACTS.values() for name, test in each_test(suite)}
    assert [name for (_, name), found in every.items() if not found] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_is_not_caught_by_a_test_of_something_else(
    mutant: Mutant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One of these tests, another for each mutant: all of them are run in the soak below."""
    others = [test for _, test in each_test(mutant.suite) if not may_fail(mutant, test)]
    if others:
        assert failing(mutant, others[sum(map(ord, mutant.name)) % len(others)], tmp_path, caplog) is None


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_fails_exactly_the_tests_of_what_it_breaks(
    mutant: Mutant, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of all the tests of its kit: none fails that shows nothing of it, and each sentence that it is said to break,
    or to drag along, has a test that fails.
    """
    failed: dict[str, tuple[str, ...]] = {}
    for number, (name, test) in enumerate(each_test(mutant.suite)):
        folder = tmp_path / str(number)
        folder.mkdir()
        caplog.clear()
        error = failing(mutant, test, folder, caplog)
        if error is not None:
            failed[name] = shown_by(mutant, test)
            assert may_fail(mutant, test), (name, failed[name], repr(error)[:200])
            assert not isinstance(error, (AttributeError, TypeError, NameError)), (name, repr(error)[:200])
    shown = {number for found in failed.values() for number in found}
    assert mutant.caught_by in failed
    assert {*mutant.breaks, *mutant.drags} <= shown, {*mutant.breaks, *mutant.drags} - shown


def failing(mutant: Mutant, test: Callable[..., Any], place: Path, caplog: Any) -> BaseException | None:
    """What a test of the kit raises, run by hand with every value that it is to be run with."""
    try:
        for number, given in enumerate(_parameters(test)):
            folder = place / f"n{number}"
            folder.mkdir()
            suite = mutant.suite()
            try:
                demand(test, getattr(suite, "capabilities", EVERYTHING))
                test(suite, **_fixtures(suite, test, folder, caplog), **given)
            finally:
                bench.forget(folder)
                mutants.forget(folder)
    except pytest.skip.Exception:
        return None  # it does not claim to be able to
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
