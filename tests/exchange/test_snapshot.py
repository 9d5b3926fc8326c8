"""`snapshot`: one file, the same to the byte, that any store takes in, and that can be read in parts and by others."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import holdfast
from holdfast import Store
from holdfast.disk import Disk
from holdfast.errors import (
    DestinationDiffersError,
    FormatTooNewError,
    HoldfastError,
    ImportRefusedError,
    InvalidValueError,
    NotFoundError,
)
from holdfast.exchange import ground, snapshot_reading, staging
from holdfast.exchange.archive import Archive
from holdfast.formats import frame, snapshot
from holdfast.formats.snapshot import END, FRAME, Member

from .test_tree import EACH, STEPS, Counting, _do, contents_of, files, fill, in_child, logical


@pytest.fixture
def full(store: Store) -> Store:
    """A store with something of everything, and a content of several frames."""
    fill(store)
    store.put("big.bin", os.urandom(3 * FRAME + 17))
    return store


def test_a_whole_store_comes_back_equal_with_its_head(full: Store, tmp_path: Path) -> None:
    report = full.snapshot(tmp_path / "a.snapshot")
    assert report.digest == "sha256:" + hashlib.sha256((tmp_path / "a.snapshot").read_bytes()).hexdigest()
    done = holdfast.import_store(tmp_path / "new", tmp_path / "a.snapshot")
    assert done.head == full.changes.head().hash.hex()
    with holdfast.open(tmp_path / "new") as other:
        assert other.id == full.id
        assert logical(other) == logical(full)
        assert contents_of(other) == contents_of(full)
        assert other.fsck().findings == ()
        other.snapshot(tmp_path / "b.snapshot")
    assert (tmp_path / "b.snapshot").read_bytes() == (tmp_path / "a.snapshot").read_bytes()


def test_care_changes_no_byte_of_it(full: Store, tmp_path: Path) -> None:
    full.snapshot(tmp_path / "a")
    full.fsck()
    full.gc(grace_s=0)
    full.repack()
    full.snapshot(tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_other_tools_unpack_it_and_see_the_tree_that_is_exported(full: Store, tmp_path: Path) -> None:
    full.snapshot(tmp_path / "a")
    full.export_tree(tmp_path / "tree", large_from=1 << 62)
    (tmp_path / "out").mkdir()
    subprocess.run("zstd -dcq a | tar x -C out", shell=True, cwd=tmp_path, check=True)
    assert files(tmp_path / "out") == files(tmp_path / "tree")
    assert subprocess.run(["zstd", "-tq", tmp_path / "a"], check=False, capture_output=True).returncode == 0
    holdfast.import_store(tmp_path / "new", tmp_path / "out")


def test_it_is_merged_into_a_store_with_a_history(full: Store, tmp_path: Path) -> None:
    full.snapshot(tmp_path / "a")
    with holdfast.create(tmp_path / "other", actor="Bea") as other:
        other.put("docs/mine.md", "mine\n")
        report = holdfast.import_store(other.path, tmp_path / "a")
        assert report.merged
        assert contents_of(full).items() <= contents_of(other).items()
        assert other.fsck().findings == ()
        assert all(one.proven for one in other.audit.foreign())


@settings(max_examples=3)
@given(steps=STEPS)
def test_any_store_goes_through_a_snapshot(steps: list[tuple[str, list[bytes], bytes]], tmp_path_factory: Any) -> None:
    _round(steps, tmp_path_factory.mktemp("any"))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(max_examples=300)
@given(steps=STEPS)
def test_very_many_stores_go_through_a_snapshot(
    steps: list[tuple[str, list[bytes], bytes]], tmp_path_factory: Any
) -> None:
    _round(steps, tmp_path_factory.mktemp("any"))


def _round(steps: list[tuple[str, list[bytes], bytes]], top: Path) -> None:
    with holdfast.create(top / "store", actor="Ada") as store:
        for verb, names, data in steps:
            try:
                _do(store, verb, b"/".join(names), data)
            except HoldfastError:
                continue
        if store.changes.head().next_seq == 1:
            return
        store.snapshot(top / "file")
        holdfast.import_store(top / "new", top / "file")
        with holdfast.open(top / "new") as other:
            assert logical(other) == logical(store)
            assert contents_of(other) == contents_of(store)
            other.snapshot(top / "again")
        assert (top / "again").read_bytes() == (top / "file").read_bytes()


# -- a part of a store --------------------------------------------------------------------------------------------


@pytest.fixture
def linked(store: Store) -> Store:
    """Collections that refer to one another."""
    store.put("raw/data.csv", "1,2\n")
    store.put("raw/unused.csv", "3,4\n")
    store.put("secret/key", "hidden\n")
    with store.runs.start("train") as run:
        run.input(store.get("raw/data.csv"), role="data")
        with run.step("fit"):
            pass
        store.put("models/a.bin", "model\n")
    store.put("models/a.bin", "model, second\n", metadata={"n": 1})
    store.put("docs/spec.md", "spec\n")
    store.put("docs/other.md", "other\n")
    store.relationships.relate("models/a.bin", "described_by", "docs/spec.md")
    store.relationships.relate("secret/key", "derived_from", "models/a.bin")
    return store


def test_a_part_has_all_that_it_refers_to_and_nothing_else(linked: Store, tmp_path: Path) -> None:
    linked.snapshot(tmp_path / "part", collections=["models"])
    holdfast.import_store(tmp_path / "new", tmp_path / "part")
    with holdfast.open(tmp_path / "new") as other:
        assert sorted(one.path for one in other.artifacts.list("", recursive=True)) == [
            "docs/spec.md", "models/a.bin", "raw/data.csv"]  # fmt: skip
        model, before = other.get("models/a.bin"), linked.get("models/a.bin")
        assert (model.id, model.number, model.metadata) == (before.id, 2, {"n": 1})
        assert other.read("models/a.bin", revision=1) == b"model\n"
        run = next(iter(other.runs.find()))
        manifest = other.runs.manifest(run)
        assert [one.name for one in manifest.steps] == ["fit"]
        assert [one.endpoint.id for one in manifest.inputs] == [linked.get("raw/data.csv").id]
        assert len(list(other.relationships.of("models/a.bin"))) == 1
        assert other.fsck().findings == ()
    data = subprocess.run(["zstd", "-dcq", tmp_path / "part"], check=True, capture_output=True).stdout
    assert b"secret" not in data
    assert b"hidden" not in data


def test_the_same_part_of_the_same_state_is_the_same_file(linked: Store, tmp_path: Path) -> None:
    linked.snapshot(tmp_path / "a", collections=["models", "docs"])
    linked.snapshot(tmp_path / "b", collections=["docs", "models"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_part_is_merged_and_merged_again_later(linked: Store, tmp_path: Path) -> None:
    with holdfast.create(tmp_path / "other", actor="Bea") as other:
        other.put("models/mine.bin", "mine\n")
        linked.snapshot(tmp_path / "a", collections=["models"])
        holdfast.import_store(other.path, tmp_path / "a")
        linked.put("models/a.bin", "model, third\n")
        linked.snapshot(tmp_path / "b", collections=["models"])
        holdfast.import_store(other.path, tmp_path / "b")
        assert other.read("models/a.bin") == b"model, third\n"
        assert other.get("models/a.bin").id == linked.get("models/a.bin").id
        assert other.fsck().findings == ()
        assert all(one.proven for one in other.audit.foreign())


def test_a_collection_that_is_not_there_is_named(linked: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        linked.snapshot(tmp_path / "a", collections=["nowhere"])
    assert list(tmp_path.glob("*a*")) == []


# -- listing and parts --------------------------------------------------------------------------------------------


def test_ls_reads_the_end_and_extract_only_what_is_needed(full: Store, tmp_path: Path, monkeypatch: Any) -> None:
    full.snapshot(tmp_path / "a")
    found = snapshot_reading.listing(tmp_path / "a")
    assert found.head == full.changes.head().hash.hex()
    assert {one.path: one.size for one in found.files}[b"files/docs/a.md"] == 4
    read: set[int] = set()
    real = Archive._frame
    monkeypatch.setattr(Archive, "_frame", lambda self, n: read.add(n) or real(self, n))
    report = snapshot_reading.extract(tmp_path / "a", tmp_path / "out", ["files/docs"])
    assert sorted(files(tmp_path / "out")) == ["files/docs/%43ON.txt", "files/docs/A.MD%~" + _mark(), "files/docs/a.md"]
    assert (report.written, len(read) < 3) == (3, True)
    again = snapshot_reading.extract(tmp_path / "a", tmp_path / "out", ["files/docs"])
    assert (again.written, again.same) == (0, 3)
    (tmp_path / "out/files/docs/a.md").write_text("mine")
    with pytest.raises(DestinationDiffersError):
        snapshot_reading.extract(tmp_path / "a", tmp_path / "out", ["files"])
    assert len(files(tmp_path / "out")) == 3
    with pytest.raises(NotFoundError):
        snapshot_reading.extract(tmp_path / "a", tmp_path / "out", ["files/none"])


def _mark() -> str:
    return hashlib.sha256(b"A.MD").hexdigest()[:8]


def test_extract_goes_along_no_link(full: Store, tmp_path: Path) -> None:
    full.snapshot(tmp_path / "a")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HoldfastError):
        snapshot_reading.extract(tmp_path / "a", tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


# -- hostile files ------------------------------------------------------------------------------------------------


def made(members: list[tuple[bytes, bytes]], *, headers: dict[bytes, bytes] | None = None, **said: Any) -> bytes:
    """A snapshot file with these members, as a stranger could make it."""
    tar, rows = b"", []
    for path, data in members:
        header = (headers or {}).get(path) or snapshot.header(path, len(data))
        tar += header
        rows.append(Member(path, "sha256:" + hashlib.sha256(data).hexdigest(), len(data), len(tar)))
        tar += data + b"\0" * (-len(data) % 512)
    tar += END
    frames = [frame.encode(tar[at : at + FRAME]) for at in range(0, len(tar), FRAME)]
    tail = snapshot.encode_tail(
        said.get("rows", rows), [len(one) for one in frames], [one[-4:] for one in frames], len(tar)
    )
    return b"".join(frames) + tail


def _evil(name: str, kind: bytes, target: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info.tobuf(format=tarfile.PAX_FORMAT)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no snapshot": lambda: b"PK\3\4" + b"x" * 500,
    "a plain tar": lambda: tarfile.TarInfo("FORMAT").tobuf() + END,
    "a path that leads up": lambda: made([(b"files/../../x", b"1")]),
    "an absolute path": lambda: made([(b"/etc/x", b"1")]),
    "an empty step": lambda: made([(b"files//x", b"1")]),
    "a control character": lambda: made([(b"files/a\x1bb", b"1")]),
    "a back-slash": lambda: made([(b"files\\x", b"1")]),
    "the same path twice": lambda: made([(b"files/a", b"1"), (b"files/a", b"2")]),
    "a file that is a folder": lambda: made([(b"files/a", b"1"), (b"files/a/b", b"2")]),
    "a folder that is a file": lambda: made([(b"files/a/b", b"2"), (b"files/a", b"1")]),
    "a link in the tar": lambda: made(
        [(b"files/a", b"")], headers={b"files/a": _evil("files/a", tarfile.SYMTYPE, "/etc/passwd")}
    ),
    "another path in the tar": lambda: made([(b"files/a", b"1")], headers={b"files/a": snapshot.header(b"filez/a", 1)}),
    "a digest that is wrong": lambda: made(
        [(b"FORMAT", b"{}\n")], rows=[Member(b"FORMAT", "sha256:" + "0" * 64, 3, 512)]
    ),
    "a size that is wrong": lambda: made(
        [(b"FORMAT", b"{}\n")], rows=[Member(b"FORMAT", "sha256:" + "0" * 64, 9, 512)]
    ),
    "an offset that is wrong": lambda: made([(b"a", b"1")], rows=[Member(b"a", "sha256:" + "0" * 64, 1, 0)]),
    "a list that is not whole": lambda: made([(b"FORMAT", b"{}\n")], rows=[]),
    "no FORMAT": lambda: made([(b"files/a", b"1")]),
    "a FORMAT that is none": lambda: made([(b"FORMAT", b"{}\n")]),
    "cut off": lambda: made([(b"FORMAT", b"{}\n")])[:-1],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_is_made(store: Store, tmp_path: Path, what: str) -> None:
    store.put("a", "1")
    head = store.changes.head()
    (tmp_path / "evil").write_bytes(HOSTILE[what]())
    for target in (store.path, tmp_path / "new"):
        with pytest.raises(ImportRefusedError):
            holdfast.import_store(target, tmp_path / "evil", on_conflict="theirs")
    assert store.changes.head() == head
    assert not (tmp_path / "new").exists()


def test_a_bomb_is_refused_before_it_is_unpacked(store: Store, tmp_path: Path) -> None:
    zeros = frame.encode(bytes(FRAME))
    count = 2_000  # claims 2 GB in some 100 kB
    tail = snapshot.encode_tail([], [len(zeros)] * count, [zeros[-4:]] * count, count * FRAME)
    (tmp_path / "bomb").write_bytes(zeros * count + tail)
    assert (tmp_path / "bomb").stat().st_size < 1 << 20
    with pytest.raises(ImportRefusedError, match="--max-bytes"):
        holdfast.import_store(store.path, tmp_path / "bomb")
    with pytest.raises(InvalidValueError, match="--max-bytes"):
        snapshot_reading.listing(tmp_path / "bomb", max_bytes=100)


def test_a_list_in_a_great_many_pieces_is_refused_at_the_first() -> None:
    lines = frame.encode(b"x" * 100 + b"\n") * 1_000
    with pytest.raises(InvalidValueError, match="cut into pieces"):
        next(snapshot.members(snapshot.Tail((100,), 1024, 1_000, lines)))


def test_a_list_of_many_files_is_read_whole() -> None:
    empty = "sha256:" + hashlib.sha256(b"").hexdigest()
    rows, at = [], 0
    for number in range(12_000):
        path = b"files/%d" % number
        at += len(snapshot.header(path, 0))
        rows.append(Member(path, empty, 0, at))
    total = at + len(END)
    stored = [10] * -(-total // FRAME)
    data = snapshot.encode_tail(rows, stored, [b"1234"] * len(stored), total)
    table = data[-snapshot.table_bytes(data[-snapshot.FOOT_BYTES :]) :]
    tail = snapshot.decode_tail(data[: -len(table)], table, snapshot.frames_of(table))
    assert list(snapshot.members(tail)) == rows


def test_a_newer_version_is_refused(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    store.snapshot(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    at = data.rindex(b"HFSNAP") + 6
    (tmp_path / "b").write_bytes(data[:at] + b"\1\0" + data[at + 2 :])
    with pytest.raises(FormatTooNewError):
        holdfast.import_store(tmp_path / "new", tmp_path / "b")


def test_any_flipped_bit_is_refused_or_harmless(store: Store, tmp_path: Path) -> None:
    store.put("docs/a.md", "one\n")
    store.snapshot(tmp_path / "a")
    head = store.changes.head()
    data = (tmp_path / "a").read_bytes()
    for at in range(0, len(data), max(1, len(data) // 30)):
        (tmp_path / "b").write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        try:
            done = holdfast.import_store(tmp_path / "new", tmp_path / "b", dry_run=True)
        except HoldfastError:
            continue
        assert done.head == head.hash.hex()  # the checksums of the seek table: everything else was proven


# -- interrupted --------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_stays_unless_it_is_forced(store: Store, tmp_path: Path) -> None:
    store.put("a", "1")
    (tmp_path / "a").write_text("mine")
    with pytest.raises(DestinationDiffersError):
        store.snapshot(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"
    store.snapshot(tmp_path / "a", force=True)
    assert snapshot_reading.listing(tmp_path / "a").next_seq == 3


def test_content_that_is_lost_leaves_no_file(without_packs: None, store: Store, tmp_path: Path) -> None:
    store.put("a", "1" * 100)
    next(p for p in (store.path / "blobs").rglob("*.zst")).unlink()
    with pytest.raises(HoldfastError):
        store.snapshot(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == []


_KILLED = """
import os, signal, sys, holdfast
real, left = os.write, int(sys.argv[3])
def write(fd, data):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(fd, data)
os.write = write
with holdfast.open(sys.argv[1], read_only=True) as store:
    store.snapshot(sys.argv[2], force=True)
