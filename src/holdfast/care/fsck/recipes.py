"""Checks recipes: those that rows speak of with all their chunks and as a whole, the others by their own words."""

from __future__ import annotations

from holdfast.blobs.chunks import reader
from holdfast.blobs.contract import BlobStat
from holdfast.care.fsck.scene import Scene
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError
from holdfast.formats import paths
from holdfast.index.audit import ContentRow
from holdfast.values import digest as digests


def proven(scene: Scene, digest: str) -> BlobStat:
    """Read a content by its recipe: every chunk, and the whole. BlobMissingError, BlobDamagedError.

    A chunk that is gone is damage of the content: its recipe is there, and some of it may be.
    """
    needs = scene.needs
    assert needs is not None

    def fetch(raw: bytes) -> bytes:
        chunk = digests.text(raw)
        spot = needs.index.physical.chunk(chunk)
        try:
            if spot is not None:
                return scene.packs.read(chunk, spot)
        except BlobMissingError:
            pass
        reason = f"no pack holds its chunk {chunk}"
        raise BlobDamagedError(f"{digest} is damaged: {reason}", digest=digest, path="", reason=reason, chunk=chunk)

    recipe, stored = scene.recipes.read(digest)
    reader.prove(recipe, fetch)
    return BlobStat(digest, recipe.size, stored, len(recipe))


def check_recipes(scene: Scene) -> None:
    """Recipes that no row speaks of: of no use, or, where rows cannot be had, perhaps all that is left."""
    try:
        for entry in scene.recipes.walk():
            assert entry.digest is not None
            scene.out.checked["recipes"] += 1
            _check(scene, entry.digest, entry.stored_bytes)
    except HoldfastError as error:
        if not scene.out.has("wrong-type"):
            scene.out.found("unreadable", paths.RECIPES + "/", error.message)


def _check(scene: Scene, digest: str, stored: int) -> None:
    if scene.needs is None or not scene.knows_all:
        return
    row = _row(scene, digest)
    if row is not None and (row.cut or row.wanted):
        return  # checked with all contents, or missed there
    with scene.look_again() as confirmed:
        row = _row(scene, digest)  # the index may have been opened anew
    if row is None or not (row.cut or row.wanted):
        doubt = {} if confirmed else {"confirmed": False}
        path = paths.recipe_file(digests.raw(digest))
        scene.out.found("blob-unreferenced", path, f"a recipe of {stored} bytes", digest=digest, **doubt)


def _row(scene: Scene, digest: str) -> ContentRow | None:
    return None if scene.needs is None else scene.needs.content(digests.raw(digest))
