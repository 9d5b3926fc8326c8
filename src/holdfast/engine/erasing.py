"""Takes the bytes of announced redactions out of the store, in an order in which a crash leaves nothing half done.

The announcement (a `redact` change) is committed first and says what is to be left of each change. All that follows is
a function of the chain, so after a crash it is simply done again, from wherever it stopped:
1. rows derived anew from the redacted chain, in a file beside: proof that they can be, before anything is touched
2. blobs of redacted content that nothing else needs, and what quarantine has of them, are removed
3. the full text and the notes of what was added are forgotten; what was removed, now or long before, stays away
4. each segment of the journal: a successor beside it, synced, read back and compared, renamed over it; its twin goes
5. the new rows take the place of the index's pages; the write-ahead log is emptied
Until 4 the chain holds the original bytes, so whatever 2 has to know can be learnt again; and as long as one copy of it
holds them, `audit verify` says that a redaction is unfinished: so what it does not look at goes before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.blobs import LocalBlobs
from holdfast.blobs.chunks import CUT_FROM, RecipeFolder
from holdfast.engine import chunk_marks, derive, presence, recover
from holdfast.engine.aside import superseded_segments
from holdfast.engine.erasing_packs import committing, rewrite_packs
from holdfast.engine.handle import Handle
from holdfast.engine.outbox import forget_reasons
from holdfast.errors import ChainBrokenError, DamageError, LockedError
from holdfast.formats import lines, paths
from holdfast.formats.lines import Located
from holdfast.index.operational import forget_notes
from holdfast.index.sqlite import SqliteIndex
from holdfast.values import canon, redaction
from holdfast.values.change import Body, Transaction

WHOLE_SYNC = sys.platform.startswith("linux")
"""One sync of the file system; elsewhere one for each folder, which leaves out the logs: a log that comes back whole
goes when the store is next closed."""

_AGAIN_S = 0.02
_FOLDERS = (paths.TMP, paths.BLOBS, paths.PACKS, paths.RECIPES, paths.JOURNAL, paths.QUARANTINE)


@dataclass(slots=True)
class Announced:
    """What the chain says is to be left: by seq, the fields and the digest of the rest, oldest announcement first."""

    by_seq: dict[int, list[tuple[list[str], bytes]]] = field(default_factory=dict)

    def learn(self, transaction: Transaction) -> None:
        """Take in the announcements of a transaction."""
        for body in transaction.bodies:
            if b'"action":"redact"' not in body:
                continue
            change: Body = canon.decode(body)
            for item in change["erased"] if change["action"] == "redact" else ():
                self.take(item)

    def take(self, item: dict[str, Any]) -> None:
        """Take in one item of an announcement."""
        self.by_seq.setdefault(item["seq"], []).append((item["fields"], bytes.fromhex(item["left"])))

    def applied(self, transaction: Transaction) -> Transaction:
        """The transaction as it is to be; itself if nothing of it is redacted, or all is done.

        Raises ChainBrokenError if what would be left is not what was announced.
        """
        left: dict[int, bytes] = {}
        for position, body in enumerate(transaction.bodies):
            said = self.by_seq.get(transaction.entry.first + position)
            if said and (rest := _rest(transaction.entry.first + position, body, said)) != body:
                left[position] = rest
        return transaction.without(left) if left else transaction


def _rest(seq: int, body: bytes, said: list[tuple[list[str], bytes]]) -> bytes:
    now = hashlib.sha256(body).digest()
    done = max((n + 1 for n, (_, left) in enumerate(said) if left == now), default=0)
    for fields, left in said[done:]:
        body = canon.encode(redaction.erase(canon.decode(body), fields))
        if hashlib.sha256(body).digest() != left:
            raise ChainBrokenError(f"change {seq} does not leave what its redaction says", seq=seq, where="chain")
    return body


@dataclass(slots=True)
class Erased:
    """What was done. `kept`: redacted contents whose blobs something else still needs."""

    segments: int = 0
    blobs: int = 0
    quarantined: int = 0
    kept: list[str] = field(default_factory=list)


@contextmanager
def alone(handle: Handle) -> Iterator[None]:
    """Have the store to this handle; LockedError if others have it open. Readers would hold on to old pages."""
    try:
        handle.users.acquire(shared=False, wait_s=handle.wait_s)
        yield
    except LockedError as error:
        if error.fields.get("lock") == handle.users.path:
            error.remedy = "Close the store everywhere else, then redact again."
        raise
    finally:
        handle.users.acquire(shared=True, wait_s=handle.wait_s)


def finish(handle: Handle) -> Erased:
    """Take out all that was announced and is still there. Durable on return. Inside `alone`, no transaction open."""
    until, done = time.monotonic() + handle.wait_s, Erased()
    while True:
        try:
            _finish(handle, done)
        except LockedError as error:
            if error.fields.get("lock") != paths.PACKS or time.monotonic() > until:
                raise
        else:
            return done
        time.sleep(_AGAIN_S)  # the writer lock is free: who has staged commits


def _finish(handle: Handle, done: Erased) -> None:
    handle.writer.acquire("redact", wait_s=handle.wait_s)
    try:
        recover.level(handle)
        with handle.watching_syncs():
            handle.keeper.settle()  # the index is to keep nothing of what goes
        handle.journal.release()
        announced = Announced()
        for transaction in _proven(handle):
            announced.learn(transaction)
        done.kept.clear()
        temporary = os.path.join(handle.root, paths.TMP, f"{secrets.token_hex(16)}.tmp")
        with handle.watching_syncs():
            _derive(handle, announced, temporary)
            _remove_blobs(handle, announced, done)
            _remove_staged(handle, beside=temporary)
            handle.search.reset()
            forget_notes(handle.root, handle.disk)  # names and paths of what was added stand there
            forget_reasons(handle)
            _make_sure(handle)
            _rewrite_journal(handle, announced, done)
            _take_over(handle, temporary)
            derive.discard_abandoned(handle.root, handle.disk)
            handle.search.reset()  # another thread may have searched, and fed it from the old rows
            _make_sure(handle)
    finally:
        handle.writer.release()


def prove(handle: Handle, erased: list[dict[str, Any]]) -> None:
    """Raise ChainBrokenError if `finish` could not do what is about to be announced. Before that is committed."""
    announced = Announced()
    for transaction in _proven(handle):
        announced.learn(transaction)
    for item in erased:
        announced.take(item)
    temporary = os.path.join(handle.root, paths.TMP, f"{secrets.token_hex(16)}.tmp")
    _derive(handle, announced, temporary)
    handle.disk.unlink(temporary)


def _proven(handle: Handle) -> Iterator[Transaction]:
    """The journal's whole chain, which must be sound up to the index's head: nothing is erased from a broken one."""
    head, wanted = handle.origin, handle.index.chain.head() or handle.origin
    for transaction in recover.from_journal(handle.journal):
        if not lines.follows(transaction, head):
            break
        yield transaction
        head = transaction.head
    if head.hash != wanted.hash:
        raise ChainBrokenError(
            f"the journal does not lead on from change {head.next_seq}: nothing is erased",
            seq=head.next_seq, where="journal", remedy="See `holdfast audit verify` and `holdfast fsck`.",
        )  # fmt: skip


def _derive(handle: Handle, announced: Announced, path: str) -> None:
    target = SqliteIndex(path)
    try:
        target.database.run("PRAGMA journal_mode = OFF")
        target.database.run("PRAGMA synchronous = OFF")
        target.migrate()
        source = (announced.applied(transaction) for transaction in recover.from_journal(handle.journal))
        result = recover.derive(target, handle.origin, [source])
    except BaseException:
        handle.disk.unlink(path)
        raise
    finally:
        target.close()
    wanted = handle.index.chain.head() or handle.origin
    if result.next_seq != wanted.next_seq or result.trouble:
        handle.disk.unlink(path)
        raise ChainBrokenError(
            f"no rows can be derived from change {result.next_seq} on once it is redacted: nothing was erased",
            seq=result.next_seq, where="chain",
        )  # fmt: skip


def _remove_blobs(handle: Handle, announced: Announced, done: Erased) -> None:
    digests: dict[str, int] = {}
    for source in (recover.from_journal(handle.journal), recover.from_index(handle.index)):
        for transaction in source:
            after = announced.applied(transaction)
            if after is not transaction:
                left = _contents(after)
                digests |= {digest: size for digest, size in _contents(transaction).items() if digest not in left}
    digests.pop(redaction.NOTHING, None)
    folder = os.path.join(handle.root, paths.QUARANTINE)
    gone: set[str] = set()
    for digest in sorted(digests):
        if handle.index.physical.wanted(digest):
            done.kept.append(digest)
            continue
        plain = digest.removeprefix("sha256:")
        gone.add(digest)
        if handle.blobs_elsewhere is not None:
            done.blobs += handle.blobs_elsewhere.delete(digest)
        elif LocalBlobs(handle.root, handle.disk).delete(digest):
            done.blobs += 1
            handle.disk.fsync_dir(os.path.join(handle.root, paths.blob_folder(bytes.fromhex(plain))))
        done.quarantined += _unlink_all(handle, folder, plain)
    # Databases and segments that were set aside may hold every name and text there was.
    for start in (paths.INDEX, paths.SEARCH):
        done.quarantined += _unlink_all(handle, folder, start)
    for name in superseded_segments(handle.disk, folder, handle.index.chain):
        done.quarantined += _unlink_all(handle, folder, name)
    cut = any(digests[digest] >= CUT_FROM for digest in gone)
    if cut:
        _remove_chunks(handle, gone, folder)
    else:
        with contextlib.suppress(DamageError):  # for `lacks`: chunks that a pack may hold without a row
            chunk_marks.mark(handle)
    done.blobs += rewrite_packs(handle, gone, cut=cut)


def _remove_chunks(handle: Handle, gone: set[str], quarantine: str) -> None:
    """Take the rows of all chunks that no recipe needs, what quarantine has of such, and the recipes.

    Not only of those chunks that a recipe still lists: it may be gone, and its chunks be garbage without a row.
    """
    physical = handle.index.physical
    chunk_marks.mark(handle)
    for name in handle.disk.listdir(quarantine):
        # Frames of damaged chunks are there under the digest of the chunk.
        raw = paths.parse_quarantined(name)
        if raw is None:
            continue
        digest = f"sha256:{raw.hex()}"
        if physical.content_key(digest) is None and not physical.chunks.is_needed(digest):
            handle.disk.unlink(os.path.join(quarantine, name))
    with committing(handle):
        physical.chunks.remove_unmarked()
    for digest in gone:
        with contextlib.suppress(FileNotFoundError):
            handle.disk.unlink(RecipeFolder(handle.root, handle.disk).path(digest))
    if handle.disk.stat(os.path.join(handle.root, paths.RECIPES)) is not None:
        handle.disk.fsync_dir(os.path.join(handle.root, paths.RECIPES))


def _contents(transaction: Transaction) -> dict[str, int]:
    """Bytes of the contents that a transaction speaks of, by digest."""
    found: dict[str, int] = {}
    for body in transaction.bodies:
        revision = canon.decode(body).get("new", {}).get("revision")
        if revision:
            found[revision["digest"]] = revision["size"]
    return found


def _unlink_all(handle: Handle, folder: str, start: str) -> int:
    names = [name for name in handle.disk.listdir(folder) if name.startswith(start)]
    for name in names:
        handle.disk.unlink(os.path.join(folder, name))
    if names:
        handle.disk.fsync_dir(folder)
    return len(names)


def _remove_staged(handle: Handle, *, beside: str) -> None:
    """What dead writers staged may be any content: nobody else has the store open, so what is not ours is theirs."""
    folder = os.path.join(handle.root, paths.TMP)
    for name in handle.disk.listdir(folder):
        path = os.path.join(folder, name)
        ours = path == beside or (isinstance(handle.blobs, LocalBlobs) and name.startswith(handle.blobs.stem))
        if name.endswith((".tmp", ".tmp.zst")) and not ours and not os.path.isdir(path):
            handle.disk.unlink(path)


def _make_sure(handle: Handle) -> None:
    """No removal and no cut comes undone any more by a power loss: nobody syncs what only saves space.

    Of staged bytes, of blobs and packs that were collected before the redaction, of the logs of databases.
    """
    if WHOLE_SYNC:
        handle.disk.sync_filesystem(handle.root)
        return
    blobs = os.path.join(handle.root, paths.BLOBS)
    below = [os.path.join(blobs, name) for name in handle.disk.listdir(blobs)]
    tops = [os.path.join(handle.root, name) for name in _FOLDERS]
    for folder in (handle.root, *tops, *below):
        if os.path.isdir(folder):
            handle.disk.fsync_dir(folder)


def _rewrite_journal(handle: Handle, announced: Announced, done: Erased) -> None:
    segments = handle.journal.segments()
    for first in sorted({first for first, _, _ in segments}):
        files = [path for f, _, path in segments if f == first]
        if not any(_due(handle, announced, path) for path in files):
            continue
        temporary = os.path.join(handle.root, paths.TMP, f"{secrets.token_hex(16)}.tmp")
        _write(handle, announced, first, temporary)
        plain = os.path.join(handle.root, paths.segment_file(first))
        handle.disk.rename(temporary, plain)
        handle.disk.fsync_dir(os.path.dirname(plain))
        for path in files:
            if path != plain:
                handle.disk.unlink(path)
                handle.disk.fsync_dir(os.path.dirname(plain))
        done.segments += 1


def _due(handle: Handle, announced: Announced, path: str) -> bool:
    """Whether a segment's file holds what is to go, or bytes that belong to no transaction and may be anything."""
    for item in lines.scan(handle.journal.blocks(path)):
        if not isinstance(item, Located) or announced.applied(item.transaction) is not item.transaction:
            return True
    return False


