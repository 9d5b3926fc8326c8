"""The jobs of the kill lab that are about chunks: content that grows and is cut, collected, redacted, repaired.

Cutting the revision before is no call of its own: it is told as what is being done, so that its steps have own names.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from holdfast.engine import cutting
from holdfast.formats import paths
from holdfast.store import Store
from holdfast.testing import kill_lab_packs as packs
from holdfast.testing.chunk_workloads import SMALL, small_chunks
from holdfast.testing.kill_lab_books import Fact, artifact, content, digest
from holdfast.testing.kill_lab_writers import Bench

Work = Callable[[Bench], None]


def into_chunks(work: Work) -> Work:
    """The same work where content of a few kilobytes is cut, and small content goes to packs that are soon full."""

    def run(bench: Bench) -> None:
        packs.tell_part(bench, cutting, "cut_whole", "cutting the one before")
        with small_chunks():
            work(bench)

    return packs.into_packs(run)


def grown(bench: Bench) -> None:
    """Artifacts that grow and are edited, revision by revision; large ones are cut."""
    for _ in range(bench.rounds):
        with bench.open() as store:
            _grow(bench, store)
            bench.doing("close")


def _grow(bench: Bench, store: Store) -> str:
    """A new artifact of three revisions; its key in the books."""
    path, data, made = bench.fresh("grown"), content(bench.fresh("content"), 2 * SMALL), list[str]()
    key = f"artifact {path}"
    for turn in range(3):
        made.append(digest(data))
        with bench.call("put", {key: artifact(*made)}) as ids:
            ids[key] = store.put(path, io.BytesIO(data) if turn % 2 else data).artifact.id
        at = bench.rnd.randrange(len(data))
        data = data[:at] + bench.fresh("edit").encode() + data[at:] + content(bench.fresh("more"), SMALL // 2)
    return key


def collected(bench: Bench) -> None:
    """Revisions are given up, and with them the chunks that no other has; what a recipe superseded goes too."""
    with bench.open() as store:
        for _ in range(bench.rounds):
            key = _grow(bench, store)
            fact: Fact = bench.books.facts[key]
            with bench.call("purge", {key: {**fact, "contents": [*fact["contents"][:1], None, *fact["contents"][2:]]}}):
                store.artifacts.purge(f"id:{bench.books.ids[key]}", revisions=[2])
            with bench.call("gc", {}):
                store.gc(grace_s=0)


def redacted(bench: Bench) -> None:
    """The content of one revision leaves the store, and what it shares with another stays."""
    for _ in range(bench.rounds):
        with bench.open() as store:
            key = _grow(bench, store)
            artifact_id, fact = bench.books.ids[key], bench.books.facts[key]
            raw = store.artifacts.revision(f"id:{artifact_id}", 2).digest.removeprefix("sha256:")
            again = {"how": "redact", "id": artifact_id, "digest": raw, "revision": 2}
            left = {**fact, "contents": [*fact["contents"][:1], None, *fact["contents"][2:]]}
            with bench.call("redact", {key: left}, again=again):
                store.redact(artifact_id, fields=["content"], revisions=[2])


def spoiled(bench: Bench, few: Work) -> None:
    """A torn recipe and a damaged chunk, and beside the store the file of the last revision."""
    few(bench)
    originals = os.path.join(bench.beside, "originals")
    os.makedirs(originals, exist_ok=True)
    with bench.open() as store:
        for number in range(2):
            ref = f"id:{bench.books.ids[_grow(bench, store)]}"
            for revision in (1, 2, 3):
                with open(os.path.join(originals, f"{number}-{revision}"), "wb") as file:
                    file.write(store.artifacts.read(ref, revision=revision))
        place = store._handle.blobs.recipes.path(store.get(ref).digest)  # type: ignore[attr-defined]  # noqa: SLF001
        with bench.call("gc", {}):
            store.gc(grace_s=0)
    with open(place, "r+b") as file:
        file.truncate(40)
    folder = os.path.join(bench.root, paths.PACKS)
    largest = max(os.listdir(folder), key=lambda name: os.path.getsize(os.path.join(folder, name)))
    packs.flip(bench, f"{paths.PACKS}/{largest}", os.path.getsize(os.path.join(folder, largest)) // 2)
