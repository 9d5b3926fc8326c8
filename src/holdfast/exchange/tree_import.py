"""`import`: an exported tree becomes the store that it was made of. Everything is checked before anything is written.

The chain is verified and replayed into an index beside the store; from that follows, file by file, what the tree has to
hold. So a wrong digest, an edited record, a missing file and one too many are all found the same way.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import BinaryIO

from holdfast.blobs.contract import BlobStat
from holdfast.engine import adopt, content, recover
from holdfast.engine import open as opening
from holdfast.engine.content import Incoming
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.scratch import scratch_folder
from holdfast.engine.settings import Settings
from holdfast.errors import (
    FormatTooNewError,
    HoldfastError,
    ImportRefusedError,
    InvalidValueError,
    NoSpaceError,
    SourceUnreadableError,
)
from holdfast.exchange.ground import Readable, Steps
from holdfast.exchange.merge.report import Item
from holdfast.exchange.tree import CHANGES, FORMAT, Entries, Label, Leaf, Tree, label_of, place
from holdfast.exchange.tree_compare import Difference, contents, differences, listed, pointers
from holdfast.formats import lines
from holdfast.formats.lines import Garbage, Located
from holdfast.index.soundness import broken_rules
from holdfast.index.sql import SqlIndex
from holdfast.index.sqlite import SqliteIndex
from holdfast.values import canon, change, moment, names
from holdfast.values.change import Body, Head, Transaction

NAMED = 20
IN_MEMORY_BYTES = 1 << 20
TOGETHER_BYTES = 8 << 20
TOGETHER_ITEMS = 4_000
"""So much is brought with one sync."""

_BLOCK = 1 << 20
MOST_LINE_BYTES = 256 << 20
"""No change is that long: a body in which every field were as large as it may be is far below."""

_TOGETHER = 2_000
_EDITED = (
    "If it was damaged, fetch it again (`git checkout`, `git lfs pull`). If you edited it, import it into the store "
    "that it came from; or say --edits to make a new store of it, in which the edits are new revisions."
)


@dataclass(slots=True)
class ImportReport:
    """What was imported. `contents`: how many came in, each once; `head`: the hash of their last transaction.

    `merged`: into a store that had a history of its own; then `items` says of each record what became of it (those that
    are the same are only counted), `counts` how many there are of each kind of outcome. `continues`: theirs is this
    very store, gone on from where it ends here. Then its later transactions became ours as they are, and `transactions`
    and `changes` count these; if it was edited, or redacted, it was `merged` all the same, and the two chains part.
    """

    transactions: int = 0
    changes: int = 0
    contents: int = 0
    bytes: int = 0
    store: str = ""
    head: str = ""
    merged: bool = False
    continues: bool = False
    items: list[Item] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def adopt_tree(
    root: str, ground: Readable, settings: Settings, *, dry_run: bool, progress: Progress | None
) -> ImportReport:
    """Make the store at `root`, which is new or empty, equal to the one that a tree was exported from. Durable.

    Same ids, seqs, store id and end of the chain. Raises ImportRefusedError, FormatTooNewError (nothing was changed),
    ConflictError (the store is not empty), NoSpaceError. Interrupted, it leaves an empty store, or all of it.
    """
    with scratch_folder() as folder:
        work = Proof(ground, progress)
        index = SqliteIndex(os.path.join(folder, "import.sqlite3"))
        try:
            tree = work.proven(index)
            if not dry_run:
                handle = adopt.begin(root, tree.store, settings)
                try:
                    work.take(handle, tree)
                    adopt.finish(handle, index.chain.read())
                finally:
                    handle.close()
                opening.open_store(os.path.abspath(root), settings).close()
        finally:
            index.close()
    return work.report


class Proof:
    """One tree: proven against the state that its own chain makes, then brought in."""

    def __init__(self, ground: Readable, progress: Progress | None) -> None:
        self._ground = ground
        self._progress = progress
        self.report = ImportReport()
        self._left: dict[int, str] = {}
        self._announced: dict[int, str] = {}

    # -- proving -----------------------------------------------------------------------------------------------------

    def proven(self, index: SqlIndex) -> Tree:
        """The tree that the chain makes, which is the one on disk. ImportRefusedError, FormatTooNewError."""
        with _readable():
            tree = self.stated(index)
            found = list(islice(differences(self._ground, tree), NAMED + 1))
            if found:
                more = sum(1 for _ in differences(self._ground, Tree(index, tree.store, tree.shape)))
                raise refused([str(one) for one in found[:NAMED]], more, remedy=_EDITED)
        self.demand_all(tree)
        return tree

    def demand_all(self, tree: Tree) -> None:
        """Every content that the chain speaks of is there. ImportRefusedError."""
        with _readable():
            missing = list(islice(self._absent(tree), NAMED))
        if missing:
            raise refused(missing, len(missing))

    def stated(self, index: SqlIndex) -> Tree:
        """The tree that the chain makes, whatever else is on disk. The chain and its end are proven."""
        with _readable():
            data = self._ground.read((), FORMAT, 4096)
            if data is None:
                raise refused([f"{FORMAT.decode()}: missing"], 1)
            try:
                label = label_of(data)
                if not moment.is_id(label.store):
                    raise ValueError("the store's id is none")
            except ValueError as error:
                raise refused([f"FORMAT: {error}"], 1) from error
            self._replay(index, label)
        broken = broken_rules(index)
        if broken:
            raise refused([f"changes: {one}" for one in broken], len(broken))
        return Tree(index, label.store, label.shape)

    def _replay(self, index: SqlIndex, label: Label) -> None:
        index.database.run("PRAGMA journal_mode = OFF")
        index.database.run("PRAGMA synchronous = OFF")
        index.migrate()
        head = change.origin(label.store)
        index.begin()
        pending = 0
        for transaction in self._chain():
            head = self._apply(index, transaction, head)
            pending += transaction.entry.count
            if pending >= _TOGETHER:
                index.commit()
                index.begin()
                pending = 0
                if self._progress:
                    self._progress(head.next_seq - 1, label.head.next_seq - 1, "proving the chain", "changes")
        index.commit()
        edited = [seq for seq, left in self._left.items() if self._announced.get(seq) != left]
        if edited:
            raise refused(
                [f"changes: what is left of change {seq} is not what was announced" for seq in edited], len(edited)
            )
        if head.next_seq == 1:
            raise refused(["changes: there are none"], 1)
        if (head.next_seq, head.hash) != (label.head.next_seq, label.head.hash):
            raise refused([f"changes: they end with change {head.next_seq - 1}, not as FORMAT says"], 1)

    def _apply(self, index: SqlIndex, transaction: Transaction, head: Head) -> Head:
        seq = transaction.entry.first
        if not lines.follows(transaction, head):
            raise refused([f"changes: transaction {seq} does not follow from the one before"], 1)
        try:
            self._note(transaction)
            recover.replay(index, transaction)
        except (NoSpaceError, FormatTooNewError):
            raise
        except (HoldfastError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise refused([f"changes: transaction {seq} cannot be carried out: {_told(error)}"], 1) from error
        self.report.transactions += 1
        self.report.changes += transaction.entry.count
        self.report.head = transaction.entry.hash().hex()
        self.report.store = transaction.entry.store or self.report.store
        return transaction.head

    def _note(self, transaction: Transaction) -> None:
        """Look at each change; what is left of redacted ones is proven by a later change that announces it."""
        for position, data in enumerate(transaction.bodies):
            body = canon.decode(data)
            _check(body)
            if transaction.redacted is not None and position in transaction.redacted.digests:
                self._left[transaction.entry.first + position] = hashlib.sha256(data).hexdigest()
            if body["action"] == "redact":
                self._announced |= {one["seq"]: one["left"] for one in body["erased"]}

    def _chain(self) -> Iterator[Transaction]:
        found = listed(self._ground, (CHANGES,))
        if isinstance(found, Difference):
            raise refused([str(found)], 1)
        for name in found:
            with self._ground.open((CHANGES,), name) as file:
                for item in lines.scan(_blocks(file, place((CHANGES,), name))):
                    if isinstance(item, Garbage):
                        raise refused([f"{place((CHANGES,), name)}: {item.reason}"], 1)
                    assert isinstance(item, Located)
                    yield item.transaction

    def _absent(self, tree: Tree) -> Iterator[str]:
        """Contents that the export left out, and that nobody has put in the place of their pointers."""
        if tree.shape.beside:
            return
        for steps, entries in tree.folders():
            for name, leaf in pointers(entries):
                if self._ground.digest(steps, name) != leaf.stands_for:
                    yield f"{place(steps, name)}: its content was left out of the export (`git lfs pull` brings it)"
        for digest, size in tree.index.whole.unshown():
            if size > tree.shape.large_from:
                yield f"{digest}: a content of an old revision was left out of the export"

    # -- taking ------------------------------------------------------------------------------------------------------

    def take(self, handle: Handle, tree: Tree, *, but: Collection[Steps] = ()) -> None:
        """Bring all contents into the store's folder, where nothing refers to them yet; none from the places `but`."""
        waiting: list[tuple[Steps, bytes, Leaf]] = []
        size = 0
        for steps, entries in tree.folders():
            for name, leaf in chain(contents(entries), self.in_place(tree, entries)):
                if (*steps, name) in but:
                    continue
                waiting.append((steps, name, leaf))
                size += leaf.size if leaf.size <= IN_MEMORY_BYTES else 0
                if size >= TOGETHER_BYTES or len(waiting) >= TOGETHER_ITEMS:
                    self._bring(handle, tree.index, waiting)
                    waiting, size = [], 0
        self._bring(handle, tree.index, waiting)

    @staticmethod
    def in_place(tree: Tree, entries: Entries) -> Iterator[tuple[bytes, Leaf]]:
        """Contents that stand where their pointers stood, if the export left them out."""
        if not tree.shape.beside:
            yield from ((name, Leaf(leaf.stands_for, -1)) for name, leaf in pointers(entries))

    def incoming(self, handle: Handle, steps: Steps, name: bytes, leaf: Leaf) -> Incoming:
        """A content out of the tree, in memory if it is small, else staged. ImportRefusedError if it is another."""
        with self._ground.open(steps, name) as file:
            if 0 <= leaf.size <= IN_MEMORY_BYTES:
                incoming = content.held(file.read(leaf.size + 1))
            else:
                incoming = content.stage(handle, file, durable=False)
        if incoming.digest != leaf.digest:
            raise refused([f"{place(steps, name)}: it was changed while it was read"], 1)
        return incoming

    def _bring(self, handle: Handle, index: SqlIndex, waiting: list[tuple[Steps, bytes, Leaf]]) -> None:
        """Some contents, each once: the index beside the store remembers which were brought before."""
        there = index.physical.places({leaf.digest for *_, leaf in waiting})
        fresh = {one[2].digest: one for one in waiting if one[2].digest not in there}
        stats = self.publish(handle, [self.incoming(handle, *one) for one in fresh.values()])
        index.begin()
        index.physical.register_all(stats, {})
        index.commit()

    def publish(self, handle: Handle, incoming: list[Incoming]) -> list[BlobStat]:
        """Durable, under their names."""
        with handle.watching_syncs():
            content.stage_all(handle, [one for one in incoming if one.data is not None], set())
            staged = [one.staged for one in incoming if one.staged is not None]
            handle.blobs.settle(staged)
            stats = handle.blobs.publish(staged)
        self.report.contents += len(incoming)
        self.report.bytes += sum(one.size for one in incoming)
        if self._progress:
            self._progress(self.report.contents, None, "contents", "files")
        return stats


