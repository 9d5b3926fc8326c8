"""Reducers of declared indexes on metadata."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.index.apply import record
from holdfast.index.rows import Delete, Insert, KeyOf, Operation, Survey, Update
from holdfast.values.change import Body


def _create(seq: int, body: Body) -> Iterator[Operation]:
    field = body["new"]["field"]
    yield from record.created(seq, body)
    yield Insert("metadata_index", {"key": seq, "field": field, "live": 1})
    yield Survey(seq)


def _delete(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.deleted(seq, body)
    yield Update("metadata_index", {"key": KeyOf(body["id"])}, {"live": None})
    yield Delete("metadata_value", {"declared": KeyOf(body["id"])})


def _undelete(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.undeleted(seq, body)
    yield Update("metadata_index", {"key": KeyOf(body["id"])}, {"live": 1})
    yield Survey(KeyOf(body["id"]))


REDUCERS = {
    ("metadata-index", "create"): _create,
    ("metadata-index", "delete"): _delete,
    ("metadata-index", "undelete"): _undelete,
}
