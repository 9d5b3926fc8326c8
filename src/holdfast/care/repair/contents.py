"""Mends contents: from what is there, from the sources, or by saying that they are lost; keeps strangers if asked."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, cast

from holdfast.blobs.contract import BlobStore, Staged
from holdfast.blobs.reader import buffered
from holdfast.care.repair import packs, recipes
from holdfast.care.repair.packs import keep_aside
from holdfast.care.repair.plan import Spool
from holdfast.care.repair.report import Bench
from holdfast.care.repair.sources import Sources
from holdfast.engine import chunk_rows
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError, NoSpaceError
from holdfast.formats import paths
from holdfast.kinds.collections import Collections
from holdfast.kinds.readings import Artifacts
from holdfast.values import digest as digests

LOST_AND_FOUND = "lost+found"
_MARK = {"holdfast": "lost and found"}


def mend_contents(bench: Bench, handle: Handle, contents: Spool, sources: Sources) -> None:
    """Each content by itself, the writer lock held for a moment at a time. Durable on return."""
    sources.look_for(contents)
    recipes.heal(bench, handle, contents, sources)
    for digest, _ in contents:
        staged = None if is_sound(handle.blobs, digest) else _fetched(handle, digest, sources)
        try:
            with write(handle, what="repair"):
                _mend(bench, handle, digest, staged)
        finally:
            if staged is not None:
                handle.blobs.discard([staged[1]])


def is_sound(blobs: BlobStore, digest: str) -> bool:
    """Whether the store's own file of a content is there and right, read whole."""
    try:
        blobs.verify(digest)
    except HoldfastError:
        return False
    return True


def _fetched(handle: Handle, digest: str, sources: Sources) -> tuple[str, Staged] | None:
    """The content from the first source whose bytes are really it, staged; no lock is held."""
    if handle.index.physical.content_key(digest) is None:
        return None
    for where, file in sources.offers(digest):
        with file:
            try:
                staged = handle.blobs.stage(file)
            except NoSpaceError:
                raise
            except (HoldfastError, OSError):
                continue
        if staged.digest == digest:
            return where, staged
        handle.blobs.discard([staged])
    return None


def _mend(bench: Bench, handle: Handle, digest: str, staged: tuple[str, Staged] | None) -> None:
    physical = handle.index.physical
    if physical.content_key(digest) is None:
        return  # rows were derived anew since, and no change speaks of it: it is a stranger now
    path = paths.blob_file(digests.raw(digest))
    if staged is not None:
        (new,) = handle.blobs.publish([staged[1]])
        chunk_rows.place(physical, new)
    try:
        stat = handle.blobs.verify(digest)
    except BlobMissingError:
        _give_up(bench, handle, digest, "no file holds it")  # of cut content, a chunk
    except BlobDamagedError as error:
        place = physical.place(digest)
        if place is not None and place.cut:
            _give_up(bench, handle, digest, recipes.set_aside(bench, handle, digest, error))
        elif place is not None and place.spot is not None:
            aside = keep_aside(bench, digest, place.spot)
            _give_up(bench, handle, digest, f"its damaged frame was copied to {aside}")
        else:
            aside = bench.quarantine(path, str(error.fields.get("reason") or error.message))
            _give_up(bench, handle, digest, f"its damaged file is now {aside}")
    else:
        place = physical.place(digest)
        if staged is not None:
            bench.did("restore-blob", path, f"from {staged[0]}")
        elif place is None or (place.stored_bytes, place.frames, place.spot, place.cut) != (
            stat.stored_bytes, stat.frames, stat.spot, stat.cut is not None,
        ):  # fmt: skip
            bench.did("register-blob", path, "its file is sound")
        chunk_rows.place(physical, stat)


def _give_up(bench: Bench, handle: Handle, digest: str, why: str) -> None:
    """Presence is a row: without one the content is missing, and whoever reads it is told."""
    place = handle.index.physical.place(digest)
    if place is not None:
        handle.index.physical.remove(place.key)
        handle.index.physical.lose_notes()
        bench.did("give-up-blob", paths.blob_file(digests.raw(digest)), why)


# -- what nothing refers to --------------------------------------------------------------------------------------------


def keep_strangers(bench: Bench, handle: Handle, strangers: Spool) -> None:
    """Sound files that no row speaks of become artifacts in `lost+found`, named by digest; damaged ones go aside."""
    artifacts = Artifacts(handle)
    known = {digests.raw(digest): size for digest, size in strangers}
    packed = packs.places([bench.root], known, bench.disk)
    for digest, _ in strangers:
        physical = handle.index.physical
        path = paths.blob_file(digests.raw(digest))
        if physical.wanted(digest) or physical.place(digest) is not None:
            continue
        try:
            name = f"{LOST_AND_FOUND}/{digest.removeprefix(digests.PREFIX)}"
            with _stranger(bench, handle, digest, packed) as file:
                artifacts.put(name, file, tags=[LOST_AND_FOUND], message="found by repair: no revision referred to it")
        except BlobDamagedError:
            with write(handle, what="repair"):
                if os.path.lexists(bench.path(path)) and not is_sound(handle.blobs, digest):
                    bench.quarantine(path, "damaged, and nothing refers to it")
        except BlobMissingError:
            continue
        else:
            bench.did("keep-in-lost-found", name, path)
    _mark(handle)


def _stranger(bench: Bench, handle: Handle, digest: str, packed: packs.Found) -> BinaryIO:
    """A content without a row, proven: from a pack, or a file of its own."""
    for _, data in packs.contents(packed, digests.raw(digest), bench.disk):
        return io.BytesIO(data)
    for _, file in packs.by_recipe(bench.root, digest, bench.disk):
        return file
    handle.blobs.verify(digest)
    return cast("BinaryIO", buffered(handle.blobs.open(digest)))


def _mark(handle: Handle) -> None:
    collections = Collections(handle)
    try:
        found = collections.get(LOST_AND_FOUND)
    except HoldfastError:
        return
    if found.metadata != _MARK:
        collections.update(LOST_AND_FOUND, metadata=_MARK)
