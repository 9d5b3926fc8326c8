"""Goes through the commits of a repository, parents first, and says what each one touches. Everything streams."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from holdfast.errors import GitError, InvalidValueError
from holdfast.exchange.git.commits import parse
from holdfast.exchange.git.differences import Differences, OddTrees
from holdfast.exchange.git.objects import TOGETHER, Objects
from holdfast.exchange.git.program import Git
from holdfast.exchange.git.touched import Commit, Touched

_ORDER = ("--topo-order", "--reverse", "--parents")
_OBJECT_ID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")


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
        self._differences = Differences(git, way.paths)
        self._odd = OddTrees(git, self._objects)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._objects.close()
        self._differences.close()

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
            yield [self._commit(one, raw, parents) for (one, parents), raw in zip(part, raws, strict=True)]

    def _commit(self, one: bytes, raw: bytes, parents: tuple[bytes, ...]) -> Commit:
        """Where none is left out, the parents are those that it names: one may be named twice."""
        words = parse(raw)
        all_ = not self._way.paths and set(parents) == set(words.parents)
        return Commit(one, raw, words, words.parents if all_ else parents)

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

    def touches(self, commits: Sequence[Commit]) -> list[Touched]:
        """Each commit with what it touches: against every parent, so that what stands at the end is its tree."""
        found = list(self._differences.of(commits))
        if not self._way.paths:  # else its trees are none of the repository's
            self._odd.find(found)
        for one in found:
            one.trees = [tree for tree in one.trees if tree.raw]
        return found
