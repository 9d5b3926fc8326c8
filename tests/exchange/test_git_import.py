"""`import git`: what stands in the store then, what it refuses, and that it goes on wherever it was stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import ConflictError, GitError, ImportRefusedError, InvalidValueError
from holdfast.exchange.git import differences, importing

from .repos import Repo, graph, said, standing, tree_of


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Five commits: a file that is revised, moved and deleted, one that stays, and a merge."""
    made = Repo(tmp_path / "repo.git")
    words = b"words that are known again\n" * 3
    one = made.commit({b"a": ("100644", words), b"x/keep": ("100755", b"#!")}, b"first\n")
    made.commit({b"d/b": ("100644", words), b"x/keep": ("100755", b"#!")}, b"move it\n")
    side = made.commit({b"a": ("100644", words), b"x/keep": ("100755", b"side")}, b"aside\n", parents=[one])
    made.commit({b"d/b": ("100644", words), b"x/keep": ("100755", b"side")}, b"merge\n", parents=[made.ids[1], side])
    made.commit({b"x/keep": ("100755", b"side")}, b"delete it\n")
    return made


def test_the_log_of_a_file_tells_its_story(store: Store, repo: Repo) -> None:
    store.import_git(repo.path, into="p")
    log = list(store.artifacts.log("p/x/keep"))
    assert [(one.actor, one.actor_kind, one.action) for one in log] == [
        ("A U Thor <author@example.org>", "human", "create"), ("A U Thor <author@example.org>", "human", "revise"),
    ]  # fmt: skip
    revisions = store.artifacts.revisions("p/x/keep")
    assert sorted(one.message for one in revisions) == ["aside", "first"]
    run = store.runs.get(revisions[0].run_id or "")
    assert run.metadata["git"]["authored"] == "2023-11-15T00:13:20+02:00"
    assert run.metadata["git"]["committed"] == "2023-11-14T18:45:00-03:30"
    gone = store.artifacts.get("p/d/b", deleted=True)
    told = [
        (one.action, one.note or (one.after or {}).get("revision", {}).get("message"))
        for one in store.artifacts.log(gone)
    ]
    assert told == [("create", "first"), ("update", "move it"), ("delete", "delete it")]


def test_every_commit_is_a_run_also_merges(store: Store, repo: Repo) -> None:
    store.import_git(repo.path, into="p")
    runs = list(store.runs.find())
    assert sorted(run.name for run in runs) == ["aside", "delete it", "first", "merge", "move it"]
    merge = next(run for run in runs if run.name == "merge")
    assert len(merge.metadata["git"]["parents"]) == 2


def test_empty_folders_do_not_stay(store: Store, repo: Repo) -> None:
    store.import_git(repo.path, into="p")
    assert [one.path for one in store.collections.list("p", recursive=True)] == ["p/x"]


def test_a_path_alone(store: Store, repo: Repo, tmp_path: Path) -> None:
    taken = store.import_git(repo.path, into="p", paths=["x"])
    assert taken.commits == 2
    assert standing(store, "p") == {b"x/keep": (b"100755", b"side")}
    store.export_git(tmp_path / "out.git", ref="p")
    assert said(tmp_path / "out.git", "%an %ad %cd %s") == said(repo.path, "%an %ad %cd %s", "--", "x")
    repo.commit({b"x/keep": ("100755", b"more"), b"y": ("100644", b"")}, b"both\n")
    assert store.import_git(repo.path, into="p", paths=["x"]).commits == 1
    store.export_git(tmp_path / "out.git", ref="p")
    assert said(tmp_path / "out.git", "%s") == ["both", "aside", "first"]
    with pytest.raises(ConflictError, match="another part"):
        store.import_git(repo.path, into="p", paths=["d"])


def test_a_range_begins_with_all_that_its_first_commit_has(store: Store, repo: Repo, tmp_path: Path) -> None:
    taken = store.import_git(repo.path, into="p", range=f"{repo.ids[1].decode()}..{repo.ids[3].decode()}")
    assert taken.cut == 2
    assert standing(store, "p") == tree_of(repo.path, repo.ids[3].decode())
    made = store.export_git(tmp_path / "out.git", ref="p")
    assert made.altered == made.commits == 2
    trees = said(tmp_path / "out.git", "%T %an %ad %cn %cd %s")
    assert set(trees) <= set(said(repo.path, "%T %an %ad %cn %cd %s"))
    assert store.import_git(repo.path, into="p").commits == 1
    assert standing(store, "p") == tree_of(repo.path)


