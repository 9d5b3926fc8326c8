"""Law 2 and DESIGN, section 3, steps 1 and 4: what is synced, and before what."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.blobs import LocalBlobs
from holdfast.disk import Disk
from holdfast.errors import InvalidValueError, NoSpaceError, StorageIOError

PathOf = Callable[[str], Path]


class Recording(Disk):
    """Notes what is done, as (operation, path inside the store); fails where `fail` says."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.log: list[tuple[str, str]] = []
        self.fail: dict[str, int] = {}

    def note(self, operation: str, path: str) -> None:
        self.log.append((operation, os.path.relpath(path, self.root)))
        if operation in self.fail:
            code = self.fail[operation]
            kind = NoSpaceError if code == errno.ENOSPC else StorageIOError
            raise kind(os.strerror(code), path=path)

    def create(self, path: str) -> int:
        fd = super().create(path)
        self.note("create", path)
        return fd

    def write(self, fd: int, data: bytes | bytearray | memoryview, path: str) -> None:
        self.note("write", path)
        super().write(fd, data, path)

    def fsync(self, fd: int, path: str) -> None:
        self.note("fsync", path)
        super().fsync(fd, path)

    def fsync_dir(self, path: str) -> None:
        self.note("fsync_dir", path)
        super().fsync_dir(path)

    def sync_filesystem(self, path: str) -> None:
        self.note("syncfs", path)
        super().sync_filesystem(path)

    def link(self, source: str, target: str) -> None:
        super().link(source, target)
        self.note("link", target)

    def unlink(self, path: str) -> None:
        self.note("unlink", path)
        super().unlink(path)

    def mkdir(self, path: str) -> bool:
        made = super().mkdir(path)
        self.note("mkdir", path)
        return made

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self.note("rename", target)

    def taken(self) -> list[tuple[str, str]]:
        """The log so far; it begins anew."""
        log, self.log = self.log, []
        return log


@pytest.fixture
def disk(tmp_path: Path) -> Recording:
    for name in ("blobs", "tmp", "quarantine"):
        (tmp_path / name).mkdir()
    return Recording(tmp_path)


