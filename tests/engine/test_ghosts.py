"""A copied index can end in a transaction that never happened; the journal's copy of the chain knows better."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import ChainForkedError


def diverge(root: Path, tmp_path: Path, *, ghosts: int) -> Path:
    """A copy whose index ends in `ghosts` other transactions than its journal, as a kill beside a copy leaves it."""
    with holdfast.create(root) as store:
        store.put("a", b"1")
    other = tmp_path / "other"
    shutil.copytree(root, other)
    with holdfast.open(root) as store:
        store.put("b", b"what happened")
        store.put("c", b"and went on")
    with holdfast.open(other) as store:
        for number in range(ghosts):
            store.put(f"ghost {number}", b"what did not")
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.copyfile(other / "index.sqlite3", copy / "index.sqlite3")
    return copy


def test_a_last_transaction_that_only_a_copied_index_has_gives_way_to_the_journal(root: Path, tmp_path: Path) -> None:
    copy = diverge(root, tmp_path, ghosts=1)
    holdfast.recover(copy)
    with holdfast.open(copy) as store:
        assert sorted(a.path for a in store.find()) == ["a", "b", "c"]
        assert store.fsck().exit_code == 0


def test_two_histories_that_both_go_on_are_a_fork_and_nothing_is_touched(root: Path, tmp_path: Path) -> None:
    copy = diverge(root, tmp_path, ghosts=2)
    before = {p: p.read_bytes() for p in sorted(copy.rglob("*")) if p.is_file() and "tmp" not in p.parts[-2]}
    with pytest.raises(ChainForkedError):
        holdfast.recover(copy)
    assert (copy / "index.sqlite3").read_bytes() == before[copy / "index.sqlite3"]
