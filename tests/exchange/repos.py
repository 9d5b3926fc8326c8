"""Repositories for tests of git histories: made commit by commit, or drawn by Hypothesis; and what they say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

import holdfast
from holdfast.values.records import SYMLINK_MEDIA_TYPE

Tree = dict[bytes, tuple[str, bytes]]
WHO = b"A U Thor <author@example.org> 1700000000 +0200"
OTHER = b"C O Mitter <committer@example.org> 1700000100 -0330"
ELSEWHERE = "1234567890123456789012345678901234567890"


class Repo:
    """A bare repository that grows by fast-import."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        self.branch = branch
        subprocess.run(["git", "init", "-q", "--bare", "-b", branch, path], check=True)
        self.ids: list[bytes] = []

    def git(self, *args: str | bytes, given: bytes = b"", strip: bool = True) -> bytes:
        """What git says of it."""
        done = subprocess.run(["git", "--git-dir", self.path, *args], input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip() if strip else done.stdout

    def commit(
        self, tree: Tree, message: bytes = b"a message\n", *, parents: list[bytes] | None = None, author: bytes = WHO,
        committer: bytes = OTHER, encoding: bytes = b"", branch: str | None = None,
    ) -> bytes:  # fmt: skip
        """One more commit with just this tree, on the newest unless `parents` says otherwise; its id."""
        parents = self.ids[-1:] if parents is None else parents
        ref = f"refs/heads/{branch or self.branch}".encode()
        lines = [b"reset " + ref, b"", b"commit " + ref, b"author " + author, b"committer " + committer]
        lines += [b"encoding " + encoding] if encoding else []
        lines += [b"data %d" % len(message), message]
        lines += [(b"merge " if n else b"from ") + one for n, one in enumerate(parents)]
        lines += [b"deleteall"]
        for path, (mode, data) in tree.items():
            name = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
            if mode == "160000":
                lines.append(b"M 160000 " + data + b" " + name)
            else:
                lines += [b"M " + mode.encode() + b" inline " + name, b"data %d" % len(data), data]
        self.git("fast-import", "--quiet", "--force", "--date-format=raw", given=b"\n".join(lines) + b"\n")
        self.ids.append(self.git("rev-parse", ref))
        return self.ids[-1]

    def raw(self, kind: str, data: bytes) -> bytes:
        """An object of just these bytes; its id."""
        return self.git("hash-object", "-w", "--literally", "-t", kind, "--stdin", given=data)

    def take(self, commit: bytes) -> bytes:
        """Make a commit the tip."""
        self.git("update-ref", f"refs/heads/{self.branch}", commit)
        self.ids.append(commit)
        return commit


def graph(path: Path, ref: str = "HEAD") -> bytes:
    """Every commit of a history with its parents: with the ids goes all that a commit says and holds."""
    args = ["git", "-C", path, "rev-list", "--topo-order", "--parents", ref]
    return subprocess.run(args, capture_output=True, check=True).stdout


def said(path: Path, form: str, *more: str) -> list[str]:
    """What `git log` says of each commit, newest first."""
    args = ["git", "-C", path, "log", "--topo-order", f"--format={form}", *more]
    return subprocess.run(args, capture_output=True, check=True).stdout.decode("utf-8", "backslashreplace").splitlines()


def sound(path: Path) -> bool:
    """Whether git finds nothing wrong."""
    done = subprocess.run(["git", "-C", path, "fsck", "--strict", "--full"], capture_output=True, check=False)
    return done.returncode == 0 and b"error" not in done.stderr + done.stdout


def tree_of(path: Path, ref: str = "HEAD") -> dict[bytes, tuple[bytes, bytes]]:
    """(mode, content) of every file of a commit, by path."""
    listed = subprocess.run(["git", "-C", path, "ls-tree", "-r", "-z", ref], capture_output=True, check=True).stdout
    found = {}
    for entry in listed.split(b"\0")[:-1]:
        facts, name = entry.split(b"\t", 1)
        mode, kind, one = facts.split(b" ")
        if kind == b"blob":
            data = subprocess.run(["git", "-C", path, "cat-file", "blob", one], capture_output=True, check=True).stdout
            found[name] = (mode, data)
    return found


def standing(store: holdfast.Store, place: str) -> dict[bytes, tuple[bytes, bytes]]:
    """The same of what lies in a collection."""
    found = {}
    skip = len(place.encode()) + 1 if place else 0
    for one in store.artifacts.list(place, recursive=True):
        mode = b"100755" if (one.revision.file.mode or 0) & 0o100 else b"100644"
        mode = b"120000" if one.media_type == SYMLINK_MEDIA_TYPE else mode
        found[one.path_bytes[skip:]] = (mode, store.read(one))
    return found


# -- drawn -----------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from([b"a", b"b", b"dir", b"\xff\xfe", b"with space", b'"quoted"', b"new\nline", b"\xc3\xa9", b"A"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(b"/".join)
_CONTENTS = st.sampled_from([b"", b"one\n", b"two\n", b"three\n" * 30, b"\0\xff" * 20])
_MODES = st.sampled_from(["100644", "100644", "100755", "120000", "160000"])
_STEPS = st.one_of(
    st.tuples(st.just("put"), _PATHS, _CONTENTS, _MODES),
    st.tuples(st.just("drop"), _PATHS, st.none(), st.none()),
    st.tuples(st.just("move"), _PATHS, _PATHS, st.none()),
)
_MESSAGES = st.sampled_from(
    [b"", b"plain\n", b"subject\n\nbody\n", b"caf\xe9\n", b"\xff\n", b"no newline", b"\xc3\xa9\n"]
)
_PEOPLE = st.sampled_from(
    [WHO, OTHER, b"J\xfcrgen <j@x> 0 +0000", b"<nobody> 4102444800 +1400", b"\xc3\xa9 <> 1 -1200"]
)
HISTORIES = st.lists(
    st.tuples(st.lists(_STEPS, max_size=4), st.lists(st.integers(0, 5), max_size=2), _MESSAGES, _PEOPLE, _PEOPLE),
    min_size=1, max_size=9,
)  # fmt: skip
"""Commits: steps, how far back parents lie, message, author, committer."""


def plant(repo: Repo, history: list[Any], *, first: int = 0, trees: list[Tree] | None = None) -> list[Tree]:
    """Make a drawn history, from commit `first` on; the trees of all commits. The last one comes after all others."""
    trees = [] if trees is None else trees
    for number, (steps, back, message, author, committer) in enumerate(history):
        if number < first:
            continue
        parents = list(dict.fromkeys(number - 1 - one for one in back if number - 1 - one >= 0))
        if number == len(history) - 1:
            parents += sorted(set(range(number)) - _reached(history, number, parents), reverse=True)
        tree = dict(trees[parents[0]]) if parents else {}
        for step in steps:
            _step(tree, step)
        repo.commit(tree, message, parents=[repo.ids[one] for one in parents], author=author, committer=committer)
        trees.append(tree)
    return trees


def _reached(history: list[Any], number: int, parents: list[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(parents)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [one - 1 - back for back in history[one][1] if one - 1 - back >= 0]
    return found


def _step(tree: Tree, step: Any) -> None:
    word, path, more, mode = step
    if word == "put":
        _put(tree, path, (mode, ELSEWHERE.encode() if mode == "160000" else more))
    elif word == "drop":
        tree.pop(path, None)
    elif path in tree:
        _put(tree, more, tree.pop(path))


def _put(tree: Tree, path: bytes, value: tuple[str, bytes]) -> None:
    """As git would have it: a file in the place of a folder, or the other way round, takes its place."""
    for other in list(tree):
        if other.startswith(path + b"/") or path.startswith(other + b"/"):
            del tree[other]
    tree[path] = value
