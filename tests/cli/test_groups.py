"""Whoever says a word that a group of commands does not know is told which command does it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from holdfast.cli.main import cli


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["snapshot", "all.snapshot"], "`holdfast snapshot take all.snapshot`"),
        (["snapshot", "lst"], "Did you mean `ls`?"),
        (["export", "snapshot", "x"], "`holdfast snapshot take FILE`"),
        (["export", "treee"], "Did you mean `tree`?"),
        (["export", "zip"], "There are: "),
        (["import", "git", "--branch", "a", "--branch", "b", "repo"], "`--branch A --into repo/A`"),
    ],
)
def test_a_word_that_is_no_command_leads_to_the_one_that_was_meant(words: list[str], told: str) -> None:
    done = CliRunner().invoke(cli, words, prog_name="holdfast")
    assert done.exit_code == 2
    assert told in done.output
