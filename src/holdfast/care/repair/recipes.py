"""Repairs content that was cut: a source that has the whole gives its chunks, which heals all that share them."""

from __future__ import annotations

from holdfast.blobs.chunks import ChunkedBlobs, RecipeFolder
from holdfast.blobs.local import LocalBlobs
from holdfast.care.repair import packs
from holdfast.care.repair.plan import Spool
from holdfast.care.repair.report import Bench
from holdfast.care.repair.sources import Sources
from holdfast.engine import chunk_rows, cutting
from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import BlobDamagedError, BlobMissingError, HoldfastError, NoSpaceError
from holdfast.formats import paths
from holdfast.values import digest as digests


def heal(bench: Bench, handle: Handle, contents: Spool, sources: Sources) -> None:
    """Give cut contents their chunks back before any is given up. Durable on return, a content at a time."""
    blobs = handle.blobs
    if not isinstance(blobs, ChunkedBlobs):
        return
    for digest, _ in contents:
        place = handle.index.physical.place(digest)
        if place is None or not place.cut or _is_sound(blobs, digest):
            continue
        if _has_whole(handle, digest):
            with write(handle, what="repair"):
                stat = LocalBlobs(handle.root, handle.disk).stat(digest)
                if stat is not None:
                    handle.index.physical.register(digest, stat.stored_bytes, stat.frames)
                    bench.did(
                        "register-blob", paths.blob_file(digests.raw(digest)), "its file is still there, and sound"
                    )
        elif cutting.cuts(handle) is not None:
            _cut_again(bench, handle, blobs, digest, sources)


def _cut_again(bench: Bench, handle: Handle, blobs: ChunkedBlobs, digest: str, sources: Sources) -> None:
    """Cut the content as a source has it. Chunks that are sound stay where they are."""

    def is_sound(raw: bytes) -> bool:
        spot = handle.index.physical.chunk(digests.text(raw)) if handle.index.physical.has_chunk(raw) else None
        try:
            return spot is not None and bool(blobs.packs.read(digests.text(raw), spot))
        except HoldfastError:
            return False

    for where, file in sources.offers(digest):
        with file:
            try:
                staged = blobs.stage_cut(file, has=is_sound)
            except NoSpaceError:
                raise
            except (HoldfastError, OSError):
                continue
        try:
            if staged.digest == digest:
                with write(handle, what="repair"):
                    (stat,) = blobs.publish([staged])
                    chunk_rows.place(handle.index.physical, stat)
                bench.did("restore-blob", paths.recipe_file(digests.raw(digest)), f"its chunks from {where}")
                return
        finally:
            blobs.discard([staged])


def _is_sound(blobs: ChunkedBlobs, digest: str) -> bool:
    try:
        blobs.verify(digest)
    except HoldfastError:
        return False
    return True


def _has_whole(handle: Handle, digest: str) -> bool:
    try:
        LocalBlobs(handle.root, handle.disk).verify(digest)
    except HoldfastError:
        return False
    return True


def set_aside(bench: Bench, handle: Handle, digest: str, error: BlobDamagedError) -> str:
    """Keep what is left of a cut content: its damaged recipe goes to quarantine, or the frame of a damaged chunk is
    copied there; in words. The other chunks stay: gc keeps what the recipe of wanted content lists.
    """
    damaged = str(error.fields.get("digest") or "")
    spot = handle.index.physical.chunk(damaged) if damaged not in ("", digest) else None
    if spot is not None:
        return f"the frame of a damaged chunk was copied to {packs.keep_aside(bench, damaged, spot)}"
    try:
        RecipeFolder(handle.root, handle.disk).read(digest)
    except BlobDamagedError:
        aside = bench.quarantine(paths.recipe_file(digests.raw(digest)), error.message)
        return f"its damaged recipe is now {aside}"
    except BlobMissingError:
        return "its recipe is gone"
    return "chunks of it are gone; the others stay"
