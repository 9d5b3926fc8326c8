"""Feeds the full-text index after commit: from the changes since its cursor, each artifact as it is now.

The cursor is (seq, chain hash) and commits with the words. Feeding again is harmless, so several processes may try;
the one that finds the cursor where it expected it wins. If the cursor stands at no place of this store's chain (a
foreign or older copy of the file), the words are made anew.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from holdfast.blobs.ahead import ahead
from holdfast.engine.handle import Handle
from holdfast.engine.locks import lock_at
from holdfast.engine.recover import Progress
from holdfast.errors import DamageError, LockedError
from holdfast.formats import paths
from holdfast.index.select.making import pins
from holdfast.search import text
from holdfast.search.document import START, Document, LeftOut, Position
from holdfast.values.records import Artifact, RevisionState

log = logging.getLogger("holdfast.engine")

BATCH = 1_000
BATCH_BYTES = 4 << 20


def drain(handle: Handle, progress: Progress | None = None) -> int:
    """Take in all changes committed so far; the seq up to which the index is level with the chain.

    One process feeds at a time: a document read by a slow one must not take the place of a newer one. Raises
    LockedError, and the typed errors of reading; the cursor then stands at the last whole batch.
    """
    head = handle.index.chain.head()
    if head is None:
        return 0
    target: Position = (head.next_seq - 1, head.hash)
    if handle.search.position() == target and not handle.search.needs_compaction:
        return target[0]
    lock = lock_at(os.path.join(handle.root, paths.SEARCH_LOCK))
    try:
        lock.acquire(shared=False, wait_s=handle.wait_s)
        lock.sign("indexing text")
        return _drain(handle, target, progress)
    finally:
        lock.close()


def _drain(handle: Handle, target: Position, progress: Progress | None) -> int:
    position = _sane(handle, handle.search.position())
    while position[0] < target[0]:
        if position == START:
            _feed_all(handle, target, progress)
        else:
            _feed_changes(handle, position, target)
        fresh = handle.search.position()
        if fresh == position:
            break
        position = fresh
        if progress:
            progress(position[0], target[0], "indexing text", "changes")
    return position[0]


def forget(handle: Handle) -> None:
    """Words of content that was purged must go: the index is emptied, and filled again by the next search."""
    try:
        handle.search.reset()
    except LockedError:
        # A reader holds old pages: they are in no answer any more, and go with the next reset.
        log.info("search-scrub-deferred", extra={"holdfast": {}})


def _sane(handle: Handle, position: Position) -> Position:
    """The cursor, if this store's chain has such a place; else START, after emptying the index."""
    if position == START:
        return START
    if handle.index.chain.end_of(position[0]) == position and not handle.search.needs_compaction:
        return position
    handle.search.reset(expected=position)
    return handle.search.position()


def _feed_all(handle: Handle, target: Position, progress: Progress | None) -> bool:
    """Fill an empty index from the artifacts there are, rather than from their whole history.

    Batches before the last leave the cursor at START, so a crash in between begins anew, with an empty index.
    """
    if handle.search.counts().live:
        handle.search.reset(expected=START)
    # Reading and proving what is next takes about as long as SQLite takes with the words of what was before.
    with contextlib.closing(ahead(_by_bytes(_every(handle, target[0])), "texts")) as parts:
        for part in parts:
            if not handle.search.feed(part, expected=START, upto=START):
                return False
            if progress:
                progress(part[-1].key, target[0], "indexing text", "changes")
    return handle.search.feed([], expected=START, upto=target)


def _every(handle: Handle, upto: int) -> Iterator[Document]:
    """All live artifacts that were made up to a seq, as they are now, by key.

    The rest comes with the changes beyond that seq; a writer that goes on meanwhile would have it all fed twice.
    """
    after = 0
    while after < upto and (page := handle.index.everything.artifacts.live_from(after, BATCH)):
        yield from _documents(handle, [(key, artifact) for key, _, artifact in page if key <= upto])
        after = page[-1][0]


def _feed_changes(handle: Handle, position: Position, target: Position) -> bool:
    """Take in the artifacts that the next changes are of, up to where a transaction ends."""
    upto = handle.index.chain.end_of(min(position[0] + BATCH, target[0]))
    if upto is None:
        return False
    removed: list[int] = []
    waiting: list[Document] = []
    changed = _changed(handle, handle.index.everything.artifacts.changed(position[0], upto[0]), removed)
    with contextlib.closing(ahead(_by_bytes(changed), "texts")) as parts:
        for part in parts:
            if waiting and not handle.search.feed(waiting, expected=position, upto=position):
                return False
            waiting = part
    return handle.search.feed(waiting, expected=position, upto=upto, removed=removed)


def _changed(handle: Handle, keys: list[int], removed: list[int]) -> Iterator[Document]:
    """Those of some records that are live artifacts; the keys of artifacts that are not go to `removed`."""
    for start in range(0, len(keys), BATCH):
        found = handle.index.everything.artifacts.many_by_key(keys[start : start + BATCH])
        removed += [key for key, artifact in found.items() if artifact.deleted_at is not None]
        yield from _documents(handle, [(key, one) for key, one in found.items() if one.deleted_at is None])


def _documents(handle: Handle, artifacts: list[tuple[int, Artifact]]) -> Iterator[Document]:
    """In the order given; contents are read some megabytes at a time, each time in the order in which they lie."""
    group: list[tuple[int, Artifact]] = []
    size = 0
    for key, artifact in artifacts:
        group.append((key, artifact))
        size += artifact.size if _reason(artifact) is None else 0
        if size >= BATCH_BYTES:
            yield from _of_group(handle, group)
            group, size = [], 0
    yield from _of_group(handle, group)


def _of_group(handle: Handle, group: list[tuple[int, Artifact]]) -> Iterator[Document]:
    contents = _contents(handle, [artifact for _, artifact in group if _reason(artifact) is None])
    for key, artifact in group:
        words, reason = None, _reason(artifact)
        if reason is None:
            data = contents.pop(artifact.revision.seq, None)
            words = None if data is None else text.extract(artifact.media_type, data, artifact.name)
            reason = LeftOut.MISSING if data is None else LeftOut.NOT_TEXT if words is None else None
        yield Document(key, artifact.number, artifact.name, artifact.metadata, words, reason)


def _reason(artifact: Artifact) -> LeftOut | None:
    """Why its content is not even read."""
    reason = text.left_out(artifact.media_type, artifact.name, artifact.size)
    return LeftOut.MISSING if reason is None and artifact.revision.state is not RevisionState.KEPT else reason


def _contents(handle: Handle, artifacts: list[Artifact]) -> dict[int, bytes]:
    """By the seq of the revision. Those that cannot be read are left out: fsck names what is wrong with them."""
    revisions = [artifact.revision for artifact in artifacts]
    held = handle.index.everything.contents.many_revisions(pins(revisions))
    wanted = [one or (revision.digest, None) for revision, one in zip(revisions, held, strict=True)]
    found: dict[int, bytes] = {}
    with contextlib.suppress(DamageError):
        for number, data in handle.blobs.read_many(wanted):
            found[revisions[number].seq] = data
        return found
    for one in revisions:
        if one.seq not in found:
            with contextlib.suppress(DamageError):
                found[one.seq] = handle.blobs.read(one.digest)
    return found


def _by_bytes(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Lists of documents, each of bounded size, read before the search file is locked."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text or "")
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
