"""--tenant: the command as one tenant sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import holdfast
from holdfast.cli.main import cli


def call(store: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["-C", str(store), *words])
    assert done.exit_code == code, done.output
    return done.output


def test_a_tenant_named_by_option_or_environment_sees_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    holdfast.create(store).close()
    (tmp_path / "f.txt").write_text("theirs")
    call(store, "--tenant", "b", "put", "secret.txt", str(tmp_path / "f.txt"))

    assert "secret" in call(store, "--tenant", "b", "ls")
    assert "secret" in call(store, "ls", "--tenant", "b")
    assert "secret" not in call(store, "--tenant", "a", "ls")
    monkeypatch.setenv("HOLDFAST_TENANT", "a")
    assert "secret" not in call(store, "find")
    call(store, "show", "secret.txt", code=1)
    call(store, "outbox", "create", "books")
    assert "books" not in call(store, "--tenant", "b", "outbox", "list")
    for words in (["gc"], ["fsck"], ["status"], ["rebuild"]):
        assert "whole store" in call(store, *words, code=1)
