"""The chains of other stores that were merged: each is kept whole, as a content that can be verified by itself.

Such a chain is an artifact like any other, so that backup, export, fsck and gc know it without being told.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit
from holdfast.exchange.merge.scene import Scene
from holdfast.exchange.tree import Tree
from holdfast.kinds import collections, revising
from holdfast.kinds.revising import Description
from holdfast.values import names
from holdfast.values.change import FOREIGN_CHAIN
from holdfast.values.records import Artifact

FOLDER = ".holdfast/chains"
MEDIA_TYPE = "application/vnd.holdfast.chain"


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier merges left. `base`: all of their changes before this seq are known here."""

    base: int = 1
    united: dict[str, str] = field(default_factory=dict)


def past(handle: Handle, tree: Tree) -> Past:
    """What is known here of the store that a tree is of."""
    base = _common(handle, tree)
    kept = _kept(handle, tree.store)
    if kept is None or not tree.index.chain.passed(int(kept.metadata["next"]), bytes.fromhex(kept.metadata["hash"])):
        return Past(base, {} if kept is None else dict(kept.metadata["united"]))
    return Past(max(base, int(kept.metadata["next"])), dict(kept.metadata["united"]))


def _common(handle: Handle, tree: Tree) -> int:
    """The seq up to which both chains are one, and where they part."""
    if tree.store != handle.marker.store_id:
        return 1
    low, high = 1, tree.label.head.next_seq
    while low < high:
        found = tree.index.chain.at((low + high) // 2)
        assert found is not None
        if handle.index.chain.passed(found.entry.next_seq, found.entry.hash()):
            low = found.entry.next_seq
        else:
            high = found.entry.first
    return low


def _kept(handle: Handle, store: str) -> Artifact | None:
    """The artifact that holds the chain of a store."""
    folder = handle.index.collections.down(names.parse_path(FOLDER))
    found = None if folder is None else handle.index.artifacts.by_place(folder, names.parse(f"{store}.jsonl"))
    return found if found is not None and found.type == FOREIGN_CHAIN and "united" in found.metadata else None


def keep(unit: Unit, scene: Scene, tree: Tree, chain: Incoming) -> None:
    """Keep their chain, as a new revision if an earlier one is kept; one that goes on further stays as it is."""
    head = tree.label.head
    united = {theirs: ours for theirs, ours in sorted(scene.united.items()) if theirs != ours}
    metadata = {"store": tree.store, "next": head.next_seq, "hash": head.hash.hex(), "united": united}
    said = Description(metadata=metadata, media_type=MEDIA_TYPE, type=FOREIGN_CHAIN)
    found = _kept(unit.handle, tree.store)
    if found is not None:
        is_older = int(found.metadata["next"]) > head.next_seq
        if is_older or (found.metadata == metadata and found.digest == chain.digest):
            return
        revising.revise(unit, found, chain, said)
        return
    folder = collections.ensure_down(unit, names.parse_path(FOLDER))
    name = names.parse(f"{tree.store}.jsonl")
    if scene.holder(folder, name) is not None:
        name = scene.free(folder, name, "")
    revising.create(unit, folder, name, chain, said)