def test_a_branch_by_its_name(store: Store, repo: Repo) -> None:
    repo.commit({b"q": ("100644", b"q")}, parents=[repo.ids[0]], branch="other")
    taken = store.import_git(repo.path, into="p", branch="other")
    assert (taken.commits, taken.branch) == (2, "other")
    assert set(standing(store, "p")) == {b"q"}


def test_a_history_that_was_rewritten_is_refused_and_nothing_is_changed(store: Store, repo: Repo) -> None:
    store.import_git(repo.path, into="p")
    before = store.changes.head()
    repo.commit({b"other": ("100644", b"")}, parents=[repo.ids[1]])
    with pytest.raises(ConflictError, match="rewritten"):
        store.import_git(repo.path, into="p")
    assert store.changes.head() == before


def test_what_was_changed_in_the_store_is_not_overwritten(store: Store, repo: Repo) -> None:
    store.import_git(repo.path, into="p")
    store.put("p/x/keep", "ours")
    store.put("p/new", "ours too")
    repo.commit({b"x/keep": ("100755", b"theirs")})
    with pytest.raises(ConflictError, match="p/x/keep"):
        store.import_git(repo.path, into="p")
    assert store.read("p/x/keep") == b"ours"


@pytest.mark.parametrize("change", ["delete", "move", "rename"])
def test_nor_what_was_deleted_or_moved(store: Store, repo: Repo, change: str) -> None:
    store.import_git(repo.path, into="p")
    if change == "delete":
        store.artifacts.delete("p/x/keep")
    elif change == "move":
        store.artifacts.move("p/x/keep", "")
    else:
        store.collections.rename("p/x", "z")
    repo.commit({b"x/keep": ("100755", b"theirs")})
    with pytest.raises(ConflictError):
        store.import_git(repo.path, into="p")


def test_the_same_change_on_both_sides_is_no_conflict(store: Store, repo: Repo) -> None:
    store.import_git(repo.path, into="p")
    store.put("p/x/keep", "the same")
    repo.commit({b"x/keep": ("100755", b"the same"), b"y": ("100644", b"y")})
    store.import_git(repo.path, into="p")
    assert standing(store, "p") == tree_of(repo.path)


def test_a_place_that_holds_something_else_is_refused(store: Store, repo: Repo) -> None:
    store.put("p/mine", "x")
    with pytest.raises(ConflictError, match="holds something") as raised:
        store.import_git(repo.path, into="p")
    assert "--into" in raised.value.remedy
    store.put("q.git/mine", "x")
    with pytest.raises(ConflictError, match=r"q\.git"):
        store.import_git(repo.path, into="q")


