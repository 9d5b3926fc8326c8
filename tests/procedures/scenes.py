"""The stores that the procedures are tried on, and what damages them where no command of the page does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import holdfast
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import NoSpaceError
from holdfast.store import Store
from holdfast.testing import damage
from holdfast.testing.asking import readable
from holdfast.testing.clock import FixedClock
from holdfast.testing.faults import FaultyDisk
from holdfast.values.change import Actor

REPORT, PLAN, LATER = b"the numbers of this year\n" * 3000, b"first this, then that\n", b"written after the backup\n"
"""The first is too large for a pack, and has a file of its own."""
BIG = bytes(range(256)) * 5000
Readable = dict[str, bytes]


@dataclass
class Scene:
    """A store in trouble with all that its owner has beside it. `names`: the variables that the pages speak of."""

    folder: Path
    truth: Readable
    names: dict[str, str] = field(default_factory=dict)
    clean_up: list[Callable[[], object]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "store"

    @property
    def backup(self) -> Path:
        """A plain copy of it, from before the last put."""
        return self.folder / "backup"


def make(folder: Path) -> Path:
    """A store, its backup from before the last put, a copy of today, and the original files; once for all pages."""
    root, originals = folder / "store", folder / "originals"
    originals.mkdir()
    for name, data in (("report.txt", REPORT), ("plan.md", PLAN), ("big.bin", BIG), ("later.txt", LATER)):
        (originals / name).write_bytes(data)
    with holdfast.create(root, actor="Ada") as store:
        store.put("docs/report.txt", "a draft of the numbers\n")
        store.put("docs/report.txt", REPORT, tags=["final"], metadata={"year": 2026})
        store.put("docs/plan.md", PLAN)
        store.put("docs/copy of the plan.md", PLAN)
        store.put("big.bin", BIG)
        store.put("gone.txt", "deleted, not purged\n")
        store.artifacts.delete("gone.txt")
        store.relationships.relate("docs/report.txt", "depends_on", "docs/plan.md")
        store.runs.create("train", parameters={"rate": 0.1})
        store.put("purged.txt", "given up\n")
        store.artifacts.delete("purged.txt")
        store.artifacts.purge("purged.txt")
        store.search("numbers")
    shutil.copytree(root, folder / "backup")
    with holdfast.open(root, actor="Ada") as store:
        store.put("docs/later.txt", LATER)
    return folder


def fresh(made: Path, folder: Path) -> Scene:
    """The same for one page."""
    folder.mkdir()
    for name in ("store", "backup"):
        damage.twin(made / name, folder / name)
    damage.twin(made / "store", folder / "other")
    shutil.copytree(made / "originals", folder / "originals")
    names = {name.upper(): str(folder / name) for name in ("store", "backup", "originals", "other", "rescued")}
    return Scene(folder, readable(folder / "store"), names)


# -- what no command of a page can do ----------------------------------------------------------------------------------


def locked(scene: Scene) -> None:
    """Another process holds the writer lock, and would for an hour."""
    source = str(Path(holdfast.__file__).parents[1])
    program = (
        f"import sys, time; sys.path.insert(0, {source!r}); import holdfast\n"
        f"with holdfast.open({str(scene.store)!r}, actor='Eve') as s, s.transaction():\n"
        "    s.put('half', 'done'); print('in', flush=True); time.sleep(3600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"in\n"
    scene.names["HOLDFAST_LOCK_WAIT"] = "0.2"

    def end() -> None:
        holder.kill()
        holder.communicate()

    scene.clean_up.append(end)


def backed_up(scene: Scene) -> None:
    """There is a backup from before the last put, and nothing is left of what was written since but the originals."""
    place = scene.folder / "backups"
    with holdfast.open(scene.backup, read_only=True) as before:
        before.backup(place)
    scene.names["BACKUPS"] = str(place)


def redaction_killed(scene: Scene) -> None:
    """A redaction is announced, and its process killed before the bytes are gone."""
    with holdfast.open(scene.store) as store:
        made = store.get("docs/plan.md")
    child = os.fork()
    if child == 0:
        disk = FaultyDisk()
        calls = iter(range(1000))

        def kill(_: object) -> None:
            if next(calls) == 1:
                os.kill(os.getpid(), signal.SIGKILL)

        disk.before("rename", kill)
        with contextlib.suppress(BaseException):
            Store(opening.open_store(str(scene.store), Settings(Actor("Ada"), disk=disk))).redact(made)
        os._exit(0)
    os.waitpid(child, 0)
    scene.names["REF"] = f"id:{made.id}"


def clock_was_ahead(scene: Scene) -> None:
    """The newest transaction bears a time two days ahead of now."""
    clock = FixedClock(int((time.time() + 2 * 86400) * 1e6))
    store = Store(opening.open_store(str(scene.store), Settings(Actor("Ada"), clock=clock)))
    with store:
        store.put("docs/from the future.txt", "hm\n")
    scene.truth = readable(scene.store)


def no_space(scene: Scene) -> None:
    """The store lies on a file system that is full; some of what is on it can be freed."""
    place = scene.folder / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small file system here")
    scene.clean_up.append(lambda: subprocess.run(["umount", str(place)], check=True))
    root = damage.twin(scene.store, place / "store")
    scene.names["STORE"] = str(root)
    filler = place / "something else"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(NoSpaceError), holdfast.open(root) as store:
        store.put("too much", os.urandom(3_000_000))
    assert readable(root) == scene.truth, "a full disk keeps nobody from reading"
    filler.unlink()  # "Free space elsewhere"
    shutil.rmtree(scene.store)
    scene.store.symlink_to(root)


def on_read_only(scene: Scene) -> None:
    """The store lies on a mount that cannot be written."""
    place = scene.folder / "medium"
    place.mkdir()
    done = subprocess.run(["mount", "--bind", str(scene.store), str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("may not mount here")
    scene.clean_up.append(lambda: subprocess.run(["umount", str(place)], check=True))
    if subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("this system does not remount read-only")
    scene.names["STORE"] = str(place)
    # The copies stand beside it: "$STORE.writable".


@contextlib.contextmanager
def ended(scene: Scene) -> Iterator[None]:
    """Undo mounts, end processes."""
    try:
        yield
    finally:
        for undo in reversed(scene.clean_up):
            undo()
