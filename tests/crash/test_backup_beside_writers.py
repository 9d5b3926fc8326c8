"""Backups while processes write, delete, purge, collect and repack: each one is a moment of the store, whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import holdfast
from holdfast.testing.asking import readable

Tally = Callable[..., None]

WHILE_THEY_WRITE = 8
"""Each of them is checked in full at the end."""

WRITER = """
import os, random, sys
import holdfast
root, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
rnd = random.Random(name)
with holdfast.open(root, actor=name, lock_wait_s=120) as store:
    for n in range(rounds):
        size = rnd.choice([20, 300, 5000, 90_000, 400_000])
        store.put(f"{name}/{n}", f"{name} {n} ".encode() + rnd.randbytes(size))
        print(n, flush=True)
        if n % 5 == 4:
            store.artifacts.delete(f"{name}/{n - 2}")
            store.artifacts.purge(f"{name}/{n - 2}")
        if n % 9 == 8:
            with store.transaction():
                for k in range(4):
                    store.put(f"{name}/t{n}/{k}", rnd.randbytes(1000))
"""

CARE = """
import sys
import holdfast
root, rounds = sys.argv[1], int(sys.argv[2])
with holdfast.open(root, actor="care", lock_wait_s=120) as store:
    for n in range(rounds):
        store.gc(grace_s=0)
        store.repack()
        print(n, flush=True)
"""


def start(program: str, *words: str) -> subprocess.Popen[bytes]:
    source = str(Path(holdfast.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    return subprocess.Popen([sys.executable, "-c", program, *words], env=environment, stdout=subprocess.PIPE)


def test_every_backup_made_while_others_write_is_whole(tmp_path: Path, tally: Tally) -> None:
    root, copies = tmp_path / "store", tmp_path / "copies"
    holdfast.create(root).close()
    at_work = [start(WRITER, str(root), name, "40") for name in ("Ada", "Eve")] + [start(CARE, str(root), "6")]
    reports = []
    try:
        while not reports or (len(reports) < WHILE_THEY_WRITE and any(one.poll() is None for one in at_work)):
            seen = holdfast.open(root, read_only=True)
            with seen:
                acknowledged = seen.status().head_seq
            report = holdfast.backup(root, copies)
            assert report.head_seq >= acknowledged, "what was acknowledged before it began is in it"
            assert report.exit_code == 0, report.lacks
            reports.append(report)
    finally:
        for one in at_work:
            one.communicate()
    assert [one.returncode for one in at_work] == [0, 0, 0]
    reports.append(holdfast.backup(root, copies))
    assert holdfast.verify_backup(copies).findings == ()
    made = sorted({one.generation for one in reports})
    with holdfast.open(root, read_only=True) as store:
        for number in made:
            place = copies / "generations" / f"{number:06d}"
            with holdfast.open(place, read_only=True) as copy:
                assert not copy.opened.rebuilt
                head = copy.audit.head()
                assert copy.audit.verify().proven
            assert store.audit.verify(head or None).proven, "it is a moment of the store"
            checked = holdfast.fsck(place)
            assert checked.exit_code == 0, [one.as_dict() for one in checked.findings]
    assert readable(copies / "generations" / f"{made[-1]:06d}") == readable(root)
    again = sum(one.again for one in reports)
    tally("backups beside writers", tried=len(made), of="generations", note=f"{again} begun again")


def test_what_gc_takes_while_it_is_copied_makes_the_backup_begin_again(tmp_path: Path) -> None:
    """The snapshot speaks of a content; before its turn comes it is purged and collected by another process."""
    root, copies = tmp_path / "store", tmp_path / "copies"
    with holdfast.create(root) as store:
        for n in range(4):
            store.put(f"large/{n}", os.urandom(300_000 + n))
    taken: list[int] = []

    def take(done: int, *_: object) -> None:
        if not taken:
            taken.append(done)
            with holdfast.open(root) as other:
                for n in range(4):
                    other.artifacts.delete(f"large/{n}")
                    other.artifacts.purge(f"large/{n}")
                other.gc(grace_s=0)

    report = holdfast.backup(root, copies, progress=take)
    assert (report.again, report.exit_code, report.generation) == (1, 0, 1)
    assert holdfast.fsck(copies).exit_code == 0
    assert not list((copies / "generations" / "000001" / "blobs").rglob("*.zst"))
    assert holdfast.verify_backup(copies).findings == ()


def test_packs_that_repack_replaces_while_they_are_copied_make_it_begin_again(tmp_path: Path) -> None:
    root, copies = tmp_path / "store", tmp_path / "copies"
    with holdfast.create(root) as store:
        store.put("large", os.urandom(300_000))
        for n in range(30):
            store.put("small", f"revision {n} " * 40)
    truth = readable(root)
    taken: list[int] = []

    def take(done: int, *_: object) -> None:
        if not taken:
            taken.append(done)
            with holdfast.open(root) as other:
                other.repack()
                other.gc(grace_s=0)

    report = holdfast.backup(root, copies, progress=take)
    assert (report.again, report.exit_code) == (1, 0)
    assert readable(copies / "generations" / "000001") == truth
    assert holdfast.fsck(copies).exit_code == 0


def test_what_the_journal_does_not_have_yet_comes_from_the_index(tmp_path: Path) -> None:
    """A writer stands between COMMIT and the journal; or it was killed there."""
    root, copies = tmp_path / "store", tmp_path / "copies"
    with holdfast.create(root) as store:
        store.put("a", "1")
        (segment,) = (root / "journal").iterdir()
        before = segment.read_bytes()
        store.put("b", "2")
    segment.write_bytes(before)
    assert holdfast.backup(root, copies).head_seq >= 2
    assert holdfast.fsck(copies).exit_code == 0
    assert readable(copies / "generations" / "000001")["b@1"] == b"2"
