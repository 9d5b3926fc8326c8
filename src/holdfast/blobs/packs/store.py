"""The blob store of a folder: small content goes into packs, the rest into files of its own.

Presence is a row, not a file: where in a pack a blob is, the index says (`Places`), and a member without a row is of
no use to anybody. So nothing is done to a pack when a member is published or deleted.
"""

from __future__ import annotations

import enum
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import field
from typing import BinaryIO, Protocol

from holdfast.blobs.compress import Shape, as_bytes_view, read_full
from holdfast.blobs.contract import BlobStat, Staged
from holdfast.blobs.files import ContentReader, FramedReader
from holdfast.blobs.local import LocalBlobs
from holdfast.blobs.packs import bulk
from holdfast.blobs.packs.folder import PackFolder
from holdfast.blobs.packs.writer import PackWriter, Written
from holdfast.blobs.sources import Rejoined
from holdfast.disk import Disk
from holdfast.errors import BlobMissingError, HoldfastError, InvalidValueError, StorageIOError
from holdfast.formats.appending import Batch, prepare, prepare_one
from holdfast.formats.pack import Spot
from holdfast.values import configuration
from holdfast.values import digest as digests
from holdfast.values.frozen import dataclass

PACK_UP_TO = 64 * 1024
"""Content of up to so many bytes goes to packs; HOLDFAST_PACK_UP_TO makes it less. Measured: docs/design/013."""

KEPT_BYTES = 48 * 1024 * 1024
"""So much content of frames with several members is kept, of those read last one by one: docs/design/041."""

_APPEND_BYTES = 4 * 1024 * 1024


class Places(Protocol):
    """Who knows where members are: the index."""

    def spot(self, digest: str) -> Spot | None:
        """The place of a blob in a pack; None if it is in none."""
        ...

    def vouched(self, pack: str) -> int:
        """The largest offset in a pack that anything is known to be at; 0 if nothing is, or some of it is kept."""
        ...

    def kept(self, pack: str, offset: int, length: int) -> bytes | None:
        """Bytes of a pack that are kept elsewhere too, until a sync has reached them there; None: they are not."""
        ...


class _State(enum.Enum):
    HELD = enum.auto()  # in memory, until it is settled
    DURABLE = enum.auto()
    TO_BE_KEPT = enum.auto()  # durable by the COMMIT that makes its row
    UNKNOWN = enum.auto()
    SPENT = enum.auto()


@dataclass(slots=True)
class _Waiting:
    """One append, and how many staged contents of it are neither published nor discarded yet."""

    written: Written
    left: int = 0


@dataclass(slots=True, eq=False)
class _Group:
    """Contents that become one append, and that another thread compresses meanwhile. `members`: by raw digest."""

    batch: Future[Batch]
    members: dict[bytes, _Small] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Small:
    """Staged content for a pack: its bytes (or `group`, that has them) while it waits, then where it went."""

    state: _State
    content: bytes = b""
    spot: Spot | None = None
    waits: _Waiting | None = None
    group: _Group | None = None


