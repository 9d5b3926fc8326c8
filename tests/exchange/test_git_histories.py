"""What comes in from git goes out to git as it was: the same commits, with the same ids, whatever is in them."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings

import holdfast
from holdfast.exchange.git import importing

from .repos import HISTORIES, Repo, graph, plant, sound, standing, tree_of


def there_and_back(repo: Repo, folder: Path, **way: Any) -> tuple[Any, Any]:
    with holdfast.open(folder / "store", create=True) as store:
        taken = store.import_git(repo.path, into="taken", **way)
        made = store.export_git(folder / "again.git", ref="taken")
        assert standing(store, "taken") == tree_of(repo.path, taken.tip)
        assert not store.fsck().findings
    return taken, made


def check(history: list[Any], folder: Path) -> None:
    repo = Repo(folder / "repo.git")
    plant(repo, history)
    taken, made = there_and_back(repo, folder)
    assert taken.commits == made.commits == len(graph(repo.path).splitlines())
    assert graph(folder / "again.git") == graph(repo.path)
    assert sound(folder / "again.git") == sound(repo.path)


@settings(max_examples=7)
@given(HISTORIES)
@example([([("put", b"a", b"x", "100644")], [], b"m", b"A <a> 1 +0000", b"A <a> 1 +0000"),
          ([("put", b"a/b", b"y", "100755")], [0], b"m", b"A <a> 1 +0000", b"A <a> 1 +0000"),
          ([("put", b"a", b"z", "120000")], [0], b"m", b"A <a> 1 +0000", b"A <a> 1 +0000")])  # fmt: skip
def test_any_history_comes_out_with_the_ids_that_it_went_in_with(history: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(history, Path(folder))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=400)
@given(HISTORIES)
def test_any_history_comes_out_as_it_went_in_many_times(history: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(history, Path(folder))


def test_a_history_that_grows_is_taken_and_given_bit_by_bit(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    with holdfast.open(tmp_path / "store", create=True) as store:
        for number in range(4):
            repo.commit({b"a": ("100644", b"%d" % number), b"n%d" % number: ("100644", b"new")})
            assert store.import_git(repo.path, into="taken").commits == 1
            assert store.export_git(tmp_path / "again.git", ref="taken").commits == 1
            assert graph(tmp_path / "again.git") == graph(repo.path)
        assert store.import_git(repo.path, into="taken").commits == 0
        assert store.export_git(tmp_path / "again.git", ref="taken").commits == 0


def test_batches_and_parts_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_COMMITS", 2)
    monkeypatch.setattr(importing, "BATCH_CHANGES", 3)
    monkeypatch.setattr("holdfast.exchange.git.loading.PART", 2)
    monkeypatch.setattr("holdfast.exchange.git.walk.TOGETHER", 3)
    monkeypatch.setattr("holdfast.exchange.git.exporting.WINDOW", 2)
    monkeypatch.setattr("holdfast.exchange.git.exporting.SETTLE_COMMITS", 2)
    repo = Repo(tmp_path / "repo.git")
    for number in range(7):
        repo.commit({b"d%d/f%d" % (n % 3, n): ("100644", b"%d" % (number * n)) for n in range(number % 5 + 4)})
    taken, _ = there_and_back(repo, tmp_path)
    assert taken.commits == 7
    assert graph(tmp_path / "again.git") == graph(repo.path)


SIGNED = b"""tree %s
parent %s
author A U Thor <a@example.org> 1700000000 +0000
committer A U Thor <a@example.org> 1700000000 +0000
gpgsig -----BEGIN PGP SIGNATURE-----
 \n iQEzBAABCAAdFiEE
 -----END PGP SIGNATURE-----

