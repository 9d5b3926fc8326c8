"""mkdir, mv, rm, undelete, tag, meta, relate, lineage, log, run: changes by the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import holdfast


def test_mkdir_makes_all_or_none(filled: Path, call: Any) -> None:
    assert call("mkdir", "one", "docs").code == 1
    assert "one/" not in call("ls", "-1").text.splitlines()
    assert call("mkdir", "one", "two/three").code == 1
    assert call("mkdir", "-p", "one", "two/three", "docs").code == 0
    assert {"one/", "two/"} <= set(call("ls", "-1").text.splitlines())


def test_mv_goes_into_a_collection_or_to_a_new_path(filled: Path, call: Any) -> None:
    assert call("mv", "top.txt", "docs").code == 0
    assert call("cat", "docs/top.txt").out == b"zebra crossing"
    assert call("mv", "docs/top.txt", "docs/deep/other.txt").code == 0
    assert call("mv", "docs/deep", "/").code == 0
    assert call("cat", "deep/other.txt").out == b"zebra crossing"
    assert call("mv", "deep", "shallow").code == 0
    assert call("cat", "shallow/other.txt").code == 0
    assert call("mv", "shallow/other.txt", "docs/a.md").code == 1
    assert call("mv", "docs", "docs").code == 1


def test_rm_needs_a_word_for_collections_and_undelete_brings_back_what_went(filled: Path, call: Any) -> None:
    refused = call("rm", "docs")
    assert refused.code == 1
    assert "-r" in refused.err
    assert call("rm", "-r", "-n", "docs", "--json").document["artifacts"] == 2
    assert call("cat", "docs/a.md").code == 0
    assert call("rm", "-r", "docs").code == 0
    assert call("cat", "docs/a.md").code == 1
    assert "docs/a.md" in call("ls", "--deleted", "-1").text.splitlines()
    assert call("undelete", "docs").code == 0
    assert call("cat", "docs/a.md").out == b"alpha\nbeta\n"
    assert [one["type"] for one in call("show", "docs/a.md", "--json").document["relationships"]] == ["derived_from"]


def test_rm_is_all_or_nothing(filled: Path, call: Any) -> None:
    assert call("rm", "top.txt", "nowhere").code == 1
    assert call("cat", "top.txt").code == 0
    assert call("rm", "--restrict", "made.txt", "top.txt").code == 1
    assert call("cat", "made.txt").code == 0


def test_undelete_into_a_taken_name_names_the_holder_and_takes_another(filled: Path, call: Any) -> None:
    call("rm", "top.txt")
    holder = call("put", "top.txt", "--json", stdin=b"new").document["artifact"]["id"]
    old = call("find", "--deleted", "--json").messages[0]["id"]
    answer = call("undelete", f"id:{old}", "--json")
    assert (answer.code, answer.error["fields"]["holder"]) == (1, holder)
    assert call("undelete", f"id:{old}", "--name", "old.txt").code == 0
    assert call("cat", "old.txt").out == b"zebra crossing"


def test_tags_are_added_and_taken_off(filled: Path, call: Any) -> None:
    assert call("tag", "docs/a.md", "b", "a", "--json").document["tags"] == ["a", "b", "draft"]
    assert call("untag", "docs/a.md", "draft", "none", "--json").document["tags"] == ["a", "b"]
    assert call("tag", "docs", "here", "--json").document["tags"] == ["here"]
    assert call("find", "--tag", "a", "--tag", "b", "-1").text == "docs/a.md\n"


def test_meta_changes_the_fields_given_and_no_others(filled: Path, call: Any) -> None:
    assert call("meta", "docs/a.md").text.split() == ["{", '"score":', "1", "}"]
    call("meta", "docs/a.md", "title=Report", "n={}")
    found = call("meta", "docs/a.md", "--unset", "n", "--json").document
    assert found["metadata"] == {"score": 1, "title": "Report"}
    assert found["revision"] == 4
    assert call("meta", "docs/a.md", "--replace", "only=1", "--json").document["metadata"] == {"only": 1}
    assert call("meta", "docs/a.md", "x=1", "--expect", "1").code == 1
    assert call("meta", "docs", "of=collection", "--json").document["metadata"] == {"of": "collection"}
    assert call("cat", "docs/a.md").out == b"alpha\nbeta\n"


def test_relate_reads_as_a_sentence_and_lineage_follows_it(filled: Path, call: Any) -> None:
    assert "derived_from" in call("relate", "--types").text
    call("relate", "made.txt", "derived_from", "docs/a.md")
    shown = call("lineage", "made.txt").text
    assert shown.splitlines()[0] == "made.txt"
    assert "← derived_from  docs/a.md@2" in shown
    assert "← made_by" in shown
    assert "top.txt" in shown
    down = call("lineage", "top.txt", "--down", "--json").document
    assert {one["label"] for one in down["nodes"]} >= {"docs/a.md", "made.txt", "top.txt"}
    assert call("unrelate", "made.txt", "derived_from", "docs/a.md").code == 0
    assert "derived_from" not in call("lineage", "made.txt").text


def test_unrelate_by_id_is_brought_back_by_undelete(filled: Path, call: Any) -> None:
    made = call("relate", "docs/a.md", "supports", "made.txt", "--meta", "w=1", "--json").document
    assert made["metadata"] == {"w": 1}
    assert call("unrelate", f"id:{made['id']}").code == 0
    assert call("show", f"id:{made['id']}", "--json").document["deleted_at"] is not None
    assert call("undelete", f"id:{made['id']}").code == 0
    assert call("show", f"id:{made['id']}", "--json").document["deleted_at"] is None


def test_an_unknown_type_is_told_the_nearest(filled: Path, call: Any) -> None:
    answer = call("relate", "docs/a.md", "derived_form", "top.txt")
    assert answer.code == 2
    assert "derived_from" in answer.err


def test_log_is_newest_first_and_takes_filters(filled: Path, call: Any) -> None:
    changes = [one for one in call("log", "--json").messages if one["message_type"] == "change"]
    seqs = [one["seq"] for one in changes]
    assert seqs == sorted(seqs, reverse=True)
    assert seqs[-1] == 1
    back = [one["seq"] for one in call("log", "--reverse", "--json").messages if one["message_type"] == "change"]
    assert back == seqs[::-1]
    assert [one["seq"] for one in call("log", "--limit", "3", "--json").messages[:-1]] == seqs[:3]
    assert {one["actor"] for one in changes} == {"tess"}
    assert len(call("log", "--actor", "nobody", "--json").messages) == 1
    own = call("log", "docs/a.md", "--json").messages[:-1]
    assert [one["action"] for one in own][-1] == "create"
    assert {one["id"] for one in own} == {call("show", "docs/a.md", "--json").document["id"]}
    assert [one["seq"] for one in call("log", "--since", str(seqs[1]), "--json").messages[:-1]] == seqs[:2]


def test_log_reads_back_over_many_windows(folder: Path, call: Any) -> None:
    with holdfast.open(folder) as store:
        for batch in range(3):
            with store.transaction():
                for n in range(300):
                    store.artifacts.put(f"{batch}/{n}", f"{batch}{n}")
    seqs = [one["seq"] for one in call("log", "--json").messages[:-1]]
    assert len(seqs) > 900
    assert seqs == list(range(len(seqs), 0, -1))


def test_a_script_records_itself_as_a_run(filled: Path, call: Any) -> None:
    run = call("run", "start", "train", "--param", "rate=0.5", "-i", "top.txt").text.strip()
    assert call("run", "step", run, "fit").code == 0
    assert call("run", "step", run, "fit", "--status", "completed").code == 0
    assert call("run", "output", run, "made.txt", "--role", "model").code == 0
    assert call("run", "finish", f"id:{run}", "--diagnose", "loss=0.1").code == 0
    found = call("run", "show", run, "--json").document
    assert (found["run"]["status"], found["run"]["parameters"]) == ("completed", {"rate": 0.5})
    assert found["run"]["diagnostics"] == {"loss": 0.1}
    assert [(one["name"], one["status"]) for one in found["steps"]] == [("fit", "completed")]
    assert [one["endpoint"]["revision"] for one in found["inputs"]] == [1]
    assert [one["role"] for one in found["outputs"]] == ["model"]
    assert call("run", "finish", run, "--status", "failed").code == 1
    page = call("run", "show", run).text
    assert "made.txt@1  (model)" in page
    assert "loss = 0.1" in page


def test_runs_are_deleted_and_brought_back(filled: Path, call: Any) -> None:
    run = call("run", "list", "--json").messages[0]["id"]
    assert call("run", "delete", run).code == 0
    assert call("run", "list", "--json").messages[-1]["runs"] == 0
    assert call("undelete", f"id:{run}").code == 0
    assert call("run", "list", "--json").messages[-1]["runs"] == 1


def test_run_exec_records_a_command_with_what_it_made(filled: Path, process: Any, call: Any) -> None:
    code = "print('told'); open('out.txt', 'w').write('made')"
    answer = process("-C", str(filled), "run", "exec", "work", "-i", "top.txt", "-o", "out.txt:results/out.txt",
                     "--param", "n=1", "--", sys.executable, "-c", code)  # fmt: skip
    assert (answer.code, answer.out) == (0, b"told\n")
    assert call("cat", "results/out.txt").out == b"made"
    run = call("show", "results/out.txt", "--json").document["revision"]["run_id"]
    found = call("run", "show", run, "--json").document
    assert found["run"]["environment"]["argv"] == [sys.executable, "-c", code]
    assert found["run"]["diagnostics"]["exit_code"] == 0
    assert len(found["inputs"]) == len(found["outputs"]) == 1


def test_run_exec_of_a_command_that_fails_keeps_its_code_and_none_of_its_outputs(
    filled: Path, process: Any, call: Any
) -> None:
    code = "import sys; print('told'); open('out.txt', 'w').write('half'); sys.exit(7)"
    answer = process(
        "-C", str(filled), "run", "exec", "bad", "-o", "out.txt", "--json", "--", sys.executable, "-c", code
    )
    assert answer.code == 1
    assert (answer.document["status"], answer.document["exit_code"]) == ("failed", 7)
    assert "told" in answer.err
    assert call("cat", "out.txt").code == 1


def test_run_exec_of_a_command_that_is_not_there_fails_and_is_recorded(filled: Path, call: Any) -> None:
    answer = call("run", "exec", "none", "--", "no-such-command-anywhere")
    assert answer.code == 1
    assert call("run", "list", "--status", "failed", "--json").messages[-1]["runs"] == 1


def test_run_exec_that_lacks_an_output_is_partly_done(filled: Path, call: Any) -> None:
    Path("there").write_text("x")
    answer = call("run", "exec", "half", "-o", "there", "-o", "missing", "--", "true")
    assert answer.code == 3
    assert "missing" in answer.err
    assert call("cat", "there").out == b"x"


def test_show_describes_every_kind_of_record(filled: Path, call: Any) -> None:
    page = call("show", "docs/a.md").text
    for part in ("docs/a.md", "sha256:", "draft", "revisions", "derived_from", "first"):
        assert part in page
    assert call("show", "docs").text.startswith("collection    docs/")
    assert call("show", "docs", "--json").document["contents"] == {"artifacts": 2, "collections": 1}
    run = call("run", "list", "--json").messages[0]["id"]
    assert call("show", f"id:{run}", "--json").document["run"]["id"] == run
    assert call("show", "docs", "-r", "1").code == 2
    first = call("show", "docs/a.md", "-r", "1", "--json").document
    assert (first["revision"]["number"], len(first["revisions"])) == (1, 2)


def test_the_store_survives_losing_its_index(filled: Path, call: Any) -> None:
    before = call("find", "--json").out
    for name in ("index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"):
        (filled / name).unlink(missing_ok=True)
    assert call("rebuild").code == 0
    assert call("find", "--json").out == before
    assert call("fsck").code == 0


def test_gc_counts_first_and_frees_what_was_purged(filled: Path, call: Any) -> None:
    call("purge", "docs/a.md", "-r", "1", "--yes")
    assert call("gc", "--dry-run", "--json").messages[-1]["dry_run"] is True
    call("gc", "--grace", "0s")
    call("gc", "--grace", "0s")
    assert call("cat", "docs/a.md").out == b"alpha\nbeta\n"
    assert call("fsck").code == 0


def test_search_finds_text_with_a_passage_and_says_what_is_not_indexed(filled: Path, call: Any) -> None:
    shown = call("search", "zebra").text.splitlines()
    assert shown[0] == "top.txt"
    assert "crossing" in shown[1]
    assert call("search", "zebra", "--no-snippets", "--json").document["hits"][0]["snippet"] == ""
    assert call("search", '"').code in {0, 2}
    assert "docs/deep/b.bin" in call("search", "--left-out").text


def test_find_takes_conditions_that_all_must_hold(filled: Path, call: Any) -> None:
    assert call("find", "--where", "metadata.score = 1", "-1").text == "docs/a.md\n"
    assert call("find", "--where", "size > 100", "--name", "*.bin", "-1").text == "docs/deep/b.bin\n"
    assert call("find", "docs", "--where", "size > 100", "--where", "size < 200", "-1").text == ""
    assert call("find", "--order", "-size", "--limit", "1", "-1").text == "docs/deep/b.bin\n"


def test_status_is_a_page_and_says_what_to_do_with_an_empty_store(folder: Path, call: Any) -> None:
    assert "holdfast add" in call("status").text
    call("put", "x", stdin=b"x")
    assert "artifacts" in call("status").text


def test_init_makes_a_store_once(tmp_path: Path, call: Any) -> None:
    made = tmp_path / "new"
    assert call("init", store=made).code == 0
    assert call("ls", store=made).code == 0
    assert call("init", store=made).code == 1
    assert call("init", str(tmp_path / "other"), store=None).code == 0


def test_doctor_works_without_a_store_and_shows_no_names(filled: Path, call: Any, tmp_path: Path) -> None:
    assert call("doctor", store=None).code == 0
    shown = call("doctor").text
    assert "sqlite" in shown.lower()
    assert "top.txt" not in shown
