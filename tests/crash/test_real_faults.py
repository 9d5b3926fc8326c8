"""Faults that the kernel itself reports: syncs that fail in a traced process, interrupted calls, a full file system."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import NoSpaceError

PUTTER = Path(__file__).with_name("putter.py")


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
    with holdfast.open(root) as store:
        for word, *rest in lines:
            if word == "ack":
                artifact, number, digest = rest
                assert store.artifacts.revision(f"id:{artifact}", int(number)).digest == digest
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
