"""Reads blobs' files whole, two at a time and a few ahead, and hands everything on in the order in which it came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from holdfast.blobs.contract import BlobStat
from holdfast.blobs.packs.store import stat_of
from holdfast.care.fsck import recipes
from holdfast.care.fsck.chosen import Pair
from holdfast.care.fsck.scene import Scene
from holdfast.errors import HoldfastError
from holdfast.values import digest as digests

_WORKERS = 2
_AHEAD = 32

_Reading = Future[BlobStat | HoldfastError | None]


def read(scene: Scene, pairs: Iterator[Pair], *, again: bool = False) -> Iterator[Pair]:
    """The same pairs in the same order; the files of those that are chosen (`again`: of all) were read whole.

    Where time is up, the rest is handed on unread (`left`), but for the first: each run comes further.
    """
    if scene.quick:
        yield from pairs
        return
    waiting: deque[tuple[Pair, _Reading | None]] = deque()
    begun = False
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="holdfast-fsck") as pool:
        try:
            for pair in pairs:
                wanted = again or scene.chosen.wants(pair)
                over = begun and not again and scene.chosen.over()
                if over:
                    _give_up(waiting)
                pair.left = wanted and over
                waiting.append((pair, pool.submit(verified, scene, pair) if wanted and not over else None))
                begun |= wanted
                if len(waiting) > _AHEAD:
                    yield _done(scene, *waiting.popleft())
            while waiting:
                if not again and scene.chosen.over():
                    _give_up(waiting)
                yield _done(scene, *waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _give_up(waiting: deque[tuple[Pair, _Reading | None]]) -> None:
    """Take back what no thread has begun to read, but for the very first; from the end, so that no hole is left."""
    readings = [reading for _, reading in waiting if reading is not None]
    for reading in reversed(readings[1:]):
        reading.cancel()


def _done(scene: Scene, pair: Pair, reading: _Reading | None) -> Pair:
    if reading is None or reading.cancelled():
        pair.left |= reading is not None
        return pair
    pair.seen = reading.result()
    scene.out.read += 1
    scene.out.read_bytes += pair.file_bytes or 0
    return pair


def verified(scene: Scene, pair: Pair) -> BlobStat | HoldfastError | None:
    """What reading a file whole gives: its sizes, or the error."""
    if pair.file_bytes is None:
        return None
    digest = digests.text(pair.raw)
    try:
        if pair.cut:
            return recipes.proven(scene, digest)
        if pair.spot is not None:
            scene.packs.read(digest, pair.spot)
            return stat_of(digest, pair.spot)
        return scene.loose.verify(digest)
    except HoldfastError as error:
        return error
