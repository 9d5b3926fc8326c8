"""Goes through the commits of a repository, parents first, and says what each one touches. Everything streams."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from holdfast.errors import GitError, InvalidValueError
from holdfast.exchange.git.commits import CommitText, parse
from holdfast.exchange.git.program import Git, Running

TOGETHER = 200
"""Questions that are asked before the first answer is read: they must fit into a pipe (64 KiB)."""

REGULAR, EXECUTABLE, LINK, SUBMODULE = b"100644", b"100755", b"120000", b"160000"
_BLOCK = 1 << 16
_ASKED_BYTES = 1 << 15
_MOST_PARENTS = 100
_ORDER = ("--topo-order", "--reverse", "--parents")
_OBJECT_ID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Touch:
    """What a commit did to a path. `mode` b"": the path is gone. `source`: where the content was before, if moved.

    `before`: git's id of the old content there, all zeros if there was none. `first`: against the first parent.
    """

    path: bytes
    mode: bytes
    object_id: bytes
    before: bytes
    source: bytes = b""
    first: bool = True


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit on the way in. `parents`: those that are in the history that is taken; `is_cut`: not all are."""

    id: bytes
    raw: bytes
    text: CommitText
    parents: tuple[bytes, ...]

    @property
    def is_cut(self) -> bool:
        """Whether it has parents that are left out."""
        return self.parents != self.text.parents


@dataclass(frozen=True, slots=True)
class Way:
    """What of a repository is wanted: what `tip` can reach, and neither `since` nor `taken` can.

    `since`: the history begins after it; `taken`: it was taken before. `paths`: as git takes them.
    """

    tip: bytes
    since: tuple[bytes, ...] = ()
    taken: tuple[bytes, ...] = ()
    paths: tuple[bytes, ...] = ()


