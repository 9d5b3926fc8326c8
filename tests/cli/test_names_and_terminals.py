"""Names as they are: bytes that are not UTF-8, newlines, escapes; in and out, on terminals and in pipes."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast

ODD = [
    b"stray-\xff\xfe",
    b"new\nline",
    b"\x1b[31mred",
    "emoji 👍 ü".encode(),
    b" lead and trail ",
    b"-dash",
    b"back\\slash\\xff",
]


def _put(process: Any, store: Path, name: bytes) -> None:
    answer = process(b"-C", os.fsencode(store), b"put", b"--", b"odd/" + name, stdin=b"content of " + name)
    assert (answer.code, answer.err) == (0, ""), name


def test_odd_names_go_in_and_out_as_arguments(folder: Path, process: Any) -> None:
    for name in ODD[:4]:
        _put(process, folder, name)
        answer = process(b"-C", os.fsencode(folder), b"cat", b"--", b"odd/" + name)
        assert answer.out == b"content of " + name


def test_names_come_out_as_true_bytes_with_null_and_escaped_otherwise(folder: Path, call: Any) -> None:
    with holdfast.open(folder) as store:
        for name in ODD:
            store.artifacts.put(b"odd/" + name, name)
    for command in ("ls", "find"):
        listed = call(command, "odd", "-z").out
        assert sorted(listed.split(b"\0")[:-1]) == sorted(b"odd/" + name for name in ODD)
        assert listed.endswith(b"\0")
        shown = call(command, "odd", "-1").text.splitlines()
        assert len(shown) == len(ODD)
        assert "odd/stray-\\xff\\xfe" in shown
        assert "odd/new\\nline" in shown
        assert "odd/\\x1b[31mred" in shown
    assert "\x1b" not in call("ls", "odd").text + call("log").text + call("show", "odd/\x1b[31mred").text


def test_names_in_collections_that_are_not_utf8_come_out_as_true_bytes(folder: Path, call: Any) -> None:
    with holdfast.open(folder) as store:
        store.artifacts.put(b"top\xff/\xfe/leaf", "x")
    assert call("find", "-z").out == b"top\xff/\xfe/leaf\0"
    found = next(one for one in call("find", "--json").messages if one["message_type"] == "artifact")
    assert found["path_hex"] == b"top\xff/\xfe/leaf".hex()


def test_json_has_the_display_form_and_the_bytes_of_a_name_that_is_not_utf8(folder: Path, call: Any) -> None:
    with holdfast.open(folder) as store:
        store.artifacts.put(b"a\xff", "x")
    found = next(one for one in call("ls", "--json").messages if one["message_type"] == "artifact")
    assert (found["name"], found["name_hex"]) == ("a\\xff", "61ff")
    assert (found["path"], found["path_hex"]) == ("a\\xff", "61ff")


def test_a_file_with_an_odd_name_is_added_and_taken_out_under_the_same_bytes(folder: Path, call: Any) -> None:
    name = b"odd \xff\n.txt"
    with open(name, "wb") as file:
        file.write(b"hello")
    assert call("add", os.fsdecode(name)).code == 0
    os.unlink(name)
    assert call("get", os.fsdecode(name)).code == 0
    with open(name, "rb") as file:
        assert file.read() == b"hello"


def test_the_locale_does_not_change_which_bytes_a_path_has(folder: Path, process: Any) -> None:
    for locale in ("C", "C.UTF-8", "POSIX"):
        answer = process(
            b"-C", os.fsencode(folder), b"put", "ü-".encode() + locale.encode(), stdin=b"x",
            env={"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        )  # fmt: skip
        assert answer.code == 0, answer.err
    with holdfast.open(folder) as store:
        names = [one.name for one in store.artifacts.find()]
    assert sorted(names) == sorted(f"ü-{locale}" for locale in ("C", "C.UTF-8", "POSIX"))


def test_slashes_at_the_ends_of_a_path_are_forgiven(filled: Path, call: Any) -> None:
    for given in ("docs", "docs/", "/docs", "./docs", "./docs/"):
        assert call("ls", "-1", given).text == "docs/deep/\ndocs/a.md\n"
    for given in ("/", ".", "./"):
        assert "docs/" in call("ls", "-1", given).text.splitlines()


def test_the_store_is_the_nearest_folder_above_that_is_one(
    filled: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = filled / "tmp"
    monkeypatch.chdir(inner)
    assert "top.txt" in call("ls", "-1", store=None).text
    monkeypatch.chdir("/")
    assert call("ls", store=None).code == 10


def test_the_option_wins_over_the_environment_and_this_over_the_folder(
    filled: Path, call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    holdfast.create(other).close()
    monkeypatch.chdir(other)
    assert call("ls", "-1", store=None).text == ""
    monkeypatch.setenv("HOLDFAST_STORE", str(filled))
    assert "top.txt" in call("ls", "-1", store=None).text
    assert call("ls", "-1", store=other).text == ""
    assert call("ls", "-1", "-C", str(other), store=None).text == ""


def _on_terminal(start: Callable[..., subprocess.Popen[bytes]], *args: str, env: dict[str, str]) -> bytes:
    outer, inner = pty.openpty()
    child = start(*args, stdout=inner, stderr=inner, env={"TERM": "xterm", **env})
    os.close(inner)
    seen = b""
    try:
        while part := os.read(outer, 65536):
            seen += part
    except OSError:
        pass  # how Linux says that the other end is closed
    os.close(outer)
    child.wait(60)
    return seen


def test_colours_are_for_terminals_whose_owner_wants_them(
    filled: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    args = ("-C", str(filled), "ls")
    assert b"\x1b[" in _on_terminal(start, *args, env={})
    assert b"\x1b[" not in _on_terminal(start, *args, env={"NO_COLOR": "1"})
    assert b"\x1b[" not in _on_terminal(start, *args, env={"TERM": "dumb"})
    assert b"\x1b[" not in _on_terminal(start, *args, "--json", env={})


def test_a_diff_on_a_terminal_cannot_play_with_it_and_in_a_pipe_is_a_patch(
    folder: Path, start: Callable[..., subprocess.Popen[bytes]], call: Any
) -> None:
    with holdfast.open(folder) as store:
        store.artifacts.put("x", "one\n")
        store.artifacts.put("x", "\x1b]0;title\x07two\n")
    assert b"\x1b]0;" not in _on_terminal(start, "-C", str(folder), "diff", "x", env={})
    assert b"+\x1b]0;title\x07two\n" in call("diff", "x").out


def test_help_does_not_load_what_only_work_needs(process: Any, start: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = start("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    _out, err = child.communicate(timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in err.decode().splitlines() if "|" in line}
    assert "click" in loaded
    assert not {"peewee", "zstandard", "rich", "sqlite3", "rich.progress", "holdfast.store"} & loaded
