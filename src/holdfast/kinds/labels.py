"""What records of several kinds have alike: tags, owners, metadata, and tombstones that a cascade sets and lifts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import InUseError, InvalidValueError
from holdfast.kinds import checks
from holdfast.values import canon

if TYPE_CHECKING:
    from holdfast.engine.transaction import Unit

MAX_TAG_BYTES = 255


def checked(tags: Iterable[str]) -> list[str]:
    """Tags without repetitions, by code point; InvalidValueError for one that is no tag."""
    if isinstance(tags, str):
        raise InvalidValueError("tags is a str", where="tags", reason="type", remedy="Give a list of tags.")
    found = sorted({checks.text_of(tag, "tags") for tag in tags})
    for tag in found:
        if not 1 <= len(tag.encode("utf-8")) <= MAX_TAG_BYTES:
            raise InvalidValueError(
                f"{tag[:40]!r} cannot be a tag", where="tags", reason="empty or too long",
                remedy=f"A tag has 1 to {MAX_TAG_BYTES} bytes.",
            )  # fmt: skip
    return found


def given(**fields: Any) -> dict[str, Any]:
    """The fields that say something: what is empty is left out of a change body."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {}, ())}


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same, `1` and `1.0` and `True` told apart."""
    return canon.encode(left) == canon.encode(right)


def tag_change(old: Sequence[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> dict[str, list[Any]]:
    """A change of tags as fields of a `set`; empty if nothing changes."""
    new = checked((set(old) | set(checked(add))) - set(remove))
    return {"tags": [sorted(old), new]} if new != sorted(old) else {}


def refuse_related(unit: Unit, keys: Iterable[int], shown: str) -> None:
    """InUseError if a visible relationship touches one of the records."""
    ids = unit.handle.index.lookups.ids(keys)
    count = sum(unit.handle.index.relationships.count_touching(record_id) for record_id in ids.values())
    if count:
        raise InUseError(
            f"{count} relationships touch {shown!r}", id=next(iter(ids.values())), counts={"relationships": count}
        )


def bury(unit: Unit, kind: str, key: int, *, cause: str) -> None:
    """A tombstone that goes with the delete of another record."""
    record_id = unit.handle.index.lookups.ids([key])[key]
    unit.change({"kind": kind, "action": "delete", "id": record_id, "cause": cause})


def raise_again(unit: Unit, kind: str, key: int) -> None:
    """Lift a tombstone that went with another's."""
    record_id = unit.handle.index.lookups.ids([key])[key]
    unit.change({"kind": kind, "action": "undelete", "id": record_id})
