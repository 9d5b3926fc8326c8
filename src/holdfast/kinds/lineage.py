"""The walk along origins: breadth first through relationships and runs, in short reads, cycles and limits minded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from holdfast.engine.handle import Handle
from holdfast.errors import IndexDamagedError, InvalidValueError
from holdfast.index.select import keyset
from holdfast.index.select.ends import EXTERNAL_KIND
from holdfast.index.select.lineage import Tie
from holdfast.index.select.relationships import beside
from holdfast.kinds import checks
from holdfast.values import vocabulary
from holdfast.values.lineage import Lineage, LineageEdge, LineageNode, Origin
from holdfast.values.records import Direction, Endpoint, Relationship
from holdfast.values.vocabulary import MADE_BY, USED, Flow, RelationshipType


@dataclass(frozen=True, slots=True)
class Plan:
    """Which ties are walked. `forth`: types whose source came from the target; `back`: the reverse, with the wording
    that makes a sentence of it."""

    forth: tuple[str, ...]
    back: dict[str, str]
    made_by: bool = True
    used: bool = True


def plan(known: Iterable[RelationshipType], types: Iterable[str] | None) -> Plan:
    """What to walk along: every type whose flow says so, or the named ones alone. UnknownTypeError."""
    by_name = {one.name: one for one in known}
    if types is None:
        chosen = [one for one in by_name.values() if one.flow is not Flow.NONE]
        runs = {MADE_BY, USED}
    else:
        names = [types] if isinstance(types, str) else list(types)
        runs = {MADE_BY, USED} & set(names)
        for name in names:
            if name not in by_name and name not in runs:
                raise vocabulary.unknown(name, [*by_name, MADE_BY, USED])
        chosen = [by_name[name] for name in dict.fromkeys(names) if name in by_name]
    return Plan(
        forth=tuple(one.name for one in chosen if one.flow is not Flow.SOURCE),
        back={one.name: one.inverse for one in chosen if one.flow is Flow.SOURCE},
        made_by=MADE_BY in runs,
        used=USED in runs,
    )


def walk(handle: Handle, start: Endpoint, along: Plan, *, direction: str, depth: int | None, limit: int) -> Lineage:
    """The lineage of a record that is there; what it means is said at Relationships.lineage."""
    checks.one_of(direction, ("up", "down", "both"), "direction")
    for name, number, least in (("depth", 0 if depth is None else depth, 0), ("limit", limit, 1)):
        if type(number) is not int or number < least:
            raise InvalidValueError(f"{name} is {number!r}", where=name, reason="number",
                                    remedy=f"Give a whole number from {least} on.")  # fmt: skip
    found = _Walk(handle, along, limit)
    for way in ("up", "down") if direction == "both" else (direction,):
        found.go(start, way, depth)
    return found.result()


class _Walk:
    def __init__(self, handle: Handle, along: Plan, limit: int) -> None:
        self._handle = handle
        self._along = along
        self._limit = limit
        self._nodes: dict[Endpoint, int] = {}
        self._edges: dict[LineageEdge, None] = {}
        self._truncated = False

    def result(self) -> Lineage:
        labels = self._handle.index.lineage.labels(self._nodes)
        nodes = [LineageNode(end, depth, labels[end]) for end, depth in self._nodes.items()]
        # sorted() is stable: within a depth the order of the walk stays.
        return Lineage(tuple(sorted(nodes, key=lambda n: n.depth)), tuple(self._edges), self._truncated)

    def go(self, start: Endpoint, way: str, depth: int | None) -> None:
        """One direction; what the other one has found is kept, at the smaller depth."""
        seen = {start}
        frontier, level = [start], 0
        self._nodes.setdefault(start, 0)
        while frontier and (depth is None or level < depth):
            level += 1
            following: list[Endpoint] = []
            for end in frontier:
                for edge in self._above(end) if way == "up" else self._below(end):
                    far = edge.target if way == "up" else edge.source
                    if not self._keep(edge, far, level):
                        return
                    if far not in seen:
                        seen.add(far)
                        following.append(far)
            frontier = following

    def _keep(self, edge: LineageEdge, far: Endpoint, level: int) -> bool:
        fits = edge in self._edges or len(self._edges) < self._limit
        if not fits or (far not in self._nodes and len(self._nodes) >= self._limit):
            self._truncated = True
            return False
        self._edges[edge] = None
        self._nodes[far] = min(level, self._nodes.get(far, level))
        return True

    # -- one step ----------------------------------------------------------------------------------------------------

    def _above(self, end: Endpoint) -> Iterator[LineageEdge]:
        """What `end` came from."""
        for one, pinned in self._related(end, "source", self._along.forth):
            yield LineageEdge(end, one.type, one.target, Origin.RELATIONSHIP, one.id, pinned)
        for one, pinned in self._related(end, "target", tuple(self._along.back)):
            yield LineageEdge(end, self._along.back[one.type], one.source, Origin.RELATIONSHIP, one.id, pinned)
        if self._along.made_by:
            for run, pinned in self._makers(end):
                yield LineageEdge(end, MADE_BY, Endpoint("run", run), Origin.RUN, run, pinned)
        if self._along.used and end.kind == "run":
            for far in self._ends_of_run(end.id, Direction.INPUT):
                yield LineageEdge(end, USED, far, Origin.RUN, end.id)

    def _below(self, end: Endpoint) -> Iterator[LineageEdge]:
        """What came from `end`."""
        for one, pinned in self._related(end, "target", self._along.forth):
            yield LineageEdge(one.source, one.type, end, Origin.RELATIONSHIP, one.id, pinned)
        for one, pinned in self._related(end, "source", tuple(self._along.back)):
            yield LineageEdge(one.target, self._along.back[one.type], end, Origin.RELATIONSHIP, one.id, pinned)
        if self._along.used:
            for run, pinned in self._linked(end, Direction.INPUT):
                yield LineageEdge(Endpoint("run", run), USED, end, Origin.RUN, run, pinned)
        if self._along.made_by and end.kind == "run":
            for far in self._ends_of_run(end.id, Direction.OUTPUT):
                yield LineageEdge(far, MADE_BY, end, Origin.RUN, end.id)

    def _related(self, end: Endpoint, side: str, types: tuple[str, ...]) -> Iterator[tuple[Relationship, int | None]]:
        """Visible relationships with `end` on a side, and the revision they name where `end` names none."""
        if not types:
            return
        wanted = beside(side, Endpoint(end.kind, end.id), types)
        for _, one in keyset.stream(lambda after: self._handle.index.relationships.page(wanted, after)):
            named = (one.source if side == "source" else one.target).revision
            if one.deleted_at is None and _concerns(end, named):
                yield one, _extra(end, named)

    def _makers(self, end: Endpoint) -> Iterator[Tie]:
        """Live runs that made `end`, by their link or by what the revision says."""
        yield from self._linked(end, Direction.OUTPUT)
        if end.kind != "artifact":
            return
        key = self._key(end.id)
        rows = self._handle.index.lineage
        # A pinned end is found by its number at once; the others are read through.
        start = 0 if end.revision is None else end.revision - 1
        for number, (run, _) in keyset.stream(lambda after: rows.makers(key, after), after=start):
            if not _concerns(end, number):
                return
            yield run, _extra(end, number)

    def _key(self, record_id: str) -> int:
        """The key of a record that a row names."""
        key = self._handle.index.key_of(record_id)
        if key is None:
            raise IndexDamagedError(f"a row names {record_id}, which is not there", reason="row missing")
        return key

    def _linked(self, end: Endpoint, direction: Direction) -> Iterator[Tie]:
        rows = self._handle.index.lineage
        for _, (run, named) in keyset.stream(lambda after: rows.linked(end, direction, after)):
            if _concerns(end, named):
                yield run, _extra(end, named)

    def _ends_of_run(self, run_id: str, direction: Direction) -> Iterator[Endpoint]:
        """Live inputs or outputs of a run."""
        key = self._key(run_id)
        rows = self._handle.index.runs
        streams = [keyset.stream(lambda after: rows.links(key, run_id, direction, after))]
        if direction is Direction.OUTPUT:
            streams.append(keyset.stream(lambda after: rows.made(key, run_id, after)))
        for stream in streams:
            while page := [link.endpoint for _, link in islice(stream, keyset.PAGE)]:
                gone = self._handle.index.ends.gone(page)
                yield from (far for far in page if far.kind == EXTERNAL_KIND or not gone[far.id])


def _concerns(end: Endpoint, named: int | None) -> bool:
    """Whether what names a revision (or none) is about `end`."""
    return end.revision is None or named is None or named == end.revision


def _extra(end: Endpoint, named: int | None) -> int | None:
    return named if end.revision is None else None
