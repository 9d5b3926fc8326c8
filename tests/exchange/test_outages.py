"""When the power goes: what an export or checkout leaves is whole, or known as unfinished, and the next run goes on.

What was asked of the file system since its last sync may be there or not, each name by itself; a file that was not
synced under any name may be empty. That is more than file systems do, and each point at which a name is given is tried.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Store
from holdfast.disk import Disk
from holdfast.errors import ImportRefusedError
from holdfast.exchange import checkout, ground, parcel, staging, tree_export, tree_intent, tree_landing
from holdfast.exchange.git import exporting, standing

from .test_tree import Counting, files, in_child

OWN = ".holdfast-"
Tree = dict[str, bytes]


class PowerError(BaseException):
    """It went."""


class Outage:
    """Ends the work when its Nth name has been given; `lose` then makes of the folder what may be left of it."""

    def __init__(self, top: Path, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, self.left = top, nth
        self.durable = seen(top)
        self.happened = False
        for name in ("place", "replace"):
            monkeypatch.setattr(staging.Staging, name, self._counted(getattr(staging.Staging, name)))
        monkeypatch.setattr(tree_landing, "rename_new", self._counted(tree_landing.rename_new))
        monkeypatch.setattr(Disk, "sync_filesystem", lambda *_: self._sync())

    def _sync(self) -> None:
        self.durable = seen(self.top)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> None:
            real(*args)
            self.left -= 1
            if self.left == 0:
                self.happened = True
                raise PowerError

        return counted

    def lose(self, rnd: random.Random) -> None:
        """Each name that was changed since the last sync is as it was then, or as it was made."""
        made, synced = seen(self.top), set(self.durable.values())
        shutil.rmtree(self.top)
        self.top.mkdir()
        for name in sorted(made.keys() | self.durable.keys()):
            data = rnd.choice([made, self.durable]).get(name)
            if data is not None:
                (self.top / name).parent.mkdir(parents=True, exist_ok=True)
                (self.top / name).write_bytes(data if data in synced else b"")


def seen(top: Path) -> Tree:
    """Every file, also those with passing names."""
    return {str(one.relative_to(top)): one.read_bytes() for one in sorted(top.rglob("*")) if one.is_file()}


def named(top: Path) -> Tree:
    """The files that have their names."""
    return {name: data for name, data in seen(top).items() if not name.startswith(OWN)}


@pytest.fixture
def grown(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An export of an earlier state of the store, and one of the present."""
    monkeypatch.setattr(tree_export, "WINDOW_FILES", 4)
    monkeypatch.setattr(checkout, "WINDOW_ITEMS", 3)
    for n in range(6):
        store.put(f"b/{n}", f"first {n}")
    store.export_tree(tmp_path / "first")
    store.put("b/1", "second")
    store.put("c", "new")
    store.artifacts.delete("b/2")
    store.export_tree(tmp_path / "fresh")
    return tmp_path / "first", tmp_path / "fresh"


@pytest.mark.parametrize("start", ["nothing", "an earlier export"])
def test_an_export_that_loses_power_is_refused_or_whole_and_the_next_goes_on(
    store: Store, grown: tuple[Path, Path], tmp_path: Path, start: str
) -> None:
    first, fresh = grown
    wanted, before, top = files(fresh), files(first) if start != "nothing" else {}, tmp_path / "tree"
    rnd, nth = random.Random(5), 0
    while True:
        nth += 1
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(first, top) if before else top.mkdir()
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(PowerError):
            outage = Outage(top, nth, patch)
            store.export_tree(top)
        if not outage.happened:
            break
        outage.lose(rnd)
        assert all(data in (wanted.get(name), before.get(name)) for name, data in named(top).items()), nth
        try:
            holdfast.import_store(tmp_path / "new", top, dry_run=True)
        except ImportRefusedError:
            pass
        else:
            assert named(top) in (wanted, before)
        store.export_tree(top)
        assert files(top) == wanted
    assert nth > 5


