"""The dict model: what a store must hold after any sequence of calls, said with dicts and lists and none of its code.

Records go by handles, small numbers in order of creation; whoever compares keeps which id of the store each stands for.
A verb either changes the model or raises Refused with the code of the error that the store must raise; then nothing has
changed. Every change that the store must note in its audit trail is in `trail`, as (kind, action, handle).
"""

from __future__ import annotations

import copy

from holdfast.testing.model_places import Place, Refused, Rev, Said, Thing, same
from holdfast.testing.model_ties import End, Tie, Work
from holdfast.testing.model_trees import Link, Tree
from holdfast.testing.model_walks import Walks

__all__ = ["End", "Link", "Model", "Place", "Refused", "Rev", "Said", "Thing", "Tie", "Tree", "Work", "same"]


class Model(Walks):
    """All of a store, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.indexes: dict[str, int] = {}

    def declare(self, field: str) -> int:
        """`indexes.declare`; the same again changes nothing."""
        if field not in self.indexes:
            self.indexes[field] = self.new_handle()
            self.note("metadata-index", "create", self.indexes[field])
        return self.indexes[field]

    def drop(self, field: str) -> None:
        """`indexes.drop`."""
        if field not in self.indexes:
            raise Refused("not-found")
        self.note("metadata-index", "delete", self.indexes.pop(field))

    def copy(self) -> Model:
        """A model that goes its own way: what a transaction comes back to when it fails."""
        return copy.deepcopy(self)

    def live_things(self) -> list[Thing]:
        """Artifacts that can be seen, by age."""
        return [one for one in self.things.values() if not one.deleted]

    def live_places(self) -> list[Place]:
        """Collections that can be seen, by age; the root too."""
        return [one for one in self.places.values() if not one.deleted]

    def visible_ties(self) -> list[Tie]:
        """Relationships that can be seen, by age."""
        return [one for one in self.ties.values() if self.visible(one)]

    def restricted_delete(self, ref: bytes | int) -> None:
        """`delete` of an artifact with `relationships="restrict"`."""
        if self.touching("artifact", self.thing(ref).handle):
            raise Refused("in-use")
        self.delete(ref)

    def said_by(self, words: str) -> set[int]:
        """Handles of live artifacts whose newest content, if it is there and plain text, has a word."""
        return {
            one.handle
            for one in self.live_things()
            if one.newest.state == "kept" and one.newest.media_type == "text/plain"
            and words.encode() in one.newest.content.split()
        }  # fmt: skip
