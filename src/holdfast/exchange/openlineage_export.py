"""Runs as OpenLineage events (spec 2-0-2), one JSON object a line, with the library `openlineage-python`.

A run that was begun gives START, and one that has ended COMPLETE, FAIL or ABORT, with what it read and made as
datasets: the namespace is the store, the name the path, the version the number of the revision. `Client.emit` of each
line, or a POST of it, hands it on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.past import When
from holdfast.engine.recover import Progress
from holdfast.exchange import doings, parcel
from holdfast.exchange.doings import Done
from holdfast.exchange.optional import library
from holdfast.kinds import view as views
from holdfast.kinds.view import View
from holdfast.values.records import RunLink, RunStatus
from holdfast.version import __version__

PRODUCER = f"urn:holdfast:{__version__}"
_ENDS = {RunStatus.COMPLETED: "COMPLETE", RunStatus.FAILED: "FAIL", RunStatus.CANCELLED: "ABORT"}


@dataclass(slots=True)
class EventsReport:
    """What was written. `seq`: the last change of the state; `pending`: runs that have not begun, so have no event."""

    seq: int = 0
    runs: int = 0
    events: int = 0
    pending: int = 0


def export(
    handle: Handle, dest: str | bytes | os.PathLike[str], *, namespace: str = "", at: When | None = None,
    progress: Progress | None = None,
) -> EventsReport:  # fmt: skip
    """Write the events of all live runs, by age, to the new file `dest`; in short reads, and always the same bytes.

    `namespace`: of jobs and datasets; the store's id if none is given. Raises DestinationDiffersError,
    MissingDependencyError.
    """
    handle.alive()
    serde = library("openlineage.client.serde").Serde
    head = handle.index.chain.head() or handle.origin
    with views.view_at(handle, head.next_seq - 1 if at is None else at, progress=progress) as view:
        report = EventsReport(view.seq)
        teller = _Teller(view, namespace or f"holdfast://{view.id}")
        with parcel.new_file(handle, dest) as put:
            for done in doings.runs(view):
                events = list(teller.events(done))
                for event in events:
                    put(serde.to_json(event).encode() + b"\n")
                report.events += len(events)
                report.runs += bool(events)
                report.pending += not events
        return report


class _Teller:
    def __init__(self, view: View, namespace: str) -> None:
        self._view = view
        self._namespace = namespace
        self._events = library("openlineage.client.event_v2")
        self._version = library("openlineage.client.generated.dataset_version_dataset").DatasetVersionDatasetFacet
        self._error = library("openlineage.client.generated.error_message_run").ErrorMessageRunFacet
        self._tags = library("openlineage.client.generated.tags_run")

    def events(self, done: Done) -> Iterator[Any]:
        """The events of a run, in order of time."""
        run = done.run
        if run.started_at is not None:
            yield self._event(done, "START", run.started_at)
        if run.status in _ENDS and run.ended_at is not None:
            yield self._event(done, _ENDS[run.status], run.ended_at)

    def _event(self, done: Done, kind: str, at: datetime) -> Any:
        run, events = done.run, self._events
        facets: dict[str, Any] = {}
        if kind in ("FAIL", "ABORT"):
            facets["errorMessage"] = self._error(
                message=run.reason or str(run.status), programmingLanguage="unknown", producer=PRODUCER
            )
        if run.tags:
            tags = [self._tags.TagsRunFacetFields(key=one, value="true", source="USER") for one in run.tags]
            facets["tags"] = self._tags.TagsRunFacet(tags=tags, producer=PRODUCER)
        return events.RunEvent(
            eventTime=at.astimezone(UTC).isoformat(timespec="microseconds"), eventType=events.RunState[kind],
            run=events.Run(runId=run.id, facets=facets), job=events.Job(namespace=self._namespace, name=run.name),
            inputs=[self._dataset(events.InputDataset, link) for link in done.inputs],
            outputs=[] if kind == "START" else [self._dataset(events.OutputDataset, link) for link in done.outputs],
            producer=PRODUCER,
        )  # fmt: skip

    def _dataset(self, kind: Any, link: RunLink) -> Any:
        end = link.endpoint
        found = doings.artifact(self._view, end)
        if found is None:
            return kind(namespace=self._namespace, name=f"{end.kind}:{end.id}", facets={})
        number = end.revision or found.number
        version = self._version(datasetVersion=str(number), producer=PRODUCER)
        return kind(namespace=self._namespace, name=found.path, facets={"version": version})
