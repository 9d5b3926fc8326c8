"""What a walk along origins finds: a graph of frozen nodes and edges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.values.records import Endpoint


class Origin(StrEnum):
    """What an edge of lineage rests on."""

    RELATIONSHIP = "relationship"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A record met on the walk. `depth`: fewest steps from the start (0); `label`: a path, name or type for people."""

    endpoint: Endpoint
    depth: int
    label: str


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`source` came from `target`: every edge points up, whichever way the walk went.

    Both are nodes of the same lineage. `type` is the relationship's type (the inverse wording where the relationship
    itself points down), or `made_by` (revision → run) and `used` (run → input). `id` is the relationship, or the run.
    A node that stands for an artifact whatever its revision also meets what concerns one revision; `revision` is that
    revision then.
    """

    source: Endpoint
    type: str
    target: Endpoint
    origin: Origin
    id: str
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Nodes in order of depth, the start first, and the edges between them in the order in which they were met.

    `truncated`: there was more than the limit allowed. What lies beyond an asked-for depth does not count as cut off.
    """

    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    truncated: bool = False
