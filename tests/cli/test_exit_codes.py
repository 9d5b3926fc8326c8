"""Exit codes: each code of the table that a user can bring about, brought about."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

import holdfast
from holdfast import errors
from holdfast.cli import main
from holdfast.cli.exits import MEANINGS, Exit
from holdfast.cli.invocation import Invocation


def test_the_codes_are_those_of_the_design() -> None:
    assert {int(code) for code in Exit} == {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 130}
    assert set(MEANINGS) == set(Exit)


def test_every_error_ends_in_a_code_of_the_table() -> None:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.HoldfastError)]
    assert len(found) > 20
    assert {one.exit_code for one in found} <= {int(code) for code in Exit}


def test_0_when_all_was_done(filled: Path, call: Any) -> None:
    assert call("ls").code == 0


def test_1_when_it_failed(filled: Path, call: Any) -> None:
    assert call("cat", "nowhere").code == 1
    assert call("put", "x", "no-such-file").code == 1


def test_2_when_the_call_is_wrong(filled: Path, call: Any) -> None:
    for args in (["ls", "--nope"], ["put"], ["put", "a//b", "-"], ["find", "--where", "((("], ["nonsense"], []):
        assert call(*args).code == 2, args


def test_3_when_some_files_could_not_be_read_and_the_rest_is_in(folder: Path, call: Any) -> None:
    Path("good.txt").write_text("good")
    answer = call("add", "good.txt", "missing.txt")
    assert answer.code == 3
    assert "missing.txt" in answer.err
    assert call("cat", "good.txt").text == "good"


def test_1_when_nothing_at_all_could_be_added(folder: Path, call: Any) -> None:
    assert call("add", "missing.txt").code == 1


def _blob_of(store: Path, text: bytes) -> Path:
    name = hashlib.sha256(text).hexdigest()
    return store / "blobs" / name[:2] / f"{name}.zst"


@pytest.mark.usefixtures("without_packs")
def test_4_when_fsck_has_findings(filled: Path, call: Any) -> None:
    blob = _blob_of(filled, b"zebra crossing")
    blob.write_bytes(blob.read_bytes()[:-3])
    answer = call("fsck", "--json")
    assert answer.code == 4
    findings = [one for one in answer.messages if one["message_type"] == "finding"]
    assert findings
    assert {"code", "severity", "remedy"} <= findings[0].keys()
    assert answer.messages[-1]["exit_code"] == 4
    shown = call("fsck")
    assert shown.code == 4
    assert "hint: " in shown.text
    assert call("cat", "top.txt").code == 1


def test_5_when_all_findings_are_repaired(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"counts": {"x": 2}, "checked": {"blobs": 1}, "duration_s": 0.1}
    report = SimpleNamespace(findings=(), exit_code=5, portion=None, full_pass=None, as_dict=lambda: values, **values)
    monkeypatch.setattr("holdfast.cli.upkeep.check_path", lambda *_args, **_more: report)
    answer = call("fsck")
    assert answer.code == 5
    assert "2 findings, all repaired" in answer.text


def test_10_when_the_folder_is_not_a_store(tmp_path: Path, call: Any) -> None:
    for words in (["ls"], ["status"], ["fsck"], ["rebuild"], ["recover"], ["gc"], ["log"], ["put", "x"]):
        answer = call(*words, store=tmp_path / "here", stdin=b"x")
        assert answer.code == 10, words
        assert "holdfast init" in answer.err


def test_11_when_somebody_else_holds_the_lock(filled: Path, process: Any) -> None:
    with holdfast.open(filled) as store, store.transaction():
        store.artifacts.put("held", "x")
        answer = process("-C", str(filled), "--lock-wait", "0.1", "--json", "put", "y", stdin=b"y")
    assert answer.code == 11
    assert answer.error["code"] == "locked"


def test_12_when_the_format_is_too_new(filled: Path, call: Any) -> None:
    marker = filled / "holdfast.json"
    value = json.loads(marker.read_text())
    marker.write_text(json.dumps({**value, "format": 99}))
    answer = call("ls", "--json")
    assert (answer.code, answer.error["code"]) == (12, "format-too-new")


def test_13_when_there_is_no_space(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_more: Any) -> None:
        raise errors.NoSpaceError("no space left to write", path="x")

    monkeypatch.setattr("holdfast.cli.stores.holdfast.doctor", full)
    assert call("doctor").code == 13


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (errors.CancelledError("stopped"), 130, "interrupted"),
        (RuntimeError("boom"), 1, "this is a bug in holdfast: RuntimeError: boom"),
        (MemoryError(), 1, "MemoryError"),
        (RecursionError("deep"), 1, "RecursionError"),
        (PermissionError(13, "Permission denied", "secret\x1b[31m"), 1, "Permission denied"),
        (errors.SchemaTooNewError("schema 9", found=9, known=1), 12, "schema 9"),
    ],
)
def test_whatever_is_raised_ends_in_a_code_and_a_hint_without_a_traceback(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.ended_by(error, Invocation()) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "hint: " in shown
    assert "Traceback" not in shown
    assert "\x1b" not in shown


def test_a_bug_shows_its_traceback_to_who_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOLDFAST_DEBUG", "1")
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("boom")
    main.ended_by(caught.value, Invocation())
    assert "Traceback" in capsys.readouterr().err


def test_130_on_ctrl_c_while_waiting_and_nothing_is_written(
    folder: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    child = start("-C", str(folder), "put", "x", "-", stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(b"some bytes that wait for more")
    child.stdin.flush()
    _until_taken(child.stdin)
    child.send_signal(signal.SIGINT)
    _out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    with holdfast.open(folder) as store:
        assert list(store.artifacts.find()) == []


def test_130_on_ctrl_c_in_a_moment_when_python_ignores_it(folder: Path) -> None:
    given = f"""
