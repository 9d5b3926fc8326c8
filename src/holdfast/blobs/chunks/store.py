"""The blob store of a folder, with content that is cut: `recipes/<sha256>.zst` lists its chunks, which lie in packs."""

from __future__ import annotations

import contextlib
import enum
import os
from collections.abc import Callable, Sequence
from typing import BinaryIO, Protocol

from holdfast.blobs.chunks.folder import RecipeFolder
from holdfast.blobs.chunks.reader import ChunkedReader, prove
from holdfast.blobs.chunks.writer import Appended, ChunkWriter, Keep
from holdfast.blobs.compress import Shape
from holdfast.blobs.contract import BlobStat, Cut, Staged
from holdfast.blobs.files import ContentReader, FramedReader
from holdfast.blobs.packs.store import PackedBlobs, Places
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError, InvalidValueError, StorageIOError
from holdfast.formats import paths, recipe
from holdfast.formats.pack import Spot
from holdfast.formats.recipe import Recipe
from holdfast.values import digest as digests
from holdfast.values.frozen import dataclass


class ChunkPlaces(Places, Protocol):
    """Who knows where chunks are, and which content is cut: the index."""

    def is_cut(self, digest: str) -> bool:
        """Whether a content's row says that it is stored as chunks."""
        ...

    def chunk(self, digest: str) -> Spot | None:
        """The place of a chunk; None if it has none."""
        ...

    def has_chunk(self, raw: bytes) -> bool:
        """Whether a chunk has a row and is not condemned."""
        ...


class _State(enum.Enum):
    WRITTEN = enum.auto()
    DURABLE = enum.auto()
    UNKNOWN = enum.auto()
    SPENT = enum.auto()


@dataclass(slots=True)
class _Cutting:
    """Staged content that was cut: its recipe, also as a file in `tmp/`, and what it appended to packs."""

    state: _State
    path: str
    recipe: Recipe
    appended: Appended


