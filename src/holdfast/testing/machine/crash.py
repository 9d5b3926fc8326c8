"""A process that works on a store and is killed in the middle, by SIGKILL: nothing is closed, nothing is unwound."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import holdfast
from holdfast.errors import HoldfastError
from holdfast.store import Store

Deed = tuple[str, bytes, bytes]
"""(verb, path, content): put, delete or tag."""

_PATIENCE_S = 120.0


def perform(store: Store, deed: Deed) -> None:
    """Do one deed; a refusal is an answer too."""
    verb, path, content = deed
    try:
        if verb == "put":
            store.put(path, content)
        elif verb == "delete":
            store.artifacts.delete(path)
        else:
            store.artifacts.tag(path, "red")
    except HoldfastError:
        pass


def work_and_die(path: str, deeds: list[Deed], unfinished: list[Deed]) -> None:
    """Do some deeds, begin a transaction with others in it, and die before it ends."""
    store = holdfast.open(path)
    for deed in deeds:
        perform(store, deed)
    if not unfinished:
        os.kill(os.getpid(), signal.SIGKILL)
    with store.transaction():
        for deed in unfinished:
            perform(store, deed)
        os.kill(os.getpid(), signal.SIGKILL)


def run_and_kill(path: Path, deeds: list[Deed], unfinished: list[Deed]) -> None:
    """Have a child do it. The child comes from a server that never had a store open: nothing is inherited."""
    server: Any = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["holdfast.testing.machine.crash"])
    child = server.Process(target=work_and_die, args=(str(path), deeds, unfinished))
    child.start()
    child.join(_PATIENCE_S)
    code = child.exitcode
    if code is None:
        child.kill()
        child.join()
    child.close()
    assert code == -signal.SIGKILL, f"the child ended with {code} before it was killed"
