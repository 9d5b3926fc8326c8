"""What may happen to a run and its steps: the rules, and the changes that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdfast.engine.handle import Handle
from holdfast.engine.transaction import Unit, write
from holdfast.errors import ConflictError, InvalidValueError, NotFoundError
from holdfast.index.select import keyset
from holdfast.kinds import addresses, checks, endpoints, labels, repeats
from holdfast.kinds.endpoints import Linkable
from holdfast.values import canon, lifecycle, moment
from holdfast.values.change import Body
from holdfast.values.records import Direction, Run, RunLink, RunStatus, Step

RunRef = endpoints.HasEndpoint | str
"""A run: its record, the run under way, or its id as `UUID` or `id:UUID`."""

Inputs = Mapping[str, Linkable] | Iterable[Linkable]
"""What a run reads; as a mapping, by role."""


def get(handle: Handle, ref: RunRef, *, deleted: bool = False) -> Run:
    """The run as it is now; NotFoundError."""
    handle.alive()
    record_id = ref.removeprefix("id:") if isinstance(ref, str) else ref.endpoint.id
    found = handle.index.runs.by_id(record_id) if moment.is_id(record_id) else None
    if found is None or (found.deleted_at is not None and not deleted):
        trouble = f"there is no run {record_id!r}" if found is None else f"run {record_id} is deleted"
        raise NotFoundError(trouble, kind="run", ref=record_id)
    return found


def get_step(handle: Handle, ref: Step | str) -> Step:
    """The step as it is now; NotFoundError, also if its run is deleted."""
    handle.alive()
    record_id = ref.id if isinstance(ref, Step) else ref.removeprefix("id:")
    found = handle.index.runs.step(record_id) if moment.is_id(record_id) else None
    if found is None:
        raise NotFoundError(f"there is no step {record_id!r}", kind="step", ref=record_id)
    get(handle, found.run_id)
    return found


def steps(handle: Handle, run: Run) -> Iterator[Step]:
    """The steps of a run in order, in short reads."""
    key = addresses.key_of(handle, run.id)
    return (step for _, step in keyset.stream(lambda after: handle.index.runs.steps(key, after)))


def name_of(name: object, noun: str) -> str:
    """A name for a run or a step; InvalidValueError."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise InvalidValueError(f"{name!r} cannot name a {noun}", where="name", reason="empty, no text or with a NUL",
                                remedy="Give a text of at least one character.")  # fmt: skip
    canon.encode(name)
    return name


def create(
    handle: Handle, new: dict[str, Any], inputs: Inputs, *, tags: Iterable[str], note: str, tx: str | None
) -> Run:
    """A pending run from checked fields."""
    made = repeats.made_before(handle, tx, "run")
    if made is not None:
        return get(handle, made, deleted=True)
    fields = {"status": RunStatus.PENDING.value, **new, **labels.given(tags=labels.checked(tags))}
    pairs = inputs.items() if isinstance(inputs, Mapping) else (("", one) for one in inputs)
    with write(handle, tx=tx, note=note, what="create run") as unit:
        record_id = moment.draw_id(unit.now_us)
        unit.change({"kind": "run", "action": "create", "id": record_id, "new": fields, **labels.given(note=note)})
        for role, record in pairs:
            link(handle, record_id, Direction.INPUT, record, role=role)
        return get(handle, record_id)


def set_status(
    handle: Handle, ref: RunRef, wanted: RunStatus, *, reason: str = "", diagnostics: dict[str, Any] | None = None,
    note: str = "",
) -> Run:  # fmt: skip
    """The next status, and diagnostics added to those there are. What is not yet ended of a run ends with it."""
    with write(handle, note=note, what=f"run {wanted}") as unit:
        found = get(handle, ref)
        pairs: dict[str, list[Any]] = {}
        if lifecycle.moves("run", found.id, current=found.status, wanted=wanted):
            pairs = _move(unit, found.status, wanted)
            if reason:
                pairs["reason"] = [found.reason, reason]
            if wanted in lifecycle.ENDED:
                _cancel_steps(unit, found)
        return _set(unit, found, pairs | _added(found.diagnostics, diagnostics), note)


def update(
    handle: Handle, ref: RunRef, *, metadata: dict[str, Any] | None, tags: Iterable[str] | None, owner: str | None,
    note: str,
) -> Run:  # fmt: skip
    """What people say of a run; what it did is not changed by this."""
    with write(handle, note=note, what="update run") as unit:
        found = get(handle, ref)
        pairs: dict[str, list[Any]] = {}
        if metadata is not None and not labels.same(metadata, found.metadata):
            pairs["metadata"] = [found.metadata, metadata]
        if tags is not None and (after := labels.checked(tags)) != list(found.tags):
            pairs["tags"] = [list(found.tags), after]
        if owner is not None and owner != found.owner:
            pairs["owner"] = [found.owner, owner]
        return _set(unit, found, pairs, note)


