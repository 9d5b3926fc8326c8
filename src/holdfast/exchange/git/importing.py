"""`import git`: the history of a repository into a collection, some commits at a time, each batch all or nothing.

After an interruption the same call goes on; after the repository has grown, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from holdfast.engine import content
from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.engine.together import Series, together
from holdfast.engine.transaction import Unit
from holdfast.errors import ConflictError, InvalidValueError
from holdfast.exchange.folder import Problem
from holdfast.exchange.git import labels, record, walk
from holdfast.exchange.git.edits import Edits
from holdfast.exchange.git.landing import Landed, Landing, author
from holdfast.exchange.git.loading import Loader, Part
from holdfast.exchange.git.objects import Objects
from holdfast.exchange.git.program import Git, repository
from holdfast.exchange.git.record import Chapter, State
from holdfast.exchange.git.shelf import Shelf
from holdfast.exchange.git.texts import Texts
from holdfast.exchange.git.walk import Walker, Way, object_named
from holdfast.kinds import addresses, collections, revising
from holdfast.kinds.revising import Description
from holdfast.values import names
from holdfast.values.names import Name

BATCH_COMMITS = 500
BATCH_CHANGES = 4_000
BATCH_BYTES = 64 << 20
HELD_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a repository: a branch (or tag, or commit; "": what HEAD is), some paths, a range `OLD..NEW`."""

    branch: str = ""
    paths: tuple[str | bytes, ...] = ()
    range: str = ""


@dataclass(slots=True)
class GitImportReport:
    """What an import did. Counts of commits, of artifacts, and of what git has and the store keeps its own way.

    `into`: the collection; `tip`: the commit that is there now; `created`, `revised`, `moved`, `deleted`, `unchanged`:
    artifacts, for each commit that touched them; `bytes`: of content read. `cut`: commits whose parents were left out;
    `odd`: commits with signatures or other headers of their own, kept as they are; `escaped`: texts that are not UTF-8;
    `tags`: kept; `tags_left`: on commits that are not in this history, or on no commit; `left`: their names.
    `problems`: what could not be kept as it was.
    """

    into: str = ""
    branch: str = ""
    tip: str = ""
    commits: int = 0
    merges: int = 0
    empty: int = 0
    cut: int = 0
    odd: int = 0
    escaped: int = 0
    created: int = 0
    revised: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    executables: int = 0
    links: int = 0
    submodules: int = 0
    bytes: int = 0
    tags: int = 0
    tags_left: int = 0
    left: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def import_git(
    handle: Handle, repo: str | bytes | os.PathLike[str], *, into: str | bytes | None = None,
    wanted: Wanted | None = None, progress: Progress | None = None,
) -> GitImportReport:  # fmt: skip
    """Take the history of a repository into the collection `into`; by default one of the repository's name.

    Each batch is durable before the next begins. Raises GitError, InvalidValueError (no such branch or range),
    ConflictError: the collection holds something else, the history was rewritten since it was taken, or somebody
    changed in the store what a new commit changes too.
    """
    handle.writable()
    git = repository(repo)
    name = os.path.basename(os.path.realpath(git.work_tree or git.folder))
    place = names.parse_path(into if into is not None else (name.removesuffix(".git") or name))
    work = _Import(handle, git, place, progress)
    return work.run(wanted or Wanted())


