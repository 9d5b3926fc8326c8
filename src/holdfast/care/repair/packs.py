"""Repairs packs: members are found elsewhere, damaged ones kept aside, and what has lost its headers written again."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from holdfast.blobs.chunks import ChunkedReader, RecipeFolder
from holdfast.blobs.packs import Hole, PackFolder
from holdfast.blobs.packs.writer import opened
from holdfast.blobs.reader import buffered
from holdfast.care.repair import holes
from holdfast.care.repair.report import Bench
from holdfast.disk import Disk
from holdfast.engine import repacking
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import BlobMissingError, HoldfastError
from holdfast.formats import paths
from holdfast.formats.pack import Header, Spot
from holdfast.values import digest as digests

Found = dict[bytes, list[tuple[str, Spot]]]
"""Places in packs of some contents, by raw digest: (the store's folder, the place)."""


def places(stores: list[str], wanted: holes.Wanted, disk: Disk) -> Found:
    """Where the packs of some stores have contents that are looked for: as headers list them, then without headers."""
    found: Found = {}
    for store in stores:
        folder = PackFolder(store, disk)
        gaps: list[tuple[str, Hole]] = []
        try:
            for name, part in _parts(folder):
                if isinstance(part, Hole):
                    gaps.append((name, part))
                    continue
                for member in part.each():
                    if member.digest in wanted:
                        found.setdefault(member.digest, []).append((store, member.spot(name)))
            for raw, spot in _in_gaps(folder, gaps, wanted):
                found.setdefault(raw, []).append((store, spot))
        finally:
            folder.close()
    return found


def _parts(folder: PackFolder) -> Iterator[tuple[str, Header | Hole]]:
    """All appends and holes of all packs, as far as they can be read."""
    with contextlib.suppress(HoldfastError):
        for name in folder.names():
            with contextlib.suppress(HoldfastError, FileNotFoundError), folder.scan(name) as scan:
                for part in scan.parts():
                    yield name, part


def _in_gaps(folder: PackFolder, gaps: list[tuple[str, Hole]], wanted: holes.Wanted) -> Iterator[tuple[bytes, Spot]]:
    """What no header lists; what other headers list may stand beside it."""
    if not gaps:
        return
    neighbours = holes.Neighbours(wanted)
    for _, part in _parts(folder):
        if isinstance(part, Header):
            for digest, size in part.members:
                neighbours.add(digest, size)
    for name, gap in gaps:
        with contextlib.suppress(HoldfastError, FileNotFoundError):
            yield from holes.spots(folder, name, gap, wanted, neighbours)


def contents(found: Found, raw: bytes, disk: Disk) -> Iterator[tuple[str, bytes]]:
    """(where, content) of each place that has it, proven."""
    for store, spot in found.get(raw, []):
        folder = PackFolder(store, disk)
        try:
            with contextlib.suppress(HoldfastError):
                yield f"{store}/{paths.pack_file(spot.pack)}", folder.read(digests.text(raw), spot)
        finally:
            folder.close()


def by_recipe(store: str, digest: str, disk: Disk) -> Iterator[tuple[str, BinaryIO]]:
    """(where, the content) as the recipe of a store lists it, and its packs have the chunks. Nothing is proven yet."""
    try:
        recipe, stored = RecipeFolder(store, disk).read(digest)
    except HoldfastError:
        return
    found = places([store], dict(recipe), disk)

    def fetch(raw: bytes) -> bytes:
        for _, data in contents(found, raw, disk):
            return data
        raise BlobMissingError(f"no pack holds chunk {digests.text(raw)}", digest=digests.text(raw), path=paths.PACKS)

    where = os.path.join(store, paths.recipe_file(digests.raw(digest)))
    yield where, cast("BinaryIO", buffered(ChunkedReader(recipe, fetch, stored)))


def keep_aside(bench: Bench, digest: str, spot: Spot) -> str:
    """Copy the damaged frame of a member to quarantine, durable; its path there. The pack itself is not touched."""
    name = f"{digest.removeprefix(digests.PREFIX)}.zst.{secrets.token_hex(8)}"
    target = bench.path(f"{paths.QUARANTINE}/{name}")
    with contextlib.suppress(FileNotFoundError), opened(bench.disk, bench.path(paths.pack_file(spot.pack))) as source:
        data = bench.disk.pread(source, min(max(spot.stored_bytes, 0), 1 << 24), max(spot.offset, 0), spot.pack)
        fd = bench.disk.create(target)
        try:
            bench.disk.write(fd, data, target)
            bench.disk.fsync(fd, target)
        finally:
            bench.disk.close(fd)
        bench.disk.fsync_dir(os.path.dirname(target))
    return f"{paths.QUARANTINE}/{name}"


def mend_packs(bench: Bench, handle: Handle, names: list[str]) -> None:
    """Write what is left of damaged packs again; the old files stay until gc has waited long enough."""
    for name in dict.fromkeys(names):
        with repacking.holding(handle, [name]) as held:
            for one in held:
                left = repacking.rewrite(handle, one.name, lambda: _commit(handle))
                if not left:
                    bench.did("rewrite-pack", paths.pack_file(name), "what it holds is in another pack now")
                else:
                    bench.trouble.append(f"{paths.pack_file(name)}: {left} contents could not be read")
    with write(handle, what="repair") as unit:
        handle.index.physical.packs.condemn(unit.now_us)


@contextmanager
def _commit(handle: Handle) -> Iterator[object]:
    with write(handle, what="repair") as unit:
        yield unit
