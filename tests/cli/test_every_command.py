"""What holds for every command: it has help, answers in JSON, and never shows a traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from holdfast.cli.main import TABLE, cli


def leaves() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    for name in TABLE:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from (((name, inner), one) for inner, one in command.commands.items())
        else:
            yield (name,), command


LEAVES = dict(leaves())
WORDS = [" ".join(words) for words in LEAVES]


def test_the_table_says_what_each_command_says_of_itself() -> None:
    for name, (_module, line) in TABLE.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help is not None
        assert command.help.splitlines()[0] == line, name


@pytest.mark.parametrize("words", [*WORDS, "run", "migrate", ""])
def test_help_is_there_and_takes_no_store(words: str, tmp_path: Path) -> None:
    for flag in ("--help", "-h"):
        result = CliRunner().invoke(cli, ["-C", str(tmp_path / "none"), *words.split(), flag])
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")
        assert result.stderr == ""


@pytest.mark.parametrize("words", WORDS)
def test_every_option_and_the_command_itself_are_explained(words: str) -> None:
    command = LEAVES[tuple(words.split())]
    assert command.help
    assert command.help.splitlines()[0].endswith((".", ":"))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.help.rstrip(".)]") != "", parameter.name


@pytest.mark.parametrize("words", WORDS)
def test_every_command_takes_the_common_options_after_its_name(words: str) -> None:
    options = {name for parameter in LEAVES[tuple(words.split())].params for name in parameter.opts}
    assert {"--json", "--store", "-C", "--quiet", "-q", "--no-progress", "--lock-wait", "--tenant"} <= options


# One call of each that succeeds on the store `filled`, and the message types or keys its answer must have.
SUCCEEDS: dict[str, tuple[list[str], set[str]]] = {
    "init": (["elsewhere"], {"path", "id"}),
    "copy": (["copied"], {"path", "store", "head"}),
    "schema sql": ([], {"dialect", "sql"}),
    "status": ([], {"path", "id", "counts"}),
    "doctor": ([], {"versions"}),
    "add": (["file.txt"], {"summary"}),
    "put": (["new.txt", "file.txt"], {"artifact", "created", "changed"}),
    "get": (["docs/a.md", "-o", "out.md"], {"file", "revision", "id", "path"}),
    "checkout": (["docs", "out"], {"summary"}),
    "export tree": (["tree"], {"summary"}),
    "export bagit": (["bag", "docs"], {"summary"}),
    "export ro-crate": (["crate"], {"summary"}),
    "export prov": (["lineage.json"], {"summary"}),
    "export openlineage": (["events.jsonl"], {"summary"}),
    "export git": (["repo.git"], {"summary"}),
    "snapshot take": (["file.snapshot"], {"summary"}),
    "snapshot ls": (["file.snapshot"], {"file", "summary"}),
    "snapshot extract": (["file.snapshot", "out"], {"summary"}),
    "ls": (["docs"], {"collection", "artifact", "summary"}),
    "find": (["--tag", "draft"], {"artifact", "summary"}),
    "search": (["zebra"], {"hits", "indexed_to", "head"}),
    "show": (["docs/a.md"], {"kind", "id", "path", "revision", "revisions", "relationships"}),
    "log": (["docs/a.md"], {"change", "summary"}),
    "diff": (["docs/a.md"], {"old", "new", "binary", "lines"}),
    "lineage": (["docs/a.md"], {"nodes", "edges"}),
    "mv": (["top.txt", "docs"], {"path", "id"}),
    "rm": (["top.txt"], {"dry_run", "deleted", "artifacts"}),
    "revert": (["docs/a.md", "1"], {"artifact", "created", "changed"}),
    "purge": (["docs/a.md", "-r", "1", "--yes"], {"artifact", "purged", "dry_run"}),
    "tag": (["docs/a.md", "x"], {"tags"}),
    "untag": (["docs/a.md", "draft"], {"tags"}),
    "meta": (["docs/a.md", "k=[1]"], {"metadata", "revision"}),
    "relate": (["docs/a.md", "supports", "made.txt"], {"id", "source", "target", "type"}),
    "unrelate": (["docs/a.md", "derived_from", "top.txt"], {"id", "deleted_at"}),
    "undelete": (["docs/a.md"], {"id", "path"}),
    "run start": (["again"], {"id", "status"}),
    "run list": ([], {"run", "summary"}),
    "run exec": (["true", "--", "true"], {"id", "status", "exit_code", "outputs"}),
    "fsck": ([], {"summary"}),
    "gc": (["--dry-run"], {"summary"}),
    "backup": (["copies"], {"summary"}),
    "audit foreign": ([], {"chains"}),
    "audit head": ([], {"head"}),
    "audit verify": ([], {"proven", "head"}),
    "redact": (["docs/a.md", "--dry-run"], {"dry_run"}),
    "repack": ([], {"summary"}),
    "index declare": (["metadata.k"], {"id", "field", "artifacts", "created_at"}),
    "index list": ([], {"indexes"}),
    "index drop": (["metadata.k"], {"id", "field"}),
    "rebuild": ([], {"summary"}),
    "recover": ([], {"summary"}),
    "migrate status": ([], {"migrations"}),
    "migrate plan": ([], {"steps"}),
    "config list": ([], {"settings"}),
    "config set": (["lock_wait_s", "5"], {"name", "value", "origin"}),
    "config unset": (["lock_wait_s"], {"name", "value", "origin"}),
    "migrate up": ([], {"before", "after", "steps"}),
    "migrate down": (["--to", "1"], {"before", "after", "steps"}),
    "outbox create": (["books"], {"name", "seq", "behind"}),
    "completion": (["bash"], {"shell", "script"}),
    "version": ([], {"holdfast"}),
}
BEFORE = {
    "index drop": ["index", "declare", "metadata.k"],
    "snapshot ls": ["snapshot", "take", "file.snapshot"],
    "snapshot extract": ["snapshot", "take", "file.snapshot"],
}
FROM_A_TREE = {"import exported": ["tree", "--dry-run"]}
FROM_A_PACKAGE = {"import bag": ["bag", "--into", "again"], "import ro-crate": ["bag/data", "--into", "again"]}
FROM_A_REPOSITORY = {"import git": ["repo.git", "--into", "again"]}
LISTS = {"cat": ["docs/a.md", "top.txt"], "mkdir": ["one", "two"]}
WITH_A_RUN = {"run show": [], "run begin": [], "run finish": [], "run step": ["fit"], "run input": ["top.txt"],
              "run output": ["top.txt"], "run delete": []}  # fmt: skip
WITH_A_CONSUMER = {"outbox list": [], "outbox run": ["books", "--", "true"], "outbox dead": ["books"],
                   "outbox retry": ["books"], "outbox discard": ["books", "1"], "outbox rewind": ["books", "--to", "2"],
                   "outbox drop": ["books"]}  # fmt: skip
WITH_A_BACKUP = {"restore": ["copies", "new", "--verify"], "drill": ["copies"]}


def test_every_command_is_called_by_the_json_tests() -> None:
    from_others = {*FROM_A_TREE, *FROM_A_PACKAGE, *FROM_A_REPOSITORY}
    assert {*SUCCEEDS, *WITH_A_CONSUMER, *LISTS, *WITH_A_RUN, *WITH_A_BACKUP, *from_others} == set(WORDS)


@pytest.mark.parametrize("words", WITH_A_BACKUP)
def test_it_answers_in_json_of_a_backup(words: str, filled: Path, call: Any) -> None:
    assert call("backup", "copies").code == 0
    answer = call(words, "--json", *WITH_A_BACKUP[words])
    assert (answer.code, answer.err) == (0, "")
    assert answer.messages[-1]["message_type"] == "summary"
    assert answer.messages[-1]["exit_code"] == 0


@pytest.mark.parametrize("words", SUCCEEDS)
def test_it_answers_in_json(words: str, filled: Path, call: Any) -> None:
    Path("file.txt").write_bytes(b"content of a file\n")
    args, wanted = SUCCEEDS[words]
    call(*BEFORE.get(words, ["status"]))
    answer = call(*words.split(), "--json", *args)
    assert (answer.code, answer.err) == (0, "")
    found = answer.messages
    if len(found) == 1 and "message_type" not in found[0]:
        assert wanted <= found[0].keys()
    else:
        assert wanted == {message["message_type"] for message in found} - {"item"}
        assert found[-1]["message_type"] == "summary"


def test_it_answers_in_json_about_an_exported_tree(filled: Path, call: Any) -> None:
    call("export", "tree", "tree")
    for words in (["import", "exported"], ["import"]):
        answer = call(*words, "--json", *FROM_A_TREE["import exported"])
        assert (answer.code, answer.err) == (0, "")
        assert answer.document["dry_run"] is True


def test_it_answers_in_json_of_a_consumer(filled: Path, call: Any) -> None:
    assert call("outbox", "create", "books", "--attempts", "1").code == 0
    failed = call("outbox", "run", "--json", "books", "--", "false")
    assert (failed.code, failed.messages[-1]["handled"], failed.messages[-1]["exit_code"]) == (3, 0, 3)
    for words, args in WITH_A_CONSUMER.items():
        answer = call(*words.split(), "--json", *args)
        assert (answer.code, answer.err) == (0, ""), words
        assert answer.messages[-1]


@pytest.mark.parametrize("words", FROM_A_PACKAGE)
def test_it_answers_in_json_about_a_package(words: str, filled: Path, call: Any) -> None:
    call("export", "bagit", "bag", "docs")
    answer = call(*words.split(), "--json", *FROM_A_PACKAGE[words])
    assert (answer.code, answer.err) == (0, "")
    assert answer.document["added"] == 2


AT = ["ls", "find", "show", "cat", "get", "log", "diff", "lineage", "run list", "run show"]


@pytest.mark.parametrize("words", AT)
def test_it_looks_back(words: str, filled: Path, call: Any) -> None:
    """What is there by now is not there at the first change, and an old state answers as it did."""
    head = call("log", "--limit", "1", "--json").messages[0]["seq"]
    args = {"find": ["--tag", "draft"], "log": [], "ls": ["docs"], "run list": [], "get": ["docs/a.md", "-o", "-"]}
    run = call("run", "list", "--json").messages[0]["id"]
    given = [run] if words == "run show" else args.get(words, ["docs/a.md"])
    before = call(*words.split(), *given)
    call("put", "docs/a.md", stdin=b"another\n")
    call("tag", "docs/a.md", "late")
    call("run", "start", "late")
    call("relate", "docs/a.md", "supports", "made.txt")
    then = call(*words.split(), *given, "--at", str(head))
    assert (then.code, then.out) == (before.code, before.out)
    assert call(*words.split(), *given, "--at", str(10**6), "--json").error["code"] == "invalid-value"


def test_it_answers_in_json_about_a_repository(filled: Path, call: Any) -> None:
    call("export", "git", "repo.git")
    answer = call("import", "git", "--json", *FROM_A_REPOSITORY["import git"])
    assert (answer.code, answer.err) == (0, "")
    assert answer.messages[-1]["message_type"] == "summary"


@pytest.mark.parametrize("words", LISTS)
def test_it_answers_with_a_list_in_json(words: str, filled: Path, call: Any) -> None:
    answer = call(words, *LISTS[words], "--json")
    assert (answer.code, answer.err) == (0, "")
    assert len(answer.document) == 2


@pytest.mark.parametrize("words", WITH_A_RUN)
def test_it_answers_in_json_about_a_run(words: str, filled: Path, call: Any) -> None:
    pending = ["--pending"] if words == "run begin" else []
    run = call("run", "start", "other", *pending, "--json").document["id"]
    answer = call(*words.split(), run, *WITH_A_RUN[words], "--json")
    assert (answer.code, answer.err) == (0, "")
    assert isinstance(answer.document, dict)


@pytest.mark.parametrize("words", SUCCEEDS)
def test_it_answers_in_text_that_ends_in_a_newline_and_has_no_escapes(words: str, filled: Path, call: Any) -> None:
    Path("file.txt").write_bytes(b"content of a file\n")
    call(*BEFORE.get(words, ["status"]))
    answer = call(*words.split(), *SUCCEEDS[words][0])
    assert answer.code == 0
    assert answer.text.endswith("\n") or words == "run exec"
    assert "\x1b" not in answer.text + answer.err


def test_json_may_stand_before_the_command_too(filled: Path, call: Any) -> None:
    assert call("--json", "status").document == call("status", "--json").document


def test_quiet_leaves_results_and_drops_remarks(filled: Path, call: Any) -> None:
    assert call("-q", "tag", "docs/a.md", "x").out == b""
    assert call("ls", "-1", "-q", "docs/deep").text == "docs/deep/b.bin\n"
    assert len(call("-q", "run", "start", "x").text) == 37


GARBAGE: list[list[str]] = [
    [""], ["", ""], ["/"], ["//", "//"], ["."], [".."], ["../../etc/passwd"], ["a//b"], ["a" * 300], ["a/" * 900 + "a"],
    ["\x1b[31m"], ["\udcff\udcfe"], ["new\nline"], ["id:"], ["id:0190163d-8694-739b-aea5-966c26f8ad91"], ["id:zz"],
    ["--"], ["--nope"], ["-"], ["-z"], ["nowhere"], ["nowhere", "nowhere"], ["nowhere", "1"], ["nowhere", "1", "2"],
    ["nowhere", "0"], ["nowhere", "-1"], ["nowhere", str(10**30)], ["nowhere", "supports", "nothing"], ["a=b", "c=d"],
    ["nowhere", "=", "=="], ["nowhere", 'k={"'], ["docs"], ["docs/a.md", "docs/a.md"], ["docs/a.md", "x", "top.txt"],
    ["docs/a.md", "99"], ["docs/a.md", "99", "98"], ["docs/a.md/below"], ["docs", "docs/deep"],
    ["top.txt", "docs/deep"],
    ["--lock-wait", "-1"], ["--lock-wait", "x"], ["-C", "/dev/null"], ["-C", ""], ["-C", "\udcff"], ['"', "AND", "("],
    ["--where", "((("], ["--where", "size >"], ["--where", "nofield = 1"], ["--order", "nothing"], ["--digest", "zz"],
    ["--limit", "0"], ["--limit", str(10**30)], ["-r", str(10**30), "docs/a.md"], ["--grace", "1 fortnight"],
    ["--depth", str(10**30), "docs/a.md"], ["--kind", "no", "--action", "no"], ["--since", str(10**30)],
    ["docs/a.md", "--meta-json", "/dev/null"], ["docs/a.md", "--meta-json", "\udcff"], ["x", "--message", "\udcff"],
    ["--status", "\udcff"], ["docs/a.md", "\udcff", "top.txt"], ["--name", "[", "docs"], ["--name", "\udcff", "docs"],
    ["docs/a.md", "\udcff=1"], ["docs/a.md", "k=\udcff"], ["--tag", "\udcff"], ["x\udcffy", "top"],
    ["docs/a.md", "-o", "no/such/folder"], ["docs/a.md", "-o", "/dev/null"], ["docs/a.md", "--note", "\udcff"],
]  # fmt: skip


@pytest.mark.parametrize("words", [one for one in WORDS if one not in {"run exec", "completion", "version"}])
def test_garbage_ends_in_an_error_with_a_remedy_and_never_in_a_traceback(words: str, filled: Path, call: Any) -> None:
    for args in GARBAGE:
        if words == "add" and any(os.path.isdir(arg) for arg in args):
            continue  # a folder is no garbage to `add`, and some of these are large
        answer = call(*words.split(), *args)
        said = f"holdfast {words} {args}: exit {answer.code}\n{answer.err}"
        assert answer.code in {0, 1, 2, 3, 4, 10}, said
        assert "Traceback" not in answer.err, said
        assert "this is a bug" not in answer.err, said
        if answer.code in {1, 2, 10} and not (words == "add" and answer.code == 1):
            lines = answer.err.splitlines()
            assert sum(line.startswith("error: ") for line in lines) == 1, said
            assert lines[-1].startswith("hint: "), said
        assert "\x1b" not in answer.err, said


@pytest.mark.parametrize("args", [["nowhere"], ["--nope"], ["docs/a.md", "--revision", "x"]])
def test_an_error_in_json_is_one_document_on_standard_error(args: list[str], filled: Path, call: Any) -> None:
    answer = call("show", *args, "--json")
    assert answer.out == b""
    assert {"code", "message", "remedy", "fields", "exit_code"} <= answer.error.keys()
    assert answer.error["exit_code"] == answer.code


def test_a_near_miss_is_told_the_command_that_was_meant(call: Any) -> None:
    answer = call("statsu")
    assert answer.code == 2
    assert "Did you mean `status`?" in answer.err


def test_completion_scripts_call_the_program_by_its_name(call: Any) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = call("completion", shell).text
        assert f"_HOLDFAST_COMPLETE={shell}_complete" in script
        assert "holdfast" in script


def test_completion_offers_commands_options_and_paths_of_the_store(filled: Path, process: Any) -> None:
    def offered(line: str) -> list[str]:
        environment = {"_HOLDFAST_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        answer = process(env={**environment, "HOLDFAST_STORE": str(filled)})
        return [one.partition(",")[2] for one in answer.text.splitlines()]

    assert offered("holdfast unr") == ["unrelate"]
    assert "--recursive" in offered("holdfast ls --rec")
    assert offered("holdfast cat docs/") == ["docs/deep/", "docs/a.md"]


def test_reading_json_back_gives_the_same_metadata(folder: Path, call: Any) -> None:
    value = {"big": 12345678901234567890123, "float": 1.0, "text": "ü\u0000\u202e", "list": [None, True]}
    Path("m.json").write_text(json.dumps(value))
    assert call("put", "x", "--meta-json", "m.json", stdin=b"x").code == 0
    assert call("meta", "x", "--json").document["metadata"] == value
