"""Killed at any step, a backup leaves the generations that were there, or one more; a restore no store, or all of it.

Each step is a call that changes something on the disk: the process ends before the Nth. The ordinary suite takes some
of the steps, the soak run every one. Power loss is tried in memory, where nothing stays that was not settled.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.care.backup import Folder, Wanted, Way, backup, known, point, restore, verify
from holdfast.disk import Disk
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.testing.asking import readable
from holdfast.testing.backups import Memory
from holdfast.values.change import Actor

CHANGES = (
    "create", "open_append", "write", "fsync", "fsync_dir", "sync_filesystem", "link", "unlink", "rename", "mkdir",
    "rmdir",
)  # fmt: skip
LARGE = bytes(range(256)) * 1200
KILLED = 9
MOST = 2_000
Readable = dict[str, bytes]
Tally = Callable[..., None]


class KillingDisk(Disk):
    """Ends the process before its Nth call that changes something."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def step(self) -> None:
        """One call."""
        self.left -= 1
        if self.left == 0:
            os._exit(KILLED)


def _killing(name: str) -> Callable[..., Any]:
    real = getattr(Disk, name)

    def operation(self: KillingDisk, *arguments: Any) -> Any:
        self.step()
        return real(self, *arguments)

    return operation


for _name in CHANGES:
    setattr(KillingDisk, _name, _killing(_name))


def killed(work: Callable[[KillingDisk], object], nth: int) -> bool:
    """Whether a process that does the work was killed at the Nth step; False: it ended before."""
    child = os.fork()
    if child == 0:
        try:
            work(KillingDisk(nth))
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), "the work itself failed"
    return code == KILLED


@dataclass
class Scene:
    """A store with a backup of its first half. `half`, `whole`: what could be read of it then, and can be now."""

    base: Path
    half: Readable
    whole: Readable
    mid: int

    @property
    def store(self) -> str:
        return str(self.base / "store")

    @property
    def copies(self) -> Path:
        return self.base / "copies"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    top = tmp_path_factory.mktemp("kills")
    with holdfast.create(top / "store", actor="Ada") as store:
        for n in range(5):
            store.put(f"a/{n}", f"number {n}\n")
        store.put("large", LARGE)
        store.artifacts.delete("a/1")
        store.backup(top / "copies")
        half, mid = readable(top / "store"), store.status().head_seq
        for n in range(5):
            store.put(f"b/{n}", f"number {n}, later\n")
        store.put("larger", LARGE * 2)
        store.artifacts.purge("a/1")
        store.gc(grace_s=0)
    return Scene(top, half, readable(top / "store"), mid)


@pytest.fixture
def scene(template: Scene, base: str) -> Scene:
    """A copy of it in memory, at home where it lies."""
    shutil.copytree(template.base, base, dirs_exist_ok=True)
    holdfast.open(f"{base}/store").close()
    return Scene(Path(base), template.half, template.whole, template.mid)


def backing_up(scene: Scene, keep: int | None) -> Callable[[KillingDisk], object]:
    def work(disk: KillingDisk) -> None:
        with holdfast.open(scene.store) as store:
            backup(store._handle, Folder(str(scene.copies), disk), Way(keep=keep))

    return work


def check_backup(scene: Scene, *, had: bool) -> None:
    """After a kill: old or new, whole; then the next backup ends it, and nothing is left over."""
    with contextlib.suppress(HoldfastError if not had else ()):
        found = verify(Folder(str(scene.copies)))
        assert found.findings == ()
        with holdfast.open(scene.copies, read_only=True) as copy:
            newest = str(copy.path)
        assert readable(newest) in (scene.half, scene.whole)
    with holdfast.open(scene.store) as store:
        report = store.backup(scene.copies, keep=1)
    assert readable(scene.copies / "generations" / f"{report.generation:06d}") == scene.whole
    assert verify(Folder(str(scene.copies))).findings == ()
    number = f"{report.generation:06d}"
    assert sorted(os.listdir(scene.copies)) == ["backup.json", "generations", "lock"]
    assert sorted(os.listdir(scene.copies / "generations")) == [number, f"{number}.files", f"{number}.json"]
    assert holdfast.fsck(scene.copies).exit_code == 0


def restoring(scene: Scene, at: int | None) -> Callable[[KillingDisk], object]:
    def work(disk: KillingDisk) -> None:
        settings = Settings(Actor("Ada"), disk=disk)
        restore(Folder(str(scene.copies)), str(scene.base / "new"), Wanted(point=point(at)), settings)

    return work


def check_restore(scene: Scene, at: int | None) -> None:
    """After a kill: no store, or the whole one; then the same restore ends it, and nothing is left over."""
    new = scene.base / "new"
    if not (new / "holdfast.json").exists():
        if new.exists():
            with pytest.raises(HoldfastError):
                holdfast.open(new, read_only=True)
        report = holdfast.restore(scene.copies, new, at=at)
        assert [one.what for one in report.losses] == (["purged"] if at else [])
    checked = holdfast.fsck(new)
    assert checked.exit_code == 0, [one.as_dict() for one in checked.findings]
    wanted = scene.whole if at is None else {k: v for k, v in scene.half.items() if not k.startswith("a/1@")}
    assert readable(new) == wanted
    left = {name.split("-")[0] for name in os.listdir(new)}
    assert left <= {*paths.FOLDERS, paths.MARKER, paths.INDEX}


