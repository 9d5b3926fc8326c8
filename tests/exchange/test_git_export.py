"""`export git`: what people did in a store as commits, a little more each time, and never over somebody's work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import holdfast
from holdfast import FileFacts, Store
from holdfast.errors import DestinationDiffersError, GitError, InvalidValueError, LockedError, NotFoundError
from holdfast.exchange.git import exporting
from holdfast.exchange.git.places import git_name
from holdfast.testing.clock import FixedClock

from .repos import Repo, graph, said, sound, standing, tree_of


def git(path: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", path, *args], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_transaction_that_touched_files_becomes_a_commit(store: Store, tmp_path: Path) -> None:
    store.put("a.txt", "one", message="the first words")
    with store.transaction(note="two at once"):
        store.put("b/c.sh", "#!", file=FileFacts(0o755))
        store.put("b/d", "target", media_type="inode/symlink")
    store.artifacts.tag("a.txt", "nice")
    store.artifacts.delete("a.txt")
    report = store.export_git(tmp_path / "out")
    assert (report.commits, report.branch, report.absent) == (3, "main", 0)
    assert said(tmp_path / "out", "%s") == ["Delete a.txt", "two at once", "the first words"]
    assert said(tmp_path / "out", "%an <%ae>") == ["Ada <api@holdfast.invalid>"] * 3
    assert tree_of(tmp_path / "out") == {b"b/c.sh": (b"100755", b"#!"), b"b/d": (b"120000", b"target")}
    assert (tmp_path / "out" / "b" / "c.sh").stat().st_mode & 0o100
    assert git(tmp_path / "out", "status", "--porcelain") == ""
    assert sound(tmp_path / "out")


def test_dates_are_those_of_the_transactions_and_the_message_names_it(
    opener: object, clock: FixedClock, tmp_path: Path
) -> None:
    with opener() as store:  # type: ignore[operator]
        store.put("a", "x")
        change = list(store.changes.list())[-1]
        store.export_git(tmp_path / "out.git")
    assert said(tmp_path / "out.git", "%at %ct %ad", "--date=format:%z") == [
        f"{int(change.time.timestamp())} {int(change.time.timestamp())} +0000"
    ]
    assert said(tmp_path / "out.git", "%b") == [f"Holdfast-Transaction: {change.tx}", ""]


def test_log_follow_tells_of_moves_deletes_and_what_came_back(store: Store, tmp_path: Path) -> None:
    words = "".join(f"line {n}\n" for n in range(40))
    store.put("old/name.txt", words)
    store.artifacts.rename("old/name.txt", "new.txt")
    store.collections.rename("old", "young")
    store.put("young/new.txt", words + "more\n")
    store.collections.create("deep/er", parents=True)
    store.collections.move("young", "deep/er")
    store.artifacts.delete("deep/er/young/new.txt")
    store.artifacts.undelete("deep/er/young/new.txt")
    store.artifacts.revert("deep/er/young/new.txt", 1)
    store.export_git(tmp_path / "out")
    followed = git(tmp_path / "out", "log", "--follow", "--format=%s", "--", "deep/er/young/new.txt").splitlines()
    assert followed[0] == "revert to revision 1"
    assert len(followed) >= 3
    renames = git(tmp_path / "out", "log", "--format=", "--name-status", "-M").splitlines()
    assert [line for line in renames if line.startswith("R")] == [
        "R100\tyoung/new.txt\tdeep/er/young/new.txt", "R100\told/new.txt\tyoung/new.txt",
        "R100\told/name.txt\told/new.txt",
    ]  # fmt: skip
    assert tree_of(tmp_path / "out") == standing(store, "")


def test_the_same_store_gives_the_same_commits_at_once_or_bit_by_bit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        store.put(f"d/{number % 2}", f"content {number}")
        if number == 3:
            store.collections.rename("d", "e")
            store.collections.create("d")
        store.export_git(tmp_path / "bits.git")
    store.export_git(tmp_path / "once.git")
    monkeypatch.setattr(exporting, "SETTLE_COMMITS", 1)
    monkeypatch.setattr(exporting, "WINDOW", 1)
    store.export_git(tmp_path / "small.git")
    assert graph(tmp_path / "bits.git") == graph(tmp_path / "once.git") == graph(tmp_path / "small.git")
    assert store.export_git(tmp_path / "once.git").commits == 0


def test_a_collection_alone_has_its_own_history(store: Store, tmp_path: Path) -> None:
    store.put("in/a", "1")
    store.put("out/b", "2")
    store.artifacts.move("out/b", "in")
    store.artifacts.move("in/a", "out")
    store.collections.create("far")
    store.put("far/deep/c", "3")
    store.collections.move("far/deep", "in")
    store.put("elsewhere", "4")
    store.export_git(tmp_path / "out.git", ref="in")
    assert len(said(tmp_path / "out.git", "%s")) == 4
    assert tree_of(tmp_path / "out.git") == {b"b": (b"100644", b"2"), b"deep/c": (b"100644", b"3")}


def test_what_was_given_up_is_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    store.put("a", "secret")
    store.put("a", "public")
    store.artifacts.purge("a", revisions=[1])
    report = store.export_git(tmp_path / "out.git")
    assert report.absent == 1
    assert b"secret" not in subprocess.run(
        ["git", "-C", tmp_path / "out.git", "log", "-p"], capture_output=True, check=True).stdout  # fmt: skip
    assert tree_of(tmp_path / "out.git") == {b"a": (b"100644", b"public")}


@pytest.mark.parametrize(
    "name",
    [b".git", b".GIT", b".git ", b"git~1", b"GIT~1", b".g\xe2\x80\x8cit", b"%2Egit", b".git\\x", b"x\\.git", b"git~1."],
)
def test_names_that_git_refuses_are_written_otherwise(store: Store, tmp_path: Path, name: bytes) -> None:
    store.put(name + b"/" + name, "x")
    store.put(b"plain/.gitignore", "y")
    store.export_git(tmp_path / "out.git")
    found = set(tree_of(tmp_path / "out.git"))
    assert found == {git_name(name) + b"/" + git_name(name), b"plain/.gitignore"}
    assert git_name(name) != name
    assert sound(tmp_path / "out.git")


def test_other_names_are_as_they_are(store: Store, tmp_path: Path) -> None:
    names = [
        b"\xff",
        b'"',
        b"new\nline",
        b"tab\t",
        b" lead",
        b"%41",
        b"%",
        b".gitmodules.bak",
        b"con",
        b"A",
        b"a",
        b"a:b",
    ]
    for name in names:
        store.put(name, "x")
    store.export_git(tmp_path / "out.git")
    assert set(tree_of(tmp_path / "out.git")) == set(names)


def test_a_branch_that_has_gone_another_way_is_not_moved(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    store.export_git(tmp_path / "out")
    (tmp_path / "out" / "a").write_text("by hand")
    git(tmp_path / "out", "-c", "user.name=x", "-c", "user.email=x", "commit", "-qam", "by hand")
    before = git(tmp_path / "out", "rev-parse", "HEAD")
    store.put("a", "2")
    with pytest.raises(DestinationDiffersError, match="commits that the store does not know"):
        store.export_git(tmp_path / "out")
    assert git(tmp_path / "out", "rev-parse", "HEAD") == before
    assert store.export_git(tmp_path / "out", branch="theirs").commits == 2


def test_edits_in_a_work_tree_are_never_overwritten(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    store.export_git(tmp_path / "out")
    (tmp_path / "out" / "a").write_text("not yet committed")
    store.put("a", "2")
    with pytest.raises(DestinationDiffersError, match="checked out"):
        store.export_git(tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "not yet committed"
    git(tmp_path / "out", "checkout", "-q", "a")
    assert store.export_git(tmp_path / "out").tip == git(tmp_path / "out", "rev-parse", "HEAD").strip()
    assert (tmp_path / "out" / "a").read_text() == "2"


def test_another_stores_export_is_refused(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    store.export_git(tmp_path / "out.git")
    with holdfast.open(tmp_path / "other", create=True) as other:
        other.put("a", "1")
        with pytest.raises(DestinationDiffersError):
            other.export_git(tmp_path / "out.git")


def test_two_exports_do_not_write_at_once(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    store.export_git(tmp_path / "out.git")
    from holdfast.exchange.git.program import repository  # noqa: PLC0415
    from holdfast.exchange.git.standing import Stored  # noqa: PLC0415

    with Stored(repository(tmp_path / "out.git"), "main"), pytest.raises(LockedError):
        store.export_git(tmp_path / "out.git")


def test_a_lost_note_costs_time_and_nothing_else(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    store.export_git(tmp_path / "out.git")
    before = graph(tmp_path / "out.git")
    os.unlink(tmp_path / "out.git" / "holdfast" / "main.json")
    store.put("a", "2")
    store.export_git(tmp_path / "out.git")
    assert graph(tmp_path / "out.git").endswith(before)


def test_what_cannot_be_is_said_clearly(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        store.export_git(tmp_path / "out.git")
    store.put("a", "1")
    with pytest.raises(NotFoundError):
        store.export_git(tmp_path / "out.git", ref="a")
    with pytest.raises(InvalidValueError):
        store.export_git(Path(store.path) / "blobs" / "repo")
    with pytest.raises(GitError):
        store.export_git(tmp_path / "out.git", branch="not..good")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(GitError):
        store.export_git(tmp_path / "full")


# -- with a history from git -----------------------------------------------------------------------------------------


def test_what_the_store_does_after_an_import_comes_on_top(store: Store, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    tip = repo.commit({b"a": ("100644", b"1"), b"b": ("100644", b"2")}, b"theirs\n")
    store.import_git(repo.path, into="p")
    store.put("p/a", "ours", message="in the store")
    store.put("elsewhere", "x")
    store.export_git(tmp_path / "out.git", ref="p")
    assert said(tmp_path / "out.git", "%s") == ["in the store", "theirs"]
    assert graph(tmp_path / "out.git", "HEAD~1").split() == [tip]
    assert tree_of(tmp_path / "out.git") == standing(store, "p")


def test_work_goes_back_and_forth_between_store_and_repository(store: Store, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    repo.commit({b"a": ("100644", b"1"), b"b": ("100644", b"2")})
    store.import_git(repo.path, into="p")
    for number in range(3):
        store.put("p/a", f"ours {number}")
        tip = store.export_git(repo.path, ref="p").tip.encode()
        assert repo.git("rev-parse", "main") == tip
        repo.ids.append(tip)
        ours = b"ours %d" % number
        repo.commit({b"a": ("100644", ours), b"b": ("100644", b"theirs %d" % number)})
        assert store.import_git(repo.path, into="p").commits == 2
        assert standing(store, "p") == tree_of(repo.path)
    assert store.export_git(repo.path, ref="p").tip == repo.ids[-1].decode()
    store.export_git(tmp_path / "fresh.git", ref="p")
    assert graph(tmp_path / "fresh.git") == graph(repo.path)


def test_what_both_have_done_is_merged(store: Store, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    repo.commit({b"a": ("100644", b"1"), b"b": ("100644", b"2")})
    store.import_git(repo.path, into="p")
    store.put("p/a", "ours")
    store.export_git(tmp_path / "bits.git", ref="p")
    theirs = repo.commit({b"a": ("100644", b"1"), b"b": ("100644", b"theirs")})
    store.import_git(repo.path, into="p")
    store.export_git(tmp_path / "bits.git", ref="p")
    store.put("p/c", "after")
    store.export_git(tmp_path / "out.git", ref="p")
    assert tree_of(tmp_path / "out.git") == standing(store, "p")
    newest = said(tmp_path / "out.git", "%s|%P", "--first-parent")
    assert newest[0].startswith("Add c|")
    assert newest[1].startswith(f"Merge {theirs.decode()}|")
    assert newest[1].endswith(theirs.decode())
    repo.commit({b"a": ("100644", b"1"), b"b": ("100644", b"theirs again")})
    store.import_git(repo.path, into="p")
    store.export_git(tmp_path / "out.git", ref="p")
    store.export_git(tmp_path / "once.git", ref="p")
    store.export_git(tmp_path / "bits.git", ref="p")
    assert graph(tmp_path / "out.git") == graph(tmp_path / "once.git") == graph(tmp_path / "bits.git")
    assert tree_of(tmp_path / "out.git") == standing(store, "p")


def test_all_of_a_store_tells_of_what_was_taken_with_its_authors_and_dates(store: Store, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    repo.commit({b"a": ("100644", b"1")}, b"theirs\n\nwith a body\n")
    store.import_git(repo.path, into="p")
    store.put("mine", "x")
    store.export_git(tmp_path / "out.git")
    form = "%an <%ae> %ad|%cn %cd|%s"
    assert said(tmp_path / "out.git", form, "--date=raw")[1] == said(repo.path, form, "--date=raw")[0]
    assert set(tree_of(tmp_path / "out.git")) == {b"p/a", b"mine"}