def object_named(git: Git, name: str | bytes) -> bytes:
    """The commit that a name stands for. InvalidValueError."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    found = None if raw.startswith(b"-") or not raw else git.try_(
        "rev-parse", "--verify", "--quiet", "--end-of-options", raw + b"^{commit}")  # fmt: skip
    if found is None or not _OBJECT_ID.fullmatch(found):
        shown = raw.decode("utf-8", "backslashreplace")
        raise InvalidValueError(f"the repository has no commit {shown!r}", where="branch", reason="absent",
                                remedy="List its branches: `git branch --all`.")  # fmt: skip
    return found


def count(git: Git, way: Way) -> int:
    """How many commits there are on a way."""
    excluded = [b"^" + one for one in (*way.since, *way.taken)]
    return int(git.ask("rev-list", "--count", way.tip, *excluded, b"--", *way.paths))


class Walker:
    """The commits of a way, in the order of `rev-list --topo-order --reverse`: always the same one."""

    def __init__(self, git: Git, way: Way) -> None:
        self._git = git
        self._way = way
        self._objects = Objects(git)
        self._trees = Differences(git, way.paths)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._objects.close()
        self._trees.close()

    def commits(self, *, skip: int = 0, last: bytes = b"") -> Iterator[list[Commit]]:
        """Some at a time, all but the first `skip` of them, of which the last one must be `last`."""
        lines = self._lines()
        passed = next(itertools.islice(lines, skip - 1, skip), None) if skip else (last, ())
        if passed is None or passed[0] != last:
            raise GitError(
                "the repository has other commits than when the import began", command="rev-list", status=0,
                remedy="Import it again into a new place (`--into`).",
            )  # fmt: skip
        while part := list(itertools.islice(lines, TOGETHER)):
            raws = self._objects.many([one for one, _ in part])
            yield [Commit(one, raw, parse(raw), parents) for (one, parents), raw in zip(part, raws, strict=True)]

    def _lines(self) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
        way = self._way
        excluded = [b"^" + one for one in (*way.since, *way.taken)]
        outside, known = self._edge(way.since), self._edge(way.taken) if way.paths and way.taken else set()
        with self._git.start("rev-list", *_ORDER, way.tip, *excluded, *self._limits, given=False) as listing:
            for line in listing.out:
                one, *parents = line.split()
                kept = [self._nearest(parent) if parent in known else parent for parent in parents]
                yield one, tuple(dict.fromkeys(parent for parent in kept if parent and parent not in outside))
            listing.finish()

    @property
    def _limits(self) -> list[bytes]:
        return [b"--", *self._way.paths]

    def _edge(self, excluded: tuple[bytes, ...]) -> set[bytes]:
        """The commits just outside: parents of commits that are taken, which are not taken themselves."""
        if not excluded:
            return set()
        without = [b"^" + one for one in excluded]
        told = self._git.ask("rev-list", "--boundary", *_ORDER, self._way.tip, *without, *self._limits)
        return {line[1:].split(b" ")[0] for line in told.split(b"\n") if line[:1] == b"-"}

    def _nearest(self, parent: bytes) -> bytes:
        """Where only some paths are taken: the commit that was taken for one that touches none of them."""
        return self._git.ask("rev-list", "-1", parent, *self._limits)

    def touches(self, commits: Sequence[Commit]) -> Iterator[tuple[Commit, list[Touch]]]:
        """Each commit with what it touches: against every parent, so that what stands at the end is its tree."""
        yield from self._trees.of(commits)


class Objects:
    """Objects of a repository by their ids."""

    def __init__(self, git: Git) -> None:
        self._running = git.start("cat-file", "--batch")

    def many(self, ids: Sequence[bytes]) -> list[bytes]:
        """The bytes of some objects; for small ones."""
        return [self._running_read(size) for _, size in self.each(ids)]

    def each(self, ids: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
        """(id, size) of each; what it holds is read, by `take` or `piece`, before the next one is asked for."""
        waiting = iter(ids)
        for one in itertools.islice(waiting, TOGETHER):
            self._running.say(one + b"\n")
        self._running.flush()
        for one in ids:
            told = self._running.line().split(b" ")
            if len(told) != 3:
                raise GitError(
                    f"the repository lacks the object {one.decode()}", command="cat-file", status=1,
                    remedy="Run `git fsck` on it. If it is a partial clone: `git fetch --refetch --no-filter`.",
                )  # fmt: skip
            yield one, int(told[2])
            following = next(waiting, None)
            if following is not None:
                self._running.say(following + b"\n")
                self._running.flush()

    def _running_read(self, size: int) -> bytes:
        data = self.piece(size)
        self.end()
        return data

    def take(self, size: int) -> bytes:
        """All of the object that was met."""
        return self._running_read(size)

    def piece(self, size: int) -> bytes:
        """The next bytes of it."""
        return self._running.exactly(size)

    def end(self) -> None:
        """It was read whole."""
        self._running.exactly(1)

    def close(self) -> None:
        """No more is asked."""
        self._running.__exit__()


class Differences:
    """What commits touch, as `diff-tree` tells it."""

    def __init__(self, git: Git, paths: tuple[bytes, ...]) -> None:
        self._git = git
        limits: list[str | bytes] = ["--", *paths] if paths else []
        self._running: Running = git.start(
            "diff-tree", "--stdin", "--raw", "-r", "-z", "--always", "--no-abbrev", "-M", "-l400", *limits
        )
        self._tokens = _Tokens(self._running)

    def close(self) -> None:
        """No more is asked."""
        self._running.__exit__()

    def of(self, commits: Sequence[Commit]) -> Iterator[tuple[Commit, list[Touch]]]:
        """Some commits, each with what it touches."""
        asked: list[Commit] = []
        size = 0
        for one in commits:
            size += self._ask(one)
            asked.append(one)
            if size >= _ASKED_BYTES:  # it must fit into the pipe: git answers before it has read it all
                yield from self._answers(asked)
                asked, size = [], 0
        yield from self._answers(asked)

    def _answers(self, asked: list[Commit]) -> Iterator[tuple[Commit, list[Touch]]]:
        self._running.say(b".\n")  # no id: git prints it, and with it all that it has to say so far
        self._running.flush()
        for one in asked:
            yield one, self._read(one)
        self._tokens.expect(b".\n")

    def _ask(self, one: Commit) -> int:
        lines = [b"%s %s\n" % (one.id, parent) for parent in one.parents[:_MOST_PARENTS]]
        question = b"".join(lines) or b"%s %s\n" % (self._git.empty_tree, one.text.tree)
        self._running.say(question)
        return len(question)

    def _read(self, one: Commit) -> list[Touch]:
        if not one.parents:
            self._tokens.expect(b"%s %s\n" % (self._git.empty_tree, one.text.tree))
            return list(self._touches(first=True, whole=True))
        found: list[Touch] = []
        seen: set[bytes] = set()
        for number in range(len(one.parents[:_MOST_PARENTS])):
            self._tokens.expect(one.id + b"\0")
            for touch in self._touches(first=number == 0, whole=len(one.parents) == 1):
                if number == 0 or touch.path not in seen:
                    found.append(touch)
                    seen.add(touch.path)
        return found

    def _touches(self, *, first: bool, whole: bool) -> Iterator[Touch]:
        """`whole`: not `whole`, moves are told as what went and what came."""
        while self._tokens.peek() == b":":
            old_mode, mode, before, now, status = self._tokens.next()[1:].split(b" ")
            path = self._tokens.next()
            zeros = b"0" * len(now)
            if status[:1] == b"D":
                yield Touch(path, b"", zeros, before, first=first)
            elif status[:1] in (b"R", b"C"):
                target = self._tokens.next()
                moved = status[:1] == b"R"
                if moved and not whole:
                    yield Touch(path, b"", zeros, before, first=first)
                source = path if moved and whole and SUBMODULE not in (old_mode, mode) else b""
                if moved and whole and not source:
                    yield Touch(path, b"", zeros, before, first=first)
                yield Touch(target, mode, now, before if source else zeros, source, first=first)
            else:
                yield Touch(path, mode, now, before, first=first)


class _Tokens:
    """What a process prints, cut at NULs."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._have = b""
        self._at = 0

    def _more(self) -> None:
        self._running.flush()
        new = self._running.out.read1(_BLOCK)  # type: ignore[attr-defined]
        if not new:
            raise self._running.failure()
        self._have = self._have[self._at :] + new
        self._at = 0

    def peek(self) -> bytes:
        while self._at >= len(self._have):
            self._more()
        return self._have[self._at : self._at + 1]

    def next(self) -> bytes:
        while (end := self._have.find(b"\0", self._at)) < 0:
            self._more()
        found = self._have[self._at : end]
        self._at = end + 1
        return found

    def expect(self, wanted: bytes) -> None:
        while len(self._have) - self._at < len(wanted):
            self._more()
        found = self._have[self._at : self._at + len(wanted)]
        if found != wanted:
            raise GitError(f"git diff-tree says {found!r} instead of {wanted!r}", command="diff-tree", status=0)
        self._at += len(wanted)
