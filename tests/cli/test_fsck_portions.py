"""`holdfast fsck` in portions: what it takes, what it says, how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def test_a_sample_says_its_seed_and_takes_it_again(filled: Path, call: Any) -> None:
    shown = call("fsck", "--sample", "2")
    assert shown.code == 0
    assert "drawn with --seed " in shown.text
    answer = call("fsck", "--sample", "2", "--seed", "7", "--json").messages[-1]
    assert (answer["read"], answer["portion"]["seed"]) == (2, 7)


def test_parts_and_shares_are_taken_as_other_tools_take_them(filled: Path, call: Any) -> None:
    read = [call("fsck", "--read-data-subset", f"{n}/2", "--json").messages[-1]["read"] for n in (1, 2)]
    assert sum(read) == call("fsck", "--json").messages[-1]["read"] > 0
    assert call("fsck", "--read-data-subset", "50%").code == 0
    assert call("fsck", "--read-data-subset", "1M").code == 0


def test_time_that_suffices_finishes_a_pass(filled: Path, call: Any) -> None:
    answer = call("fsck", "--max-duration", "10min", "--json")
    assert (answer.code, answer.messages[-1]["full_pass"]["finished"]) == (0, True)


def test_time_that_is_up_ends_with_3_and_the_next_goes_on(
    filled: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.care.fsck.reading._WORKERS", 1)
    monkeypatch.setattr("holdfast.care.fsck.reading._AHEAD", 0)
    monkeypatch.setattr("holdfast.care.fsck.passes.Pass.over", lambda _: True)
    shown = call("fsck", "--max-duration", "1s")
    assert shown.code == 3
    assert "goes on from here" in shown.text
    assert "all is well so far" in shown.text


@pytest.mark.parametrize(
    "words",
    [("--quick", "--sample", "3"), ("--sample", "3", "--max-duration", "1h"), ("--sample", "1/3"), ("--sample", "x"),
     ("--read-data-subset", "200"), ("--read-data-subset", "5/3"), ("--seed", "3"), ("--repair", "--sample", "3"),
     ("--max-duration", "0s"), ("--read-data-subset", "1/3", "--seed", "3")],
)  # fmt: skip
def test_what_makes_no_sense_together_is_refused(filled: Path, call: Any, words: tuple[str, ...]) -> None:
    assert call("fsck", *words).code == 2
