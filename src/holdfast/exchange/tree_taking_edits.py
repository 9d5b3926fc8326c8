"""Makes a new store of an exported tree that a person edited: the state of the export first, the edits after it.

What an edit took the place of is nowhere any more: the revision that had it comes in as withdrawn, and is named. Since
nobody can tell that from damage, it is done only where it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

from holdfast.blobs.contract import BlobStat
from holdfast.engine import adopt
from holdfast.engine import open as opening
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.engine.settings import Settings
from holdfast.engine.transaction import Unit, write
from holdfast.exchange.edits import Edits, find_edits
from holdfast.exchange.ground import Readable
from holdfast.exchange.merge.report import Item, Outcome, Wish
from holdfast.exchange.merge.scene import Scene, Theirs
from holdfast.exchange.merge.target import InStore
from holdfast.exchange.tree import Leaf, Tree
from holdfast.exchange.tree_compare import contents, pointers
from holdfast.exchange.tree_edits import Applying
from holdfast.exchange.tree_import import NAMED, ImportReport, Proof, adopt_tree, refused
from holdfast.index.sqlite import SqliteIndex

_TOGETHER = 2_000


def adopt_edited(
    root: str, ground: Readable, settings: Settings, *, wish: Wish, progress: Progress | None
) -> ImportReport:
    """As `adopt_tree`, and then the edits as new revisions, in one transaction of the store's own. All or nothing.

    Raises ImportRefusedError also for a file that is gone and whose content stands nowhere else (unless `mirror`).
    """
    with scratch_folder() as folder:
        proof = Proof(ground, progress)
        index = SqliteIndex(os.path.join(folder, "import.sqlite3"))
        try:
            tree = proof.stated(index)
            edits = find_edits(ground, tree, exact=False)
            if not edits.found:
                return adopt_tree(root, ground, settings, dry_run=wish.dry_run, progress=progress)
            proof.demand_all(tree)
            work = _Edited(tree, edits, wish, proof)
            work.demand_replaced()
            own = replace(settings, index=None, pack_up_to=None)
            handle = _rehearsal(os.path.join(folder, "store"), index, tree.store, own)
            try:
                work.apply(handle)
                if not wish.dry_run:
                    work.carry_out(root, handle, settings)
            finally:
                handle.close()
        finally:
            index.close()
    return proof.report


def _rehearsal(root: str, index: SqliteIndex, store: str, settings: Settings) -> Handle:
    """A store of rows alone, which takes every content of the export for present: what edits come to is seen there."""
    adopt.finish(adopt.begin(root, store, settings), index.chain.read())
    handle = opening.open_store(root, settings)
    kept = index.whole.kept()
    while some := list(islice(kept, _TOGETHER)):
        handle.index.begin()
        handle.index.physical.register_all([BlobStat(one, size, 0, 1) for one, size in some], {})
        handle.index.commit()
    return handle


class _Edited:
    def __init__(self, tree: Tree, edits: Edits, wish: Wish, proof: Proof) -> None:
        self._tree = tree
        self._edits = edits
        self._wish = wish
        self._proof = proof
        self._lost = self._replaced()
        """Contents of the export that stand nowhere any more."""

    def _replaced(self) -> set[str]:
        places, found = self._edits.places, set()
        for one in self._places():
            if one[0] in places:
                found.add(one[1].stands_for or one[1].digest)
        if found:
            found -= {leaf.digest for steps, leaf in self._places() if steps not in places}
            found -= {self._edits.look(one).digest for one in self._edits.found if one.at}
        return found

    def _places(self) -> Iterator[tuple[tuple[bytes, ...], Leaf]]:
        """Every file of the tree that shows a content."""
        for steps, entries in self._tree.folders():
            for name, leaf in chain(contents(entries), pointers(entries)):
                yield (*steps, name), leaf

    def demand_replaced(self) -> None:
        """A file that is gone is no edit that could stand for what was lost with it. ImportRefusedError."""
        if self._wish.mirror:
            return
        gone = {one.artifact for one in self._edits.found if one.gone}
        named = [f"{one.where}: it is gone, and its content with it (bring it back, or delete it by a mirror)"
                 for one in self._edits.found if one.gone and self._withdrawn_of(one.artifact)]  # fmt: skip
        if gone and named:
            raise refused(named[:NAMED], len(named))

    def _withdrawn_of(self, artifact: str) -> list[int]:
        return [number for one, number in self._withdrawn() if one == artifact]

    def _withdrawn(self) -> Iterator[tuple[str, int]]:
        """(artifact, number) of revisions whose content is lost."""
        index = self._tree.index
        for first in index.whole.shards("revisions") if self._lost else ():
            for row in index.whole.rows("revisions", first):
                if row["digest"] in self._lost and row["state"] == "kept":
                    yield row["artifact"], row["number"]

    def apply(self, handle: Handle) -> None:
        """The edits become changes of the rehearsed store."""
        self._edits.stage(handle)
        report = self._proof.report
        with write(handle, what="import") as unit:
            scene = Scene(Theirs(self._tree.index, self._tree.store), InStore(unit, {}), self._wish.policy)
            Applying(unit, scene, self._edits, replace(self._wish, dry_run=False)).run()
            self._withdraw(unit, scene)
        report.items = scene.account.items
        report.counts = dict(scene.account.counts)
        head = handle.index.chain.head()
        assert head is not None
        report.transactions += 1
        report.changes, report.head = head.next_seq - 1, head.hash.hex()

    def _withdraw(self, unit: Unit, scene: Scene) -> None:
        for artifact, number in list(self._withdrawn()):
            unit.change({"kind": "artifact", "action": "withdraw", "id": artifact, "revisions": [number]})
            found = scene.index.artifacts.by_id(artifact)
            detail = f"what revision {number} had is nowhere in the export: it is withdrawn"
            scene.account.add(Item("artifact", artifact, found.path if found else "", Outcome.CHANGED, detail))

    def carry_out(self, root: str, rehearsed: Handle, settings: Settings) -> None:
        """Contents of the export and of the edits, then the whole chain at once."""
        handle = adopt.begin(root, self._tree.store, settings)
        try:
            self._proof.take(handle, self._tree, but=self._edits.places)
            edited = self._edits.incoming.items()
            self._proof.publish(handle, [
                self._proof.incoming(handle, at[:-1], at[-1], Leaf(one.digest, one.size)) for at, one in edited
            ])  # fmt: skip
            adopt.finish(handle, rehearsed.index.chain.read())
        finally:
            handle.close()
        opening.open_store(os.path.abspath(root), settings).close()
