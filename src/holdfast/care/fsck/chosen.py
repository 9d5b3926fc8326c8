"""What fsck asks while it goes over the contents: is this one read, is there time, and how far has it come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.blobs.contract import BlobStat
from holdfast.errors import HoldfastError
from holdfast.formats import paths
from holdfast.formats.pack import Spot
from holdfast.index.audit import ContentRow


@dataclass(slots=True)
class Pair:
    """A content and its file, either of which may be missing. Of a member of a pack, its frame stands for the file; of
    content that was cut, its recipe.

    `seen`: what reading the file gave; None if it was not read. `left`: it was to be read, and there was no time.
    """

    raw: bytes
    row: ContentRow | None
    file_bytes: int | None
    seen: BlobStat | HoldfastError | None = None
    left: bool = False

    @property
    def path(self) -> str:
        """Where the file, or the pack, is or should be."""
        if self.cut:
            return paths.recipe_file(self.raw)
        return paths.blob_file(self.raw) if self.spot is None else paths.pack_file(self.spot.pack)

    @property
    def cut(self) -> bool:
        """Whether it is stored as chunks."""
        return self.row is not None and self.row.cut

    @property
    def spot(self) -> Spot | None:
        """Its place in a pack; None if it has a file of its own."""
        return None if self.row is None else self.row.spot


class Chosen:
    """Reads every content, or those that `pick` wants. What looks wrong is read in any case."""

    timed = False
    """Whether the reading may have to stop at any content, so that little may be under way at once."""

    def __init__(self, pick: Callable[[bytes], bool] | None = None, *, places: bool = False) -> None:
        """`places`: rows say where content is; then only what has a row is drawn from, and the rest is not read."""
        self._pick = pick
        self._places = places

    def wants(self, pair: Pair) -> bool:
        """Whether its file is to be read. Asked once for each pair, in order of digests."""
        if pair.file_bytes is None:
            return False
        if self._pick is None:
            return True
        drawn = not self._places or (pair.row is not None and pair.row.stored_bytes is not None)
        return drawn and self._pick(pair.raw)

    def is_behind(self, pair: Pair) -> bool:  # noqa: ARG002
        """Whether an earlier run has read it."""
        return False

    def over(self) -> bool:
        """Whether time is up: no more is read, only looked at from outside."""
        return False

    def passed(self, pair: Pair) -> None:
        """It was looked at, and read if there was time; if it seemed wrong, it will be looked at again."""

    def due(self) -> bool:
        """Whether what seems wrong should be looked at again now, so that the position can be kept."""
        return False

    def settled(self) -> None:
        """Whatever was passed has been judged."""

    def found(self, raw: bytes) -> None:
        """There is something to say of a content."""
