"""Content on its way in and out: staged before any lock is held, published inside a transaction, read with checks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias, cast

from holdfast.blobs.packs import PackedBlobs
from holdfast.engine.handle import Handle
from holdfast.errors import InvalidValueError, SourceChangedError, SourceUnreadableError, StorageIOError
from holdfast.values import digest
from holdfast.values.frozen import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.blobs.contract import Staged
    from holdfast.formats.appending import Batch
    from holdfast.index.physical import Place

IN_MEMORY_BYTES = 1 << 20
"""Content up to this size is hashed before anything is written, so that a hit costs no write."""

AT_HAND_BYTES = 24 * 1024
"""Content up to this size that goes to a pack is looked for, compressed and appended by the transaction that wants it:
0.1 ms at most. A look before the lock asks outside of a transaction, and what it finds has to be asked again."""

HEAD_BYTES = 4096
READ_SOURCE = "read source"
"""The operation that a blob store names in StorageIOError when not the store but the source failed."""

_TRIES = 3


class Cutter(Protocol):
    """Stages content as chunks, or returns None before it has read anything."""

    def __call__(self, source: BinaryIO, *, durable: bool) -> Staged | None:
        """See engine/cutting.py."""
        ...


Given: TypeAlias = "bytes | bytearray | memoryview | Path | BinaryIO"
Source: TypeAlias = "str | Given"


@dataclass(slots=True)
class Incoming:
    """Content that a transaction can publish. `head`: its first bytes, to find the media type from.

    Either `staged` holds it, or `data`: it is small, or was found in the store, and gc may be faster than we are.
    `facts`: what the file system said of the file it was read from, if it was one.
    """

    digest: str
    size: int
    head: bytes
    staged: Staged | None = None
    data: bytes | None = None
    facts: os.stat_result | None = None


def stage(handle: Handle, source: Source, *, durable: bool = True, cutter: Cutter | None = None) -> Incoming:
    """Take content in without holding a lock. Raises InvalidValueError for what is no content, SourceError."""
    if isinstance(source, str):
        source = utf8(source)
    if durable and isinstance(source, bytes) and _is_at_hand(handle, source):
        handle.may_write()
        return held(source)
    handle.writable()
    with handle.watching_syncs():
        return _stage(handle, source, durable=durable, cutter=cutter)


def _is_at_hand(handle: Handle, data: bytes) -> bool:
    """What comes as bytes is in memory already; streams may be many, and staged long before they are published."""
    most = min(AT_HAND_BYTES, IN_MEMORY_BYTES - 1)
    return isinstance(handle.blobs, PackedBlobs) and 0 < len(data) <= min(most, handle.blobs.pack_up_to)


def _stage(handle: Handle, source: Given, *, durable: bool, cutter: Cutter | None) -> Incoming:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return stage_bytes(handle, bytes(source), durable=durable, cutter=cutter)
    if isinstance(source, os.PathLike):
        return stage_file(handle, os.fspath(source), durable=durable, cutter=cutter)
    if not hasattr(source, "read"):
        raise InvalidValueError(
            f"content is a {type(source).__name__}", where="content", reason="type",
            remedy="Give bytes, str (kept as UTF-8), a pathlib.Path, or a binary file object.",
        )  # fmt: skip
    with readable(str(getattr(source, "name", "the stream"))):
        return stage_stream(handle, source, durable=durable, cutter=cutter)


def utf8(text: str) -> bytes:
    """Text as content; InvalidValueError for a lone surrogate."""
    with contextlib.suppress(UnicodeEncodeError):
        return text.encode("utf-8")
    # Raised here and not where it was caught: Python's own error would bring the text along.
    raise InvalidValueError("the text has a lone surrogate", where="content", reason="surrogate")


def stage_bytes(handle: Handle, data: bytes, *, durable: bool = True, cutter: Cutter | None = None) -> Incoming:
    """Content in memory: if the store has it, nothing is written."""
    incoming = held(data)
    place = handle.index.physical.place(incoming.digest)
    if place is not None and place.condemned_us is None:
        return incoming
    incoming.data = None
    if cutter is not None and len(data) >= IN_MEMORY_BYTES:
        incoming.staged = cutter(io.BytesIO(data), durable=durable)
    if incoming.staged is None and durable:
        incoming.staged = stage_durably(handle, data, incoming.digest)
    elif incoming.staged is None:
        incoming.staged = handle.blobs.stage(data, durable=False)
    return incoming


def stage_durably(handle: Handle, data: bytes, content_digest: str) -> Staged:
    """Stage what is durable by the COMMIT that makes its row at the latest, where the index keeps bytes of packs."""
    keeper = handle.keeper.blobs
    return handle.blobs.stage(data) if keeper is None else keeper.stage_to_keep(data, content_digest)


def stage_together(handle: Handle, incoming: Sequence[Incoming]) -> set[str]:
    """As `stage_durably`, with one look at the index and one append, of what is `held`. In an open transaction.

    Digests of what was staged and has no row at all: one of each was staged, the others wait for its row.
    """
    places = handle.index.physical.places({one.digest for one in incoming})
    fresh = _unplaced(incoming, places, set())
    with handle.watching_syncs():
        staged = _staged_durably(handle, {one.digest: one.data or b"" for one in fresh.values()}) if fresh else {}
    for one in fresh.values():
        one.staged = staged[one.digest]
    return fresh.keys() - places.keys()


def _staged_durably(handle: Handle, contents: dict[str, bytes]) -> dict[str, Staged]:
    """By digest. Where the index keeps no bytes of packs one sync makes all of them durable."""
    if handle.keeper.blobs is not None:
        return handle.keeper.blobs.stage_all_to_keep(contents)
    staged = dict(zip(contents, handle.blobs.stage_all(contents), strict=True))
    handle.blobs.settle([*staged.values()])
    return staged


def held(data: bytes) -> Incoming:
    """Content in memory, hashed; `stage_all` stages it."""
    return Incoming(digest.of(data), len(data), data[:HEAD_BYTES], data=data)


def stage_all(handle: Handle, incoming: Sequence[Incoming], under_way: set[str]) -> None:
    """Stage what is `held`, with one look at the index: what the store has is kept in memory, the rest staged.

    `under_way`: digests of what was staged before and is not published yet; these here are added. Not durable.
    """
    fresh = _fresh(handle, incoming, under_way)
    staged = handle.blobs.stage_all({one.digest: one.data or b"" for one in fresh.values()})
    for one, found in zip(fresh.values(), staged, strict=True):
        one.staged, one.data = found, None
    under_way.update(fresh)


def _fresh(handle: Handle, incoming: Sequence[Incoming], under_way: set[str]) -> dict[str, Incoming]:
    """What has to be staged, by digest, in order."""
    return _unplaced(incoming, handle.index.physical.places({one.digest for one in incoming}), under_way)


def _unplaced(incoming: Sequence[Incoming], places: dict[str, Place], under_way: set[str]) -> dict[str, Incoming]:
    present = {one.digest for one in places.values() if one.condemned_us is None}
    fresh: dict[str, Incoming] = {}
    for one in incoming:
        digest = one.digest
        if digest not in present and digest not in under_way and digest not in fresh:
            fresh[digest] = one
    return fresh


def stage_batch(handle: Handle, incoming: Sequence[Incoming], batch: Batch, under_way: set[str]) -> None:
    """As `stage_all`, of content that was read, hashed and compressed elsewhere: `batch` has each of it once.

    If any of it is in the store already, what is left is compressed again: what is written does not depend on who did.
    """
    fresh = _fresh(handle, incoming, under_way)
    if len(fresh) < len(incoming):  # some twice, or here already: the others may be committed first, and by themselves
        contents = {digest.text(raw): content for raw, content in batch.contents()}
        for one in incoming:
            one.data = contents[one.digest]
    if len(fresh) < len(batch.members):
        staged = handle.blobs.stage_all({one: contents[one] for one in fresh})
    else:
        staged = handle.blobs.stage_batch(batch)
    for found in staged:
        one = fresh[found.digest]
        one.staged, one.data = found, None
    under_way.update(fresh)


def stage_stream(
    handle: Handle, source: BinaryIO, *, durable: bool = True, cutter: Cutter | None = None, rewinds: bool = False
) -> Incoming:
    """Content of unknown length, read to its end; once, unless it is a file of ours that `rewinds`, and began at 0."""
    head = _read_some(source, IN_MEMORY_BYTES)
    if len(head) < IN_MEMORY_BYTES:
        return stage_bytes(handle, head, durable=durable)
    whole = cast("BinaryIO", _Joined(head, source, rewinds=rewinds))
    staged = cutter(whole, durable=durable) if cutter is not None else None
    staged = staged or handle.blobs.stage(whole, durable=durable)
    return Incoming(staged.digest, staged.size, head[:HEAD_BYTES], staged)


def stage_file(
    handle: Handle, path: str, *, durable: bool = True, itself: bool = False, cutter: Cutter | None = None
) -> Incoming:
    """A regular file, as it was at one moment: read again if it changed meanwhile, SourceChangedError if it keeps on.

    What is compared is what the file system says before and after (size, mtime, ctime, inode), and the size read.
    `itself`: what stands at `path` must be a file; a link that took its place is not followed, a pipe not waited for.
    """
    for _ in range(_TRIES):
        with readable(path), open(path, "rb", buffering=0, opener=_open_itself if itself else None) as file:
            before = os.fstat(file.fileno())
            if itself and not stat.S_ISREG(before.st_mode):
                raise SourceChangedError(f"{path} is no regular file any more", path=path, tries=1)
            rewinds = stat.S_ISREG(before.st_mode) and _sized(before)
            incoming = stage_stream(handle, file, durable=durable, cutter=cutter, rewinds=rewinds)
            after = os.fstat(file.fileno())
        if same_facts(before, after) and (incoming.size == after.st_size or not _sized(after)):
            incoming.facts = after
            return incoming
        if incoming.staged is not None:
            handle.blobs.discard([incoming.staged])
    raise SourceChangedError(f"{path} changed each time it was read", path=path, tries=_TRIES)


def _open_itself(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            raise SourceChangedError(f"{path} is a link by now", path=path, tries=1) from error
        raise


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Trouble with the source is told apart from trouble with the store."""
    try:
        yield
    except OSError as error:
        raise SourceUnreadableError(
            f"cannot read {path}: {error.strerror or error}", path=path, errno=error.errno
        ) from error
    except StorageIOError as error:
        if error.fields.get("operation") != READ_SOURCE:
            raise
        raise SourceUnreadableError(f"cannot read {path}: {error.message}", path=path, errno=None) from error


