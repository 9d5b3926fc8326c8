"""Puts content until it is told to stop or something fails, and says on standard output what happened.

Run as `python putter.py STORE COUNT SIZE`. Lines are JSON: ["ack", path, digest], ["error", code], ["dead", code].
"""

from __future__ import annotations

import json
import os
import sys

import holdfast
from holdfast.errors import HoldfastError


def say(*words: str) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def main(root: str, count: int, size: int) -> None:
    try:
        store = holdfast.open(root, actor="putter")
    except HoldfastError as error:
        say("error", error.code)
        return
    for n in range(count):
        try:
            result = store.put(f"{n % 5}", f"{os.getpid()} {n} ".encode() + os.urandom(size))
            say("ack", result.artifact.id, str(result.revision.number), result.revision.digest)
        except HoldfastError as error:
            say("error", error.code)
            try:
                store.put("one more", b"x")
                say("alive", "")
            except HoldfastError as dead:
                say("dead", dead.code)
            break
    store.close()
    say("closed", "")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
