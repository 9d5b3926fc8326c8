"""Runs: executions that read inputs and made outputs, with their steps and manifests."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import write
from holdfast.errors import InUseError, InvalidValueError
from holdfast.index.select import keyset
from holdfast.index.select.runs import WantedRuns
from holdfast.kinds import addresses, checks, environment, executions, labels, paging, running
from holdfast.kinds.clauses import upheld
from holdfast.kinds.endpoints import Linkable
from holdfast.kinds.executions import Inputs, RunRef
from holdfast.kinds.running import RunHandle
from holdfast.values import lifecycle, query
from holdfast.values.fields import Fields
from holdfast.values.query import Condition
from holdfast.values.records import Direction, Page, Run, RunLink, RunManifest, Step

FIELDS: Fields[Run] = Fields(
    "runs",
    {
        "id": lambda r: r.id,
        "name": lambda r: r.name,
        "status": lambda r: r.status.value,
        "reason": lambda r: r.reason,
        "tag": lambda r: r.tags,
        "tenant": lambda r: r.tenant,
        "owner": lambda r: r.owner,
        "created": lambda r: r.created_at,
        "updated": lambda r: r.updated_at,
        "started": lambda r: r.started_at,
        "ended": lambda r: r.ended_at,
    },
    {
        "parameters": lambda r: r.parameters,
        "diagnostics": lambda r: r.diagnostics,
        "environment": lambda r: r.environment,
        "metadata": lambda r: r.metadata,
    },
    frozenset({"created", "updated", "started", "ended"}),
)


@upheld
class Runs:
    """`store.runs`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    # -- working -----------------------------------------------------------------------------------------------------

    def create(
        self, name: str, *, parameters: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None,
        environment: dict[str, Any] | None = None, inputs: Inputs = (), tags: Iterable[str] = (), owner: str = "",
        capture: Iterable[str] = (), note: str = "", tx: str | None = None,
    ) -> Run:  # fmt: skip
        """A run that is pending. Durable when it returns.

        Its environment is what is captured (versions of Python, Holdfast and the platform; `capture` may name `git`
        and `hardware`) with what is given laid over it. `inputs`: records or paths, as a mapping by role; artifacts are
        pinned to a revision. `tx`: an id for the transaction; repeating it returns the first result.
        Raises InvalidValueError, NotFoundError.
        """
        new = self._described(
            name, capture, parameters=parameters, metadata=metadata, environment=environment, owner=owner
        )
        return executions.create(self._handle, new, inputs, tags=tags, note=note, tx=tx)

    def start(
        self, run: RunRef, *, parameters: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None,
        environment: dict[str, Any] | None = None, inputs: Inputs = (), tags: Iterable[str] = (), owner: str = "",
        capture: Iterable[str] = (), note: str = "",
    ) -> AbstractContextManager[RunHandle]:  # fmt: skip
        """Work in a run: a pending one (its record or `id:UUID`), or a new one of this name, made as `create` does.

        Inside the block the run is processing, and every revision that this thread puts is linked to it. It is
        completed at the end of the block; failed, with the reason, by an exception; cancelled by Ctrl-C; the exception
        goes on. Raises IllegalTransitionError for a run that somebody has started.
        """
        if isinstance(run, str) and addresses.as_id(run) is None:
            new = self._described(
                run, capture, parameters=parameters, metadata=metadata, environment=environment, owner=owner
            )
            return running.working(self._handle, lambda: self._begin_new(new, inputs, tags, note))
        if parameters or metadata or environment or inputs or tags or owner or capture:
            raise InvalidValueError("a run that is there has its description already", where="run", reason="described",
                                    remedy="Describe it when it is created, or give a name.")  # fmt: skip
        held = executions.get(self._handle, run)
        return running.working(self._handle, lambda: running.begin(self._handle, held))

    def _begin_new(self, new: dict[str, Any], inputs: Inputs, tags: Iterable[str], note: str) -> Run:
        with write(self._handle, note=note, what="start run"):
            made = executions.create(self._handle, new, inputs, tags=tags, note=note, tx=None)
            return running.begin(self._handle, made)

    def _described(self, name: str, capture: Iterable[str], *, owner: str, **objects: Any) -> dict[str, Any]:
        """The fields of a new run, checked; what is captured is captured before any lock is taken."""
        executions.name_of(name, "run")
        said = {field: checks.object_of(value, field) for field, value in objects.items()}
        said["environment"] = environment.capture(capture) | said["environment"]
        return {"name": name, **labels.given(owner=owner, **said)}

    def set_status(
        self, run: RunRef, status: str, *, reason: str = "", diagnostics: dict[str, Any] | None = None, note: str = ""
    ) -> Run:
        """The next status: pending → processing → completed, failed or cancelled; pending → cancelled.

        The same status again changes nothing but adds the diagnostics. `started` and `ended` are times of the
        transaction. When a run ends, steps that have not ended are cancelled with it. Durable when it returns.
        Raises IllegalTransitionError naming what is allowed.
        """
        wanted = lifecycle.parse(status)
        return executions.set_status(self._handle, run, wanted, reason=reason, diagnostics=diagnostics, note=note)

    def diagnose(self, run: RunRef, diagnostics: dict[str, Any]) -> Run:
        """Add diagnostics at any time, also after the end; a key that is there gets the new value."""
        return executions.diagnose(self._handle, run, diagnostics)

    def update(
        self, run: RunRef, *, metadata: dict[str, Any] | None = None, tags: Iterable[str] | None = None,
        owner: str | None = None, note: str = "",
    ) -> Run:  # fmt: skip
        """Other metadata (replaced whole; `{}` clears), tags or owner; what is not given stays. No change: a no-op."""
        said = None if metadata is None else checks.object_of(metadata, "metadata")
        return executions.update(self._handle, run, metadata=said, tags=tags, owner=owner, note=note)

    def link(self, run: RunRef, direction: str, record: Linkable, *, role: str = "") -> RunLink:
        """Say that a run read (`input`) or made (`output`) something; artifacts are pinned to a revision.

        Possible at any time; the same link again changes nothing. Durable when it returns. Raises NotFoundError.
        """
        return executions.link(self._handle, run, _direction(direction), record, role=role)

    def add_step(self, run: RunRef, name: str) -> Step:
        """One more step, pending, with the next number. Raises ConflictError if the run has ended."""
        return executions.add_step(self._handle, run, name)

    def set_step_status(self, step: Step | str, status: str, *, diagnostics: dict[str, Any] | None = None) -> Step:
        """The next status of a step, by the same table as runs. Raises IllegalTransitionError."""
        return executions.set_step_status(self._handle, step, lifecycle.parse(status), diagnostics=diagnostics)

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, run: RunRef, *, deleted: bool = False) -> Run:
        """The run with an id (`UUID` or `id:UUID`), or of an older record, as it is now. Raises NotFoundError."""
        return executions.get(self._handle, run, deleted=deleted)

    def steps(self, run: RunRef) -> Iterator[Step]:
        """The steps of a run in order, in short reads."""
        return executions.steps(self._handle, self.get(run, deleted=True))

    def links(self, run: RunRef, direction: str) -> Iterator[RunLink]:
        """The inputs or outputs of a run in order, in short reads; those whose record is deleted by now too.

        Outputs are what was linked and every revision that was put inside the run; one that is both stands once, as
        it was linked.
        """
        found = self.get(run, deleted=True)
        key = addresses.key_of(self._handle, found.id)
        rows, wanted = self._handle.index.runs, _direction(direction)
        linked = keyset.stream(lambda after: rows.links(key, found.id, wanted, after))
        if wanted is Direction.INPUT:
            return (link for _, link in linked)
        made = keyset.stream(lambda after: rows.made(key, found.id, after))
        unlinked = (pair for pair in made if not rows.has_link(key, wanted, pair[1].endpoint))
        return (link for _, link in heapq.merge(linked, unlinked, key=lambda pair: pair[0]))

    def manifest(self, run: RunRef) -> RunManifest:
        """The run with its steps, inputs and outputs, whole in memory; `steps` and `links` read piece by piece."""
        found = self.get(run, deleted=True)
        inputs, outputs = (tuple(self.links(found, way)) for way in (Direction.INPUT, Direction.OUTPUT))
        return RunManifest(found, tuple(self.steps(found)), inputs, outputs)

    def find(
        self, where: Condition | None = None, *, name: str | None = None, status: str | None = None,
        tag: str | None = None, order: str = "created", limit: int | None = None, deleted: bool = False,
    ) -> Iterator[Run]:  # fmt: skip
        """Runs that meet everything asked, by age (`-created`: newest first), in short reads. `name`: a glob.

        Fields of `where`: id, name, status, reason, tag, tenant, owner, created, updated, started, ended, and
        parameters.…, diagnostics.…, environment.…, metadata.… `deleted`: deleted ones instead. InvalidQueryError.
        """
        return self._answer(where, name, status, tag, order, deleted=deleted).all(limit)

    def page(
        self, where: Condition | None = None, *, name: str | None = None, status: str | None = None,
        tag: str | None = None, order: str = "created", limit: int = 100, token: str | None = None,
        deleted: bool = False,
    ) -> Page[Run]:  # fmt: skip
        """As `find`, a page at a time: up to `limit` of them, and the token that the next call takes."""
        return self._answer(where, name, status, tag, order, deleted=deleted).page(limit, token)

    def _answer(
        self,
        where: Condition | None,
        name: str | None,
        status: str | None,
        tag: str | None,
        order: str,
        *,
        deleted: bool,
    ) -> paging.Answer[Run]:
        self._handle.alive()
        rows = self._handle.index.runs
        wanted = WantedRuns(None if status is None else lifecycle.parse(status), tag, deleted)
        named = None if name is None else query.field("name").glob(name)
        asked = query.All(tuple(part for part in (where, named) if part is not None))
        return paging.answer(FIELDS, partial(rows.page, wanted), asked, order=order)

    # -- deleting ----------------------------------------------------------------------------------------------------

    def delete(
        self, run: RunRef, *, contents: Literal["restrict", "cascade"] = "restrict",
        relationships: Literal["restrict", "cascade"] = "cascade", note: str = "",
    ) -> Run:  # fmt: skip
        """A tombstone; steps and links go out of sight with the run, what it read and made stays where it is.

        Raises InUseError, with the counts of steps, inputs and outputs, if it has any, unless `contents` is `cascade`.
        `undelete` brings all of it back.
        """
        checks.one_of(contents, ("restrict", "cascade"), "contents")
        with write(self._handle, note=note, what="delete run") as unit:
            found = self.get(run)
            checks.refuse_touched(unit, found.id, f"run {found.id}", relationships)
            if contents == "restrict":
                self._refuse_full(found)
            unit.change({"kind": "run", "action": "delete", "id": found.id, **labels.given(note=note)})
            return self.get(found, deleted=True)

    def _refuse_full(self, found: Run) -> None:
        counts = {
            "steps": self._handle.index.runs.count_steps(addresses.key_of(self._handle, found.id)),
            "inputs": sum(1 for _ in self.links(found, Direction.INPUT)),
            "outputs": sum(1 for _ in self.links(found, Direction.OUTPUT)),
        }
        if any(counts.values()):
            held = ", ".join(f"{count} {noun}" for noun, count in counts.items())
            raise InUseError(f"run {found.id} has {held}", id=found.id, counts=counts)

    def undelete(self, run: RunRef, *, note: str = "") -> Run:
        """Lift a run's tombstone; one that is live is returned as it is."""
        with write(self._handle, note=note, what="undelete run") as unit:
            found = self.get(run, deleted=True)
            if found.deleted_at is None:
                return found
            unit.change({"kind": "run", "action": "undelete", "id": found.id, **labels.given(note=note)})
            return self.get(found)


def _direction(word: str) -> Direction:
    return Direction(checks.one_of(word, tuple(Direction), "direction"))
