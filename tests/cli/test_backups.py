"""backup, restore and drill on the command line: what they say, and with which code they end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import holdfast
from holdfast.cli.main import cli


@pytest.fixture
def copies(filled: Path, call: Any) -> Path:
    """A backup of the store `filled`."""
    answer = call("backup", "copies")
    assert answer.code == 0, answer.err
    return Path("copies").resolve()


def spoil(copies: Path, folder: str = "packs") -> None:
    (path, *_) = [p for p in (copies / "generations" / "000001" / folder).rglob("*") if p.is_file()]
    path.write_bytes(path.read_bytes()[:-3] + b"xxx")


def test_a_backup_says_what_it_copied_and_what_was_there(filled: Path, call: Any) -> None:
    assert "generation 1, up to change" in call("backup", "copies").text
    assert call("backup", "copies").text == "nothing has changed since generation 1\n"
    Path("more").write_bytes(b"more")
    call("put", "more", "more")
    assert "removed generation 1\n" in call("backup", "--keep", "1", "copies").text
    assert call("-q", "backup", "copies").text == ""


def test_the_commands_that_look_work_on_a_backup(copies: Path, call: Any) -> None:
    assert "docs/" in call("-C", str(copies), "ls").text
    assert call("-C", str(copies), "fsck").text.endswith("all is well\n")
    assert call("-C", str(copies), "audit", "verify").code == 0
    answer = call("-C", str(copies), "mkdir", "new")
    assert answer.code == 1
    assert "holdfast restore" in answer.err


def test_verify_ends_with_4_and_names_the_file(copies: Path, call: Any) -> None:
    answer = call("backup", "verify", str(copies))
    assert (answer.code, answer.text.splitlines()[-1]) == (0, "every byte is what was written")
    spoil(copies)
    answer = call("backup", "verify", str(copies))
    assert answer.code == 4
    assert "generations/000001/packs/" in answer.text
    assert call("backup", "verify", "--generation", "1", "--json", str(copies)).messages[-1]["exit_code"] == 4


def test_a_damaged_store_is_backed_up_with_4_and_the_next_step(filled: Path, call: Any) -> None:
    with holdfast.open(filled) as store:
        store.put("large", os.urandom(300_000))
    shutil.rmtree(filled / "blobs")
    answer = call("backup", "copies")
    assert answer.code == 4
    assert "damaged in the store: sha256:" in answer.text
    assert "fsck --repair --from" in answer.err
    assert call("drill", "copies").code == 4


def test_a_restore_says_up_to_when(copies: Path, call: Any) -> None:
    answer = call("restore", "--verify", str(copies), "new")
    assert answer.code == 0
    assert answer.text.startswith("restored generation 1 up to change")
    assert "fsck: all is well" in answer.text
    assert "docs/" in call("-C", "new", "ls").text


def test_a_restore_as_of_an_earlier_change_names_what_is_lost(filled: Path, call: Any) -> None:
    head = int(call("audit", "head").text.split(":")[0])
    assert call("rm", "top.txt").code == 0
    assert call("purge", "top.txt", "--yes").code == 0
    assert call("gc", "--grace", "0").code == 0
    call("backup", "copies")
    answer = call("restore", "--at", str(head), "--verify", "copies", "new")
    assert answer.code == 0, answer.err
    assert answer.text.startswith("purged at change")
    assert "top.txt" in call("-C", "new", "ls").text
    assert call("restore", "--at", "2001-01-01T00:00:00Z", "copies", "never").code == 2
    assert call("restore", "--at", "yesterday", "copies", "never").code == 2
    assert not Path("never").exists()


def test_a_damaged_backup_is_restored_as_far_as_it_is_whole(copies: Path, call: Any) -> None:
    spoil(copies)
    answer = call("restore", "--verify", str(copies), "new")
    assert answer.code == 4
    assert "damaged: generations/000001/packs/" in answer.text
    assert "fsck: " in answer.text
    assert call("drill", str(copies)).code == 4


def test_a_drill_leaves_a_report_and_nothing_else(copies: Path, call: Any, tmp_path: Path) -> None:
    before = sorted(os.listdir())
    answer = call("drill", str(copies), "--scratch", str(tmp_path / "scratch"), "--report", "kept.json")
    assert answer.code == 0
    assert answer.text.startswith("Restore drill: passed\n")
    assert json.loads(Path("kept.json").read_text())["passed"] is True
    assert Path("kept.txt").read_text() == answer.text
    assert sorted(os.listdir()) == sorted([*before, "kept.json", "kept.txt"])
    assert os.listdir(tmp_path / "scratch") == []


def test_a_drill_without_the_store_compares_with_what_was_written_down(copies: Path, filled: Path, call: Any) -> None:
    shutil.rmtree(filled)
    answer = CliRunner().invoke(cli, ["drill", "--json", str(copies)])
    assert answer.exit_code == 0
    assert json.loads(answer.stdout.splitlines()[-1])["store"] is None
    assert call("drill", str(copies)).code == 10, "a store that was named is to be there"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("backup", 2),
        ("backup a b", 2),
        ("backup verify a b", 2),
        ("backup verify --keep 2 copies", 2),
        ("backup --generation 1 copies", 2),
        ("backup --keep 0 copies", 2),
        ("backup verify nothing", 10),
        ("restore nothing new", 10),
        ("restore copies/nothing new", 10),
        ("restore --generation 7 copies new", 10),
        ("restore copies .", 1),
        ("drill nothing", 10),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_code(copies: Path, call: Any, words: str, code: int) -> None:
    answer = call(*words.split())
    assert answer.code == code, answer.err
    assert not Path("new").exists()
