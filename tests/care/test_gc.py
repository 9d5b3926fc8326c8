"""gc (H6): removes only what nothing refers to, beside live writers, after a grace period; or says what it would."""

# ruff: noqa: PT012 (a transaction that fails is more than one statement)
from __future__ import annotations

import multiprocessing
import os
import runpy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.care import certainty
from holdfast.care.gc import Gc, GcReport
from holdfast.errors import (
    BlobMissingError,
    ChainBrokenError,
    ConflictError,
    ContentPurgedError,
    ReadOnlyError,
    StorageIOError,
)
from holdfast.journal import Journal
from holdfast.testing import held
from holdfast.testing.clock import FixedClock
from holdfast.testing.faults import FaultyDisk

in_files = pytest.mark.parametrize("form", ["files"], indirect=True)
"""For what is about the file of one content; tests/care/test_packs.py has what is about packs."""


@pytest.fixture(params=["files", "packs"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every content has a file of its own; or small content lies in packs."""
    monkeypatch.setenv("HOLDFAST_PACK_UP_TO", "0" if request.param == "files" else "")
    return str(request.param)


Opener = Callable[..., Store]
RowsOf = Callable[[Store], dict[str, list[tuple[Any, ...]]]]
DAY = 24 * 3600
CONTENT = b"wanted again"
STEPS = ("prove", "condemn", "sweep", "gather", "strays", "packs", "leftovers")


def give_up(store: Store, path: str, content: bytes = CONTENT) -> str:
    """Put content, and give it up again."""
    made = store.put(path, content).artifact
    store.artifacts.delete(made)
    store.artifacts.purge(f"id:{made.id}")
    return made.digest


def files(store: Store) -> set[str]:
    """The contents that have a file, or a place in a pack that has one."""
    packed = {one.digest.hex(): one.spot.pack for one in held.placed(store._handle.index) if one.spot is not None}
    assert all(Path(store.path, "packs", f"{pack}.zst").exists() for pack in packed.values())
    return {f"sha256:{one}" for one in {path.stem for path in Path(store.path, "blobs").rglob("*.zst")} | packed.keys()}


def readable_whenever_referred_to(store: Store) -> None:
    """What must always hold: every revision that is kept can be read, and nothing else is missing."""
    for one in [*store.find(), *store.find(deleted=True)]:
        for revision in store.artifacts.revisions(one):
            try:
                store.read(f"id:{one.id}", revision=revision.number)
            except ContentPurgedError:
                assert str(revision.state) != "kept"
    assert list(store._handle.index.physical.missing()) == []


# -- what goes and what stays ------------------------------------------------------------------------------------------


def test_only_what_no_kept_revision_refers_to_is_removed(store: Store) -> None:
    for n in range(3):
        store.put("history", f"revision {n}")
    store.put("deleted", b"but not purged")
    store.artifacts.delete("deleted")
    store.put("shared", b"shared")
    gone = [give_up(store, "gone"), give_up(store, "also gone", b"other")]
    give_up(store, "not alone", b"shared")
    before = files(store)

    report = store.gc(grace_s=0)

    assert files(store) == before - set(gone)
    assert (report.condemned, report.removed, report.waiting, report.strays) == (2, 2, 0, 0)
    readable_whenever_referred_to(store)
    assert store.gc(grace_s=0).removed == 0


def test_what_is_condemned_waits_out_the_grace_period(opener: Opener, clock: FixedClock) -> None:
    store = opener()
    digest = give_up(store, "gone")

    assert (store.gc().condemned, store.gc().waiting) == (1, 1)
    clock.advance(13 * DAY)
    report = store.gc()
    assert (report.condemned, report.removed, report.waiting) == (0, 0, 1)
    assert digest in files(store)
    clock.advance(2 * DAY)
    report = store.gc()
    assert (report.removed, report.waiting) == (1, 0)
    assert digest not in files(store)


@pytest.mark.parametrize("again", ["put", "undone purge"])
def test_what_is_wanted_again_within_the_grace_period_stays(opener: Opener, clock: FixedClock, again: str) -> None:
    store = opener()
    digest = give_up(store, "gone")
    store.gc()
    clock.advance(10 * DAY)
    if again == "put":
        store.put("wanted", CONTENT)
    else:
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.put("wanted", CONTENT)
            raise ZeroDivisionError
    clock.advance(10 * DAY)
    report = store.gc()

    assert report.removed == (0 if again == "put" else 1)
    assert (digest in files(store)) == (again == "put")
    readable_whenever_referred_to(store)
    if again == "put":
        give_up(store, "wanted")
        clock.advance(1)
        assert store.gc().condemned == 1, "its grace period begins anew"


def test_a_row_that_says_condemned_although_something_refers_to_it_is_not_believed(store: Store) -> None:
    """As a replay of the journal could leave it, between two steps of gc."""
    store.put("a", CONTENT)
    collector = Gc(store._handle, grace_s=0)
    collector.condemn()
    store._handle.index.database.run(
        "UPDATE blob SET condemned_us = 1,"
        " crc = row_checksum('blob', content, container, offset, start, stored_bytes, frames, 1)"
    )
    collector.sweep()

    assert (collector.report.removed, store.read("a")) == (0, CONTENT)


@in_files
def test_a_condemned_blob_that_is_put_again_is_looked_at_and_published_anew_if_it_is_damaged(opener: Opener) -> None:
    for damage in ("cut", "removed", None):
        store = opener()
        digest = give_up(store, f"gone {damage}")
        store.gc()
        (path,) = Path(store.path, "blobs").rglob(f"{digest[7:]}.zst")
        before = path.stat()
        if damage == "cut":
            path.write_bytes(path.read_bytes()[:-2])
        elif damage == "removed":
            path.unlink()

        store.put(f"again {damage}", CONTENT)

        assert store.read(f"again {damage}") == CONTENT
        place = store._handle.index.physical.place(digest)
        assert place is not None
        assert place.condemned_us is None
        assert (path.stat().st_ctime_ns == before.st_ctime_ns) == (damage is None), "a sound file is kept as it is"
        assert len(os.listdir(Path(store.path, "quarantine"))) == 1, "the damaged file is set aside, nothing is deleted"
        give_up(store, f"again {damage}")


@in_files
def test_files_of_transactions_that_never_were_go_when_they_are_old_enough(opener: Opener, clock: FixedClock) -> None:
    clock.advance(time.time() - clock.now_us() / 1e6)
    store = opener()
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put("never", b"stray")
        raise ZeroDivisionError
    assert len(files(store)) == 1

    assert store.gc().strays == 0
    clock.advance(15 * DAY)
    report = store.gc()
    assert (report.strays, report.removed) == (1, 0)
    assert report.freed_bytes > 0
    assert files(store) == set()


def test_files_that_are_no_blobs_are_left_to_fsck(store: Store) -> None:
    strange = [Path(store.path, "blobs", name) for name in ("notes.txt", "00/readme", "zz/" + "0" * 64 + ".zst")]
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    store.gc(grace_s=0)
    assert all(path.exists() for path in strange)


def test_leavings_of_dead_writers_go_after_a_day_whatever_the_grace_period(opener: Opener, clock: FixedClock) -> None:
    clock.advance(time.time() - clock.now_us() / 1e6)
    store = opener()
    tmp = Path(store.path, "tmp")
    (tmp / "young.tmp").write_bytes(b"a live writer's")
    (tmp / "old.tmp").write_bytes(b"a dead one's")
    (tmp / "folder").mkdir()
    for path in (tmp / "old.tmp", tmp / "folder"):
        os.utime(path, (time.time() - 2 * DAY,) * 2)

    assert store.gc(grace_s=0).leftovers == 1
    assert sorted(os.listdir(tmp)) == ["folder", "young.tmp"]


def segments(store: Store) -> list[str]:
    return sorted(os.listdir(Path(store.path, "journal")))


def test_full_journal_segments_are_sealed_and_the_plain_ones_go_after_the_grace_period(store: Store) -> None:
    store._handle.journal = Journal(str(store.path), store._handle.disk, segment_bytes=2_000)
    for n in range(12):
        store.put(f"{n}", str(n))
    plain = segments(store)
    changes = list(store.changes.list())
    report = store.gc()
    assert (report.sealed, report.leftovers) == (len(plain) - 1, 0)
    assert set(segments(store)) == {*plain, *(name + ".zst" for name in plain[:-1])}

    for name in plain[:-1]:
        os.utime(Path(store.path, "journal", name + ".zst"), (time.time() - 15 * DAY,) * 2)
    assert store.gc().leftovers == len(plain) - 1
    assert segments(store) == sorted([*(name + ".zst" for name in plain[:-1]), plain[-1]])
    store.put("goes on", b"1")
    root = store.path
    store.close()
    os.unlink(root / "index.sqlite3")
    with holdfast.open(root) as again:
        assert list(again.changes.list())[:-1] == changes
        assert again.read("7") == b"7"


# -- dry run -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grace_s", [0, 5 * DAY, 14 * DAY, 100 * DAY])
def test_a_dry_run_writes_nothing_and_says_what_the_real_run_then_does(
    opener: Opener, clock: FixedClock, rows_of: RowsOf, grace_s: float
) -> None:
    clock.advance(time.time() - clock.now_us() / 1e6)
    store = opener()
    store._handle.journal = Journal(str(store.path), store._handle.disk, segment_bytes=2_000)
    for n in range(3):
        give_up(store, f"early {n}", f"early {n}".encode())
    store.gc(grace_s=200 * DAY)
    clock.advance(6 * DAY)
    for n in range(2):
        give_up(store, f"later {n}", f"later {n}".encode())
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put("stray", b"stray")
        raise ZeroDivisionError
    (store.path / "tmp" / "old.tmp").touch()
    before = rows_of(store), sorted(files(store)), segments(store), os.listdir(store.path / "tmp")

    preview = store.gc(dry_run=True, grace_s=grace_s)

    assert (rows_of(store), sorted(files(store)), segments(store), os.listdir(store.path / "tmp")) == before
    real = store.gc(grace_s=grace_s)
    assert preview.dry_run
    assert not real.dry_run
    names = [name for name in GcReport.__dataclass_fields__ if name != "dry_run"]
    assert {n: getattr(preview, n) for n in names} == {n: getattr(real, n) for n in names}


# -- refusals ----------------------------------------------------------------------------------------------------------


def refuses(store: Store, error: type[Exception]) -> None:
    before = files(store)
    for dry_run in (True, False):
        with pytest.raises(error):
            store.gc(grace_s=0, dry_run=dry_run)
    assert files(store) == before


def test_a_journal_that_does_not_verify_stops_gc(opener: Opener) -> None:
    store = opener()
    for n in range(4):
        store.put(f"{n}", str(n))
    give_up(store, "gone")
    (path,) = Path(store.path, "journal").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)

    refuses(store, ChainBrokenError)


def test_a_journal_that_cannot_be_read_stops_gc(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    give_up(store, "gone")
    disk.fail("pread", path="store/journal", times=99)

    refuses(store, StorageIOError)


def test_a_clock_before_the_newest_transaction_stops_gc(opener: Opener, clock: FixedClock) -> None:
    store = opener()
    give_up(store, "gone")
    clock.set_back(2 * 3600)
    refuses(store, ConflictError)
    clock.advance(2 * 3600)
    assert store.gc(grace_s=0).removed == 1


def test_a_clock_that_jumped_since_something_was_condemned_stops_gc(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up(store, "gone")
    store.gc()
    real = time.time
    monkeypatch.setattr(certainty.time, "time", lambda: real() + 30 * DAY)
    refuses(store, ConflictError)
    monkeypatch.setattr(certainty.time, "time", real)
    assert store.gc(grace_s=0).removed == 1


def test_gc_inside_a_transaction_is_refused_for_its_removals_could_not_be_undone(store: Store) -> None:
    store.put("a", CONTENT)
    store.put("a", b"newer")
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.artifacts.purge("a", revisions=[1])
        with pytest.raises(ConflictError):
            store.gc(grace_s=0)
        raise ZeroDivisionError
    assert store.read("a", revision=1) == CONTENT


def test_a_reader_may_look_but_not_collect(store: Store, root: str) -> None:
    give_up(store, "gone")
    with holdfast.open(root, read_only=True) as reader:
        assert reader.gc(dry_run=True, grace_s=0).removed == 1
        with pytest.raises(ReadOnlyError):
            reader.gc(grace_s=0)


@in_files
def test_a_gc_that_fails_half_way_is_simply_run_again(opener: Opener, disk: FaultyDisk) -> None:
    store = opener()
    for n in range(5):
        give_up(store, f"{n}", str(n).encode())
    store.put("kept", b"kept")
    disk.fail("unlink", path="store/blobs", nth=3)

    with pytest.raises(StorageIOError):
        store.gc(grace_s=0)

    readable_whenever_referred_to(store)
    store.put("1", b"1")
    assert store.read("1") == b"1"
    assert store.gc(grace_s=0).removed == 4
    readable_whenever_referred_to(store)


# -- beside writers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(len(STEPS) + 1))
@pytest.mark.parametrize("state", ["given up", "condemned", "stray"])
def test_a_put_of_another_handle_between_each_two_steps_of_gc_is_safe(root: str, position: int, state: str) -> None:
    with holdfast.create(root) as store, holdfast.open(root) as other:
        if state == "stray":
            with pytest.raises(ZeroDivisionError), store.transaction():
                store.put("never", CONTENT)
                raise ZeroDivisionError
        else:
            give_up(store, "gone")
        if state == "condemned":
            store.gc(grace_s=10_000)
        collector = Gc(store._handle, grace_s=0)
        for number, step in enumerate(STEPS):
            if number == position:
                other.put("again", CONTENT)
            getattr(collector, step)()
        if position == len(STEPS):
            other.put("again", CONTENT)
        for one in (store, other):
            assert one.read("again") == CONTENT
            readable_whenever_referred_to(one)


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["runpy", "holdfast.care.gc", "holdfast.store", "holdfast.testing.faults"])


class Other:
    """The other process of `paused.py`."""

    def __init__(self, root: str, work: str, operation: str, part: str = "") -> None:
        program = str(Path(__file__).with_name("paused.py"))
        self._pipe, theirs = PROCESSES.Pipe()
        said = {"SAID": (root, work, operation, part), "CONNECTION": theirs, "ENVIRONMENT": dict(os.environ)}
        self._process = PROCESSES.Process(target=runpy.run_path, args=(program, said, "paused"), daemon=True)
        self._process.start()
        theirs.close()

    def line(self) -> str:
        return str(self._pipe.recv())

    def go_on(self) -> None:
        self._pipe.send("")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


@pytest.fixture
def another(root: str) -> Iterator[Callable[..., Other]]:
    started: list[Other] = []

    def start(*said: str) -> Other:
        started.append(Other(root, *said))
        return started[-1]

    yield start
    for one in started:
        one.kill()


PAUSES = {
    "start": ("", "start", ""),  # before anything
    "stage": ("files", "create", "/tmp/"),  # looked for a hit, nothing staged
    "published": ("files", "unlink", "/tmp/"),  # inside its transaction: published, not committed
    "publish": ("files", "link", "/blobs/"),  # inside its transaction: about to publish
    "append": ("packs", "write", "/packs/"),  # looked for a hit, nothing appended
    "appended": ("packs", "lock", ""),  # appended, not durable
    "at hand": ("packs", "write", "/packs/"),  # inside its transaction: content at hand is about to be appended
    "journal": ("", "write", "/journal/"),  # committed, not yet in the journal
}
"""(only in that form, operation, on which files) before which the other process stops."""


@pytest.mark.parametrize(
    ("form", "moment"),
    [(form, one) for one, (only, *_) in PAUSES.items() for form in ("files", "packs") if only in ("", form)],
    indirect=["form"],
)
@pytest.mark.parametrize("condemned", [False, True], ids=["given up", "condemned"])
def test_a_put_of_another_process_that_stops_anywhere_is_safe_beside_a_whole_gc(
    store: Store, another: Callable[..., Other], moment: str, condemned: bool
) -> None:
    only, operation, part = PAUSES[moment]
    digest = give_up(store, "gone")
    if condemned:
        store.gc(grace_s=10_000)
    if only:
        # There is nothing to hit: it must stage and publish.
        store.gc(grace_s=0)
    child = another("put at hand" if moment == "at hand" else "put", operation, part)
    assert child.line() == "paused"
    reports: list[GcReport] = []
    collector = threading.Thread(target=lambda: reports.append(store.gc(grace_s=0)))
    collector.start()
    waits = moment in ("publish", "published", "at hand", "journal")
    collector.join(0.3 if waits else 30)
    held = collector.is_alive()
    child.go_on()
    assert child.line() == "done"
    collector.join(30)

    assert reports, "gc came to its end"
    assert held == waits, "it waits exactly for those that hold the lock"
    assert store.read("again") == CONTENT
    assert digest in files(store)
    readable_whenever_referred_to(store)
    assert store.gc(grace_s=0).removed == 0


@pytest.mark.parametrize("step", ["condemn", "sweep", "strays", "packs", "leftovers"])
def test_a_put_that_was_staged_before_a_step_of_gc_and_published_after_it_is_safe(
    store: Store, another: Callable[..., Other], step: str, form: str
) -> None:
    digest = give_up(store, "gone")
    store.gc(grace_s=0)
    collector = Gc(store._handle, grace_s=0)
    child = another("put", *(("fsync", "/tmp/") if form == "files" else ("lock", "")))
    assert child.line() == "paused"
    for name in STEPS[: STEPS.index(step) + 1]:
        getattr(collector, name)()
    child.go_on()
    assert child.line() == "done"
    for name in STEPS[STEPS.index(step) + 1 :]:
        getattr(collector, name)()

    assert store.read("again") == CONTENT
    assert files(store) == {digest}
    readable_whenever_referred_to(store)


@in_files
@pytest.mark.parametrize("moment", ["before the unlink", "killed before the unlink", "killed after the unlink"])
def test_a_gc_of_another_process_that_stops_while_it_removes_is_safe_beside_a_put(
    store: Store, another: Callable[..., Other], moment: str
) -> None:
    digest = give_up(store, "gone")
    (path,) = Path(store.path, "blobs").rglob(f"{digest[7:]}.zst")
    child = another("gc", "unlink", "/blobs/")
    assert child.line() == "paused"
    results: list[Any] = []
    putter = threading.Thread(target=lambda: results.append(store.put("again", CONTENT)))
    putter.start()
    putter.join(0.2)
    assert putter.is_alive(), "who removes holds the lock"
    if moment == "before the unlink":
        child.go_on()
        assert child.line() == "done"
    else:
        if moment == "killed after the unlink":
            path.unlink()
        child.kill()
    putter.join(30)

    assert results[0].created
    assert store.read("again") == CONTENT
    readable_whenever_referred_to(store)
    assert store.gc(grace_s=0).removed == 0
    assert store.read("again") == CONTENT


@pytest.mark.parametrize("form", ["packs"], indirect=True)
@pytest.mark.parametrize("moment", ["goes on", "killed", "killed after the unlink"])
def test_a_gc_of_another_process_that_stops_while_it_removes_a_pack_is_safe_beside_a_put(
    store: Store, another: Callable[..., Other], moment: str
) -> None:
    store.put("kept", b"in the same pack")
    give_up(store, "gone")
    store._handle.blobs.close()
    child = another("gc", "unlink", "/packs/")
    assert child.line() == "paused"
    (old,) = {path.stem for path in Path(store.path, "packs").iterdir()} - {
        one.spot.pack for one in held.placed(store._handle.index) if one.spot
    }
    results: list[Any] = []
    putter = threading.Thread(target=lambda: results.append(store.put("again", CONTENT)))
    putter.start()
    putter.join(0.2)
    assert putter.is_alive(), "who removes holds the lock"
    if moment == "goes on":
        child.go_on()
        assert child.line() == "done"
    else:
        if moment == "killed after the unlink":
            Path(store.path, "packs", f"{old}.zst").unlink()
        child.kill()
    putter.join(30)

    assert results[0].created
    assert (store.read("again"), store.read("kept")) == (CONTENT, b"in the same pack")
    readable_whenever_referred_to(store)
    assert store.gc(grace_s=0).removed == 0
    assert (store.read("again"), store.read("kept")) == (CONTENT, b"in the same pack")
    assert old not in [row.name for row in store._handle.index.physical.packs.each()]


def test_many_puts_and_many_collections_at_once_lose_nothing(root: str) -> None:
    stop = threading.Event()
    trouble: list[BaseException] = []
    with holdfast.create(root) as store, holdfast.open(root) as collecting:

        def collect() -> None:
            while not stop.is_set():
                try:
                    collecting.gc(grace_s=0)
                except BaseException as error:
                    trouble.append(error)
                    return

        collector = threading.Thread(target=collect)
        collector.start()
        try:
            for n in range(60):
                content = b"the same few" + bytes([n % 3]) * 2_000
                store.put(f"{n}", content)
                assert store.read(f"{n}") == content
                store.artifacts.delete(f"{n}")
                if n % 2:
                    store.artifacts.purge(f"{n}")
        finally:
            stop.set()
            collector.join()
        assert trouble == []
        readable_whenever_referred_to(store)


def test_a_stream_that_is_staged_for_long_is_not_swept_away(store: Store) -> None:
    content = os.urandom(3_000_000)

    class Slow:
        def __init__(self) -> None:
            self._parts = [content[:1_500_000], content[1_500_000:], b""]

        def read(self, size: int = -1) -> bytes:
            store.gc(grace_s=0)
            part = self._parts[0][:size] if size >= 0 else self._parts[0]
            self._parts[0] = self._parts[0][len(part) :]
            if not self._parts[0] and len(self._parts) > 1:
                self._parts.pop(0)
            return part

    store.put("slow", Slow())
    assert store.read("slow") == content


def test_reading_what_was_collected_under_one_s_feet_is_a_typed_error(store: Store) -> None:
    digest = give_up(store, "gone")
    store.gc(grace_s=0)
    with pytest.raises(BlobMissingError):
        store._handle.blobs.read(digest)
