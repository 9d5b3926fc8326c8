"""What the crash lab does about packs: appends, takes up, seals, rewrites, gathers, erases."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from holdfast.care import packing
from holdfast.care.gc import Gc
from holdfast.kinds import combining
from holdfast.store import Store
from holdfast.testing import care_workloads as care
from holdfast.testing.ledger import Fate
from holdfast.testing.workbench import Bench, Work


class _GivenUpError(Exception):
    """A transaction is taken back."""


def several(run: Work, times: int) -> Work:
    """Do it so many times: with packs the same work takes fewer operations."""

    def again(bench: Bench) -> None:
        for _ in range(times):
            run(bench)

    return again


def used(bench: Bench) -> None:
    """Several sessions, some of which end untidily; packs are sealed, taken up, rewritten."""
    for turn in range(5):
        with bench.open() as store:
            for n in range(6):
                bench.ledger.put(store, f"{turn} {n % 4}", bench.content())
            with contextlib.suppress(_GivenUpError), bench.ledger.call({}), store.transaction():
                store.put("never", bench.content())
                raise _GivenUpError
            content = bench.content()
            _give_up(bench, store, f"gone {turn}", content)
            with bench.ledger.call({}):
                store.gc(grace_s=0 if turn % 2 else 1e6)
            bench.ledger.put(store, f"anew {turn}", content)


def put(bench: Bench) -> None:
    """Puts by two handles in turn: each has a pack of its own, and the next one takes up what is left."""
    for turn in range(4):
        with bench.open() as one, bench.open() as other:
            for n in range(14):
                bench.ledger.put(one if n % 2 else other, f"folder {n % 3}/{turn % 2} {n % 8}", bench.content())


def waiting(bench: Bench) -> None:
    """Puts whose packs are synced now and then, by two handles, with transactions between them that are taken back."""
    for turn in range(3):
        with bench.open() as one, bench.open() as other:
            for n in range(18):
                store = one if n % 3 else other
                if n % 4 == 1:
                    with contextlib.suppress(_GivenUpError), bench.ledger.call({}), store.transaction():
                        store.put("never", bench.content())
                        raise _GivenUpError
                bench.ledger.put(store, f"{n % 5}", bench.content())
                if n % 7 == 3 + turn:
                    store._handle.keeper.sync()  # noqa: SLF001 - what a thread does every five seconds
                if n == 9:
                    with bench.ledger.call({}):
                        other.gc(grace_s=1e6)


def together(bench: Bench) -> None:
    """Puts that one makes for several who wait, some refused, some of contents that are there or come twice."""
    for turn in range(6):
        with bench.open() as one, bench.open() as other:
            for n in range(7):
                same = bench.content()
                sizes = [30_000 if k == 1 + n % 4 else 0 for k in range(7)]  # one is too large to be left
                wanted = {f"{turn % 2} {k}": same if k > 4 else bench.content(sizes[k]) for k in range(7)}
                changes = {path: bench.ledger.after_put(path, data) for path, data in wanted.items()}
                with bench.ledger.call(changes, whole=False):
                    _made_by_one(one, other, wanted)
                bench.ledger.known(one, *wanted)
            bench.ledger.put(other, f"alone {turn}", bench.content())


def _made_by_one(one: Store, other: Store, wanted: dict[str, bytes]) -> None:
    """The first is put by who has the lock; the others were left in the queue, with one that is refused among them."""
    queue, (first, *rest) = other._handle.writer.queue.get(), wanted.items()  # noqa: SLF001 - as threads would
    assert queue is not None
    seats = []
    for path, data in [*rest, ("refused", b"refused")]:
        order = combining.order(other._handle, path, data, expect=5 if path == "refused" else None)  # noqa: SLF001
        seat = None if order is None else queue.seat()
        if order is None or seat is None:
            other.put(path, data)
        else:
            seat.post(order)
            seats.append(seat)
    one._handle.writer.meet()  # noqa: SLF001
    one.put(*first)
    answers = [seat.answer() for seat in seats]
    told = [bool(answer) for answer in answers]
    assert told == [True] * (len(seats) - 1) + [False], told
    for seat in seats:
        queue.leave(seat)


def added(bench: Bench, many: int = 14) -> None:
    """Trees in batches of a few files: appends of many members, and packs that are full in the middle of a tree."""
    with bench.open() as store:
        for number in range(many):
            tree = Path(bench.beside, f"tree-{number}")
            for n in range(30):
                file = tree / f"{n % 4}" / f"{n}.bin"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(bench.content())
            files = [file for file in tree.rglob("*") if file.is_file()]
            changes = {str(file.relative_to(tree.parent)): Fate((file.read_bytes(),)) for file in files}
            with bench.ledger.call(changes, whole=False):
                store.add(tree)
            bench.ledger.known(store, *changes)


def rewritten(bench: Bench) -> None:
    """gc with a grace period and without one, over packs with much garbage, and over many small packs."""
    for turn in range(6):
        with contextlib.ExitStack() as stack:
            # Who holds a pack keeps the others from it: so there are many.
            stores = [stack.enter_context(bench.open()) for _ in range(packing.SMALL_MANY if turn == 3 else 2)]
            for n, store in enumerate(stores):
                for number in range(2):
                    bench.ledger.put(store, f"kept {turn} {n} {number}", bench.content(400))
                _give_up(bench, store, f"gone {turn} {n}", bench.content(3000))
        with bench.open() as store:
            for grace_s in (1e6, 0) if turn % 2 else (1e6, 0, 1e6):
                with bench.ledger.call({}):
                    store.gc(grace_s=grace_s)
            bench.ledger.put(store, f"after {turn}", bench.content())


def gathered(bench: Bench) -> None:
    """Contents that each have a file are appended to packs, and the files go: with the grace period and without."""
    loose = replace(bench, settings=replace(bench.settings, pack_up_to=0))
    for turn in range(3):
        with loose.open() as store:
            for n in range(9):
                bench.ledger.put(store, f"{turn} {n}", bench.content())
        with bench.open() as store:
            for grace_s in (1e6, 0.0) if turn % 2 else (0.0,):
                with bench.ledger.call({}):
                    Gc(store._handle, grace_s=grace_s, loose_many=4).run()  # noqa: SLF001
            bench.ledger.put(store, f"after {turn}", bench.content())


def redacted(bench: Bench) -> None:
    """Content that shares its pack, and its frame, with content that stays; the same twice; in sealed packs, too."""
    tree = Path(bench.beside, "tree")
    names = [f"{n} of many" for n in range(30)]  # long enough not to be met by chance
    tree.mkdir()
    for name in names:
        (tree / name).write_bytes(bench.content(300))
    changes = {f"tree/{name}": Fate(((tree / name).read_bytes(),)) for name in names}
    with bench.open() as store:
        with bench.ledger.call(changes, whole=False):
            store.add(tree)
        bench.ledger.known(store, *changes)
        for n in (3, 17):
            care.redact(bench, store, f"tree/{names[n]}", (tree / names[n]).read_bytes())
            for number in range(4):
                bench.ledger.put(store, f"kept {n} {number}", bench.content(300))
    care.redacted(bench)


def _give_up(bench: Bench, store: Store, path: str, content: bytes) -> None:
    ledger = bench.ledger
    ledger.put(store, path, content)
    ref, before = f"id:{ledger.ids[path]}", ledger.now[path].contents
    with ledger.call({path: Fate(before, live=False)}):
        store.artifacts.delete(ref)
    with ledger.call({path: Fate((None,) * len(before), live=False)}):
        store.artifacts.purge(ref)