import sys, threading, time
from holdfast.__main__ import main

class Finalized:
    def __del__(self):
        raise KeyboardInterrupt

def lose_one():
    while sys.unraisablehook is sys.__unraisablehook__:
        time.sleep(0.01)
    Finalized()

threading.Thread(target=lose_one, daemon=True).start()
sys.argv = ["holdfast", "-C", {str(folder)!r}, "put", "x", "-"]
main()
"""
    child = subprocess.Popen([sys.executable, "-c", given], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.wait(timeout=60) in {130, -signal.SIGINT}
    _out, err = child.communicate()
    assert b"interrupted" in err
    assert b"Traceback" not in err


def test_130_on_ctrl_c_while_a_tree_goes_in_and_the_same_again_goes_on(
    folder: Path, start: Callable[..., subprocess.Popen[bytes]], call: Any
) -> None:
    Path("tree").mkdir()
    for n in range(12_000):
        Path(f"tree/{n}").write_bytes(b"%d" % n * 50)
    child = start("-C", str(folder), "add", "tree", "--json")
    _until_staging(folder)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    error = json.loads(err)
    assert error["code"] == "interrupted"
    assert "goes on" in error["remedy"]
    assert b"summary" not in out
    assert call("fsck").code == 0
    assert call("add", "tree", "--json").messages[-1]["left_out"] == 0
    assert call("find", "tree", "--json").messages[-1]["artifacts"] == 12_000
    assert os.listdir(folder / "tmp") == []


def _until_taken(pipe: IO[bytes]) -> None:
    """Wait until the other process has read all that was written, and so waits for more."""
    deadline = time.monotonic() + 60
    while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0] and time.monotonic() < deadline:
        time.sleep(0.01)


def _until_staging(folder: Path) -> None:
    """Wait until the other process has the store open."""
    deadline = time.monotonic() + 60
    while not os.path.exists(folder / "index.sqlite3-wal") and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("args", [["ls", "-R"], ["cat", "big"], ["log"], ["--help"], ["ls", "-R", "--json"]])
def test_a_reader_that_leaves_early_ends_the_command_silently(
    args: list[str], folder: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with holdfast.open(folder) as store:
        store.artifacts.put("big", b"0123456789" * 100_000)
        with store.transaction():
            for n in range(200):
                store.artifacts.put(f"some/{'long' * 50}{n}", str(n))
    reading, writing = os.pipe()
    os.close(reading)
    child = start("-C", str(folder), *args, stdout=writing)
    os.close(writing)
    _out, err = child.communicate(timeout=60)
    assert err == b""
    assert child.returncode == 1


def test_output_that_cannot_be_written_is_an_error(folder: Path, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    with open("/dev/full", "wb") as full:
        child = start("--help", stdout=full)
        _out, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert err.startswith(b"error: ")
    assert b"No space left" in err
    assert b"Exception ignored" not in err
