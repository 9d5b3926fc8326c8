"""Takes one content in as chunks: those that the store lacks go to packs, all of them into its recipe.

The caller's thread reads, cuts and looks up; one thread hashes the whole, others compress what is new. What is between
them is limited in bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from typing import BinaryIO

from holdfast.blobs.chunks import cutter
from holdfast.blobs.chunks.appended import begun, seems_appended, shared
from holdfast.blobs.chunks.expected import Expected
from holdfast.blobs.chunks.intake import Intake
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
        with (
            Intake(source) as intake,
            ThreadPoolExecutor(self._workers, thread_name_prefix="holdfast-zstd") as pool,
        ):
            recipe, held = _begin(source, intake, old)
            expected = Expected(old, met=len(recipe))
            new = _New(self._packs, pool, appended)
            for raw, chunk in cutter.cut(intake.window, expected=expected, held=held, start=recipe.size):
                recipe.add(raw, len(chunk))
                if expected.shared or raw in new.written or has(raw):
                    continue
                new.add(raw, chunk)
                if keep is not None and appended.bytes >= KEEP_BYTES:
                    self._keep_early(appended, keep)
                    new.written.clear()  # they have rows now
            new.finish()
            recipe.digest = intake.digest()
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

    def _keep_early(self, appended: Appended, keep: Keep) -> None:
        self.sync(appended)
        keep(appended.fresh)
        self.done(appended)
        appended.fresh, appended.bytes = [], 0


class _New:
    """Chunks on their way to packs, compressed by others a group at a time. `written`: their raw digests."""

    def __init__(self, packs: PackWriter, pool: ThreadPoolExecutor, appended: Appended) -> None:
        self.written = set[bytes]()
        self._packs = packs
        self._pool = pool
        self._appended = appended
        self._group: list[tuple[bytes, bytes]] = []
        self._waiting = 0
        self._jobs: deque[Future[Batch]] = deque()

    def add(self, raw: bytes, chunk: memoryview) -> None:
        """One more."""
        self.written.add(raw)
        self._group.append((raw, bytes(chunk)))
        self._waiting += len(chunk)
        if self._waiting >= GROUP_BYTES:
            self._jobs.append(self._pool.submit(prepare, self._group))
            self._group, self._waiting = [], 0
            if len(self._jobs) > _GROUPS_AHEAD:
                self._append(self._jobs.popleft().result())

    def finish(self) -> None:
        """Append what is under way."""
        while self._jobs:
            self._append(self._jobs.popleft().result())
        if self._group:
            self._append(prepare(self._group))

    def _append(self, batch: Batch) -> None:
        written = self._packs.append(batch)
        self._appended.waits.append(written)
        self._appended.fresh += zip([raw for raw, _ in batch.members], written.spots, strict=True)
        self._appended.bytes += len(batch.stored)


def _begin(source: BinaryIO, intake: Intake, old: Recipe | None) -> tuple[Recipe, bytes]:
    """(the recipe, bytes read and not cut yet) to go on with: behind `old` if the source has it."""
    if old is not None and len(old) and seems_appended(source, old):
        last = shared(intake, old)
        if last is not None:
            return begun(old), last
        intake.again()
    return Recipe(), b""
