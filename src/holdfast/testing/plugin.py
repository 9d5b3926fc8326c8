"""The pytest plugin of the kit: failing tests show their values, and `--holdfast-sentences` says what each shows.

It is found by its entry point where Holdfast is installed, so it imports nothing until it is asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

pytest.register_assert_rewrite(
    *(
        f"holdfast.testing.conformance.{name}"
        for name in ("answers", "blobs", "indexes", "journals", "keepers", "stores", "streams")
    ),
    "holdfast.testing.blobs",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--holdfast-sentences`."""
    parser.getgroup("holdfast").addoption(
        "--holdfast-sentences", action="store_true", help="say which sentences of Holdfast's contracts were shown"
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what became of each test of the kit."""
    said = dict(report.user_properties).get("sentences")
    if said and (report.when == "call" or report.outcome != "passed"):
        for sentence in str(said).split():
            _outcomes.setdefault(sentence, set()).add(report.outcome)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which sentences a test shows."""
    test = getattr(item, "function", None)
    kit = sys.modules.get("holdfast.testing.conformance.blobs")  # whoever runs a test of the kit has imported it
    if test is not None and kit is not None and "holdfast.testing" in getattr(test, "__module__", ""):
        said = kit.sentences(test)
        if said:
            item.user_properties.append(("sentences", " ".join(said)))


_outcomes: dict[str, set[str]] = {}


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """One line for each sentence: shown, broken, or not claimed."""
    if not config.getoption("--holdfast-sentences"):
        return
    terminalreporter.section("sentences of the contracts")
    for sentence in sorted(_outcomes, key=lambda one: (one[0], int(one[2:]))):
        outcomes = _outcomes[sentence]
        word = "broken" if "failed" in outcomes else "shown" if "passed" in outcomes else "not claimed"
        terminalreporter.write_line(f"{sentence:5} {word}")