class _Import:
    def __init__(self, handle: Handle, git: Git, place: tuple[Name, ...], progress: Progress | None) -> None:
        self._handle = handle
        self._git = git
        self._place = place
        self._beside = record.beside(place)
        self._progress = progress
        self._edits = Edits(handle, place)
        self.report = GitImportReport(into=names.join(place))

    def run(self, wanted: Wanted) -> GitImportReport:
        state = self._begin(wanted)
        self._shelf = Shelf(self._handle, self._place)
        self._landing = Landing(self._handle, self._shelf, os.path.basename(self._git.work_tree or self._git.folder))
        if not state.closed:
            state = self._leg(state)
        tip, _, branch = _bounds(self._git, wanted)
        if tip != state.tip:
            self._refuse_rewritten(state, tip)
            state = self._leg(replace(state.going_on_to(tip), branch=branch or state.branch))
        self._keep_tags(state)
        self.report.tip, self.report.branch = state.tip.decode(), state.branch
        return self._told()

    # -- where it begins ---------------------------------------------------------------------------------------------

    def _begin(self, wanted: Wanted) -> State:
        tip, since, branch = _bounds(self._git, wanted)
        paths = tuple(sorted(os.fsencode(one) for one in wanted.paths))
        found = record.find(self._handle, self._place)
        if found is None:
            self._refuse_taken()
            self._upto = (self._handle.index.chain.head() or self._handle.origin).next_seq
            return State("", branch, tip, paths, since)
        state, artifact = found
        self._refuse_other(state, paths, since)
        self._upto = artifact.revision.seq + 1
        return state

    def _refuse_taken(self) -> None:
        index = self._handle.index
        for path in (self._place, self._beside):
            parent = index.collections.down(path[:-1]) if path else None
            held = None if parent is None else index.artifacts.by_place(parent, path[-1])
            key = index.collections.down(path)
            empty = key is None or (
                next(index.collections.children(key), None) is None
                and next(index.collections.artifact_keys(key), None) is None
            )
            if held is not None or not empty:
                raise ConflictError(
                    f"{names.join(path)!r} holds something that no import of this history has put there",
                    path=names.join(path), remedy="Name another collection with --into.",
                )  # fmt: skip

    def _refuse_other(self, state: State, paths: tuple[bytes, ...], since: tuple[bytes, ...]) -> None:
        if (paths and paths != state.paths) or (since and since != state.since):
            raise ConflictError(
                f"{names.join(self._place)!r} holds another part of the history", path=names.join(self._place),
                remedy="Give the same --path and beginning of the range as before, or none. Or another --into.",
            )  # fmt: skip
        collection = self._handle.index.collections.by_id(state.collection)
        if (
            collection is None
            or collection.deleted_at is not None
            or collection.path_bytes != names.join_raw(self._place)
        ):
            raise ConflictError(
                f"the collection that the history was taken into is not at {names.join(self._place)!r} any more",
                path=names.join(self._place), remedy="Move it back, with its record beside it; or name another --into.",
            )  # fmt: skip

    def _refuse_rewritten(self, state: State, tip: bytes) -> None:
        if self._git.try_("merge-base", "--is-ancestor", state.tip, tip) is None:
            raise ConflictError(
                f"the history was rewritten: {tip[:12].decode()} does not come after {state.tip[:12].decode()}, "
                "which was taken before", path=names.join(self._place), taken=state.tip.decode(), tip=tip.decode(),
                remedy="Import it into another collection with --into, or name the branch that was taken before.",
            )  # fmt: skip

    # -- a leg -------------------------------------------------------------------------------------------------------

    def _leg(self, state: State) -> State:
        """Take all commits up to the tip of a state; the state then."""
        way = Way(state.tip, state.since, state.taken, state.paths)
        self._total = state.commits - state.done + walk.count(self._git, way)
        objects = Objects(self._git)
        texts = Texts(self._handle, objects)
        batch = _Batch(self, texts, state)
        try:
            with Walker(self._git, way) as walker:
                loader = Loader(texts, self._place, self._beside, self.report)
                for commits in walker.commits(skip=state.done, last=state.last):
                    for part in loader.parts(walker.touches(commits)):
                        batch.take(part)
            return batch.close()
        finally:
            texts.drop()
            objects.close()
            batch.drop()

    def write(self, parts: Sequence[Part], texts: Texts, state: State, chapter: Chapter | None) -> State:
        """Make a batch of parts durable, with how far the import is then; that, with the collection if it is new."""
        texts.settle()
        with together(self._handle, what="import git") as series:
            self._look_around(series)
            if not state.collection:
                with series.transaction() as unit:
                    key = collections.ensure_down(unit, self._place)
                    state = replace(state, collection=self._handle.index.lookups.ids([key])[key])
            for part in parts:
                with series.transaction(author(part.load.commit)) as unit:
                    self._compare(unit, part)
                    self._landing.land(unit, part.load, begins=part.kept is not None)
                    for place, incoming in part.aside:
                        self._put(unit, place, incoming)
            with series.transaction() as unit:
                if chapter is not None:
                    self._keep_chapter(unit, chapter)
                self._put(unit, (*self._beside, Name(record.STATE)), content.held(state.encode()))
        self._upto = series.head.next_seq
        texts.landed()
        if self._progress:
            self._progress(state.commits, self._total, self.report.into, "commits")
        return state

    def _look_around(self, series: Series) -> None:
        if series.first != self._upto:
            self._shelf.forget()
            self._edits.note(self._upto, series.first)

    def _compare(self, unit: Unit, part: Part) -> None:
        if not self._edits:
            return
        zeros = b"0" * len(self._git.empty_tree)
        for one in part.load.arriving:
            self._edits.refuse(unit, self._shelf, one.place, before=one.touch.before, digest=one.incoming.digest)
        for place, before in part.before.items():
            self._edits.refuse(unit, self._shelf, place, before=before or zeros, digest=None)

    def _keep_chapter(self, unit: Unit, chapter: Chapter) -> None:
        chapter.file.seek(0)
        incoming = content.stage(self._handle, chapter.file)
        place = (*self._beside, Name(record.COMMITS), Name(f"{chapter.first:09d}.jsonl"))
        self._put(unit, place, incoming)

    def _put(self, unit: Unit, place: tuple[Name, ...], incoming: content.Incoming) -> None:
        # No media type of text: it says again what artifacts and runs say, and a search would find both.
        said = Description(type=record.TYPE, media_type=record.MEDIA_TYPE)
        parent = collections.ensure_down(unit, place[:-1])
        found = unit.handle.index.artifacts.by_place(parent, place[-1])
        if found is None:
            revising.create(unit, parent, place[-1], incoming, said)
        else:
            revising.revise(unit, found, incoming, said)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _keep_tags(self, state: State) -> None:
        kept, left = labels.read(self._git, state)
        self.report.tags, self.report.tags_left, self.report.left = len(kept), len(left), left
        data = labels.encode(kept)
        path = names.join_raw((*self._beside, Name(record.TAGS)))
        if not kept and addresses.newest_digest(self._handle, path) == "":
            return
        with together(self._handle, what="import git") as series, series.transaction() as unit:
            self._put(unit, (*self._beside, Name(record.TAGS)), content.held(data))

    def _told(self) -> GitImportReport:
        landed: Landed = self._landing.landed
        report = self.report
        report.created, report.revised, report.moved = landed.created, landed.revised, landed.moved
        report.deleted, report.unchanged = landed.deleted, landed.unchanged
        return report