@pytest.fixture
def store(disk: Recording, tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(str(tmp_path), disk)


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_one_blob_is_synced_linked_synced_and_only_then_forgotten_in_tmp(store: LocalBlobs, disk: Recording) -> None:
    staged = store.stage(b"one")
    tmp = os.path.relpath(staged.place.path, disk.root)
    assert disk.taken() == [("create", tmp), ("write", tmp), ("fsync", tmp)]
    store.publish([staged])
    folder = f"blobs/{staged.digest[7:9]}"
    assert disk.taken() == [
        ("mkdir", folder),
        ("link", f"{folder}/{staged.digest[7:]}.zst"),
        ("fsync_dir", "blobs"),
        ("fsync_dir", folder),
        ("unlink", tmp),
    ]


def test_a_folder_that_this_handle_has_synced_is_not_synced_into_blobs_again(
    store: LocalBlobs, disk: Recording
) -> None:
    first = store.stage(b"0")
    store.publish([first])
    store.delete(first.digest)
    again = store.stage(b"0")
    disk.taken()
    store.publish([again])
    assert [step for step, _ in disk.taken()] == ["link", "fsync_dir", "unlink"]


def test_a_folder_made_by_a_process_that_died_is_synced_by_the_next(store: LocalBlobs, disk: Recording) -> None:
    staged = store.stage(b"one")
    os.mkdir(os.path.join(disk.root, "blobs", staged.digest[7:9]))
    store.publish([staged])
    assert ("fsync_dir", "blobs") in disk.taken()


def test_a_blob_that_is_there_is_synced_before_anyone_relies_on_it(store: LocalBlobs, disk: Recording) -> None:
    """Whoever wrote it may have died between its link and its sync."""
    store.publish([store.stage(b"one")])
    again = store.stage(b"one")
    name = f"blobs/{again.digest[7:9]}/{again.digest[7:]}.zst"
    inode = os.stat(os.path.join(disk.root, name)).st_ino
    disk.taken()
    store.publish([again])
    assert disk.taken()[:2] == [("fsync", name), ("fsync_dir", os.path.dirname(name))]
    assert os.stat(os.path.join(disk.root, name)).st_ino == inode


def test_unsettled_bytes_are_not_synced_and_many_are_settled_by_one_call(store: LocalBlobs, disk: Recording) -> None:
    staged = [store.stage(b"%d" % n, durable=False) for n in range(200)]
    assert {step for step, _ in disk.taken()} == {"create", "write"}
    store.settle(staged)
    assert disk.taken() == [("syncfs", "tmp")]
    store.publish(staged)
    log = disk.taken()
    last_link = max(n for n, (step, _) in enumerate(log) if step == "link")
    first_unlink = min(n for n, (step, _) in enumerate(log) if step == "unlink")
    between = log[last_link + 1 : first_unlink]
    assert between == [("fsync_dir", "blobs"), ("syncfs", "blobs")]


def test_a_few_are_settled_one_by_one(store: LocalBlobs, disk: Recording) -> None:
    staged = [store.stage(b"%d" % n, durable=False) for n in range(3)]
    disk.taken()
    store.settle(staged)
    assert [step for step, _ in disk.taken()] == ["fsync"] * 3
    store.settle(staged)
    assert disk.taken() == []


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("content", [b"small", b"large" * 200_000], ids=["one frame", "many frames"])
@pytest.mark.parametrize(("step", "code"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_a_stage_that_fails_leaves_nothing(
    store: LocalBlobs, disk: Recording, step: str, code: int, content: bytes, durable: bool
) -> None:
    disk.fail[step] = code
    if step == "fsync" and not durable:
        store.discard([store.stage(content, durable=False)])
    else:
        with pytest.raises((NoSpaceError, StorageIOError)):
            store.stage(content, durable=durable)
    assert names_in(Path(disk.root)) == []


def test_a_tmp_that_is_no_folder_is_an_error_of_storage(store: LocalBlobs, disk: Recording) -> None:
    tmp = Path(disk.root, "tmp")
    tmp.rmdir()
    tmp.write_bytes(b"not a folder")
    with pytest.raises(StorageIOError):
        store.stage(b"content")
    assert tmp.read_bytes() == b"not a folder"


@pytest.mark.parametrize("count", [1, 100])
def test_a_sync_that_failed_is_not_asked_again(store: LocalBlobs, disk: Recording, count: int) -> None:
    staged = [store.stage(b"%d" % n, durable=False) for n in range(count)]
    disk.fail.update(fsync=errno.EIO, syncfs=errno.EIO)
    with pytest.raises(StorageIOError):
        store.settle(staged)
    disk.fail.clear()
    disk.taken()
    with pytest.raises(StorageIOError, match="failed before"):
        store.settle(staged)
    with pytest.raises(InvalidValueError, match="not settled"):
        store.publish(staged)
    assert disk.taken() == []
    store.discard(staged)
    assert names_in(Path(disk.root)) == []


@pytest.mark.parametrize("step", ["link", "fsync_dir", "mkdir"])
def test_a_publish_that_fails_can_be_repeated_and_loses_nothing(store: LocalBlobs, disk: Recording, step: str) -> None:
    staged = [store.stage(b"%d" % n) for n in range(4)]
    disk.fail[step] = errno.ENOSPC
    with pytest.raises(NoSpaceError):
        store.publish(staged)
    disk.fail.clear()
    stats = store.publish(staged)
    assert [store.read(stat.digest) for stat in stats] == [b"0", b"1", b"2", b"3"]
    assert names_in(Path(disk.root) / "tmp") == []


def test_what_cannot_be_removed_from_tmp_fails_nobody(store: LocalBlobs, disk: Recording) -> None:
    staged = store.stage(b"done")
    disk.fail["unlink"] = errno.EIO
    store.publish([staged])
    disk.fail.clear()
    (left,) = store.stale()
    assert store.remove_stale(left.path)
    assert store.read(staged.digest) == b"done"


def test_staged_bytes_that_somebody_removed_are_an_error(store: LocalBlobs) -> None:
    staged, unsettled = store.stage(b"gone"), store.stage(b"gone too", durable=False)
    for entry in list(store.stale()):
        store.remove_stale(entry.path)
    with pytest.raises(StorageIOError, match="is gone"):
        store.publish([staged])
    with pytest.raises(StorageIOError, match="is gone"):
        store.settle([unsettled])
    store.discard([staged, unsettled])


def test_folders_that_a_copying_tool_left_out_are_made_again(tmp_path: Path) -> None:
    disk = Recording(tmp_path)
    store = LocalBlobs(str(tmp_path), disk)
    assert list(store.walk()) == list(store.stale()) == []
    staged = store.stage(b"first")
    store.publish([staged])
    assert store.read(staged.digest) == b"first"
    assert ("fsync_dir", ".") in disk.log


def test_stale_files_are_listed_and_removed_by_name(store: LocalBlobs, disk: Recording) -> None:
    staged = [store.stage(b"x" * 3000), store.stage(b"y")]
    entries = list(store.stale())
    assert sorted(entry.stored_bytes for entry in entries) == sorted(item.stored_bytes for item in staged)
    assert all(entry.digest is None and entry.path.startswith("tmp/") for entry in entries)
    assert all(len(entry.path) == len("tmp/") + 32 + len(".tmp") for entry in entries)
    now = os.stat(disk.root).st_mtime_ns // 1000
    assert all(abs(entry.modified_us - now) < 60_000_000 for entry in entries)
    assert store.remove_stale(entries[0].path) is True
    assert store.remove_stale(entries[0].path) is False
    for outside in ("blobs/aa/x", "tmp", "tmp/", "tmp/..", "tmp/../x", "/etc/passwd", ""):
        with pytest.raises(InvalidValueError):
            store.remove_stale(outside)


def test_a_walk_shows_in_order_of_path_what_has_no_business_there(store: LocalBlobs, disk: Recording) -> None:
    digests = sorted(store.stage(b"%d" % n).digest for n in range(3))
    store.publish([store.stage(b"%d" % n) for n in range(3)])
    blobs = Path(disk.root) / "blobs"
    name = digests[0][7:]
    (blobs / name[:2] / "notes.txt").write_bytes(b"12345")
    (blobs / name[:2] / ("f" * 64 + ".zst")).mkdir()
    (blobs / f"{name[:2]}.bak").write_bytes(b"1")
    (blobs / "attic").mkdir()
    wrong = "00" if name[:2] != "00" else "01"
    (blobs / wrong).mkdir(exist_ok=True)
    (blobs / wrong / f"{name}.zst").write_bytes(b"")
    entries = list(store.walk())
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    assert sorted(entry.digest for entry in entries if entry.digest) == digests
    strays = {entry.path: entry.stored_bytes for entry in entries if entry.digest is None}
    assert set(strays) == {
        f"blobs/{name[:2]}/notes.txt",
        f"blobs/{name[:2]}/{'f' * 64}.zst",
        f"blobs/{name[:2]}.bak",
        "blobs/attic",
        f"blobs/{wrong}/{name}.zst",
    }
    assert strays[f"blobs/{name[:2]}/notes.txt"] == 5


def test_a_blob_that_vanishes_while_it_is_being_published_is_published_all_the_same(tmp_path: Path) -> None:
    class Vanishing(Disk):
        def link(self, source: str, target: str) -> None:
            try:
                super().link(source, target)
            except FileExistsError:
                self.unlink(target)
                raise

    store = LocalBlobs(str(tmp_path), Vanishing())
    store.publish([store.stage(b"here")])
    (stat,) = store.publish([store.stage(b"here")])
    assert store.read(stat.digest) == b"here"
