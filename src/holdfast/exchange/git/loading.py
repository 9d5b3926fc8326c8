"""Turns what git says of commits into what is to be written: places in the store, contents, and lines of the record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.engine.content import Incoming
from holdfast.errors import InvalidNameError
from holdfast.exchange.folder import Problem
from holdfast.exchange.git import record
from holdfast.exchange.git.commits import text
from holdfast.exchange.git.landing import Arriving, Load
from holdfast.exchange.git.places import is_harmful
from holdfast.exchange.git.record import Change, Kept
from holdfast.exchange.git.shelf import Place
from holdfast.exchange.git.texts import Texts
from holdfast.exchange.git.touched import EXECUTABLE, FOLDER, LINK, SUBMODULE, Commit, Touch, Touched
from holdfast.values import names
from holdfast.values.names import Name

REMEMBERED = 100_000
PART = 2_000
"""So many paths of one commit are written at once."""


class Counts(Protocol):
    """What is counted on the way."""

    commits: int
    merges: int
    empty: int
    cut: int
    odd: int
    escaped: int
    executables: int
    links: int
    submodules: int
    bytes: int
    problems: list[Problem]


@dataclass(slots=True)
class Part:
    """A commit, or a part of a large one. `kept`: its head, in the first part; `ends`: it is the last part.

    `aside`: contents whose paths no collection can hold, and where they go; `before`: what lay at the paths that go.
    """

    load: Load
    kept: Kept | None
    changes: list[Change] = field(default_factory=list)
    aside: list[tuple[tuple[Name, ...], Incoming]] = field(default_factory=list)
    before: dict[Place, bytes] = field(default_factory=dict)
    ends: bool = False


class Loader:
    """Makes parts of commits."""

    def __init__(self, texts: Texts, top: tuple[Name, ...], beside: tuple[Name, ...], counts: Counts) -> None:
        self._texts = texts
        self._top = top
        self._beside = beside
        self._counts = counts
        self._named: set[bytes] = set()
        self._written: set[bytes] = set()
        self._places: dict[bytes, Place | None] = {}

    def parts(self, touched: Sequence[Touched]) -> Iterator[Part]:
        """The parts of some commits, with their contents; each is to be written before the next but some is asked."""
        # What goes before what comes: a folder may come to stand where a file was.
        ordered = [(one, sorted(one.touches, key=lambda touch: (touch.mode != b"", touch.path))) for one in touched]
        self._texts.expect(
            touch.object_id for _, touches in ordered for touch in touches
            if touch.mode not in (b"", SUBMODULE) and not is_harmful(touch.path)
        )  # fmt: skip
        for one, touches in ordered:
            commit = one.commit
            self._count(commit, touches)
            kept: Kept | None = Kept(0, commit.id, commit.raw, commit.parents)
            self._written = {touch.path for touch in touches if touch.mode}
            for start in range(0, max(len(touches), 1), PART):
                part = Part(Load(commit), kept, ends=start + PART >= len(touches))
                if kept is not None:
                    part.changes += [Change(touch.source) for touch in touches if touch.source and touch.first]
                    kept = None
                self._fill(part, touches[start : start + PART])
                if part.ends:
                    part.changes += [Change(tree.path, FOLDER, tree.id, raw=tree.raw) for tree in one.trees]
                yield part

    def _fill(self, part: Part, touches: Sequence[Touch]) -> None:
        for touch in touches:
            if is_harmful(touch.path):
                self._problem(touch.path, "refused", "a path that git itself does not check out; it is left out")
            else:
                self._take(part, touch)

    def _take(self, part: Part, touch: Touch) -> None:
        place = self._place(touch.path)
        if touch.mode in (b"", SUBMODULE):
            if place is not None:
                part.load.leaving.append(place)
                part.before[place] = touch.before
            if touch.first:
                part.changes.append(Change(touch.path, touch.mode, touch.object_id if touch.mode else b""))
            return
        wanted = place or ((*self._beside, Name(record.CONTENTS)), Name(touch.object_id.decode()))
        incoming, kind = self._texts.get(touch.object_id, wanted)
        if touch.first:
            part.changes.append(Change(touch.path, touch.mode, touch.object_id, incoming.digest))
        source = self._place(touch.source) if touch.source else None
        if source is not None and touch.source not in self._written:
            if place is None:
                part.load.leaving.append(source)
            else:
                part.load.moving.append((source, place))
            part.before[source] = touch.before
        if place is None:
            self._problem(touch.path, "name", "no collection can hold a name of more than 255 bytes; the commit has it")
            part.aside.append(((*wanted[0], wanted[1]), incoming))
        else:
            part.load.arriving.append(Arriving(touch, place, incoming, kind))

    def _place(self, path: bytes) -> Place | None:
        """Where a path goes; None if no collection can hold it."""
        if path not in self._places:
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            try:
                parts = names.parse_path(path)
            except InvalidNameError:
                self._places[path] = None
            else:
                self._places[path] = ((*self._top, *parts[:-1]), parts[-1])
        return self._places[path]

    def _count(self, commit: Commit, touches: Sequence[Touch]) -> None:
        counts, words = self._counts, commit.text
        counts.commits += 1
        counts.merges += len(commit.parents) > 1
        counts.empty += not touches
        counts.cut += commit.is_cut
        counts.odd += not words.is_plain
        for raw in (words.author, words.committer, words.message):
            counts.escaped += not _is_utf8(raw)
        for touch in touches:
            counts.escaped += touch.mode != b"" and not _is_utf8(touch.path)
            counts.executables += touch.mode == EXECUTABLE
            counts.links += touch.mode == LINK
            if touch.mode == SUBMODULE:
                counts.submodules += 1
                self._problem(touch.path, "submodule", "a commit of another repository; its id is kept, and no file")
        counts.bytes = self._texts.bytes

    def _problem(self, path: bytes, code: str, reason: str) -> None:
        if path not in self._named:
            self._named.add(path)
            self._counts.problems.append(Problem(text(path), code, reason))


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
