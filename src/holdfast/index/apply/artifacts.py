"""Reducers of artifacts and their revisions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.index.apply import record
from holdfast.index.rows import (
    SLOT_MEDIA,
    SLOT_SOURCE,
    SLOT_STATUS,
    SLOT_TYPE,
    Cell,
    Cells,
    ContentOf,
    Describe,
    Insert,
    KeyOf,
    Operation,
    RevisionOf,
    Term,
    Update,
)
from holdfast.values.change import Body

STATE_KEPT, STATE_PURGED, STATE_WITHDRAWN = range(3)


def _create(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield from record.created(seq, body)
    yield Insert(
        "artifact",
        {
            "key": seq,
            "collection": KeyOf(new["collection"]),
            **record.name_cells(new),
            "type": Term(new["type"], SLOT_TYPE),
            "status": Term(new["status"], SLOT_STATUS),
            "newest": seq,
            "live": 1,
        },
    )
    yield _revision(seq, seq, 1, new["revision"], body.get("run"))
    if metadata := new["revision"].get("metadata"):
        yield Describe(seq, metadata, new=True)


def _revise(seq: int, body: Body) -> Iterator[Operation]:
    new = body["new"]
    yield Describe(KeyOf(body["id"]), new["revision"].get("metadata") or {})
    yield _revision(seq, KeyOf(body["id"]), new["number"], new["revision"], body.get("run"))
    yield Update("artifact", {"key": KeyOf(body["id"])}, {"newest": seq})
    yield from record.touched(seq, body, own_row=True)


def _revision(seq: int, artifact: Cell, number: int, revision: dict[str, Any], run: str | None) -> Insert:
    source = revision.get("source", "")
    folder, slash, name = source.rpartition("/")
    return Insert(
        "revision",
        {
            "key": seq,
            "artifact": artifact,
            "number": number,
            "content": ContentOf(revision["digest"], revision["size"]),
            "media_type": Term(revision["media_type"], SLOT_MEDIA),
            "metadata": record.json_text(revision.get("metadata")),
            "message": revision.get("message"),
            # The folder stands once for all files of it.
            "source": Term(folder + slash, SLOT_SOURCE) if source else None,
            "source_name": name or None,
            "mode": revision.get("mode"),
            "mtime_ns": revision.get("mtime_ns"),
            "run": KeyOf(run) if run else None,
            "state": STATE_KEPT,
        },
    )


def _update(seq: int, body: Body) -> Iterator[Operation]:
    after = record.after_images(body["set"])
    cells: Cells = {}
    if "name" in after:
        cells |= record.name_cells(after)
    if "collection" in after:
        cells["collection"] = KeyOf(after["collection"])
    if "type" in after:
        cells["type"] = Term(after["type"], SLOT_TYPE)
    if "status" in after:
        cells["status"] = Term(after["status"], SLOT_STATUS)
    yield from record.updated(seq, body, cells, "artifact")


def _delete(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.deleted(seq, body)
    yield Update("artifact", {"key": KeyOf(body["id"])}, {"live": None})


def _undelete(seq: int, body: Body) -> Iterator[Operation]:
    cells: Cells = {"live": 1}
    if "set" in body:
        cells |= record.name_cells(record.after_images(body["set"]))
    yield from record.undeleted(seq, body)
    yield Update("artifact", {"key": KeyOf(body["id"])}, cells)


def _purge(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.touched(seq, body)
    yield from _state(body, STATE_PURGED)


def _withdraw(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.touched(seq, body)
    yield from _state(body, STATE_WITHDRAWN)
    if "newest" in body:
        newest = RevisionOf(body["id"], body["newest"])
        yield Describe(KeyOf(body["id"]), newest)
        yield Update("artifact", {"key": KeyOf(body["id"])}, {"newest": newest})


def _redact(seq: int, body: Body) -> Iterator[Operation]:
    yield from record.touched(seq, body)
    if "revisions" in body:
        yield from _state(body, STATE_PURGED)


def _state(body: Body, state: int) -> Iterator[Operation]:
    for number in body["revisions"]:
        yield Update("revision", {"artifact": KeyOf(body["id"]), "number": number}, {"state": state})


REDUCERS = {
    ("artifact", "create"): _create,
    ("artifact", "revise"): _revise,
    ("artifact", "update"): _update,
    ("artifact", "delete"): _delete,
    ("artifact", "undelete"): _undelete,
    ("artifact", "purge"): _purge,
    ("artifact", "redact"): _redact,
    ("artifact", "withdraw"): _withdraw,
}
