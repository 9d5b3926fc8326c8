"""Progress: a bar for people on a terminal, lines of JSON for programs, silence in pipes."""

from __future__ import annotations

import os
import pty
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.cli import progress
from holdfast.cli.output import Output


@pytest.mark.parametrize(
    ("done", "total", "unit", "said"),
    [
        (1200, 5000, "files", "1,200/5,000 files"),
        (3, None, "transactions", "3 transactions"),
        (1536, 2048, "bytes", "1.5 KiB/2.0 KiB"),
    ],
)
def test_progress_says_how_far_in_words(done: int, total: int | None, unit: str, said: str) -> None:
    assert progress.amount(done, total, unit) == said


def test_programs_get_a_line_a_second_and_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 0.5, 1.5, 1.6, 2.6])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.meter(Output(json=True), wanted=True) as meter:
        for done in range(4):
            meter(done, 4, "name\x1b", "files")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        '{"message_type": "status", "done": 1, "total": 4, "what": "name\\u001b", "unit": "files"}',
        '{"message_type": "status", "done": 3, "total": 4, "what": "name\\u001b", "unit": "files"}',
    ]


@pytest.mark.parametrize(("json", "quiet", "wanted"), [(True, False, False), (False, True, True), (False, False, True)])
def test_there_is_silence_when_asked_for_and_where_there_is_no_terminal(
    json: bool, quiet: bool, wanted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.meter(Output(json=json, quiet=quiet), wanted=wanted) as meter:
        meter(1, 2, "x", "files")
    assert type(meter) is progress.Silent
    assert capsys.readouterr() == ("", "")


def all_of(outer: int) -> bytes:
    """What was written to a terminal until its other end was closed; one read may bring only the first part of it."""
    seen = b""
    try:
        while part := os.read(outer, 65536):
            seen += part
    except OSError:
        pass  # how Linux says that the other end is closed
    os.close(outer)
    return seen


def test_a_bar_shows_the_name_safely_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 120))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    with open(inner, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setattr(progress, "PATIENCE_S", 0)
        with progress.meter(Output(), wanted=True) as meter:
            assert type(meter) is progress.Bar
            meter(1, 3, "evil\x1b]0;title\x07[bold]", "files")
    seen = all_of(outer)
    assert b"evil\\x1b]0;title\\x07[bold]" in seen
    assert b"1/3 files" in seen
    assert b"\x1b]0;" not in seen


def test_a_bar_that_is_never_due_does_not_load_rich(
    folder: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    Path("file").write_text("x")
    outer, inner = pty.openpty()
    child = start("-C", str(folder), "add", "file", stderr=inner, env={"PYTHONPROFILEIMPORTTIME": "1"})
    os.close(inner)
    seen = all_of(outer)
    child.communicate(timeout=60)
    assert child.returncode == 0
    assert b"holdfast.index" in seen
    assert b" rich" not in seen


def test_long_commands_take_no_progress(filled: Path, call: Any) -> None:
    for words in (["fsck"], ["gc"], ["repack"], ["rebuild"], ["recover"]):
        assert call(*words, "--no-progress", "--json").messages[-1]["message_type"] == "summary"
    with holdfast.open(filled) as store:
        assert store.artifacts.read("top.txt") == b"zebra crossing"
