"""`export tree`: the store as readable files, in a folder that git can keep; only what changed is written.

What was edited in the folder since the last export is never overwritten, unless the caller insists: it is known by
comparing the folder with the state that it was made of.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace

from holdfast import disk
from holdfast.blobs import copy_to
from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import InvalidValueError, NotFoundError, StorageIOError
from holdfast.exchange import tree_intent
from holdfast.exchange.ground import Ground, Steps
from holdfast.exchange.staging import Fill, Staging
from holdfast.exchange.tree import FORMAT, TOP, Label, Leaf, Part, Shape, Tree, place
from holdfast.exchange.tree_before import demand_own, edits, erased_since, label, refuse_inside
from holdfast.exchange.tree_compare import Difference, Why, differences, differs, is_content, listed, strays
from holdfast.exchange.tree_notes import Notes, Written, notes_of
from holdfast.values.change import Head
from holdfast.values.records import FileFacts

WINDOW_FILES = 4_000
WINDOW_BYTES = 64 << 20
IN_MEMORY_BYTES = 1 << 20
_PLAIN = FileFacts()
_UNMARKED = bytes(32)
Pending = list[tuple[Steps, bytes, Leaf, bytes]]
"""Where, what, and its passing name if it is written."""


@dataclass(slots=True)
class ExportReport:
    """What an export did, in files. `seq`: the last change of the state that is there now; `root`: its root hash."""

    seq: int = 0
    root: str = ""
    written: int = 0
    same: int = 0
    removed: int = 0
    bytes: int = 0
    overwritten: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller says of the tree; None: as in the one that is there. `force`: edits in it are overwritten."""

    large_from: int | None = None
    large_beside: bool | None = None
    force: bool = False

    def shape(self, before: Shape) -> Shape:
        """The tree's shape."""
        start = before.large_from if self.large_from is None else self.large_from
        if start < 0:
            raise InvalidValueError(f"large_from is {start}", where="large_from", reason="negative")
        return Shape(start, before.beside if self.large_beside is None else self.large_beside)


def _make_folder(top: str) -> None:
    try:
        with disk.typed("make folder", top):
            os.makedirs(top, exist_ok=True)
    except (FileExistsError, FileNotFoundError) as error:
        raise StorageIOError(
            f"{top!r} is no folder, and none can be made there", path=top, operation="make folder", errno=error.errno,
            remedy="Name a folder that is empty, or one that is not there yet.",
        ) from error  # fmt: skip


