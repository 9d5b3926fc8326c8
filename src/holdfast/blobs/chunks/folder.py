"""All recipes of a store: their names, one by the digest of what it makes."""

from __future__ import annotations

import os
import stat as stat_flags
from collections.abc import Iterator

from holdfast.blobs.contract import WalkEntry
from holdfast.blobs.files import damaged
from holdfast.disk import Disk
from holdfast.errors import BlobDamagedError, BlobMissingError
from holdfast.formats import paths, recipe
from holdfast.formats.recipe import Recipe
from holdfast.values import digest as digests


class RecipeFolder:
    """Reads `recipes/`. For many threads at once; holds nothing open."""

    def __init__(self, root: str, disk: Disk) -> None:
        self._root = os.path.abspath(root)
        self._disk = disk

    def path(self, digest: str) -> str:
        """Where the recipe of a content is or should be."""
        return f"{self._root}/{paths.recipe_file(digests.raw(digest))}"

    def walk(self) -> Iterator[WalkEntry]:
        """Every recipe's file, in order of digests. Nothing is read."""
        for file in self._disk.listdir(os.path.join(self._root, paths.RECIPES)):
            raw = paths.parse_recipe(file)
            there = self._disk.stat(os.path.join(self._root, paths.RECIPES, file))
            if raw is not None and there is not None and stat_flags.S_ISREG(there.st_mode):
                entry = digests.text(raw), there.st_size, there.st_mtime_ns // 1000
                yield WalkEntry(f"{paths.RECIPES}/{file}", *entry)

    def read(self, digest: str) -> tuple[Recipe, int]:
        """(the recipe of a content, bytes of its file), proven. BlobMissingError, BlobDamagedError."""
        path = self.path(digest)
        relative = paths.recipe_file(digests.raw(digest))
        there = self._disk.stat(path)
        if there is None:
            raise BlobMissingError(f"no file holds {digest}", digest=digest, path=relative)
        if not stat_flags.S_ISREG(there.st_mode) or there.st_size > recipe.MAX_BYTES:
            raise damaged(digest, relative, "it is not a regular file, or much too long")
        try:
            data = self._disk.read_file(path, there.st_size)
            return recipe.decode(data, digests.raw(digest)), len(data)
        except FileNotFoundError as error:
            raise BlobMissingError(f"no file holds {digest}", digest=digest, path=relative) from error
        except BlobDamagedError as error:
            raise damaged(digest, relative, error.message) from error
