"""Reads contents whole and hands everything on in the order in which it came: members of packs many at once, in the
order of the packs; blobs' files two at a time and a few ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from holdfast.blobs.contract import BlobStat
from holdfast.blobs.packs import bulk
from holdfast.blobs.packs.store import stat_of
from holdfast.care.fsck import recipes
from holdfast.care.fsck.chosen import Pair
from holdfast.care.fsck.scene import Scene
from holdfast.errors import HoldfastError
from holdfast.values import digest as digests

_WORKERS = 2
_AHEAD = 32
_WINDOW = 64_000
"""So many contents are put in the order of their places at a time: some 600 bytes each. Each window opens nearly all
frames, for digests have nothing to do with places."""

_Reading = Future[BlobStat | HoldfastError | None]


def read(scene: Scene, pairs: Iterator[Pair], *, again: bool = False) -> Iterator[Pair]:
    """The same pairs in the same order; the files of those that are chosen (`again`: of all) were read whole.

    Where time is up, the rest is handed on unread (`left`), but for the first: each run comes further.
    """
    if scene.quick:
        yield from pairs
    elif scene.chosen.timed:
        yield from _read_files(scene, ((pair, again or scene.chosen.wants(pair)) for pair in pairs), again=again)
    else:
        while window := [(pair, again or scene.chosen.wants(pair)) for pair in islice(pairs, _WINDOW)]:
            _read_members(scene, [pair for pair, wanted in window if wanted and pair.spot is not None])
            files = ((pair, wanted and pair.spot is None) for pair, wanted in window)
            yield from _read_files(scene, files, again=again)


def _read_members(scene: Scene, members: Sequence[Pair]) -> None:
    """Each proven by its digest; one that is not where it should be is read alone, which says what is wrong."""
    wanted = [(digests.text(pair.raw), pair.spot) for pair in members]
    for number, content in bulk.members(scene.packs, wanted):
        digest, spot = wanted[number]
        pair = members[number]
        pair.seen = stat_of(digest, spot) if spot is not None and content is not None else verified(scene, pair)
    scene.out.read += len(members)
    scene.out.read_bytes += sum(pair.file_bytes or 0 for pair in members)


def _read_files(scene: Scene, pairs: Iterable[tuple[Pair, bool]], *, again: bool) -> Iterator[Pair]:
    waiting: deque[tuple[Pair, _Reading | None]] = deque()
    begun = False
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="holdfast-fsck") as pool:
        try:
            for pair, wanted in pairs:
                if not wanted and not waiting:
                    yield pair  # most are in packs, and were read before
                    continue
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
    _seen(scene, pair, reading.result())
    return pair


def _seen(scene: Scene, pair: Pair, found: BlobStat | HoldfastError | None) -> None:
    pair.seen = found
    scene.out.read += 1
    scene.out.read_bytes += pair.file_bytes or 0


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
