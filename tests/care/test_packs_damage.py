"""Every kind of damage to packs: a full fsck finds it or it is on the closed list, and no read is ever wrong.

The ordinary suite takes a sample; `-m soak` takes every byte, every length and every pair of files.
HOLDFAST_DAMAGE_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import secrets

import pytest

import holdfast
from holdfast.errors import HoldfastError
from holdfast.testing import asking, damage, lab
from holdfast.testing.harmed import Harmed

SEED = int(os.environ.get("HOLDFAST_DAMAGE_SEED", "0")) or secrets.randbelow(1 << 32)
LAB = "Damage to one file: not found, or a wrong answer"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    base = tmp_path_factory.mktemp("packs")
    root = lab.with_packs(base / "store")
    harmed = Harmed(root, base / "parking")
    truth = asking.answers(root)
    harmed.mend()
    return harmed, truth


def packs(harmed):
    return [name for name in damage.files_of(harmed.root) if name.startswith("packs/")]


def prove(sound, chosen, tally, note):
    report = lab.run(*sound, chosen)
    tally(LAB, tried=report.tried, of="damages", lost=report.lost, note=note)
    assert (report.missed, report.wrong, report.untyped, report.absent) == ([], [], [], [])


def test_a_sample_of_every_damage_to_packs(sound, tally):
    chosen = list(damage.cases(sound[0].root, some=12, seed=5, only=packs(sound[0])))
    assert {case.path for case in chosen} == set(packs(sound[0]))
    prove(sound, random.Random(5).sample(chosen, 40), tally, "packs, a sample")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_damage_to_packs(sound, tally):
    print("HOLDFAST_DAMAGE_SEED", SEED)
    chosen = list(damage.cases(sound[0].root, seed=SEED, only=packs(sound[0])))
    at_most = int(os.environ.get("HOLDFAST_DAMAGE_CASES", "0")) or len(chosen)
    prove(sound, random.Random(SEED).sample(chosen, min(at_most, len(chosen))), tally, f"packs, seed {SEED}")


@pytest.mark.parametrize("column", ["offset", "stored_bytes", "start"])
@pytest.mark.parametrize("cell", [(1 << 63) - 9, -5, "'x'"])
def test_a_place_that_no_file_can_have_is_a_finding_and_stops_neither_fsck_nor_a_read(tmp_path, column, cell):
    contents = {f"a/{number}": f"text {number} ".encode() * 20 for number in range(20)}
    with holdfast.create(tmp_path / "store") as store, store.transaction():
        for path, content in contents.items():
            store.put(path, content)
    with damage.sql(tmp_path / "store") as connection:
        connection.execute(f"UPDATE blob SET {column} = {cell} WHERE content = (SELECT max(content) FROM blob)")
    report = holdfast.fsck(tmp_path / "store")
    assert report.findings
    with holdfast.open(tmp_path / "store", read_only=True) as store:
        found = {}
        try:
            found.update(store.artifacts.read_many(contents))
        except HoldfastError:
            del contents["a/19"]
            found.update(store.artifacts.read_many(contents))
    assert found == contents
