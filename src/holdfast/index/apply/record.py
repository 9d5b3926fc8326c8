"""What the reducers of all kinds share: the record row, tombstones, tags, and columns that many tables have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.index import proof
from holdfast.index.rows import Cell, Cells, Delete, DeletedWith, Insert, KeyOf, Operation, Term, Update
from holdfast.index.tables import KIND_CODES, SLOT_OWNER, SLOT_TENANT
from holdfast.values import canon, moment
from holdfast.values.change import Body


def created(seq: int, body: Body) -> Iterator[Operation]:
    """The record row of a creation, and its tags."""
    new = body["new"]
    yield Insert(
        "record",
        {
            "key": seq,
            "id": moment.id_bytes(body["id"]),
            "kind": KIND_CODES[body["kind"]],
            "tenant": Term(new.get("tenant", ""), SLOT_TENANT),
            "owner": Term(new.get("owner", ""), SLOT_OWNER),
            "changed": seq,
            "deleted": 0,
            "tags": proof.of_tags(new.get("tags", ())),
        },
    )
    for tag in new.get("tags", ()):
        yield Insert("tagging", {"record": seq, "tag": tag})


def touched(seq: int, body: Body, columns: Cells | None = None, *, own_row: bool = False) -> Iterator[Operation]:
    """The record changed; `own_row` if another new row carries the seq already."""
    yield Update("record", {"key": KeyOf(body["id"])}, {"changed": seq, **(columns or {})})
    if not own_row:
        yield Insert("change", {"seq": seq, "record": KeyOf(body["id"])})


def deleted(seq: int, body: Body) -> Iterator[Operation]:
    """A tombstone: by itself, or with the record that the change names as its cause."""
    with_seq: Cell = DeletedWith(body["cause"]) if "cause" in body else seq
    yield from touched(seq, body, {"deleted": with_seq})


def undeleted(seq: int, body: Body) -> Iterator[Operation]:
    """The tombstone is gone."""
    yield from touched(seq, body, {"deleted": 0})


def updated(seq: int, body: Body, columns: Cells, table: str) -> Iterator[Operation]:
    """New values of a record's own row, its owner and its tags."""
    pairs = body["set"]
    own: Cells = {"owner": Term(pairs["owner"][1], SLOT_OWNER)} if "owner" in pairs else {}
    if "tags" in pairs:
        own["tags"] = proof.of_tags(pairs["tags"][1])
    yield from touched(seq, body, own)
    if columns:
        yield Update(table, {"key": KeyOf(body["id"])}, columns)
    if "tags" in pairs:
        before, after = pairs["tags"]
        for tag in sorted(set(before) - set(after)):
            yield Delete("tagging", {"record": KeyOf(body["id"]), "tag": tag})
        for tag in sorted(set(after) - set(before)):
            yield Insert("tagging", {"record": KeyOf(body["id"]), "tag": tag})


def json_text(value: Any) -> str | None:
    """Canonical text of a JSON column; NULL for an empty object."""
    return canon.dumps(value) if value else None


def name_cells(fields: dict[str, Any]) -> Cells:
    """The two columns of a name from the fields `name` and `name_hex`."""
    return {"name": fields["name"], "stray": bytes.fromhex(fields.get("name_hex") or "")}


def after_images(pairs: dict[str, list[Any]]) -> dict[str, Any]:
    """The new side of a `set`."""
    return {key: pair[1] for key, pair in pairs.items()}