def test_a_checkout_that_loses_power_leaves_whole_files_and_the_next_goes_on(
    store: Store, grown: tuple[Path, Path], tmp_path: Path
) -> None:
    assert grown
    store.checkout("", tmp_path / "whole")
    wanted, top, rnd, nth = files(tmp_path / "whole"), tmp_path / "out", random.Random(6), 0
    while True:
        nth += 1
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(PowerError):
            outage = Outage(top, nth, patch)
            store.checkout("", top)
        if not outage.happened:
            break
        outage.lose(rnd)
        assert named(top).items() <= wanted.items()
        store.checkout("", top)
        assert files(top) == wanted
    assert nth == 7


def test_a_package_gets_its_name_when_all_of_it_is_durable(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        store.put(f"b/{n}", f"number {n}")
    synced: list[Tree] = []
    monkeypatch.setattr(Disk, "sync_filesystem", lambda _, path: synced.append(seen(Path(path))))
    rename = parcel.rename_new
    monkeypatch.setattr(parcel, "rename_new", lambda *args: (synced.append({}), rename(*args))[1])
    store.standards.export_bagit(tmp_path / "bag")
    assert synced == [seen(tmp_path / "bag"), {}]


def test_a_snapshot_gets_its_name_when_all_of_it_is_durable(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", "one")
    told: list[Any] = []
    monkeypatch.setattr(os, "fsync", lambda fd: told.append(os.stat(fd).st_size))
    link = os.link
    monkeypatch.setattr(os, "link", lambda *args: (told.append("named"), link(*args))[1])
    monkeypatch.setattr(Disk, "fsync_dir", lambda _, path: told.append(path))
    store.snapshot(tmp_path / "out")
    assert told == [(tmp_path / "out").stat().st_size, "named", str(tmp_path)]


def test_a_branch_moves_when_all_that_it_leads_to_is_durable(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        store.put("a", f"number {n}")
    told: list[str] = []
    monkeypatch.setattr(exporting, "SETTLE_COMMITS", 2)
    monkeypatch.setattr(Disk, "sync_filesystem", lambda *_: told.append("sync"))
    for name, word in (("write", "note"), ("publish", "branch")):
        real = getattr(standing.Stored, name)
        monkeypatch.setattr(standing.Stored, name, lambda *args, r=real, w=word: (told.append(w), r(*args))[1])
    store.export_git(tmp_path / "out.git")
    assert "".join(one[0] for one in told) == "sn" * told.count("note") + "bs"
    told.clear()
    store.export_git(tmp_path / "out.git")
    assert "sync" not in told


@pytest.mark.parametrize("each", [29, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])])
@pytest.mark.parametrize("start", ["nothing", "an earlier export"])
def test_what_a_killed_export_wrote_is_nobodys_edit_though_the_store_went_on(
    store: Store, grown: tuple[Path, Path], tmp_path: Path, start: str, each: int
) -> None:
    top, saved, number = tmp_path / "tree", tmp_path / "saved", 0
    shutil.copytree(store.path, saved)
    while True:
        number += each
        shutil.rmtree(top, ignore_errors=True)
        shutil.copytree(grown[0], top) if start != "nothing" else top.mkdir()
        shutil.rmtree(tmp_path / "own", ignore_errors=True)
        shutil.copytree(saved, tmp_path / "own")
        with holdfast.open(tmp_path / "own") as own:

            def export() -> None:
                with holdfast.open(tmp_path / "own", read_only=True) as again:
                    Disk.sync_filesystem = lambda *_: None  # type: ignore[method-assign]
                    calls: Any = Counting(number)  # noqa: B023
                    ground.os = staging.os = tree_export.os = tree_intent.os = calls  # type: ignore[attr-defined]
                    again.export_tree(top)

            killed = in_child(export)
            own.put("b/1", "third")
            own.put("d/e", "newer")
            own.export_tree(top)
            shutil.rmtree(tmp_path / "wanted", ignore_errors=True)
            own.export_tree(tmp_path / "wanted")
            assert seen(top) == seen(tmp_path / "wanted"), number
            (top / "files" / "b" / "1").write_text("edited")
            own.put("b/1", "fourth")
            with pytest.raises(holdfast.errors.DestinationDiffersError):
                own.export_tree(top)
        if not killed:
            break
    assert number > 40
