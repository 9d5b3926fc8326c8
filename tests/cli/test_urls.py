"""A URL may have a password: none is to be on a command line, in an error, or with processes that only help."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.cli.main import cli
from holdfast.cli.urls import has_password
from holdfast.exchange import hands

SECRET = "s3cr3t-geheim"
URL = f"nobody://ada:{SECRET}@host/db"


@pytest.fixture
def told() -> Callable[..., Any]:
    return lambda *words: CliRunner().invoke(cli, list(words))


@pytest.mark.parametrize("option", ["--index", "--blobs"])
def test_a_password_on_the_command_line_is_warned_of_and_repeated_nowhere(
    option: str, told: Callable[..., Any], tmp_path: Path
) -> None:
    found = told("init", option, URL, str(tmp_path / "store"))
    assert found.exit_code != 0
    assert "warning" in found.stderr
    assert "PGPASSFILE" in found.stderr
    assert SECRET not in found.stdout + found.stderr


def test_a_url_is_taken_from_a_file_without_a_warning(told: Callable[..., Any], tmp_path: Path) -> None:
    kept = tmp_path / "url"
    kept.write_text(f"{URL}\n")
    for words in (("init", "--index", f"@{kept}", str(tmp_path / "store")),):
        found = told(*words)
        assert "nobody://" in found.stderr  # it was read, and nobody serves it
        assert "warning" not in found.stderr
        assert SECRET not in found.stdout + found.stderr
    for wrong in ("", f"{URL}\n{URL}\n", b"\xff\xfe"):
        kept.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        found = told("init", "--index", f"@{kept}", str(tmp_path / "store"))
        assert found.exit_code == 2
        assert "one line" in found.stderr
        assert SECRET not in found.stderr
    found = told("init", "--index", f"@{tmp_path}/nowhere", str(tmp_path / "store"))
    assert "nowhere" in found.stderr
    assert not (tmp_path / "store").exists()


def test_what_has_a_password_is_known() -> None:
    assert all(map(has_password, (URL, f"postgresql:///db?password={SECRET}", f"postgresql://:{SECRET}@h/d")))
    assert not any(map(has_password, ("postgresql://ada@host/db", "table:///a/file", "http://[", "@file")))


def test_helping_processes_get_no_password_in_words_or_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As /proc tells of a helper that is at work."""
    for name in ("HOLDFAST_INDEX", "HOLDFAST_BLOBS", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.setenv(name, URL)
    child = hands._started()
    try:
        facts = Path(f"/proc/{child.pid}")
        until = time.monotonic() + 60
        while not (found := (facts / "cmdline").read_bytes()).count(b"hand") and time.monotonic() < until:
            time.sleep(0.01)  # between fork and exec it is still what started it
        found += (facts / "environ").read_bytes()
    finally:
        assert child.stdin is not None
        child.stdin.close()
        hands._end(child)
    assert b"PYTHONPATH=" in found
    assert SECRET.encode() not in found
    assert os.environ["PGPASSWORD"] == URL