def _write(handle: Handle, announced: Announced, first: int, temporary: str) -> None:
    """The successor of a segment: durable, read back, and with the same entries in the same order."""
    before, after = hashlib.sha256(), hashlib.sha256()
    fd = handle.disk.create(temporary)
    try:
        for transaction in handle.journal.of_segment(first):
            before.update(transaction.entry.hash())
            handle.disk.write(fd, lines.encode(announced.applied(transaction)), temporary)
        handle.disk.fsync(fd, temporary)
    finally:
        handle.disk.close(fd)
    for item in lines.scan(handle.journal.blocks(temporary)):
        if not isinstance(item, Located) or announced.applied(item.transaction) is not item.transaction:
            raise ChainBrokenError(f"{temporary} did not come back as it was written", seq=first, where="journal")
        after.update(item.transaction.entry.hash())
    if before.digest() != after.digest():
        raise ChainBrokenError(f"{temporary} did not come back as it was written", seq=first, where="journal")


def _take_over(handle: Handle, temporary: str) -> None:
    """The new rows become the index's; of the old ones nothing is left in it."""
    fresh = SqliteIndex(temporary)
    try:
        presence.fill(fresh, handle.root, handle.disk, old=handle.index, elsewhere=handle.blobs_elsewhere)
        for key in derive.FACTS:
            if (value := handle.index.meta(key)) is not None:
                fresh.set_meta(key, value)
        handle.index.take_over(fresh)
    finally:
        fresh.close()
    handle.disk.unlink(temporary)
