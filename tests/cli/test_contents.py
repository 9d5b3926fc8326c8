"""put, get, cat, add, revert, purge, diff: contents in and out by the command line, byte for byte."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

import holdfast


def test_put_takes_standard_input_or_a_file_and_tells_new_from_unchanged(folder: Path, call: Any) -> None:
    first = call("put", "a/b.txt", "--json", stdin=b"one").document
    assert (first["created"], first["changed"], first["artifact"]["revision"]["number"]) == (True, True, 1)
    Path("f").write_bytes(b"two")
    second = call("put", "a/b.txt", "f", "-m", "why", "--json").document
    assert (second["created"], second["changed"]) == (False, True)
    assert second["artifact"]["revision"]["message"] == "why"
    assert call("put", "a/b.txt", "f", "--json").document["changed"] is False
    assert "unchanged" in call("put", "a/b.txt", "f").text
    assert call("put", "a/b.txt", "-", stdin=b"three").code == 0
    assert call("cat", "a/b.txt").out == b"three"
    assert call("cat", "-r", "1", "a/b.txt").out == b"one"


def test_put_keeps_all_that_is_said(folder: Path, call: Any) -> None:
    Path("m.json").write_text('{"from_file": true, "both": 1}')
    said = ["--type", "note", "--status", "draft", "--media-type", "text/x-mine", "--tag", "t", "--tag", "s"]
    meta = ["--meta", "both=2", "--meta", 'list=["a"]', "--meta-json", "m.json"]
    call("put", "x", *said, *meta, stdin=b"x")
    found = call("show", "x", "--json").document
    assert (found["type"], found["status"], found["tags"]) == ("note", "draft", ["s", "t"])
    assert found["revision"]["media_type"] == "text/x-mine"
    assert found["revision"]["metadata"] == {"from_file": True, "both": 2, "list": ["a"]}
    assert found["revision"]["actor"] == "tess"


def test_put_expects_what_it_is_told_to_and_writes_nothing_otherwise(filled: Path, call: Any) -> None:
    assert call("put", "docs/a.md", "--expect", "2", stdin=b"three").code == 0
    answer = call("put", "docs/a.md", "--expect", "2", "--json", stdin=b"four")
    assert (answer.code, answer.error["code"]) == (1, "expectation-failed")
    assert answer.error["fields"] == {"expected": 2, "found": 3}
    assert call("put", "docs/a.md", "--expect", "0", stdin=b"x").code == 1
    assert call("cat", "docs/a.md").out == b"three"
    assert call("put", "new", "--expect", "0", stdin=b"x").code == 0


def test_metadata_that_is_no_json_is_refused_before_anything_is_written(folder: Path, call: Any) -> None:
    Path("m.json").write_text("[1]")
    for args in (["--meta", "nokey"], ["--meta", 'k={"x'], ["--meta-json", "m.json"], ["--meta-json", "none.json"]):
        assert call("put", "x", *args, stdin=b"x").code in {1, 2}
    assert call("ls", "-1").text == ""


def test_put_of_a_folder_points_to_add(folder: Path, call: Any) -> None:
    answer = call("put", "x", ".")
    assert answer.code == 2
    assert "holdfast add" in answer.err


def test_a_file_comes_back_with_its_bytes_mode_and_time(folder: Path, call: Any) -> None:
    data = os.urandom(300_000)
    Path("tool").write_bytes(data)
    Path("tool").chmod(0o4751)
    os.utime("tool", ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789))
    assert call("put", "bin/tool", "tool").code == 0
    assert call("get", "bin/tool", "-o", "back").code == 0
    found = Path("back").stat()
    assert Path("back").read_bytes() == data
    assert stat.S_IMODE(found.st_mode) == 0o751
    assert found.st_mtime_ns == 1_600_000_000_123_456_789


def test_get_takes_the_name_of_the_artifact_a_file_a_folder_or_standard_output(filled: Path, call: Any) -> None:
    call("get", "docs/a.md")
    assert Path("a.md").read_bytes() == b"alpha\nbeta\n"
    Path("folder").mkdir()
    call("get", "docs/a.md", "-r", "1", "-o", "folder")
    assert Path("folder/a.md").read_bytes() == b"alpha\n"
    assert call("get", "docs/a.md", "-o", "-").out == b"alpha\nbeta\n"


def test_get_replaces_a_file_only_if_told_to(filled: Path, call: Any) -> None:
    Path("a.md").write_text("mine")
    assert call("get", "docs/a.md").code == 1
    assert Path("a.md").read_text() == "mine"
    assert call("get", "-f", "docs/a.md").code == 0
    assert Path("a.md").read_bytes() == b"alpha\nbeta\n"


def test_get_writes_to_a_device_and_never_replaces_it(filled: Path, call: Any) -> None:
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert call("get", "docs/a.md", "-f", "-o", "pipe").code == 0
    assert os.read(reader, 100) == b"alpha\nbeta\n"
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    os.close(reader)


@pytest.mark.usefixtures("without_packs")
def test_get_of_damaged_content_leaves_no_file_and_no_temporary(
    filled: Path, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for blob in (filled / "blobs").rglob("*.zst"):
        blob.write_bytes(blob.read_bytes()[:-1])
    assert call("get", "docs/deep/b.bin").code == 1
    assert os.listdir(".") == []


def test_symbolic_links_come_out_as_links(folder: Path, call: Any) -> None:
    Path("tree").mkdir()
    os.symlink("../where ever", "tree/link")
    assert call("add", "tree").code == 0
    assert call("get", "tree/link", "-o", "out").code == 0
    assert os.readlink("out") == "../where ever"
    assert call("cat", "tree/link").out == b"../where ever"


def test_add_takes_trees_in_and_again_only_what_changed(folder: Path, call: Any) -> None:
    Path("tree/deep").mkdir(parents=True)
    for n in range(5):
        Path(f"tree/deep/{n}").write_text(str(n))
    first = call("add", "tree", "--into", "in", "--json").messages[-1]
    assert (first["message_type"], first["added"], first["left_out"]) == ("summary", 5, 0)
    Path("tree/deep/3").write_text("changed")
    second = call("add", "tree", "--into", "in", "--json").messages[-1]
    assert (second["added"], second["revised"], second["unchanged"]) == (0, 1, 4)
    assert call("cat", "in/tree/deep/3").text == "changed"


def test_what_add_leaves_out_is_named_on_standard_error_even_when_quiet(folder: Path, call: Any) -> None:
    os.mkfifo("pipe")
    Path("good").write_text("x")
    answer = call("-q", "add", "pipe", "good")
    assert answer.code == 3
    assert "pipe" in answer.err
    problem = call("add", "pipe", "good", "--json").messages[0]
    assert problem["message_type"] == "problem"
    assert {"path", "code", "reason"} <= problem.keys()


def test_cat_writes_several_contents_one_after_the_other(filled: Path, call: Any) -> None:
    assert call("cat", "docs/a.md", "top.txt", "docs/a.md").out == b"alpha\nbeta\nzebra crossingalpha\nbeta\n"


def test_cat_of_a_collection_says_that_it_is_one(filled: Path, call: Any) -> None:
    answer = call("cat", "docs")
    assert answer.code == 1
    assert "is a collection" in answer.err


def test_revert_makes_the_old_content_a_new_revision(filled: Path, call: Any) -> None:
    found = call("revert", "docs/a.md", "1", "-m", "back", "--json").document
    assert found["artifact"]["revision"]["number"] == 3
    assert call("cat", "docs/a.md").out == b"alpha\n"
    assert call("cat", "docs/a.md", "-r", "2").out == b"alpha\nbeta\n"


def test_purge_asks_or_is_told_and_gives_up_the_bytes(filled: Path, call: Any) -> None:
    assert call("purge", "docs/a.md", "-r", "1").code == 2
    dry = call("purge", "docs/a.md", "-r", "1", "--dry-run", "--json").document
    assert [one["number"] for one in dry["purged"]] == [1]
    assert call("cat", "docs/a.md", "-r", "1").code == 0
    assert call("purge", "docs/a.md", "-r", "1", "--yes").code == 0
    answer = call("cat", "docs/a.md", "-r", "1", "--json")
    assert answer.code in {0, 1}
    assert call("cat", "docs/a.md", "-r", "1").code == 1
    assert call("cat", "docs/a.md").code == 0


def test_purge_of_a_live_artifact_says_to_delete_it_first(filled: Path, call: Any) -> None:
    answer = call("purge", "top.txt", "--yes")
    assert answer.code == 1
    assert "holdfast rm" in answer.err


def test_diff_shows_lines_and_for_binary_content_sizes_and_digests(filled: Path, call: Any) -> None:
    assert "+beta" in call("diff", "docs/a.md").text.splitlines()
    assert "-beta" in call("diff", "docs/a.md", "2", "1").text.splitlines()
    with holdfast.open(filled) as store:
        store.artifacts.put("docs/deep/b.bin", b"\xff\xfe")
    shown = call("diff", "docs/deep/b.bin")
    assert shown.code == 0
    assert "2.0 KiB" in shown.text
    assert "2 B" in shown.text
    assert call("diff", "docs/deep/b.bin", "--json").document["binary"] is True


def test_diff_of_a_single_revision_says_that_there_is_nothing_to_compare(filled: Path, call: Any) -> None:
    answer = call("diff", "top.txt")
    assert answer.code == 2
    assert "one revision only" in answer.err
