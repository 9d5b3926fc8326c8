"""What the parts of fsck have in common: the store they look at, and what the parts before them have learnt of it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from holdfast.blobs import LocalBlobs
from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.contract import BlobStore
from holdfast.blobs.packs import PackFolder
from holdfast.care.fsck.chosen import Chosen
from holdfast.care.fsck.redactions import Redactions
from holdfast.care.fsck.report import Gathered
from holdfast.care.fsck.view import View, nobody_writes
from holdfast.disk import Disk
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.index.audit import Audit
from holdfast.journal import Journal
from holdfast.values import digest as digests
from holdfast.values.change import Head

Range = tuple[int, int]
"""Changes from the first seq on and before the second."""

_PATIENCE_S = 5.0
_FOREVER = 1 << 62


@dataclass(slots=True)
class Held:
    """What one copy of the chain holds, verified: all changes before `head` except those in `lacking`."""

    head: Head
    lacking: list[Range] = field(default_factory=list)
    redactions: Redactions = field(default_factory=Redactions)

    def missing(self) -> list[Range]:
        """All changes it does not hold, without end."""
        return [*sorted(self.lacking), (self.head.next_seq, _FOREVER)]


@dataclass(slots=True)
class Scene:
    """One store under inspection.

    `origin`: where its chain begins, None if nobody can say. `index`: what the index holds of the chain, None if it
    cannot be used. `needs`: tells what content is needed: the index, or one that was derived to take its place.
    `knows_all`: whether `needs` was made from the whole chain; `has_places`: whether it says where content is.
    `rows`: how many rows each table has, if all were seen to be as the chain gives them; None: nobody knows yet.
    `whole`: packs in which nothing is left to be looked at. `chosen`: which contents are read; `leaves_no_trace`:
    nothing may be written, not even how far the check has come.
    """

    root: str
    disk: Disk
    journal: Journal
    blobs: BlobStore
    view: View
    out: Gathered
    quick: bool
    origin: Head | None = None
    index: Held | None = None
    flagged: set[int] = field(default_factory=set)
    needs: Audit | None = None
    knows_all: bool = True
    has_places: bool = False
    rows: Mapping[str, int] | None = None
    whole: list[str] = field(default_factory=list)
    chosen: Chosen = field(default_factory=Chosen)
    leaves_no_trace: bool = False
    packs: PackFolder = field(init=False)
    loose: BlobStore = field(init=False)
    recipes: RecipeFolder = field(init=False)
    _patience_s: float = field(default_factory=lambda: _PATIENCE_S)

    def __post_init__(self) -> None:
        """Files are looked for where they should be, whatever an open handle believes."""
        self.packs = PackFolder(self.root, self.disk, elsewhere=self.kept)
        own = isinstance(self.blobs, LocalBlobs)
        self.loose = LocalBlobs(self.root, self.disk) if own else self.blobs
        self.recipes = RecipeFolder(self.root, self.disk)

    def facts(self, path: str) -> os.stat_result | None:
        """What stands at a path relative to the store; None if nothing does, or nothing can be known of it."""
        try:
            return self.disk.stat(os.path.join(self.root, path))
        except HoldfastError:
            return None

    def loose_bytes(self, raw: bytes, path: str) -> int | None:
        """Bytes that a content which is in no pack takes; None if it is not there, or nothing can be known of it."""
        if isinstance(self.loose, LocalBlobs):
            facts = self.facts(path)
            return facts.st_size if facts is not None and stat.S_ISREG(facts.st_mode) else None
        with contextlib.suppress(HoldfastError):
            found = self.loose.stat(digests.text(raw))
            return None if found is None else found.stored_bytes
        return None

    def kept(self, pack: str, offset: int, length: int) -> bytes | None:
        """Bytes of a pack that the index keeps, because no sync has reached them there; None if it does not."""
        with contextlib.suppress(HoldfastError):
            if self.needs is not None and self.has_places:
                return self.needs.index.physical.kept(pack, offset, length)
        return None

    @contextlib.contextmanager
    def look_again(self) -> Iterator[bool]:
        """Look once more while nobody writes. False if writers could not be kept out: then say so in the finding."""
        with nobody_writes(self.root, self._patience_s) as sure:
            if not sure:
                self._patience_s = 0.05  # a writer that long is not waited for twice
            self._renew_view()
            yield sure

    def _renew_view(self) -> None:
        try:
            self.view.refresh()
        except (HoldfastError, FileNotFoundError) as error:
            self.out.found("not-checked", paths.INDEX, f"it went away while it was looked at: {error}")
        if self.has_places:
            self.needs = self.view.audit
            self.has_places = self.knows_all = self.needs is not None


def both(left: list[Range], right: list[Range]) -> list[Range]:
    """Where two sorted lists of ranges overlap."""
    found = [(max(a[0], b[0]), min(a[1], b[1])) for a in left for b in right]
    return sorted((first, end) for first, end in found if first < end)


def without(left: list[Range], right: list[Range]) -> list[Range]:
    """What is left of some ranges when others are taken away."""
    for first, end in right:
        pieces = [piece for a, b in left for piece in ((a, min(b, first)), (max(a, end), b))]
        left = [(a, b) for a, b in pieces if a < b]
    return left


def words(changes: Range) -> str:
    """A range for people."""
    first, end = changes
    if end >= _FOREVER:
        return f"changes from {first} on"
    return f"change {first}" if end == first + 1 else f"changes {first} to {end - 1}"
