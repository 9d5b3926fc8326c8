"""`export tree`: the store as readable files, in a folder that git can keep; only what changed is written.

What was edited in the folder since the last export is never overwritten, unless the caller insists: it is known by
comparing the folder with the state that it was made of.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from holdfast import disk
from holdfast.blobs import copy_to
from holdfast.engine import past
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import InvalidValueError, NotFoundError, StorageIOError
from holdfast.exchange import tree_intent
from holdfast.exchange.ground import Ground, Steps
from holdfast.exchange.staging import Fill
from holdfast.exchange.tree import FORMAT, TOP, Label, Leaf, Part, Shape, Tree, place
from holdfast.exchange.tree_before import demand_own, edits, erased_since, label, refuse_inside
from holdfast.exchange.tree_compare import Difference, Why, differences, differs, is_content, listed, strays
from holdfast.exchange.tree_landing import Apart, Landing, landing
from holdfast.exchange.tree_notes import Notes, Written, notes_of
from holdfast.index.exported import Noted
from holdfast.values.change import Head

WINDOW_FILES = 4_000
WINDOW_BYTES = 64 << 20
IN_MEMORY_BYTES = 1 << 20
_UNMARKED = bytes(32)
Pending = list[tuple[Steps, bytes, Leaf, bool]]
"""Where, what, and whether it is written already."""


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
        overwritten, is_unerased = [], False
        if touched is None or touched:
            overwritten = edits(handle, ground, before, shape, touched, force=wanted.force)
        elif before is not None:
            demand_own(handle, ground, before)
            is_unerased = not erased_since(handle, before.head.next_seq)
        with landing(ground, handle.disk, Label(handle.marker.store_id, shape, head)) as way:
            work = _Export(handle, way, notes, progress)
            work.report.overwritten, work.is_unerased = overwritten, is_unerased
            work.follow(ground, head, shape)
            if isinstance(way, Apart):
                notes.before_they_show()
            way.end()
            notes.written(work.at_top)
        tree_intent.clear(ground)
        notes.end(ground.read((), FORMAT, 4096) or b"")
        return work.report


class _Export:
    def __init__(self, handle: Handle, way: Landing, notes: Notes, progress: Progress | None) -> None:
        self._handle = handle
        self._way = way
        self._ground = way.ground
        self._notes = notes
        self.at_top: list[Written] = []
        """Files that look otherwise once they are moved up."""

        self._marks: dict[tuple[Steps, bytes], bytes] = {}
        self._progress = progress
        self.report = ExportReport()
        self.is_settled = False
        """It was made of a state that nobody can change any more."""

        self.is_unerased = False
        """Nothing was redacted since the last export: the same rows make the same lines."""

    def follow(self, ground: Ground, head: Head, shape: Shape) -> None:
        """Make the tree of a state that lasts: that of `head`, or of a later one, which is noted in `ground`."""
        while True:
            self.run(head, shape)
            now = self._handle.index.chain.head()
            assert now is not None
            if self.is_settled or now.hash == head.hash:
                return
            self._notes.distrust()
            head = now
            tree_intent.note(ground, Label(self._handle.marker.store_id, shape, head))

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
            self.at_top = []
            self._write_all(tree)
            self.report.root = tree.label.root
        self._way.is_new = False

    def _write_all(self, tree: Tree) -> None:
        pending: Pending = []
        size = 0
        for steps, entries in tree.folders():
            names = self._folder(steps)
            for name in names:
                if name not in entries and (steps or name in TOP or isinstance(self._way, Apart)):
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
                    self._way.write(steps, name, _whole(leaf.data or b""))
                    leaf = Leaf(leaf.digest, leaf.size)
                if not steps and name == FORMAT:  # says that all is there: named when the names of all are durable
                    self._write(tree, pending)
                    self._way.settle()
                    pending = []
                pending.append((steps, name, leaf, isinstance(entry, Part)))
                size += leaf.size
                if len(pending) >= WINDOW_FILES or size >= WINDOW_BYTES:
                    self._write(tree, pending)
                    pending, size = [], 0
        self._write(tree, pending)

    def _missing(self, tree: Tree, steps: Steps, name: bytes, entry: Leaf | Part, *, is_there: bool) -> Leaf | None:
        """The file that is to be written; None if it is there."""
        noted = self._notes.known(steps, name) if is_there else None
        if isinstance(entry, Part) and noted is not None and self._is_as_noted(tree, entry, noted):
            self._notes.same(steps, name, noted)
            return None
        leaf = tree.leaf(entry)
        mark = tree.marks.pop(entry) if isinstance(entry, Part) else _UNMARKED
        if isinstance(entry, Part):
            self._marks[steps, name] = mark
        if noted is not None and "sha256:" + noted.digest.hex() == leaf.digest:
            self._notes.same(steps, name, noted if noted.mark == mark else replace(noted, mark=mark))
            return None
        facts = self._ground.look(steps, name) if is_there and noted is None else None
        if is_there and noted is None and self._is_there(steps, name, leaf):
            self._notes.read(steps, name, leaf, mark, facts)
            return None
        return leaf

    def _is_as_noted(self, tree: Tree, entry: Part, noted: Noted) -> bool:
        """Whether the rows are the ones that the noted file was made of: then its lines need not be made."""
        if not self.is_unerased or noted.mark != tree.index.whole.mark(entry.what, entry.first):
            return False
        tree.is_known(entry, "sha256:" + noted.digest.hex())
        return True

    def _is_there(self, steps: Steps, name: bytes, leaf: Leaf) -> bool:
        """Whether the file is as it is to be; a folder or link in its place goes."""
        why = differs(self._ground, steps, name, leaf)
        if why is Why.LINK:
            self._remove((*steps, name))
        return why is None

    def _folder(self, steps: Steps) -> frozenset[bytes]:
        """The names in a folder, which is made, with those above it, if it is not there."""
        found = [] if self._way.is_new else listed(self._ground, steps)
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

    def _write(self, tree: Tree, pending: Pending) -> None:
        if not pending:
            return
        small = []
        for number, (steps, name, leaf, is_written) in enumerate(pending):
            if not is_written and is_content(leaf) and leaf.size <= IN_MEMORY_BYTES:
                small.append(number)
            elif not is_written:
                self._way.write(steps, name, self._filling(tree, leaf))
        unknown = {leaf.digest: None for n in small if (leaf := pending[n][2]).spot is None}
        places = self._handle.index.physical.places(unknown)
        spots = {digest: place.spot for digest, place in places.items()}
        wanted = [((leaf := pending[n][2]).digest, leaf.spot or spots.get(leaf.digest)) for n in small]
        for number, data in self._handle.blobs.read_many(wanted):
            steps, name, _, _ = pending[small[number]]
            self._way.write(steps, name, _whole(data))
        self._landed(pending)
        if self._progress:
            done = self.report.written + self.report.same
            self._progress(done, None, place(pending[-1][0], pending[-1][1]), "files")

    def _landed(self, pending: Pending) -> None:
        own, marks = self._way.land(), self._marks
        written = [
            Written(steps, name, leaf.digest, marks.pop((steps, name), _UNMARKED), own[steps, name])
            for steps, name, leaf, _ in pending
        ]
        self.report.written += len(pending)
        self.report.bytes += sum(leaf.size for _, _, leaf, _ in pending)
        if isinstance(self._way, Apart):
            self._notes.written_apart([one for one in written if one.steps])
            self.at_top += [one for one in written if not one.steps]
        else:
            self._notes.written(written)
        self._notes.pause()

    def _filling(self, tree: Tree, leaf: Leaf) -> Fill:
        if leaf.data is not None:
            return _whole(leaf.data)
        if leaf.changes:
            return lambda write: [write(piece) for piece in tree.chain(leaf.changes)]
        return lambda write: self._copy(leaf.digest, write)

    def _copy(self, digest: str, write: Callable[[bytes], object]) -> None:
        with contextlib.closing(self._handle.blobs.open(digest)) as reader:
            copy_to(reader, write)


def _whole(data: bytes) -> Fill:
    return lambda write: write(data)
