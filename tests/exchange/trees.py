"""Trees of odd files for tests of ways out and in again: drawn by Hypothesis, made on disk, read back to compare."""

from __future__ import annotations

import os
import stat
from typing import Any

from hypothesis import strategies as st

LINK = "link"
FILE = "file"

_ODD = [
    b"A",
    b"a",
    b"\xff",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"-rf",
    b"new\nline",
    b" ",
    b"...",
    b"CON",
    b"id:x",
    b"a\\b",
    b".git",
    b"x" * 255,
]
NAMES = st.one_of(
    st.sampled_from(_ODD),
    st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b"..")),
)
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o000, 0o4755, 0o1666])
FOLDER_MODES = st.sampled_from([0o755, 0o700, 0o555, 0o2775])
TIMES = st.integers(-(10**18), 4 * 10**18)
CONTENTS = st.one_of(
    st.just(b""), st.binary(max_size=40), st.sampled_from([9_000, 1 << 20]).map(lambda n: b"x" * n + b"y")
)
TARGETS = st.binary(min_size=1, max_size=30).filter(lambda target: 0 not in target)

_LEAVES = st.one_of(
    st.tuples(st.just(FILE), CONTENTS, MODES, TIMES), st.tuples(st.just(LINK), TARGETS, st.none(), TIMES)
)
TREES = st.recursive(
    st.dictionaries(NAMES, _LEAVES, max_size=5),
    lambda inner: st.dictionaries(NAMES, st.one_of(_LEAVES, inner), max_size=4),
    max_leaves=12,
)
"""A folder: a dict by names of (file or link, content, mode, time), and of further folders."""


def plant(folder: bytes, tree: dict[bytes, Any], mode: int = 0o755) -> None:
    """Make a tree in a folder that is there."""
    for name, node in tree.items():
        path = os.path.join(folder, name)
        if isinstance(node, dict):
            os.mkdir(path)
            plant(path, node)
            continue
        kind, content, own_mode, mtime = node
        if kind == LINK:
            os.symlink(content, path)
        else:
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, own_mode)
        os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
    os.chmod(folder, mode)
    os.utime(folder, ns=(0, 1_000_000_000 + len(tree)))


def picture(top: str | bytes, *, times: bool = True) -> dict[bytes, tuple[Any, ...]]:
    """All that a tree holds, by path: type, mode, time in nanoseconds, and content or target."""
    found: dict[bytes, tuple[Any, ...]] = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        full = os.path.join(os.fsencode(top), path) if path else os.fsencode(top)
        facts = os.lstat(full)
        when = facts.st_mtime_ns if times else 0
        if stat.S_ISDIR(facts.st_mode):
            found[path] = ("folder", stat.S_IMODE(facts.st_mode), when)
            waiting += [os.path.join(path, name) for name in os.listdir(full)]
        elif stat.S_ISLNK(facts.st_mode):
            found[path] = (LINK, None, when, os.readlink(full))
        else:
            with open(full, "rb") as file:
                found[path] = (FILE, stat.S_IMODE(facts.st_mode), when, file.read())
    return found
