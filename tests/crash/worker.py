"""Does a bit of everything to a store until something fails, and says on standard output what was acknowledged.

Run as `python worker.py STORE`. Lines are JSON: ["ack", artifact, revision, digest], ["done", what], ["error", code].
["purging", artifact]: from then on its content need not be there. What is in flight when it fails has no line.
"""

from __future__ import annotations

import os
import sys

from putter import say

import holdfast
from holdfast.errors import HoldfastError
from holdfast.store import Store


def put(store: Store, path: str, size: int) -> str:
    made = store.put(path, os.urandom(size))
    say("ack", made.artifact.id, str(made.revision.number), made.revision.digest)
    return made.artifact.id


def work(store: Store) -> None:
    for n in range(4):
        put(store, f"{n}", 3000)
    gone = put(store, "gone", 2000)
    store.artifacts.delete(f"id:{gone}")
    say("done", "delete")
    say("purging", gone)
    store.artifacts.purge(f"id:{gone}")
    store.gc(grace_s=0)
    say("done", "gc")
    store.search("x")
    say("done", "search")
    put(store, "large", 300_000)


def main(root: str) -> None:
    try:
        with holdfast.open(root, actor="worker") as store:
            work(store)
        holdfast.rebuild(root)
        say("done", "rebuild")
        with holdfast.open(root, actor="worker") as store:
            put(store, "after", 100)
        say("closed", "")
    except HoldfastError as error:
        say("error", error.code)


if __name__ == "__main__":
    main(sys.argv[1])