def test_what_cannot_be_is_said_clearly(store: Store, repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(GitError, match="no folder"):
        store.import_git(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(GitError, match="no git repository"):
        store.import_git(tmp_path / "plain")
    for wrong in ({"branch": "absent"}, {"branch": "--all"}, {"range": "abc"}, {"range": "main..absent"}):
        with pytest.raises(InvalidValueError):
            store.import_git(repo.path, into="p", **wrong)
    with store.transaction(), pytest.raises(ConflictError):
        store.import_git(repo.path, into="p")


def test_an_empty_repository_has_nothing_to_take(store: Store, tmp_path: Path) -> None:
    empty = Repo(tmp_path / "empty.git")
    with pytest.raises(InvalidValueError, match="no commit"):
        store.import_git(empty.path)


def test_a_damaged_repository_is_named(store: Store, repo: Repo) -> None:
    repo.git("repack", "-adq")
    packs = list((repo.path / "objects" / "pack").glob("*.pack"))
    os.chmod(packs[0], 0o644)
    data = packs[0].read_bytes()
    packs[0].write_bytes(data[: len(data) // 2] + b"\0" * (len(data) - len(data) // 2))
    with pytest.raises((GitError, InvalidValueError)):
        store.import_git(repo.path, into="p")


# -- interrupted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 3, 5, 7])
def test_an_import_that_failed_anywhere_goes_on_and_ends_the_same(
    tmp_path: Path, repo: Repo, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(importing, "BATCH_COMMITS", 2)
    monkeypatch.setattr(importing, "BATCH_CHANGES", 2)
    monkeypatch.setattr("holdfast.exchange.git.loading.PART", 1)
    real = importing._Import.write
    calls = 0

    def failing(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return real(*args, **more)

    with holdfast.open(tmp_path / "store", create=True) as store:
        with monkeypatch.context() as patch:
            patch.setattr(importing._Import, "write", failing)
            with contextlib.suppress(KeyboardInterrupt):
                store.import_git(repo.path, into="p")
        assert calls <= stop
        repo.commit({b"z": ("100644", b"grown meanwhile")})
        store.import_git(repo.path, into="p")
        assert standing(store, "p") == tree_of(repo.path)
        store.export_git(tmp_path / "out.git", ref="p")
        assert not store.fsck().findings
    assert graph(tmp_path / "out.git") == graph(repo.path)


WORKER = """
import os, sys, holdfast
from holdfast.disk import Disk
left = int(sys.argv[3])
real = Disk.write
def write(self, *args, **more):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
    return real(self, *args, **more)
Disk.write = write
from holdfast.exchange.git import exporting, feed as feeding, importing
importing.BATCH_COMMITS, exporting.SETTLE_COMMITS, exporting.WINDOW = 5, 5, 3
with holdfast.open(sys.argv[1], create=True) as store:
    if sys.argv[4] == "in":
        store.import_git(sys.argv[2], into="p")
    else:
        feed = feeding.Feed.kept
        def kept(self, *args):
            global left
            left -= 1
            if left == 0:
                self._running.flush()
                os.kill(os.getpid(), 9)
            return feed(self, *args)
        feeding.Feed.kept = kept
        store.export_git(sys.argv[2], ref="p")
"""


def _killed(*args: object) -> bool:
    done = subprocess.run([sys.executable, "-c", WORKER, *map(str, args)], capture_output=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_killed_at_every_step_the_same_call_goes_on(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    for number in range(23):
        repo.commit({b"f%d" % (n % 7): ("100644", b"%d" % (number * n)) for n in range(9)})
    for step in range(1, 200):
        if not _killed(tmp_path / "store", repo.path, step, "in"):
            break
    for step in range(1, 200):
        if not _killed(tmp_path / "store", tmp_path / "out.git", step, "out"):
            break
    assert graph(tmp_path / "out.git") == graph(repo.path)
    with holdfast.open(tmp_path / "store") as store:
        assert standing(store, "p") == tree_of(repo.path)
        assert not store.fsck().findings


def test_killed_on_the_way_in_and_out_the_same_call_goes_on(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    for number in range(23):
        repo.commit({b"f%d" % (n % 7): ("100644", b"%d" % (number * n)) for n in range(9)})
    assert _killed(tmp_path / "store", repo.path, 9, "in")
    assert not _killed(tmp_path / "store", repo.path, 0, "in")
    assert _killed(tmp_path / "store", tmp_path / "out.git", 12, "out")
    assert not _killed(tmp_path / "store", tmp_path / "out.git", 0, "out")
    assert graph(tmp_path / "out.git") == graph(repo.path)
    with holdfast.open(tmp_path / "store") as store:
        assert standing(store, "p") == tree_of(repo.path)
        assert not store.fsck().findings


@pytest.mark.parametrize("limit", ["memory", "files"])
def test_a_bomb_is_refused_and_nothing_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    if limit == "memory":
        monkeypatch.setattr(differences, "MOST_MEMORY", 48 << 20)
    else:
        monkeypatch.setattr(differences, "MOST_FILES", 900)
    repo = Repo(tmp_path / "repo.git")
    blob = repo.git("hash-object", "-w", "--stdin", given=b"hi\n")
    inner = b"".join(b"100644 blob %s\tf%d\n" % (blob, n) for n in range(10))
    for _ in range(9 if limit == "memory" else 2):  # ten thousand million files, or a thousand
        tree = repo.git("mktree", given=inner)
        inner = b"".join(b"040000 tree %s\td%d\n" % (tree, n) for n in range(10))
    words = b"tree %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nboom\n" % repo.git("mktree", given=inner)
    repo.git("update-ref", "refs/heads/main", repo.raw("commit", words))
    with holdfast.create(tmp_path / "store") as store:
        store.put("mine", "mine")
        head = store.changes.head()
        with pytest.raises(ImportRefusedError, match="too many files"):
            store.import_git(repo.path, into="p")
        assert store.changes.head() == head
        assert not store.fsck().findings