def same_facts(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file is what it was, for all that the file system says."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino) == (
        after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino)  # fmt: skip


def _sized(facts: os.stat_result) -> bool:
    """Files of /proc and the like say size 0 and have content all the same."""
    return facts.st_size != 0


def _read_some(source: BinaryIO, length: int) -> bytes:
    """Up to `length` bytes; fewer only at the end."""
    parts, got = [], 0
    while got < length:
        part = source.read(length - got)
        if isinstance(part, str):
            raise InvalidValueError(
                "content comes from a text file", where="content", reason="type", remedy="Open it in binary mode."
            )
        if not part:
            break
        parts.append(part)
        got += len(part)
    return b"".join(parts)


class _Joined(io.RawIOBase):
    """What was read of a stream, then the rest of it; from any byte on if the stream `rewinds`."""

    def __init__(self, head: bytes, rest: BinaryIO, *, rewinds: bool) -> None:
        self._head = memoryview(head)
        self._rest = rest
        self._rewinds = rewinds
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._rewinds

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if not self._rewinds or whence != os.SEEK_SET:
            raise io.UnsupportedOperation("seek")
        self._rest.seek(max(offset, len(self._head)))
        self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        if self._at >= len(self._head):
            return self._rest.read(size)
        end = len(self._head) if size < 0 else min(self._at + size, len(self._head))
        taken = bytes(self._head[self._at : end])
        self._at = end
        return taken

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if self._at >= len(self._head) and self._rewinds:  # a file of ours: others may have no `readinto`
            return cast("io.FileIO", self._rest).readinto(buffer)
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def discard(handle: Handle, incoming: list[Incoming]) -> None:
    """Forget staged content that was not published."""
    handle.blobs.discard([i.staged for i in incoming if i.staged is not None])


class staging:  # noqa: N801 - it is called like a function
    """Stage content for the block; what the block did not publish is forgotten at its end."""

    __slots__ = ("_handle", "_incoming")

    def __init__(self, handle: Handle, source: Source, *, cutter: Cutter | None = None) -> None:
        self._handle = handle
        self._incoming = stage(handle, source, cutter=cutter)

    def __enter__(self) -> Incoming:
        return self._incoming

    def __exit__(self, *_: object) -> None:
        if self._incoming.staged is not None:
            self._handle.blobs.discard([self._incoming.staged])


def hash_blocks(read: Callable[[int], bytes]) -> str:
    """The digest of what `read` gives until it gives nothing."""
    total = hashlib.sha256()
    while block := read(1 << 20):
        total.update(block)
    return digest.PREFIX + total.hexdigest()