def try_out(scene: Scene, work: str, steps: Iterable[int]) -> int:
    """Kill at each of some steps, on a fresh scene each; how many kills there were."""
    saved = scene.base.with_name(scene.base.name + "-saved")
    shutil.copytree(scene.base, saved)
    kills = 0
    try:
        for nth in steps:
            for part in ("copies", "new"):
                shutil.rmtree(scene.base / part, ignore_errors=True)
            shutil.copytree(saved / "copies", scene.base / "copies")
            was_killed = _one(scene, work, nth)
            kills += was_killed
            if not was_killed:
                return kills
    finally:
        shutil.rmtree(saved)
    return kills


def _one(scene: Scene, work: str, nth: int) -> bool:
    at = scene.mid if work.endswith("earlier change") else None
    if work.startswith("a restore"):
        if nth == 1:
            with holdfast.open(scene.store) as store:
                store.backup(scene.copies)
            shutil.rmtree(scene.base.with_name(scene.base.name + "-saved") / "copies")
            shutil.copytree(scene.copies, scene.base.with_name(scene.base.name + "-saved") / "copies")
        was_killed = killed(restoring(scene, at), nth)
        check_restore(scene, at)
        return was_killed
    if work == "the first backup":
        shutil.rmtree(scene.copies)
    was_killed = killed(backing_up(scene, 1), nth)
    check_backup(scene, had=work != "the first backup")
    return was_killed


WORKS = ("the first backup", "a backup that removes the one before", "a restore", "a restore as of an earlier change")


@pytest.mark.parametrize("work", WORKS)
def test_killed_at_some_step_all_is_old_or_new(scene: Scene, work: str, tally: Tally) -> None:
    rnd = random.Random(int(os.environ.get("HOLDFAST_KILL_SEED", "3")))
    steps = [1, *sorted(rnd.sample(range(2, 90), 7)), MOST]
    kills = try_out(scene, work, steps)
    assert kills >= 4
    tally("kills of backups", tried=kills, of="kills at a step", note=work)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("work", WORKS)
def test_killed_at_every_step_all_is_old_or_new(scene: Scene, work: str, tally: Tally) -> None:
    kills = try_out(scene, work, range(1, MOST))
    assert kills > 20
    tally("kills of backups", tried=kills, of="kills at every step", note=work)


# -- power loss --------------------------------------------------------------------------------------------------------


class PowerError(BaseException):
    """The power went."""


class Failing(Memory):
    """A place whose power goes at the Nth call that changes something: half a file may be there, nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1 << 30

    def _step(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise PowerError

    def put(self, name: str, data: bytes) -> None:
        self._step()
        super().put(name, data)

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        try:
            self._step()
        except PowerError:
            super().write(name, (block[:7] for block in blocks))
            raise
        super().write(name, blocks)

    def share(self, name: str, second: str) -> bool:
        self._step()
        return super().share(name, second)

    def settle(self) -> None:
        self._step()
        super().settle()

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)

    def hold(self, wait_s: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.mark.parametrize("survives", ["only what was settled", "all of it"])
def test_a_power_loss_at_every_step_leaves_whole_generations(scene: Scene, survives: str, tally: Tally) -> None:
    nth = 0
    with holdfast.open(scene.store) as store:
        first = Failing()
        backup(store._handle, first, Way())
        for n in range(3):
            store.put(f"c/{n}", os.urandom(30_000 * (n + 1)))
        for nth in range(1, MOST):
            place = Failing()
            place.files = dict(first.files)
            place.durable = dict(first.files)
            place.left = nth
            ended = False
            with contextlib.suppress(PowerError):
                backup(store._handle, place, Way(keep=1))
                ended = True
            place.left = 1 << 30
            if survives == "only what was settled":
                place.lose_power()
            assert verify(place).findings == ()
            report = backup(store._handle, place, Way(keep=1))
            assert verify(place).findings == ()
            assert report.generation == 2
            assert {name.split("/")[1].split(".")[0] for name in place.names("generations")} == {"000002"}
            if ended:
                break
    assert nth > 10
    tally("kills of backups", tried=nth, of="power losses", note=survives)


@pytest.fixture(autouse=True, params=[2, 1000], ids=["noted often", "not noted"])
def _parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several parts of the list a killed backup is gone on with; without, what it left is cleared."""
    monkeypatch.setattr("holdfast.care.backup.known.TOGETHER_FILES", request.param)


def test_a_backup_that_was_killed_is_gone_on_with(scene: Scene) -> None:
    shutil.rmtree(scene.copies)
    with holdfast.open(scene.store) as store:
        for n in range(6):
            store.put(f"more/{n}", os.urandom(100_000))
    work = backing_up(scene, None)
    nth = 60
    while not killed(work, nth):
        shutil.rmtree(scene.copies)
        nth -= 5
    with holdfast.open(scene.store) as store:
        report = store.backup(scene.copies)
    assert report.resumed == (known.TOGETHER_FILES == 2)
    assert bool(report.shared_files) == report.resumed
    assert verify(Folder(str(scene.copies))).findings == ()