class ChunkedBlobs(PackedBlobs):
    """As PackedBlobs; and what `stage_cut` takes in is stored as chunks. Cut content is read like any other."""

    def __init__(
        self, root: str, disk: Disk, places: ChunkPlaces, *, shape: Shape | None = None, pack_up_to: int | None = None
    ) -> None:
        super().__init__(root, disk, places, shape=shape, pack_up_to=pack_up_to)
        self.recipes = RecipeFolder(root, disk)
        self._chunk_places = places
        self._folder_is_named = False
        self._chunk_writer = ChunkWriter(self.writer, self._shape.workers)

    # Taking in.

    def stage_cut(
        self,
        source: BinaryIO,
        *,
        durable: bool = True,
        keep: Keep | None = None,
        has: Callable[[bytes], bool] | None = None,
        old: Recipe | None = None,
    ) -> Staged:
        """Take content in as chunks, of which only those that are not here (or that `has` denies) are written.

        `keep`, `old`: see ChunkWriter. MissingDependencyError if nothing can cut; else as `stage`.
        """
        appended = Appended()
        try:
            has = has or self._chunk_places.has_chunk
            made = self._chunk_writer.take(source, appended, has=has, keep=keep, old=old)
            if not len(made):
                raise InvalidValueError("nothing to cut", where="content", reason="empty")
            path, stored = self._write_recipe(made)
        except BaseException:
            self._chunk_writer.done(appended)
            raise
        staged = Staged(
            digests.text(made.digest), made.size, stored + appended.bytes, durable,
            _Cutting(_State.WRITTEN, path, made, appended),
        )  # fmt: skip
        if durable:
            self.settle([staged])
        return staged

    def settle(self, staged: Sequence[Staged]) -> None:
        """As the contract says: for cut content, the packs it was appended to, then its recipe."""
        cut = [item.place for item in staged if isinstance(item.place, _Cutting)]
        super().settle([item for item in staged if not isinstance(item.place, _Cutting)] if cut else staged)
        for place in cut:
            if place.state is _State.DURABLE:
                continue
            if place.state is not _State.WRITTEN:
                raise StorageIOError(f"a sync of {place.path} failed before", path=place.path, operation="sync")
            place.state = _State.UNKNOWN
            self._chunk_writer.sync(place.appended)
            self._sync_files([place.path])
            place.state = _State.DURABLE

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        """As the contract says; a recipe gets the name of its content. Its chunks still need their rows."""
        cut = [item for item in staged if isinstance(item.place, _Cutting)]
        if not cut:
            return super().publish(staged)
        for item in cut:
            assert isinstance(item.place, _Cutting)
            if item.place.state is not _State.DURABLE:
                raise InvalidValueError(f"{item.digest} is not settled", where="staged", reason="not durable")
        rest = [item for item in staged if not isinstance(item.place, _Cutting)]
        found = iter(super().publish(rest) if rest else ())
        return [self._published(item) if isinstance(item.place, _Cutting) else next(found) for item in staged]

    def discard(self, staged: Sequence[Staged]) -> None:
        """Chunks that were appended stay where they are, without a row: gc gets rid of them."""
        for item in staged:
            if isinstance(item.place, _Cutting) and item.place.state is not _State.SPENT:
                self._spend_cut(item.place)
        super().discard([item for item in staged if not isinstance(item.place, _Cutting)])

    # Giving out.

    def stat(self, digest: str) -> BlobStat | None:
        """As the contract says; of cut content, what its recipe says."""
        if not self._chunk_places.is_cut(digest):
            return super().stat(digest)
        try:
            found, stored = self.recipes.read(digest)
        except BlobMissingError:
            return None
        return BlobStat(digest, found.size, stored, len(found), cut=Cut(found))

    def open(self, digest: str) -> ContentReader | FramedReader | ChunkedReader:  # type: ignore[override]
        """Random access. A file that a recipe has superseded is read as long as it is there: that is faster."""
        try:
            return super().open(digest)
        except BlobMissingError:
            if not self._chunk_places.is_cut(digest):
                raise
        found, stored = self.recipes.read(digest)
        return ChunkedReader(found, self._fetch, stored)

    def verify(self, digest: str) -> BlobStat:
        """As the contract says; of cut content, every chunk, whatever file it may have beside."""
        if not self._chunk_places.is_cut(digest):
            return super().verify(digest)
        found, stored = self.recipes.read(digest)
        prove(found, self._fetch)
        return BlobStat(digest, found.size, stored, len(found), cut=Cut(found))

    def delete(self, digest: str) -> bool:
        """Remove the file of a blob, and its recipe; its chunks lose their rows when gc has found them unneeded."""
        gone = super().delete(digest)
        try:
            self._disk.unlink(self.recipes.path(digest))
        except FileNotFoundError:
            return gone
        return True

    # How.

    def _fetch(self, raw: bytes) -> bytes:
        digest = digests.text(raw)
        spot = self._chunk_places.chunk(digest)
        if spot is None:
            raise BlobMissingError(f"no pack holds chunk {digest}", digest=digest, path=paths.PACKS)
        try:
            return self.packs.read(digest, spot)
        except BlobMissingError:
            again = self._chunk_places.chunk(digest)  # rewritten since
            if again is None or again == spot:
                raise
            return self.packs.read(digest, again)

    def _write_recipe(self, made: Recipe) -> tuple[str, int]:
        path = f"{self._root}/{paths.TMP}/{self.stem}{next(self._count):016x}.tmp"
        stored = 0
        fd = self._create(path)
        try:
            try:
                for data in recipe.encode(made):
                    self._disk.write(fd, data, path)
                    stored += len(data)
            finally:
                self._disk.close(fd)
        except BaseException:
            with contextlib.suppress(HoldfastError, OSError):
                self._disk.unlink(path)
            raise
        return path, stored

    def _published(self, item: Staged) -> BlobStat:
        place = item.place
        assert isinstance(place, _Cutting)
        target = self.recipes.path(item.digest)
        if not self._folder_is_named:
            # Copying tools drop empty folders; one made by a process that was killed then looks like any other.
            self._disk.mkdir(os.path.dirname(target))
            self._disk.fsync_dir(self._root)
            self._folder_is_named = True
        for _ in range(3):
            try:
                self._link(place.path, target)
                break
            except FileExistsError:
                if self._is_same(place.recipe, item.digest):
                    self._sync_files([target])
                    break
        else:
            raise StorageIOError(f"{target} keeps coming back", path=target, operation="publish", errno=None)
        self._disk.fsync_dir(os.path.dirname(target))
        size = self._disk.stat(target)
        assert size is not None
        stat = BlobStat(
            item.digest, item.size, size.st_size, len(place.recipe), cut=Cut(place.recipe, tuple(place.appended.fresh))
        )
        self._spend_cut(place)
        return stat

    def _is_same(self, made: Recipe, digest: str) -> bool:
        """Whether the recipe that has the name lists the same chunks; one that does not is set aside: no row has it."""
        try:
            found, _ = self.recipes.read(digest)
        except BlobMissingError:
            return False
        except BlobDamagedError:
            found = Recipe()
        if (found.digests, found.starts) == (made.digests, made.starts):
            return True
        with contextlib.suppress(FileNotFoundError):
            self._set_aside(self.recipes.path(digest))
        return False

    def _spend_cut(self, place: _Cutting) -> None:
        place.state = _State.SPENT
        self._chunk_writer.done(place.appended)
        with contextlib.suppress(HoldfastError, FileNotFoundError):
            self._disk.unlink(place.path)
