"""Law 8: any file-by-file copy of a store under full load, in any order, is a backup of what was acknowledged before.

The oracle is the ledger of what the writers were told, with times; whatever was said before a copying began must be in
the copy, byte for byte. Every copy must be recognised as one, be sound for fsck after `recover`, and go on as a store.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import ContentPurgedError
from holdfast.testing import copying, damage
from holdfast.testing.copying import Pace

SEED = int(os.environ.get("HOLDFAST_COPY_SEED") or random.SystemRandom().randrange(1 << 30))
COPIES = int(os.environ.get("HOLDFAST_COPIES", "320"))
SECONDS = float(os.environ.get("HOLDFAST_COPY_SECONDS", "600"))
IN_A_ROUND = 20
PATIENCE_S = 120.0
SRC = str(Path(holdfast.__file__).parents[1])

Said = tuple[str, str, int, str, float]


@dataclass
class Load:
    """Processes that work on one store, and what they have said."""

    root: Path
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)

    def start(self, role: str, seed: int) -> None:
        said = self.folder / f"said-{len(self.outputs)}"
        self.outputs.append(said)
        program = Path(__file__).with_name("load.py")
        command = [sys.executable, program, self.root, f"w{len(self.outputs)}", role, str(seed)]
        with said.open("wb") as out, (self.folder / "errors").open("ab") as errors:
            self.workers.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=out, stderr=errors, env={**os.environ, "PYTHONPATH": SRC}
                )
            )

    def said(self) -> list[Said]:
        lines = [line for said in self.outputs for line in said.read_bytes().split(b"\n")[:-1]]
        return [tuple(json.loads(line)) for line in lines]

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.said()) < count and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        for worker in self.workers:
            assert worker.stdin is not None
            worker.stdin.close()
        for worker in self.workers:
            try:
                worker.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self.workers.clear()

    def errors(self) -> str:
        return (self.folder / "errors").read_text()


@contextmanager
def load(folder: Path, luck: random.Random, roles: list[str]) -> Iterator[Load]:
    """A new store under load in the block."""
    folder.mkdir()
    holdfast.create(folder / "store").close()
    working = Load(folder / "store", folder)
    try:
        for role in roles:
            working.start(role, luck.randrange(1 << 30))
        working.wait_for(30)
        yield working
    finally:
        working.stop()


# -- ways of copying ---------------------------------------------------------------------------------------------------

Way = Callable[[Path, Path, random.Random], float]
"""Copies a folder to another; when it began (for an update in two passes: when the last pass began)."""


def cp(source: Path, target: Path, _: random.Random) -> float:
    began = time.time()
    # A file that goes away meanwhile makes cp complain; that is no reason for a copy to be bad.
    subprocess.run(["cp", "-a", source, target], stderr=subprocess.DEVNULL, check=False)
    return began


def rsync(source: Path, target: Path, *options: str) -> float:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed; tools/install_system_packages.sh does it")
    began = time.time()
    subprocess.run(["rsync", "-a", *options, f"{source}/", f"{target}/"], stderr=subprocess.DEVNULL, check=False)
    return began


def rsync_once(source: Path, target: Path, _: random.Random) -> float:
    return rsync(source, target)


def rsync_slowly(source: Path, target: Path, luck: random.Random) -> float:
    return rsync(source, target, f"--bwlimit={luck.choice([8000, 20000])}")


def rsync_again(source: Path, target: Path, luck: random.Random) -> float:
    """Over an older copy, as it was or after it was used; with files that are gone removed, or not."""
    rsync(source, target)
    time.sleep(luck.random() * 0.4)
    if luck.random() < 0.5:
        holdfast.recover(target)
    return rsync(source, target, *luck.choice([[], ["--delete"], ["--delete-before"], ["--inplace"]]))


def cp_again(source: Path, target: Path, luck: random.Random) -> float:
    """Over the bytes of an older copy."""
    cp(source, target, luck)
    time.sleep(luck.random() * 0.4)
    if luck.random() < 0.5:
        holdfast.recover(target)
    began = time.time()
    subprocess.run(["cp", "-a", f"{source}/.", target], stderr=subprocess.DEVNULL, check=False)
    return began


def tar(source: Path, target: Path, _: random.Random) -> float:
    began = time.time()
    target.mkdir()
    command = 'tar -C "$0" -cf - . | tar -C "$1" -xf -'
    subprocess.run(["sh", "-c", command, source, target], stderr=subprocess.DEVNULL, check=False)
    return began


def of_a_copy(source: Path, target: Path, luck: random.Random) -> float:
    """A copy of a copy that nobody has opened yet, or of one that was used."""
    first = target.with_name(target.name + "-first")
    began = cp(source, first, luck)
    if luck.random() < 0.5:
        holdfast.recover(first)
    cp(first, target, luck)
    shutil.rmtree(first)
    return began


def in_order(order: copying.Order) -> Way:
    def way(source: Path, target: Path, luck: random.Random) -> float:
        pace = luck.choice([Pace(), Pace(1 << 14, 0.002), Pace(1 << 15, 0.004, 0.001), Pace(1 << 20, 0.0, 0.003)])
        began = time.time()
        copying.copy_folder(str(source), str(target), order, pace, luck)
        return began

    way.__name__ = order.__name__
    return way


WAYS: list[Way] = [
    cp, rsync_once, *map(in_order, copying.ORDERS), rsync_again, tar, cp_again, of_a_copy, rsync_slowly,
]  # fmt: skip


# -- what a copy must be -----------------------------------------------------------------------------------------------


def sound(path: Path, said: list[Said], began: float, luck: random.Random) -> int:
    """A copy is recognised, whole for all that was said before it began, clean and usable; how much was withdrawn."""
    with holdfast.open(path, read_only=luck.random() < 0.3) as copy:
        assert copy.opened.rebuilt, "it was not recognised"
        assert "copy" in copy.opened.reason
    report = holdfast.recover(path)
    assert report.missing == ()
    given_up = {(artifact, number) for what, artifact, number, *_ in said if what == "giving up"}
    with holdfast.open(path) as copy:
        assert not copy.opened.rebuilt
        for what, artifact, number, digest, when in said:
            if what == "put" and when < began:
                assert copy.artifacts.revision(f"id:{artifact}", number).digest == digest
                # Reading proves the bytes against the digest.
                with suppress(*[ContentPurgedError] if (artifact, number) in given_up else []):
                    copy.artifacts.read(f"id:{artifact}", revision=number)
        named_in_the_log(copy, report.withdrawn)
        goes_on(copy)
    found = holdfast.fsck(path)
    assert found.exit_code == 0, [(f.code, f.object, f.detail) for f in found.findings]
    return len(report.withdrawn)


def named_in_the_log(copy: Store, withdrawn: tuple[str, ...]) -> None:
    """What was withdrawn still stands in the history, and so does that it was taken back."""
    if withdrawn:
        assert any(change.note.startswith("withdrawn") for change in copy.changes.list())
        assert set(withdrawn) <= {change.tx for change in copy.changes.list()}


def goes_on(copy: Store) -> None:
    """A store like any other."""
    assert copy.put("after the copy", b"written here").created
    assert copy.read("after the copy") == b"written here"
    copy.gc(dry_run=True)
    copy.search("written", limit=1)


def take(working: Load, luck: random.Random, ways: list[Way], places: list[Path]) -> list[tuple[str, Path, float]]:
    """Copies of a store under load: (way, where, when begun) of each."""
    taken = []
    for number, way in enumerate(ways):
        time.sleep(luck.random() * 0.15)
        where = places[number % len(places)] / f"copy-{number}"
        taken.append((way.__name__, where, way(working.root, where, luck)))
    return taken


ROLES = [["writer", "writer", "carer"], ["writer", "carer"], ["carer", "carer", "writer"]]


def one_round(folder: Path, luck: random.Random, ways: list[Way], roles: list[str]) -> tuple[int, int]:
    """(copies, transactions withdrawn) of one store; the original must come out of it untouched and sound."""
    with another_file_system(folder.name) as elsewhere:
        with load(folder, luck, roles) as working:
            taken = take(working, luck, ways, [folder, elsewhere, folder])
        said = working.said()
        assert working.errors() == ""
        before = damage.tree(working.root)
        withdrawn = 0
        for name, where, began in taken:
            try:
                withdrawn += sound(where, said, began, luck)
            except Exception as error:
                kept = os.environ.get("HOLDFAST_COPY_KEEP")
                if kept:
                    shutil.copytree(where, Path(kept) / f"{name}-{time.time_ns()}")
                raise AssertionError(f"seed {SEED}: {name} of {where}: {error}") from error
        assert damage.tree(working.root) == before
        with holdfast.open(working.root) as store:
            assert not store.opened.rebuilt
        assert holdfast.fsck(working.root).exit_code == 0
    shutil.rmtree(folder)
    return len(taken), withdrawn


@contextmanager
def another_file_system(name: str) -> Iterator[Path]:
    """A folder in memory, where there is one; else one more beside the others."""
    shm = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix=f"holdfast-{name}-", dir=shm if os.access(shm, os.W_OK) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(600)
def test_every_plain_copy_of_a_busy_store_is_a_backup(tmp_path: Path, tally: Callable[..., None]) -> None:
    luck = random.Random(SEED)
    print("HOLDFAST_COPY_SEED", SEED)
    copies, withdrawn = one_round(tmp_path / "round", luck, WAYS, ROLES[1])
    tally("a plain copy is a backup", tried=copies, of="copies of a store under load", note=f"{withdrawn} withdrawn")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_same_hundreds_of_times(tmp_path: Path, tally: Callable[..., None]) -> None:
    luck = random.Random(SEED)
    print("HOLDFAST_COPY_SEED", SEED)
    copies = withdrawn = 0
    deadline = time.monotonic() + SECONDS
    for number in itertools.count():
        if copies >= COPIES or time.monotonic() > deadline:
            break
        ways = luck.choices(WAYS, k=min(IN_A_ROUND, COPIES - copies))
        more, back = one_round(tmp_path / f"round-{number}", luck, ways, luck.choice(ROLES))
        copies, withdrawn = copies + more, withdrawn + back
    note = f"seed {SEED}; {withdrawn} transactions withdrawn"
    tally("a plain copy is a backup", tried=copies, of="copies of a store under load", note=note)
