"""The jobs of the kill lab that are about packs: appends, torn ends, tables of contents, gc that rewrites, redaction.

A part of the product that is not a call of its own is told as what is being done, so that the same operation on a pack
has a name of its own when it is filled, sealed, gone on with behind a torn end, rewritten or removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.blobs.packs import writer
from holdfast.blobs.packs.writer import PackWriter
from holdfast.care import gathering, packing
from holdfast.care import repair as repairing
from holdfast.care.gc import Gc
from holdfast.engine import repacking
from holdfast.engine.pending import Keeper
from holdfast.formats import paths
from holdfast.store import Store
from holdfast.testing.kill_lab_books import artifact, content, digest
from holdfast.testing.kill_lab_writers import WRITERS, Bench

Work = Callable[[Bench], None]

PACK_UP_TO, PACK_APPENDS, SMALL_MANY = 3_000, 6, 3
_PARTS: tuple[tuple[Any, str, str], ...] = (
    (PackWriter, "_seal", "sealing a pack"),
    (writer, "cover_tail", "covering a torn end"),
    (Keeper, "settle", "writing the end of a pack again"),
    (repacking, "rewrite", "rewriting a pack"),
    (packing, "_condemned", "condemning packs"),
    (packing, "_removed", "removing a pack"),
    (repacking, "remove", "removing a pack"),
    (gathering, "_take_in", "gathering"),
)


def into_packs(work: Work) -> Work:
    """The same work with small content in packs, which are soon full."""

    def run(bench: Bench) -> None:
        writer.PACK_APPENDS, packing.SMALL_MANY = PACK_APPENDS, SMALL_MANY
        bench.settings = replace(bench.settings, pack_up_to=PACK_UP_TO)
        _tell_parts(bench)
        work(bench)

    return run


def _tell_parts(bench: Bench) -> None:
    for owner, name, part in _PARTS:
        tell_part(bench, owner, name, part)


class _Doing:
    """What is being done, for the lab and for whoever has to say it again when a part is over."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self.now = ""

    def __call__(self, what: str) -> None:
        self.now = what
        self._told(what)


def tell_part(bench: Bench, owner: Any, name: str, part: str) -> None:
    """From now on the lab is told when a function of the product is at work, and what goes on when it is done."""
    doing = bench.doing if isinstance(bench.doing, _Doing) else _Doing(bench.doing)
    bench.doing = doing
    real = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        before = doing.now
        doing(part)
        try:
            return real(*arguments, **options)
        finally:
            doing(before)

    setattr(owner, name, call)


def collected(bench: Bench) -> None:
    """gc of packs that are half garbage, or many and small, or that nobody's rows speak of."""
    with bench.open() as store:
        for turn in range(bench.rounds):
            _litter(bench, store)
            with bench.call("gc", {}):
                store.gc(grace_s=0)
            if turn % 3 == 2:
                _small_packs(bench)


def _litter(bench: Bench, store: Store) -> None:
    """Contents that were purged, beside some that stay, and one that was appended and never got a row."""
    for number in range(4):
        path, data = bench.fresh("gone"), content(bench.fresh("content"), 2_000)
        key = f"artifact {path}"
        for doing, fact in (
            ("put", artifact(digest(data))), ("delete", artifact(digest(data), live=False)),
            ("purge", artifact(None, live=False)),
        )[: 3 if number % 2 else 1]:  # fmt: skip
            with bench.call(doing, {key: fact}) as ids:
                if doing == "put":
                    ids[key] = store.put(path, data).artifact.id
                else:
                    getattr(store.artifacts, doing)(f"id:{bench.books.ids[key]}")
    bench.doing("litter")
    blobs = store._handle.blobs  # noqa: SLF001 - what a writer leaves that dies before its COMMIT
    blobs.discard([blobs.stage(bench.fresh("stray").encode())])


def _small_packs(bench: Bench) -> None:
    """Each handle that is open has a pack of its own."""
    stores = [bench.open() for _ in range(SMALL_MANY)]
    for store in stores:
        WRITERS["put"](bench, store)
    for store in stores:
        bench.doing("close")
        store.close()


def gathered(bench: Bench) -> None:
    """Contents with a file each are appended to packs; then the files go."""
    loose = replace(bench, settings=replace(bench.settings, pack_up_to=0))
    for _ in range(bench.rounds):
        with loose.open() as store:
            for _ in range(4):
                WRITERS["put"](bench, store)
        with bench.open() as store, bench.call("gc", {}):
            Gc(store._handle, grace_s=0, loose_many=2).run()  # noqa: SLF001


def with_originals(bench: Bench, many: int) -> list[str]:
    """Put as many contents, whose originals are in a folder beside the store; their digests."""
    originals = os.path.join(bench.beside, "originals")
    os.makedirs(originals, exist_ok=True)
    found = []
    with bench.open() as store:
        for number in range(many):
            data, path = content(bench.fresh("content"), 900), bench.fresh("spoiled")
            with open(os.path.join(originals, str(number)), "wb") as file:
                file.write(data)
            with bench.call("put", {f"artifact {path}": artifact(digest(data))}) as ids:
                one = store.put(path, data).artifact
                ids[f"artifact {path}"] = one.id
            found.append(one.digest)
    return found


def spoiled(bench: Bench, few: Work) -> None:
    """Packs with a lost header or damaged content, and beside the store the files that content was made from."""
    few(bench)
    digests = with_originals(bench, 5)
    with bench.open() as store:
        spots = [store._handle.index.physical.spot(one) for one in digests]  # noqa: SLF001
    first, *_, last = [spot for spot in spots if spot is not None]
    flip(bench, paths.pack_file(first.pack), first.offset - 20)
    flip(bench, paths.pack_file(last.pack), last.offset + last.stored_bytes // 2)


def flip(bench: Bench, path: str, at: int) -> None:
    """Change a byte of a file of the store."""
    with open(os.path.join(bench.root, path), "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes((byte[0] ^ 0x55,)))


def repaired(bench: Bench) -> None:
    """Repair with the originals at hand."""
    bench.doing("repair")
    repairing.repair(bench.root, bench.settings, repairing.Wanted([os.path.join(bench.beside, "originals")]))
