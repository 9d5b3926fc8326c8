"""What is left of a change once some of its fields are redacted: a pure function, so it can always be done again."""

from __future__ import annotations

from typing import Any

from holdfast.values import canon
from holdfast.values.change import Body

NOTHING = "sha256:" + "0" * 64
"""Stands in place of a content's digest: a plain digest would give short contents away."""

FIELDS = (
    "name", "metadata", "content", "message", "source", "tags", "owner", "note",
    "parameters", "environment", "diagnostics", "reason", "ends",
)  # fmt: skip
"""What can be redacted of a record. `ends`: external references of relationships and runs, and roles."""

OF_REVISION = frozenset({"metadata", "content", "message", "source"})
"""Fields that each revision of an artifact has of its own."""

PREVIOUS = "previous"
"""A `revise` also names the content that was newest before."""

_MEDIA_TYPE = "application/octet-stream"
_SPECIAL = frozenset({"name", "content", "note", "ends", PREVIOUS})
_INTERNAL = ("artifact", "collection", "relationship", "run", "step")


def placeholder(record_id: str) -> str:
    """The name of a record whose name was redacted: legal, and no other record's."""
    return f"redacted-{record_id}"


def erase(body: Body, fields: list[str]) -> Body:
    """The body without some fields; `redacted` lists them, and those that were redacted before."""
    left: Body = canon.decode(canon.encode(body))
    new, pairs = left.get("new", {}), left.get("set", {})
    for field in fields:
        if field in _SPECIAL:
            _special(left, field)
            continue
        if field != "source":  # of a relationship that is an end
            new.pop(field, None)
        new.get("revision", {}).pop(field, None)
        if field in pairs:
            pairs[field] = [_blank(side) for side in pairs[field]]
    left["redacted"] = sorted({*left.get("redacted", ()), *fields})
    return left


def holds(body: Body, field: str) -> bool:
    """Whether redacting a field takes anything out of a body."""
    if field == "content" and body.get("new", {}).get("revision", {}).get("digest") == NOTHING:
        return False  # its size and type went with it
    left = erase(body, [field])
    left.pop("redacted")
    return left != {key: value for key, value in body.items() if key != "redacted"}


def revision_number(body: Body) -> int | None:
    """The number of the revision that a change brings; None if it brings none."""
    new = body.get("new", {})
    return int(new.get("number", 1)) if "revision" in new else None


def _special(left: Body, field: str) -> None:
    new, pairs = left.get("new", {}), left.get("set", {})
    if field == "note":
        left.pop("note", None)
    elif field == PREVIOUS and PREVIOUS in left:
        left[PREVIOUS] = NOTHING
    elif field == "content" and "revision" in new:
        new["revision"] |= {"digest": NOTHING, "size": 0, "media_type": _MEDIA_TYPE}
    elif field == "name":
        for fields, value in ((new, placeholder(left["id"])), (pairs, [placeholder(left["id"])] * 2)):
            if fields.get("name"):
                fields["name"] = value
                fields.pop("name_hex", None)
    elif field == "ends":
        for end in (new.get("source"), new.get("target")):
            if isinstance(end, dict) and end["kind"] not in _INTERNAL:
                end["id"] = placeholder(left["id"])
        new.pop("role", None)


def _blank(value: Any) -> Any:
    """Nothing, of the same type."""
    return None if value is None else type(value)()
