"""What the tests of the command line share: a store, the command in this process, and the command as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import holdfast
from holdfast.cli.main import cli


@dataclass
class Answer:
    """How a command ended and what it wrote."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        found = json.loads(self.err)
        assert found["message_type"] == "error"
        return dict(found)


Command = Callable[..., Answer]


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_not_ignored() -> None:
    """A shell starts what is in its background deaf to SIGINT, and so would be all that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOLDFAST_STORE", "HOLDFAST_DEBUG", "HOLDFAST_LOCK_WAIT", "HOLDFAST_TENANT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOLDFAST_ACTOR", "tess")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A new, empty store."""
    path = tmp_path / "store"
    holdfast.create(path).close()
    return path


@pytest.fixture
def filled(folder: Path) -> Path:
    """A store with two collections, three artifacts (one of two revisions), a relationship and a run."""
    with holdfast.open(folder, actor="tess") as store:
        store.artifacts.put("docs/a.md", "alpha\n", metadata={"score": 1}, message="first")
        store.artifacts.put("docs/a.md", "alpha\nbeta\n", tags=["draft"])
        store.artifacts.put("docs/deep/b.bin", bytes(range(256)) * 8)
        store.artifacts.put("top.txt", "zebra crossing")
        store.relationships.relate("docs/a.md", "derived_from", "top.txt")
        with store.runs.start("train", parameters={"rate": 0.5}) as run:
            run.input(store.artifacts.get("top.txt"))
            store.artifacts.put("made.txt", "by a run")
    return folder


@pytest.fixture
def call(folder: Path) -> Command:
    """The command in this process, on the store of the test: call("ls", "docs", stdin=b"…")."""

    def run(*args: str, stdin: bytes = b"", store: Path | None = folder) -> Answer:
        where = [] if store is None else ["-C", str(store)]
        result = CliRunner().invoke(cli, [*where, *args], input=stdin, prog_name="holdfast")
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Answer(result.exit_code, result.stdout_bytes, result.stderr)

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """The command as a process of its own: start("ls", env={…}, **options of Popen)."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*args: str | bytes, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        source = str(Path(holdfast.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": source, **(env or {})}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        # What runs in the background of a shell without job control inherits that Ctrl-C is ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            child = subprocess.Popen([sys.executable, "-m", "holdfast", *args], env=environment, **options)
        finally:
            signal.signal(signal.SIGINT, before)
        started.append(child)
        return child

    yield run
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def process(start: Callable[..., subprocess.Popen[bytes]]) -> Command:
    """The command as a process of its own, waited for."""

    def run(*args: str | bytes, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Answer:
        more = {} if stdin is None else {"stdin": subprocess.PIPE}
        child = start(*args, env=env, **more)
        out, err = child.communicate(stdin, timeout=120)
        return Answer(child.returncode, out, err.decode())

    return run
