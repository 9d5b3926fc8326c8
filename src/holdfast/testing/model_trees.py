"""The part of the dict model that says what `add` makes of a tree of folders, files and links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.testing.model_places import Refused
from holdfast.testing.model_things import LEARN, Things

LINK = "inode/symlink"


@dataclass(frozen=True)
class Link:
    """A symbolic link; nothing need be where it leads."""

    target: bytes


Tree = dict[bytes, Any]
"""A folder: by name, bytes are a file's, a Link is one, and a Tree is a folder in it."""


class Trees(Things):
    """Taking trees in."""

    def add(self, into: bytes, name: bytes, tree: Tree, mode: int) -> Counter[str]:
        """`add` of a folder; how many files and links of each outcome. What is refused leaves the rest alone."""
        outcomes: Counter[str] = Counter()
        for folder, own, node in [(into, name, tree), *_walk(into, name, tree)]:
            outcomes[self._take_in(folder, own, node, mode)] += 1
        del outcomes["folder"]
        return outcomes

    def _take_in(self, folder: bytes, name: bytes, node: Any, mode: int) -> str:
        before = len(self.trail)
        path = folder + b"/" + name if folder else name
        try:
            if isinstance(node, dict):
                self.ensure(path)
                return "folder"
            if self.child(self.ensure(folder), name):
                raise Refused("name-taken")
        except Refused:
            return "refused"
        self.put(path, node.target if isinstance(node, Link) else node, self._said_of(path, node, mode))
        after = self.trail[before:]
        return next((action for kind, action, _ in after if kind == "artifact"), "unchanged")

    def _said_of(self, path: bytes, node: Any, mode: int) -> dict[str, Any]:
        """A link is a link; a file keeps the type it has, unless it was a link before."""
        if isinstance(node, Link):
            return {"mode": None, "media_type": LINK}
        found = self.at(path)
        was_link = found is not None and found.newest.media_type == LINK
        return {"mode": mode, **({"media_type": LEARN} if was_link else {})}


def _walk(into: bytes, name: bytes, tree: Tree) -> Iterator[tuple[bytes, bytes, Any]]:
    """Depth first, by bytes of names: (folder, name, node)."""
    here = into + b"/" + name if into else name
    for own in sorted(tree):
        yield here, own, tree[own]
        if isinstance(tree[own], dict):
            yield from _walk(here, own, tree[own])
