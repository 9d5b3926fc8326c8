"""A store's life in one process until its standard input ends, said line by line as it is acknowledged.

Run as `python load.py STORE NAME ROLE SEED`. Each line is JSON: [what, artifact id, revision, digest, when]. "put" is
said after the call has returned; "giving up" before content is purged or redacted: from then on nobody is promised it.
Journal segments and checkpoints are forced to be small, so that rotation, sealing and checkpoints come all the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import sys
import time

import holdfast
from holdfast.errors import ConflictError, DamageError, LockedError, NotFoundError
from holdfast.index import sqlite
from holdfast.journal import Journal
from holdfast.testing.chunk_workloads import small_chunks
from holdfast.values.records import PutResult

SEGMENT_BYTES = 24_000
CHECKPOINT_BYTES = 150_000


def made_small() -> None:
    """Segments and the write-ahead log, so that what is rare in life happens every second."""
    Journal.__init__.__kwdefaults__["segment_bytes"] = SEGMENT_BYTES
    sqlite.CHECKPOINT_BYTES = CHECKPOINT_BYTES


def stopped() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def say(what: str, result: PutResult) -> None:
    made = result.revision
    os.write(1, json.dumps([what, made.artifact_id, made.number, made.digest, time.time()]).encode() + b"\n")


class Life:
    """One process's work on a store: each call is one small deed."""

    def __init__(self, root: str, name: str, seed: int) -> None:
        self.root, self.name, self.luck, self.turn = root, name, random.Random(seed), 0
        self.store = holdfast.open(root, actor=name)
        self.put: list[PutResult] = []
        self.grown: dict[str, bytes] = {}

    def content(self) -> bytes:
        self.turn += 1
        if self.luck.random() < 0.04:
            return self.luck.randbytes(self.luck.choice([300_000, 700_000]))
        return f"{self.name} {self.turn} ".encode() * self.luck.choice([1, 3, 60, 900])

    def puts(self) -> None:
        result = self.store.put(f"{self.name}/c{self.luck.randrange(4)}/{self.luck.randrange(25)}", self.content())
        self.put.append(result)
        say("put", result)

    def puts_many(self) -> None:
        with self.store.transaction():
            done = [self.store.put(f"{self.name}/many/{n}", self.content()) for n in range(self.luck.randrange(2, 12))]
        for one in done:
            say("put", one)

    def grows(self) -> None:
        """Content too large for packs grows and is edited: it is cut from its second revision on."""
        path = f"{self.name}/grown/{self.luck.randrange(3)}"
        held = self.grown.get(path, b"")
        if not 0 < len(held) < 160_000:
            held = self.luck.randbytes(70_000)
        at = self.luck.randrange(len(held))
        self.turn += 1
        self.grown[path] = held[:at] + f"{self.name} {self.turn}".encode() + held[at:] + self.luck.randbytes(4_000)
        self.put.append(self.store.put(path, self.grown[path]))
        say("put", self.put[-1])

    def changes(self) -> None:
        path = f"{self.name}/c{self.luck.randrange(4)}/{self.luck.randrange(25)}"
        verb = self.luck.choice(["delete", "undelete", "update", "rename"])
        if verb == "update":
            self.store.artifacts.update(path, status=f"turn {self.turn}", tags=["x" * self.luck.randrange(1, 200)])
        elif verb == "rename":
            self.store.collections.rename(f"{self.name}/c0", f"away {self.turn}")
            self.store.collections.rename(f"{self.name}/away {self.turn}", "c0")
        else:
            getattr(self.store.artifacts, verb)(path)

    def gives_up(self) -> None:
        if self.put:
            one = self.put.pop(self.luck.randrange(len(self.put)))
            say("giving up", one)
            with contextlib.suppress(NotFoundError):
                self.store.artifacts.delete(f"id:{one.artifact.id}")
            self.store.artifacts.purge(f"id:{one.artifact.id}", revisions=[one.revision.number])

    def collects(self) -> None:
        self.store.gc()

    def opens_anew(self) -> None:
        self.store.close()
        self.store = holdfast.open(self.root, actor=self.name)

    def rebuilds(self) -> None:
        holdfast.rebuild(self.root)

    def searches(self) -> None:
        self.store.search("turn", limit=3)


ROLES = {
    "writer": {"puts": 60, "grows": 10, "puts_many": 8, "changes": 20, "opens_anew": 2},
    "carer": {
        "puts": 30,
        "grows": 6,
        "changes": 10,
        "gives_up": 6,
        "collects": 6,
        "rebuilds": 2,
        "searches": 3,
        "opens_anew": 3,
    },
}


def main(root: str, name: str, role: str, seed: int) -> None:
    made_small()
    with small_chunks():
        live(Life(root, name, seed), ROLES[role])


def live(life: Life, deeds: dict[str, int]) -> None:
    while not stopped():
        deed = life.luck.choices(list(deeds), list(deeds.values()))[0]
        try:
            getattr(life, deed)()
        except (NotFoundError, ConflictError):
            pass  # others change the same records: a refusal is an answer too
        except LockedError as error:
            if deed != "rebuilds" or not error.fields["holders"]:
                raise
        except DamageError as error:
            raise AssertionError(f"{deed}: {error.code}") from error
        time.sleep(life.luck.random() * 0.03)
    life.store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