signed
"""
ODD = [
    SIGNED,
    b"tree %s\nparent %s\nauthor no brackets at all\ncommitter A <a> 1 +0000\n\nodd\n",
    b"tree %s\nparent %s\nauthor A <a> 1 +0000\ncommitter A <a> -5 +0000\nHG:extra yes\n\nodd\n",
    b"tree %s\nparent %s\nauthor A <a> 1 +9999\ncommitter A <a> 1 +0000\nencoding ISO-8859-1\n\n\xe9\n",
    b"tree %s\nparent %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nwith\0NUL\n",
    b"tree %s\nparent %s\nauthor A <a> 99999999999999999 +0000\ncommitter A <a> 1 +0000\n\n",
]


@pytest.mark.parametrize("text", ODD)
def test_commits_with_signatures_and_odd_headers_keep_every_byte(tmp_path: Path, text: bytes) -> None:
    repo = Repo(tmp_path / "repo.git")
    first = repo.commit({b"a": ("100644", b"a\n")})
    repo.commit({b"a": ("100644", b"b\n"), b"c": ("100644", b"c\n")})
    tree = repo.git("rev-parse", "HEAD^{tree}")
    repo.take(repo.raw("commit", text % (tree, first)))
    last = repo.commit({b"c": ("100644", b"after\n")})
    taken, made = there_and_back(repo, tmp_path)
    assert (taken.tip, made.tip, made.altered) == (last.decode(), last.decode(), 0)
    assert graph(tmp_path / "again.git") == graph(repo.path)


def test_tags_come_out_as_they_went_in_also_signed_and_nested_ones(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    one = repo.commit({b"a": ("100644", b"1")})
    repo.commit({b"a": ("100644", b"2")})
    repo.git("tag", "light", one)
    text = b"object %s\ntype %s\ntag %s\ntagger A <a> 1 +0000\n\nwords\n-----BEGIN PGP SIGNATURE-----\nx\n"
    signed = repo.raw("tag", text % (one, b"commit", b"signed"))
    repo.git("update-ref", "refs/tags/signed", signed)
    repo.git("update-ref", "refs/tags/nested", repo.raw("tag", text % (signed, b"tag", b"nested")))
    aside = repo.commit({b"b": ("100644", b"")}, parents=[], branch="aside")
    repo.git("update-ref", "refs/tags/elsewhere", aside)
    repo.git("update-ref", "refs/tags/a-tree", repo.git("rev-parse", f"{one.decode()}^{{tree}}"))
    taken, made = there_and_back(repo, tmp_path)
    assert (taken.tags, taken.tags_left, len(taken.left), made.tags) == (3, 2, 2, 3)
    again = Repo.__new__(Repo)
    again.path = tmp_path / "again.git"
    for tag in ("light", "signed", "nested"):
        assert again.git("rev-parse", f"refs/tags/{tag}") == repo.git("rev-parse", f"refs/tags/{tag}")


def test_what_no_collection_can_hold_is_named_and_comes_out_all_the_same(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    tree = {b"x" * 300: ("100644", b"long"), b"ok": ("100644", b"ok"), b"sub": ("160000", b"1" * 40)}
    repo.commit(tree)
    repo.commit({b"ok": ("100644", b"ok")})
    repo.commit(tree)
    with holdfast.open(tmp_path / "store", create=True) as store:
        taken = store.import_git(repo.path, into="taken")
        assert {(one.code, one.path[:3]) for one in taken.problems} == {("name", "xxx"), ("submodule", "sub")}
        assert [one.path for one in store.artifacts.list("taken", recursive=True)] == ["taken/ok"]
        assert store.export_git(tmp_path / "again.git", ref="taken").altered == 0
    assert graph(tmp_path / "again.git") == graph(repo.path)


def test_harmful_paths_are_left_out_and_named(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    repo.commit({b"a": ("100644", b"fine")})
    blob = repo.git("rev-parse", "HEAD:a")
    entries = b"".join(
        b"100644 %s\0" % name + bytes.fromhex(blob.decode()) for name in (b"..", b".GIT", b"a", b"git~1")
    )
    tree = repo.raw("tree", entries)
    words = b"tree %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nevil\n"
    repo.take(repo.raw("commit", words % tree))
    with holdfast.open(tmp_path / "store", create=True) as store:
        taken = store.import_git(repo.path, into="taken")
        assert [(one.code, one.path) for one in taken.problems] == [
            ("refused", ".."), ("refused", ".GIT"), ("refused", "git~1"),
        ]  # fmt: skip
        assert [one.path for one in store.artifacts.list("", recursive=True) if one.type != "git-history"] == [
            "taken/a"
        ]
        assert store.export_git(tmp_path / "again.git", ref="taken").altered == 1
    assert tree_of(tmp_path / "again.git") == {b"a": (b"100644", b"fine")}
    assert sound(tmp_path / "again.git")


def test_large_contents_go_through_in_pieces(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    large = bytes(range(256)) * 12_000
    repo.commit({b"large": ("100644", large)})
    repo.commit({b"large": ("100644", large + b"more"), b"again": ("100755", large)})
    there_and_back(repo, tmp_path)
    assert graph(tmp_path / "again.git") == graph(repo.path)


def test_repositories_with_sha256_ids_are_taken_too(tmp_path: Path) -> None:
    path = tmp_path / "repo.git"
    repo = Repo.__new__(Repo)
    repo.path, repo.branch, repo.ids = path, "main", []
    import subprocess  # noqa: PLC0415

    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", "--object-format=sha256", path], check=True)
    repo.commit({b"a": ("100644", b"1"), b"d/b": ("100644", b"2")})
    repo.commit({b"a": ("100755", b"1")})
    with holdfast.open(tmp_path / "store", create=True) as store:
        taken = store.import_git(path, into="taken")
        assert len(taken.tip) == 64
        store.export_git(tmp_path / "again.git", ref="taken")
    assert graph(tmp_path / "again.git") == graph(path)


def test_files_that_take_the_place_of_their_own_folders_and_back(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    words = b"words that are known again\n" * 9
    for path in (b"a/b/c", b"a", b"a/a", b"x/y", b"x/y/x", b"x"):
        repo.commit({path: ("100644", words), b"z": ("100644", b"z")})
    there_and_back(repo, tmp_path)
    assert graph(tmp_path / "again.git") == graph(repo.path)


def test_a_merge_that_names_a_parent_twice_keeps_both(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    one = repo.commit({b"a": ("100644", b"a")})
    tree = repo.git("rev-parse", "HEAD^{tree}")
    words = b"tree %s\nparent %s\nparent %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\ntwice\n"
    repo.take(repo.raw("commit", words % (tree, one, one)))
    _, made = there_and_back(repo, tmp_path)
    assert made.altered == 0
    assert made.tip == repo.ids[-1].decode()


def test_the_report_counts_what_git_has(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    one = repo.commit({b"a": ("100644", b"long enough to be known again\n"), b"x": ("100755", b"#!")})
    repo.commit({b"b": ("100644", b"long enough to be known again\n"), b"x": ("100755", b"#!")}, b"caf\xe9\n")
    side = repo.commit({b"l": ("120000", b"a"), b"a": ("100644", b"long enough to be known again\n")}, parents=[one])
    repo.commit({b"l": ("120000", b"a")}, parents=[repo.ids[1], side])
    repo.commit({b"l": ("120000", b"a")})
    taken, _ = there_and_back(repo, tmp_path)
    counts = dataclasses.asdict(taken)
    assert {key: counts[key] for key in ("commits", "merges", "empty", "moved", "escaped", "odd", "cut")} == {
        "commits": 5, "merges": 1, "empty": 1, "moved": 1, "escaped": 1, "odd": 0, "cut": 0,
    }  # fmt: skip


def test_trees_with_modes_that_old_programs_wrote_keep_every_byte(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo.git")
    repo.commit({b"a": ("100644", b"a\n"), b"d/e/f": ("100644", b"f\n"), b"z/y": ("100644", b"y\n")})
    tree = repo.git("cat-file", "tree", "HEAD^{tree}", strip=False)
    inner = repo.git("cat-file", "tree", "HEAD:d/e", strip=False)
    odd_inner = repo.raw("tree", inner.replace(b"100644 f", b"100664 f"))
    middle = repo.raw("tree", b"40000 e\0" + bytes.fromhex(odd_inner.decode()))
    old_middle = bytes.fromhex(repo.git("rev-parse", "HEAD:d").decode())
    changed = tree.replace(b"100644 a", b"100600 a").replace(old_middle, bytes.fromhex(middle.decode()))
    words = b"tree %s\nparent %s\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nodd modes\n"
    repo.take(repo.raw("commit", words % (repo.raw("tree", changed), repo.ids[-1])))
    stream = b"commit refs/heads/main\ncommitter A <a> 2 +0000\ndata 0\nfrom %s\nM 100644 inline z/y\ndata 1\nx\n"
    repo.git("fast-import", "--quiet", given=stream % repo.ids[-1])
    assert b"100600 a" in repo.git("cat-file", "tree", "HEAD^{tree}", strip=False)
    repo.ids.append(repo.git("rev-parse", "HEAD"))
    repo.commit({b"a": ("100644", b"b\n")})
    _, made = there_and_back(repo, tmp_path)
    assert made.altered == 0
    assert graph(tmp_path / "again.git") == graph(repo.path)
