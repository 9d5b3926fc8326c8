"""import, snapshot and audit foreign on the command line: what they say, and with which code they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import holdfast


@pytest.fixture
def theirs(filled: Path) -> Path:
    """An export of another store, in the folder of the test."""
    with holdfast.create("theirs", actor="Ada") as store:
        store.put("docs/theirs.md", "theirs\n")
        store.put("top.txt", "another one\n")
        store.export_tree("tree")
        store.snapshot("theirs.snapshot")
    return Path("tree")


def test_conflicts_are_named_and_end_with_1(theirs: Path, call: Any) -> None:
    answer = call("import", str(theirs))
    assert answer.code == 1
    assert "top.txt" in answer.err
    assert "--on-conflict" in answer.err


@pytest.mark.parametrize("source", ["tree", "theirs.snapshot"])
def test_each_item_is_told(theirs: Path, call: Any, source: str) -> None:
    rehearsed = call("import", source, "--on-conflict", "rename", "--dry-run", "--json")
    answer = call("import", source, "--on-conflict", "rename", "--json")
    assert (rehearsed.code, answer.code) == (0, 0)
    items = [one for one in answer.messages if one["message_type"] == "item"]
    told = {one["path"]: one["outcome"] for one in items if one["kind"] == "artifact"}
    assert told == {"docs/theirs.md": "added", "top (2).txt": "renamed"}
    assert items == [one for one in rehearsed.messages if one["message_type"] == "item"]
    summary = answer.messages[-1]
    assert (summary["merged"], summary["dry_run"]) == (True, False)
    assert summary["counts"]["added"] >= 1


def test_the_kept_chain_is_proven(theirs: Path, call: Any) -> None:
    before = call("audit", "foreign")
    assert "no chain" in before.err + before.text
    call("import", str(theirs), "--on-conflict", "theirs")
    answer = call("audit", "foreign")
    assert (answer.code, answer.text.split()[0]) == (0, "proven")


def test_a_person_reads_what_was_merged(theirs: Path, call: Any) -> None:
    answer = call("import", str(theirs), "--on-conflict", "skip")
    assert "added  artifact docs/theirs.md" in answer.text
    assert "skipped  artifact top.txt" in answer.text
    assert "merged: " in answer.err + answer.text


def test_snapshots_are_listed_and_taken_apart(theirs: Path, call: Any) -> None:
    answer = call("snapshot", "ls", "theirs.snapshot", "files")
    assert [line.split()[1] for line in answer.text.splitlines() if "files/" in line] == [
        "files/top.txt", "files/docs/theirs.md"]  # fmt: skip
    assert call("snapshot", "extract", "theirs.snapshot", "part", "files/docs").code == 0
    assert Path("part/files/docs/theirs.md").read_text() == "theirs\n"
    assert call("snapshot", "extract", "theirs.snapshot", "part", "nowhere").code == 1
    assert call("snapshot", "take", "theirs.snapshot").code == 1
    assert call("snapshot", "take", "theirs.snapshot", "-f", "docs").code == 0
    assert call("snapshot", "ls", "top.txt").code == 1


def test_the_log_says_who_made_first_what_a_merge_brought(theirs: Path, call: Any) -> None:
    call("import", str(theirs), "--on-conflict", "skip")
    lines = {"theirs.md" in line: line for line in call("log", "docs/theirs.md").text.splitlines()}
    assert "(first by Ada, 20" in lines[True]
    assert "first by" not in call("log", "top.txt").text
