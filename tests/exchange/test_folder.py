"""`add`: every name a POSIX file system can hold, links as links, what cannot be read reported, the rest goes in."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import gc
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import FileFacts, Store
from holdfast.blobs.packs import PackFolder
from holdfast.disk import Disk
from holdfast.engine import content
from holdfast.errors import HandleDeadError, InvalidValueError, StorageIOError
from holdfast.exchange import folder, hand, reading
from holdfast.kinds.bulk import Bulk, Item
from holdfast.testing.faults import FaultyDisk

Opener = Callable[..., Store]
AS_ROOT = os.geteuid() == 0


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir()
    return made


def outcome(report: folder.AddReport) -> tuple[int, int, int]:
    return report.added, report.revised, report.unchanged


def problems(report: folder.AddReport) -> dict[str, str]:
    return {os.path.basename(one.path): one.code for one in report.problems}


def paths(store: Store) -> list[str]:
    return [one.path for one in store.artifacts.list("", recursive=True)]


def test_a_tree_goes_in_with_content_mode_mtime_and_source(store: Store, tree: Path) -> None:
    (tree / "sub").mkdir(mode=0o750)
    (tree / "a.md").write_bytes(b"hello")
    (tree / "sub" / "run.sh").write_bytes(b"#!/bin/sh\n")
    os.chmod(tree / "sub" / "run.sh", 0o4755)
    os.utime(tree / "a.md", ns=(0, 1_234_567_890_123_456_789))
    os.utime(tree / "sub", ns=(0, -5))
    report = store.add(tree)

    assert outcome(report) == (2, 0, 0)
    assert (report.collections, report.bytes, report.problems) == (2, 15, [])
    made = store.get("tree/a.md")
    assert (made.media_type, made.revision.file.mtime_ns, made.revision.source) == (
        "text/markdown",
        1_234_567_890_123_456_789,
        str(tree / "a.md"),
    )
    assert store.get("tree/sub/run.sh").revision.file.mode == 0o4755
    assert store.collections.get("tree/sub").file == FileFacts(0o750, -5)
    assert store.read("tree/sub/run.sh") == b"#!/bin/sh\n"
    assert os.listdir(store.path / "tmp") == []


def test_every_single_byte_is_a_name_and_so_are_the_odd_ones(store: Store, tree: Path) -> None:
    names = {bytes([b]) for b in range(1, 256) if bytes([b]) not in (b"/", b".")}
    names |= {
        b"new\nline",
        "\U0001f600 é".encode(),
        b"x" * 255,
        b"\xff" * 255,
        b"...",
        b"-rf",
        b"a\\xffb",
        b"a\xffb",
        b" ",
        b"id:x",
    }
    root = os.fsencode(tree)
    for name in names:
        with open(os.path.join(root, name), "wb") as file:
            file.write(name)
    os.mkdir(os.path.join(root, b"\xfe dir"))
    with open(os.path.join(root, b"\xfe dir", b"\xfd"), "wb") as file:
        file.write(b"deep")

    report = store.add(root, into=b"\xfc")

    assert report.problems == []
    assert report.added == len(names) + 1
    for name in names:
        assert store.read(b"\xfc/tree/" + name) == name
        assert store.get(b"\xfc/tree/" + name).name_bytes == name
    assert store.read(b"\xfc/tree/\xfe dir/\xfd") == b"deep"
    assert {one.name_bytes for one in store.artifacts.list(b"\xfc/tree")} == names


def test_links_go_in_as_links_wherever_they_lead(store: Store, tree: Path) -> None:
    (tree / "real").mkdir()
    (tree / "real" / "file").write_bytes(b"content")
    targets = {
        "to-file": "real/file",
        "to-dir": "real",
        "dangling": "nowhere/at all",
        "loop": "loop",
        "up": "..",
        "absolute": "/etc",
        "odd": b"\xff\n",
    }
    for name, target in targets.items():
        os.symlink(os.fsencode(target), os.fsencode(tree / name))
    report = store.add(tree)

    assert report.added == len(targets) + 1
    assert report.problems == []
    for name, target in targets.items():
        link = store.get(f"tree/{name}")
        assert (link.media_type, link.revision.file.mode) == ("inode/symlink", None)
        assert store.read(link) == os.fsencode(target)
        assert link.revision.file.mtime_ns == os.lstat(tree / name).st_mtime_ns
    assert outcome(store.add(tree)) == (0, 0, len(targets) + 1)


def test_a_second_add_changes_nothing_and_a_third_takes_what_changed(store: Store, tree: Path) -> None:
    for n in range(20):
        (tree / f"{n}").write_text(f"content {n}")
    store.add(tree)
    head = store.changes.head()

    assert outcome(store.add(tree)) == (0, 0, 20)
    assert store.changes.head() == head
    (tree / "3").write_text("other")
    (tree / "new").write_text("new")
    os.chmod(tree / "5", 0o700)
    os.utime(tree / "7", ns=(0, 0))
    assert outcome(store.add(tree)) == (1, 2, 18)
    assert store.get("tree/5").revision.file.mode == 0o700
    assert [one.number for one in store.artifacts.revisions("tree/3")] == [2, 1]
    assert store.get("tree/7").number == 1, "a touch is no change"


def test_where_things_go_is_said_by_into_and_by_the_last_part_of_the_path(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "a").write_bytes(b"1")
    monkeypatch.chdir(tree.parent)

    for source, into, expected in (
        ("tree", "", "tree/a"),
        ("tree/", "x", "x/tree/a"),
        ("./tree/.", "y", "y/tree/a"),
        (tree / "a", "z", "z/a"),
        ("tree/a", "w/v", "w/v/a"),
        (str(tree), "abs", "abs/tree/a"),
        (os.fsencode(tree), "raw", "raw/tree/a"),
        ("tree/../tree/a", "dots", "dots/a"),
    ):
        assert store.add(source, into=into).added == 1
        assert store.read(expected) == b"1"
    monkeypatch.chdir(tree)
    assert store.add(".", into="here").added == 1
    assert store.read("here/a") == b"1"
    assert store.add("a", tree, into="both").added == 2


def test_empty_folders_and_empty_files_go_in(store: Store, tree: Path) -> None:
    (tree / "empty" / "er").mkdir(parents=True)
    (tree / "nothing").touch()
    report = store.add(tree)

    assert (report.added, report.collections, report.bytes) == (1, 3, 0)
    assert [one.path for one in store.collections.list("", recursive=True)] == ["tree", "tree/empty", "tree/empty/er"]
    assert store.read("tree/nothing") == b""


def test_what_is_no_file_is_reported_and_neither_waited_for_nor_read(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        (tree / "file").write_bytes(b"1")
        report = store.add(tree)

    assert problems(report) == {"pipe": "special", "socket": "special"}
    assert (report.added, report.seen) == (1, 3)


def test_what_cannot_be_read_is_reported_and_the_rest_goes_in(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "a").write_bytes(b"1")
    (tree / "locked").write_bytes(b"2")
    (tree / "closed").mkdir()
    (tree / "closed" / "inside").write_bytes(b"3")
    (tree / "z").write_bytes(b"4")
    if AS_ROOT:
        real_open, real_list = os.open, os.listdir

        def refuse(path: Any, what: str) -> None:
            if os.path.basename(os.fsencode(path)) == what.encode():
                raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "open", lambda path, *a, **k: (refuse(path, "locked"), real_open(path, *a, **k))[1])
        monkeypatch.setattr(
            os,
            "listdir",
            lambda path=".": (refuse(path, "closed") if isinstance(path, (bytes, str)) else None, real_list(path))[1],
        )
    else:
        os.chmod(tree / "locked", 0)
        os.chmod(tree / "closed", 0)
    report = store.add(tree, "/no/such/place", tree / "not there")
    if not AS_ROOT:
        os.chmod(tree / "closed", 0o700)

    assert problems(report) == {
        "locked": "unreadable",
        "closed": "unreadable",
        "place": "unreadable",
        "not there": "unreadable",
    }
    assert paths(store) == ["tree/a", "tree/z"]


def test_the_store_does_not_swallow_itself(root: str) -> None:
    with holdfast.create(root) as store:
        home = Path(root).parent
        (home / "file").write_bytes(b"1")
        store.put("inside", b"x")
        (home / "link").symlink_to(root)

        report = store.add(home, into="home")
        assert problems(report) == {"store": "store"}
        assert report.added == 2, "the file and the link to the store"
        for source in (
            root,
            Path(root, "blobs"),
            Path(root, "holdfast.json"),
            os.path.join(home, "link", "."),
            Path(root, "..", "store"),
        ):
            again = store.add(source, into="x")
            assert [one.code for one in again.problems] == ["store"]
            assert again.seen == 1
        assert store.read(f"home/{home.name}/link") == os.fsencode(root)


def test_a_file_that_became_a_link_and_back_is_revised_each_time(store: Store, tree: Path) -> None:
    place = tree / "x.md"
    place.write_bytes(b"target")
    store.add(tree)
    place.unlink()
    place.symlink_to("target")
    assert outcome(store.add(tree)) == (0, 1, 0), "the same bytes, but a link"
    assert store.get("tree/x.md").media_type == "inode/symlink"
    place.unlink()
    place.write_bytes(b"target")
    assert outcome(store.add(tree)) == (0, 1, 0)
    assert (store.get("tree/x.md").media_type, store.get("tree/x.md").number) == ("text/markdown", 3)


def test_a_file_that_became_a_folder_or_the_reverse_is_refused_and_the_rest_goes_in(store: Store, tree: Path) -> None:
    (tree / "f").write_bytes(b"1")
    (tree / "d").mkdir()
    (tree / "d" / "x").write_bytes(b"2")
    store.add(tree)
    (tree / "f").unlink()
    (tree / "f").mkdir()
    (tree / "f" / "y").write_bytes(b"3")
    (tree / "d" / "x").unlink()
    (tree / "d").rmdir()
    (tree / "d").write_bytes(b"4")
    (tree / "new").write_bytes(b"5")

    report = store.add(tree)

    assert problems(report) == {"f": "refused", "y": "refused", "d": "refused"}
    assert report.added == 1
    assert (store.read("tree/f"), store.read("tree/d/x"), store.read("tree/new")) == (b"1", b"2", b"5")
    assert all("is a" in one.reason for one in report.problems)


# -- while others change the tree --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = tree / "busy"
    path.write_bytes(b"a" * size)
    tries: list[int] = []

    def slowly(real: Callable[..., Any]) -> Callable[..., Any]:
        def read(*arguments: Any, **options: Any) -> Any:
            found = real(*arguments, **options)
            if len(tries) < 2:
                tries.append(1)
                path.write_bytes(b"b" * (size + len(tries)))
            return found

        return read

    monkeypatch.setattr(content, "stage_stream", slowly(content.stage_stream))
    monkeypatch.setattr(hand.os, "read", slowly(os.read))
    report = store.add(tree)

    assert report.problems == []
    assert store.read("tree/busy") == b"b" * (size + 2)
    assert store.get("tree/busy").revision.file.mtime_ns == path.stat().st_mtime_ns, "of the bytes that were read"
    assert os.listdir(store.path / "tmp") == []


def test_a_file_that_keeps_changing_is_reported_and_never_stored_as_a_mix(store: Store, tree: Path) -> None:
    path = tree / "busy"
    length = 1_500_000
    path.write_bytes(b"\0" * length)
    (tree / "calm").write_bytes(b"1")
    stop = threading.Event()

    def write() -> None:
        turn = 0
        with path.open("r+b", buffering=0) as file:
            while not stop.is_set():
                turn = (turn + 1) % 256
                for start in range(0, length, 100_000):
                    file.seek(start)
                    file.write(bytes([turn]) * 100_000)

    worker = threading.Thread(target=write)
    worker.start()
    try:
        report = store.add(tree)
    finally:
        stop.set()
        worker.join()

    assert store.read("tree/calm") == b"1"
    if report.problems:
        assert problems(report) == {"busy": "changed"}
        assert paths(store) == ["tree/calm"]
    else:
        # As it was at one moment, which may be in the midst of a turn: so far the new, from there on the old.
        stored = store.read("tree/busy")
        blocks = [set(stored[start : start + 100_000]) for start in range(0, length, 100_000)]
        assert all(len(block) == 1 for block in blocks)
        values = [value for block in blocks for value in block]
        assert sum(one != two for one, two in itertools.pairwise(values)) <= 1
    assert os.listdir(store.path / "tmp") == []


def swapped(monkeypatch: pytest.MonkeyPatch, path: Path, swap: Callable[[], None]) -> None:
    """Between the look at a file and its opening, `swap` happens once."""
    real, done = os.open, []

    def opener(found: Any, *arguments: Any, **options: Any) -> int:
        if not done and os.fsencode(found) == os.fsencode(path):
            done.append(1)
            path.unlink()
            swap()
        return real(found, *arguments, **options)

    monkeypatch.setattr(os, "open", opener)


def test_a_file_that_vanishes_after_it_was_seen_is_reported(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "a").write_bytes(b"1")
    (tree / "b").write_bytes(b"2")
    swapped(monkeypatch, tree / "a", lambda: None)

    report = store.add(tree)

    assert problems(report) == {"a": "vanished"}
    assert paths(store) == ["tree/b"]


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_what_takes_a_file_s_place_is_neither_followed_nor_waited_for(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tree / "a"
    path.write_bytes(b"1")
    secret = tree.parent / "secret"
    secret.write_bytes(b"not for the store")
    swaps = {"link": lambda: path.symlink_to(secret), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}
    swapped(monkeypatch, path, swaps[what])

    report = store.add(tree)

    assert problems(report)["a"] in ("changed", "unreadable")
    assert paths(store) == []


def test_a_folder_whose_entries_vanish_while_it_is_listed_is_read_on(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tree / name).write_bytes(name.encode())
    real = os.listdir
    monkeypatch.setattr(
        os, "listdir", lambda path=".": [*real(path), b"ghost"] if os.fsencode(path).endswith(b"tree") else real(path)
    )

    report = store.add(tree)

    assert problems(report) == {"ghost": "vanished"}
    assert report.added == 3


# -- batches -----------------------------------------------------------------------------------------------------------


def transactions(store: Store) -> int:
    return len({change.tx for change in store.changes.list()})


def test_batches_are_each_all_or_nothing_and_an_atomic_add_is_one_transaction(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 7)
    for n in range(30):
        (tree / f"{n:02}").write_text(f"content {n % 20}")
    store.add(tree)
    assert transactions(store) == 5
    store.add(tree, into="atomic", atomic=True)
    assert transactions(store) == 6
    monkeypatch.setattr(folder, "ATOMIC_ITEMS", 10)
    with pytest.raises(InvalidValueError):
        store.add(tree, into="too many", atomic=True)
    assert transactions(store) == 6
    assert os.listdir(store.path / "tmp") == []


def test_an_add_that_was_interrupted_goes_on_where_it_stopped(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 5)
    for n in range(23):
        (tree / f"{n:02}").write_text(f"content {n}")
    shown: list[int] = []

    def interrupt(done: int, *_: Any) -> None:
        shown.append(done)
        if len(shown) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(tree, progress=interrupt)
    first = len(paths(store))
    assert 0 < first < 23
    assert os.listdir(store.path / "tmp") == []

    report = store.add(tree, progress=lambda *_: None)
    assert outcome(report) == (23 - first, 0, first)
    assert all(store.read(f"tree/{n:02}") == f"content {n}".encode() for n in range(23))


def test_an_add_inside_a_transaction_is_undone_with_it(store: Store, tree: Path) -> None:
    (tree / "a").write_bytes(b"1")
    with pytest.raises(ZeroDivisionError), store.transaction():
        assert store.add(tree).added == 1
        raise ZeroDivisionError
    assert paths(store) == []
    assert store.changes.head().next_seq == 1


def test_equal_files_are_stored_once(store: Store, tree: Path) -> None:
    for n in range(10):
        (tree / f"{n}").write_bytes(b"the same")
        (tree / f"big{n}").write_bytes(b"the same " * 200_000)
    store.add(tree)

    assert len(list((store.path / "blobs").rglob("*.zst"))) == 1
    with PackFolder(store.path, Disk()).scan(next((store.path / "packs").iterdir()).stem) as scan:
        assert sum(len(part.members) for part in scan.parts()) == 1
    assert len({one.digest for one in store.find()}) == 2


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("write", "store/tmp"), ("sync_filesystem", "store"), ("link", "store/blobs"), ("fsync_dir", "store/blobs"),
        ("write", "store/packs"), ("fsync", "store/packs"), ("fsync_dir", "store/packs"),
    ],
)  # fmt: skip
def test_a_disk_that_fails_stops_the_add_with_whole_batches_only(
    opener: Opener, disk: FaultyDisk, tree: Path, operation: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not path.endswith("packs"):
        monkeypatch.setenv("HOLDFAST_PACK_UP_TO", "0")
    store = opener()
    for n in range(30):
        (tree / f"{n}").write_text(f"content {n}")
    disk.fail(operation, path=path, nth=3 if operation in ("write", "link") and "packs" not in path else 1)

    with pytest.raises(StorageIOError):
        store.add(tree)

    disk.heal()
    if "sync" in operation:
        with pytest.raises(HandleDeadError):
            store.add(tree)
    again = opener()
    assert paths(again) == []
    assert os.listdir(again.path / "tmp") == []
    assert again.add(tree).added == 30


def test_a_sync_that_fails_beside_the_next_batch_stops_the_add_and_loses_no_batch_before(
    opener: Opener, disk: FaultyDisk, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 5)
    monkeypatch.setattr(reading, "TOGETHER_ITEMS", 5)  # what is staged together is synced together
    store = opener()
    for n in range(23):
        (tree / f"{n:02}").write_text(f"content {n}")
    disk.fail("fsync", path="store/packs", nth=3)

    with pytest.raises(StorageIOError):
        store.add(tree)

    disk.heal()
    with pytest.raises(HandleDeadError):
        store.add(tree)
    again = opener()
    there = paths(again)
    assert len(there) == 9, "two batches of five, the folder itself among them, were synced and committed"
    assert all(again.read(path) == f"content {int(path[-2:])}".encode() for path in there)
    assert os.listdir(again.path / "tmp") == []
    assert again.add(tree).added == 14


DEEP = 1_100


@pytest.fixture
def deep(tree: Path) -> Iterator[Path]:
    """A folder in a folder, more often than Python's stack has room for, with a file at the very bottom."""
    here = os.open(tree, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    yield tree
    subprocess.run(["rm", "-rf", str(tree)], check=True)  # shutil.rmtree and pytest recurse


def test_a_tree_deeper_than_python_s_stack_goes_in(store: Store, deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 400)
    report = store.add(deep)

    assert (report.problems, report.added, report.collections) == ([], 1, DEEP + 1)
    assert store.read("/".join(["tree", *["d"] * DEEP, "file"])) == b""
    assert store.collections.contents("")["collections"] == DEEP + 1
    assert outcome(store.add(deep)) == (0, 0, 1)


def test_reading_ahead_is_bounded_in_open_files_and_in_bytes(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand, "OPEN_AHEAD", 5)
    monkeypatch.setattr(reading, "TOGETHER_BYTES", 10_000)
    monkeypatch.setattr(folder, "HELD_BYTES", 20_000)
    for n in range(40):
        (tree / f"{n}").write_bytes(os.urandom(3_000))
    real_open, real_settle = os.open, store._handle.blobs.settle
    most_open, most_held = 0, 0

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        nonlocal most_open
        found = real_open(path, *arguments, **options)
        if str(tree) not in os.fsdecode(path):
            return found  # threads that start processes open files too
        links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        most_open = max(most_open, sum(os.path.islink(one) and str(tree) in os.readlink(one) for one in links))
        return found

    def settle(staged: Any) -> None:
        nonlocal most_held
        most_held = max(most_held, sum(one.size for one in staged))
        real_settle(staged)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(store._handle.blobs, "settle", settle)
    assert store.add(tree).added == 40
    assert 2 <= most_open <= 6
    assert 10_000 <= most_held <= 20_000 + 3_000


def test_contents_that_the_store_has_wait_in_memory_for_no_more_than_a_batch_may_hold(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "HELD_BYTES", 400_000)
    for n in range(20):
        (tree / f"{n:02}").write_bytes(os.urandom(100_000))  # too large for a pack
    assert outcome(store.add(tree)) == (20, 0, 0)
    held: list[int] = []
    real = Bulk.put

    def put(bulk: Bulk, items: list[Item]) -> None:
        contents = [item.incoming for item in items if item.incoming is not None]
        held.append(sum(len(one.data) for one in contents if one.data is not None))
        real(bulk, items)

    monkeypatch.setattr(Bulk, "put", put)
    assert outcome(store.add(tree, checksum=True)) == (0, 0, 20)
    assert held == [400_000] * 5


def test_what_is_open_ahead_is_closed_when_an_add_is_stopped(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 5)
    monkeypatch.setattr(reading, "TOGETHER_ITEMS", 3)
    for n in range(40):
        (tree / f"{n}").write_bytes(os.urandom(300))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    store.put("first", b"opens what a store keeps open")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        store.add(tree, progress=interrupt)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


@pytest.mark.parametrize("together", [1, 7, 1_000])
def test_what_goes_in_does_not_depend_on_how_much_is_read_together(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(reading, "TOGETHER_ITEMS", together)
    contents = {f"{n:03}": bytes([n]) * (n * 997) for n in range(120)} | {"same": b"\1" * 997}
    for name, data in contents.items():
        (tree / name).write_bytes(data)
    report = store.add(tree)

    assert (report.added, report.bytes) == (len(contents), sum(map(len, contents.values())))
    assert all(store.read(f"tree/{name}") == data for name, data in contents.items())
    assert store.fsck().findings == ()
    assert os.listdir(store.path / "tmp") == []


def test_the_collector_of_cycles_is_as_it_was_after_an_add_that_was_stopped(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")

    def stop(*_: object) -> None:
        assert not gc.isenabled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(tmp_path / "a", progress=stop)
    assert gc.isenabled()
    store.add(tmp_path / "a")
    assert gc.isenabled()
