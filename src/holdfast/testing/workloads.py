"""What the crash lab puts a store through: each workload works with a ledger of what was acknowledged to it."""

from __future__ import annotations

import contextlib
import os

from holdfast.engine import open as opening
from holdfast.testing import care_workloads as care
from holdfast.testing import chunk_workloads as chunks
from holdfast.testing import merge_workloads as merges
from holdfast.testing import pack_workloads as packs
from holdfast.testing.ledger import Fate
from holdfast.testing.workbench import Bench, Workload, made


def _put(bench: Bench) -> None:
    with bench.open() as store:
        for turn in range(24):
            bench.ledger.put(store, f"folder {turn % 3}/{turn % 8}", bench.content())


class _GivenUpError(Exception):
    """A part of a transaction is taken back, and the rest is not."""


def _transactions(bench: Bench) -> None:
    with bench.open() as store:
        for turn in range(8):
            wanted = {f"{turn % 2}/{n}": bench.content() for n in range(turn, turn + 6)}
            with (
                bench.ledger.call({path: bench.ledger.after_put(path, data) for path, data in wanted.items()}),
                store.transaction(),
            ):
                for path, data in wanted.items():
                    store.put(path, data)
                with contextlib.suppress(_GivenUpError), store.transaction():
                    store.put("never", bench.content())
                    raise _GivenUpError
            bench.ledger.known(store, *wanted)


def _bulk(bench: Bench) -> None:
    packs.added(bench, many=3)


def _big(bench: Bench) -> None:
    """Content of many frames, staged while others are put."""
    with bench.open() as store:
        for turn in range(5):
            bench.ledger.put(store, f"big {turn % 3}", bench.content(300_000 + 150_000 * turn))
            for small in range(3):
                bench.ledger.put(store, f"small {small}", bench.content(200))


def _runs(bench: Bench) -> None:
    ledger = bench.ledger
    with bench.open() as store:
        ledger.put(store, "in", bench.content())
        for turn in range(7):
            name, out = f"run {turn}", bench.content()
            with ledger.call({name: _run("pending")}):
                ledger.runs[name] = store.runs.create(name, parameters={"turn": turn}).id
            ref = f"id:{ledger.runs[name]}"
            with ledger.call({name: _run("processing")}):
                store.runs.set_status(ref, "processing")
            with ledger.call({name: _run("processing", "pending")}):
                step = store.runs.add_step(ref, "fit")
            with ledger.call({name: _run("processing", "processing")}):
                store.runs.set_step_status(step, "processing")
            with ledger.call({name: _run("processing", "processing", ins=1)}):
                store.runs.link(ref, "input", "in")
            changes = {name: _run("processing", "processing", ins=1, outs=1), "out": ledger.after_put("out", out)}
            with ledger.call(changes), store.transaction():
                store.runs.link(ref, "output", store.put("out", out).artifact)
            ledger.known(store, "out")
            if turn % 2:
                with ledger.call({name: _run("failed", "cancelled", ins=1, outs=1)}):
                    store.runs.set_status(ref, "failed", reason="no luck")
                continue
            with ledger.call({name: _run("processing", "completed", ins=1, outs=1)}):
                store.runs.set_step_status(step, "completed")
            with ledger.call({name: _run("completed", "completed", ins=1, outs=1)}):
                store.runs.set_status(ref, "completed")


def _run(status: str, *steps: str, ins: int = 0, outs: int = 0) -> Fate:
    return Fate(tuple(word.encode() for word in (status, *steps, f"{ins} in, {outs} out")))


def _searched(bench: Bench) -> None:
    """The full text is fed between the writes, and is asked for what it has just been told."""
    with bench.open() as store:
        for turn in range(20):
            bench.ledger.put(store, f"note {turn % 7}.txt", f"word{turn} {bench.rnd.random()}".encode())
            found = store.search(f"word{turn}").hits
            assert len(found) == 1, found


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


def _create(bench: Bench) -> None:
    with bench.ledger.call({}):
        opening.create(bench.root, bench.settings)
    with bench.ledger.call({}):
        store = bench.open()
    with store:
        for turn in range(18):
            bench.ledger.put(store, f"{turn}", bench.content())


def _sessions(bench: Bench) -> None:
    for turn in range(9):
        with bench.open() as store:
            bench.ledger.put(store, f"{turn % 2}", bench.content())
            bench.ledger.put(store, f"other {turn}", bench.content())


def _empty_folder(bench: Bench) -> None:
    os.mkdir(bench.root)


WORKLOADS = (
    Workload("put", _put, made),
    Workload("put, then recover", _put, made, care.recovered),
    Workload("put with a rollback journal", _put, made, network=True),
    Workload("big blobs", _big, made),
    Workload("transactions", _transactions, made),
    Workload("bulk add", _bulk, made),
    Workload("delete, undelete, revert", _history, made),
    Workload("runs", _runs, made),
    Workload("search", _searched, made),
    Workload("purge and gc", care.collected, made),
    Workload("redact", care.redacted, made, care.redacted_again),
    Workload("rebuild", care.rebuilt, made),
    Workload("lost index", care.lost_index, made),
    Workload("recover of a copy", care.recovered_copy, care.copy_made, care.recovered, needs_index=True),
    Workload("repair", care.repaired, care.damaged, care.repaired_once, needs_index=True),
    Workload("repair from a backup", care.repaired_from, care.bereft, care.repaired_from_once),
    Workload("segments sealed", care.sealed, made),
    Workload("merge", merges.merged, made),
    Workload("create and migrate", _create, _empty_folder),
    Workload("close and reopen", _sessions, made),
    Workload("put into packs", packs.put, made, packs=True),
    Workload("puts that wait for a sync of their packs", packs.waiting, made, packs=True),
    Workload("puts that one makes for several", packs.together, made, packs=True),
    Workload("packs", packs.used, made, packs=True),
    Workload("packs, then recover", packs.used, made, care.recovered, packs=True),
    Workload("bulk add into packs", packs.added, made, packs=True),
    Workload("merge into packs, then recover", merges.merged, made, care.recovered, packs=True),
    Workload("transactions into packs", packs.several(_transactions, 2), made, packs=True),
    Workload("gc that rewrites packs", packs.rewritten, made, packs=True),
    Workload("gc that gathers loose blobs", packs.gathered, made, packs=True),
    Workload("redact in packs", packs.redacted, made, care.redacted_again, packs=True),
    Workload("rebuild with packs", packs.several(care.rebuilt, 2), made, packs=True),
    Workload("lost index beside packs", packs.several(care.lost_index, 2), made, packs=True),
    Workload("repack", care.repacked, made, packs=True),
    Workload("repack, then recover", care.repacked, made, care.recovered, packs=True),
    Workload("repair with packs", care.repaired, care.damaged, care.repaired_once, needs_index=True, packs=True),
    Workload("repair of packs", care.repaired_from, care.bereft_of_packs, care.repaired_from_once, packs=True),
    Workload("chunks", chunks.grown, made),
    Workload("chunks beside packs, then recover", chunks.grown, made, care.recovered, packs=True),
    Workload("chunks where packs are repacked", chunks.repacked, made, packs=True),
)
"""Each records 200 operations and more."""
