"""Rules: folders taken in, with files, links and folders in them, and taken in again after they were changed."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from holdfast.testing.machine import values
from holdfast.testing.machine.driver import Driver
from holdfast.testing.machine.values import among, some
from holdfast.testing.model import Link, Tree

_links = st.builds(Link, st.sampled_from([b"a", b"../nowhere", b"\xff"]))
_nodes = st.recursive(
    values.contents | _links,
    lambda inner: st.dictionaries(values.names, inner, max_size=3),
    max_leaves=5,
)
trees = st.dictionaries(values.names, _nodes, max_size=3)
modes = st.sampled_from([0o644, 0o755])


def _taken(machine: Any) -> list[Any]:
    return list(machine.taken)


class TreeRules(Driver):
    """`add`."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[bytes, bytes, Tree]] = []

    @rule(into=values.folders, name=values.names, mode=modes, atomic=st.booleans(), tree=trees)
    def add(self, into: bytes, name: bytes, mode: int, atomic: bool, tree: Tree) -> None:
        """A folder taken in."""
        self._add(into, name, tree, mode, atomic=atomic)
        if not self.pending:
            self.taken.append((into, name, tree))

    @precondition(some(_taken))
    @rule(which=among(_taken), changed=trees, atomic=st.booleans())
    def add_again(self, which: tuple[bytes, bytes, Tree], changed: Tree, atomic: bool) -> None:
        """The same folder with some changes: what is the same makes no revision."""
        into, name, tree = which
        self._add(into, name, {**tree, **changed}, 0o644, atomic=atomic)

    @rule(into=values.folders, name=values.names, mode=modes, first=values.texts, then=values.texts)
    def add_and_put(self, into: bytes, name: bytes, mode: int, first: bytes, then: bytes) -> None:
        """A file taken in, and new content put under its name: its permission bits stay."""
        self._add(into, name, {b"file": first}, mode, atomic=False)
        path = values.path_of(values.path_of(into, name), b"file")
        self.both(lambda s: s.put(path, then), lambda m: m.put(path, then, {}))

    def _add(self, into: bytes, name: bytes, tree: Tree, mode: int, *, atomic: bool) -> None:
        folder = os.fsencode(self.home) + b"/tree-%d/" % self.steps + name
        _write(folder, tree, mode)
        report = self.store.add(folder, into=into, atomic=atomic)
        outcomes = self.model.add(into, name, tree, mode)
        self.learn()
        found = (report.added, report.revised, report.unchanged, len(report.problems))
        wanted = tuple(outcomes[one] for one in ("create", "revise", "unchanged", "refused"))
        assert found == wanted, f"added, revised, unchanged, refused: {found}, wanted {wanted}; {report.problems}"
        self.count("in part" if report.problems else "done", "add")


def _write(folder: bytes, tree: Tree, mode: int) -> None:
    os.makedirs(folder)
    for name, node in tree.items():
        path = folder + b"/" + name
        if isinstance(node, dict):
            _write(path, node, mode)
        elif isinstance(node, Link):
            os.symlink(node.target, path)
        else:
            with open(path, "wb") as file:
                file.write(node)
            os.chmod(path, mode)