"""


@pytest.fixture
def killed(full: Store, tmp_path: Path) -> Iterator[Callable[[int], int]]:
    """Takes a snapshot in another process that is killed at one of its writes."""

    def run(at: int) -> int:
        command = [sys.executable, "-c", _KILLED, str(full.path), str(tmp_path / "out"), str(at)]
        return subprocess.run(command, check=False, capture_output=True).returncode

    return run


def test_a_killed_snapshot_leaves_the_old_file_and_the_next_is_whole(
    full: Store, tmp_path: Path, killed: Callable[[int], int]
) -> None:
    full.snapshot(tmp_path / "out")
    before = (tmp_path / "out").read_bytes()
    full.put("more", "1")
    for at in (0, 2, 4):
        assert killed(at) == -signal.SIGKILL
        assert (tmp_path / "out").read_bytes() == before
    full.snapshot(tmp_path / "out", force=True)
    assert snapshot_reading.listing(tmp_path / "out").head == full.changes.head().hash.hex()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] == []
    assert io.BytesIO(before).read(4) == b"\x28\xb5\x2f\xfd"


@EACH
def test_an_extract_that_is_killed_at_any_operation_leaves_whole_files_and_the_next_goes_on(
    store: Store, tmp_path: Path, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Disk, "sync_filesystem", lambda *_: None)
    monkeypatch.setattr(snapshot_reading, "WINDOW_FILES", 2)
    for path in ("a", "b/c", "b/d/e"):
        store.put(path, f"content of {path}")
    store.snapshot(tmp_path / "file")
    snapshot_reading.extract(tmp_path / "file", tmp_path / "whole", ["files"])
    wanted, out = files(tmp_path / "whole"), tmp_path / "out"

    def extract(number: int) -> None:
        calls: Any = Counting(number)
        ground.os = staging.os = snapshot_reading.os = calls  # type: ignore[attr-defined]
        snapshot_reading.extract(tmp_path / "file", out, ["files"])

    number = partly = 0
    killed = True
    while killed:
        number += each
        killed = in_child(lambda: extract(number))  # noqa: B023
        found = {name: data for name, data in files(out).items() if not name.startswith(".")} if out.exists() else {}
        assert found.items() <= wanted.items(), number
        partly += 0 < len(found) < len(wanted)
        report = snapshot_reading.extract(tmp_path / "file", out, ["files"])
        assert (files(out), report.same) == (wanted, len(found)), number
        shutil.rmtree(out)
    assert partly > 0
