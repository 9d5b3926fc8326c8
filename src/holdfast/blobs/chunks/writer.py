"""Takes one content in as chunks: those that the store lacks go to packs, all of them into its recipe.

The caller's thread reads, cuts and looks up; one thread hashes the whole, others compress what is new. What is between
them is limited in bytes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from typing import BinaryIO

from holdfast.blobs.chunks import cutter
from holdfast.blobs.chunks.appended import begun, seems_appended, shared
from holdfast.blobs.compress import read_full
from holdfast.blobs.packs.writer import PackWriter, Written
from holdfast.formats.appending import Batch, prepare
from holdfast.formats.pack import Spot
from holdfast.formats.recipe import Recipe
from holdfast.values.frozen import dataclass

GROUP_BYTES = 1024 * 1024
"""New chunks are compressed and appended so much at a time."""

KEEP_BYTES = 1024 * 1024 * 1024
"""So many bytes of new chunks get their rows before the rest is read: until then each pack they are in stays open."""

_GROUPS_AHEAD = 8
_HASHES_AHEAD = 2

Fresh = list[tuple[bytes, Spot]]
Keep = Callable[[Sequence[tuple[bytes, Spot]]], None]
"""Commits rows for chunks that are durable in packs, before any recipe lists them."""


@dataclass(slots=True)
class Appended:
    """What one content has appended to packs. `waits`: appends whose packs stay locked until their rows are there."""

    fresh: Fresh = field(default_factory=list)
    waits: list[Written] = field(default_factory=list)
    bytes: int = 0


class ChunkWriter:
    """Writes chunks by way of a handle's pack writer."""

    def __init__(self, packs: PackWriter, workers: int) -> None:
        self._packs = packs
        self._workers = workers

    def take(
        self, source: BinaryIO, appended: Appended, *, has: Callable[[bytes], bool], keep: Keep | None,
        old: Recipe | None = None,
    ) -> Recipe:  # fmt: skip
        """Cut a source; a chunk that `has` knows is not written. `old`: what it may begin with, all of it stored.

        What is appended is on disk only after `sync`, and is in `appended` also if this fails.

        Without `keep` the packs of all that is new stay open until the content is published.
        """
        recipe, whole, held = _begin(source, old)
        written = set[bytes]()
        with (
            ThreadPoolExecutor(1, thread_name_prefix="holdfast-sha256") as hasher,
            ThreadPoolExecutor(self._workers, thread_name_prefix="holdfast-zstd") as pool,
        ):
            jobs: deque[Future[Batch]] = deque()
            hashing: deque[Future[None]] = deque()

            def passed(piece: bytes) -> None:
                hashing.append(hasher.submit(whole.update, piece))
                if len(hashing) > _HASHES_AHEAD:
                    hashing.popleft().result()

            group: list[tuple[bytes, bytes]] = []
            waiting = 0
            pieces = cutter.cut(lambda size: read_full(source, size), passed, held=held, start=recipe.size)
            for chunk in pieces:
                raw = hashlib.sha256(chunk).digest()
                recipe.add(raw, len(chunk))
                if raw in written or has(raw):
                    continue
                written.add(raw)
                group.append((raw, bytes(chunk)))
                waiting += len(chunk)
                if waiting >= GROUP_BYTES:
                    jobs.append(pool.submit(prepare, group))
                    group, waiting = [], 0
                    if len(jobs) > _GROUPS_AHEAD:
                        self._append(jobs.popleft().result(), appended)
                    if keep is not None and appended.bytes >= KEEP_BYTES:
                        self._keep_early(appended, keep)
                        written.clear()  # they have rows now
            while jobs:
                self._append(jobs.popleft().result(), appended)
            if group:
                self._append(prepare(group), appended)
            for job in hashing:
                job.result()
        recipe.digest = whole.digest()
        return recipe

    def sync(self, appended: Appended) -> None:
        """Make what was appended durable: one sync of each pack that it went to."""
        last = {id(one.pack): one for one in appended.waits}
        for one in last.values():
            self._packs.sync(one)

    def done(self, appended: Appended) -> None:
        """The rows of what was appended are committed, or never will be: let go of the packs."""
        waits, appended.waits = appended.waits, []
        for one in waits:
            self._packs.done(one)

    def _append(self, batch: Batch, appended: Appended) -> None:
        written = self._packs.append(batch)
        appended.waits.append(written)
        appended.fresh += zip([raw for raw, _ in batch.members], written.spots, strict=True)
        appended.bytes += len(batch.stored)

    def _keep_early(self, appended: Appended, keep: Keep) -> None:
        self.sync(appended)
        keep(appended.fresh)
        self.done(appended)
        appended.fresh, appended.bytes = [], 0


def _begin(source: BinaryIO, old: Recipe | None) -> tuple[Recipe, hashlib._Hash, bytes]:
    """(the recipe, the running digest, bytes read and not cut yet) to go on with: behind `old` if the source has it."""
    if old is not None and len(old) and seems_appended(source, old):
        whole = hashlib.sha256()
        last = shared(source, old, whole)
        if last is not None:
            return begun(old), whole, last
        source.seek(0)
    return Recipe(), hashlib.sha256(), b""
