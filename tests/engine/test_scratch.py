"""Folders outside the store end with their block, and with the next one if their maker was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from holdfast.engine.scratch import PREFIX, scratch_folder

HOLD = """
import sys, time
from holdfast.engine.scratch import scratch_folder
with scratch_folder() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_a_folder_is_gone_at_the_end_of_its_block_also_after_an_error(top: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder() as folder:  # noqa: PT012
        Path(folder, "x").write_text("x")
        raise ZeroDivisionError
    assert os.listdir(top) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_is_in_use_stays(top: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    left = Path(child.stdout.readline().strip())
    with scratch_folder() as folder:
        assert left.is_dir()
        assert Path(folder).is_dir()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert left.is_dir()
    with scratch_folder():
        assert not left.exists()
    assert os.listdir(top) == []


def test_folders_of_others_and_just_made_ones_are_left_alone(top: Path) -> None:
    for name in (f"{PREFIX}just-made", "something-else"):
        (top / name).mkdir()
    with scratch_folder():
        pass
    assert sorted(os.listdir(top)) == sorted([f"{PREFIX}just-made", "something-else"])
