"""Faults that the kernel itself reports: syncs that fail in a traced process, interrupted calls, a full file system.

The long form lets every HOLDFAST_SYSCALL_STEP-th call of SQLite fail, beginning where HOLDFAST_SYSCALL_SEED says.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import ContentPurgedError, NoSpaceError

PUTTER = Path(__file__).with_name("putter.py")
WORKER = Path(__file__).with_name("worker.py")
STEP = int(os.environ.get("HOLDFAST_SYSCALL_STEP", "7"))
Tally = Callable[..., None]


def traced(*options: str) -> list[str]:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace is refused here: {tried.stderr.decode(errors='replace').strip()[:80]}")
    return [strace, "-f", "-o", "/dev/null", *(f"--{option}" for option in options)]


def said(command: list[str], root: Path, count: int = 5, size: int = 2000) -> list[list[str]]:
    done = subprocess.run(
        [*command, sys.executable, str(PUTTER), str(root), str(count), str(size)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(root: Path, lines: list[list[str]]) -> None:
    """All that was acknowledged reads back; the store is sound and usable."""
    purged = {line[1] for line in lines if line[0] == "purging"}
    with holdfast.open(root) as store:
        for word, *rest in lines:
            if word == "ack":
                artifact, number, digest = rest
                with contextlib.suppress(*[ContentPurgedError] if artifact in purged else []):
                    found = store.artifacts.revision(f"id:{artifact}", int(number))
                    assert artifact in purged or found.digest == digest
                    store.artifacts.read(f"id:{artifact}", revision=int(number))
        store.put("after the fault", b"life goes on")
        report = store.fsck()
    assert report.exit_code == 0, [(f.code, f.object, f.detail) for f in report.findings]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with holdfast.create(tmp_path / "store") as store:
        store.put("0", b"before")
    return tmp_path / "store"


@pytest.mark.parametrize("when", [1, 2, 3, 4, 5, 7, 10])
def test_a_sync_that_fails_ends_the_handle_with_a_typed_error_and_nothing_acknowledged_is_lost(
    root: Path, when: int
) -> None:
    lines = said(traced("trace=fdatasync,fsync", f"inject=fdatasync,fsync:error=EIO:when={when}"), root)
    words = [line[0] for line in lines]
    # A sync that failed after a COMMIT takes nothing back: then the next call is the first to hear of it.
    assert ["error", "storage-io"] in lines or ["error", "handle-dead"] in lines or words[-2:] == ["ack", "closed"]
    assert "alive" not in words
    check(root, lines)


def test_every_sync_failing_from_the_first_on_acknowledges_nothing(root: Path) -> None:
    lines = said(traced("trace=fdatasync,fsync", "inject=fdatasync,fsync:error=EIO:when=1+"), root)
    assert "ack" not in [line[0] for line in lines]
    check(root, lines)


def test_interrupted_writes_and_syncs_are_called_again(root: Path) -> None:
    lines = said(traced("trace=write", "inject=write:error=EINTR:when=2+3"), root, count=8, size=300_000)
    assert [line[0] for line in lines] == ["ack"] * 8 + ["closed"]
    check(root, lines)


# -- SQLite's own calls ------------------------------------------------------------------------------------------------

_CLEAN = 4
CALLS = ("pwrite64", "fdatasync", "openat", "ftruncate", "unlink", "pread64")
ERRORS = ("EIO", "ENOSPC", "EDQUOT")


def of_the_index(root: Path, call: str, error: str, when: str) -> list[list[str]]:
    """What a worker says while a call of SQLite on the index's files fails."""
    files = [f"--trace-path={root}/index.sqlite3{suffix}" for suffix in ("", "-wal", "-shm")]
    command = [*traced(f"trace={call}", f"inject={call}:error={error}:when={when}"), *files]
    done = subprocess.run([*command, sys.executable, str(WORKER), str(root)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("call", "when"), [("pwrite64", 7), ("pwrite64", 30), ("fdatasync", 4), ("openat", 6)])
def test_an_error_that_sqlite_meets_is_typed_and_nothing_acknowledged_is_lost(
    root: Path, call: str, when: int, tally: Tally
) -> None:
    lines = of_the_index(root, call, ERRORS[when % 3], str(when))
    assert lines[-1][0] in ("error", "closed")
    check(root, lines)
    tally("the Nth call fails", tried=1, of="faults of SQLite's own calls", note=f"{call} {when}")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_of_sqlite_fails_until_a_run_ends_clean(tmp_path: Path, call: str, tally: Tally) -> None:
    seed = int(os.environ.get("HOLDFAST_SYSCALL_SEED", random.randrange(1 << 30)))
    turn, tried, clean = seed % 3, 0, 0
    for when in range(1 + seed % STEP, 800, STEP):
        root = tmp_path / f"store-{when}"
        holdfast.create(root).close()
        lines = of_the_index(root, call, ERRORS[(when + turn) % 3], f"{when}{'+' if (when + turn) % 2 else ''}")
        assert lines[-1][0] in ("error", "closed"), (call, when)
        check(root, lines)
        shutil.rmtree(root)
        tried += 1
        # SQLite passes over some errors; a few clean runs one after the other say that there are no more calls.
        clean = clean + 1 if lines[-1][0] == "closed" else 0
        if clean == _CLEAN:
            break
    else:
        pytest.fail("no run ended clean")
    note = f"{call}: the first {when} calls, every {STEP}; seed {seed}"
    tally("the Nth call fails", tried=tried, of="faults of SQLite's own calls", note=note)


# -- a full file system ------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"may not mount a file system: {mounted.stderr.decode(errors='replace').strip()[:80]}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", [3_000, 150_000, 700_000])
def test_a_full_file_system_is_a_typed_error_and_the_store_goes_on_when_there_is_space_again(
    small: Path, size: int
) -> None:
    root = small / "store"
    ballast = small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    holdfast.create(root).close()
    lines = said([], root, count=2000, size=size)
    words = [line[0] for line in lines]
    assert ["error", "no-space"] in lines
    assert words[-1] == "closed"

    with holdfast.open(root, read_only=True) as store:
        # A smaller one may have found its place after the error.
        assert len(list(store.find())) == len({line[1] for line in lines if line[0] == "ack"}) + ("alive" in words)
    with holdfast.open(root) as store, pytest.raises(NoSpaceError):
        store.put("still full", os.urandom(3 << 20))
    ballast.unlink()
    check(root, lines)


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


ROOM = 200_000
"""What a few transactions need, in bytes: deleting and collecting write before they free."""


def test_on_a_nearly_full_file_system_content_can_be_deleted_and_collected_to_make_space(small: Path) -> None:
    root, room = small / "store", small / "room"
    room.write_bytes(bytes(ROOM))
    with holdfast.create(root) as store:
        ids = [store.put(f"{n}", os.urandom(70_000)).artifact.id for n in range(12)]
        fill(small / "ballast")
        with pytest.raises(NoSpaceError):  # without a free page nothing can be committed, a deletion neither
            store.artifacts.delete(f"id:{ids[0]}")
        room.unlink()
        with pytest.raises(NoSpaceError):
            store.put("too large", os.urandom(3 * ROOM))
        with store.transaction():
            for artifact in ids[:9]:
                store.artifacts.delete(f"id:{artifact}")
                store.artifacts.purge(f"id:{artifact}")
        assert store.gc(grace_s=0).removed == 9
        store.put("there is space again", os.urandom(ROOM))
        assert store.fsck().exit_code == 0
    with holdfast.open(root) as store:
        assert len(list(store.find())) == 4


PAGE = 4096


def with_garbage(root: Path, *, condemned: bool) -> None:
    """A closed store of twelve large contents, nine of which nothing refers to any more."""
    with holdfast.create(root) as store:
        ids = [store.put(f"{n}", os.urandom(70_000)).artifact.id for n in range(12)]
        with store.transaction():
            for artifact in ids[:9]:
                store.artifacts.delete(f"id:{artifact}")
                store.artifacts.purge(f"id:{artifact}")
        if condemned:
            store.gc()


def leave(small: Path, pages: int) -> None:
    """Fill the file system up to so many pages."""
    room = small / "room"
    room.write_bytes(bytes(PAGE * pages))
    fill(small / "ballast")
    room.unlink()


@pytest.mark.parametrize(("condemned", "pages"), [(True, 10), (False, 20)])
def test_gc_of_a_store_that_is_opened_on_a_full_file_system_needs_a_few_pages(
    small: Path, condemned: bool, pages: int
) -> None:
    """The 32 KiB that SQLite shares between processes, and what a commit writes: little if files can go before."""
    root = small / "store"
    with_garbage(root, condemned=condemned)
    leave(small, pages)
    with holdfast.open(root) as store:
        report = store.gc(grace_s=0)
        assert report.removed == 9
        assert report.freed_bytes > 9 * 70_000
        store.put("there is space again", os.urandom(ROOM))
        assert store.fsck().exit_code == 0


def test_a_deletion_reserves_no_more_than_it_writes_where_there_is_no_more(small: Path) -> None:
    root = small / "store"
    with_garbage(root, condemned=True)
    leave(small, 30)
    with holdfast.open(root) as store:
        store.artifacts.delete("11")
        assert store.fsck().exit_code == 0


def test_without_a_single_page_opening_says_so_and_derives_nothing(small: Path) -> None:
    root = small / "store"
    with_garbage(root, condemned=True)
    (root / "index.sqlite3-shm").unlink(missing_ok=True)
    (root / "index.sqlite3-wal").unlink(missing_ok=True)
    before = (root / "index.sqlite3").read_bytes()
    fill(small / "ballast")
    for _ in range(2):
        with pytest.raises(NoSpaceError) as caught:
            holdfast.open(root)
        assert "derive" not in caught.value.message
    (small / "ballast").unlink()
    assert (root / "index.sqlite3").read_bytes() == before
    with holdfast.open(root) as store:
        assert store.gc(grace_s=0).removed == 9
        assert store.fsck().exit_code == 0
