"""Reducers of collections."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.index.apply import record
from holdfast.index.rows import Cells, Insert, KeyOf, Operation, Term, Update
from holdfast.index.tables import SLOT_TENANT
from holdfast.values.change import Body


def _create(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield from record.created(seq, body)
    yield Insert(
        "collection",
        {
            "key": seq,
            "parent": KeyOf(new["parent"]) if new.get("parent") else None,
            "tenant": Term(new.get("tenant", ""), SLOT_TENANT),
            **record.name_cells(new),
            "metadata": record.json_text(new.get("metadata")),
            "mode": new.get("mode"),
            "mtime_ns": new.get("mtime_ns"),
            "live": 1,
        },
    )


def _update(seq: int, body: Body) -> Iterator[Operation]:
    after = record.after_images(body["set"])
    cells: Cells = {field: after[field] for field in ("mode", "mtime_ns") if field in after}
    if "name" in after:
        cells |= record.name_cells(after)
    if "parent" in after:
        cells["parent"] = KeyOf(after["parent"])
    if "metadata" in after:
        cells["metadata"] = record.json_text(after["metadata"])
    yield from record.updated(seq, body, cells, "collection")


def _delete(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.deleted(seq, body)
    yield Update("collection", {"key": KeyOf(body["id"])}, {"live": None})


def _undelete(seq: int, body: Body) -> Iterator[Operation]:
    cells: Cells = {"live": 1}
    if "set" in body:
        cells |= record.name_cells(record.after_images(body["set"]))
    yield from record.undeleted(seq, body)
    yield Update("collection", {"key": KeyOf(body["id"])}, cells)


REDUCERS = {
    ("collection", "create"): _create,
    ("collection", "update"): _update,
    ("collection", "delete"): _delete,
    ("collection", "redact"): record.touched,
    ("collection", "undelete"): _undelete,
}
