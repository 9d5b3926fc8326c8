"""Reducers of relationships and of the vocabulary's extensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.index.apply import record
from holdfast.index.rows import Cells, Insert, Operation, Term
from holdfast.index.tables import EXTERNAL, KIND_CODES, SLOT_TYPE
from holdfast.values.change import Body

"""Kind code of an external reference: an end that is no record of this store."""


def end_cells(prefix: str, end: dict[str, Any]) -> Cells:
    """The three columns of an endpoint {kind, id, revision}."""
    return {
        f"{prefix}_kind": KIND_CODES.get(end["kind"], EXTERNAL),
        prefix: end["id"],
        f"{prefix}_revision": end.get("revision"),
    }


def _create(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield from record.created(seq, body)
    yield Insert(
        "relationship",
        {
            "key": seq,
            "type": Term(new["type"], SLOT_TYPE),
            **end_cells("source", new["source"]),
            **end_cells("target", new["target"]),
            "metadata": record.json_text(new.get("metadata")),
        },
    )


def _update(seq: int, body: Body) -> Iterator[Operation]:
    after = record.after_images(body["set"])
    cells: Cells = {}
    if "type" in after:
        cells["type"] = Term(after["type"], SLOT_TYPE)
    if "metadata" in after:
        cells["metadata"] = record.json_text(after["metadata"])
    yield from record.updated(seq, body, cells, "relationship")


def _register(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield from record.created(seq, body)
    yield Insert("relationship_type", {"key": seq, **{f: new[f] for f in ("name", "family", "description")}})


REDUCERS = {
    ("relationship", "create"): _create,
    ("relationship", "update"): _update,
    ("relationship", "delete"): record.deleted,
    ("relationship", "undelete"): record.undeleted,
    ("relationship", "redact"): record.touched,
    ("relationship-type", "create"): _register,
}
