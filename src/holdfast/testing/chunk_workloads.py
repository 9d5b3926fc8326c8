"""What the crash lab puts a store through: content that is cut, grows, is edited, given up, collected and redacted.

Chunks are as small as FastCDC makes them here, so that a trace stays short; all else is as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from holdfast.blobs.chunks import cutter
from holdfast.engine import content, cutting, erasing
from holdfast.store import Store
from holdfast.testing.ledger import Fate
from holdfast.testing.workbench import Bench

SMALL = 4_096
_SETTINGS = ((cutter, "AVERAGE"), (content, "IN_MEMORY_BYTES"), (cutting, "CUT_FROM"), (erasing, "CUT_FROM"))


@contextlib.contextmanager
def small_chunks() -> Iterator[None]:
    """Content of SMALL bytes and more is cut, into chunks of a quarter of that, in this block."""
    before = [getattr(module, name) for module, name in _SETTINGS]
    try:
        for module, name in _SETTINGS:
            setattr(module, name, SMALL // 4 if module is cutter else SMALL)
        yield
    finally:
        for (module, name), value in zip(_SETTINGS, before, strict=True):
            setattr(module, name, value)


def grown(bench: Bench) -> None:
    """Two artifacts that grow and change, in several sessions; old revisions are purged, and collected."""
    ledger, log, model = bench.ledger, bench.content(9_000), bench.content(16_000)
    with small_chunks():
        for turn in range(6):
            with bench.open() as store:
                ledger.put(store, "log", log)
                ledger.put(store, "model", model)
                log += bench.content(3_000)
                at = bench.rnd.randrange(len(model))
                model = model[:at] + bench.content(50) + model[at + 30 :]
                ledger.put(store, "log", log)
                if turn:
                    _purge(bench, store, turn)
                with ledger.call({}):
                    store.gc(grace_s=0 if turn % 2 else 1e6)
                ledger.put(store, f"again {turn}", log)


def repacked(bench: Bench) -> None:
    """Large and small contents grow side by side; the small ones are repacked, and packs collected around chunks."""
    ledger, log, note = bench.ledger, bench.content(9_000), bench.content(300)
    with small_chunks():
        for turn in range(5):
            with bench.open() as store:
                ledger.put(store, "log", log)
                for number in range(4):
                    ledger.put(store, f"notes/{number}", note + b"%d %d" % (turn, number))
                log += bench.content(3_000)
                ledger.put(store, "log", log)
                if turn:
                    _purge(bench, store, turn)
                with ledger.call({}):
                    store.repack()
                with ledger.call({}):
                    store.gc(grace_s=0 if turn % 2 else 1e6)


def _purge(bench: Bench, store: Store, number: int) -> None:
    fate = bench.ledger.now["log"]
    left = tuple(None if n == number else one for n, one in enumerate(fate.contents, 1))
    with bench.ledger.call({"log": Fate(left)}):
        store.artifacts.purge("log", revisions=[number])
