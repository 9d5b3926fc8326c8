"""Eight processes write at once and are killed at random, while plain copies of the store are taken.

The oracle is the ledger of what the writers were told: whatever they acknowledged must be there, byte for byte, in the
store, and in every copy that was begun after it. What the page cache holds survives a kill, so this shows ordering and
atomicity, not the placement of syncs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import holdfast

WRITERS = 8
SECONDS = float(os.environ.get("HOLDFAST_KILL_AND_COPY_SECONDS", "600"))
ENOUGH = 60
PATIENCE_S = 150


@dataclass
class Lab:
    """Writers on one store, and what each has said."""

    root: Path
    outputs: list[Path] = field(default_factory=list)
    writers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    said_by: dict[int, Path] = field(default_factory=dict)
    kills: int = 0

    def start(self, number: int) -> None:
        said = self.root / f"said-{len(self.outputs)}"
        self.outputs.append(said)
        self.said_by[number] = said
        command = [sys.executable, Path(__file__).with_name("writer.py"), self.root / "store", f"w{number}"]
        with said.open("wb") as out, (self.root / "errors").open("ab") as err:
            self.writers[number] = subprocess.Popen([*command, str(random.randrange(1 << 30))], stdout=out, stderr=err)

    def has_worked(self, number: int) -> bool:
        """Whether a writer said something. On a busy machine one that is killed at once would never get to work."""
        return self.said_by[number].stat().st_size > 0 or random.random() < 0.1

    def kill(self, number: int) -> None:
        self.writers[number].kill()
        self.writers[number].wait()
        self.kills += 1

    def said_little(self) -> bool:
        return sum(said.read_bytes().count(b"\n") for said in self.outputs) <= ENOUGH

    def acknowledged(self) -> list[tuple[str, int, str, float]]:
        lines = [line for said in self.outputs for line in said.read_bytes().split(b"\n")[:-1]]
        return [tuple(json.loads(line)) for line in lines]


def check(path: Path, acknowledged: list[tuple[str, int, str, float]], before: float = float("inf")) -> None:
    """Everything acknowledged before a moment is there and reads back; fsck finds nothing wrong."""
    with holdfast.open(path) as store:
        for artifact, number, digest, when in acknowledged:
            if when < before:
                assert store.artifacts.revision(f"id:{artifact}", number).digest == digest
                # Reading proves the bytes against the digest.
                store.artifacts.read(f"id:{artifact}", revision=number)
        report = store.fsck()
    assert report.exit_code == 0, [(f.code, f.object, f.detail) for f in report.findings]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    holdfast.create(tmp_path / "store").close()
    return Lab(tmp_path)


def run(lab: Lab, *, seconds: float, copies: int) -> list[tuple[float, Path]]:
    """Let the writers work, kill one after the other, and take copies; (when begun, where) of each copy."""
    taken: list[tuple[float, Path]] = []
    try:
        for number in range(WRITERS):
            lab.start(number)
        started = time.monotonic()
        # On a busy machine writers may be killed before they got to anything: then go on until enough was said.
        while (spent := time.monotonic() - started) < seconds or (spent < PATIENCE_S and lab.said_little()):
            time.sleep(random.random() * 0.6)
            number = random.randrange(WRITERS)
            if lab.has_worked(number):
                lab.kill(number)
                lab.start(number)
            if len(taken) < copies * spent / seconds:
                began, copy = time.time(), lab.root / f"copy-{len(taken)}"
                # A file that goes away meanwhile is no reason for a copy to be bad.
                subprocess.run(["cp", "-a", lab.root / "store", copy], stderr=subprocess.DEVNULL, check=False)
                taken.append((began, copy))
    finally:
        for number in list(lab.writers):
            lab.kill(number)
    return taken


def test_nothing_acknowledged_is_lost_by_kills_and_every_plain_copy_is_a_backup(lab: Lab) -> None:
    taken = run(lab, seconds=8, copies=4)
    said = lab.acknowledged()
    assert (lab.root / "errors").read_text() == ""
    assert len(said) >= ENOUGH
    assert lab.kills > WRITERS
    check(lab.root / "store", said)
    for began, copy in taken:
        report = holdfast.recover(copy)
        assert report.missing == ()
        check(copy, said, before=began)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_the_same_for_ten_minutes(lab: Lab, tally: Callable[..., None]) -> None:
    taken = run(lab, seconds=SECONDS, copies=int(SECONDS / 10))
    said = lab.acknowledged()
    assert (lab.root / "errors").read_text() == ""
    check(lab.root / "store", said)
    for began, copy in taken:
        holdfast.recover(copy)
        check(copy, said, before=began)
    tally(
        "kill -9 at any step loses nothing acknowledged, and leaves nothing half done", tried=lab.kills, of="kills",
        note=f"8 writers on one store, {len(said)} acknowledged puts, {len(taken)} plain copies meanwhile, each usable",
    )  # fmt: skip


def test_a_copy_is_recognised_and_never_just_caught_up(lab: Lab) -> None:
    with holdfast.open(lab.root / "store") as store:
        store.put("a", b"1")
    subprocess.run(["cp", "-a", lab.root / "store", lab.root / "copy"], check=True)
    with holdfast.open(lab.root / "copy") as copy:
        assert copy.opened.rebuilt
        assert "copy" in copy.opened.reason
        copy.put("a", b"2")
    with holdfast.open(lab.root / "copy") as copy:
        assert not copy.opened.rebuilt


def test_a_moved_store_is_no_copy(lab: Lab) -> None:
    with holdfast.open(lab.root / "store") as store:
        store.put("a", b"1")
    (lab.root / "store").rename(lab.root / "elsewhere")
    with holdfast.open(lab.root / "elsewhere") as store:
        assert not store.opened.rebuilt
        assert store.read("a") == b"1"


@pytest.mark.usefixtures("without_packs")
def test_what_a_copy_lacks_is_withdrawn_by_name_and_what_it_has_stays(lab: Lab) -> None:
    with holdfast.open(lab.root / "store") as store:
        store.put("kept", b"kept 1")
        store.put("new", b"new 1")
        store.put("kept", b"kept 2")
        lost = [store.get("new").digest, store.get("kept").digest]
        store.relationships.relate("kept", "supports", "new")
    subprocess.run(["cp", "-a", lab.root / "store", lab.root / "copy"], check=True)
    for digest in lost:
        hex_digits = digest.removeprefix("sha256:")
        (lab.root / "copy" / "blobs" / hex_digits[:2] / f"{hex_digits}.zst").unlink()
    report = holdfast.recover(lab.root / "copy")
    assert len(report.withdrawn) == 3
    assert report.missing == ()
    with holdfast.open(lab.root / "copy") as copy:
        assert copy.read("kept") == b"kept 1"
        assert copy.artifacts.revision("kept", 2).state == "withdrawn"
        assert [a.path for a in copy.find()] == ["kept"]
        assert list(copy.relationships.of(copy.get("kept"))) == []
        assert copy.put("kept", b"kept 3").revision.number == 3
        assert copy.fsck().exit_code == 0
    # A second recover finds nothing to do.
    assert holdfast.recover(lab.root / "copy").withdrawn == ()


@pytest.mark.usefixtures("without_packs")
def test_a_missing_blob_in_a_store_that_is_no_copy_is_not_withdrawn(lab: Lab) -> None:
    with holdfast.open(lab.root / "store") as store:
        store.put("a", b"1")
        hex_digits = store.get("a").digest.removeprefix("sha256:")
    (lab.root / "store" / "blobs" / hex_digits[:2] / f"{hex_digits}.zst").unlink()
    (lab.root / "store" / "index.sqlite3").unlink()
    report = holdfast.recover(lab.root / "store")
    assert report.withdrawn == ()
    assert report.missing == (f"sha256:{hex_digits}",)
