"""Merges an exported tree into a store that has a history: proven and staged first, then one transaction."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import BinaryIO, cast

from holdfast.engine import content
from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.engine.together import together
from holdfast.engine.transaction import Unit, write
from holdfast.exchange.edits import Edits, find_edits
from holdfast.exchange.ground import Readable, Steps
from holdfast.exchange.merge import keeping
from holdfast.exchange.merge.report import Wish
from holdfast.exchange.merge.scene import Scene, Theirs
from holdfast.exchange.merge.target import InStore
from holdfast.exchange.merge.work import merge
from holdfast.exchange.tree import Entries, Leaf, Tree
from holdfast.exchange.tree_compare import contents
from holdfast.exchange.tree_edits import Applying
from holdfast.exchange.tree_import import (
    NAMED,
    TOGETHER_BYTES,
    TOGETHER_ITEMS,
    ImportReport,
    Proof,
    refused,
)
from holdfast.formats import lines
from holdfast.index.sqlite import SqliteIndex
from holdfast.values import canon
from holdfast.values.change import Head, Transaction

_LOOKED_UP = 500


class _RehearsedError(Exception):
    """Ends the transaction of a dry run."""


def merge_tree(handle: Handle, ground: Readable, *, wish: Wish, progress: Progress | None) -> ImportReport:
    """As `importing.import_path` says, into a store that is open. The transaction holds every change in memory."""
    handle.writable()
    with scratch_folder() as folder:
        index = SqliteIndex(os.path.join(folder, "import.sqlite3"))
        try:
            proof = Proof(ground, progress)
            tree = proof.stated(index)
            edits = find_edits(ground, tree, exact=wish.exact)
            work = _Merging(handle, ground, proof, tree, edits, wish, progress)
            try:
                work.stage()
                work.write()
            finally:
                work.discard()
        finally:
            index.close()
    return proof.report


@dataclass
class _Merging:
    handle: Handle
    ground: Readable
    proof: Proof
    tree: Tree
    edits: Edits
    wish: Wish
    progress: Progress | None
    staged: dict[str, Incoming] = field(default_factory=dict)
    kept: Incoming | None = None

    @property
    def is_ours(self) -> bool:
        """Whether theirs is an earlier state of this very store, or its present one."""
        head = self.tree.label.head
        return self.handle.index.chain.passed(head.next_seq, head.hash)

    def _continues(self, before: Head) -> bool:
        """Whether theirs is this very store, at a later change than `before`, where it ends here."""
        return not self.is_ours and self.tree.index.chain.passed(before.next_seq, before.hash)

    def _can_go_on(self, before: Head | None) -> bool:
        """Whether their later transactions can be taken as they are. What is to be erased here too cannot."""
        if before is None or self.edits.found or not self._continues(before):
            return False
        later = (lines.decode(data, "the export") for data in self.tree.index.chain.read(before.next_seq))
        return not any(one.redacted or any(b'"action":"redact"' in body for body in one.bodies) for one in later)

    # -- before the lock -----------------------------------------------------------------------------------------------

    def stage(self) -> None:
        """Bring the contents that are not here, and the foreign chain, into files that nothing speaks of."""
        if self.is_ours:
            return
        missing = self._wanted()
        if missing:
            left_out = "" if self.tree.shape.beside else " (`git lfs pull` may bring it into the export)"
            named = [f"{one}: this content is neither in the export nor in the store{left_out}" for one in missing]
            raise refused(named[:NAMED], len(missing))

    def _wanted(self) -> list[str]:
        """Stage what is not here; digests of what cannot be found."""
        absent = set()
        kept = (digest for digest, _ in self.tree.index.whole.kept())
        while some := list(islice(kept, _LOOKED_UP)):
            here = self.handle.index.physical.places(some)
            absent |= {one for one in some if one not in here or here[one].condemned_us is not None}
        waiting: list[tuple[Steps, bytes, Leaf]] = []
        size = 0
        for steps, entries in self.tree.folders() if absent else ():
            for name, leaf in chain(contents(entries), self._in_place(steps, entries)):
                if leaf.digest in absent and (*steps, name) not in self.edits.places:
                    absent.discard(leaf.digest)
                    waiting.append((steps, name, leaf))
                    size += max(leaf.size, 0)
                if size >= TOGETHER_BYTES or len(waiting) >= TOGETHER_ITEMS:
                    self._bring(waiting)
                    waiting, size = [], 0
        self._bring(waiting)
        return sorted(absent)

    def _in_place(self, steps: Steps, entries: Entries) -> Iterator[tuple[bytes, Leaf]]:
        """Contents that somebody put where their pointers stood."""
        for name, leaf in self.proof.in_place(self.tree, entries):
            if self.ground.digest(steps, name) == leaf.digest:
                yield name, leaf

    def _bring(self, waiting: list[tuple[Steps, bytes, Leaf]]) -> None:
        if self.wish.dry_run:
            return
        incoming = [self.proof.incoming(self.handle, *one) for one in waiting]
        with self.handle.watching_syncs():
            content.stage_all(self.handle, [one for one in incoming if one.data is not None], set())
            self.handle.blobs.settle([one.staged for one in incoming if one.staged is not None])
        self.staged |= {one.digest: one for one in incoming}
        self.proof.report.contents += len(incoming)
        self.proof.report.bytes += sum(one.size for one in incoming)
        if self.progress:
            self.progress(self.proof.report.contents, None, "contents", "files")

    def discard(self) -> None:
        """Forget what was staged and not published."""
        left = [*self.staged.values(), *([self.kept] if self.kept is not None else []), *self.edits.incoming.values()]
        content.discard(self.handle, left)

    # -- the transaction -----------------------------------------------------------------------------------------------

    def write(self) -> None:
        """All of it, or nothing."""
        before = self.handle.index.chain.head()
        if self._can_go_on(before) and self._go_on():
            return
        if not self.wish.dry_run:
            self.edits.stage(self.handle)
            if not self.is_ours:
                chain_of = cast("BinaryIO", io.BufferedReader(_Pieces(self.tree.index.chain.read())))
                self.kept = content.stage_stream(self.handle, chain_of)
        try:
            with write(self.handle, what="import") as unit:
                self._change(unit)
                if self.wish.dry_run:
                    raise _RehearsedError
        except _RehearsedError:
            pass

    def _go_on(self) -> bool:
        """Their later transactions become ours, byte for byte; False if somebody has written here meanwhile."""
        report = self.proof.report
        try:
            with together(self.handle, what="import") as series:
                if not self._continues(series.head):
                    return False
                report.transactions = report.changes = 0
                for data in self.tree.index.chain.read(series.head.next_seq):
                    transaction = lines.decode(data, "the export")
                    series.take(transaction, self._spoken_of(transaction))
                    report.transactions += 1
                    report.changes += transaction.entry.count
                if self.wish.dry_run:
                    raise _RehearsedError
        except _RehearsedError:
            pass
        report.continues = True
        return True

    def _spoken_of(self, transaction: Transaction) -> list[Incoming]:
        """The contents that a transaction speaks of, if they are kept in the end; none for a dry run."""
        said = (canon.decode(body).get("new", {}).get("revision", {}) for body in transaction.bodies)
        digests = sorted({one["digest"] for one in said if "digest" in one}) if not self.wish.dry_run else []
        kept = self.tree.index.whole.kept_of(digests)
        return [self.staged.get(one) or Incoming(one, size, b"") for one, size in kept.items()]

    def _change(self, unit: Unit) -> None:
        past = keeping.past(self.handle, self.tree)
        theirs = Theirs(self.tree.index, self.tree.store, past.base)
        scene = Scene(theirs, InStore(unit, None if self.wish.dry_run else self.staged), self.wish.policy, past.united)
        report = self.proof.report
        report.merged = True
        report.continues = self._continues(unit.before)
        report.items = scene.account.items
        if not self.is_ours:
            spare = self.edits.new_paths(self.tree.index)
            merge(scene, self.wish, spare=spare, progress=self.progress)
        Applying(unit, scene, self.edits, self.wish).run()
        if not self.is_ours and not self.wish.dry_run:
            assert self.kept is not None
            keeping.keep(unit, scene, self.tree, self.kept)
        report.counts = dict(scene.account.counts)


class _Pieces(io.RawIOBase):
    """Bytes that come in pieces, as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        view = memoryview(cast("bytearray", buffer))
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
