"""What the crash lab puts a store through: each workload works with a ledger of what was acknowledged to it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.care import rebuild as rebuilding
from holdfast.care import recover as recovering
from holdfast.engine import open as opening
from holdfast.engine.open import Settings
from holdfast.store import Store
from holdfast.testing.ledger import Fate, Ledger


@dataclass(slots=True)
class Bench:
    """Where a workload works: the store's folder, a folder beside it, how to open it, and the ledger."""

    root: str
    beside: str
    settings: Settings
    ledger: Ledger
    rnd: random.Random

    def open(self) -> Store:
        """Open the store through the disk of the lab."""
        return Store(opening.open_store(self.root, self.settings))

    def content(self, size: int = 0) -> bytes:
        """Bytes that no other call gives."""
        return self.rnd.randbytes(size or self.rnd.choice([20, 700, 3000]))


@dataclass(frozen=True, slots=True)
class Workload:
    """`before` makes the store (not recorded), `run` is recorded. `recover`: a state is recovered when it is opened."""

    name: str
    run: Callable[[Bench], None]
    before: Callable[[Bench], None]
    recover: bool = False


def _made(bench: Bench) -> None:
    opening.create(bench.root, bench.settings)
    bench.open().close()


def _put(bench: Bench) -> None:
    with bench.open() as store:
        for turn in range(24):
            bench.ledger.put(store, f"folder {turn % 3}/{turn % 8}", bench.content(2_000_000 if turn == 9 else 0))


def _transactions(bench: Bench) -> None:
    with bench.open() as store:
        for turn in range(10):
            wanted = {f"{turn % 2}/{n}": bench.content() for n in range(turn, turn + 9)}
            with (
                bench.ledger.call({path: bench.ledger.after_put(path, data) for path, data in wanted.items()}),
                store.transaction(),
            ):
                for path, data in wanted.items():
                    store.put(path, data)
            bench.ledger.known(store, *wanted)


def _bulk(bench: Bench) -> None:
    trees = []
    for number in range(3):
        tree = Path(bench.beside, f"tree-{number}")
        for n in range(30):
            file = tree / f"{n % 4}" / f"{n}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bench.content())
        trees.append(tree)
    with bench.open() as store:
        for tree in trees:
            files = [file for file in tree.rglob("*") if file.is_file()]
            changes = {str(file.relative_to(tree.parent)): Fate((file.read_bytes(),)) for file in files}
            with bench.ledger.call(changes, whole=False):
                store.add(tree)
            bench.ledger.known(store, *changes)


def _history(bench: Bench) -> None:
    ledger = bench.ledger
    with bench.open() as store:
        for n in range(5):
            ledger.put(store, f"{n}", bench.content())
            ledger.put(store, f"{n}", bench.content())
        for turn in range(8):
            path = f"{turn % 5}"
            ref, fate = f"id:{ledger.ids[path]}", ledger.now[path]
            with ledger.call({path: Fate(fate.contents, live=False)}):
                store.artifacts.delete(ref)
            with ledger.call({path: fate}):
                store.artifacts.undelete(ref)
            again = fate.contents[0]
            with ledger.call({path: Fate((*fate.contents, again))}):
                store.artifacts.revert(ref, 1)
            ledger.put(store, path, bench.content())


def _gc(bench: Bench) -> None:
    ledger = bench.ledger
    with bench.open() as store:
        for turn in range(5):
            kept, gone = bench.content(), bench.content()
            ledger.put(store, f"kept {turn}", kept)
            ledger.put(store, f"gone {turn}", gone)
            ref = f"id:{ledger.ids[f'gone {turn}']}"
            with ledger.call({f"gone {turn}": Fate((gone,), live=False)}):
                store.artifacts.delete(ref)
            with ledger.call({f"gone {turn}": Fate((None,), live=False)}):
                store.artifacts.purge(ref)
            if turn % 2:
                with ledger.call({}):
                    store.gc()
                # Condemned by now; a put of the same content takes it back.
                ledger.put(store, f"back {turn}", gone)
            with ledger.call({}):
                store.gc(grace_s=0)
            ledger.put(store, f"anew {turn}", gone)


def _rebuild(bench: Bench) -> None:
    for turn in range(3):
        with bench.open() as store:
            for n in range(5):
                bench.ledger.put(store, f"{n}", bench.content())
            if turn == 1:
                with bench.ledger.call({}):
                    rebuilding.rebuild(bench.root, bench.settings)
                bench.ledger.put(store, "beside a live rebuild", bench.content())
        with bench.ledger.call({}):
            rebuilding.rebuild(bench.root, bench.settings)


def _lost_index(bench: Bench) -> None:
    """The index is thrown away between two sessions, and derived anew by the next open."""
    for turn in range(4):
        with bench.open() as store:
            for n in range(5):
                bench.ledger.put(store, f"{turn}/{n}", bench.content())
        bench.settings.disk.unlink(os.path.join(bench.root, "index.sqlite3"))


def _copy_made(bench: Bench) -> None:
    original = Bench(os.path.join(bench.beside, "original"), bench.beside, bench.settings, bench.ledger, bench.rnd)
    _made(original)
    with original.open() as store:
        for n in range(12):
            bench.ledger.put(store, f"kept {n}", bench.content())
        lacking = [store.put(f"lacking {n}", bench.content()).revision.digest for n in range(3)]
    shutil.copytree(original.root, bench.root)
    for digest in lacking:
        raw = digest.removeprefix("sha256:")
        os.unlink(os.path.join(bench.root, "blobs", raw[:2], f"{raw}.zst"))


def _recover(bench: Bench) -> None:
    with bench.ledger.call(dict(bench.ledger.now)):
        handle = opening.open_store(bench.root, bench.settings)
        try:
            recovering.recover_store(handle)
        finally:
            handle.close()
    with bench.open() as store:
        for turn in range(16):
            bench.ledger.put(store, f"later {turn}", bench.content())


def _segments(bench: Bench) -> None:
    """With segments of a few kilobytes: many are begun, sealed, and their originals removed."""
    with bench.open() as store:
        for turn in range(24):
            bench.ledger.put(store, f"{turn % 6}", bench.content(100))
            if turn % 6 == 5:
                with bench.ledger.call({}):
                    store.gc(grace_s=0)


def _create(bench: Bench) -> None:
    with bench.ledger.call({}):
        opening.create(bench.root, bench.settings)
    with bench.ledger.call({}):
        store = bench.open()
    with store:
        for turn in range(14):
            bench.ledger.put(store, f"{turn}", bench.content())


def _sessions(bench: Bench) -> None:
    for turn in range(7):
        with bench.open() as store:
            bench.ledger.put(store, f"{turn % 2}", bench.content())
            bench.ledger.put(store, f"other {turn}", bench.content())


def _empty_folder(bench: Bench) -> None:
    os.mkdir(bench.root)


WORKLOADS = (
    Workload("put", _put, _made),
    Workload("transactions", _transactions, _made),
    Workload("bulk add", _bulk, _made),
    Workload("delete, undelete, revert", _history, _made),
    Workload("purge and gc", _gc, _made),
    Workload("rebuild", _rebuild, _made),
    Workload("lost index", _lost_index, _made),
    Workload("recover of a copy", _recover, _copy_made, recover=True),
    Workload("segments sealed", _segments, _made),
    Workload("create and migrate", _create, _empty_folder),
    Workload("close and reopen", _sessions, _made),
)
