"""A writer that works until it is killed, and says on its standard output what was acknowledged to it.

Run as `python writer.py STORE NAME SEED`. Each line is JSON: [artifact id, revision, digest, when], printed after the
call returned, so a line that is there names something that must survive.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time

import holdfast
from holdfast.errors import ConflictError, ContentPurgedError, NotFoundError
from holdfast.testing.chunk_workloads import small_chunks
from holdfast.values.records import PutResult


def main(root: str, name: str, seed: int) -> None:
    rnd = random.Random(seed)
    store = holdfast.open(root, actor=name)
    turn, grown = 0, b""
    while True:
        turn += 1
        path, dice = f"{name}/{rnd.randrange(30)}", rnd.random()
        data = rnd.randbytes(400_000) if dice < 0.02 else f"{name} {turn} ".encode() * rnd.choice([1, 5, 200])
        if dice < 0.08:
            # Too large for packs, so cut from its second revision on; a gc without a grace period may come between.
            grown = grown + rnd.randbytes(5_000) if 0 < len(grown) < 150_000 else rnd.randbytes(70_000)
            with contextlib.suppress(ConflictError):
                say(store.put(f"{name}/grown", grown))
        elif dice < 0.7:
            say(store.put(path, data))
        elif dice < 0.78:
            with store.transaction():
                done = [store.put(f"{name}/t{rnd.randrange(9)}", data + bytes([n])) for n in range(4)]
            for one in done:
                say(one)
        elif dice < 0.84:
            quietly(store.artifacts.delete, path)
        elif dice < 0.88:
            quietly(store.artifacts.undelete, path)
        elif dice < 0.92:
            quietly(store.artifacts.revert, path, 1)
        elif dice < 0.96:
            store.gc(grace_s=0)
        else:
            store.close()
            store = holdfast.open(root, actor=name)


def say(result: PutResult) -> None:
    made = result.revision
    os.write(1, json.dumps([made.artifact_id, made.number, made.digest, time.time()]).encode() + b"\n")


def quietly(call: object, *arguments: object) -> None:
    """Others change the same records: a refusal is an answer too."""
    with contextlib.suppress(NotFoundError, ConflictError, ContentPurgedError):
        call(*arguments)  # type: ignore[operator]


if __name__ == "__main__":
    with small_chunks():
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