class PackedBlobs(LocalBlobs):
    """Blobs in the folder `root`, those of up to `pack_up_to` bytes in packs (0: none do).

    Empty content has a file of its own.
    """

    def __init__(
        self, root: str, disk: Disk, places: Places, *, shape: Shape | None = None, pack_up_to: int | None = None
    ) -> None:
        super().__init__(root, disk, shape=shape)
        self.packs = PackFolder(root, disk, kept_bytes=KEPT_BYTES, elsewhere=places.kept)
        self.writer = PackWriter(root, disk, self.packs, places.vouched)
        self._places = places
        self._guard = threading.Lock()
        self.pack_up_to = pack_up_to_wanted() if pack_up_to is None else pack_up_to
        self._pool: ThreadPoolExecutor | None = None

    # Taking in.

    def stage(self, source: bytes | memoryview | BinaryIO, *, durable: bool = True) -> Staged:
        """As the contract says. Small content that need not be durable yet is kept in memory until it is settled."""
        if isinstance(source, bytes | bytearray | memoryview):
            view = as_bytes_view(source)
            if not 0 < len(view) <= self.pack_up_to:
                return super().stage(source, durable=durable)
            return self._stage_small(bytes(view), durable=durable)
        head = read_full(source, self.pack_up_to + 1) if self.pack_up_to else b""
        if 0 < len(head) <= self.pack_up_to:
            return self._stage_small(head, durable=durable)
        return super().stage(Rejoined(head, source), durable=durable)  # type: ignore[arg-type]

    def stage_to_keep(self, content: bytes, digest: str) -> Staged:
        """As `stage`; but what goes to a pack is durable only once the COMMIT that makes its row keeps it too.

        `digest`: of the content, as the caller has seen. Whoever commits asks `writer.to_keep`.
        """
        if not 0 < len(content) <= self.pack_up_to:
            return self.stage(content)
        written = self.writer.append(prepare_one(digests.raw(digest), content), keep=True)
        place = _Small(_State.TO_BE_KEPT, spot=written.spots[0], waits=_Waiting(written, 1))
        return _waiting(digest, len(content), place)

    def stage_all_to_keep(self, contents: Mapping[str, bytes]) -> dict[str, Staged]:
        """As `stage_to_keep` for each, by digest, in one append."""
        if not all(0 < len(one) <= self.pack_up_to for one in contents.values()):
            return {digest: self.stage_to_keep(one, digest) for digest, one in contents.items()}
        batch = _prepared(contents)
        waits = _Waiting(self.writer.append(batch, keep=True), len(contents))
        where = _spots(batch, waits.written).items()
        made = {digest: _Small(_State.TO_BE_KEPT, spot=spot, waits=waits) for digest, spot in where}
        return {digest: _waiting(digest, len(contents[digest]), place) for digest, place in made.items()}

    def stage_chunk(self, content: bytes) -> Staged:
        """Take one chunk in, into a pack whatever its size; not durable before `settle`."""
        return self._stage_small(content, durable=False)

    def stage_all(self, contents: Mapping[str, bytes]) -> list[Staged]:
        """As the contract says. What is small becomes one append, compressed by another thread until it is settled."""
        small = {digest: content for digest, content in contents.items() if 0 < len(content) <= self.pack_up_to}
        large = {digest: content for digest, content in contents.items() if digest not in small}
        staged = dict(zip(large, super().stage_all(large), strict=True))
        if small:
            group = self._group(small)
            for digest, content in small.items():
                place = group.members[digests.raw(digest)] = _Small(_State.HELD, group=group)
                staged[digest] = _waiting(digest, len(content), place)
        return [staged[digest] for digest in contents]

    def stage_batch(self, batch: Batch) -> list[Staged]:
        """As the contract says. What is small enough becomes one append as it is."""
        if max(size for _, size in batch.members) > self.pack_up_to:
            return super().stage_batch(batch)
        ready: Future[Batch] = Future()
        ready.set_result(batch)
        group = _Group(ready)
        raws = [raw for raw, _ in batch.members]
        group.members = {raw: _Small(_State.HELD, b"", None, None, group) for raw in raws}
        named = zip(digests.texts(raws), batch.members, strict=True)
        return [Staged(digest, size, size, False, group.members[raw]) for digest, (raw, size) in named]  # noqa: FBT003

    def settle(self, staged: Sequence[Staged]) -> None:
        """Small content is appended in the order in which it is given, neighbours together: one sync for all of it.

        What was staged together is settled together, whichever of it is given.
        """
        small: list[tuple[Staged, _Small]] = []
        loose: list[Staged] = []
        groups: dict[_Group, None] = {}
        for item in staged:
            place = item.place
            if not isinstance(place, _Small):
                loose.append(item)
            elif place.group is not None:
                groups[place.group] = None
            elif _live(item, place).state is _State.UNKNOWN:
                raise StorageIOError("a sync of a pack failed before", path="", operation="sync")
            elif place.state is _State.HELD:
                small.append((item, place))
        members = [place for group in groups for place in group.members.values() if place.state is not _State.SPENT]
        self._sync([self._append(group) for group in groups])
        for place in members:
            place.state = _State.DURABLE
        self._settle_small(small)
        super().settle(loose)

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        """A member of a pack is durable and in its place already; its row makes it present."""
        _refuse_unsettled(staged)
        small = [item.place for item in staged if isinstance(item.place, _Small)]
        loose = [item for item in staged if not isinstance(item.place, _Small)] if len(small) < len(staged) else []
        found = iter(super().publish(loose) if loose else ())
        stats = [
            stat_of(item.digest, item.place.spot) if isinstance(item.place, _Small) and item.place.spot else next(found)
            for item in staged
        ]
        self._spend(small)
        return stats

    def discard(self, staged: Sequence[Staged]) -> None:
        """What was appended stays where it is, without a row: gc gets rid of it."""
        self._spend([item.place for item in staged if isinstance(item.place, _Small)])
        super().discard([item for item in staged if not isinstance(item.place, _Small)])

    # Giving out.

    def stat(self, digest: str) -> BlobStat | None:
        """As the contract says; of a member, whether its pack is there and long enough."""
        spot = self._places.spot(digest)
        if spot is None:
            return super().stat(digest)
        digest = digests.text(digests.raw(digest))
        try:
            self.packs.check(digest, spot)
        except BlobMissingError:
            return None
        return stat_of(digest, spot)

    def open(self, digest: str) -> ContentReader | FramedReader:
        """Random access; a member is read whole and proven now."""
        spot = self._places.spot(digest)
        if spot is None:
            return super().open(digest)
        digest = digests.text(digests.raw(digest))
        try:
            content = self.packs.read(digest, spot)
        except BlobMissingError:
            # Rewritten since, and the old pack is gone: the row tells where to. Only once: then it is lost.
            again = self._places.spot(digest)
            if again == spot:
                raise
            if again is None:
                return super().open(digest)
            content, spot = self.packs.read(digest, again), again
        reader = ContentReader(digest, content, spot.stored_bytes)
        reader.stat = stat_of(digest, spot)
        return reader

    def read(self, digest: str, *, spot: Spot | None = None) -> bytes:
        """As the contract says. The bytes prove the place, not the place the bytes."""
        if spot is not None:
            try:
                return self.packs.read(digest, spot)
            except HoldfastError:
                pass  # asked for again below, which says what is wrong
        return super().read(digest)

    def read_many(self, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes]]:
        """As the contract says: in the order of the packs, what shares a frame decompressed once."""
        for number, content in bulk.members(self.packs, wanted):
            yield number, self.read(wanted[number][0]) if content is None else content

    def delete(self, digest: str) -> bool:
        """Remove the file of a blob; a member of a pack stays until its pack is rewritten, and counts as removed."""
        return super().delete(digest) or self._places.spot(digest) is not None

    def close(self) -> None:
        """Let go of the open pack and of all files."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self.writer.close()
        self.packs.close()

    def abandon(self) -> None:
        """In a forked child."""
        self._guard, self._pool = threading.Lock(), None
        self.writer.abandon()
        self.packs.abandon()

    # How.

    def _stage_small(self, content: bytes, *, durable: bool) -> Staged:
        raw = hashlib.sha256(content).digest()
        place = _Small(_State.HELD, content)
        staged = Staged(digests.text(raw), len(content), len(content), durable, place)
        if durable:
            self._settle_small([(staged, place)])
        return staged

    def _settle_small(self, waiting: Sequence[tuple[Staged, _Small]]) -> None:
        """Append and sync; the same content once."""
        spots: dict[str, tuple[Spot, _Waiting]] = {}
        last: list[Written] = []
        waiting = [(item, place) for item, place in waiting if place.state is not _State.DURABLE]
        for part in _parts(waiting):
            fresh = {item.digest: place.content for item, place in part if item.digest not in spots}
            if fresh:
                batch = _prepared(fresh)
                written = self.writer.append(batch)
                waits = _Waiting(written)
                spots |= {digest: (spot, waits) for digest, spot in _spots(batch, written).items()}
                last.append(written)
            for item, place in part:
                place.spot, place.waits = spots[item.digest]
                place.waits.left += 1
                place.content, place.state = b"", _State.UNKNOWN
        self._sync(last)
        for _, place in waiting:
            place.state = _State.DURABLE

    def _group(self, contents: Mapping[str, bytes]) -> _Group:
        """One thread compresses, and takes one group after the other: the caller has the next to read meanwhile."""
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="holdfast-pack")
            pool = self._pool
        return _Group(pool.submit(_prepared, contents))

    def _append(self, group: _Group) -> Written:
        written = self.writer.append(batch := group.batch.result())
        waits = _Waiting(written)
        members, spent, unknown = group.members, _State.SPENT, _State.UNKNOWN
        for (raw, _), spot in zip(batch.members, written.spots, strict=True):
            if (place := members[raw]).state is not spent:
                waits.left += 1
                place.spot, place.waits, place.group, place.state = spot, waits, None, unknown
        return written

    def _sync(self, written: Sequence[Written]) -> None:
        """The last append to each pack stands for those before it."""
        for one in {one.pack.name: one for one in written}.values():
            self.writer.sync(one)

    def _spend(self, places: Sequence[_Small]) -> None:
        """These are published or given up. Nobody waits for an append any more once all that was in it is."""
        done: list[Written] = []
        with self._guard:
            for place in places:
                waits, place.waits = place.waits, None
                place.state, place.content, place.group = _State.SPENT, b"", None
                if waits is not None:
                    waits.left -= 1
                    if not waits.left:
                        done.append(waits.written)
        for written in done:
            self.writer.done(written)


def _prepared(contents: Mapping[str, bytes]) -> Batch:
    return prepare([(digests.raw(digest), content) for digest, content in contents.items()])


def _spots(batch: Batch, written: Written) -> dict[str, Spot]:
    """Where each blob of a batch went, by digest."""
    return {digests.text(raw): spot for (raw, _), spot in zip(batch.members, written.spots, strict=True)}


def _waiting(digest: str, size: int, place: _Small) -> Staged:
    return Staged(digest, size, size, durable=False, place=place)


def _live(item: Staged, place: _Small) -> _Small:
    if place.state is _State.SPENT:
        raise InvalidValueError(f"{item.digest} is no longer staged here", where="staged", reason="spent")
    return place


def _refuse_unsettled(staged: Sequence[Staged]) -> None:
    good = _State.DURABLE, _State.TO_BE_KEPT
    for item in staged:
        if isinstance(item.place, _Small) and _live(item, item.place).state not in good:
            raise InvalidValueError(f"{item.digest} is not settled", where="staged", reason="not durable")


def _parts(waiting: Sequence[tuple[Staged, _Small]]) -> Iterator[list[tuple[Staged, _Small]]]:
    """In order, so much at a time as one append may hold."""
    part: list[tuple[Staged, _Small]] = []
    size = 0
    for one in waiting:
        if part and size + one[0].size > _APPEND_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += one[0].size
    if part:
        yield part


def stat_of(digest: str, spot: Spot) -> BlobStat:
    """What a place in a pack says of a blob."""
    return BlobStat(digest, spot.size, spot.stored_bytes, 1, spot)


def pack_up_to_wanted() -> int:
    """The size that the environment asks for, or the usual one. InvalidValueError if it is no number of bytes."""
    one = configuration.setting("pack_up_to")
    wanted = os.environ.get(one.environment, "")
    return int(configuration.parsed(one, wanted, one.environment) or 0) if wanted else PACK_UP_TO
