"""Finds the places of content from files alone, for rows that are made anew or were never made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from holdfast.blobs import LocalBlobs
from holdfast.blobs.chunks import RecipeFolder
from holdfast.blobs.packs import PackFolder
from holdfast.blobs.packs.scan import is_sealed
from holdfast.blobs.packs.unsynced import members_of
from holdfast.blobs.packs.writer import opened
from holdfast.disk import Disk
from holdfast.errors import DamageError, HoldfastError, StoreError
from holdfast.formats.pack import Spot
from holdfast.formats.recipe import Recipe
from holdfast.index.chunked import ChunkRows
from holdfast.index.physical import PhysicalRows
from holdfast.values import digest as digests

_NAMED = 20
"""So many reasons are kept: a disk that fails gives one for each content."""


def from_packs(
    physical: PhysicalRows, root: str, disk: Disk, *, wanted: Callable[[str], bool] = lambda _: True,
    seen: Callable[[int], None] = lambda _: None,
) -> list[str]:  # fmt: skip
    """Rows for members of packs whose content is `wanted`, in order of (pack, offset); the first sound one is taken.

    A pack that is not sealed may end in bytes that no sync has reached, so each of its members is read. So is a content
    that has a row already: of two places one may be damaged. A pack that has lost headers serves where no other does:
    repair has written it again, perhaps, and it only waits for gc; and each of its members is read.

    Returns what kept packs from being read, in words.
    """
    unread: list[str] = []
    holed: set[str] = set()
    believed: list[tuple[str, Spot]] = []  # of the pack that is being walked through, what was not read
    folder = PackFolder(root, disk)
    try:
        for count, (digest, spot, is_sure) in enumerate(_members(folder, disk, unread, holed)):
            seen(count)
            if believed and believed[0][1].pack != spot.pack:
                _doubt(physical, folder, believed, holed)
            if not wanted(digest):
                continue
            place = physical.place(digest)
            doubted = place is not None and place.spot is not None and place.spot.pack in holed - {spot.pack}
            if place is not None and not doubted and _is_sound(root, disk, folder, digest, place.spot):
                continue
            if is_sure and place is None:
                believed.append((digest, spot))
            elif not _can_be_read(folder, digest, spot, unread):
                continue
            physical.register(digest, spot.stored_bytes, 1, spot=spot)
        _doubt(physical, folder, believed, holed)
    finally:
        folder.close()
    return unread


def _doubt(
    rows: PhysicalRows | ChunkRows, folder: PackFolder, believed: list[tuple[str, Spot]], holed: set[str]
) -> None:
    """Where a pack has lost headers, members are damaged too, perhaps: those have no place. `believed` is emptied."""
    for digest, spot in believed if believed and believed[0][1].pack in holed else ():
        place = rows.place(digest)
        try:
            folder.read(digest, spot)
        except DamageError:
            if place is not None and place.spot == spot:
                rows.remove(place.key)
        except HoldfastError:
            continue  # it says nothing about the content
    believed.clear()


def from_kept(physical: PhysicalRows) -> None:
    """Rows for contents that have none and that an index keeps, because no sync had reached them in their packs."""
    for name in physical.pending.packs():
        for kept in physical.pending.of(name):
            for member, _ in members_of(name, kept.start, kept.data):
                digest = digests.text(member.digest)
                if physical.place(digest) is None:
                    physical.register(digest, member.stored, 1, spot=member.spot(name))


def from_recipes(
    physical: PhysicalRows, root: str, disk: Disk, *, wanted: Callable[[str], bool] = lambda _: True,
) -> list[str]:  # fmt: skip
    """Rows for contents that are `wanted` and have a recipe, all of whose chunks are in packs; and for these chunks.

    A file of its own that such a content has too is superseded. Returns what kept files from being read, in words.
    """
    unread: list[str] = []
    recipes = RecipeFolder(root, disk)
    physical.chunks.forget_expected()
    found = [entry.digest for entry in recipes.walk() if entry.digest is not None and wanted(entry.digest)]
    for digest in found:
        if (recipe := _recipe(recipes, digest, unread)) is not None:
            physical.chunks.expect(recipe.digests)
    if not found:
        return unread
    _place_chunks(physical, root, disk, unread)
    for digest in found:
        recipe = _recipe(recipes, digest, [])
        if recipe is None or next(physical.chunks.doubtful(recipe.digests), None) is not None:
            continue
        facts = disk.stat(recipes.path(digest))
        if facts is not None:
            physical.register(digest, facts.st_size, len(recipe), cut=True)
    return unread


def _recipe(recipes: RecipeFolder, digest: str, unread: list[str]) -> Recipe | None:
    """A recipe if it can be read; a damaged one is no presence: fsck names it."""
    try:
        return recipes.read(digest)[0]
    except DamageError:
        return None
    except StoreError as error:
        unread.append(error.message)
        return None


def _place_chunks(physical: PhysicalRows, root: str, disk: Disk, unread: list[str]) -> None:
    folder = PackFolder(root, disk)
    holed: set[str] = set()
    believed: list[tuple[str, Spot]] = []
    try:
        for digest, spot, is_sure in _members(folder, disk, unread, holed):
            if believed and believed[0][1].pack != spot.pack:
                _doubt(physical.chunks, folder, believed, holed)
            if not physical.chunks.is_expected(digests.raw(digest)):
                continue
            place = physical.chunks.place(digest)
            doubted = place is not None and place.spot.pack in holed - {spot.pack}
            if place is not None and not doubted and _can_be_read(folder, digest, place.spot):
                if place.condemned_us is not None:
                    physical.chunks.revive(place.key)
            elif is_sure and place is None:
                believed.append((digest, spot))
                physical.register_chunk(digest, spot)
            elif _can_be_read(folder, digest, spot):
                physical.register_chunk(digest, spot)
        _doubt(physical.chunks, folder, believed, holed)
    finally:
        folder.close()


def has_content(root: str, disk: Disk) -> bool:
    """Whether there is any file of a blob, or any member of a pack."""
    loose = any(entry.digest for entry in LocalBlobs(root, disk).walk())
    return loose or next(PackFolder(root, disk).members([]), None) is not None


def _members(folder: PackFolder, disk: Disk, unread: list[str], holed: set[str]) -> Iterator[tuple[str, Spot, bool]]:
    sealed: tuple[str, bool] = ("", False)
    for name, member in folder.members(unread, holed):
        if name != sealed[0]:
            sealed = name, _sealed(folder, disk, name)
        yield digests.text(member.digest), member.spot(name), sealed[1]


def _sealed(folder: PackFolder, disk: Disk, name: str) -> bool:
    with contextlib.suppress(HoldfastError, FileNotFoundError), opened(disk, folder.path(name)) as fd:
        return is_sealed(disk, fd, folder.path(name), name)
    return False


def _is_sound(root: str, disk: Disk, folder: PackFolder, digest: str, spot: Spot | None) -> bool:
    if spot is not None:
        return _can_be_read(folder, digest, spot)
    try:
        LocalBlobs(root, disk).verify(digest)
    except HoldfastError:
        return False
    return True


def _can_be_read(folder: PackFolder, digest: str, spot: Spot, unread: list[str] | None = None) -> bool:
    """Whether the content is there. `unread` takes what says nothing about it: that the disk did not give it back."""
    try:
        folder.read(digest, spot)
    except DamageError:
        return False
    except HoldfastError as error:
        if unread is not None:
            unread += [error.message] if len(unread) < _NAMED else []
        return False
    return True