class _Batch:
    """Commits that wait to be written together."""

    def __init__(self, work: _Import, texts: Texts, state: State) -> None:
        self._work = work
        self._texts = texts
        self._state = state
        self._parts: list[Part] = []
        self._chapter: Chapter | None = None
        self._commits = self._changes = 0

    def take(self, part: Part) -> None:
        """One more commit, or a part of one."""
        if part.kept is not None:
            if self._chapter is None:
                self._chapter = Chapter(self._state.commits + 1)
            number = self._state.commits + 1
            self._chapter.begin(replace(part.kept, number=number))
        assert self._chapter is not None
        for one in part.changes:
            self._chapter.change(one)
        self._parts.append(part)
        self._changes += len(part.load.arriving) + len(part.load.leaving)
        if part.ends:
            one_more = replace(self._state, done=self._state.done + 1, last=part.load.commit.id)
            self._state = replace(one_more, commits=self._state.commits + 1)
            self._commits += 1
        full = self._commits >= BATCH_COMMITS or self._changes >= BATCH_CHANGES
        if full or self._texts.held_bytes >= HELD_BYTES or self._texts.batch_bytes >= BATCH_BYTES:
            self._write(whole=part.ends)

    def close(self) -> State:
        """Write what is left; the state at the end."""
        self._state = replace(self._state, closed=True)
        self._write(whole=True)
        return self._state

    def _write(self, *, whole: bool) -> None:
        self._state = self._work.write(self._parts, self._texts, self._state, self._chapter if whole else None)
        if whole:
            self.drop()
        self._parts, self._commits, self._changes = [], 0, 0

    def drop(self) -> None:
        """The lines are in the store, or never will be."""
        if self._chapter is not None:
            self._chapter.close()
            self._chapter = None


def _bounds(git: Git, wanted: Wanted) -> tuple[bytes, tuple[bytes, ...], str]:
    """(tip, what the history begins after, name of the branch)."""
    since: tuple[bytes, ...] = ()
    tip = wanted.branch
    if wanted.range:
        old, dots, new = wanted.range.partition("..")
        if not dots or not old or new.startswith("."):
            raise InvalidValueError(f"{wanted.range!r} is no range", where="range", reason="form",
                                    remedy="Give OLD..NEW, or OLD.. for all that came after OLD.")  # fmt: skip
        if new and wanted.branch:
            raise InvalidValueError("a branch, and a range that ends", where="range", reason="both",
                                    remedy="Give `--range OLD..` with --branch, or OLD..NEW without.")  # fmt: skip
        since, tip = (object_named(git, old),), new or tip
    name = tip or os.fsdecode(git.try_("symbolic-ref", "--short", "-q", "HEAD") or b"")
    return object_named(git, tip or "HEAD"), since, name
