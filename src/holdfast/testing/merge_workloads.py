"""What the crash lab puts a store through: merging what another store exported, again and again."""

from __future__ import annotations

import os

from holdfast.engine import open as opening
from holdfast.engine.settings import Settings
from holdfast.exchange import importing
from holdfast.exchange.merge.report import Policy, Wish
from holdfast.store import Store
from holdfast.testing.workbench import Bench
from holdfast.values.change import Actor

_TURNS = 8


def merged(bench: Bench) -> None:
    """Another store goes on, exports, and is merged; ours goes on too. Each merge is one call: all of it or nothing."""
    foreign = os.path.join(bench.beside, "foreign")
    settings = Settings(Actor("Ada"))
    opening.create(foreign, settings)
    with bench.open() as store:
        bench.ledger.put(store, "mine", bench.content())
    for turn in range(_TURNS):
        with Store(opening.open_store(foreign, settings)) as theirs:
            wanted = {f"{turn % 2}/{n}": bench.content() for n in range(turn, turn + 4)}
            theirs.put_many(wanted.items())
            source = os.path.join(bench.beside, f"source {turn}")
            theirs.export_tree(source)
            with open(os.path.join(source, "changes", f"{1:016d}.jsonl"), "rb") as file:
                chain = file.read()
            if turn % 2:
                source += ".snapshot"
                theirs.snapshot(source)
            wanted[f".holdfast/chains/{theirs.id}.jsonl"] = chain
        with bench.ledger.call({path: bench.ledger.after_put(path, data) for path, data in wanted.items()}):
            importing.import_path(bench.root, source, bench.settings, wish=Wish(Policy.FAIL))
        with bench.open() as store:
            bench.ledger.known(store, *wanted)
            for name in ("mine", "mine too"):
                bench.ledger.put(store, name, bench.content())
