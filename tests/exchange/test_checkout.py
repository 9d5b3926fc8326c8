"""`checkout`: what `add` took in comes out equal, at any state; what is there is not harmed; nothing leads outside."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import holdfast
from holdfast import FileFacts, Store
from holdfast.disk import Disk
from holdfast.errors import DestinationDiffersError, InvalidValueError, LockedError, NotFoundError
from holdfast.exchange import checkout as checking_out
from holdfast.exchange import ground, outgoing, staging
from holdfast.exchange.delivery import CheckoutReport

from .trees import TREES, picture, plant

AS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not AS_ROOT, reason="files without permissions are read back, which only root may")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with a file, a script, an empty file, a link, an empty folder and a deep one."""
    made = tmp_path / "tree"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "empty folder").mkdir(mode=0o750)
    (made / "a.txt").write_bytes(b"alpha\n")
    (made / "nothing").write_bytes(b"")
    (made / "deep" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (made / "deep" / "run.sh").chmod(0o755)
    (made / "deep" / "er" / "data").write_bytes(b"\0\xff" * 50_000)
    os.symlink("../a.txt", made / "deep" / "link")
    for number, path in enumerate(sorted(made.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 10**18 + number), follow_symlinks=False)
    os.utime(made, ns=(0, 10**18 + 77))
    return made


def outcome(report: CheckoutReport) -> tuple[int, int, int, int]:
    return report.written, report.same, report.kept, report.replaced


def problems(report: CheckoutReport) -> dict[str, str]:
    return {one.path: one.code for one in report.problems}


def add_contents(store: Store, folder: Path, into: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    monkeypatch.chdir(folder)
    report = store.add(".", into=into)
    return report.added + report.collections, report.revised


# -- out and in again ------------------------------------------------------------------------------------------------


def test_a_tree_comes_out_as_it_went_in_and_adding_it_again_makes_nothing_new(
    store: Store, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(tree)
    report = store.checkout("tree", tmp_path / "out")

    assert picture(tmp_path / "out") == picture(tree)
    assert (outcome(report), report.folders, report.problems) == ((5, 0, 0, 0), 3, [])
    assert report.bytes == 6 + 10 + 100_000 + 8
    assert report.seq == store.changes.head().next_seq - 1
    head = store.changes.head()
    assert add_contents(store, tmp_path / "out", "tree", monkeypatch) == (0, 0)
    assert store.changes.head() == head


@needs_root
@settings(max_examples=25)
@given(tree=TREES)
def test_any_tree_comes_out_as_it_went_in(tree: dict[bytes, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    top = tmp_path_factory.mktemp("odd")
    try:
        (top / "tree").mkdir()
        plant(os.fsencode(top / "tree"), tree)
        with holdfast.create(top / "store", actor="Ada") as store:
            assert store.add(top / "tree").problems == []
            assert store.checkout("tree", top / "out").problems == []
            assert picture(top / "out") == picture(top / "tree")
            head = store.changes.head()
            shutil.move(top / "tree", top / "old")
            shutil.move(top / "out", top / "tree")
            again = store.add(top / "tree")
            assert (again.added, again.revised, again.collections) == (0, 0, 0)
            assert store.changes.head() == head
    finally:
        shutil.rmtree(top)


def test_every_name_that_a_file_system_can_hold_comes_out(store: Store, tmp_path: Path) -> None:
    names = [bytes([b]) for b in range(1, 256) if bytes([b]) not in (b"/", b".")] + [b"\xff" * 255, b"...", b"N", b"n"]
    store.put_many((b"odd/" + name, name) for name in dict.fromkeys(names))
    assert store.checkout("odd", tmp_path / "out").problems == []
    found = {name: (tmp_path / "out" / os.fsdecode(name)).read_bytes() for name in names}
    assert found == {name: name for name in names}
    assert len(os.listdir(tmp_path / "out")) == len(set(names))


def test_folders_as_deep_as_no_path_could_name_come_out(store: Store, tmp_path: Path) -> None:
    deep = "/".join(["d" * 50] * 120)
    store.put(f"{deep}/bottom", "here")
    assert store.checkout("", tmp_path / "out").written == 1
    fd = os.open(tmp_path / "out", os.O_RDONLY)
    for _ in range(120):
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    assert os.listdir(fd) == ["bottom"]
    os.close(fd)


def test_large_content_streams_and_windows_follow_each_other(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking_out, "WINDOW_ITEMS", 3)
    store.put("c/large", os.urandom(3 << 20))
    store.put_many((f"c/{n}/{n}", f"content {n}") for n in range(20))
    told: list[tuple[int, int | None]] = []
    report = store.checkout(
        "c", tmp_path / "out", progress=lambda done, total, _what, _unit: told.append((done, total))
    )
    assert outcome(report) == (21, 0, 0, 0)
    assert (tmp_path / "out" / "large").read_bytes() == store.read("c/large")
    assert told == [(n, 21) for n in (3, 6, 9, 12, 15, 18, 21)]


def test_what_has_no_mode_of_its_own_gets_what_new_files_get(store: Store, tmp_path: Path) -> None:
    store.put("c/sub/a", "x")
    before = os.umask(0o027)
    try:
        store.checkout("c", tmp_path / "out")
    finally:
        os.umask(before)
    assert oct((tmp_path / "out/sub/a").stat().st_mode & 0o7777) == oct(0o640)
    assert oct((tmp_path / "out/sub").stat().st_mode & 0o7777) == oct(0o750)


def test_the_whole_store_and_an_empty_one_come_out(store: Store, tmp_path: Path) -> None:
    assert outcome(store.checkout("", tmp_path / "none")) == (0, 0, 0, 0)
    assert os.listdir(tmp_path / "none") == []
    store.put("a/b", "x")
    store.checkout("", tmp_path / "all")
    assert (tmp_path / "all/a/b").read_bytes() == b"x"


def test_what_is_not_there_is_not_found_and_nothing_is_made(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        store.checkout("nowhere", tmp_path / "out")
    with pytest.raises(InvalidValueError, match="says nothing"):
        store.checkout("", tmp_path / "out", existing="maybe")
    assert not (tmp_path / "out").exists()


# -- one artifact ----------------------------------------------------------------------------------------------------


def test_an_artifact_comes_as_a_file_or_into_a_folder_in_any_revision(store: Store, tmp_path: Path) -> None:
    store.put("c/a.txt", "one", file=FileFacts(0o640, 5))
    store.put("c/a.txt", "two")
    (tmp_path / "in").mkdir()
    store.checkout("c/a.txt", tmp_path / "in")
    store.checkout("c/a.txt", tmp_path / "new" / "name", revision=1)
    assert (tmp_path / "in/a.txt").read_bytes() == b"two"
    made = tmp_path / "new/name"
    assert (made.read_bytes(), made.stat().st_mode & 0o777, made.stat().st_mtime_ns) == (b"one", 0o640, 5)
    with pytest.raises(NotFoundError):
        store.checkout("c/a.txt", tmp_path / "x", revision=3)
    with pytest.raises(InvalidValueError, match="no revisions"):
        store.checkout("c", tmp_path / "x", revision=1)


# -- as it was -------------------------------------------------------------------------------------------------------


def test_a_state_of_old_comes_out_with_its_names_places_and_contents(store: Store, tmp_path: Path) -> None:
    store.put("c/a", "one")
    store.put("c/gone", "was here")
    old = store.changes.head().next_seq - 1
    when = dt.datetime.now(dt.UTC)
    store.put("c/a", "two")
    store.artifacts.rename("c/gone", "other")
    store.artifacts.delete("c/other")
    store.collections.rename("c", "d")
    store.put("d/new", "later")

    for number, at in enumerate((old, str(old), when, when.isoformat())):
        report = store.checkout("c", tmp_path / str(number), at=at)
        assert {p.name: p.read_text() for p in (tmp_path / str(number)).iterdir()} == {"a": "one", "gone": "was here"}
        assert (report.seq, report.moved_on) == (old, False)
    with pytest.raises(NotFoundError):
        store.checkout("d", tmp_path / "x", at=old)
    for wrong in (old + 100, -1, "yesterday", dt.datetime(2026, 1, 1)):
        with pytest.raises(InvalidValueError):
            store.checkout("c", tmp_path / "x", at=wrong)
    assert not (tmp_path / "x").exists()


def test_a_transaction_is_never_seen_in_parts(store: Store, tmp_path: Path) -> None:
    store.put_many((f"c/{n}", str(n)) for n in range(5))
    report = store.checkout("c", tmp_path / "out", at=3)
    assert (report.written, report.seq) == (5, store.changes.head().next_seq - 1)
    assert store.checkout("", tmp_path / "before", at=0).written == 0


def test_what_was_purged_or_redacted_since_is_named(store: Store, tmp_path: Path) -> None:
    for name in ("kept", "purged", "redacted", "named"):
        store.put(f"c/{name}", f"first {name}")
    old = store.changes.head().next_seq - 1
    for name in ("purged", "redacted"):
        store.put(f"c/{name}", "second")
    store.artifacts.purge("c/purged", revisions=[1])
    store.redact(store.get("c/redacted"), fields=["content"], revisions=[1])
    named = store.get("c/named")
    store.redact(named, fields=["name"])

    report = store.checkout("c", tmp_path / "out", at=old)
    assert problems(report) == {"purged": "purged", "redacted": "redacted", f"redacted-{named.id}": "name-redacted"}
    assert sorted(os.listdir(tmp_path / "out")) == ["kept", f"redacted-{named.id}"]
    store.redact(store.get("c/kept"), fields=["content"])
    assert problems(store.checkout("c", tmp_path / "now")) == {"kept": "redacted"}


def test_damage_is_named_and_the_rest_is_written(store: Store, tmp_path: Path) -> None:
    store.put_many((f"c/{n}", os.urandom(100)) for n in range(3))
    store.put("c/large", os.urandom(2 << 20))
    path = next(store.path.glob("blobs/*/*.zst"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    report = store.checkout("c", tmp_path / "out")
    assert (report.written, problems(report)) == (3, {"large": "damaged"})
    assert sorted(os.listdir(tmp_path / "out")) == ["0", "1", "2"]


# -- what is there ---------------------------------------------------------------------------------------------------


def test_a_file_that_differs_stops_it_before_anything_is_written(store: Store, tree: Path, tmp_path: Path) -> None:
    store.add(tree)
    out = tmp_path / "out"
    (out / "deep" / "er").mkdir(parents=True)
    (out / "a.txt").write_bytes(b"mine\n")
    (out / "deep" / "er" / "data").mkdir()
    (out / "nothing").write_bytes(b"")  # it has another mode
    (out / "nothing").chmod(0o600)
    before = picture(out)
    with pytest.raises(DestinationDiffersError) as caught:
        store.checkout("tree", out)
    assert caught.value.fields["paths"] == ["a.txt", "nothing", "deep/er/data"]
    assert caught.value.fields["count"] == 3
    assert picture(out, times=False) == {k: (*v[:2], 0, *v[3:]) for k, v in before.items()}

    rehearsed = store.checkout("tree", out, dry_run=True)
    assert sorted(rehearsed.conflicts) == ["a.txt", "deep/er/data", "nothing"]
    assert rehearsed.written == 2
    assert picture(out, times=False) == {k: (*v[:2], 0, *v[3:]) for k, v in before.items()}


def test_keep_leaves_it_and_replace_replaces_files_but_never_a_folder(store: Store, tree: Path, tmp_path: Path) -> None:
    store.add(tree)
    out = tmp_path / "out"
    (out / "deep" / "er" / "data").mkdir(parents=True)
    (out / "a.txt").write_bytes(b"mine\n")
    (out / "empty folder").write_bytes(b"a file where a folder belongs")
    (out / "stranger").write_bytes(b"of nobody")
    report = store.checkout("tree", out, existing="keep")
    assert outcome(report) == (3, 0, 2, 0)
    assert problems(report) == {"empty folder": "in-the-way"}
    assert (out / "a.txt").read_bytes() == b"mine\n"

    report = store.checkout("tree", out, existing="replace")
    assert outcome(report) == (1, 3, 0, 2)
    assert problems(report) == {"deep/er/data": "in-the-way"}
    assert (out / "a.txt").read_bytes() == b"alpha\n"
    assert (out / "empty folder").is_dir()
    assert (out / "stranger").read_bytes() == b"of nobody"
    shutil.rmtree(out / "deep/er/data")
    assert outcome(store.checkout("tree", out)) == (1, 4, 0, 0)
    (out / "stranger").unlink()
    os.utime(out, ns=(0, 10**18 + 77))
    assert picture(out) == picture(tree)


def test_a_hard_link_to_a_file_that_is_replaced_keeps_its_content(store: Store, tmp_path: Path) -> None:
    store.put("c/a", "from the store")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("mine")
    os.link(tmp_path / "out" / "a", tmp_path / "elsewhere")
    store.checkout("c", tmp_path / "out", existing="replace")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_dry_run_makes_nothing(store: Store, tree: Path, tmp_path: Path) -> None:
    store.add(tree)
    report = store.checkout("tree", tmp_path / "out", dry_run=True)
    assert (outcome(report), report.folders) == ((5, 0, 0, 0), 3)
    assert not (tmp_path / "out").exists()


# -- nothing leads outside -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("existing", ["refuse", "keep", "replace"])
def test_links_planted_in_the_destination_are_never_followed(store: Store, tmp_path: Path, existing: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("precious")
    store.put_many([("c/sub/a", "from the store"), ("c/b", "from the store")])
    out = tmp_path / "out"
    out.mkdir()
    os.symlink(outside, out / "sub")
    os.symlink(outside / "new", out / "b")
    if existing == "refuse":
        with pytest.raises(DestinationDiffersError):
            store.checkout("c", out)
    else:
        store.checkout("c", out, existing=existing)
    assert picture(outside, times=False).keys() == {b"", b"a"}
    assert (outside / "a").read_text() == "precious"
    assert os.path.islink(out / "sub") == (existing != "replace")


def test_links_that_the_store_itself_holds_are_written_and_never_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    store.put("c/sub", os.fsencode(outside), media_type="inode/symlink")
    store.checkout("c", tmp_path / "out")
    store.artifacts.delete("c/sub")
    store.put("c/sub/a", "within")
    with pytest.raises(DestinationDiffersError):
        store.checkout("c", tmp_path / "out")
    store.checkout("c", tmp_path / "out", existing="keep")
    assert os.listdir(outside) == []
    store.checkout("c", tmp_path / "out", existing="replace")
    assert os.listdir(outside) == []
    assert (tmp_path / "out/sub/a").read_text() == "within"


def test_a_folder_that_is_exchanged_for_a_link_meanwhile_is_not_followed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    out = tmp_path / "out"
    store.put_many((f"c/{n:03}/a", str(n)) for n in range(150))  # more folders than are held open
    settle = staging.Staging.settle

    def exchange(self: Any) -> None:
        settle(self)
        os.rename(out / "000", out / "away")
        os.symlink(outside, out / "000")

    monkeypatch.setattr(staging.Staging, "settle", exchange)
    report = store.checkout("c", out)
    assert problems(report) == {"000/a": "changed"}
    assert os.listdir(outside) == []


def test_names_that_no_store_lets_in_lead_nowhere(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("c/a", "x")
    real = list(outgoing.below(store._handle.index, store.collections.get("c"), placed=True))
    wanted = real[0].revision
    events = [
        outgoing.Entry((), b"../outside", wanted), outgoing.Place((b"..",), FileFacts()),
        outgoing.Entry((b"..",), b"outside", wanted), outgoing.Entry((), b"..", wanted), *real,
    ]  # fmt: skip
    monkeypatch.setattr(outgoing, "below", lambda *_, **__: iter(events))
    report = store.checkout("c", tmp_path / "out")
    assert {one.code for one in report.problems} == {"refused"}
    assert sorted(os.listdir(tmp_path)) == ["out", "store"]
    assert os.listdir(tmp_path / "out") == ["a"]


def test_the_store_itself_is_no_destination_and_is_not_written_into(store: Store, tmp_path: Path) -> None:
    store.put("c/blobs/a", "x")
    for inside in (store.path, store.path / "blobs" / "new"):
        with pytest.raises(InvalidValueError, match="in the store itself"):
            store.checkout("c", inside)
    store.put("d/store/blobs/a", "x")
    report = store.checkout("d", tmp_path)
    assert problems(report) == {"store": "store"}
    assert not (store.path / "blobs" / "a").exists()


def test_contents_that_no_link_can_lead_to_are_refused_and_named(store: Store, tmp_path: Path) -> None:
    store.put("c/nul", b"a\0b", media_type="inode/symlink")
    store.put("c/nothing", b"", media_type="inode/symlink")
    store.put("c/long", b"x" * 5_000, media_type="inode/symlink")
    store.put("c/large", b"x" * (2 << 20), media_type="inode/symlink")
    store.put("c/fine", b"x", media_type="inode/symlink")
    report = store.checkout("c", tmp_path / "out")
    assert set(problems(report)) == {"nul", "nothing", "long", "large"}
    assert set(problems(report).values()) == {"refused"}
    assert os.readlink(tmp_path / "out/fine") == "x"


# -- interruptions ---------------------------------------------------------------------------------------------------


class Counting:
    """Stands in for `os`: kills the process at its Nth call."""

    def __init__(self, kill_at: int) -> None:
        self._left = kill_at

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if not callable(found) or name in ("fsencode", "fsdecode", "fstat", "close", "fspath", "PathLike"):
            return found

        return lambda *args, **more: self.counted(found, *args, **more)

    def counted(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **more)


def killed_at(number: int, root: Path, out: Path, way: str) -> bool:
    """Check out in a child that is killed at its Nth file operation; whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with holdfast.open(root, read_only=True) as store:
                calls: Any = Counting(number)
                ground.os = staging.os = checking_out.os = calls  # type: ignore[attr-defined]
                rename = ground._renameat2
                ground._renameat2 = None if way == "linked" else lambda *args: calls.counted(rename, *args)
                Disk.sync_filesystem = lambda _self, path: calls.counted(str, path)  # type: ignore[method-assign]
                checking_out.WINDOW_ITEMS = 3
                store.checkout("tree", out, existing="replace" if way == "replace" else "refuse")
                code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    "each", [3, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])], ids=["some", "all"]
)
@pytest.mark.parametrize("way", ["renamed", "linked", "replace"])
def test_killed_at_any_operation_every_name_stands_for_a_whole_file_and_the_next_run_goes_on(
    store: Store, tree: Path, tmp_path: Path, way: str, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kill loses nothing that was written, synced or not: that a name comes after the sync is seen by the next test.
    monkeypatch.setattr(Disk, "sync_filesystem", lambda *_: None)
    store.add(tree)
    wanted = picture(tree)
    out = tmp_path / "out"
    number = 0
    while True:
        number += each
        if way == "replace":
            out.mkdir()
            (out / "a.txt").write_bytes(b"mine\n")
        killed = killed_at(number, store.path, out, way)
        found = picture(out) if out.exists() else {}
        for path, (kind, *facts) in found.items():
            if kind != "folder" and not path.startswith(b".holdfast-checkout-"):
                mine = way == "replace" and path == b"a.txt" and facts[-1] == b"mine\n"
                assert mine or (kind, *facts) == wanted[path], (number, path)
        store.checkout("tree", out, existing="replace" if way == "replace" else "refuse")
        assert picture(out) == wanted, number
        shutil.rmtree(out)
        if not killed:
            break
    assert number > 40


def test_no_file_gets_its_name_before_it_is_synced(
    store: Store, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(tree)
    monkeypatch.setattr(checking_out, "WINDOW_ITEMS", 2)
    seen: list[str] = []
    for name in ("write", "link", "settle", "place"):
        real = getattr(staging.Staging, name)

        def note(*args: Any, real: Any = real, name: str = name) -> Any:
            seen.append(name)
            return real(*args)

        monkeypatch.setattr(staging.Staging, name, note)
    synced = Disk.sync_filesystem
    monkeypatch.setattr(Disk, "sync_filesystem", lambda *args: (seen.append("sync"), synced(*args)))
    store.checkout("tree", tmp_path / "out")
    waiting = 0
    for word in seen:
        waiting = waiting + 1 if word in ("write", "link") else 0 if word == "sync" else waiting
        assert not (word == "place" and waiting)
    assert seen[-2:] == ["sync", "sync"]
    assert (seen.count("place"), seen.count("settle")) == (5, 3)


def test_ctrl_c_leaves_whole_files_and_no_passing_names(
    store: Store, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking_out, "WINDOW_ITEMS", 2)
    store.add(tree)

    def interrupt(done: int, _total: int | None, _what: str, _unit: str) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.checkout("tree", tmp_path / "out", progress=interrupt)
    left = picture(tmp_path / "out")
    assert sum(kind != "folder" for kind, *_ in left.values()) == 2
    assert outcome(store.checkout("tree", tmp_path / "out")) == (3, 2, 0, 0)
    assert picture(tmp_path / "out") == picture(tree)


def test_two_checkouts_into_one_folder_do_not_mix(store: Store, tree: Path, tmp_path: Path) -> None:
    store.add(tree)
    refused: list[str] = []

    def other(*_: object) -> None:
        with pytest.raises(LockedError) as caught:
            store.checkout("tree", tmp_path / "out")
        refused.append(caught.value.code)

    assert store.checkout("tree", tmp_path / "out", progress=other).written == 5
    assert refused == ["locked"]


def test_writing_meanwhile_is_told(store: Store, tree: Path, tmp_path: Path) -> None:
    store.add(tree)
    report = store.checkout("tree", tmp_path / "out", progress=lambda *_: store.put("other", "x") and None)
    assert report.moved_on
    assert not store.checkout("tree", tmp_path / "again", at=report.seq).moved_on


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def call(store: Store, tmp_path: Path) -> Iterator[Any]:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-m", "holdfast", "-C", str(store.path), "checkout", *args]
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)

    return run


def test_the_command_says_what_it_did_and_ends_with_the_right_code(
    store: Store, tree: Path, call: Any, tmp_path: Path
) -> None:
    store.add(tree)
    done = call("tree", "out", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "5 files would be written; 97.7 KiB\n")
    assert not (tmp_path / "out").exists()
    done = call("tree", "out")
    assert (done.returncode, done.stdout) == (0, "5 files written; 97.7 KiB\n")
    (tmp_path / "out/a.txt").write_text("mine")
    done = call("tree", "out", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert '"code":"destination-differs"' in done.stderr.replace('": ', '":')
    done = call("tree", "out", "--dry-run")
    assert (done.returncode, done.stderr) == (1, "in the way: a.txt\n")
    assert call("tree", "out", "--keep").stdout == "0 files written, 4 there already, 1 kept as they are; 0 B\n"
    assert call("tree", "out", "--keep", "--force").returncode == 2
    assert call("tree", "out", "--force").stdout == "1 file written, 4 there already, 1 of them replaced; 6 B\n"
    store.redact(store.get("tree/a.txt"), fields=["content"])
    done = call("tree", "new")
    assert (done.returncode, done.stderr) == (3, "left out: a.txt: the content of revision 1 was redacted\n")
