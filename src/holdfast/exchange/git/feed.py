"""Feeds `git fast-import` with commits, and learns what ids they got. Its input is described in git-fast-import(1)."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from holdfast.blobs import copy_to
from holdfast.engine.handle import Handle
from holdfast.exchange.git.commits import CommitText, is_ident, object_id, parse, person
from holdfast.exchange.git.native import Drop, Move, Native, Put, Step
from holdfast.exchange.git.places import is_harmful
from holdfast.exchange.git.program import Git, Running
from holdfast.exchange.git.record import Change, Kept
from holdfast.exchange.git.touched import FOLDER, SUBMODULE

IN_MEMORY_BYTES = 1 << 20
AHEAD_BYTES = 32 << 20
REMEMBERED = 200_000
_MOST_WAITING = 500
"""So many ids fit into a pipe."""

_QUOTED = re.compile(rb'[\x00-\x1f"\\\x7f-\xff]')


@dataclass(slots=True)
class FeedCounts:
    """What was fed. `altered`: commits taken from git whose ids are others now; `absent`: contents not to be had."""

    commits: int = 0
    altered: int = 0
    absent: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Fed:
    """A commit whose id is to be learned. `kept`: the id that it had when it was taken.

    `raw`: it will have that id again, by its bytes, if the one that stands in for it gets the id `expected`.
    """

    mark: int
    kept: bytes = b""
    expected: bytes = b""
    raw: bool = False


@dataclass(slots=True)
class Heads:
    """Where things stand. `altered`: new ids of commits that could not be made as they were."""

    altered: dict[bytes, bytes] = field(default_factory=dict)


class Feed:
    """One fast-import at work. Use it in a `with`; `settle` makes what was fed durable and tells ids."""

    def __init__(self, git: Git, handle: Handle, ref: bytes, heads: Heads) -> None:
        self._git = git
        self._handle = handle
        self._ref = ref
        self._heads = heads
        self.counts = FeedCounts()
        self._running: Running = git.start(
            "fast-import", "--quiet", "--force", "--done", "--date-format=raw-permissive", "--max-pack-size=0"
        )
        self._writers: dict[bytes, Running] = {}
        self._marks: dict[bytes, int] = {}
        self._waiting: list[_Fed] = []
        self._sent: dict[str, bytes] = {}
        self._ids: dict[int, bytes] = {}
        self._mark = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.__exit__()
        for writer in self._writers.values():
            writer.__exit__()

    # -- contents ----------------------------------------------------------------------------------------------------

    def ahead(self, wanted: Iterable[tuple[bytes, str]]) -> Contents:
        """Write the contents that the next commits need, given as (path, digest) in order; what is known of them.

        Those of one path follow one another: fast-import stores a content as what it differs in from the one that it
        was given before. DamageError if one is not what it was.
        """
        by_path = sorted(dict.fromkeys(wanted), key=lambda one: one[0])
        every = dict.fromkeys(digest for _, digest in by_path)
        found = Contents(self._handle.index.whole.kept_of(list(every)))
        some: list[str] = []
        total = 0
        for digest in every:
            size = found.sizes.get(digest)
            if size is None or size > IN_MEMORY_BYTES or digest in self._sent:
                continue
            if some and total + size > AHEAD_BYTES:
                self._blobs(some)
                some, total = [], 0
            some.append(digest)
            total += size
        self._blobs(some)
        return found

    def _blobs(self, digests: Sequence[str]) -> None:
        data = dict(self._handle.blobs.read_many([(digest, None) for digest in digests]))
        for number, digest in enumerate(digests):
            one = data.pop(number)
            self._running.say(b"blob\ndata %d\n" % len(one))
            self._running.say(one)
            self._running.say(b"\n")
            self._remember(digest, object_id(b"blob", one, like=self._git.empty_tree))
            self.counts.bytes += len(one)

    # -- commits -----------------------------------------------------------------------------------------------------

    def kept(self, kept: Kept, changes: Sequence[Change], contents: Contents) -> bytes:
        """A commit that was taken from git, as it was wherever that is possible; the name to call it by."""
        words = parse(kept.raw)
        plain = _plain(words)
        raw = kept.parents == words.parents and not words.is_plain
        mark = self._begin(plain, kept.parents)
        for change in changes:
            self._change(change, contents)
        self._running.say(b"\n")
        expected = object_id(b"commit", plain.encode(kept.parents), like=kept.id)
        self._marks[kept.id] = mark
        self._waiting.append(_Fed(mark, kept.id, expected, raw))
        self.counts.commits += 1
        if raw:
            self._write_raw(kept, expected)
        elif len(self._waiting) >= _MOST_WAITING:
            self.learn()
        return kept.id

    def native(self, commit: Native, parents: Sequence[bytes], contents: Contents) -> bytes:
        """A commit that stands for a transaction; the name to call it by."""
        words = CommitText(b"", (), commit.author, commit.committer, b"", commit.message, (), is_plain=True)
        if any(isinstance(step, Move) for step in commit.steps):
            self.learn()  # so that the next answer is about what moves
        mark = self._begin(words, parents)
        for step in commit.steps:
            self._step(step, contents)
        self._running.say(b"\n")
        self._waiting.append(_Fed(mark))
        self.counts.commits += 1
        if len(self._waiting) >= _MOST_WAITING:
            self.learn()
        return b":%d" % mark

    def whole(self, commit: Native, parents: Sequence[bytes], steps: Callable[[], Iterable[Step]]) -> bytes:
        """A commit whose tree is all of `steps` and nothing else. They are gone through twice."""
        for some in _hundreds(steps()):
            self.ahead(_contents_of(some))
        words = CommitText(b"", (), commit.author, commit.committer, b"", commit.message, (), is_plain=True)
        mark = self._begin(words, parents)
        self._running.say(b"deleteall\n")
        for some in _hundreds(steps()):
            known = Contents(self._handle.index.whole.kept_of([digest for _, digest in _contents_of(some)]))
            for step in some:
                self._step(step, known)
        self._running.say(b"\n")
        self._waiting.append(_Fed(mark))
        self.counts.commits += 1
        return b":%d" % mark

    def _begin(self, words: CommitText, parents: Sequence[bytes]) -> int:
        self._mark += 1
        if not parents:
            self._running.say(b"reset %s\n\n" % self._ref)
        lines = [b"commit " + self._ref, b"mark :%d" % self._mark]
        lines += [b"author " + words.author, b"committer " + words.committer]
        lines += [b"encoding " + words.encoding] if words.encoding else []
        lines += [b"data %d" % len(words.message), words.message]
        names = [self._name(one) for one in parents]
        lines += [b"from " + names[0]] if names else []
        lines += [b"merge " + one for one in names[1:]]
        self._running.say(b"\n".join(lines) + b"\n")
        return self._mark

    def _name(self, parent: bytes) -> bytes:
        """What fast-import calls a commit: by its mark while it is new, by its id else."""
        mark = self._marks.get(parent)
        return self._heads.altered.get(parent, parent) if mark is None else b":%d" % mark

    # -- what a commit changes ---------------------------------------------------------------------------------------

    def _change(self, one: Change, contents: Contents) -> None:
        if one.mode == FOLDER:
            self._tree(one)
            return
        if is_harmful(one.path):
            return  # no import has written this
        if not one.mode:
            self._drop(one.path)
        elif one.mode == SUBMODULE:
            self._running.say(b"M 160000 %s %s\n" % (one.object_id, quoted(one.path)))
        else:
            assert one.digest is not None
            self._put(Put(one.path, one.mode, one.digest), contents)

    def _tree(self, one: Change) -> None:
        """A tree with modes that fast-import would not write. The one of all comes last, and then stands for all."""
        if object_id(b"tree", one.raw, like=one.object_id) != one.object_id:
            return
        self._write_object(b"tree", one.raw)
        if not one.path:
            self._running.say(b'M 040000 %s ""\n' % one.object_id)

    def _step(self, step: Step, contents: Contents) -> None:
        if isinstance(step, Put):
            self._put(step, contents)
        elif isinstance(step, Drop):
            self._drop(step.path)
        else:
            self._move(step)

    def _drop(self, path: bytes) -> None:
        self._running.say(b"D %s\n" % quoted(path))

    def _move(self, step: Move) -> None:
        """Asked for first: what is not there, as its content was given up or a folder is empty, cannot be moved."""
        if not step.path or not step.target:
            return
        self._running.say(b"ls %s\n" % quoted(step.path, always=True))
        self._running.flush()
        told = self._running.line()
        if told.startswith(b"missing "):
            return
        mode, _, found = told.partition(b"\t")[0].split(b" ")
        self._drop(step.path)
        self._running.say(b"M %s %s %s\n" % (mode, found, quoted(step.target)))

    def _put(self, step: Put, contents: Contents) -> None:
        known = self._sent.get(step.digest)
        size = contents.sizes.get(step.digest)
        if size is None:
            self.counts.absent += 1
            self._drop(step.path)
        elif known is not None:
            self._running.say(b"M %s %s %s\n" % (step.mode, known, quoted(step.path)))
        else:
            self._running.say(b"M %s inline %s\ndata %d\n" % (step.mode, quoted(step.path), size))
            with contextlib.closing(self._handle.blobs.open(step.digest)) as reader:
                copy_to(reader, self._running.say)
            self._running.say(b"\n")
            self.counts.bytes += size

    def _remember(self, digest: str, found: bytes) -> None:
        if len(self._sent) >= REMEMBERED:
            self._sent.clear()
        self._sent[digest] = found

    # -- what came of it ---------------------------------------------------------------------------------------------

    def learn(self) -> list[tuple[int, bytes]]:
        """(mark, id) of the commits that were fed since; those that got another id than they had are remembered."""
        for one in self._waiting:
            self._running.say(b"get-mark :%d\n" % one.mark)
        self._running.flush()
        waiting, self._waiting = self._waiting, []
        found = []
        for one in waiting:
            got = self._running.line()
            found.append((one.mark, got))
            self._ids[one.mark] = got
            if one.kept and (got != one.expected if one.raw else got != one.kept):
                self._heads.altered[one.kept] = got
                self.counts.altered += 1
        return found

    def _write_raw(self, kept: Kept, expected: bytes) -> None:
        """A commit with a signature, or headers that fast-import cannot write: its bytes, when its tree is there."""
        got = dict(self.learn())[self._mark]
        if got != expected:
            return  # its tree is another one
        self._write_object(b"commit", kept.raw)
        del self._marks[kept.id]

    def _write_object(self, kind: bytes, data: bytes) -> None:
        writer = self._writers.get(kind)
        if writer is None:
            writer = self._git.start("hash-object", "-w", "-t", kind, "--literally", "--stdin-paths")
            self._writers[kind] = writer
        with tempfile.NamedTemporaryFile(prefix="holdfast-") as file:
            file.write(data)
            file.flush()
            writer.say(os.fsencode(file.name) + b"\n")
            writer.flush()
            writer.line()

    def settle(self) -> None:
        """All that was fed is in the repository, and can be called by its id."""
        self._running.say(b"checkpoint\n")
        self.learn()
        self._marks.clear()

    def id_of(self, name: bytes) -> bytes:
        """The id of a commit that was fed, by the name that it goes by."""
        if name.startswith(b":"):
            self.learn()
            return self._ids[int(name[1:])]
        return self._heads.altered.get(name, name)

    def finish(self) -> None:
        """No more comes."""
        self._running.say(b"done\n")
        self._running.flush()
        self._running.finish()


@dataclass(slots=True)
class Contents:
    """Contents that are needed next. `sizes`: of those that are kept."""

    sizes: dict[str, int] = field(default_factory=dict)


def _hundreds(steps: Iterable[Step]) -> Iterator[list[Step]]:
    left = iter(steps)
    while some := list(islice(left, 500)):
        yield some


def _contents_of(steps: Iterable[Step]) -> list[tuple[bytes, str]]:
    return [(step.path, step.digest) for step in steps if isinstance(step, Put)]


def quoted(path: bytes, *, always: bool = False) -> bytes:
    """A path as fast-import reads it."""
    if not always and not _QUOTED.search(path) and path[:1] != b" ":
        return path
    return b'"' + _QUOTED.sub(lambda found: b"\\%03o" % found[0][0], path) + b'"'


def _plain(words: CommitText) -> CommitText:
    """What fast-import can write of a commit."""
    if words.is_plain:
        return words
    author, committer = (_mended(one) for one in (words.author, words.committer))
    return CommitText(words.tree, words.parents, author, committer, words.encoding, words.message, (), is_plain=True)


def _mended(line: bytes) -> bytes:
    if is_ident(line):
        return line
    who = person(line)
    name, email = (re.sub(rb"[<>\n\0]", b"", part) for part in (who.name, who.email))
    zone = b"%+03d%02d" % divmod(who.minutes, 60) if who.minutes >= 0 else b"-%02d%02d" % divmod(-who.minutes, 60)
    return b"%s <%s> %d %s" % (name, email, max(who.seconds or 0, 0), zone)