def export_tree(
    handle: Handle, dest: str | bytes | os.PathLike[str], *, wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> ExportReport:  # fmt: skip
    """Write the store as a tree of files to a folder, or bring one that was exported before up to date.

    Durable when it returns. Raises NotFoundError (the store is empty),
    DestinationDiffersError (edits, or another store's export; nothing was changed), BlobMissingError,
    BlobDamagedError, NoSpaceError. After an interruption the same call goes on.
    """
    handle.alive()
    head = handle.index.chain.head()
    if head is None:
        raise NotFoundError("the store is empty", kind="record", ref="", remedy="Put something in: `holdfast add`.")
    own = handle.facts()
    top = os.fsdecode(dest)
    _make_folder(top)
    with contextlib.ExitStack() as held:
        ground = held.enter_context(Ground(top, own))
        refuse_inside(ground, handle)
        notes = held.enter_context(notes_of(handle, ground))
        before = label(ground)
        wanted = wanted or Wanted()
        shape = wanted.shape(before.shape if before else Shape())
        if before is None or notes.label != before.encode() or tree_intent.noted(ground):
            notes.distrust()
        touched = notes.touched()
        if touched is None:
            notes.distrust()
        if before is not None and before.head.hash == head.hash and before.shape == shape:
            if touched is not None and not touched and not notes.missing:
                return ExportReport(head.next_seq - 1, before.root, same=notes.files)
            tree = Tree(handle.index, handle.marker.store_id, shape)
            if touched is None and not any(differences(ground, tree)):
                tree_intent.clear(ground)
                return ExportReport(head.next_seq - 1, tree.label.root, same=tree.files)
        work = _Export(handle, ground, notes, progress)
        if touched is None or touched:
            work.report.overwritten = edits(handle, ground, before, shape, touched, force=wanted.force)
        elif before is not None:
            demand_own(handle, ground, before)
            work.is_unerased = not erased_since(handle, before.head.next_seq)
        tree_intent.note(ground, Label(handle.marker.store_id, shape, head))
        while True:
            work.run(head, shape)
            now = handle.index.chain.head()
            assert now is not None
            if work.is_settled or now.hash == head.hash:
                tree_intent.clear(ground)
                notes.end(ground.read((), FORMAT, 4096) or b"")
                return work.report
            notes.distrust()
            head = now
            tree_intent.note(ground, Label(handle.marker.store_id, shape, head))


class _Export:
    def __init__(self, handle: Handle, ground: Ground, notes: Notes, progress: Progress | None) -> None:
        self._handle = handle
        self._ground = ground
        self._notes = notes
        self._marks: dict[Steps, bytes] = {}
        self._progress = progress
        self.report = ExportReport()
        self.is_settled = False
        """It was made of a state that nobody can change any more."""

        self.is_unerased = False
        """Nothing was redacted since the last export: the same rows make the same lines."""

    def run(self, head: Head, shape: Shape) -> None:
        """Make the tree of the state that ends in `head`; if somebody writes meanwhile, of one that stands still."""
        handle = self._handle
        with contextlib.ExitStack() as held:
            index = handle.index
            now = handle.index.chain.head()
            if self.report.seq or now is None or now.hash != head.hash:
                index = held.enter_context(past.index_at(handle, head.next_seq - 1, self._progress))
                self.is_settled = True
            tree = Tree(index, handle.marker.store_id, shape)
            self.report = ExportReport(head.next_seq - 1, overwritten=self.report.overwritten)
            self._notes.begin()
            with Staging(self._ground, handle.disk, watched=True) as staging:
                self._write_all(tree, staging)
            self.report.root = tree.label.root
        handle.disk.sync_filesystem(self._ground.top)

    def _write_all(self, tree: Tree, staging: Staging) -> None:
        pending: Pending = []
        size = 0
        for steps, entries in tree.folders():
            names = self._folder(steps)
            for name in names:
                if name not in entries and (steps or name in TOP):
                    self._remove((*steps, name))
            self._notes.folder(steps, [name for name, entry in entries.items() if entry is None])
            for name, entry in entries.items():
                if entry is None:
                    continue
                leaf = self._missing(tree, steps, name, entry, is_there=name in names)
                if leaf is None:
                    self.report.same += 1
                    continue
                if isinstance(entry, Part):  # not kept in memory until its turn comes
                    passing = staging.write(_whole(leaf.data or b""), _PLAIN)
                    leaf = Leaf(leaf.digest, leaf.size)
                else:
                    passing = b""
                pending.append((steps, name, leaf, passing))
                size += leaf.size
                if len(pending) >= WINDOW_FILES or size >= WINDOW_BYTES:
                    self._write(tree, staging, pending)
                    pending, size = [], 0
        label = pending.pop() if pending and pending[-1][1] == FORMAT else None
        self._write(tree, staging, pending)
        if label is not None:
            staging.settle()  # what says that all is there gets its name when the names of all are durable
            self._write(tree, staging, [label])

    def _missing(self, tree: Tree, steps: Steps, name: bytes, entry: Leaf | Part, *, is_there: bool) -> Leaf | None:
        """The file that is to be written; None if it is there."""
        noted = self._notes.known(steps, name) if is_there else None
        if (
            isinstance(entry, Part)
            and noted is not None
            and self.is_unerased
            and noted.mark == tree.index.whole.mark(entry.what, entry.first)
        ):
            tree.is_known(entry, "sha256:" + noted.digest.hex())
            self._notes.same(steps, name, noted)
            return None
        leaf = tree.leaf(entry)
        mark = tree.marks.pop(entry) if isinstance(entry, Part) else _UNMARKED
        if isinstance(entry, Part):
            self._marks[*steps, name] = mark
        if noted is not None and "sha256:" + noted.digest.hex() == leaf.digest:
            self._notes.same(steps, name, noted if noted.mark == mark else replace(noted, mark=mark))
            return None
        facts = self._ground.look(steps, name) if is_there and noted is None else None
        if is_there and noted is None and self._is_there(steps, name, leaf):
            self._notes.read(steps, name, leaf, mark, facts)
            return None
        return leaf

    def _is_there(self, steps: Steps, name: bytes, leaf: Leaf) -> bool:
        """Whether the file is as it is to be; a folder or link in its place goes."""
        why = differs(self._ground, steps, name, leaf)
        if why is Why.LINK:
            self._remove((*steps, name))
        return why is None

    def _folder(self, steps: Steps) -> frozenset[bytes]:
        """The names in a folder, which is made, with those above it, if it is not there."""
        found = listed(self._ground, steps)
        if isinstance(found, Difference):
            self._remove(found.steps)
            found = []
        if steps and not found:
            try:
                self._ground.make(steps, 0o777)
            except FileNotFoundError:
                for depth in range(1, len(steps) + 1):
                    self._ground.make(steps[:depth], 0o777)
        return frozenset(found)

    def _remove(self, steps: Steps) -> None:
        """A file, a link, or a folder with all in it: it is not part of the tree any more."""
        ground = self._ground
        for one in list(strays(ground, steps)):
            with disk.typed("remove", ground.top):
                os.unlink(one.steps[-1], dir_fd=ground.folder(one.steps[:-1]))
            self.report.removed += 1
        ground.remove_folders(steps)

    def _write(self, tree: Tree, staging: Staging, pending: Pending) -> None:
        if not pending:
            return
        staged = {number: passing for number, (*_, passing) in enumerate(pending) if passing}
        small = [
            n
            for n, (_, _, leaf, _) in enumerate(pending)
            if n not in staged and is_content(leaf) and leaf.size <= IN_MEMORY_BYTES
        ]
        unknown = {leaf.digest: None for n in small if (leaf := pending[n][2]).spot is None}
        places = self._handle.index.physical.places(unknown)
        spots = {digest: place.spot for digest, place in places.items()}
        wanted = [((leaf := pending[n][2]).digest, leaf.spot or spots.get(leaf.digest)) for n in small]
        for number, data in self._handle.blobs.read_many(wanted):
            staged[small[number]] = staging.write(_whole(data), _PLAIN)
        for number, (_, _, leaf, _) in enumerate(pending):
            if number not in staged:
                staged[number] = staging.write(self._filling(tree, leaf), _PLAIN)
        staging.settle()
        written = []
        for number, (steps, name, leaf, _) in enumerate(pending):
            staging.replace(staged[number], self._ground.folder(steps), name)
            mark = self._marks.pop((*steps, name), _UNMARKED)
            written.append(Written(steps, name, leaf.digest, mark, staging.own.pop(staged[number])))
            self.report.written += 1
            self.report.bytes += leaf.size
        self._notes.written(written)
        self._notes.pause()
        if self._progress:
            done = self.report.written + self.report.same
            self._progress(done, None, place(pending[-1][0], pending[-1][1]), "files")

    def _filling(self, tree: Tree, leaf: Leaf) -> Fill:
        if leaf.data is not None:
            return _whole(leaf.data)
        if leaf.changes:
            return lambda write: [write(piece) for piece in tree.chain(leaf.changes)]
        return lambda write: copy_to(self._handle.blobs.open(leaf.digest), write)


def _whole(data: bytes) -> Fill:
    return lambda write: write(data)
