"""Another process that puts or collects, and stops before a step of its own until it is told to go on.

`runpy` runs it in a process that is forked from one which has imported all of this: starting Python would take longer
than the test. SAID is (root, work, operation, part of a path), CONNECTION what it speaks through, ENVIRONMENT
what it finds there. Work is "gc", "put" of a stream, which is staged before the lock is taken, or "put at hand" of
bytes, which are looked for and appended by the transaction. It says `paused` when it stands before the named disk
operation (at once, if that is `start`; before it takes the writer lock, if it is `lock`), waits for a word to go on,
and says `done` or the code of its error.
"""

from __future__ import annotations

import io
import os
from multiprocessing.connection import Connection

from holdfast.care.gc import Gc
from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.errors import HoldfastError
from holdfast.store import Store
from holdfast.testing.faults import FaultyDisk
from holdfast.values.change import Actor

CONTENT = b"wanted again"


def main(other: Connection, root: str, work: str, operation: str, part: str) -> None:
    """Do one thing."""
    disk = FaultyDisk()
    with Store(opening.open_store(root, Settings(Actor("other"), disk=disk, wait_s=30.0))) as store:

        def pause(_: str) -> None:
            disk.heal()
            other.send("paused")
            other.recv()

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
                store.put("again", io.BytesIO(CONTENT))
            elif work == "put at hand":
                store.put("again", CONTENT)
            else:
                Gc(store._handle, grace_s=0).run()
        except HoldfastError as error:
            other.send(error.code)
            return
    other.send("done")


if __name__ == "paused":
    said = globals()
    os.environ.update(said["ENVIRONMENT"])
    main(said["CONNECTION"], *said["SAID"])
