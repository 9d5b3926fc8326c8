"""Runs as the standards tell of them: what each read and made, by records of one state of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast.errors import NotFoundError
from holdfast.index.select.lookups import Written
from holdfast.kinds import view as views
from holdfast.kinds.view import View
from holdfast.values.records import Artifact, Endpoint, Run, RunLink


@dataclass(frozen=True, slots=True)
class Done:
    """A run with its links. `who` made it; `who_kind`: human, agent …"""

    run: Run
    who: str
    who_kind: str
    inputs: tuple[RunLink, ...]
    outputs: tuple[RunLink, ...]


def runs(view: View, touches: Callable[[Endpoint], bool] | None = None) -> Iterator[Done]:
    """Live runs by age, in short reads: those that read or made something that `touches` knows, or all."""
    for run in view.runs.find():
        inputs, outputs = (tuple(view.runs.links(run, way)) for way in ("input", "output"))
        if touches is None or any(touches(link.endpoint) for link in (*inputs, *outputs)):
            made = written(view, views.index_of(view).key_of(run.id) or 0)
            yield Done(run, made.who, made.kind, inputs, outputs)


def written(view: View, seq: int) -> Written:
    """Who made a change, and when."""
    return views.index_of(view).lookups.written(seq)


def artifact(view: View, end: Endpoint) -> Artifact | None:
    """The artifact of an end, deleted or not; None if the end is something else."""
    if end.kind != "artifact":
        return None
    try:
        return view.artifacts.get(f"id:{end.id}", deleted=True)
    except NotFoundError:
        return None