def link(handle: Handle, ref: RunRef, direction: Direction, record: Linkable, *, role: str = "") -> RunLink:
    """What a run read or made; the same link again changes nothing. NotFoundError, InvalidValueError."""
    if not isinstance(role, str):
        raise InvalidValueError("a role is text", where="role", reason="type", remedy="Write it as text.")
    if "\0" in role:
        raise InvalidValueError(f"the role {role!r} has a NUL", where="role", reason="NUL")
    canon.encode(role)
    with write(handle, what=f"link {direction}") as unit:
        run = get(handle, ref)
        end = endpoints.existing(handle, record, role=direction.value, pin=True)
        if end == run.endpoint:
            raise InvalidValueError(f"run {run.id} cannot be its own {direction}", where=direction.value, reason="self",
                                    remedy="Name what it read or made.")  # fmt: skip
        if not handle.index.runs.has_link(addresses.key_of(handle, run.id), direction, end, role=role):
            new = {"direction": direction.value, "target": endpoints.end_json(end), **labels.given(role=role)}
            unit.change({"kind": "run", "action": "link", "id": run.id, "new": new})
        return RunLink(run.id, direction, role, end)


def add_step(handle: Handle, ref: RunRef, name: str) -> Step:
    """One more pending step; ConflictError if the run has ended."""
    name_of(name, "step")
    with write(handle, what="add step") as unit:
        run = get(handle, ref)
        if run.status in lifecycle.ENDED:
            raise ConflictError(f"run {run.id} is {run.status}: it takes no more steps", id=run.id,
                                remedy="Begin a new run.")  # fmt: skip
        number = handle.index.runs.last_step(addresses.key_of(handle, run.id)) + 1
        record_id = moment.draw_id(unit.now_us)
        new = {"run": run.id, "number": number, "name": name, "status": RunStatus.PENDING.value}
        unit.change({"kind": "step", "action": "create", "id": record_id, "new": new})
        return get_step(handle, record_id)


def set_step_status(
    handle: Handle, ref: Step | str, wanted: RunStatus, *, diagnostics: dict[str, Any] | None = None
) -> Step:
    """The next status of a step, and diagnostics added to those there are."""
    with write(handle, what=f"step {wanted}") as unit:
        found = get_step(handle, ref)
        pairs: dict[str, list[Any]] = {}
        if lifecycle.moves("step", found.id, current=found.status, wanted=wanted):
            pairs = _move(unit, found.status, wanted)
        pairs |= _added(found.diagnostics, diagnostics)
        if pairs:
            unit.change({"kind": "step", "action": "update", "id": found.id, "set": pairs})
        return get_step(handle, found.id)


def diagnose(handle: Handle, ref: RunRef, diagnostics: dict[str, Any]) -> Run:
    """Diagnostics added to those there are; a key that is there gets the new value."""
    with write(handle, what="diagnose") as unit:
        found = get(handle, ref)
        return _set(unit, found, _added(found.diagnostics, diagnostics), "")


def _move(unit: Unit, current: RunStatus, wanted: RunStatus) -> dict[str, list[Any]]:
    """A change of status as fields of a `set`, with the time it brings: that of the transaction."""
    pairs: dict[str, list[Any]] = {"status": [current.value, wanted.value]}
    if wanted is RunStatus.PROCESSING:
        pairs["started"] = [None, moment.to_text(unit.now_us)]
    if wanted in lifecycle.ENDED:
        pairs["ended"] = [None, moment.to_text(unit.now_us)]
    return pairs


def _added(old: dict[str, Any], more: dict[str, Any] | None) -> dict[str, list[Any]]:
    new = old | checks.object_of(more, "diagnostics")
    return {} if labels.same(old, new) else {"diagnostics": [old, new]}


def _cancel_steps(unit: Unit, run: Run) -> None:
    for step in steps(unit.handle, run):
        if step.status not in lifecycle.ENDED:
            pairs = _move(unit, step.status, RunStatus.CANCELLED)
            unit.change({"kind": "step", "action": "update", "id": step.id, "set": pairs})


def _set(unit: Unit, found: Run, pairs: dict[str, list[Any]], note: str) -> Run:
    if not pairs:
        return found
    body: Body = {"kind": "run", "action": "update", "id": found.id, "set": pairs}
    unit.change(body | labels.given(note=note))
    return get(unit.handle, found.id)
