"""Backups of content that is cut into chunks: recipes and chunks come along, and earlier moments come back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import holdfast
from holdfast import Store
from holdfast.blobs.chunks import available
from holdfast.testing.asking import readable

pytestmark = pytest.mark.skipif(not available(), reason="nothing cuts here")


LUCK = random.Random(20)
ONE = LUCK.randbytes(1_500_000)
TWO = ONE[:700_000] + b"something new" + ONE[700_000:] + LUCK.randbytes(300_000)
THREE = TWO + LUCK.randbytes(200_000)
FOUR = b"in front" + THREE


def recipes(root: str | Path) -> set[str]:
    return {path.name for path in (Path(root) / "recipes").iterdir()}


def test_chunks_and_recipes_are_backed_up_restored_and_shared(store: Store, root: str, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    for content in (ONE, TWO, THREE):
        store.put("large", content)
    before = recipes(root)
    assert before, "it was cut"
    store.backup(copies)
    mid = store.status().head_seq
    store.put("large", FOUR)
    report = store.backup(copies)
    assert report.lacks == ()
    assert holdfast.fsck(copies).exit_code == 0
    assert recipes(copies / "generations/000002") == recipes(root)
    shared = {p.name for p in (copies / "generations/000001/recipes").iterdir() if p.stat().st_nlink > 1}
    assert shared == before
    assert holdfast.restore(copies, tmp_path / "new", verify=True).exit_code == 0
    assert readable(tmp_path / "new") == readable(root)
    then = holdfast.restore(copies, tmp_path / "then", at=mid, verify=True)
    assert then.fsck == 0, then.fsck_counts
    assert readable(tmp_path / "then") == {"large@1": ONE, "large@2": TWO, "large@3": THREE}
    assert recipes(tmp_path / "then") == before


@pytest.mark.parametrize("folder", ["recipes", "packs"])
def test_damage_to_recipe_or_chunks_is_named(store: Store, root: str, tmp_path: Path, folder: str) -> None:
    for content in (ONE, TWO, THREE):
        store.put("large", content)
    path = max((Path(root) / folder).iterdir(), key=lambda p: p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    report = store.backup(tmp_path / "copies")
    assert report.exit_code == 4
    assert {one.path.split("/")[0] for one in report.lacks} == {folder}
    assert store.backup(tmp_path / "copies", whole=True).lacks == report.lacks
