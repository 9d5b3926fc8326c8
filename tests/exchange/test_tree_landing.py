"""A first export is made whole under a passing name: nothing shows before, and what a kill left is gone on with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.errors import DestinationDiffersError, ImportRefusedError, LockedError
from holdfast.exchange import tree_export, tree_landing

from .test_tree import files

PASSING = tree_landing.PASSING.decode()


class StoppedError(BaseException):
    """The process was killed here."""


@pytest.fixture
def filled(store: Store) -> Store:
    for n in range(7):
        store.put(f"notes/{n}", f"text {n}", metadata={"n": n}, tags=["odd"] if n % 2 else [])
    store.put("notes/1", "newer")
    return store


def stopped_at(store: Store, top: Path, nth: int) -> bool:
    """Whether an export stopped at its nth file."""
    left, real = [nth], tree_landing.write_new

    def counted(*args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise StoppedError
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_landing, "write_new", counted)
        patch.setattr(tree_export, "WINDOW_FILES", 3)
        try:
            store.export_tree(top)
        except StoppedError:
            return True
    return False


def test_stopped_anywhere_it_shows_nothing_and_the_next_writes_only_the_rest(filled: Store, tmp_path: Path) -> None:
    filled.export_tree(tmp_path / "whole")
    wanted, nth = files(tmp_path / "whole"), 1
    while stopped_at(filled, tmp_path / str(nth), nth):
        top = tmp_path / str(nth)
        assert set(os.listdir(top)) == {PASSING, ".holdfast-export"}
        with pytest.raises(ImportRefusedError):
            holdfast.import_store(tmp_path / "new", top, dry_run=True)
        report = filled.export_tree(top)
        assert (report.same, report.written) == (nth - 1, len(wanted) - nth + 1)
        assert files(top) == wanted
        assert PASSING not in os.listdir(top)
        nth += 2
    assert nth > len(wanted)


def test_what_was_begun_of_an_older_state_and_what_is_damaged_in_it_is_made_anew(filled: Store, tmp_path: Path) -> None:
    assert stopped_at(filled, tmp_path / "tree", 9)
    left = [path for path in (tmp_path / "tree" / PASSING).rglob("*") if path.is_file()]
    left[0].write_bytes(b"")
    (tmp_path / "tree" / PASSING / "stray").write_text("?")
    (tmp_path / "tree" / PASSING / "blobs").symlink_to(tmp_path)
    filled.artifacts.delete("notes/2")
    filled.export_tree(tmp_path / "tree")
    filled.export_tree(tmp_path / "whole")
    assert files(tmp_path / "tree") == files(tmp_path / "whole")


def test_what_a_kill_left_goes_when_a_tree_came_to_be_there(filled: Store, tmp_path: Path) -> None:
    assert stopped_at(filled, tmp_path / "tree", 9)
    os.rename(tmp_path / "tree" / PASSING / "changes", tmp_path / "tree" / "changes")
    filled.export_tree(tmp_path / "tree")
    filled.export_tree(tmp_path / "whole")
    assert files(tmp_path / "tree") == files(tmp_path / "whole")
    assert PASSING not in os.listdir(tmp_path / "tree")


def test_a_folder_of_this_name_that_is_somebodys_own_is_left_alone(filled: Store, tmp_path: Path) -> None:
    own = tmp_path / "tree" / PASSING / "mine.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    filled.export_tree(tmp_path / "tree")
    filled.export_tree(tmp_path / "tree")
    assert own.read_text() == "mine"
    holdfast.import_store(tmp_path / "new", tmp_path / "tree")


def test_two_first_exports_do_not_write_at_once(filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = tree_landing.write_new, list[BaseException]()

    def meanwhile(*args: Any) -> Any:
        if not seen:
            with pytest.raises(LockedError) as caught:
                filled.export_tree(tmp_path / "tree")
            seen.append(caught.value)
        return real(*args)

    monkeypatch.setattr(tree_landing, "write_new", meanwhile)
    filled.export_tree(tmp_path / "tree")
    assert seen


def test_what_came_to_be_in_the_way_meanwhile_is_not_replaced(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tree_landing.write_new

    def meanwhile(*args: Any) -> Any:
        (tmp_path / "tree" / "records").mkdir(exist_ok=True)
        (tmp_path / "tree" / "records" / "mine").write_text("mine")
        return real(*args)

    monkeypatch.setattr(tree_landing, "write_new", meanwhile)
    with pytest.raises(DestinationDiffersError):
        filled.export_tree(tmp_path / "tree")
    assert (tmp_path / "tree" / "records" / "mine").read_text() == "mine"
