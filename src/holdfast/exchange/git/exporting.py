"""`export git`: the history of the store, or of a collection, as commits of a repository; each time only what is new.

The same store gives the same commits, and commits that were taken from git are what they were. Until all is written no
branch is touched; a branch that has gone another way is never moved.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from holdfast.engine.handle import Handle
from holdfast.engine.recover import Progress
from holdfast.errors import DestinationDiffersError, InvalidValueError, NotFoundError
from holdfast.exchange import outgoing
from holdfast.exchange.folder import Problem
from holdfast.exchange.git import labels, record
from holdfast.exchange.git.feed import Contents, Feed, Heads
from holdfast.exchange.git.native import Native, Put
from holdfast.exchange.git.program import Git, repository, run, version
from holdfast.exchange.git.standing import Stored
from holdfast.exchange.git.telling import Event, Joined, Old, Scope, Stand, Telling, scope_of
from holdfast.kinds import fetching
from holdfast.kinds.addresses import CollectionRef
from holdfast.values import names
from holdfast.values.change import Head
from holdfast.values.names import Name
from holdfast.values.records import Collection

WINDOW = 1_000
WINDOW_CONTENTS = 5_000
SETTLE_COMMITS = 2_000
DEFAULT_BRANCH = "main"
_SHA256_DIGITS = 64


@dataclass(slots=True)
class GitExportReport:
    """What an export did. `commits`: new ones; `tip`: the newest; `seq`: the last change of the store that it tells.

    `altered`: commits that came from git and have other ids now, since parents or paths were left out; `absent`:
    contents that were purged or redacted, whose files are left out; `tags`: set; `bytes`: of content written.
    """

    repo: str = ""
    branch: str = ""
    tip: str = ""
    seq: int = 0
    commits: int = 0
    altered: int = 0
    absent: int = 0
    tags: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)


def export_git(
    handle: Handle, repo: str | bytes | os.PathLike[str], *, ref: CollectionRef = "", branch: str = "",
    bare: bool = False, progress: Progress | None = None,
) -> GitExportReport:  # fmt: skip
    """Write a history to a branch of a repository, which is made if it is not there (`bare`: without a work tree).

    By default the branch that was taken in, else `main`. The store itself is not changed. After an interruption the
    same call goes on. Raises NotFoundError, GitError, DestinationDiffersError: the branch has commits that the store
    does not know, or the repository is that of another store; nothing was changed then. Durable when it returns.
    """
    handle.alive()
    version()
    found = outgoing.find(handle.index, ref)
    if not isinstance(found, Collection):
        raise NotFoundError("there is no such collection, or the store is empty", kind="collection", ref=str(ref),
                            remedy="Name a collection; without one, all of the store is exported.")  # fmt: skip
    scope = scope_of(handle, found)
    wanted = branch or (scope.state.branch if scope.state else "") or DEFAULT_BRANCH
    id_length = len(scope.state.tip) if scope.state else 40
    git = _opened(handle, os.fsdecode(repo), wanted, bare=bare, id_length=id_length)
    with Stored(git, wanted) as stored:
        return _Export(handle, git, scope, stored, progress).run(names.parse_path(found.path_bytes))


class _Export:
    def __init__(self, handle: Handle, git: Git, scope: Scope, stored: Stored, progress: Progress | None) -> None:
        self._handle = handle
        self._git = git
        self._scope = scope
        self._stored = stored
        self._progress = progress
        self._position = stored.read(handle.marker.store_id, scope.collection)
        self._heads = Heads(dict(self._position.altered))
        self._head = self._position.head
        self._has_own = self._position.has_own
        self._reached: Head | None = None
        self._settled = 0
        self.report = GitExportReport(git.work_tree or git.folder, stored.branch)

    def run(self, place: tuple[Name, ...]) -> GitExportReport:
        self._refuse_other_store()
        telling = Telling(self._handle, self._scope, self._position.seq)
        with Feed(self._git, self._handle, self._stored.scratch, self._heads) as self._feed:
            for events in _windows(telling.events()):
                self._take(events)
            self._settle()
            self._feed.finish()
            counts = self._feed.counts
        self.report.commits, self.report.altered = counts.commits, len(self._heads.altered)
        self.report.absent, self.report.bytes = counts.absent, counts.bytes
        self._stored.forget_scratch()
        tip = self._position.head
        if tip:
            self._stored.publish(tip)
            self.report.tip = tip.decode()
            self._tags(place)
            if self._settled:
                self._sync()
        self.report.seq = self._position.seq
        return self.report

    def _refuse_other_store(self) -> None:
        position = self._position
        if position.seq and not self._handle.index.chain.passed(position.seq + 1, position.hash):
            raise DestinationDiffersError(
                "the repository has the export of another history of this store", path=self.report.repo,
                paths=[self.report.repo], count=1, remedy="Export to another repository or --branch.",
            )  # fmt: skip

    # -- commits -----------------------------------------------------------------------------------------------------

    def _take(self, events: Sequence[Event]) -> None:
        contents = self._contents(events)
        for event in events:
            if isinstance(event, Old):
                self._old(event, contents)
            elif isinstance(event, Native):
                self._head = self._feed.native(event, [self._head] if self._head else [], contents)
                self._has_own = True
            elif isinstance(event, Joined):
                self._join(event)
            else:
                self._stand(event)

    def _contents(self, events: Sequence[Event]) -> Contents:
        wanted: list[tuple[bytes, str]] = []
        for event in events:
            if isinstance(event, Old):
                wanted += [(one.path, one.digest) for one in event.changes if one.digest is not None]
            elif isinstance(event, Native):
                wanted += [(step.path, step.digest) for step in event.steps if isinstance(step, Put)]
        return self._feed.ahead(wanted)

    def _old(self, event: Old, contents: Contents) -> None:
        made = self._feed.kept(event.kept, event.changes, contents)
        if self._has_own and self._feed.id_of(self._head) == made:
            self._has_own = False  # a commit of ours that went to git and came back

    def _join(self, event: Joined) -> None:
        """What was taken is the head now; with what the store had done meanwhile, if git does not know of that."""
        if not self._has_own:
            self._head = event.tip
        else:
            self._head = self._feed.whole(event.message, [self._head, event.tip], event.steps)

    def _stand(self, event: Stand) -> None:
        self._reached = event.head
        if self._feed.counts.commits - self._settled >= SETTLE_COMMITS:
            self._settle()

    def _settle(self) -> None:
        """What was fed is in the repository: note how far the export is."""
        self._feed.settle()
        if self._feed.counts.commits > self._settled:
            self._sync()
        self._settled = self._feed.counts.commits
        if self._reached is None:
            return
        head = self._feed.id_of(self._head) if self._head else b""
        self._position = replace(
            self._position, seq=self._reached.next_seq - 1, hash=self._reached.hash, head=head,
            has_own=self._has_own, altered=dict(self._heads.altered),
        )  # fmt: skip
        self._stored.write(self._position)
        if self._progress:
            self._progress(self._settled, None, self.report.repo, "commits")

    def _sync(self) -> None:
        """git itself syncs packs, but no object that has a file of its own, nor what it checks out."""
        self._handle.disk.sync_filesystem(self._git.folder)

    # -- tags --------------------------------------------------------------------------------------------------------

    def _tags(self, place: tuple[Name, ...]) -> None:
        if self._scope.state is None:
            return
        try:
            data = fetching.content(self._handle, names.join_raw((*record.beside(place), Name(record.TAGS))))
        except NotFoundError:
            return
        for tag in labels.decode(data):
            trouble = labels.write(self._git, tag, self._heads.altered)
            if trouble:
                shown = tag.name.decode("utf-8", "backslashreplace")
                self.report.problems.append(Problem(f"refs/tags/{shown}", *trouble))
            if not trouble or trouble[0] == "unsigned":
                self.report.tags += 1


def _windows(events: Iterator[Event]) -> Iterator[list[Event]]:
    """Some events at a time, so that their contents are read together."""
    waiting: list[Event] = []
    contents = 0
    for event in events:
        waiting.append(event)
        if isinstance(event, Old):
            contents += len(event.changes)
        elif isinstance(event, Native):
            contents += len(event.steps)
        if len(waiting) >= WINDOW or contents >= WINDOW_CONTENTS:
            yield waiting
            waiting, contents = [], 0
    if waiting:
        yield waiting


def _opened(handle: Handle, repo: str, branch: str, *, bare: bool, id_length: int) -> Git:
    """The repository; a new one in a folder that is not there, or is empty. Its ids must be as long as those taken."""
    if not branch or branch.startswith("-"):
        raise InvalidValueError(f"{branch!r} cannot be a branch", where="branch", reason="form")
    run(("check-ref-format", "--branch", branch))
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if os.listdir(repo):
            found = repository(repo)
            if len(found.empty_tree) != id_length:
                raise InvalidValueError(
                    "the repository has ids of another sort than the history", where="repo", reason="object format",
                    remedy="Name a folder that is not there: a fitting repository is made.",
                )  # fmt: skip
            return found
    inside = os.path.realpath(repo)
    root = os.path.realpath(handle.root)
    if inside == root or inside.startswith(root + os.sep):
        raise InvalidValueError("the repository would lie in the store", where="repo", reason="inside",
                                remedy="Name a folder outside of the store.")  # fmt: skip
    shape = ["--bare"] if bare or repo.endswith(".git") else []
    shape += ["--object-format=sha256"] if id_length == _SHA256_DIGITS else []
    run(("init", "--quiet", f"--initial-branch={branch}", *shape, "--template=", "--", repo))
    return repository(repo)
