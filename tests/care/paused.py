"""Another process that puts or collects, and stops before a step of its own until it is told to go on.

    python paused.py ROOT put|gc OPERATION PATH_PART

It prints `paused` when it stands before the named disk operation (at once, if OPERATION is `start`; before it takes the
writer lock, if it is `lock`), reads a line to go on, and prints `done` or the code of its error at the end.
"""

from __future__ import annotations

import sys

from holdfast.care.gc import Gc
from holdfast.engine import open as opening
from holdfast.engine.open import Settings
from holdfast.errors import HoldfastError
from holdfast.store import Store
from holdfast.testing.faults import FaultyDisk
from holdfast.values.change import Actor

CONTENT = b"wanted again"


def main(root: str, work: str, operation: str, part: str) -> None:
    """Do one thing."""
    disk = FaultyDisk()
    with Store(opening.open_store(root, Settings(Actor("other"), disk=disk, wait_s=30.0))) as store:

        def pause(_: str) -> None:
            disk.heal()
            print("paused", flush=True)
            sys.stdin.readline()

        if operation == "start":
            pause("")
        elif operation == "lock":
            acquire = store._handle.writer.acquire

            def paused(what: str, *, wait_s: float) -> None:
                store._handle.writer.acquire = acquire  # type: ignore[method-assign]
                pause("")
                acquire(what, wait_s=wait_s)

            store._handle.writer.acquire = paused  # type: ignore[method-assign]
        else:
            disk.before(operation, pause, path=part)
        try:
            if work == "put":
                store.put("again", CONTENT)
            else:
                Gc(store._handle, grace_s=0).run()
        except HoldfastError as error:
            print(error.code, flush=True)
            return
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
