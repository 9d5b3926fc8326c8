"""What commits touch, as `git diff-tree` tells it, and the trees that only their own bytes can stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from holdfast.errors import GitError, ImportRefusedError
from holdfast.exchange.git.objects import Objects
from holdfast.exchange.git.program import OUT_OF_MEMORY, Git, Running
from holdfast.exchange.git.touched import (
    EXECUTABLE,
    FOLDER,
    LINK,
    REGULAR,
    SUBMODULE,
    Commit,
    Touch,
    Touched,
    Tree,
)

_KNOWN = 200_000
_BLOCK = 1 << 16
_ASKED_BYTES = 1 << 15
_MOST_PARENTS = 100
MOST_FILES = 1_000_000
"""No commit may touch more: a few kilobytes can say that there are billions (a tree ten times in a tree, and so on)."""

MOST_MEMORY = 2 << 30
"""git compares two trees in memory, before it says a word."""


class Differences:
    """What commits touch, as `diff-tree` tells it."""

    def __init__(self, git: Git, paths: tuple[bytes, ...]) -> None:
        self._git = git
        limits: list[str | bytes] = ["--", *paths] if paths else []
        self._running: Running = git.start(
            "diff-tree", "--stdin", "--raw", "-r", "-t", "-z", "--always", "--no-abbrev", "-M", "-l400", *limits
        )
        self._running.hold_to(MOST_MEMORY)
        self._tokens = _Tokens(self._running)

    def close(self) -> None:
        """No more is asked."""
        self._running.__exit__()

    def of(self, commits: Sequence[Commit]) -> Iterator[Touched]:
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

    def _answers(self, asked: list[Commit]) -> Iterator[Touched]:
        self._running.say(b".\n")  # no id: git prints it, and with it all that it has to say so far
        self._running.flush()
        for one in asked:
            yield self._read(one)
        self._tokens.expect(b".\n")

    def _ask(self, one: Commit) -> int:
        lines = [b"%s %s\n" % (one.id, parent) for parent in one.parents[:_MOST_PARENTS]]
        question = b"".join(lines) or b"%s %s\n" % (self._git.empty_tree, one.text.tree)
        self._running.say(question)
        return len(question)

    def _read(self, one: Commit) -> Touched:
        try:
            return self._touched(one)
        except GitError as error:
            if OUT_OF_MEMORY not in error.message.lower():
                raise
            raise _bomb(one) from error

    def _touched(self, one: Commit) -> Touched:
        made = Touched(one)
        if not one.parents:
            self._tokens.expect(b"%s %s\n" % (self._git.empty_tree, one.text.tree))
            made.touches += self._touches(made, first=True, whole=True)
        seen: set[bytes] = set()
        for number in range(len(one.parents[:_MOST_PARENTS])):
            self._tokens.expect(one.id + b"\0")
            for touch in self._touches(made, first=number == 0, whole=len(one.parents) == 1):
                if touch.path not in seen:
                    made.touches.append(touch)
                    seen.add(touch.path)
        made.trees.sort(key=lambda tree: -tree.path.count(b"/"))
        made.trees.append(Tree(b"", one.text.tree))
        return made

    def _touches(self, made: Touched, *, first: bool, whole: bool) -> Iterator[Touch]:
        """`whole`: not `whole`, moves are told as what went and what came."""
        while self._tokens.peek() == b":":
            old_mode, mode, before, now, status = self._tokens.next()[1:].split(b" ")
            path = self._tokens.next()
            if len(made.touches) + len(made.trees) > MOST_FILES:
                raise _bomb(made.commit)
            target = self._tokens.next() if status[:1] in (b"R", b"C") else path
            if FOLDER in (old_mode, mode):
                if mode == FOLDER and first:
                    made.trees.append(Tree(target, now))
                continue
            zeros = b"0" * len(now)
            if status[:1] == b"D":
                yield Touch(path, b"", zeros, before, first=first)
            elif target is path:
                yield Touch(path, mode, now, before, first=first)
            else:
                yield from self._moved(Touch(target, mode, now, before, path, first), old_mode, status, whole=whole)

    @staticmethod
    def _moved(touch: Touch, old_mode: bytes, status: bytes, *, whole: bool) -> Iterator[Touch]:
        zeros = b"0" * len(touch.object_id)
        if status[:1] == b"R" and whole and SUBMODULE not in (old_mode, touch.mode):
            yield touch
            return
        if status[:1] == b"R":
            yield Touch(touch.source, b"", zeros, touch.before, first=touch.first)
        yield Touch(touch.path, touch.mode, touch.object_id, zeros, first=touch.first)


def _bomb(one: Commit) -> ImportRefusedError:
    where = f"commit {one.id.decode()}"
    return ImportRefusedError(
        f"{where} has too many files: it may be a bomb", path=where, count=1,
        problems=[f"{where}: more than {MOST_FILES:,} files, or more than git can compare in {MOST_MEMORY >> 20} MiB"],
        remedy="Take a part of the repository (`--path`), if you know it to be what it should be.",
    )  # fmt: skip


class OddTrees:
    """Finds trees that fast-import would write otherwise: modes such as 100664, which old programs have written."""

    def __init__(self, git: Git, objects: Objects) -> None:
        digits = len(git.empty_tree) // 2
        modes = b"|".join((REGULAR, EXECUTABLE, LINK, SUBMODULE, b"40000"))
        self._plain = re.compile(rb"(?:(?:%s) [^\0]+\0.{%d})*+" % (modes, digits), re.DOTALL)
        self._objects = objects
        self._known: set[bytes] = set()

    def find(self, found: Sequence[Touched]) -> None:
        """Give commits that bring such a tree the bytes of all trees that they bring."""
        if len(self._known) > _KNOWN:
            self._known.clear()
        asked = [tree.id for one in found for tree in one.trees if tree.id not in self._known]
        odd = set()
        for one, size in self._objects.each(list(dict.fromkeys(asked))):
            if self._plain.fullmatch(self._objects.take(size)):
                self._known.add(one)
            else:
                odd.add(one)
        for touched in found:
            if any(tree.id in odd for tree in touched.trees):
                raws = self._objects.many([tree.id for tree in touched.trees])
                touched.trees = [replace(tree, raw=raw) for tree, raw in zip(touched.trees, raws, strict=True)]


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
