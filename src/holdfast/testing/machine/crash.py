"""A process that works on a store and is killed in the middle, by SIGKILL: nothing is closed, nothing is unwound."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import holdfast
from holdfast.disk import Disk
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError
from holdfast.store import Store
from holdfast.testing.machine.moving import PACK_UP_TO
from holdfast.values.change import Actor

Deed = tuple[str, bytes, bytes]
"""(verb, path, content): put, delete, undelete or tag."""

_PATIENCE_S = 120.0
_CALLS = ("create", "write", "fsync", "fsync_dir", "link", "rename", "unlink", "overwrite")


def perform(store: Store, deed: Deed) -> None:
    """Do one deed; a refusal is an answer too."""
    verb, path, content = deed
    try:
        if verb == "put":
            store.put(path, content)
        elif verb == "delete":
            store.artifacts.delete(path)
        elif verb == "undelete":
            store.artifacts.undelete(path)
        else:
            store.artifacts.tag(path, "red")
    except HoldfastError:
        pass


class DeadlyDisk(Disk):
    """A disk in front of whose Nth call that changes something the process dies. None: it never does."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __getattribute__(self, name: str) -> Any:
        if name in _CALLS and (left := object.__getattribute__(self, "left")) is not None:
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left = left - 1
        return object.__getattribute__(self, name)


def work_and_die(path: str, deeds: list[Deed], unfinished: list[Deed]) -> None:
    """Do some deeds, begin a transaction with others in it, and die before it ends."""
    store = holdfast.open(path, actor="Ada")
    for deed in deeds:
        perform(store, deed)
    if not unfinished:
        os.kill(os.getpid(), signal.SIGKILL)
    with store.transaction():
        for deed in unfinished:
            perform(store, deed)
        os.kill(os.getpid(), signal.SIGKILL)


def die_within(path: str, deeds: list[Deed], done: str, calls: int) -> None:
    """Do deeds, note in the file `done` each that was acknowledged, and die in front of a call to the disk."""
    disk = DeadlyDisk()
    store = Store(opening.open_store(path, Settings(Actor("Ada"), disk=disk, pack_up_to=PACK_UP_TO)))
    acknowledged = os.open(done, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    disk.left = calls
    for deed in deeds:
        perform(store, deed)
        os.write(acknowledged, b".")
    os.kill(os.getpid(), signal.SIGKILL)


def run_and_kill(path: Path, deeds: list[Deed], unfinished: list[Deed]) -> None:
    """Have a child do deeds, and die in a transaction with others."""
    _to_the_death(work_and_die, (str(path), deeds, unfinished))


def kill_within(path: Path, deeds: list[Deed], done: Path, calls: int) -> int:
    """Have a child do deeds and die in front of a call to the disk; how many deeds it saw acknowledged."""
    done.unlink(missing_ok=True)
    _to_the_death(die_within, (str(path), deeds, str(done), calls))
    return done.stat().st_size


def _to_the_death(work: Any, arguments: tuple[Any, ...]) -> None:
    """The child comes from a server that never had a store open: nothing is inherited."""
    server: Any = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["holdfast.testing.machine.crash"])
    child = server.Process(target=work, args=arguments)
    child.start()
    child.join(_PATIENCE_S)
    code = child.exitcode
    if code is None:
        child.kill()
        child.join()
    child.close()
    assert code == -signal.SIGKILL, f"the child ended with {code} before it was killed"
