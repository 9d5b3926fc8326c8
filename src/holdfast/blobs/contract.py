"""What a blob store must do. Each numbered sentence has a conformance test that names it.

B-1  A blob is a sequence of bytes known by its digest; the store keeps one copy of it.
B-2  `stage` takes bytes in, hashing and compressing as they stream by, in memory that does not grow with them.
     With `durable=True` they survive power loss when it returns; with `durable=False` only after `settle`. A source
     may give fewer bytes than it is asked for, and takes the same room however it comes. One that fails is
     StorageIOError with its words and the operation `read source`, one of text InvalidValueError; nothing is staged.
B-3  Staged bytes are in nobody's way: no `stat`, `open` or `verify` sees them.
B-4  After `publish` returns, the bytes and the name of every blob given survive power loss. Publishing what is
     there already is no error: a good blob is kept as it is, a damaged one is set aside and replaced. What is not
     durable yet is InvalidValueError that says `settle`, what was published or discarded, one that says
     `no longer staged`: both before anything is published.
B-5  `open` gives exactly the bytes that were staged, or raises BlobMissingError or BlobDamagedError. Never a wrong
     byte: a whole read is checked against the digest, a ranged read against checked frames. What is no digest is
     InvalidInputError wherever one is asked for, a range before the start or of less than nothing InvalidValueError.
B-6  `delete` makes a blob absent; deleting what is absent returns False.
B-7  `discard` forgets staged bytes; it never touches published ones.
B-8  `walk` is for maintenance only: correctness never depends on a listing, and nothing is ever renamed.
B-9  All calls may come from many threads at once.
B-10 `read_many` gives each blob that was asked for once for each time it was asked for, in any order, checked against
     its digest; memory is bounded by the largest of them. What cannot be read raises as `read` would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from holdfast.formats.appending import Batch
from holdfast.formats.pack import Spot
from holdfast.formats.recipe import Recipe
from holdfast.values.frozen import dataclass


class Staged(NamedTuple):
    """Bytes that wait to be published. `size`, `stored_bytes` in bytes; `place` belongs to the store that made it."""

    digest: str
    size: int
    stored_bytes: int
    durable: bool
    place: object


@dataclass(frozen=True, slots=True)
class Cut:
    """How a content was cut. `fresh`: (raw digest, place) of chunks that were written with it and have no row yet."""

    recipe: Recipe
    fresh: Sequence[tuple[bytes, Spot]] = ()


class BlobStat(NamedTuple):
    """One published blob. `size`: bytes of content; `stored_bytes`: bytes it takes in the store; `frames`: how many.

    `spot`: where in a pack it is, None if it has a file of its own. Others may share its frame, and `stored_bytes` is
    that of the frame. `cut`: its chunks, of which there are `frames`; `stored_bytes` is that of the recipe then.
    """

    digest: str
    size: int
    stored_bytes: int
    frames: int
    spot: Spot | None = None
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class WalkEntry:
    """A file met by `walk`. `digest` is what its name claims, None if the name is no blob's; `path` is relative."""

    path: str
    digest: str | None
    stored_bytes: int
    modified_us: int


@runtime_checkable
class BlobReader(Protocol):
    """Random access to one blob. Not for several threads at once; open one for each."""

    digest: str
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly the bytes [offset, offset + length) cut off at the end; every frame touched was checked."""
        ...

    def close(self) -> None:
        """Give the file back."""
        ...


@runtime_checkable
class BlobStore(Protocol):
    """Bytes at rest. See the numbered sentences above."""

    def stage(self, source: bytes | memoryview | BinaryIO, *, durable: bool = True) -> Staged:
        """Take bytes in (B-2). Raises NoSpaceError, StorageIOError; nothing stays behind then."""
        ...

    def stage_all(self, contents: Mapping[str, bytes]) -> list[Staged]:
        """As `stage` of each with `durable=False`, in less time. Keys are their digests, as the caller has seen."""
        ...

    def stage_batch(self, batch: Batch) -> list[Staged]:
        """As `stage_all` of contents that somebody else has hashed and compressed; what is right about it, he says.

        In the order in which the batch has them.
        """
        ...

    def settle(self, staged: Sequence[Staged]) -> None:
        """Make bytes that were staged with `durable=False` durable, many for one sync."""
        ...

    def publish(self, staged: Sequence[Staged]) -> list[BlobStat]:
        """Give staged bytes their names (B-4), in order. All of them must be durable before."""
        ...

    def discard(self, staged: Sequence[Staged]) -> None:
        """Forget staged bytes that will not be published (B-7)."""
        ...

    def stat(self, digest: str) -> BlobStat | None:
        """What is known of a blob without reading its content; None if absent; BlobDamagedError if unreadable."""
        ...

    def open(self, digest: str) -> BlobReader:
        """Random access to a blob (B-5)."""
        ...

    def read(self, digest: str, *, spot: Spot | None = None) -> bytes:
        """A whole blob, checked against its digest. For content that fits in memory.

        `spot`: where the caller believes it to be; saves asking, and is no harm if it is wrong.
        """
        ...

    def read_many(self, wanted: Sequence[tuple[str, Spot | None]]) -> Iterator[tuple[int, bytes]]:
        """(number, whole content) of many blobs, given as (digest, spot as in `read`), in the order that is quickest
        (B-10).
        """
        ...

    def verify(self, digest: str) -> BlobStat:
        """Read every byte of a blob in bounded memory; raises BlobMissingError or BlobDamagedError."""
        ...

    def delete(self, digest: str) -> bool:
        """Remove a blob (B-6); the removal need not be durable: an absent row is what counts."""
        ...

    def walk(self) -> Iterator[WalkEntry]:
        """Every published file, in order of path, and every file that has no business there (B-8)."""
        ...

    def close(self) -> None:
        """Give back what is held open; what was staged and not published is nobody's then."""
        ...

    def abandon(self) -> None:
        """In a forked child: give back copies of what the parent holds open, and leave its locks alone."""
        ...