def _told(error: Exception) -> str:
    """Why, in words: what SQLite says of a key that is there twice tells people nothing."""
    match = re.search(r"UNIQUE constraint failed: ([a-z_]+)", str(error))
    if match is None:
        return f"{error}" if isinstance(error, HoldfastError | ValueError) else f"{type(error).__name__}: {error}"
    return "an id is given twice" if match[1] == "record" else f"two of {match[1]} have one name or number"


def _blocks(file: BinaryIO, where: str) -> Iterator[bytes]:
    """A file of changes, piece by piece; one that would have to be held in memory whole is refused."""
    long = 0
    while block := file.read(_BLOCK):
        end = block.rfind(b"\n")
        long = long + len(block) if end < 0 else len(block) - end - 1
        if long > MOST_LINE_BYTES:
            raise refused([f"{where}: a line of more than {MOST_LINE_BYTES >> 20} MiB"], 1)
        yield block


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (SourceUnreadableError, InvalidValueError) as error:
        raise refused([error.message], 1) from error


def _check(body: Body) -> None:
    """Names that no file system could hold lead astray whoever writes the store out again. InvalidNameError."""
    fields = {**body.get("new", {}), **{name: pair[1] for name, pair in body.get("set", {}).items()}}
    if body["kind"] not in ("artifact", "collection") or "name" not in fields:
        return
    is_root = body["kind"] == "collection" and body["action"] == "create" and "parent" not in fields
    if is_root and fields["name"] == "":
        return
    raw = bytes.fromhex(fields["name_hex"]) if fields.get("name_hex") else fields["name"].encode()
    if names.parse(raw).text != fields["name"]:
        raise ValueError(f"the name {fields['name']!r} is not that of its bytes")


def refused(problems: list[str], count: int, *, remedy: str | None = None) -> ImportRefusedError:
    """The error for an export that cannot be imported: some reasons, and how many there are."""
    more = f" (and {count - 1} more)" if count > 1 else ""
    return ImportRefusedError(
        f"the export cannot be imported: {problems[0]}{more}", path=problems[0].partition(":")[0], problems=problems,
        count=count, **({"remedy": remedy} if remedy else {}),
    )  # fmt: skip
