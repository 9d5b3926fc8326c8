"""Lineage as W3C PROV, in its JSON form (PROV-DM, PROV-JSON), with the library `prov`.

Revisions are entities, runs activities, who wrote agents. A revision is a specialization of its artifact, was generated
by the run it was put in, attributed to its writer, and a revision of the one before. Relationships along which lineage
runs are derivations (`derived_from`, `summarized_in`) or influences (all others); those that say nothing of origin are
left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.past import When
from holdfast.engine.recover import Progress
from holdfast.errors import InvalidValueError, NotFoundError
from holdfast.exchange import doings, parcel
from holdfast.exchange.doings import Done
from holdfast.exchange.optional import library
from holdfast.kinds import view as views
from holdfast.kinds.view import View
from holdfast.values.records import Artifact, Endpoint, Relationship, Revision
from holdfast.values.vocabulary import Flow

LIMIT = 100_000
"""Records of PROV that one document may have: some hundreds of megabytes while it is made."""

_DERIVED = ("derived_from", "summarized_in")
_AGENTS = {"human": "prov:Person", "agent": "prov:SoftwareAgent"}


@dataclass(slots=True)
class ProvReport:
    """What the document has. `seq`: the last change of the state."""

    seq: int = 0
    entities: int = 0
    activities: int = 0
    agents: int = 0
    relations: int = 0


def export(
    handle: Handle, dest: str | bytes | os.PathLike[str], ref: str | bytes = "", *, at: When | None = None,
    limit: int = LIMIT, progress: Progress | None = None,
) -> ProvReport:  # fmt: skip
    """Write the lineage of an artifact, or of all artifacts of a collection ("" is all), to the new file `dest`.

    The same state gives the same bytes. Raises NotFoundError, DestinationDiffersError, MissingDependencyError, and
    InvalidValueError if there would be more than `limit` records.
    """
    handle.alive()
    model = library("prov.model")
    head = handle.index.chain.head() or handle.origin
    with views.view_at(handle, head.next_seq - 1 if at is None else at, progress=progress) as view:
        made = _Document(view, model, limit)
        made.fill(list(_artifacts(view, ref)))
        data = json.loads(made.document.serialize(format="json"))
        with parcel.new_file(handle, dest) as put:
            put(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return made.report


def _artifacts(view: View, ref: str | bytes) -> Iterator[Artifact]:
    """The artifacts whose lineage is told. Of one artifact also those that it came from, and those that came of it."""
    try:
        found = view.artifacts.get(ref) if ref else None
    except NotFoundError:
        found = None
    if found is None:
        if ref:
            view.collections.get(ref)  # NotFoundError
        yield from view.artifacts.list(ref, recursive=True)
        return
    nodes = view.relationships.lineage(found, direction="both").nodes
    ends = chain([found.endpoint], (node.endpoint for node in nodes))
    for one in dict.fromkeys(end.id for end in ends if end.kind == "artifact"):
        yield view.artifacts.get(f"id:{one}", deleted=True)


class _Document:
    def __init__(self, view: View, model: Any, limit: int) -> None:
        self._view = view
        self._limit = limit
        self._count = 0
        self._said: set[str] = set()
        self.document = model.ProvDocument()
        self._own = self.document.add_namespace("holdfast", f"urn:holdfast:{view.id}:")
        self._dcterms = self.document.add_namespace("dcterms", "http://purl.org/dc/terms/")
        self._prov, self._literal, self._long = model.PROV, model.Literal, model.XSD["long"]
        self._flows = {one.name: one.flow for one in view.relationships.types()}
        self.report = ProvReport(view.seq)

    def fill(self, artifacts: list[Artifact]) -> None:
        """All of it."""
        chosen = {one.id for one in artifacts}
        for one in artifacts:
            self._artifact(one)
        for done in doings.runs(self._view, lambda end: end.id in chosen):
            self._run(done)
        told: set[str] = set()
        for one in artifacts:
            for tie in self._view.relationships.of(one):
                if tie.id not in told and self._flows.get(tie.type, Flow.NONE) is not Flow.NONE:
                    told.add(tie.id)
                    self._relationship(tie)

    # -- records -----------------------------------------------------------------------------------------------------

    def _more(self) -> None:
        self._count += 1
        if self._count > self._limit:
            raise InvalidValueError(
                f"the lineage has more than {self._limit} records", where="ref", reason="too many",
                remedy="Name a smaller collection, or an artifact.",
            )  # fmt: skip

    def _entity(self, own: str, facts: dict[Any, Any]) -> str:
        name = f"holdfast:{own}"
        if own not in self._said:
            self._said.add(own)
            self._more()
            self.document.entity(name, facts)
            self.report.entities += 1
        return name

    def _artifact(self, found: Artifact) -> None:
        whole = self._entity(f"artifact-{found.id}", {"prov:label": found.path, "holdfast:type": found.type})
        before = ""
        for one in reversed(self._view.artifacts.revisions(found)):
            own = self._revision(found, one)
            self._tie("specializationOf", own, whole)
            self._tie("wasAttributedTo", own, self._agent(one.actor, self._kind(one)))
            if before:
                self._tie("wasDerivedFrom", own, before, other_attributes={"prov:type": self._prov["Revision"]})
            before = own

    def _kind(self, one: Revision) -> str:
        return doings.written(self._view, one.seq).kind

    def _revision(self, found: Artifact, one: Revision) -> str:
        facts = {
            "prov:label": f"{found.path}@{one.number}", "prov:generatedAtTime": one.created_at,
            "dcterms:format": one.media_type, "dcterms:extent": self._literal(str(one.size), self._long),
            "holdfast:digest": one.digest, "holdfast:state": str(one.state),
        }  # fmt: skip
        return self._entity(f"revision-{found.id}-{one.number}", facts)

    def _agent(self, name: str, kind: str) -> str:
        own = f"agent-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        if own not in self._said:
            self._said.add(own)
            self._more()
            facts = {"prov:label": name, "holdfast:kind": kind}
            kind_of = _AGENTS.get(kind)
            facts |= {"prov:type": self._prov[kind_of.removeprefix("prov:")]} if kind_of else {}
            self.document.agent(f"holdfast:{own}", facts)
            self.report.agents += 1
        return f"holdfast:{own}"

    def _run(self, done: Done) -> None:
        run = done.run
        own = f"holdfast:run-{run.id}"
        self._more()
        facts = {"prov:label": run.name, "holdfast:status": str(run.status)}
        facts |= {"holdfast:reason": run.reason} if run.reason else {}
        self.document.activity(own, run.started_at, run.ended_at, facts)
        self.report.activities += 1
        self._tie("wasAssociatedWith", own, self._agent(done.who, done.who_kind))
        for link in done.inputs:
            self._tie("used", own, self._end(link.endpoint), **_role(link.role))
        for link in done.outputs:
            self._tie("wasGeneratedBy", self._end(link.endpoint), own, **_role(link.role))

    def _relationship(self, tie: Relationship) -> None:
        forth = self._flows[tie.type] is Flow.TARGET
        ends = (tie.source, tie.target) if forth else (tie.target, tie.source)
        later, earlier = (self._end(end) for end in ends)
        relation = "wasDerivedFrom" if tie.type in _DERIVED else "wasInfluencedBy"
        facts = {"holdfast:relationship": tie.type}
        self._tie(relation, later, earlier, identifier=f"holdfast:relationship-{tie.id}", other_attributes=facts)

    def _end(self, end: Endpoint) -> str:
        """The record of PROV that stands for an end; made if it lies outside of what was asked for."""
        if end.kind == "run":
            return self._entity(f"record-{end.id}", {"prov:label": f"run {end.id}"})
        found = doings.artifact(self._view, end)
        if found is None:
            own = end.id if end.kind != "external" else hashlib.sha256(end.id.encode()).hexdigest()[:32]
            return self._entity(f"{end.kind}-{own}", {"prov:label": end.id})
        if end.revision is None:
            return self._entity(f"artifact-{found.id}", {"prov:label": found.path, "holdfast:type": found.type})
        return self._revision(found, self._view.artifacts.revision(found, end.revision))

    def _tie(self, relation: str, one: str, other: str, **more: Any) -> None:
        self._more()
        getattr(self.document, relation)(one, other, **more)
        self.report.relations += 1


def _role(role: str) -> dict[str, Any]:
    return {"other_attributes": {"prov:role": role}} if role else {}
