"""What was added and looks as it did is not read again; whatever changed, in the tree or in the store, is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import StorageIOError
from holdfast.exchange import folder, looking, reading, seen, walking
from holdfast.exchange.folder import AddReport
from holdfast.index import sightings
from holdfast.index.operational import StateFile
from holdfast.kinds.bulk import Item

Opener = Callable[..., Store]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree whose files are no longer young, whatever the time."""
    monkeypatch.setattr(seen, "GRAIN_NS", -(1 << 60))
    made = tmp_path / "tree"
    for n in range(12):
        place = made / f"d{n % 3}" / "deep"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{n}").write_text(f"content {n}")
    (made / "link").symlink_to("d0")
    (made / "empty").write_bytes(b"")
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were taken a look into."""
    found: list[str] = []
    real = reading.Reader.items

    def items(self: reading.Reader, every: Iterable[walking.Found]) -> Iterator[Item]:
        return real(self, map(noted, every))

    def noted(some: walking.Found) -> walking.Found:
        for raw, _ in some.entries:
            path = some.folder.prefix + raw
            if not os.path.isdir(path) or os.path.islink(path):
                found.append(os.fsdecode(raw))
        return some

    monkeypatch.setattr(reading.Reader, "items", items)
    return found


def outcome(report: AddReport) -> tuple[int, int, int]:
    assert report.problems == []
    return report.added, report.revised, report.unchanged


def again(store: Store, tree: Path, read: list[str], **said: Any) -> tuple[tuple[int, int, int], list[str]]:
    read.clear()
    return outcome(store.add(tree, **said)), sorted(read)


def test_nothing_is_read_of_what_looks_as_it_did(store: Store, tree: Path, read: list[str]) -> None:
    assert outcome(store.add(tree)) == (14, 0, 0)
    head = store.changes.head()
    assert again(store, tree, read) == ((0, 0, 14), [])
    assert again(store, tree, read) == ((0, 0, 14), [])
    assert store.changes.head() == head


def test_an_edit_of_the_same_size_with_the_same_mtime_is_found(store: Store, tree: Path, read: list[str]) -> None:
    store.add(tree)
    path = tree / "d1" / "deep" / "f4"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"CONTENT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)

    assert again(store, tree, read) == ((0, 1, 13), ["f4"])
    assert store.read("tree/d1/deep/f4") == b"CONTENT 4"


def test_files_as_young_as_the_clock_s_grain_are_read_again(
    store: Store, tree: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "GRAIN_NS", 2_000_000_000)
    store.add(tree)
    found, names = again(store, tree, read)
    assert found == (0, 0, 14)
    assert len(names) == 14, "they were made just now, and a change could bear the same times"


def test_a_replaced_a_touched_and_a_chmodded_file_are_looked_into(store: Store, tree: Path, read: list[str]) -> None:
    store.add(tree)
    place = tree / "d0" / "deep"
    before = (place / "f0").stat()
    (place / "new").write_bytes((place / "f0").read_bytes())
    os.utime(place / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(place / "new", place / "f0")
    os.utime(place / "f3")
    os.chmod(place / "f6", 0o700)
    (place / "f9").unlink()
    (place / "f9").symlink_to("f0")
    assert again(store, tree, read) == ((0, 2, 12), ["f0", "f3", "f6", "f9"])
    assert again(store, tree, read) == ((0, 0, 14), [])


def test_checksum_reads_every_file_whatever_was_noted(store: Store, tree: Path, read: list[str]) -> None:
    store.add(tree)
    found, names = again(store, tree, read, checksum=True)
    assert (found, len(names)) == ((0, 0, 14), 14)
    assert again(store, tree, read) == ((0, 0, 14), [])


def others_write(store: Store, what: str) -> None:
    place = "tree/d2/deep/f5"
    if what == "a revision":
        store.put(place, b"of others")
    elif what == "and back":
        old = store.get(place).revision.file
        store.put(place, b"of others")
        store.put(place, b"content 5", file=old)
    elif what == "a delete":
        store.artifacts.delete(place)
    elif what == "a purge":
        store.artifacts.delete(place)
        store.artifacts.purge(place)
    elif what == "a rename":
        store.artifacts.rename(place, "other")
    elif what == "a cascade":
        store.collections.delete("tree/d2", contents="cascade")
    elif what == "something else":
        store.put("elsewhere", b"x")


@pytest.mark.parametrize(
    ("what", "expected", "looked"),
    [
        ("a revision", (0, 1, 13), 1), ("and back", (0, 0, 14), 1), ("a delete", (1, 0, 13), 1),
        ("a purge", (1, 0, 13), 1), ("a rename", (1, 0, 13), 1), ("a cascade", (4, 0, 10), 4),
        ("something else", (0, 0, 14), 0),
    ],
)  # fmt: skip
def test_what_others_did_to_an_artifact_since_is_undone_by_adding_again(
    store: Store, tree: Path, read: list[str], what: str, expected: tuple[int, int, int], looked: int
) -> None:
    store.add(tree)
    others_write(store, what)
    found, names = again(store, tree, read)
    assert (found, len(names)) == (expected, looked)
    assert store.read("tree/d2/deep/f5") == b"content 5"
    assert again(store, tree, read) == ((0, 0, 14), [])


def test_two_trees_that_go_to_one_place_do_not_vouch_for_each_other(
    store: Store, tree: Path, read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tree, other, symlinks=True)
    (other / "d0" / "deep" / "f0").write_text("of the other")
    for source, expected in ((tree, (14, 0, 0)), (other, (0, 1, 13)), (tree, (0, 1, 13))):
        monkeypatch.chdir(source)
        assert outcome(store.add(".", into="t")) == expected
    assert store.read("t/d0/deep/f0") == b"content 0"
    assert again(store, tree, read, into="elsewhere")[0] == (14, 0, 0)


def test_what_was_written_between_two_batches_of_an_add_is_not_taken_for_unchanged(
    opener: Opener, store: Store, tree: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "BATCH_ITEMS", 5)
    monkeypatch.setattr(reading, "TOGETHER_ITEMS", 5)
    with holdfast.open(store.path) as other:
        done: list[int] = []

        def between(*_: Any) -> None:
            if not done:
                done.append(1)
                other.put("tree/d0/deep/f0", b"of others")

        store.add(tree, progress=between)
    assert store.read("tree/d0/deep/f0") == b"of others"
    assert again(store, tree, read) == ((0, 1, 13), ["f0"])


def test_inside_a_transaction_nothing_is_noted_and_nothing_taken_for_known(
    store: Store, tree: Path, read: list[str]
) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():  # noqa: PT012
        store.add(tree)
        raise ZeroDivisionError
    assert again(store, tree, read)[0] == (14, 0, 0)


@pytest.mark.parametrize("how", ["lost", "damaged", "a folder", "of another version"])
def test_the_notes_can_be_lost_at_any_time(store: Store, tree: Path, read: list[str], how: str) -> None:
    store.add(tree)
    state = store.path / "state.sqlite3"
    if how == "lost":
        state.unlink()
    elif how == "damaged":
        state.write_bytes(os.urandom(state.stat().st_size))
    elif how == "a folder":
        state.unlink()
        state.mkdir()
    else:
        made = StateFile(str(state), store._handle.disk)
        made.query("PRAGMA user_version = 77")
        made.close()
    found, names = again(store, tree, read)
    assert (found, len(names)) == ((0, 0, 14), 14)
    if how == "a folder":
        assert len(again(store, tree, read)[1]) == 14
    else:
        assert again(store, tree, read) == ((0, 0, 14), [])


def test_notes_that_cannot_be_written_are_not_half_believed(
    store: Store, tree: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(tree)
    path = tree / "d1" / "deep" / "f4"
    path.write_text("changed 4")

    def fails(*_: Any) -> None:
        raise StorageIOError("no", path="state.sqlite3", operation="sqlite")

    with monkeypatch.context() as patch:
        patch.setattr(sightings.Sightings, "note", fails)
        assert outcome(store.add(tree)) == (0, 1, 13)
    assert again(store, tree, read) == ((0, 0, 14), ["f4"])


def test_an_older_index_put_back_with_another_history_is_not_taken_for_the_one_that_was_noted(
    opener: Opener, tree: Path, read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opener()
    root = store.path
    store.put("first", b"1")
    store.close()
    shutil.copytree(root, tmp_path / "older")
    with opener() as store:
        store.add(tree)
    for name in ("index.sqlite3", "journal", "packs", "blobs"):
        place = root / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        old = tmp_path / "older" / name
        shutil.copytree(old, place) if old.is_dir() else shutil.copy(old, place)
    with opener() as store:
        other = tmp_path / "other"
        shutil.copytree(tree, other, symlinks=True)
        (other / "d0" / "deep" / "f0").write_text("written 0")
        monkeypatch.chdir(other)
        store.add(".", into="tree")
        found, _ = again(store, tree, read)
        assert found == (0, 1, 13)
        assert store.read("tree/d0/deep/f0") == b"content 0"


def test_a_rebuilt_index_and_a_blob_given_up_by_repair_are_filled_again(
    opener: Opener, tree: Path, read: list[str]
) -> None:
    with opener() as store:
        root = store.path
        store.add(tree)
        big = tree / "big"
        big.write_bytes(os.urandom(200_000))
        store.add(tree)
    blob = next(one for one in (root / "blobs").rglob("*.zst") if one.stat().st_size > 100_000)
    blob.unlink()
    holdfast.repair(root)
    with opener() as store:
        assert len(again(store, tree, read)[1]) == 15
        assert store.read("tree/big") == big.read_bytes()
    blob.unlink()
    (root / "index.sqlite3").unlink()
    holdfast.rebuild(root)
    with opener() as store:
        store.add(tree)
        assert store.read("tree/big") == big.read_bytes()


def test_no_name_path_or_digest_is_left_in_the_notes_by_redaction_and_never_a_digest(
    opener: Opener, tree: Path
) -> None:
    (tree / "a-secret-name").write_bytes(b"secret content")
    with opener() as store:
        store.add(tree)
        state = (store.path / "state.sqlite3").read_bytes()
        found = store.get("tree/a-secret-name")
        assert b"a-secret-name" in state
        assert bytes.fromhex(found.digest.removeprefix("sha256:")) not in state
        assert found.digest.removeprefix("sha256:").encode() not in state
        store.redact(found)
        files = [path.read_bytes() for path in store.path.rglob("*") if path.is_file()]
        assert not any(b"a-secret-name" in data for data in files)
        assert outcome(store.add(tree))[0] == 1, "it is added again, if it is still there"


def test_the_notes_of_a_folder_with_many_files_are_asked_for_in_parts(
    store: Store, tree: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "TOGETHER", 7)
    monkeypatch.setattr(walking, "TOGETHER", 7)
    for n in range(40):
        os.close(os.open(os.fsencode(tree) + b"/\xff%d" % n, os.O_CREAT | os.O_WRONLY))
    assert outcome(store.add(tree)) == (54, 0, 0)
    assert again(store, tree, read) == ((0, 0, 54), [])


def test_the_command_reads_again_with_checksum(store: Store, tree: Path) -> None:
    store.close()
    command = [sys.executable, "-m", "holdfast", "-C", str(store.path), "add", str(tree)]
    said = [
        subprocess.run([*command, *more], capture_output=True, text=True, check=True).stdout
        for more in ([], [], ["--checksum"])
    ]
    assert ["unchanged" in one for one in said] == [True, True, True]


def test_files_of_two_folders_that_go_to_one_place_are_noted_as_of_the_last(
    store: Store, tree: Path, read: list[str]
) -> None:
    both = (tree / "d0" / "deep" / "f0", tree / "d1" / "deep" / "f1")
    for expected, looked in (((2, 0, 0), 2), ((0, 0, 2), 1), ((0, 0, 2), 1)):
        read.clear()
        assert outcome(store.add(*both, into="x")) == expected
        assert len(read) >= looked
    both[1].write_text("changed 1")
    assert outcome(store.add(*both, into="x")) == (0, 1, 1)
    assert store.read("x/f1") == b"changed 1"


def test_a_folder_with_more_files_than_are_noted_together_is_known_whole_and_in_parts(
    store: Store, tree: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "PART", 5)
    monkeypatch.setattr(folder, "BATCH_ITEMS", 7)
    for n in range(23):
        (tree / f"n{n:02}").write_bytes(b"%d" % n)
    assert outcome(store.add(tree)) == (37, 0, 0)
    assert again(store, tree, read) == ((0, 0, 37), [])
    (tree / "n11").write_bytes(b"changed")
    (tree / "n12").unlink()
    (tree / "n115").write_bytes(b"between")
    assert again(store, tree, read) == ((1, 1, 35), ["n11", "n115"])
    assert again(store, tree, read) == ((0, 0, 37), [])
    (tree / "n00").unlink()
    (tree / "n001").mkdir()
    (tree / "n001" / "inside").write_bytes(b"")
    assert again(store, tree, read) == ((1, 0, 36), ["inside"])
    assert again(store, tree, read) == ((0, 0, 37), [])
