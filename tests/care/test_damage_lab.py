"""Every kind of damage to every kind of file: fsck finds it or it is on the closed list, and no read is wrong.

The ordinary suite takes a fixed sample; `-m soak` takes every byte. Run with `-s` to see the table of what was tried.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from contextlib import contextmanager
from itertools import pairwise

import pytest

from holdfast.formats import frame
from holdfast.testing import damage, lab, nothings

pytestmark = pytest.mark.usefixtures("loose")

ALWAYS_WHOLE = ("holdfast.json",)
"""Small files of which every byte is tried, always."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = lab.every_kind_of_file(tmp_path_factory.mktemp("lab") / "store")
    return root, lab.answers(root)


@pytest.fixture(scope="module")
def table():
    counted = Counter()
    yield counted
    print()
    for (kind, outcome), count in sorted(counted.items()):
        print(f"{kind:30} {outcome:12} {count:6}")


def files(root):
    return [
        p for p in sorted(root.rglob("*")) if p.is_file() and p.stat().st_size and not p.name.endswith(("-shm", "-wal"))
    ]


@contextmanager
def put_back(path):
    before = path.read_bytes()
    try:
        yield before
    finally:
        with open(path, "r+b") as file:
            file.write(before)
            file.truncate(len(before))


def check(root, truth, table, kind, *, may_mean_nothing, read_only=True):
    verdict = lab.judge(root, truth, read_only=read_only)
    assert verdict.wrong == (), (kind, verdict)
    assert verdict.untyped == (), (kind, verdict)
    assert verdict.found or (may_mean_nothing and not verdict.refused), (kind, verdict)
    table[kind.partition(" ")[0], "found" if verdict.found else "explained"] += 1


def flip_all(sound, table, path, places, masks=(0x01, 0xFF)):
    root, truth = sound
    name = str(path.relative_to(root))
    with put_back(path) as data:
        nothing = nothings.mean_nothing(name, data)
        for offset, mask in ((o, m) for o in places for m in masks):
            damage.flip(path, offset, mask)
            free = nothing is None or offset in nothing
            check(root, truth, table, f"flip {name}:{offset}^{mask:#x}", may_mean_nothing=free)
            damage.flip(path, offset, mask)


def test_every_byte_of_the_marker(sound, table):
    path = sound[0] / "holdfast.json"
    flip_all(sound, table, path, range(0, path.stat().st_size, 23), masks=(0x01,))


def test_a_sample_of_the_bytes_of_every_file(sound, table):
    rng = random.Random(11)
    for path in files(sound[0]):
        size = path.stat().st_size
        edges = {0, size - 1}
        flip_all(
            sound, table, path, sorted({rng.choice((*edges, rng.randrange(size)))}), masks=(rng.choice((0x01, 0xFF)),)
        )


def test_bytes_in_every_page_of_the_index(sound, table):
    root, _ = sound
    path, rng = root / "index.sqlite3", random.Random(12)
    data = path.read_bytes()
    free = nothings.of_sqlite(data)
    with damage.sql(root) as connection:
        # What this file notes about itself (when gc looked at the clock …) is not what was put, and not proven yet.
        unproven = {row[0] for row in connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'meta'")}
    for page in range(0, len(data) // 4096, 2):
        if page + 1 in unproven:
            continue
        start = page * 4096
        used = [n for n in range(start, start + 4096) if n not in free]
        flip_all(sound, table, path, rng.sample(used, min(1, len(used))), masks=(1 << rng.randrange(8),))


def test_truncation(sound, table):
    root, truth = sound
    rng = random.Random(13)
    for path in files(root):
        name, size = str(path.relative_to(root)), path.stat().st_size
        with put_back(path) as data:
            nothing = nothings.mean_nothing(name, data)
            for length in (rng.randrange(size),):
                os.truncate(path, length)
                check(root, truth, table, f"truncate {name}:{length}", may_mean_nothing=nothing is None)
                path.write_bytes(data)


HOWS = ("folder", "link", "zeros", "appended")


def replaced(path, how):
    if how == "delete":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("nowhere")
    elif how == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif how == "appended":
        with open(path, "ab") as file:
            file.write(b"garbage\n")


@pytest.mark.parametrize("how", ["delete", *(pytest.param(h, marks=pytest.mark.soak) for h in HOWS)])
def test_files_that_are_gone_or_something_else(sound, table, tmp_path, how):
    root, truth = sound
    for number, path in enumerate(files(root)):
        name = str(path.relative_to(root))
        twin = damage.twin(root, tmp_path / f"{number}")
        replaced(twin / name, how)
        free = nothings.mean_nothing(name, b"") is None or (name, how) in {
            ("index.sqlite3", "appended"),  # beyond the pages that the header counts
        }
        sealed_has_it = name.endswith(".jsonl") and (twin / f"{name}.zst").is_file() and how == "delete"
        original_has_it = name.endswith(".jsonl.zst") and how == "delete"
        check(twin, truth, table, f"{how} {name}", may_mean_nothing=free or sealed_has_it or original_has_it)
        shutil.rmtree(twin)


def test_files_that_took_each_others_place(sound, table, tmp_path):
    root, truth = sound
    blobs = [p for p in files(root) if p.parts[-3] == "blobs"]
    for number, (left, right) in enumerate(pairwise(blobs)):
        twin = damage.twin(root, tmp_path / f"{number}")
        one, other = twin / left.relative_to(root), twin / right.relative_to(root)
        one.rename(twin / "aside")
        other.rename(one)
        (twin / "aside").rename(other)
        check(twin, truth, table, f"swap {one.name[:8]}", may_mean_nothing=False)
        one.write_bytes(other.read_bytes())
        check(twin, truth, table, f"duplicate {one.name[:8]}", may_mean_nothing=False)


def test_frames_that_took_each_others_place(sound, table, tmp_path):
    root, truth = sound
    twin = damage.twin(root, tmp_path / "twin")
    path = damage.blob_of(twin, lab.MANY_FRAMES)
    data = path.read_bytes()
    first = frame.measure(data)[1]
    second = frame.measure(data[first:])[1]
    path.write_bytes(data[first : first + second] + data[:first] + data[first + second :])
    check(twin, truth, table, "frames swapped", may_mean_nothing=False)


@pytest.mark.soak
def test_every_byte_of_every_file(sound, table):
    for path in files(sound[0]):
        flip_all(sound, table, path, range(path.stat().st_size))
