"""The files of a store that a backup copies: the place that names each kind of file, one line for each."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.care.backup.chain import segments
from holdfast.care.backup.contents import Loose, Pack, Recipe
from holdfast.care.backup.source import Snapshot, Source
from holdfast.index.stored import StoredFiles
from holdfast.index.tables import RECIPES


def sources(snapshot: Snapshot) -> Iterator[Source]:
    """Every file that a backup copies, in the order of its list (`generation.COPIED`); each kind is one line here."""
    stored = StoredFiles(snapshot.index.database)
    yield from (Loose(snapshot, raw) for raw in stored.loose())
    yield from (Pack(snapshot, name, reach) for name, reach in stored.packs())
    yield from (Recipe(snapshot, raw) for raw in stored.loose(RECIPES))
    yield from segments(snapshot)
