"""Every kind of damage to recipes, to packs of chunks and to superseded files: found, and no read is ever wrong.

The ordinary suite takes a sample; `-m soak` takes every byte, every length and every pair of files.
HOLDFAST_DAMAGE_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import secrets

import pytest

from holdfast.testing import asking, damage, lab
from holdfast.testing.harmed import Harmed

SEED = int(os.environ.get("HOLDFAST_DAMAGE_SEED", "0")) or secrets.randbelow(1 << 32)
LAB = "Damage to one file: not found, or a wrong answer"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    base = tmp_path_factory.mktemp("chunks")
    root = lab.with_chunks(base / "store")
    harmed = Harmed(root, base / "parking")
    truth = asking.answers(root)
    harmed.mend()
    return harmed, truth


def files(harmed, *folders):
    return [name for name in damage.files_of(harmed.root) if name.startswith(folders)]


def superseded(harmed):
    """Files of contents that have a recipe too."""
    recipes = {name.partition("/")[2] for name in files(harmed, "recipes/")}
    return [name for name in files(harmed, "blobs/") if name.rpartition("/")[2] in recipes]


def prove(sound, chosen, tally, note):
    report = lab.run(*sound, chosen)
    print(report)
    tally(LAB, tried=report.tried, of="damages", lost=report.lost, note=note)
    assert (report.missed, report.wrong, report.untyped, report.absent) == ([], [], [], [])


def test_a_sample_of_every_damage_to_recipes(sound, tally):
    chosen = list(damage.cases(sound[0].root, some=6, seed=6, only=files(sound[0], "recipes/")))
    assert {case.path for case in chosen} == set(files(sound[0], "recipes/"))
    prove(sound, random.Random(6).sample(chosen, 40), tally, "recipes, a sample")


def test_a_sample_of_every_damage_to_packs_of_chunks(sound, tally):
    chosen = list(damage.cases(sound[0].root, some=12, seed=7, only=files(sound[0], "packs/")))
    prove(sound, random.Random(7).sample(chosen, 40), tally, "packs of chunks, a sample")


def test_a_sample_of_every_damage_to_a_file_that_a_recipe_superseded(sound, tally):
    assert superseded(sound[0])
    chosen = list(damage.cases(sound[0].root, some=6, seed=8, only=superseded(sound[0])))
    prove(sound, random.Random(8).sample(chosen, 20), tally, "superseded files, a sample")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_damage_to_recipes_and_packs_of_chunks(sound, tally):
    print("HOLDFAST_DAMAGE_SEED", SEED)
    chosen = list(damage.cases(sound[0].root, seed=SEED, only=files(sound[0], "recipes/", "packs/")))
    at_most = int(os.environ.get("HOLDFAST_DAMAGE_CASES", "0")) or len(chosen)
    prove(sound, random.Random(SEED).sample(chosen, min(at_most, len(chosen))), tally, f"chunks, seed {SEED}")
