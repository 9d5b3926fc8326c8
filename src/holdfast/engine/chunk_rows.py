"""What rows content gets that was published, also if it was cut: inside the transaction that speaks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast.errors import ConflictError
from holdfast.values import digest as digests

if TYPE_CHECKING:
    from holdfast.blobs.contract import BlobStat
    from holdfast.formats.pack import Spot
    from holdfast.index.physical import PhysicalRows


def place(physical: PhysicalRows, stat: BlobStat) -> None:
    """The rows of published content. ConflictError if a chunk that was counted on is gone: gc came between."""
    if stat.cut is None:
        physical.register(stat.digest, stat.stored_bytes, stat.frames, spot=stat.spot)
        return
    register(physical, stat.cut.fresh)
    for raw in physical.chunks.doubtful(stat.cut.recipe.digests):
        found = physical.chunks.place(digests.text(raw))
        if found is None:
            raise ConflictError(
                f"a chunk that {stat.digest} was to share has been removed meanwhile", chunk=digests.text(raw),
                remedy="Put it again: gc ran without a grace period at the same time.",
            )  # fmt: skip
        physical.chunks.revive(found.key)
    physical.register(stat.digest, stat.stored_bytes, stat.frames, cut=True)


def place_all(physical: PhysicalRows, stats: Sequence[BlobStat], known: Mapping[str, int]) -> None:
    """The same for many: those that were not cut with few statements. `known`: as in `PhysicalRows.register_all`."""
    whole = [stat for stat in stats if stat.cut is None]
    physical.register_all(whole, known)
    for stat in stats:
        if stat.cut is not None:
            place(physical, stat)


def register(physical: PhysicalRows, fresh: Sequence[tuple[bytes, Spot]]) -> None:
    """Rows for chunks that are durable in packs."""
    if fresh:
        physical.register_chunks(fresh)
