"""Reducers of runs, their steps, and what went in and came out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.index.apply import record
from holdfast.index.apply.relationships import end_cells
from holdfast.index.rows import Cells, Insert, KeyOf, Operation
from holdfast.values import moment
from holdfast.values.change import Body

_JSON = ("parameters", "diagnostics", "environment", "metadata")
_PLAIN = ("name", "status", "reason")
_TIMES = {"started": "started_us", "ended": "ended_us"}


def _cells(fields: dict[str, Any]) -> Cells:
    cells: Cells = {f: fields[f] for f in _PLAIN if f in fields}
    cells |= {f: record.json_text(fields[f]) for f in _JSON if f in fields}
    for field, column in _TIMES.items():
        if field in fields:
            # None where the change that set it is taken back.
            cells[column] = None if fields[field] is None else moment.from_text(fields[field])
    return cells


def _create(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.created(seq, body)
    yield Insert("run", {"key": seq, **_cells(body["new"])})


def _update(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.updated(seq, body, _cells(record.after_images(body["set"])), "run")


def _link(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield Insert(
        "run_link",
        {
            "key": seq,
            "run": KeyOf(body["id"]),
            "direction": new["direction"],
            "role": new.get("role", ""),
            **end_cells("target", new["target"]),
        },
    )
    yield from record.touched(seq, body)


def _create_step(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield from record.created(seq, body)
    yield Insert("step", {"key": seq, "run": KeyOf(new["run"]), "number": new["number"], **_cells(new)})


def _update_step(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.updated(seq, body, _cells(record.after_images(body["set"])), "step")


REDUCERS = {
    ("run", "create"): _create,
    ("run", "update"): _update,
    ("run", "delete"): record.deleted,
    ("run", "undelete"): record.undeleted,
    ("run", "redact"): record.touched,
    ("run", "link"): _link,
    ("step", "create"): _create_step,
    ("step", "update"): _update_step,
    ("step", "delete"): record.deleted,
    ("step", "undelete"): record.undeleted,
    ("step", "redact"): record.touched,
}
