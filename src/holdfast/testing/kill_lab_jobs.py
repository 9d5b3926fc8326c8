"""The jobs of the kill lab: what is done to a store while somebody waits to kill it, and what each needs beforehand.

A job tells what it is `doing` before each part, so that the same operation on a file has a name of its own in gc, in a
rebuild or in a put. Jobs that can go on for ever do so in rounds, until the moment comes that they are to be killed at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

from holdfast.care import gc
from holdfast.care import rebuild as rebuilding
from holdfast.care import recover as recovering
from holdfast.engine import open as opening
from holdfast.errors import NotAStoreError
from holdfast.formats import paths
from holdfast.store import Store
from holdfast.testing import kill_lab_chunks as chunks
from holdfast.testing import kill_lab_packs as packs
from holdfast.testing.kill_lab_books import artifact, content, digest
from holdfast.testing.kill_lab_chunks import into_chunks
from holdfast.testing.kill_lab_hands import with_hands
from holdfast.testing.kill_lab_packs import into_packs
from holdfast.testing.kill_lab_tracing import COMMITTED, OPEN, Moment
from holdfast.testing.kill_lab_writers import WRITERS, Bench

_CALLS = 4
Work = Callable[[Bench], None]


def nothing(_bench: Bench) -> None:
    """Most jobs need nothing but a store."""


@dataclass(frozen=True, slots=True)
class Job:
    """`before` runs in a process that lives, or dies at the moment `dying`; `wreck` in one with nothing open.

    `run` is what is killed; `mend` comes before the verdict. `anew`: each kill needs a store of its own. `beside`:
    others may be at work on the store; `helped`: by processes that must not outlive it.
    """

    name: str
    run: Work
    before: Work = nothing
    dying: Moment | None = None
    wreck: Work = nothing
    mend: Work = nothing
    anew: bool = False
    beside: bool = False
    helped: bool = False


def made(bench: Bench) -> None:
    """A store with some of everything."""
    opening.create(bench.root, bench.settings)
    some(bench)


def _little(bench: Bench) -> None:
    """A store with hardly anything, where each kill needs a new one."""
    opening.create(bench.root, bench.settings)
    with bench.open() as store:
        WRITERS["put"](bench, store)
        WRITERS["transaction"](bench, store)


def some(bench: Bench) -> None:
    """A few calls of every kind, and a clean close."""
    with bench.open() as store:
        for verb in ("put", "put", "put", "transaction", "relations", "runs"):
            WRITERS[verb](bench, store)


def _writing(verb: str) -> Work:
    def run(bench: Bench) -> None:
        for _ in range(bench.rounds):
            _session(bench, verb)

    return run


def _session(bench: Bench, verb: str) -> None:
    store = bench.open()
    try:
        for _ in range(_CALLS):
            WRITERS[verb](bench, store)
    finally:
        bench.doing("close")
        store.close()


# -- looking after -----------------------------------------------------------------------------------------------------


def _gc(bench: Bench) -> None:
    gc.LEFTOVER_S = 0.0
    with bench.open() as store:
        for _ in range(bench.rounds):
            _litter(bench, store)
            with bench.call("gc", {}):
                store.gc(grace_s=0)


def _litter(bench: Bench, store: Store) -> None:
    """Content that was purged, a file that no row knows, and one that a dead writer left in tmp/."""
    path, data = bench.fresh("gone"), content(bench.fresh("content"), 2_000)
    key = f"artifact {path}"
    for doing, fact in (
        ("put", artifact(digest(data))), ("delete", artifact(digest(data), live=False)),
        ("purge", artifact(None, live=False)),
    ):  # fmt: skip
        with bench.call(doing, {key: fact}) as ids:
            if doing == "put":
                ids[key] = store.put(path, data).artifact.id
            else:
                getattr(store.artifacts, doing)(f"id:{bench.books.ids[key]}")
    bench.doing("litter")
    blobs = store._handle.blobs  # noqa: SLF001 - what a writer leaves that dies before its COMMIT
    blobs.publish([blobs.stage(bench.fresh("stray").encode())])
    blobs.stage(bench.fresh("left").encode())
    for _ in range(_CALLS):
        WRITERS["put"](bench, store)


def _gc_beside(bench: Bench) -> None:
    with bench.open() as store:
        for _ in range(bench.rounds):
            with bench.call("gc", {}):
                store.gc(grace_s=0)


def _rebuild(bench: Bench) -> None:
    for _ in range(bench.rounds):
        with bench.call("rebuild", {}):
            rebuilding.rebuild(bench.root, bench.settings)


def _live_rebuild(bench: Bench) -> None:
    with bench.open() as store:
        for _ in range(bench.rounds):
            with bench.call("live rebuild", {}):
                rebuilding.rebuild(bench.root, bench.settings)
            WRITERS["put"](bench, store)


def _lost_index(bench: Bench) -> None:
    bench.open("derive").close()


def _without_index(bench: Bench) -> None:
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(bench.root, paths.INDEX + suffix))


def reopen(bench: Bench) -> None:
    """What anybody does after a kill."""
    bench.open("open after a kill").close()


def _put_for_ever(bench: Bench) -> None:
    with bench.open() as store:
        for _ in range(20 * bench.rounds):
            WRITERS["put"](bench, store)


def _hole(bench: Bench) -> None:
    """As a power loss may leave the journal: its last line is there, and zeros in the line before.

    Not after a checkpoint: what came before one is synced, and no power loss takes it.
    """
    log = os.path.join(bench.root, paths.INDEX + "-wal")
    if not os.path.exists(log) or not os.path.getsize(log):
        return
    folder = os.path.join(bench.root, paths.JOURNAL)
    plain = sorted(name for name in os.listdir(folder) if not name.endswith(".zst"))
    with open(os.path.join(folder, plain[-1]), "r+b") as file:
        lines = file.read().splitlines(keepends=True)
        file.seek(max(0, sum(map(len, lines[:-1])) - 40))
        file.write(b"\0" * 20)


def _mend_hole(bench: Bench) -> None:
    bench.open("open after a power loss").close()


def _search(bench: Bench) -> None:
    with bench.open() as store:
        for turn in range(bench.rounds):
            WRITERS["put"](bench, store)
            with bench.call("search", {}):
                list(store.search("words").hits)
            if turn % 3 == 2:
                _litter(bench, store)
                with bench.call("gc", {}):
                    store.gc(grace_s=0)


def _fsck(bench: Bench) -> None:
    for _ in range(bench.rounds):
        with bench.open() as store:
            WRITERS["put"](bench, store)
            with bench.call("fsck", {}):
                store.fsck()


# -- a store of its own ------------------------------------------------------------------------------------------------


def _create(bench: Bench) -> None:
    with bench.call("create", {}):
        opening.create(bench.root, bench.settings)
    store = bench.open("first open")
    WRITERS["put"](bench, store)
    store.close()


def _create_again(bench: Bench) -> None:
    try:
        opening.read_marker(bench.root, bench.settings.disk)
    except NotAStoreError:
        opening.create(bench.root, bench.settings)


def _copied(bench: Bench) -> None:
    """A copy that lacks the content of the last transactions."""
    original = replace(bench, root=os.path.join(bench.beside, "original"))
    _little(original)
    with original.open() as store:
        lacking = [store.put(f"lacking {n}", content(bench.fresh("lacking"), 900)).revision.digest for n in range(3)]
    shutil.copytree(original.root, bench.root)
    for one in lacking:
        raw = one.removeprefix("sha256:")
        os.unlink(os.path.join(bench.root, paths.BLOBS, raw[:2], f"{raw}.zst"))


def _recover(bench: Bench) -> None:
    bench.doing("open a copy")
    handle = opening.open_store(bench.root, bench.settings)
    try:
        with bench.call("recover", {}):
            recovering.recover_store(handle)
    finally:
        handle.close()


def _spoiled(bench: Bench) -> None:
    """Damage of many kinds, and beside the store a folder with the files that its blobs were made from."""
    _little(bench)
    for number, found in enumerate(packs.with_originals(bench, 3)):
        raw = found.removeprefix("sha256:")
        blob = os.path.join(bench.root, paths.BLOBS, raw[:2], f"{raw}.zst")
        if number:
            os.unlink(blob)
        else:
            with open(blob, "r+b") as file:
                file.write(b"damaged")


def _spoil_files(bench: Bench) -> None:
    os.unlink(os.path.join(bench.root, paths.MARKER))
    os.rmdir(os.path.join(bench.root, paths.PACKS))
    folder = os.path.join(bench.root, paths.JOURNAL)
    with open(os.path.join(folder, sorted(os.listdir(folder))[0]), "r+b") as file:
        file.seek(200)
        file.write(b"spoiled")
    if bench.rnd.random() < 0.5:
        with open(os.path.join(bench.root, paths.INDEX), "r+b") as file:
            file.seek(9 * 4096)
            file.write(b"\xff" * 4096)


def _redact(bench: Bench) -> None:
    for _ in range(bench.rounds):
        with bench.open() as store:
            path = bench.fresh("secret")
            key, data = f"artifact {path}", [content(bench.fresh("content"), 800) for _ in range(2)]
            for number in (0, 1):
                with bench.call("put", {key: artifact(*map(digest, data[: number + 1]))}) as ids:
                    result = store.put(path, data[number])
                    ids[key] = result.artifact.id
            raw = store.artifacts.revision(path, 1).digest.removeprefix("sha256:")
            again = {"how": "redact", "id": result.artifact.id, "digest": raw}
            with bench.call("redact", {key: artifact(None, digest(data[1]))}, again=again):
                store.redact(result.artifact.id, fields=["content"], revisions=[1])


def _spoiled_packs(bench: Bench) -> None:
    packs.spoiled(bench, _little)


def _spoiled_chunks(bench: Bench) -> None:
    chunks.spoiled(bench, _little)


_TORN = Moment("half write", "segment", COMMITTED)
_TORN_PACK = Moment("half write", "pack", OPEN)
_BEHIND = Moment("write", "segment", COMMITTED)
_WRITTEN = Moment("release", "writer lock", COMMITTED)

JOBS = (
    *(Job(verb, _writing(verb), beside=True) for verb in WRITERS),
    Job("gc", _gc),
    Job("gc beside writers", _gc_beside, beside=True),
    Job("search", _search, beside=True),
    Job("fsck", _fsck, beside=True),
    Job("live rebuild", _live_rebuild, beside=True),
    Job("rebuild", _rebuild),
    Job("redact", _redact),
    Job("derive", _lost_index, before=some, wreck=_without_index),
    Job("open: torn line", reopen, before=_put_for_ever, dying=_TORN),
    Job("open: journal behind", reopen, before=_put_for_ever, dying=_BEHIND),
    Job("open: hole in the journal", _mend_hole, before=_put_for_ever, dying=_WRITTEN, wreck=_hole),
    Job("create", _create, mend=_create_again, anew=True),
    Job("recover of a copy", _recover, before=_copied, mend=_recover, anew=True),
    Job("repair", packs.repaired, before=_spoiled, wreck=_spoil_files, mend=packs.repaired, anew=True),
    *(
        Job(f"{verb} into packs", into_packs(_writing(verb)), beside=True)
        for verb in ("put", "transaction", "add", "history")
    ),
    Job("add with help", into_packs(with_hands(_writing("add"))), beside=True, helped=True),
    Job("open: packs not settled", into_packs(reopen), before=into_packs(_put_for_ever), dying=_WRITTEN),
    *(
        Job(
            f"{verb} behind a torn append",
            into_packs(_writing(verb)),
            before=into_packs(_put_for_ever),
            dying=_TORN_PACK,
        )
        for verb in ("put", "add")
    ),
    Job("gc of packs", into_packs(packs.collected)),
    Job("gathering", into_packs(packs.gathered)),
    Job("redact in packs", into_packs(_redact), before=into_packs(_little), anew=True),
    Job("rebuild with packs", into_packs(_rebuild), before=into_packs(some)),
    Job(
        "repair of packs", into_packs(packs.repaired), before=into_packs(_spoiled_packs), mend=packs.repaired, anew=True
    ),
    Job("put of chunks", into_chunks(chunks.grown), beside=True),
    Job("gc of chunks", into_chunks(chunks.collected)),
    Job("redact chunks", into_chunks(chunks.redacted), before=into_chunks(_little), anew=True),
    Job("rebuild with chunks", into_chunks(_rebuild), before=into_chunks(chunks.grown)),
    Job(
        "repair of chunks",
        into_chunks(packs.repaired),
        before=into_chunks(_spoiled_chunks),
        mend=packs.repaired,
        anew=True,
    ),
)
"""All jobs: writers first, then what looks after a store, then what needs one of its own."""
