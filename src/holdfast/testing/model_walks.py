"""The part of the dict model that walks along origins, and says which relationships and runs touch a record."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.testing.model_ties import End, Tie, Ties

CAME_FROM = ("derived_from", "supersedes", "depends_on", "follows")
"""Types whose source came from the target. ("follows" is one that the machine registers.)"""

GAVE_RISE = {"summarized_in": "summarizes"}
"""Types whose target came from the source, and the sentence the other way round."""

Edge = tuple[End, str, End]


class Walks(Ties):
    """Answers to `relationships.of` and `relationships.lineage`."""

    def of(self, end: End, *, direction: str, type_: str | None) -> list[int]:
        """Handles of visible relationships at a record (or at that very revision), by age."""
        sides = {"out": ("source",), "in": ("target",)}.get(direction, ("source", "target"))
        return [
            one.handle
            for one in self.ties.values()
            if self.visible(one) and type_ in (None, one.type) and any(_at(one, side, end) for side in sides)
        ]

    def lineage(self, start: End, *, direction: str, depth: int | None) -> tuple[dict[End, int], set[Edge]]:
        """Nodes with their depths, and edges, each from what came to what it came from."""
        nodes: dict[End, int] = {start: 0}
        edges: set[Edge] = set()
        for up in (True, False):
            if direction in ("up" if up else "down", "both"):
                self._go(start, depth, nodes, edges, up=up)
        return nodes, edges

    def _go(self, start: End, depth: int | None, nodes: dict[End, int], edges: set[Edge], *, up: bool) -> None:
        seen, frontier, level = {start}, [start], 0
        while frontier and (depth is None or level < depth):
            level += 1
            following = []
            for end in frontier:
                for edge in self._above(end) if up else self._below(end):
                    far = edge[2] if up else edge[0]
                    edges.add(edge)
                    nodes[far] = min(level, nodes.get(far, level))
                    if far not in seen:
                        seen.add(far)
                        following.append(far)
            frontier = following

    def _above(self, end: End) -> Iterator[Edge]:
        for tie in filter(self.visible, self.ties.values()):
            if tie.type in CAME_FROM and _concerns(end, tie.source):
                yield end, tie.type, tie.target
            if tie.type in GAVE_RISE and _concerns(end, tie.target):
                yield end, GAVE_RISE[tie.type], tie.source
        for run in self.works.values():
            if not run.deleted and any(_concerns(end, made) for _, made in self.outputs(run.handle)):
                yield end, "made_by", ("run", run.handle, None)
        if end[0] == "run":
            yield from ((end, "used", one) for one in self._inputs(end) if self.is_live(one))

    def _below(self, end: End) -> Iterator[Edge]:
        for tie in filter(self.visible, self.ties.values()):
            if tie.type in CAME_FROM and _concerns(end, tie.target):
                yield tie.source, tie.type, end
            if tie.type in GAVE_RISE and _concerns(end, tie.source):
                yield tie.target, GAVE_RISE[tie.type], end
        for run in self.works.values():
            own: End = ("run", run.handle, None)
            if not run.deleted and any(_concerns(end, one) for one in self._inputs(own)):
                yield own, "used", end
        if end[0] == "run":
            assert isinstance(end[1], int)
            yield from ((made, "made_by", end) for _, made in self.outputs(end[1]) if self.is_live(made))

    def _inputs(self, run: End) -> list[End]:
        assert isinstance(run[1], int)
        return [end for direction, _, end in self.works[run[1]].links if direction == "input"]


def _at(tie: Tie, side: str, end: End) -> bool:
    named = tie.source if side == "source" else tie.target
    return named[:2] == end[:2] and end[2] in (None, named[2])


def _concerns(end: End, named: End) -> bool:
    """Whether what names a revision (or none) is about `end`, which names one (or stands for all)."""
    return end[:2] == named[:2] and (end[2] is None or named[2] is None or end[2] == named[2])
